//! What outlives a restart: records that are put back, and removals that are remembered for long.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use distro_core::{
    DATUM_KEY, Datum, DistroConfig, Health, Heard, JudgeTerms, Key, LeaseTerms, MemberId, Now,
    Reader, Record, Stamp, StampClock, Store, StoreConfig, Tick, Value, Verdict, Watcher,
};
use proptest::prelude::*;

/// Has a lease if its number is odd.
#[derive(Debug, PartialEq)]
struct Text(u32);

impl Value for Text {
    fn lease(&self) -> Option<LeaseTerms> {
        let seconds = Duration::from_secs;
        let lease = LeaseTerms { unhealthy_after: seconds(15), expire_after: seconds(30) };
        (self.0 % 2 == 1).then_some(lease)
    }
    fn shows_like(&self, other: &Self) -> bool {
        self == other
    }
    fn class(&self) -> usize {
        0
    }
}

type TextStore = Store<Text, ()>;

#[derive(Default)]
struct Diary {
    changed: Mutex<Vec<(String, Vec<Key>, bool)>>,
    forgotten: Mutex<Vec<Key>>,
}

impl Watcher<Text, ()> for Diary {
    fn changed(&self, datum: &Arc<Datum<Text, ()>>, keys: &[Key], visible: bool) {
        self.changed.lock().unwrap().push((datum.tag().to_string(), keys.to_vec(), visible));
    }
    fn judged(&self, _: &Arc<Datum<Text, ()>>, _: &Verdict<Text>) {}
    fn forgotten(&self, datum: &Arc<Datum<Text, ()>>, keys: &[Key]) {
        let is_there = |key: &Key| datum.read(|reader| reader.find(key).is_some());
        assert!(!keys.iter().any(is_there), "what is told is over");
        self.forgotten.lock().unwrap().extend_from_slice(keys);
    }
}

const RETENTION: Duration = Duration::from_secs(100);
const DURABLE_RETENTION: Duration = Duration::from_secs(1_000);

fn is_durable(tag: &str, key: &str) -> bool {
    tag.starts_with('#') || key.is_empty() || key.starts_with('!')
}

fn config() -> StoreConfig {
    StoreConfig {
        is_durable,
        tombstone_retention: RETENTION,
        durable_retention: DURABLE_RETENTION,
        ..StoreConfig::default()
    }
}

fn at(seconds: u64) -> Tick {
    Tick::from_ms(seconds * 1_000)
}

fn store_with(config: StoreConfig, member: u32, wall_ms: u64) -> (TextStore, Arc<Diary>) {
    let diary = Arc::new(Diary::default());
    let clock = StampClock::new(MemberId(member), 1, Now { tick: Tick::ZERO, wall_ms });
    (Store::new(config, clock, vec![diary.clone()]), diary)
}

fn store() -> (TextStore, Arc<Diary>) {
    store_with(config(), 1, 1_700_000_000_000)
}

fn register(store: &TextStore, tag: &str, key: &str, value: u32, now: Tick) {
    let stamp = store.clock().issue(now);
    store.update(tag, now, |writer| {
        writer.register(key, stamp, Arc::new(Text(value)), Health::Healthy);
    });
}

fn deregister(store: &TextStore, tag: &str, key: &str, now: Tick) {
    let stamp = store.clock().issue(now);
    store.update(tag, now, |writer| writer.merge(key, &Record::removed(stamp)));
}

fn judge(store: &TextStore, seconds: std::ops::RangeInclusive<u64>) {
    for second in seconds {
        let (as_of, listening_since) = (at(second), Tick::ZERO);
        let terms = JudgeTerms { as_of, enabled: true, expire: true, listening_since, patience: 0 };
        while store.judge(&terms) {}
    }
}

