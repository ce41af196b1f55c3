//! The revision of a datum, which subscribers are told, never falls while a member lives.

use std::collections::BTreeMap;

use crate::world::World;

#[derive(Default)]
pub(crate) struct Revisions(BTreeMap<(usize, String), u64>);

impl Revisions {
    pub(crate) fn forget(&mut self, node: usize) {
        self.0.retain(|(n, _), _| *n != node);
    }

    pub(crate) fn check(&mut self, world: &World) -> Result<(), String> {
        for (n, node) in world.nodes.iter().enumerate() {
            let Some(process) = &node.process else { continue };
            for client in &world.clients {
                let Some(datum) = process.store.find(&client.tag) else { continue };
                let revision = datum.revision();
                let last = self.0.entry((n, client.tag.clone())).or_insert(0);
                // A datum that was dropped for being closed and empty starts anew; here none is.
                if revision < *last {
                    return Err(format!("node {n}: revision of {} fell to {revision}", client.tag));
                }
                *last = revision;
            }
        }
        Ok(())
    }
}
