//! Packed tombstones against a plain map.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::packed::{MAX_BODY, encode_body};
use super::*;
use crate::stamp::MemberId;

fn stamp() -> impl Strategy<Value = Stamp> {
    let time = prop_oneof![0..9_u64, Just(u64::MAX), (1_u64 << 50)..(1 << 57)];
    let part = prop_oneof![Just(0), Just(7), Just(u32::MAX)];
    (time, part.clone(), part)
        .prop_map(|(time, member, start)| Stamp::from_parts(time, MemberId(member), start))
}

fn tombstone() -> impl Strategy<Value = Tombstone> {
    let stamps =
        prop_oneof![(stamp(), stamp(), stamp()), stamp().prop_map(|stamp| (stamp, stamp, stamp)),];
    let judged = prop_oneof![Just(Health::Healthy), Just(Health::Unhealthy), Just(Health::Expired)];
    let ms = || prop_oneof![0..9_u64, Just(u64::MAX), 0..1_u64 << 40];
    (stamps, judged, ms(), ms()).prop_map(|(stamps, judged, learned, heard_ms)| {
        let (registration, liveness, deregistered) = stamps;
        let learned = Tick::from_ms(learned);
        Tombstone { registration, liveness, deregistered, judged, learned, heard_ms }
    })
}

/// Some keys are long: they fill blocks of their own.
fn key() -> impl Strategy<Value = String> {
    (0..60_u32, prop_oneof![9 => Just(20), 1 => Just(3_000)], any::<bool>()).prop_map(
        |(n, length, is_empty)| {
            if is_empty && n == 0 { String::new() } else { format!("k{n:0>length$}ü") }
        },
    )
}

#[derive(Debug, Clone)]
enum Step {
    Insert(String, Tombstone),
    Remove(String),
    Forget(u64, u64),
}

fn term_of(key: &str, _: &Tombstone) -> Term {
    if key.contains('7') { Term::Durable } else { Term::Usual }
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (key(), tombstone()).prop_map(|(key, tombstone)| Step::Insert(key, tombstone)),
        3 => key().prop_map(Step::Remove),
        1 => (0..9_u64, 0..9_u64).prop_map(|(usual, durable)| Step::Forget(usual, durable)),
    ]
}

fn all(tombstones: &Tombstones, after: Option<&str>) -> Vec<(String, Tombstone)> {
    tombstones.after(after).map(|(key, tombstone)| (key.to_owned(), tombstone)).collect()
}

fn remove(packed: &mut Tombstones, key: &str) {
    if let Some((_, place)) = packed.find_at(key) {
        packed.remove_at(&place);
    }
}

proptest! {
    #[test]
    fn what_is_packed_comes_out_as_it_was(tombstone in tombstone()) {
        let mut body = vec![7];
        encode_body(&tombstone, &mut body);
        prop_assert!(body.len() - 1 <= MAX_BODY);
        prop_assert_eq!(decode(&body[1..]), Some(tombstone));
    }

    #[test]
    fn they_behave_as_a_sorted_map(
        steps in proptest::collection::vec(step(), 0..300),
        looked in proptest::collection::vec(key(), 20),
    ) {
        let (mut packed, mut model) = (Tombstones::default(), BTreeMap::new());
        for step in steps {
            match step {
                Step::Insert(key, tombstone) => {
                    packed.insert(&key, &tombstone, term_of(&key, &tombstone));
                    model.insert(key, tombstone);
                }
                Step::Remove(key) => {
                    remove(&mut packed, &key);
                    model.remove(&key);
                }
                Step::Forget(usual, durable) => {
                    let now = Tick::from_ms(10);
                    let ms = Duration::from_millis;
                    let ages = Ages { usual: ms(usual), durable: ms(durable) };
                    let mut expected = Vec::new();
                    model.retain(|key, tombstone| {
                        let term = term_of(key, tombstone);
                        let stays = now.since(tombstone.learned) < ages.of(term);
                        expected.extend((!stays).then(|| (key.clone(), term)));
                        stays
                    });
                    let mut gone = Vec::new();
                    packed.forget(now, &ages, term_of, |_, age| age, |key, term, _| gone.push((key.into(), term)));
                    prop_assert_eq!(gone, expected);
                }
            }
            prop_assert_eq!(packed.is_empty(), model.is_empty());
            let ages = Ages { usual: Duration::from_millis(3), durable: Duration::from_millis(7) };
            let due = |(key, tombstone): (&String, &Tombstone)| {
                tombstone.learned.after(ages.of(term_of(key, tombstone)))
            };
            let soonest = model.iter().map(due).min();
            prop_assert!(packed.due(&ages) <= soonest);
            prop_assert_eq!(packed.due(&ages).is_some(), soonest.is_some());
        }
        prop_assert_eq!(all(&packed, None), model.clone().into_iter().collect::<Vec<_>>());
        for key in looked {
            prop_assert_eq!(packed.find(&key), model.get(&key).copied());
            let rest = model.range(key.clone()..).filter(|(other, _)| **other != key);
            let rest: Vec<_> = rest.map(|(key, tombstone)| (key.clone(), *tombstone)).collect();
            prop_assert_eq!(all(&packed, Some(&key)), rest);
        }
    }
}

/// A removed instance as it usually is.
fn usual(n: u64) -> (String, Tombstone) {
    let stamp = |ms: u64| {
        Stamp::from_parts((1_700_000_000_000 + ms) << 16, MemberId(0xABCD_EF01), 1_700_000_000)
    };
    let ms = n * 7 % 100_000;
    let tombstone = Tombstone {
        registration: stamp(ms),
        liveness: stamp(ms),
        deregistered: stamp(ms + 3_000_000),
        judged: Health::Healthy,
        learned: Tick::from_ms(ms + 3_000_000),
        heard_ms: ms + 2_995_001,
    };
    (format!("10.0.{}.{}#8080#DEFAULT", n / 250 % 250, n % 250), tombstone)
}

#[test]
fn a_tombstone_takes_less_than_a_hundred_bytes_in_whatever_order_they_come() {
    const ALLOCATION: usize = 16;
    for (count, step) in [(10, 1), (10, 7), (1_000, 1), (1_000, 617), (50_000, 12_347)] {
        let mut packed = Tombstones::default();
        for n in 0..count {
            let (key, tombstone) = usual(n * step % count);
            packed.insert(&key, &tombstone, Term::Usual);
        }
        let blocks = packed.0.as_ref().unwrap();
        let own = size_of::<Blocks>() + blocks.blocks.capacity() * size_of::<Box<[u8]>>();
        let each: usize = blocks.blocks.iter().map(|block| block.len() + ALLOCATION).sum();
        let bytes = (own + each + 2 * ALLOCATION) as u64 / count;
        assert!(bytes < 80, "{bytes} bytes each of {count} by {step}");
    }
}

#[test]
fn nearly_empty_blocks_are_joined_and_nothing_is_left_of_no_tombstones() {
    let mut packed = Tombstones::default();
    for (key, tombstone) in (0..10_000).map(usual) {
        packed.insert(&key, &tombstone, Term::Usual);
    }
    for (key, _) in (0..10_000).filter(|n| n % 100 != 0).map(usual) {
        remove(&mut packed, &key);
    }
    assert_eq!(packed.after(None).count(), 100);
    assert!(packed.0.as_ref().unwrap().blocks.len() <= 30);
    for (key, _) in (0..10_000).map(usual) {
        remove(&mut packed, &key);
    }
    assert!(packed.is_empty() && packed.0.is_none());
}
