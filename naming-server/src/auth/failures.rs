//! How often somebody has tried wrong passwords: only so often in a minute for one name from one
//! address. Good ones are not counted.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Failures allowed within [`WINDOW`].
const MAX_FAILURES: u32 = 20;
/// Begins with the first failure.
const WINDOW: Duration = Duration::from_secs(60);
/// Pairs of address and name counted in one generation; there are two.
const MAX_PAIRS: usize = 32_768;

/// Counts failures. Every attempt is one until it is forgiven, so that many at the same time are
/// not more than many in a row.
#[derive(Default)]
pub(super) struct Failures {
    pairs: Mutex<Pairs>,
    hasher: RandomState,
}

/// When the newer generation is full, the older is forgotten: by then its windows have nearly
/// always ended, since each failure takes its time.
#[derive(Default)]
struct Pairs {
    newer: HashMap<Pair, Count>,
    older: HashMap<Pair, Count>,
}

/// Address, and the name as a number that nobody can foresee.
type Pair = (IpAddr, u64);

#[derive(Debug, Clone, Copy)]
struct Count {
    began: Instant,
    failures: u32,
}

impl Failures {
    /// Counts an attempt. False if there have been too many failures: then it must not be made.
    pub(super) fn begin(&self, source: IpAddr, user: &str, now: Instant) -> bool {
        let pair = self.pair(source, user);
        let mut pairs = self.pairs.lock();
        let count = pairs.count(pair, now);
        if count.failures >= MAX_FAILURES {
            return false;
        }
        count.failures += 1;
        true
    }

    /// An attempt was no failure.
    pub(super) fn forgive(&self, source: IpAddr, user: &str) {
        let pair = self.pair(source, user);
        let Pairs { newer, older } = &mut *self.pairs.lock();
        if let Some(count) = newer.get_mut(&pair).or_else(|| older.get_mut(&pair)) {
            count.failures = count.failures.saturating_sub(1);
        }
    }

    fn pair(&self, source: IpAddr, user: &str) -> Pair {
        (source, self.hasher.hash_one(user))
    }
}

impl Pairs {
    fn count(&mut self, pair: Pair, now: Instant) -> &mut Count {
        let Self { newer, older } = self;
        if !newer.contains_key(&pair) && newer.len() >= MAX_PAIRS {
            std::mem::swap(newer, older);
            newer.clear();
        }
        let fresh = || Count { began: now, failures: 0 };
        let count = newer.entry(pair).or_insert_with(|| older.remove(&pair).unwrap_or_else(fresh));
        if now.saturating_duration_since(count.began) >= WINDOW {
            *count = fresh();
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn twenty_a_minute_are_allowed_for_each_name_and_address() {
        let (failures, now) = (Failures::default(), Instant::now());
        assert!((0..20).all(|_| failures.begin(ADDRESS, "u", now)));
        assert!(!failures.begin(ADDRESS, "u", now));
        assert!(failures.begin(ADDRESS, "other", now));
        assert!(failures.begin([10, 0, 0, 1].into(), "u", now));
        assert!(!failures.begin(ADDRESS, "u", now + WINDOW - Duration::from_millis(1)));
        assert!((0..20).all(|_| failures.begin(ADDRESS, "u", now + WINDOW)));
        assert!(!failures.begin(ADDRESS, "u", now + WINDOW));
    }

    #[test]
    fn what_succeeds_is_not_counted() {
        let (failures, now) = (Failures::default(), Instant::now());
        for _ in 0..1_000 {
            assert!(failures.begin(ADDRESS, "u", now));
            failures.forgive(ADDRESS, "u");
        }
        failures.forgive(ADDRESS, "u");
        assert!((0..20).all(|_| failures.begin(ADDRESS, "u", now)));
        assert!(!failures.begin(ADDRESS, "u", now));
    }

    #[test]
    fn it_does_not_grow_without_end_nor_forget_at_once() {
        let (failures, now) = (Failures::default(), Instant::now());
        assert!((0..20).all(|_| failures.begin(ADDRESS, "u", now)));
        for n in 0..MAX_PAIRS {
            failures.begin(ADDRESS, &n.to_string(), now);
        }
        assert!(!failures.begin(ADDRESS, "u", now));
        for n in 0..3 * MAX_PAIRS {
            failures.begin(ADDRESS, &n.to_string(), now);
            let pairs = failures.pairs.lock();
            assert!(pairs.newer.len() <= MAX_PAIRS && pairs.older.len() <= MAX_PAIRS);
        }
    }
}
