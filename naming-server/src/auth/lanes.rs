//! Whose turn it is to have a password hashed or verified.
//!
//! Each takes tens of milliseconds of a core, so only few are under way at a time, and anybody can
//! ask for one. Whoever asks stands in a lane: that of the address that the request comes from, or of
//! a user who has been identified. The lanes take turns: of each, one asks for a core at a time.
//! So one who guesses names by the thousand makes others wait for one of these guesses, not for all.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time;

use crate::networks::source_of;

/// Requests in one lane, with the one under way. All have their turn within [`PATIENCE`] if no other
/// lane has any.
const MOST_IN_LANE: usize = 32;
/// Requests in all lanes; a lane without any may have one more.
const MOST_IN_ALL: usize = 512;
/// Lanes that have a request beyond [`MOST_IN_ALL`].
const MOST_NEWCOMERS: usize = 1_024;
/// How long a request waits for its turn.
const PATIENCE: Duration = Duration::from_secs(5);

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Lane {
    /// Somebody at this place.
    Source(Source),
    /// A user who has been identified.
    User(Box<str>),
}

/// Where a request comes from, as far as one person cannot choose: an IPv4 address, or an IPv6
/// network of 64 bits, in which everybody has as many addresses as they like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Source(IpAddr);

impl Source {
    #[cfg(test)]
    pub(super) const LOCALHOST: Self = Self(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));

    /// The source of a request from this address.
    pub(super) fn of(ip: IpAddr) -> Self {
        Self(source_of(ip))
    }
}

/// The lanes, and the cores that they take turns at.
pub(super) struct Lanes {
    cores: Arc<Semaphore>,
    standing: Arc<Mutex<Standing>>,
}

#[derive(Default)]
struct Standing {
    lanes: HashMap<Lane, InLane>,
    requests: usize,
}

struct InLane {
    requests: usize,
    /// Whoever has this asks for a core.
    first: Arc<Semaphore>,
}

impl Lanes {
    /// Work of all lanes runs on so many cores.
    pub(super) fn new(cores: usize) -> Self {
        Self { cores: Arc::new(Semaphore::new(cores)), standing: Arc::default() }
    }

    /// Runs `work` beside the threads that serve, when its turn comes. `None` if too many stand in
    /// the lane or in all, or it waited too long. Once begun it is finished, whatever becomes of this
    /// future.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        lane: Lane,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let place = Place::take(Arc::clone(&self.standing), lane)?;
        let turn = time::timeout(PATIENCE, self.turn(&place)).await.ok()??;
        let done = tokio::task::spawn_blocking(move || {
            let _held = (turn, place);
            work()
        });
        done.await.ok()
    }

    async fn turn(&self, place: &Place) -> Option<[OwnedSemaphorePermit; 2]> {
        let first = Arc::clone(&place.first).acquire_owned().await.ok()?;
        let core = Arc::clone(&self.cores).acquire_owned().await.ok()?;
        Some([first, core])
    }
}

/// A request in a lane, as long as this lives.
struct Place {
    standing: Arc<Mutex<Standing>>,
    lane: Lane,
    first: Arc<Semaphore>,
}

impl Place {
    fn take(standing: Arc<Mutex<Standing>>, lane: Lane) -> Option<Self> {
        let first = standing.lock().enter(&lane)?;
        Some(Self { standing, lane, first })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.standing.lock().leave(&self.lane);
    }
}

impl Standing {
    fn enter(&mut self, lane: &Lane) -> Option<Arc<Semaphore>> {
        match self.lanes.entry(lane.clone()) {
            Entry::Occupied(mut entry) => {
                let in_lane = entry.get_mut();
                if in_lane.requests >= MOST_IN_LANE || self.requests >= MOST_IN_ALL {
                    return None;
                }
                in_lane.requests += 1;
                self.requests += 1;
                Some(Arc::clone(&in_lane.first))
            }
            Entry::Vacant(entry) => {
                if self.requests >= MOST_IN_ALL + MOST_NEWCOMERS {
                    return None;
                }
                self.requests += 1;
                let in_lane = InLane { requests: 1, first: Arc::new(Semaphore::new(1)) };
                Some(Arc::clone(&entry.insert(in_lane).first))
            }
        }
    }

    fn leave(&mut self, lane: &Lane) {
        self.requests -= 1;
        if let Some(in_lane) = self.lanes.get_mut(lane) {
            in_lane.requests -= 1;
            if in_lane.requests == 0 {
                self.lanes.remove(lane);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(n: u32) -> Lane {
        Lane::Source(Source::of(std::net::Ipv4Addr::from_bits(n).into()))
    }

    /// Takes places until there is none.
    fn fill(lanes: &Lanes, lane: &Lane) -> Vec<Place> {
        std::iter::from_fn(|| Place::take(Arc::clone(&lanes.standing), lane.clone())).collect()
    }

    #[tokio::test]
    async fn a_full_lane_is_no_matter_of_others() {
        let lanes = Lanes::new(1);
        let full = fill(&lanes, &lane(1));
        assert_eq!(full.len(), MOST_IN_LANE);
        assert_eq!(lanes.run(lane(1), || 7).await, None);
        assert_eq!(lanes.run(lane(2), || 7).await, Some(7));
        drop(full);
        assert_eq!(lanes.run(lane(1), || 7).await, Some(7));
        assert!(lanes.standing.lock().lanes.is_empty() && lanes.standing.lock().requests == 0);
    }

    #[test]
    fn when_all_lanes_are_full_a_new_one_still_has_a_place() {
        let lanes = Lanes::new(1);
        let full: Vec<_> = (0..100).flat_map(|n| fill(&lanes, &lane(n))).collect();
        assert!(full.len() >= MOST_IN_ALL);
        let newcomers: Vec<_> = (1_000..9_000).flat_map(|n| fill(&lanes, &lane(n))).collect();
        assert_eq!(full.len() + newcomers.len(), MOST_IN_ALL + MOST_NEWCOMERS);
        assert!(newcomers.len() > 900);
    }

    #[tokio::test]
    async fn lanes_take_turns() {
        let lanes = Arc::new(Lanes::new(1));
        let order = Arc::new(Mutex::new(Vec::new()));
        let core = Arc::clone(&lanes.cores).acquire_owned().await.unwrap();
        let ask = |n| {
            let (lanes, order) = (Arc::clone(&lanes), Arc::clone(&order));
            tokio::spawn(async move { lanes.run(lane(n), move || order.lock().push(n)).await })
        };
        let mut asked: Vec<_> = (0..20).map(|_| ask(1)).collect();
        tokio::task::yield_now().await;
        asked.push(ask(2));
        while lanes.standing.lock().requests < 21 {
            tokio::task::yield_now().await;
        }
        drop(core);
        for asked in asked {
            assert_eq!(asked.await.unwrap(), Some(()));
        }
        let place = order.lock().iter().position(|n| *n == 2).unwrap();
        assert!(place <= 2, "behind {place} of the other lane");
    }

    #[test]
    fn an_ipv6_network_is_one_source() {
        let of = |text: &str| Source::of(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1:2:3"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_ne!(of("10.0.0.1"), of("10.0.0.2"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
    }
}
