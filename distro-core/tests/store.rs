//! The store as its callers see it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use distro_core::{
    Datum, Health, Heard, JudgeTerms, Key, LeaseTerms, MemberId, Now, Record, SLOT_COUNT, Slot,
    StampClock, Store, StoreConfig, Tick, Value, Verdict, Watcher,
};
use proptest::prelude::*;

#[derive(Debug, PartialEq)]
struct Text(u32);

impl Value for Text {
    fn lease(&self) -> Option<LeaseTerms> {
        let seconds = Duration::from_secs;
        Some(LeaseTerms { unhealthy_after: seconds(15), expire_after: seconds(30) })
    }
    fn shows_like(&self, other: &Self) -> bool {
        self == other
    }
    fn class(&self) -> usize {
        0
    }
    fn weight(&self) -> usize {
        100 + self.0 as usize
    }
}

/// Writes down what it is told.
#[derive(Default)]
struct Diary {
    visible: AtomicUsize,
    changed: Mutex<Vec<String>>,
    judged: Mutex<Vec<(String, Health, Duration)>>,
}

impl Watcher<Text, ()> for Diary {
    fn changed(&self, _: &Arc<Datum<Text, ()>>, keys: &[Key], visible: bool) {
        self.visible.fetch_add(usize::from(visible), Ordering::Relaxed);
        self.changed.lock().unwrap().extend(keys.iter().map(ToString::to_string));
    }
    fn judged(&self, _: &Arc<Datum<Text, ()>>, verdict: &Verdict<Text>) {
        let entry = (verdict.key.to_string(), verdict.health, verdict.silent_for);
        self.judged.lock().unwrap().push(entry);
    }
}

type TextStore = Store<Text, ()>;

fn at(seconds: u64) -> Tick {
    Tick::from_ms(seconds * 1_000)
}

fn store_with(config: StoreConfig, member: u32) -> (TextStore, Arc<Diary>) {
    let diary = Arc::new(Diary::default());
    let start = Now { tick: Tick::ZERO, wall_ms: 1_700_000_000_000 };
    let clock = StampClock::new(MemberId(member), 1, start);
    (Store::new(config, clock, vec![diary.clone()]), diary)
}

fn store() -> (TextStore, Arc<Diary>) {
    store_with(StoreConfig::default(), 1)
}

fn register(store: &TextStore, tag: &str, key: &str, value: u32, now: Tick) {
    let stamp = store.clock().issue(now);
    store.update(tag, now, |writer| {
        writer.register(key, stamp, Arc::new(Text(value)), Health::Healthy);
    });
}

fn deregister(store: &TextStore, tag: &str, key: &str, now: Tick) -> bool {
    let stamp = store.clock().issue(now);
    store.update_existing(tag, now, |writer| writer.deregister(key, stamp)).unwrap_or(false)
}

fn judge(store: &TextStore, now: Tick) {
    let (as_of, listening_since) = (now, Tick::ZERO);
    let terms = JudgeTerms { as_of, enabled: true, expire: true, listening_since, patience: 0 };
    while store.judge(&terms) {}
}

fn visible(store: &TextStore, tag: &str) -> Vec<String> {
    let keys = |datum: Arc<Datum<Text, ()>>| {
        datum.read(|reader| reader.visible().map(|(key, ..)| key.to_string()).collect())
    };
    store.find(tag).map_or_else(Vec::new, keys)
}

fn checksums(store: &TextStore) -> Vec<u64> {
    let tags = (0..20_000).map(|n| format!("tag-{n}"));
    let mut sums = vec![0; SLOT_COUNT];
    for slot in tags.map(|tag| Slot::of(&tag)) {
        sums[slot.index()] = store.checksum(slot);
    }
    sums
}

