//! No queue outgrows what there is to queue.

use crate::world::World;

/// A probe, a batch, a renewal, a verification, a page, an account, news of clients and a farewell.
const CALLS_PER_PEER: usize = 8;

pub(crate) fn check(world: &World) -> Result<(), String> {
    for (n, node) in world.nodes.iter().enumerate() {
        let Some(process) = &node.process else { continue };
        let members = process.distro.members(process.tick(world.now));
        let calls = process.distro.calls_under_way();
        if calls > members.len() * CALLS_PER_PEER {
            return Err(format!("node {n} has {calls} calls under way"));
        }
        for member in members {
            // Every record can wait once, and be under way once.
            let most = 2 * world.clients.len();
            if member.queued_keys > most || member.queued_beats > most {
                return Err(format!("node {n} has queued too much: {member:?}"));
            }
        }
    }
    Ok(())
}
