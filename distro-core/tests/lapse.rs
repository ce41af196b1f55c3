//! The end of a registration by its stamp, as members learn of it in whatever order.

use std::sync::Arc;
use std::time::Duration;

use distro_core::{
    Health, Heard, Key, LeaseTerms, MemberId, Now, Operation, Record, Stamp, StampClock, Store,
    StoreConfig, Tick, Value, apply,
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
}

type TextStore = Store<Text, ()>;

fn at(ms: u64) -> Tick {
    Tick::from_ms(ms)
}

fn member(id: u32) -> TextStore {
    let start = Now { tick: Tick::ZERO, wall_ms: 1_700_000_000_000 };
    Store::new(StoreConfig::default(), StampClock::new(MemberId(id), 1, start), vec![])
}

fn register(store: &TextStore, value: u32, now: Tick) -> Stamp {
    let stamp = store.clock().issue(now);
    let value = Arc::new(Text(value));
    apply(store, &Operation::register("t", "a", stamp, value, Health::Healthy), now);
    stamp
}

fn record(store: &TextStore) -> Record<Text> {
    let datum = store.find("t").expect("it was written");
    datum.read(|reader| reader.find("a").expect("it was written").into_owned())
}

/// One member tells another what it holds.
fn tell(from: &TextStore, to: &TextStore, now: Tick) {
    to.restore("t", [(Key::from("a"), record(from))], now);
}

fn shows(store: &TextStore) -> Option<u32> {
    let datum = store.find("t")?;
    datum.read(|reader| reader.find_visible("a").map(|(_, value)| value.0))
}

#[test]
fn a_lapse_ends_the_registration_that_it_names_and_no_later_one() {
    let store = member(1);
    let first = register(&store, 1, at(1));
    let second = register(&store, 2, at(2));
    assert!(!store.lapse("t", "a", first, at(3)) && !store.retract("t", "a", first, at(3)));
    assert_eq!(shows(&store), Some(2));
    assert!(store.lapse("t", "a", second, at(4)));
    assert!(!store.lapse("t", "a", second, at(5)));
    assert_eq!(shows(&store), None);
    assert!(!store.lapse("t", "other", second, at(5)) && !store.lapse("other", "a", second, at(5)));
}

#[test]
fn a_registration_elsewhere_survives_the_lapse_of_the_one_before_in_whatever_order_both_come() {
    let (old, new) = (member(1), member(2));
    let first = register(&old, 1, at(1));
    tell(&old, &new, at(2));
    register(&new, 2, at(3));
    // The old holder has not heard of it.
    assert!(old.lapse("t", "a", first, at(60_000)));
    assert_eq!(shows(&old), None);
    for news in [[&old, &new], [&new, &old]] {
        let third = member(3);
        news.into_iter().for_each(|from| tell(from, &third, at(60_001)));
        assert_eq!(shows(&third), Some(2));
    }
    tell(&new, &old, at(60_001));
    tell(&old, &new, at(60_001));
    assert_eq!((shows(&old), shows(&new)), (Some(2), Some(2)));
    assert_eq!(old.root(), new.root());
}

#[test]
fn a_beat_after_a_lapse_is_of_an_unknown_record_and_one_after_a_removal_on_purpose_is_late() {
    for ends in [TextStore::lapse, TextStore::retract] {
        let (store, other) = (member(1), member(2));
        let stamp = register(&store, 1, at(1));
        assert!(ends(&store, "t", "a", stamp, at(2)));
        tell(&store, &other, at(3));
        let heard = [store.hear("t", "a", at(4)), other.hear("t", "a", at(4))];
        let is_late = |heard: &Heard<Text>| matches!(heard, Heard::Deregistered { .. });
        let is_unknown = |heard: &Heard<Text>| matches!(heard, Heard::Unknown);
        assert!(heard.iter().all(is_late) || heard.iter().all(is_unknown));
        let was_lapse = record(&store).deregistered == stamp;
        assert_eq!(heard.iter().all(is_unknown), was_lapse);
        // Neither can be taken back, and both give way to the next registration.
        other.update("t", at(5), |writer| {
            writer.judge("a", other.clock().issue(at(5)), Health::Healthy);
        });
        assert_eq!(shows(&other), None);
        register(&other, 2, at(6));
        assert_eq!(shows(&other), Some(2));
    }
}

#[test]
fn a_removal_on_purpose_counts_after_a_lapse_and_ends_what_was_registered_at_the_same_moment_only()
{
    let store = member(1);
    let stamp = register(&store, 1, at(1));
    assert!(store.lapse("t", "a", stamp, at(2)));
    assert!(matches!(store.hear("t", "a", at(2)), Heard::Unknown));
    assert!(store.retract("t", "a", stamp, at(3)));
    assert!(matches!(store.hear("t", "a", at(3)), Heard::Deregistered { .. }));
    // Whatever is registered next, in the same millisecond by the same member, is newer.
    register(&store, 2, at(1));
    assert_eq!(shows(&store), Some(2));
}

proptest! {
    /// Of registrations and their ends, in whatever order they come, that registration is seen which
    /// is the newest, unless it was ended.
    #[test]
    fn in_whatever_order_registrations_and_their_ends_come_the_newest_counts(
        ends in prop::collection::vec(0..3_u8, 1..6),
        order in prop::collection::vec(any::<prop::sample::Index>(), 20),
    ) {
        let mut news = Vec::new();
        for (n, end) in ends.iter().enumerate() {
            let (now, store) = (at(n as u64 + 1), member(n as u32 % 3 + 1));
            let stamp = register(&store, n as u32, now);
            news.push(record(&store));
            match end {
                0 => {}
                1 => _ = store.lapse("t", "a", stamp, now),
                _ => _ = store.retract("t", "a", stamp, now),
            }
            news.push(record(&store));
        }
        let target = member(9);
        let picked = order.iter().map(|index| index.get(&news));
        for one in picked.chain(&news) {
            target.restore("t", [(Key::from("a"), one.clone())], at(100));
        }
        let last = ends.len() - 1;
        prop_assert_eq!(shows(&target), (ends[last] == 0).then_some(last as u32));
        let is_late = matches!(target.hear("t", "a", at(101)), Heard::Deregistered { .. });
        prop_assert_eq!(is_late, ends[last] == 2);
    }
}
