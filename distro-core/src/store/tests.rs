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

fn write(store: &Store<Text, ()>, tag: &str) {
    write_leased(store, tag, None);
}

fn write_leased(store: &Store<Text, ()>, tag: &str, lease: Option<LeaseTerms>) {
    let stamp = store.clock().issue(Tick::ZERO);
    store.update(tag, Tick::ZERO, |writer| {
        writer.register("k", stamp, Arc::new(Text { lease }), Health::Healthy);
    });
}

#[test]
fn the_map_gives_its_room_back_when_most_datums_are_gone() {
    const DATUMS: usize = 50_000;
    let clock = StampClock::new(MemberId(1), 1, Now { tick: Tick::ZERO, wall_ms: 1 });
    let store: Store<Text, ()> = Store::new(StoreConfig::default(), clock, vec![]);
    let tag = |n: usize| format!("tag-{n}");
    (0..DATUMS).for_each(|n| write(&store, &tag(n)));
    let full = store.datums.capacity();
    assert!(full >= DATUMS);
    let kept = |n: usize| n.is_multiple_of(100);
    for n in (0..DATUMS).filter(|n| !kept(*n)) {
        let stamp = store.clock().issue(Tick::ZERO);
        store.update(&tag(n), Tick::ZERO, |writer| writer.close(stamp));
    }
    let terms =
        JudgeTerms { enabled: true, expire: true, listening_since: Tick::ZERO, patience: 0 };
    for second in 0..4_000 {
        while store.judge(&terms, Tick::from_ms(second * 1_000)) {}
    }
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
    let clock = StampClock::new(MemberId(1), 1, Now { tick: Tick::ZERO, wall_ms: 1 });
    let store: Store<Text, ()> = Store::new(config, clock, vec![]);
    let tag = |n: usize| format!("tag-{n}");
    let lease = LeaseTerms { unhealthy_after: DAY, expire_after: DAY };
    (0..DATUMS).for_each(|n| write_leased(&store, &tag(n), Some(lease)));
    let terms =
        JudgeTerms { enabled: true, expire: true, listening_since: Tick::ZERO, patience: 0 };
    let judge = |second: u64| while store.judge(&terms, Tick::from_ms(second * 1_000)) {};
    judge(1);
    assert!(store.ring.len() >= DATUMS, "all wait to be looked at again");
    for n in 0..DATUMS {
        let stamp = store.clock().issue(Tick::ZERO);
        store.update(&tag(n), Tick::ZERO, |writer| writer.close(stamp));
    }
    // Well before the ring's reach of 51 s.
    (1..20).for_each(judge);
    assert_eq!(store.len(), 0);
    // The last one was still in use when it was looked at.
    assert!(store.ring.len() < 10, "{}", store.ring.len());
}
