//! An instance that fell silent is gone 35 s after it was last heard, or 10 s after the latest of
//! the end of the disturbance and the last change of owners, whichever is later. If no member has
//! run without a stop since it was last heard, the first that has run since counts in its place.
//! Where removals had to be forgotten early, an old copy may be shown for a time-out longer.

use std::collections::BTreeMap;

use distro_core::OwnerPolicy;

use crate::client::Life;
use crate::world::World;

/// The time-out, and some seconds.
const SILENT_MS: u64 = 35_000;
const SETTLED_MS: u64 = 10_000;
/// Where members do not tell each other what they heard, silence counts anew after each event.
const ANEW_MS: u64 = 45_000;

#[derive(Default)]
pub(crate) struct DeadGo {
    /// How long after the last event the last one went, for the record.
    pub(crate) slowest_ms: u64,
    seen: BTreeMap<(usize, usize), u64>,
}

impl DeadGo {
    pub(crate) fn check(&mut self, world: &World) -> Result<(), String> {
        for (c, client) in world.clients.iter().enumerate() {
            if !matches!(client.life, Life::Dead(_)) {
                continue;
            }
            let gone_by = gone_by(world, c);
            for n in (0..world.nodes.len()).filter(|n| world.is_running(*n)) {
                if world.view(n, c).is_none() {
                    if let Some(last) = self.seen.remove(&(n, c)) {
                        self.slowest_ms = self.slowest_ms.max(last);
                    }
                    continue;
                }
                self.seen.insert((n, c), world.now.saturating_sub(world.disturbed_at));
                if world.now > gone_by {
                    return Err(format!("node {n}: client {c} is dead and still there"));
                }
            }
        }
        Ok(())
    }
}

fn gone_by(world: &World, client: usize) -> u64 {
    let heard = world.silent_since(client);
    if world.tells_what_it_heard() {
        (heard + SILENT_MS).max(world.disturbed_at + SETTLED_MS + world.grace_ms())
    } else {
        heard.max(world.disturbed_at) + ANEW_MS
    }
}

impl World {
    /// Whether all members tell each other what they heard: not those of an earlier release, nor
    /// where tags fall to members one by one.
    fn tells_what_it_heard(&self) -> bool {
        let is_by_slots = matches!(self.setup.store.owner_policy, OwnerPolicy::Slots);
        is_by_slots && !self.nodes.iter().any(|node| node.is_old && node.process.is_some())
    }
}