#[test]
fn an_instance_that_falls_silent_turns_unhealthy_and_then_goes() {
    let (store, diary) = store();
    register(&store, "t", "a", 1, at(0));
    for second in 1..=40 {
        judge(&store, at(second));
        match second {
            0..15 => assert!(diary.judged.lock().unwrap().is_empty()),
            15..30 => assert_eq!(visible(&store, "t"), ["a"]),
            _ => assert!(visible(&store, "t").is_empty(), "at {second} s"),
        }
    }
    let judged = diary.judged.lock().unwrap();
    let expected = [
        ("a".to_owned(), Health::Unhealthy, Duration::from_secs(15)),
        ("a".to_owned(), Health::Expired, Duration::from_secs(30)),
    ];
    assert_eq!(*judged, expected);
}

#[test]
fn beats_keep_it_and_never_change_the_revision() {
    let (store, diary) = store();
    register(&store, "t", "a", 1, at(0));
    let revision = store.find("t").unwrap().revision();
    for second in 1..=120 {
        if second % 5 == 0 {
            assert!(matches!(store.hear("t", "a", at(second)), Heard::Known { .. }));
        }
        judge(&store, at(second));
    }
    assert!(diary.judged.lock().unwrap().is_empty());
    assert_eq!(store.find("t").unwrap().revision(), revision);
}

#[test]
fn a_beat_makes_an_unhealthy_record_healthy_at_once() {
    let (store, diary) = store();
    register(&store, "t", "a", 1, at(0));
    judge(&store, at(16));
    let Heard::Known { health, .. } = store.hear("t", "a", at(17)) else { panic!("known") };
    assert_eq!(health, Health::Unhealthy);
    let Heard::Known { health, .. } = store.hear("t", "a", at(17)) else { panic!("known") };
    assert_eq!(health, Health::Healthy);
    assert_eq!(diary.judged.lock().unwrap().len(), 2);
    judge(&store, at(31));
    assert_eq!(visible(&store, "t"), ["a"]);
}

#[test]
fn registering_the_same_again_is_no_visible_change_but_renews_the_lease() {
    let (store, diary) = store();
    register(&store, "t", "a", 1, at(0));
    register(&store, "t", "a", 1, at(14));
    assert_eq!(diary.visible.load(Ordering::Relaxed), 1);
    judge(&store, at(28));
    assert!(diary.judged.lock().unwrap().is_empty());
    register(&store, "t", "a", 2, at(28));
    assert_eq!(diary.visible.load(Ordering::Relaxed), 2);
}

#[test]
fn a_deregistration_is_remembered_for_the_retention_time() {
    let retention = Duration::from_secs(60);
    let config = StoreConfig { tombstone_retention: retention, ..StoreConfig::default() };
    let (store, _) = store_with(config, 1);
    register(&store, "t", "a", 1, at(0));
    assert!(deregister(&store, "t", "a", at(5)));
    assert!(!deregister(&store, "t", "a", at(6)));
    let Heard::Deregistered { learned } = store.hear("t", "a", at(7)) else { panic!("tombstone") };
    assert_eq!(learned, at(5));
    (5..64).for_each(|second| judge(&store, at(second)));
    assert_eq!(store.tombstone_count(), 1);
    (64..130).for_each(|second| judge(&store, at(second)));
    assert_eq!(store.tombstone_count(), 0);
    assert!(matches!(store.hear("t", "a", at(130)), Heard::Unknown));
    assert!(store.find("t").unwrap().read(|reader| reader.is_open()));
}

#[test]
fn a_closed_datum_leaves_memory_once_its_tombstones_do() {
    let (store, _) = store();
    register(&store, "t", "a", 1, at(0));
    store.update("t", at(1), |writer| writer.close(store.clock().issue(at(1))));
    assert!(visible(&store, "t").is_empty());
    assert!(!store.find("t").unwrap().read(|reader| reader.is_open()));
    (1..4_000).for_each(|second| judge(&store, at(second)));
    assert_eq!(store.tombstone_count(), 0);
    assert!(store.is_empty());
    register(&store, "t", "a", 1, at(4_000));
    assert_eq!(visible(&store, "t"), ["a"]);
}

