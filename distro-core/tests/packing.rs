//! A datum whose tombstones are packed against a plain map of records.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use distro_core::{
    DATUM_KEY, Datum, Health, Heard, JudgeTerms, LeaseTerms, MemberId, Now, Record, Stamp,
    StampClock, Store, StoreConfig, Tick, Value,
};
use proptest::prelude::*;

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

const TAG: &str = "t";
const RETENTION: Duration = Duration::from_secs(60);
const CONTENT: Duration = Duration::from_secs(20);

fn at(seconds: u64) -> Tick {
    Tick::from_ms(seconds * 1_000)
}

fn key(n: u8) -> String {
    if n == 0 { DATUM_KEY.to_owned() } else { format!("k{n:02}") }
}

/// What is known of one key, never packed.
#[derive(Debug, Default)]
struct Known {
    record: Record<Text>,
    learned: Tick,
    heard: Option<Tick>,
}

/// The rules of a datum, written down once more without any care for room and time.
#[derive(Debug, Default)]
struct Model {
    known: BTreeMap<String, Known>,
    closed: Stamp,
}

impl Model {
    fn apply(&mut self, key: &str, incoming: &Record<Text>, now: Tick) {
        let is_new = !self.known.contains_key(key);
        let known = self.known.entry(key.to_owned()).or_default();
        let before = known.record.clone();
        if !known.record.merge(incoming) {
            if is_new {
                self.known.remove(key);
            }
            return;
        }
        if is_over(&known.record, self.closed) {
            known.record.merge(&Record::removed(self.closed));
        }
        let record = &mut known.record;
        if record.health() == Health::Expired && known.heard.is_none() {
            record.value = None;
        }
        let tells = if record.is_visible() {
            !before.is_visible()
                || record.registration > before.registration
                || record.liveness > before.liveness && record.health() == Health::Healthy
        } else {
            before.is_visible() || record.deregistered > before.deregistered
        };
        if is_new || tells {
            known.learned = now;
        }
        if key == DATUM_KEY && record.deregistered > self.closed {
            self.closed = record.deregistered;
            self.end_records_before_closing(now);
        }
    }

    fn end_records_before_closing(&mut self, now: Tick) {
        let over = self.known.iter().filter(|(_, known)| is_over(&known.record, self.closed));
        let keys: Vec<String> = over.map(|(key, _)| key.clone()).collect();
        for key in keys {
            self.apply(&key, &Record::removed(self.closed), now);
        }
    }

    fn hear(&mut self, key: &str, now: Tick) {
        if let Some(known) = self.known.get_mut(key).filter(|known| known.record.is_visible()) {
            known.heard = known.heard.max(Some(now));
        }
    }

    fn tombstones(&self) -> usize {
        self.known.values().filter(|known| !known.record.is_visible()).count()
    }
}

fn is_over(record: &Record<Text>, closed: Stamp) -> bool {
    record.registration > record.deregistered && record.registration < closed
}

#[derive(Debug, Clone)]
enum Step {
    Register(u8, u32),
    Deregister(u8),
    Judge(u8, Health),
    Hear(u8),
    Close,
    /// What another member holds; its stamps are from some earlier or later moment.
    Merge(u8, [u64; 3], Health, bool),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let key = || 0..24_u8;
    let health =
        || prop_oneof![Just(Health::Healthy), Just(Health::Unhealthy), Just(Health::Expired)];
    let stamps = [0..90_u64, 0..90_u64, 0..90_u64];
    prop_oneof![
        6 => (key(), 0..9_u32).prop_map(|(key, value)| Step::Register(key, value)),
        6 => (1..24_u8).prop_map(Step::Deregister),
        3 => (key(), health()).prop_map(|(key, health)| Step::Judge(key, health)),
        2 => key().prop_map(Step::Hear),
        1 => Just(Step::Close),
        6 => (key(), stamps, health(), any::<bool>())
            .prop_map(|(key, stamps, health, whole)| Step::Merge(key, stamps, health, whole)),
        2 => (0..15_u64).prop_map(Step::Wait),
    ]
}

/// The stamp of a moment at another member; zero is never.
fn foreign(second: u64) -> Stamp {
    let time = (1_700_000_000_000 + second * 1_000) << 16;
    if second == 0 { Stamp::NEVER } else { Stamp::from_parts(time, MemberId(9), 3) }
}

struct Pair {
    store: Store<Text, ()>,
    model: Model,
    now: u64,
}

impl Pair {
    fn new() -> Self {
        let start = Now { tick: Tick::ZERO, wall_ms: 1_700_000_000_000 };
        let config = StoreConfig {
            tombstone_retention: RETENTION,
            content_retention: CONTENT,
            ..StoreConfig::default()
        };
        let clock = StampClock::new(MemberId(1), 1, start);
        Self { store: Store::new(config, clock, vec![]), model: Model::default(), now: 1 }
    }

