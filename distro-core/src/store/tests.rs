//! The store by its public functions.

use super::*;
use crate::record::LeaseTerms;
use crate::time::Now;

struct Text {
    lease: Option<LeaseTerms>,
}

impl Value for Text {
    fn lease(&self) -> Option<LeaseTerms> {
        self.lease
    }
    fn shows_like(&self, _: &Self) -> bool {
        true
    }
    fn class(&self) -> usize {
        0
    }
}

const TERMS: JudgeTerms = JudgeTerms {
    as_of: Tick::ZERO,
    enabled: true,
    expire: true,
    listening_since: Tick::ZERO,
    patience: 0,
};

fn empty_store(config: StoreConfig) -> Store<Text, ()> {
    let clock = StampClock::new(MemberId(1), 1, Now { tick: Tick::ZERO, wall_ms: 1 });
    Store::new(config, clock, vec![])
}

fn tag(n: usize) -> String {
    format!("tag-{n}")
}

fn write(store: &Store<Text, ()>, tag: &str, lease: Option<LeaseTerms>) {
    let stamp = store.clock().issue(Tick::ZERO);
    store.update(tag, Tick::ZERO, |writer| {
        writer.register("k", stamp, Arc::new(Text { lease }), Health::Healthy);
    });
}

fn close(store: &Store<Text, ()>, tag: &str) {
    let stamp = store.clock().issue(Tick::ZERO);
    store.update(tag, Tick::ZERO, |writer| writer.close(stamp));
}

fn judge(store: &Store<Text, ()>, second: u64) {
    let terms = JudgeTerms { as_of: Tick::from_ms(second * 1_000), ..TERMS };
    while store.judge(&terms) {}
}

#[test]
fn the_map_gives_its_room_back_when_most_datums_are_gone() {
    const DATUMS: usize = 50_000;
    let store = empty_store(StoreConfig::default());
    (0..DATUMS).for_each(|n| write(&store, &tag(n), None));
    let full = store.datums.capacity();
    assert!(full >= DATUMS);
    let kept = |n: usize| n.is_multiple_of(100);
    (0..DATUMS).filter(|n| !kept(*n)).for_each(|n| close(&store, &tag(n)));
    (0..4_000).for_each(|second| judge(&store, second));
    assert_eq!(store.len(), DATUMS / 100);
    assert!(store.datums.capacity() < full / 5, "{} of {full}", store.datums.capacity());
    assert!((0..DATUMS).all(|n| store.find(&tag(n)).is_some() == kept(n)));
    let tags = Slot::all().flat_map(|slot| store.tags(slot, None));
    assert_eq!(tags.count(), DATUMS / 100);
}

#[test]
fn nothing_is_kept_of_datums_that_are_gone_until_they_would_have_been_judged() {
    const DATUMS: usize = 5_000;
    const DAY: Duration = Duration::from_secs(86_400);
    let short = Duration::from_secs(2);
    let config = StoreConfig {
        tombstone_retention: short,
        compensation_window: short,
        ..StoreConfig::default()
    };
    let store = empty_store(config);
    let lease = LeaseTerms { unhealthy_after: DAY, expire_after: DAY };
    (0..DATUMS).for_each(|n| write(&store, &tag(n), Some(lease)));
    judge(&store, 1);
    assert!(store.ring.len() >= DATUMS, "all wait to be looked at again");
    (0..DATUMS).for_each(|n| close(&store, &tag(n)));
    // Well before the ring's reach of 51 s.
    (1..20).for_each(|second| judge(&store, second));
    assert_eq!(store.len(), 0);
    // The last one was still in use when it was looked at.
    assert!(store.ring.len() < 10, "{}", store.ring.len());
}
