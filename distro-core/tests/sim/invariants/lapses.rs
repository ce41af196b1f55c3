//! An instance that was registered over a connection is gone soon after the connection, where nothing
//! else is wrong: 1.5 s after its end was noticed, 5.5 s if its client had just come from another
//! member, 28 s after its client fell silent without an end.

use crate::client::Life;
use crate::world::World;

const ENDED_MS: u64 = 1_500;
const MOVED_MS: u64 = 5_500;
const SILENT_MS: u64 = 28_000;
/// Nothing else is wrong if nothing was for so long.
const CALM_MS: u64 = 12_000;

pub(crate) fn check(world: &World) -> Result<(), String> {
    let clients = world.clients.iter().enumerate().filter(|(_, client)| client.is_linked);
    for (c, client) in clients {
        let Life::Dead(died) = client.life else { continue };
        if world.disturbed_at + CALM_MS > died {
            continue;
        }
        let gone_by = match client.hung_up {
            Some(at) if client.linked_at + MOVED_MS > died => at + MOVED_MS,
            Some(at) => at + ENDED_MS,
            None => died + SILENT_MS,
        };
        let shows = |n: &usize| world.is_running(*n) && world.view(*n, c).is_some();
        if world.now > gone_by
            && let Some(n) = (0..world.nodes.len()).find(shows)
        {
            return Err(format!("node {n}: client {c} is gone, and its instance is not"));
        }
    }
    Ok(())
}
