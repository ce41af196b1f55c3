//! Clients that have just connected to some member: the member that held them before waits for them
//! to register again.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::distro::Distro;
use crate::message::Request;
use crate::record::Value;
use crate::time::Tick;

/// The clients that came a moment ago.
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    /// When each came last, as far as this member knows.
    last: BTreeMap<u64, Tick>,
    /// The same in the order in which this member learned of it. Holds those, too, that came again
    /// since.
    order: VecDeque<(Tick, u64)>,
    /// Those that came to this member and that the others have not been told of.
    untold: Vec<u64>,
}

impl Arrivals {
    /// An arrival is of no use any more after this.
    pub(crate) const FRESH: Duration = Duration::from_secs(10);
    /// Arrivals that are remembered, 3 MiB of them. The oldest make room.
    const MOST: usize = 65_536;
    /// Arrivals that wait to be told, 80 KB of them. Further ones are told to nobody.
    pub(crate) const MOST_UNTOLD: usize = 10_000;

    /// A client came to this member.
    pub(crate) fn note_own(&mut self, client: u64, now: Tick) {
        self.note(client, now, now);
        if self.untold.len() < Self::MOST_UNTOLD {
            self.untold.push(client);
        }
    }

    /// A client came at `at`, to whichever member.
    pub(crate) fn note(&mut self, client: u64, at: Tick, now: Tick) {
        self.forget(now);
        let last = self.last.entry(client).or_insert(at);
        *last = at.max(*last);
        self.order.push_back((*last, client));
    }

    /// Those that came to this member since the last call.
    pub(crate) fn take_untold(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.untold)
    }

    pub(crate) fn has_arrived(&self, client: u64, since: Tick) -> bool {
        self.last.get(&client).is_some_and(|at| *at > since)
    }

    fn forget(&mut self, now: Tick) {
        let is_over = |(at, _): &(Tick, u64)| now.since(*at) >= Self::FRESH;
        while self.order.len() >= Self::MOST || self.order.front().is_some_and(is_over) {
            let Some((at, client)) = self.order.pop_front() else { return };
            if self.last.get(&client) == Some(&at) {
                self.last.remove(&client);
            }
        }
    }
}

/// Telling one peer of clients that came to this member. What cannot be told at once is not told: the
/// peer then ends what the client held there, and the client registers it again.
#[derive(Debug, Default)]
pub(crate) struct Herald {
    waiting: VecDeque<u64>,
    is_sending: bool,
}

impl Herald {
    /// The latest ones make room for themselves.
    pub(crate) fn add(&mut self, clients: &[u64]) {
        self.waiting.extend(clients);
        let most = self.waiting.len().saturating_sub(Arrivals::MOST_UNTOLD);
        self.waiting.drain(..most);
    }

    /// One request is under way at most.
    pub(crate) fn poll<V>(&mut self) -> Option<Request<V>> {
        if self.is_sending || self.waiting.is_empty() {
            return None;
        }
        self.is_sending = true;
        Some(Request::Arrived { clients: std::mem::take(&mut self.waiting).into() })
    }

    /// The request was answered, or will not be.
    pub(crate) fn ended(&mut self) {
        self.is_sending = false;
    }

    /// The peer cannot be reached.
    pub(crate) fn give_up(&mut self) {
        self.waiting = VecDeque::new();
    }
}

impl<V: Value, A: Default + Send + Sync + 'static> Distro<V, A> {
    /// Has all that can be reached told of clients that have come to this member.
    pub(crate) fn spread_arrivals(&mut self, now: Tick) {
        let clients = self.status.take_arrivals();
        if clients.is_empty() {
            return;
        }
        let config = &self.config;
        let reached = self.peers.values_mut().filter(|peer| peer.member.is_reachable(config, now));
        reached.for_each(|peer| peer.herald.add(&clients));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_request_tells_of_the_last_clients_while_no_other_is_under_way() {
        let told = |herald: &mut Herald| match herald.poll::<()>() {
            Some(Request::Arrived { clients }) => clients,
            _ => Vec::new(),
        };
        let mut herald = Herald::default();
        herald.add(&[1, 2]);
        assert_eq!(told(&mut herald), [1, 2]);
        let crowd: Vec<u64> = (0..Arrivals::MOST_UNTOLD as u64 + 5).collect();
        herald.add(&crowd);
        assert!(told(&mut herald).is_empty());
        herald.ended();
        assert_eq!(told(&mut herald), crowd[5..]);
        herald.ended();
        herald.add(&[3]);
        herald.give_up();
        assert!(told(&mut herald).is_empty());
    }

    fn at(ms: u64) -> Tick {
        Tick::from_ms(ms)
    }

    #[test]
    fn a_client_that_came_is_known_for_a_while_and_only_from_then_on() {
        let mut arrivals = Arrivals::default();
        arrivals.note_own(7, at(1_000));
        assert!(arrivals.has_arrived(7, at(999)) && !arrivals.has_arrived(7, at(1_000)));
        // Another member tells late of what was before.
        arrivals.note(7, at(500), at(1_100));
        assert!(arrivals.has_arrived(7, at(999)) && !arrivals.has_arrived(8, at(0)));
        arrivals.note(8, at(12_000), at(12_000));
        assert!(!arrivals.has_arrived(7, at(0)) && arrivals.order.len() == 1);
        assert_eq!(arrivals.take_untold(), [7]);
        assert!(arrivals.take_untold().is_empty());
    }

    #[test]
    fn a_crowd_of_clients_takes_bounded_room_and_the_last_ones_are_known() {
        let mut arrivals = Arrivals::default();
        let crowd = 2 * Arrivals::MOST as u64;
        for client in 0..crowd {
            arrivals.note_own(client, at(1_000));
            // The same one again and again takes no more room than others.
            arrivals.note_own(u64::MAX, at(1_000));
        }
        assert!(arrivals.order.len() <= Arrivals::MOST && arrivals.last.len() <= Arrivals::MOST);
        assert!(arrivals.has_arrived(crowd - 1, at(0)) && !arrivals.has_arrived(0, at(0)));
        assert_eq!(arrivals.take_untold().len(), Arrivals::MOST_UNTOLD);
    }
}
