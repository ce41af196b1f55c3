//! Writes of clients as a member carries them out.

use std::borrow::Cow;
use std::sync::Arc;

use distro_core::{
    DATUM_KEY, Health, LeaseTerms, MemberId, Now, Operation, Record, Stamp, StampClock, Store,
    StoreConfig, Tick, Value, Written, apply,
};

#[derive(Debug, PartialEq)]
struct Text(u32);

impl Value for Text {
    fn lease(&self) -> Option<LeaseTerms> {
        None
    }
    fn shows_like(&self, other: &Self) -> bool {
        self == other
    }
    fn class(&self) -> usize {
        0
    }
}

const NOW: Tick = Tick::ZERO;

fn store() -> Store<Text, ()> {
    let start = Now { tick: NOW, wall_ms: 1_700_000_000_000 };
    Store::new(StoreConfig::default(), StampClock::new(MemberId(1), 1, start), vec![])
}

fn stamp(store: &Store<Text, ()>) -> Stamp {
    store.clock().issue(NOW)
}

fn find(store: &Store<Text, ()>, key: &str) -> Option<Record<Text>> {
    store.find("t")?.read(|reader| reader.find(key).map(Cow::into_owned))
}

fn shown(written: &Written<Text>) -> (bool, Option<u32>) {
    let value = written.record.as_ref().and_then(|record| record.value.as_ref());
    (written.is_applied, value.map(|text| text.0))
}

fn registration(stamp: Stamp, number: u32) -> Operation<Text> {
    Operation::register("t", "k", stamp, Arc::new(Text(number)), Health::Healthy)
}

#[test]
fn a_conditional_write_wants_the_version_that_was_read() {
    let store = store();
    let write = |number, expected| {
        let operation = registration(stamp(&store), number).expecting(expected);
        shown(&apply(&store, &operation, NOW))
    };
    let version = || find(&store, "k").map_or(Stamp::NEVER, |record| record.version());
    let made_up = Stamp::from_parts(7, MemberId(1), 1);
    assert_eq!(write(1, made_up), (false, None));
    assert!(store.is_empty(), "what was refused leaves nothing");
    assert_eq!(write(1, Stamp::NEVER), (true, Some(1)));
    let first = version();
    assert_eq!(write(2, Stamp::NEVER), (false, Some(1)));
    assert_eq!(write(2, first), (true, Some(2)));
    assert_eq!(write(3, first), (false, Some(2)));
    assert_eq!(write(3, version()), (true, Some(3)));
    apply(&store, &Operation::deregister("t", "k", stamp(&store)), NOW);
    assert_eq!(version(), Stamp::NEVER);
    assert_eq!(write(4, first), (false, None));
    assert_eq!(write(4, Stamp::NEVER), (true, Some(4)));
}

#[test]
fn a_conditional_write_that_comes_twice_counts_once_and_does_not_stand_in_its_own_way() {
    let store = store();
    apply(&store, &registration(stamp(&store), 1), NOW);
    let version = find(&store, "k").unwrap().version();
    let update = registration(stamp(&store), 2).expecting(version);
    assert_eq!(shown(&apply(&store, &update, NOW)), (true, Some(2)));
    assert_eq!(shown(&apply(&store, &update, NOW)), (true, Some(2)));
    apply(&store, &registration(stamp(&store), 3), NOW);
    assert_eq!(shown(&apply(&store, &update, NOW)), (false, Some(3)));
}

#[test]
fn a_write_that_lost_against_a_later_one_says_so() {
    let store = store();
    let (early, late) = (stamp(&store), stamp(&store));
    assert!(apply(&store, &registration(late, 2), NOW).is_applied);
    assert_eq!(shown(&apply(&store, &registration(early, 1), NOW)), (false, Some(2)));
    assert!(!apply(&store, &Operation::deregister("t", "k", early), NOW).is_applied);
    assert_eq!(find(&store, "k").unwrap().version(), late);
}

#[test]
fn health_is_set_by_hand_for_what_readers_see_only() {
    let store = store();
    let judge = |health| {
        let operation = Operation::judge("t", "k", stamp(&store), health);
        apply(&store, &operation, NOW).is_applied
    };
    assert!(!judge(Health::Unhealthy));
    assert!(store.is_empty());
    apply(&store, &registration(stamp(&store), 1), NOW);
    assert!(judge(Health::Unhealthy));
    assert_eq!(find(&store, "k").unwrap().health(), Health::Unhealthy);
    assert!(judge(Health::Healthy));
    assert_eq!(find(&store, "k").unwrap().health(), Health::Healthy);
    apply(&store, &Operation::deregister("t", "k", stamp(&store)), NOW);
    assert!(!judge(Health::Healthy));
}

#[test]
fn closing_removes_what_was_registered_before_and_can_be_told_twice() {
    let store = store();
    let settings =
        Operation::register("t", DATUM_KEY, stamp(&store), Arc::new(Text(0)), Health::Healthy);
    apply(&store, &settings, NOW);
    apply(&store, &registration(stamp(&store), 1), NOW);
    let close = Operation::close("t", stamp(&store));
    assert!(apply(&store, &close, NOW).is_applied);
    let is_open = || store.find("t").is_some_and(|datum| datum.read(|reader| reader.is_open()));
    let shows = |key| find(&store, key).is_some_and(|record| record.is_visible());
    assert!(!is_open() && !shows("k") && !shows(DATUM_KEY));
    apply(&store, &registration(stamp(&store), 2), NOW);
    assert!(apply(&store, &close, NOW).is_applied);
    assert!(is_open() && shows("k"));
}

#[test]
fn a_beat_says_whether_there_is_something_to_hear() {
    let store = store();
    let hear = || apply(&store, &Operation::hear("t", "k"), NOW).is_applied;
    assert!(!hear());
    apply(&store, &registration(stamp(&store), 1), NOW);
    assert!(hear());
    apply(&store, &Operation::deregister("t", "k", stamp(&store)), NOW);
    assert!(!hear());
}
