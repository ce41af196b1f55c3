//! No live instance turns absent or unhealthy on a member that heard it itself, nor on one that
//! is connected, be it by others, with a member that hears it. And no member judges one that it
//! heard itself, nor one that is heard by a member to which it has been connected for a moment:
//! it must have been told by then, or wait until it is.

use std::collections::BTreeMap;

use distro_core::Health;

use crate::client::{Client, Life};
use crate::world::World;

/// A member that heard an instance itself so lately knows that it lives.
const HEARD_HERE_MS: u64 = 14_000;
/// Whom an instance beats at, it beats at again within this; and so long a path must have been
/// there for beats to have come by it.
const BEATS_MS: u64 = 14_000;
/// From the end of a cut or a stop, members notice each other within this.
const NOTICED_MS: u64 = 3_000;
/// Within this a member has told the owner of a beat: the next batch, its way, and a tick. Owner and
/// hearer are both right when silence ends in the moment before.
const TOLD_MS: u64 = 400;
/// How many members may lie between.
const MOST_HOPS: usize = 2;

#[derive(Default)]
pub(crate) struct LiveStay {
    /// Who was seen well at the last look.
    well: BTreeMap<(usize, usize), u32>,
    /// Since when two members have been connected.
    connected: BTreeMap<(usize, usize), u64>,
    /// Since when two members have been connected directly, and nothing was lost between them.
    direct: BTreeMap<(usize, usize), u64>,
    /// When a member last heard a client, that it has told the owner by now.
    told: BTreeMap<(usize, usize), u64>,
}

impl LiveStay {
    pub(crate) fn forget(&mut self, node: usize) {
        self.well.retain(|(n, _), _| *n != node);
        self.connected.retain(|(a, b), _| *a != node && *b != node);
        self.direct.retain(|(a, b), _| *a != node && *b != node);
        self.told.retain(|(n, _), _| *n != node);
    }

    /// Keeps what members have told. Their last beat but one counts while the last is on its way.
    fn tell(&mut self, world: &World) {
        for (n, node) in world.nodes.iter().enumerate() {
            let is_told = |(_, at): &(&usize, &u64)| **at + TOLD_MS <= world.now;
            for (client, at) in node.heard.iter().filter(is_told) {
                self.told.insert((n, *client), *at);
            }
        }
    }

    /// What members have judged to be silent since the last look.
    fn check_verdicts(&self, world: &World) -> Result<(), String> {
        for (n, node) in world.nodes.iter().enumerate() {
            let verdicts = node.process.as_ref().map(|process| process.verdicts.take());
            for (tag, key) in verdicts.unwrap_or_default() {
                let is_it = |client: &&Client| *client.tag == *tag && *client.key == *key;
                let client = world.clients.iter().position(|client| is_it(&client));
                if let Some(c) = client.filter(|c| is_steady(world, &world.clients[*c])) {
                    self.check_verdict(world, n, c)?;
                }
            }
        }
        Ok(())
    }

    fn check_verdict(&self, world: &World, node: usize, client: usize) -> Result<(), String> {
        for (h, hears) in world.nodes.iter().enumerate() {
            let since = if h == node { Some(&0) } else { self.direct.get(&(h, node)) };
            let is_told = since.is_some_and(|since| since + NOTICED_MS < world.now);
            let heard = match h == node {
                true => hears.heard.get(&client),
                false => self.told.get(&(h, client)),
            };
            if is_told && heard.is_some_and(|at| at + 10_000 > world.now) {
                return Err(format!("node {node} has judged client {client}, whom {h} hears"));
            }
        }
        Ok(())
    }

    pub(crate) fn check(&mut self, world: &World) -> Result<(), String> {
        self.connect(world);
        self.tell(world);
        self.check_verdicts(world)?;
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
                let is_steady = is_steady(world, client);
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
        let is_lossy = world.net.loss > 0 || world.net.stragglers > 0;
        for (a, b) in (0..count).flat_map(|a| (0..count).map(move |b| (a, b))) {
            let run = world.is_running(a) && world.is_running(b);
            if run && !is_lossy && world.are_connected(a, b) {
                self.direct.entry((a, b)).or_insert(world.now);
            } else {
                self.direct.remove(&(a, b));
            }
        }
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

/// Lives, and has been told so all the time of late.
fn is_steady(world: &World, client: &Client) -> bool {
    client.life == Life::Alive
        && client.closed_at.is_none()
        && client.steady_since.is_some_and(|at| world.now > at + BEATS_MS)
}
