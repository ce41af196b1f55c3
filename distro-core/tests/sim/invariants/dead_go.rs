//! An instance that fell silent is gone within 45 s of the latest of its death, the end of the
//! disturbance and the last change of owners.

use std::collections::BTreeMap;

use crate::client::Life;
use crate::world::World;

const GONE_MS: u64 = 45_000;

#[derive(Default)]
pub(crate) struct DeadGo {
    /// How long after that the last one went, for the record.
    pub(crate) slowest_ms: u64,
    seen: BTreeMap<(usize, usize), u64>,
}

impl DeadGo {
    pub(crate) fn check(&mut self, world: &World) -> Result<(), String> {
        for (c, client) in world.clients.iter().enumerate() {
            let Life::Dead(died) = client.life else { continue };
            let from = died.max(world.disturbed_at).max(client.judged_at);
            for n in (0..world.nodes.len()).filter(|n| world.is_running(*n)) {
                if world.view(n, c).is_none() {
                    if let Some(last) = self.seen.remove(&(n, c)) {
                        self.slowest_ms = self.slowest_ms.max(last);
                    }
                    continue;
                }
                let late = world.now.saturating_sub(from);
                self.seen.insert((n, c), late);
                if late > GONE_MS {
                    return Err(format!("node {n}: client {c} is dead and still there"));
                }
            }
        }
        Ok(())
    }
}