    fn take(&mut self, step: Step) {
        let now = at(self.now);
        let (store, model) = (&self.store, &mut self.model);
        let stamp = store.clock().issue(now);
        match step {
            Step::Register(n, value) => {
                let value = Arc::new(Text(value));
                model.apply(
                    &key(n),
                    &Record::registered(stamp, Arc::clone(&value), Health::Healthy),
                    now,
                );
                model.hear(&key(n), now);
                store.update(TAG, now, |writer| {
                    writer.register(&key(n), stamp, value, Health::Healthy);
                });
            }
            Step::Deregister(n) => {
                let is_visible =
                    model.known.get(&key(n)).is_some_and(|known| known.record.is_visible());
                if is_visible {
                    model.apply(&key(n), &Record::removed(stamp), now);
                }
                let done = store.update(TAG, now, |writer| writer.deregister(&key(n), stamp));
                assert_eq!(done, is_visible);
            }
            Step::Judge(n, health) => {
                if let Some(of) = model.known.get(&key(n)).map(|known| known.record.registration) {
                    model.apply(&key(n), &Record::judged(of, stamp, health), now);
                }
                store.update(TAG, now, |writer| writer.judge(&key(n), stamp, health));
            }
            Step::Hear(n) => {
                let heard = store.hear(TAG, &key(n), now);
                match model.known.get(&key(n)) {
                    Some(known) if known.record.is_visible() => {
                        assert!(matches!(heard, Heard::Known { .. }));
                    }
                    Some(known) if known.record.deregistered > known.record.registration => {
                        let Heard::Deregistered { learned } = heard else { panic!("{heard:?}") };
                        assert_eq!(learned, known.learned);
                    }
                    _ => assert!(matches!(heard, Heard::Unknown)),
                }
                model.hear(&key(n), now);
            }
            Step::Close => {
                model.apply(DATUM_KEY, &Record::removed(stamp), now);
                store.update(TAG, now, |writer| writer.close(stamp));
            }
            Step::Merge(n, [registration, liveness, deregistered], judged, whole) => {
                let number = u32::try_from(registration).unwrap();
                let mut record = Record {
                    registration: foreign(registration),
                    liveness: foreign(liveness),
                    deregistered: foreign(deregistered),
                    judged: if liveness == 0 { Health::Healthy } else { judged },
                    value: (whole && registration > 0).then(|| Arc::new(Text(number))),
                };
                if record.registration <= record.deregistered {
                    record.value = None;
                }
                model.apply(&key(n), &record, now);
                store.update(TAG, now, |writer| _ = writer.merge(&key(n), &record));
            }
            Step::Wait(seconds) => self.wait(seconds),
        }
        if self.store.find(TAG).is_none() {
            // Whether it was closed is forgotten with the datum.
            self.model.closed = Stamp::NEVER;
        }
    }

    /// Lets time pass. The store may forget what is old enough, and need not at once.
    fn wait(&mut self, seconds: u64) {
        for second in self.now..=self.now + seconds {
            let (as_of, since) = (at(second), Tick::ZERO);
            let (enabled, expire) = (true, true);
            let terms = JudgeTerms { as_of, enabled, expire, listening_since: since, patience: 0 };
            while self.store.judge(&terms) {}
        }
        self.now += seconds;
        let (now, datum) = (at(self.now), self.store.find(TAG));
        self.model.known.retain(|key, known| {
            let find = |datum: &Arc<Datum<Text, ()>>| {
                datum.read(|reader| reader.find(key).map(|record| record.value.is_some()))
            };
            let age = now.since(known.learned);
            let Some(has_content) = datum.as_ref().and_then(find) else {
                assert!(!known.record.is_visible() && age >= RETENTION, "{key} {known:?}");
                return false;
            };
            if !has_content && known.record.value.is_some() {
                assert!(!known.record.is_visible() && age >= CONTENT, "{key} {known:?}");
                known.record.value = None;
            }
            true
        });
    }

    fn compare(&self) {
        let all = |record: &Record<Text>| {
            let value = record.value.as_ref().map(|value| value.0);
            (record.stamps(), record.judged, value)
        };
        let model = self.model.known.iter();
        let expected: Vec<_> =
            model.map(|(key, known)| (key.clone(), all(&known.record))).collect();
        assert_eq!(self.store.tombstone_count(), self.model.tombstones() as u64);
        let visible = self.model.known.values().filter(|known| known.record.is_visible()).count();
        assert_eq!(self.store.visible_count(0), visible as u64);
        let Some(datum) = self.store.find(TAG) else {
            assert!(expected.is_empty());
            return;
        };
        datum.read(|reader| {
            let held: Vec<_> = reader
                .records_after(None)
                .map(|(key, record)| (key.to_string(), all(&record)))
                .collect();
            assert_eq!(held, expected);
            for n in 0..24 {
                let known = self.model.known.get(&key(n));
                let found = reader.find(&key(n)).map(|record| all(&record));
                assert_eq!(found, known.map(|known| all(&known.record)));
                let moment = known.map(|known| known.heard.max(Some(known.learned)).unwrap());
                assert_eq!(reader.last_heard(&key(n)), moment);
                let rest = expected.iter().filter(|(other, _)| *other > key(n));
                let after = reader.records_after(Some(&key(n)));
                assert!(after.map(|(key, _)| key.to_string()).eq(rest.map(|(key, _)| key.clone())));
            }
            let since = self.model.known.iter().filter(|(_, known)| {
                known.record.registration > self.model.closed || known.record.is_visible()
            });
            let mut keys: Vec<&str> = reader.keys_since_closing().collect();
            keys.sort_unstable();
            assert!(keys.into_iter().eq(since.map(|(key, _)| key.as_str())));
            let shown = reader.visible().map(|(key, ..)| key.to_string());
            let visible = self.model.known.iter().filter(|(_, known)| known.record.is_visible());
            assert!(shown.eq(visible.map(|(key, _)| key.clone())));
        });
    }

    /// In the end everything that is not visible is forgotten.
    fn end(&mut self) {
        self.wait(2 * RETENTION.as_secs());
        self.compare();
        assert_eq!(self.model.tombstones(), 0);
    }
}

proptest! {
    #[test]
    fn a_datum_with_packed_tombstones_behaves_as_one_without(
        steps in proptest::collection::vec(step(), 0..120),
    ) {
        let mut pair = Pair::new();
        for step in steps {
            pair.take(step);
            pair.compare();
        }
        pair.end();
    }
}
