//! What was deregistered does not come back: not on a member that has learned of it, and not
//! anywhere for long once the network is whole.

use std::collections::{BTreeMap, BTreeSet};

use crate::client::Life;
use crate::world::World;

/// From the end of the disturbance to the end of every trace.
const HEALED_MS: u64 = 10_000;

#[derive(Default)]
pub(crate) struct NoResurrection {
    /// Members, by start, that know that the client was deregistered.
    gone: BTreeMap<usize, BTreeSet<(usize, u32)>>,
}

impl NoResurrection {
    pub(crate) fn forget(&mut self, _: usize) {}

    pub(crate) fn check(&mut self, world: &World) -> Result<(), String> {
        for (c, client) in world.clients.iter().enumerate() {
            let Life::Gone(since) = client.life else {
                self.gone.remove(&c);
                continue;
            };
            let gone = self.gone.entry(c).or_default();
            for (n, node) in world.nodes.iter().enumerate() {
                let mark = (n, node.incarnation);
                if node.process.is_none() || !world.is_ready(n) {
                    continue;
                }
                let is_shown = world.view(n, c).is_some();
                if is_shown && gone.contains(&mark) {
                    let record = world.record(n, c);
                    return Err(format!("node {n}: client {c} came back: {record:?}"));
                }
                // Who has not heard of it yet may still hear first that it was registered.
                if !is_shown && world.has_tombstone(n, c) {
                    gone.insert(mark);
                }
                // The removal is lost if all who knew of it died.
                let knows = |(n, incarnation): &(usize, u32)| {
                    let node = &world.nodes[*n];
                    node.process.is_some() && node.incarnation == *incarnation
                };
                let healed = world.disturbed_at.max(since) + HEALED_MS + world.grace_ms();
                if is_shown && world.now > healed && gone.iter().any(knows) {
                    return Err(format!("node {n}: client {c} is still there"));
                }
            }
        }
        Ok(())
    }
}
