//! On no member does an older write ever take the place of a newer one: not by a flip of health,
//! not by an expiry, not by a refutation, not by a message that comes late or twice.

use std::collections::BTreeMap;

use crate::client::Life;
use crate::world::World;

#[derive(Default)]
pub(crate) struct Versions(BTreeMap<(usize, usize), u32>);

impl Versions {
    pub(crate) fn forget(&mut self, node: usize) {
        self.0.retain(|(n, _), _| *n != node);
    }

    pub(crate) fn check(&mut self, world: &World) -> Result<(), String> {
        for node in 0..world.nodes.len() {
            for client in 0..world.clients.len() {
                if matches!(world.clients[client].life, Life::Counting | Life::Resting) {
                    // Counted in two places at once, a number may fall when they meet.
                    continue;
                }
                let Some((version, _)) = world.view(node, client) else { continue };
                let last = self.0.entry((node, client)).or_insert(0);
                if version < *last {
                    let record = world.record(node, client);
                    let text = format!("node {node}: client {client} went back to {version}");
                    return Err(format!("{text}: {record:?}"));
                }
                *last = version;
            }
        }
        Ok(())
    }
}
