//! The revision of a datum, which subscribers are told, never falls while a member lives.

use std::collections::BTreeMap;
use std::sync::Arc;

use distro_core::Datum;

use crate::node::Text;
use crate::world::World;

/// Each datum as it was last seen. One that was dropped, because nothing was left of it and the
/// clean-up took it off the list, starts anew.
#[derive(Default)]
pub(crate) struct Revisions(BTreeMap<(usize, String), Seen>);

type Seen = (Arc<Datum<Text, ()>>, u64);

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
                let key = (n, client.tag.clone());
                let last = self.0.get(&key).filter(|(known, _)| Arc::ptr_eq(known, &datum));
                if last.is_some_and(|(_, last)| revision < *last) {
                    return Err(format!("node {n}: revision of {} fell to {revision}", client.tag));
                }
                self.0.insert(key, (datum, revision));
            }
        }
        Ok(())
    }
}
