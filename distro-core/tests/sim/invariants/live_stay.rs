//! No live instance turns absent or unhealthy on a member that heard it itself, nor on one that
//! is connected, be it by others, with a member that hears it.

use std::collections::BTreeMap;

use distro_core::Health;

use crate::client::Life;
use crate::world::World;

/// A member that heard an instance itself so lately knows that it lives.
const HEARD_HERE_MS: u64 = 14_000;
/// Whom an instance beats at, it beats at again within this; and so long a path must have been
/// there for beats to have come by it.
const BEATS_MS: u64 = 14_000;
/// How many members may lie between.
const MOST_HOPS: usize = 2;

#[derive(Default)]
pub(crate) struct LiveStay {
    /// Who was seen well at the last look.
    well: BTreeMap<(usize, usize), u32>,
    /// Since when two members have been connected.
    connected: BTreeMap<(usize, usize), u64>,
}

impl LiveStay {
    pub(crate) fn forget(&mut self, node: usize) {
        self.well.retain(|(n, _), _| *n != node);
        self.connected.retain(|(a, b), _| *a != node && *b != node);
    }

    pub(crate) fn check(&mut self, world: &World) -> Result<(), String> {
        self.connect(world);
        for (c, client) in world.clients.iter().enumerate() {
            for n in 0..world.nodes.len() {
                let is_well = |view: &(u32, Health)| view.1 == Health::Healthy;
                let view = world.view(n, c).filter(is_well);
                let was_well = match view {
                    Some((version, _)) => self.well.insert((n, c), version),
                    None => self.well.remove(&(n, c)),
                };
                // Who has not heard of the last registration may hear first of what came before.
                let was_well = was_well == Some(client.acked);
                let is_steady = client.life == Life::Alive
                    && client.closed_at.is_none()
                    && client.steady_since.is_some_and(|at| world.now > at + BEATS_MS);
                if view.is_some() || !was_well || !is_steady || !world.is_ready(n) {
                    continue;
                }
                if self.ought_to_know(world, n, c) {
                    let record = world.record(n, c);
                    return Err(format!("node {n}: client {c} lives and turned {record:?}"));
                }
            }
        }
        Ok(())
    }

    fn ought_to_know(&self, world: &World, n: usize, c: usize) -> bool {
        let heard = |h: usize, within: u64| {
            world.nodes[h].heard.get(&c).is_some_and(|at| at + within > world.now)
        };
        heard(n, HEARD_HERE_MS)
            || (0..world.nodes.len()).any(|h| {
                let since = self.connected.get(&(h, n));
                let is_old = since.is_some_and(|since| since + BEATS_MS < world.now);
                is_old && heard(h, 10_000)
            })
    }

    /// Keeps since when members have been connected, directly or by others.
    fn connect(&mut self, world: &World) {
        let count = world.nodes.len();
        for from in 0..count {
            let mut reached = vec![false; count];
            reached[from] = world.is_running(from);
            for _ in 0..=MOST_HOPS {
                let before = reached.clone();
                for a in (0..count).filter(|a| before[*a]) {
                    for b in (0..count).filter(|b| world.is_running(*b)) {
                        reached[b] |= world.are_connected(a, b);
                    }
                }
            }
            for (to, is_reached) in reached.into_iter().enumerate() {
                if is_reached {
                    self.connected.entry((from, to)).or_insert(world.now);
                } else {
                    self.connected.remove(&(from, to));
                }
            }
        }
    }
}