fn read<R>(store: &TextStore, tag: &str, read: impl FnOnce(Reader<'_, Text>) -> R) -> R {
    store.find(tag).expect("a datum").read(read)
}

fn visible(store: &TextStore, tag: &str) -> Vec<String> {
    store.find(tag).map_or_else(Vec::new, |datum| {
        datum.read(|reader| reader.visible().map(|(key, ..)| key.to_string()).collect())
    })
}

type Saved = Vec<(Arc<str>, Vec<(Key, Record<Text>)>)>;

/// What somebody saves who saves everything.
fn saved(store: &TextStore) -> Saved {
    let all = store.all().into_iter();
    all.map(|datum| {
        (datum.tag().clone(), datum.read(|reader| reader.records_after(None).collect()))
    })
    .collect()
}

fn restore(store: &TextStore, saved: Saved, now: Tick) {
    for (tag, records) in saved {
        assert_eq!(store.restore(&tag, records, now), 0);
    }
}

#[test]
fn what_was_saved_comes_back_as_it_was_and_watchers_are_told() {
    let (before, _) = store();
    register(&before, "s", "", 2, at(1));
    register(&before, "s", "!a", 4, at(2));
    register(&before, "s", "!b", 6, at(3));
    deregister(&before, "s", "!b", at(4));
    register(&before, "#users", "root", 8, at(5));
    let (after, diary) = store();
    restore(&after, saved(&before), at(1));
    assert_eq!(visible(&after, "s"), ["", "!a"]);
    assert_eq!(after.root(), before.root());
    assert_eq!((after.visible_count(0), after.tombstone_count()), (3, 1));
    let changed = diary.changed.lock().unwrap();
    let keys = |keys: &[&str]| keys.iter().map(|key| Key::from(*key)).collect::<Vec<_>>();
    assert_eq!(
        *changed,
        [
            ("#users".to_owned(), keys(&["root"]), true),
            ("s".to_owned(), keys(&["", "!a", "!b"]), true)
        ]
    );
}

#[test]
fn stamps_issued_afterwards_are_greater_than_those_that_came_back() {
    let (ahead, _) = store_with(config(), 2, 1_900_000_000_000);
    register(&ahead, "s", "!a", 2, at(1));
    deregister(&ahead, "s", "!a", at(2));
    let removal = read(&ahead, "s", |reader| reader.find("!a").unwrap().newest());
    // Its wall clock has gone back by years.
    let (behind, _) = store_with(config(), 1, 1_000);
    restore(&behind, saved(&ahead), at(0));
    assert!(behind.clock().issue(at(0)) > removal);
    register(&behind, "s", "!a", 4, at(0));
    assert_eq!(visible(&behind, "s"), ["!a"], "a new registration counts");
}

#[test]
fn what_nobody_can_have_stamped_is_left_out() {
    let (store, _) = store();
    let stamp = |time| Stamp::from_parts(time, MemberId(3), 1);
    let record = |time| Record::registered(stamp(time), Arc::new(Text(2)), Health::Healthy);
    let records = [("!a", 7), ("!b", u64::MAX), ("!c", Stamp::LATEST_TIME)];
    let records = records.map(|(key, time)| (Key::from(key), record(time)));
    assert_eq!(store.restore("s", records, at(0)), 1);
    assert_eq!(visible(&store, "s"), ["!a", "!c"]);
}

#[test]
fn what_is_newer_here_stays() {
    let (old, _) = store();
    register(&old, "s", "!a", 2, at(1));
    let (new, _) = store_with(config(), 2, 1_700_000_100_000);
    register(&new, "s", "!a", 4, at(1));
    deregister(&new, "s", "!b", at(1));
    register(&old, "s", "!b", 2, at(1));
    restore(&new, saved(&old), at(2));
    assert_eq!(visible(&new, "s"), ["!a"]);
    let value = read(&new, "s", |reader| reader.find_visible("!a").map(|(_, value)| value.0));
    assert_eq!(value, Some(4));
}

#[test]
fn a_lease_that_came_back_gets_a_full_time_out_and_nobody_claims_to_have_heard_it() {
    let (before, _) = store();
    register(&before, "s", "a", 1, at(1));
    let (after, _) = store();
    restore(&after, saved(&before), at(1_000));
    read(&after, "s", |reader| assert_eq!(reader.heard().count(), 0));
    judge(&after, 1_000..=1_014);
    let health = |store| read(store, "s", |reader| reader.find("a").unwrap().health());
    assert_eq!(health(&after), Health::Healthy);
    judge(&after, 1_015..=1_029);
    assert_eq!(health(&after), Health::Unhealthy);
    judge(&after, 1_030..=1_031);
    assert!(visible(&after, "s").is_empty());
    // Who has not heard it has nothing to say against another's judgement either.
    let (other, _) = store();
    restore(&other, saved(&before), at(1_000));
    let foreign = Stamp::from_parts(3_000_000_000_000 << 16, MemberId(9), 1);
    let of = read(&other, "s", |reader| reader.find("a").unwrap().registration);
    let judged = Record::judged(of, foreign, Health::Expired);
    other.update("s", at(1_001), |writer| writer.merge("a", &judged));
    assert!(visible(&other, "s").is_empty());
    assert!(matches!(other.hear("s", "a", at(1_002)), Heard::Unknown));
}

#[test]
fn removals_of_durable_records_are_remembered_for_longer() {
    let (store, diary) = store();
    for key in ["a", "!a", DATUM_KEY] {
        register(&store, "s", key, 2, at(0));
        deregister(&store, "s", key, at(0));
    }
    assert_eq!(store.tombstone_count(), 3);
    judge(&store, 1..=99);
    assert_eq!(store.tombstone_count(), 3);
    judge(&store, 100..=170);
    read(&store, "s", |reader| assert!(reader.find("a").is_none()));
    assert_eq!(store.tombstone_count(), 2);
    assert!(diary.forgotten.lock().unwrap().is_empty(), "others are not told of");
    judge(&store, 171..=999);
    assert_eq!(store.tombstone_count(), 2);
    judge(&store, 1_000..=1_070);
    assert_eq!(store.tombstone_count(), 0);
    assert_eq!(*diary.forgotten.lock().unwrap(), [Key::from(DATUM_KEY), "!a".into()]);
}

#[test]
fn who_removes_what_never_was_leaves_no_lasting_mark() {
    let (store, diary) = store();
    deregister(&store, "s", "!a", at(0));
    deregister(&store, "s", "!b", at(0));
    // Another member knew one of the two.
    let earlier = Stamp::from_parts(9, MemberId(9), 1);
    let known = Record::registered(earlier, Arc::new(Text(2)), Health::Healthy);
    store.update("s", at(1), |writer| writer.merge("!b", &known));
    assert!(visible(&store, "s").is_empty());
    judge(&store, 1..=200);
    assert_eq!(store.tombstone_count(), 1);
    read(&store, "s", |reader| assert!(reader.find("!b").is_some()));
    judge(&store, 201..=1_100);
    assert_eq!(store.tombstone_count(), 0);
    // Somebody may have had either saved.
    assert_eq!(*diary.forgotten.lock().unwrap(), [Key::from("!a"), "!b".into()]);
}

#[test]
fn a_crowd_of_one_kind_does_not_make_the_other_be_forgotten() {
    // Room for those of one kind, and not for both.
    let config = StoreConfig { tombstones_per_slot: 10, tombstone_bytes: 4_000, ..config() };
    let (store, _) = store_with(config, 1, 1_700_000_000_000);
    for n in 0..50 {
        for key in [format!("k{n}"), format!("!k{n}")] {
            register(&store, "s", &key, 2, at(0));
            deregister(&store, "s", &key, at(0));
        }
    }
    judge(&store, 1..=70);
    assert_eq!(store.tombstone_count(), 50, "those of what beats are gone");
    register(&store, "s", "late", 2, at(70));
    deregister(&store, "s", "late", at(70));
    judge(&store, 71..=169);
    assert_eq!(store.tombstone_count(), 51, "where there are few, they are kept as ever");
    judge(&store, 170..=999);
    assert_eq!(store.tombstone_count(), 50);
    judge(&store, 1_000..=1_070);
    assert_eq!(store.tombstone_count(), 0);
}

#[test]
fn even_durable_removals_are_bounded() {
    let config = StoreConfig { durable_tombstones_per_slot: 10, tombstone_bytes: 0, ..config() };
    let (store, diary) = store_with(config, 1, 1_700_000_000_000);
    for n in 0..11 {
        register(&store, "s", &format!("!k{n}"), 2, at(0));
        deregister(&store, "s", &format!("!k{n}"), at(0));
    }
    judge(&store, 1..=99);
    assert_eq!(store.tombstone_count(), 11);
    judge(&store, 100..=170);
    assert_eq!((store.tombstone_count(), diary.forgotten.lock().unwrap().len()), (0, 11));
}

#[test]
fn a_durable_record_that_comes_again_is_no_tombstone_any_more() {
    let config = StoreConfig { durable_tombstones_per_slot: 1, tombstone_bytes: 0, ..config() };
    let (store, _) = store_with(config, 1, 1_700_000_000_000);
    // Were they still counted, the one that is left would be one of a crowd.
    for n in 0..20 {
        register(&store, "s", "!a", 2, at(n));
        deregister(&store, "s", "!a", at(n));
    }
    register(&store, "s", "!a", 2, at(20));
    register(&store, "s", "!b", 2, at(20));
    deregister(&store, "s", "!b", at(20));
    judge(&store, 20..=900);
    assert_eq!(store.tombstone_count(), 1);
}

#[test]
fn the_defaults_fit_each_other() {
    let (store, distro) = (StoreConfig::default(), DistroConfig::default());
    assert!(!(store.is_durable)("#users", "root") && !(store.is_durable)("s", ""));
    assert!(store.durable_retention > store.tombstone_retention);
    assert!(store.tombstone_retention > distro.absent_after);
}

#[derive(Debug, Clone)]
enum Step {
    Register(u8, u32),
    Deregister(u8),
    Close,
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..5_u8, 0..4_u32).prop_map(|(key, value)| Step::Register(key, value)),
        3 => (0..5_u8).prop_map(Step::Deregister),
        1 => Just(Step::Close),
        2 => (0..150_u64).prop_map(Step::Wait),
    ]
}

