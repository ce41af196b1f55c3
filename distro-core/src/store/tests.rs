//! The store by its public functions.

use super::*;
use crate::record::LeaseTerms;
use crate::time::Now;

#[derive(Debug)]
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
    write_at(store, tag, lease, Tick::ZERO);
}

fn write_at(store: &Store<Text, ()>, tag: &str, lease: Option<LeaseTerms>, now: Tick) {
    let stamp = store.clock().issue(now);
    store.update(tag, now, |writer| {
        writer.register("k", stamp, Arc::new(Text { lease }), Health::Healthy);
    });
}

fn remove_at(store: &Store<Text, ()>, tag: &str, now: Tick) {
    let stamp = store.clock().issue(now);
    store.update_existing(tag, now, |writer| writer.deregister("k", stamp));
}

/// What a server does every second where too much was removed.
fn relieve(store: &Store<Text, ()>, now: Tick) {
    for slot in Slot::all().filter(|slot| store.is_crowded_slot(*slot)) {
        for datum in store.in_slot(slot) {
            store.clean_up(&datum, 5, now);
            store.relieve(&datum, now);
        }
    }
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

/// One instance comes and goes in each of many services, which are never used again.
fn churn(store: &Store<Text, ()>, second: u64, count: usize) {
    let now = Tick::from_ms(second * 1_000);
    for n in 0..count {
        let tag = format!("tag-{second}-{n}");
        write_at(store, &tag, None, now);
        remove_at(store, &tag, now);
    }
}

#[test]
fn datums_that_are_left_empty_count_until_they_are_used_again_or_gone() {
    let store = empty_store(StoreConfig::default());
    write(&store, "t", None);
    assert_eq!(store.tombstone_bytes(), 0);
    remove_at(&store, "t", Tick::ZERO);
    let emptied = store.tombstone_bytes();
    assert!(emptied > 400, "{emptied}");
    write(&store, "t", None);
    assert_eq!(store.tombstone_bytes(), 0);
    remove_at(&store, "t", Tick::ZERO);
    assert_eq!(store.tombstone_bytes(), emptied);
    // Its removal is forgotten after an hour, and it is still open.
    (1..4_000).for_each(|second| judge(&store, second));
    let datum = store.find("t").unwrap();
    assert!((1..emptied).contains(&store.tombstone_bytes()), "{}", store.tombstone_bytes());
    assert!(store.clean_up(&datum, 1, Tick::from_ms(4_000_000)));
    assert_eq!((store.tombstone_bytes(), store.len()), (0, 0));
}

#[test]
fn open_datums_that_nobody_cleans_up_do_not_count() {
    let store = empty_store(StoreConfig { keeps_empty: true, ..StoreConfig::default() });
    write(&store, "t", None);
    remove_at(&store, "t", Tick::ZERO);
    let removal = store.tombstone_bytes();
    assert!(removal < 100, "{removal}");
    close(&store, "t");
    assert!(store.tombstone_bytes() > removal + 400);
}

#[test]
fn services_that_come_and_go_without_end_stay_within_twice_the_budget() {
    const BUDGET: u64 = 500_000;
    const EACH_SECOND: usize = 100;
    let store = empty_store(StoreConfig { tombstone_bytes: BUDGET, ..StoreConfig::default() });
    write(&store, "lives", None);
    let mut most = 0;
    for second in 0..300 {
        churn(&store, second, EACH_SECOND);
        relieve(&store, Tick::from_ms(second * 1_000 + 900));
        judge(&store, second + 1);
        most = most.max(store.tombstone_bytes());
        // No removal is forgotten sooner than a late beat may come.
        let latest = store.hear(&format!("tag-{}-0", second.saturating_sub(9)), "k", Tick::ZERO);
        assert!(matches!(latest, Heard::Deregistered { .. }), "{second}: {latest:?}");
    }
    assert!(most > BUDGET && most <= 2 * BUDGET && !store.is_out_of_memory(), "{most}");
    assert!(store.len() <= 12 * EACH_SECOND, "{}", store.len());
    assert_eq!(store.visible_count(0), 1);
    let forgotten = store.hear("tag-0-0", "k", Tick::ZERO);
    assert!(matches!(forgotten, Heard::Unknown), "{forgotten:?}");
}

#[test]
fn a_store_without_room_for_removals_says_so_until_they_may_be_forgotten() {
    let store = empty_store(StoreConfig { tombstone_bytes: 50_000, ..StoreConfig::default() });
    churn(&store, 0, 1_000);
    relieve(&store, Tick::from_ms(9_900));
    assert!(store.is_out_of_memory());
    assert_eq!(store.tombstone_count(), 1_000);
    relieve(&store, Tick::from_ms(10_100));
    assert!(!store.is_out_of_memory() && !store.is_crowded());
}