#[test]
fn a_crowd_of_tombstones_is_kept_for_the_compensation_window_only() {
    let config =
        StoreConfig { tombstones_per_slot: 10, tombstone_bytes: 700, ..StoreConfig::default() };
    let (store, _) = store_with(config, 1);
    for n in 0..100 {
        register(&store, "t", &format!("k{n}"), n, at(0));
        deregister(&store, "t", &format!("k{n}"), at(0));
    }
    assert_eq!(store.tombstone_count(), 100);
    (1..70).for_each(|second| judge(&store, at(second)));
    assert_eq!(store.tombstone_count(), 0);
}

#[test]
fn tombstones_that_come_all_the_time_are_forgotten_in_few_goes_and_little_later() {
    let seconds = Duration::from_secs;
    let config = StoreConfig { tombstone_retention: seconds(64), ..StoreConfig::default() };
    let (store, _) = store_with(config, 1);
    let mut goes = 0;
    for second in 1..1_000 {
        let (key, before) = (format!("k{second}"), store.tombstone_count());
        judge(&store, at(second));
        goes += u32::from(store.tombstone_count() < before);
        // None goes early, and none stays for more than a sixteenth longer than it should.
        let expected = (second - 1).min(63)..=67;
        assert!(expected.contains(&store.tombstone_count()), "at {second} s");
        register(&store, "t", &key, 1, at(second));
        deregister(&store, "t", &key, at(second));
    }
    assert!((200..=300).contains(&goes), "{goes}");
}

#[test]
fn a_key_written_twice_in_one_update_is_told_once() {
    let (store, diary) = store();
    store.update("t", at(0), |writer| {
        for (key, value) in [("b", 1), ("a", 1), ("b", 2)] {
            let stamp = store.clock().issue(at(0));
            writer.register(key, stamp, Arc::new(Text(value)), Health::Healthy);
        }
    });
    assert_eq!(*diary.changed.lock().unwrap(), ["a", "b"]);
}

/// Looking through what has changed so far for each further record takes minutes here.
#[test]
#[allow(clippy::disallowed_methods, reason = "it measures how long the store takes")]
fn many_records_of_one_datum_go_without_long_pauses() {
    const RECORDS: usize = 50_000;
    let (store, diary) = store();
    let fill = |tag: &str| {
        store.update(tag, at(0), |writer| {
            let value = Arc::new(Text(1));
            for n in 0..RECORDS {
                let stamp = store.clock().issue(at(0));
                writer.register(&format!("k{n:06}"), stamp, Arc::clone(&value), Health::Healthy);
            }
        });
    };
    fill("closed");
    store.update("closed", at(1), |writer| writer.close(store.clock().issue(at(1))));
    fill("silent");
    (1..=40).for_each(|second| judge(&store, at(second)));
    assert!(visible(&store, "closed").is_empty() && visible(&store, "silent").is_empty());
    assert_eq!(diary.judged.lock().unwrap().len(), 2 * RECORDS);
}

#[test]
fn an_update_that_writes_nothing_leaves_no_datum() {
    let (store, diary) = store();
    store.update("t", at(0), |writer| assert!(writer.find("a").is_none()));
    assert!(store.is_empty());
    assert_eq!(diary.visible.load(Ordering::Relaxed), 0);
}

#[test]
fn threads_that_write_and_collect_lose_nothing() {
    let (store, _) = store();
    std::thread::scope(|scope| {
        for thread in 0..4_u32 {
            let store = &store;
            scope.spawn(move || {
                for n in 0..2_000 {
                    let key = format!("k{thread}-{n}");
                    register(store, &format!("t{}", n % 7), &key, n, at(1));
                    if n % 2 == 0 {
                        assert!(deregister(store, &format!("t{}", n % 7), &key, at(1)));
                    }
                    // Datums come and go under the others' feet.
                    let fleeting = format!("f{}", n % 3);
                    store.update(&fleeting, at(1), |_| ());
                    judge(store, at(2));
                }
            });
        }
    });
    assert_eq!(store.visible_count(0), 4_000);
    let all: usize = store.all().iter().map(|datum| visible(&store, datum.tag()).len()).sum();
    assert_eq!(all, 4_000);
}

