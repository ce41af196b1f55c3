//! What readers see belongs to a datum that is open: one that was closed shows nothing.

use crate::world::World;

pub(crate) fn check(world: &World) -> Result<(), String> {
    for (n, node) in world.nodes.iter().enumerate() {
        let Some(process) = &node.process else { continue };
        for datum in process.store.all() {
            if datum.read(|reader| reader.visible().next().is_some() && !reader.is_open()) {
                return Err(format!("node {n}: {} is closed and shows something", datum.tag()));
            }
        }
    }
    Ok(())
}
