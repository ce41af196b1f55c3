//! How often somebody has tried wrong passwords: only so often in a minute for one name from one
//! address. Good ones are not counted.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::lanes::Source;

/// Failures allowed within [`WINDOW`].
const MAX_FAILURES: u32 = 20;
/// Begins with the first failure.
const WINDOW: Duration = Duration::from_secs(60);
/// Pairs of source and name counted in one generation; there are two.
const MAX_PAIRS: usize = 32_768;

/// Counts failures. As many more are possible as passwords are tried at the same time.
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

/// Source, and the name as a number that nobody can foresee.
type Pair = (Source, u64);

#[derive(Debug, Clone, Copy)]
struct Count {
    began: Instant,
    failures: u32,
}

impl Failures {
    /// Whether there have not been too many failures: else no password may be tried.
    pub(super) fn allow(&self, source: Source, user: &str, now: Instant) -> bool {
        let pair = self.pair(source, user);
        let pairs = self.pairs.lock();
        pairs.find(&pair).is_none_or(|count| count.failures < MAX_FAILURES || count.is_over(now))
    }

    /// There has been one more.
    pub(super) fn note(&self, source: Source, user: &str, now: Instant) {
        let pair = self.pair(source, user);
        let mut pairs = self.pairs.lock();
        let count = pairs.count(pair, now);
        count.failures = count.failures.saturating_add(1);
    }

    fn pair(&self, source: Source, user: &str) -> Pair {
        (source, self.hasher.hash_one(user))
    }
}

impl Count {
    fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.began) >= WINDOW
    }
}

impl Pairs {
    fn find(&self, pair: &Pair) -> Option<&Count> {
        self.newer.get(pair).or_else(|| self.older.get(pair))
    }

    fn count(&mut self, pair: Pair, now: Instant) -> &mut Count {
        let Self { newer, older } = self;
        if !newer.contains_key(&pair) && newer.len() >= MAX_PAIRS {
            std::mem::swap(newer, older);
            newer.clear();
        }
        let fresh = || Count { began: now, failures: 0 };
        let count = newer.entry(pair).or_insert_with(|| older.remove(&pair).unwrap_or_else(fresh));
        if count.is_over(now) {
            *count = fresh();
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: Source = Source::LOCALHOST;

    /// How many of so many tries are allowed, if all fail.
    fn tries(failures: &Failures, source: Source, user: &str, now: Instant) -> usize {
        let fails = |_: &usize| {
            let is_allowed = failures.allow(source, user, now);
            if is_allowed {
                failures.note(source, user, now);
            }
            is_allowed
        };
        (0..100).filter(fails).count()
    }

    #[test]
    fn twenty_a_minute_are_allowed_for_each_name_and_address() {
        let (failures, now) = (Failures::default(), Instant::now());
        assert_eq!(tries(&failures, ADDRESS, "u", now), 20);
        assert_eq!(tries(&failures, ADDRESS, "other", now), 20);
        assert_eq!(tries(&failures, Source::of([10, 0, 0, 1].into()), "u", now), 20);
        assert!(!failures.allow(ADDRESS, "u", now + WINDOW - Duration::from_millis(1)));
        assert_eq!(tries(&failures, ADDRESS, "u", now + WINDOW), 20);
        assert!(!failures.allow(ADDRESS, "u", now + WINDOW));
    }

    #[test]
    fn it_does_not_grow_without_end_nor_forget_at_once() {
        let (failures, now) = (Failures::default(), Instant::now());
        assert_eq!(tries(&failures, ADDRESS, "u", now), 20);
        for n in 0..MAX_PAIRS {
            failures.note(ADDRESS, &n.to_string(), now);
        }
        assert!(!failures.allow(ADDRESS, "u", now));
        for n in 0..3 * MAX_PAIRS {
            failures.note(ADDRESS, &n.to_string(), now);
            let pairs = failures.pairs.lock();
            assert!(pairs.newer.len() <= MAX_PAIRS && pairs.older.len() <= MAX_PAIRS);
        }
    }
}