/// One write of the property below.
#[derive(Debug, Clone)]
enum Write {
    Register(u8, u8, u32),
    Deregister(u8, u8),
    Judge(u8, u8, bool),
    Close(u8),
}

fn write() -> impl Strategy<Value = Write> {
    let (tag, key) = (0..4_u8, 0..4_u8);
    prop_oneof![
        4 => (tag.clone(), key.clone(), 0..3_u32).prop_map(|(t, k, v)| Write::Register(t, k, v)),
        2 => (tag.clone(), key.clone()).prop_map(|(t, k)| Write::Deregister(t, k)),
        2 => (tag.clone(), key, any::<bool>()).prop_map(|(t, k, e)| Write::Judge(t, k, e)),
        1 => tag.prop_map(Write::Close),
    ]
}

fn apply(store: &TextStore, write: &Write) {
    let stamp = store.clock().issue(at(1));
    let tag = |n: &u8| format!("tag-{n}");
    match write {
        Write::Register(t, k, v) => register(store, &tag(t), &format!("k{k}"), *v, at(1)),
        Write::Deregister(t, k) => {
            deregister(store, &tag(t), &format!("k{k}"), at(1));
        }
        Write::Judge(t, k, expired) => {
            let health = if *expired { Health::Expired } else { Health::Unhealthy };
            store.update(&tag(t), at(1), |writer| writer.judge(&format!("k{k}"), stamp, health));
        }
        Write::Close(t) => store.update(&tag(t), at(1), |writer| writer.close(stamp)),
    }
}

/// All records of a store, tombstones included.
fn records(store: &TextStore) -> Vec<(Arc<str>, String, Record<Text>)> {
    let keys = ["", "k0", "k1", "k2", "k3"];
    let mut all = Vec::new();
    for datum in store.all() {
        datum.read(|reader| {
            for key in keys {
                if let Some(record) = reader.find(key) {
                    all.push((datum.tag().clone(), key.to_owned(), record.into_owned()));
                }
            }
        });
    }
    all
}

/// What visible records carry, counted anew.
fn carried(store: &TextStore) -> u64 {
    let visible = records(store).into_iter().filter(|(_, _, record)| record.is_visible());
    let bytes = visible.filter_map(|(tag, key, record)| {
        Some(tag.len() + key.len() + record.value.as_ref()?.weight())
    });
    bytes.sum::<usize>() as u64
}

proptest! {
    #[test]
    fn stores_that_merged_the_same_records_in_any_order_agree(
        writes in proptest::collection::vec(write(), 0..60),
        reversed in any::<bool>(),
    ) {
        let (first, _) = store();
        writes.iter().for_each(|write| apply(&first, write));
        let mut all = records(&first);
        if reversed {
            all.reverse();
        }
        let (second, _) = store_with(StoreConfig::default(), 2);
        for (tag, key, record) in all.iter().chain(&all) {
            second.update(tag, at(2), |writer| writer.merge(key, record));
        }
        prop_assert_eq!(checksums(&first), checksums(&second));
        prop_assert_eq!(first.visible_count(0), second.visible_count(0));
        for store in [&first, &second] {
            prop_assert_eq!(store.carried_bytes(), carried(store));
        }
        prop_assert_eq!(first.tombstone_count(), second.tombstone_count());

        let tags: Vec<_> = first.all().iter().map(|datum| datum.tag().clone()).collect();
        for tag in tags {
            first.update(&tag, at(3), |writer| writer.close(first.clock().issue(at(3))));
        }
        prop_assert!(checksums(&first).iter().all(|sum| *sum == 0), "an empty store folds to zero");
        prop_assert_eq!(first.visible_count(0), 0);
        prop_assert_eq!(first.carried_bytes(), 0);
    }
}