proptest! {
    /// Restarts in the middle of things change nothing that readers see, but health.
    #[test]
    fn a_restart_keeps_what_is_there_and_what_was_removed(
        steps in proptest::collection::vec(step(), 0..40),
        restart_at in 0..40_usize,
    ) {
        let keys = ["", "!a", "!b", "a", "b"];
        let (mut store, _) = store();
        let (mut now, mut removed) = (0, Vec::new());
        for (index, step) in steps.iter().enumerate() {
            if index == restart_at {
                let (fresh, _) = store_with(config(), 1, 1_700_000_500_000);
                restore(&fresh, saved(&store), at(now));
                prop_assert_eq!(fresh.root(), store.root());
                prop_assert_eq!(fresh.tombstone_count(), store.tombstone_count());
                store = fresh;
            }
            match step {
                Step::Register(key, value) => {
                    let key = keys[usize::from(*key)];
                    register(&store, "s", key, value * 2, at(now));
                    removed.retain(|(_, gone)| *gone != key);
                }
                Step::Deregister(key) => {
                    let key = keys[usize::from(*key)];
                    let was = visible(&store, "s").iter().any(|there| there == key);
                    deregister(&store, "s", key, at(now));
                    if was && is_durable("s", key) {
                        removed.push((now, key));
                    }
                    if key.is_empty() {
                        let there = |key: &&str| visible(&store, "s").iter().any(|k| k == key);
                        prop_assert!(!keys.iter().any(there), "closed");
                    }
                }
                Step::Close => {
                    store.update("s", at(now), |writer| {
                        writer.close(store.clock().issue(at(now)));
                    });
                    prop_assert!(visible(&store, "s").is_empty());
                }
                Step::Wait(seconds) => {
                    judge(&store, now..=now + seconds);
                    now += seconds;
                }
            }
            for (since, key) in &removed {
                if now - since < DURABLE_RETENTION.as_secs() {
                    let found = store.find("s").and_then(|datum| {
                        datum.read(|reader| reader.find(key).map(|record| record.is_tombstone()))
                    });
                    prop_assert_eq!(found, Some(true), "{} removed at {}", key, since);
                }
            }
        }
    }
}
