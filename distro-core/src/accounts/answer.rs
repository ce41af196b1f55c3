//! The asked side: telling an owner when its records were heard here. And the owner's, which takes
//! that.

use std::time::Duration;

use crate::answer::{Answer, names};
use crate::journal::HeardAt;
use crate::lease::LONGEST;
use crate::message::{Beat, Reply};
use crate::record::RecordId;
use crate::record::Value;
use crate::slot::Slot;
use crate::stamp::MemberId;
use crate::store::Store;
use crate::time::Tick;

/// Records that one account looks at, most of which may have nothing to tell.
const MOST_LOOKED_AT: usize = 100_000;

impl<V: Value, A: Default + Send + Sync + 'static> Answer<V, A> {
    /// When the records of these slots were last heard here. A slot whose owner is another in this
    /// member's view is left out: its beats would go on going there.
    pub(crate) fn account(
        &self,
        from: MemberId,
        slots: &[Slot],
        after: Option<&RecordId>,
        now: Tick,
    ) -> Reply<V> {
        let mut page = Page { beats: Vec::new(), bytes: 0, looked_at: 0 };
        let (mut told, mut stopped) = (Vec::new(), None);
        for (n, slot) in slots.iter().enumerate() {
            if self.store.owner_of_slot(*slot) != Some(from) {
                continue;
            }
            let after = after.filter(|(tag, _)| n == 0 && Slot::of(tag) == *slot);
            stopped = self.account_of_slot(*slot, after, &mut page, now);
            if stopped.is_some() {
                break;
            }
            told.push(*slot);
        }
        let listening_ms = self.status.listening(now).as_millis();
        let listening_ms = u64::try_from(listening_ms).unwrap_or(u64::MAX);
        Reply::Accounted { beats: page.beats, told, stopped, listening_ms }
    }

    /// Adds what was heard in a slot. Returns where the page is full, if it is.
    fn account_of_slot(
        &self,
        slot: Slot,
        after: Option<&RecordId>,
        page: &mut Page,
        now: Tick,
    ) -> Option<RecordId> {
        // The tag at which the last account ended may have more records.
        let begun = after.map(|(tag, _)| tag.clone());
        let rest = self.store.tags(slot, begun.as_deref());
        for tag in begun.into_iter().chain(rest) {
            let Some(datum) = self.store.find(&tag) else { continue };
            let from = after.filter(|(at, _)| *at == tag).map(|(_, key)| &**key);
            let full = datum.read(|reader| {
                for (key, record, heard) in reader.heard_after(from) {
                    page.looked_at += 1;
                    if let Some(heard) = heard.filter(|at| now.since(*at) < LONGEST) {
                        let record_id = (tag.clone(), key.clone());
                        page.add(record_id, now.since(heard), record.registration.time());
                    }
                    if page.is_full(&self.config) {
                        return Some((tag.clone(), key.clone()));
                    }
                }
                None
            });
            if full.is_some() {
                return full;
            }
        }
        None
    }
}

struct Page {
    beats: Vec<Beat>,
    bytes: usize,
    looked_at: usize,
}

impl Page {
    fn add(&mut self, record_id: RecordId, age: Duration, written: u64) {
        self.bytes += names(&record_id);
        let (tag, key) = record_id;
        let age_ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        self.beats.push(Beat { tag, key, age_ms, hops: 0, written });
    }

    fn is_full(&self, config: &crate::config::DistroConfig) -> bool {
        self.beats.len() >= config.batch_beats
            || self.bytes >= config.batch_bytes
            || self.looked_at >= MOST_LOOKED_AT
    }
}

/// Takes what a member told of records that this one owns. What was heard before this clock began was
/// heard too long ago to count.
///
/// Ages count from now, so a record seems younger by the time that the answer was on its way. The
/// other way round its owner would give it up just before its hearer does, who would refute that.
pub(crate) fn take_account<V: Value, A: Default + Send + Sync + 'static>(
    store: &Store<V, A>,
    beats: &[Beat],
    now: Tick,
) {
    for Beat { tag, key, age_ms, hops, written } in beats {
        let age = Duration::from_millis(*age_ms);
        if let Some(tick) = now.before(age).filter(|_| store.owns(tag)) {
            // Of what is not known here, or only as it was before, the comparison tells.
            let heard = HeardAt { tick, hops: *hops, written: *written };
            store.hear_of(tag, key, Some(heard), *written, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use super::*;
    use crate::config::{DistroConfig, StoreConfig};
    use crate::message::{Request, Sender};
    use crate::record::{Health, LeaseTerms};
    use crate::stamp::{Stamp, StampClock};
    use crate::status::SharedStatus;
    use crate::time::Now;

    struct Text;

    impl Value for Text {
        fn lease(&self) -> Option<LeaseTerms> {
            let terms = |seconds| Duration::from_secs(seconds);
            Some(LeaseTerms { unhealthy_after: terms(15), expire_after: terms(30) })
        }
        fn shows_like(&self, _: &Self) -> bool {
            true
        }
        fn class(&self) -> usize {
            0
        }
    }

    const OWNER: Sender = Sender { member: MemberId(1), incarnation: 1, minor: 4 };
    const TAGS: usize = 8;
    const KEYS: usize = 20;

    fn at(ms: u64) -> Tick {
        Tick::START.after(Duration::from_millis(ms))
    }

    /// A member that takes the one with id 1 for the owner of everything, because it is that one
    /// itself. Each record was heard at a moment of its own.
    fn answer(config: DistroConfig) -> Answer<Text, ()> {
        let now = Now { tick: at(0), wall_ms: 1 << 40 };
        let clock = StampClock::new(OWNER.member, 1, now);
        let store = Arc::new(Store::new(StoreConfig::default(), clock, vec![]));
        for n in 0..TAGS * KEYS {
            let (tag, key) = (format!("tag-{}", n % TAGS), format!("key-{n:03}"));
            store.update(&tag, at(n as u64), |writer| {
                let stamp = Stamp::from_parts(n as u64 + 1, MemberId(1), 1);
                writer.register(&key, stamp, Arc::new(Text), Health::Healthy);
            });
        }
        let threshold = config.pause_threshold;
        let status = Arc::new(SharedStatus::new(OWNER.member, 1, threshold, at(0)));
        status.ran(at(LATEST_MS));
        Answer::new(store, status, Arc::new(config))
    }

    const LATEST_MS: u64 = 300_050;

    /// Asks until everything is told. Returns when each record was heard, and how many beats came
    /// with each answer.
    fn whole_account(
        answer: &Answer<Text, ()>,
        from: Sender,
        ms: u64,
    ) -> (BTreeMap<RecordId, Tick>, Vec<usize>, Vec<Slot>) {
        let (mut heard, mut sizes, mut all_told) = (BTreeMap::new(), Vec::new(), Vec::new());
        let (mut slots, mut after): (Vec<Slot>, _) = (Slot::all().collect(), None);
        loop {
            let request = Request::Account { slots: slots.clone(), after };
            let Reply::Accounted { beats, told, stopped, .. } =
                answer.answer(from, request, Duration::ZERO, at(ms))
            else {
                panic!("an account");
            };
            sizes.push(beats.len());
            all_told.extend(told);
            for beat in beats {
                let age = Duration::from_millis(beat.age_ms);
                let tick = Tick::ZERO.after(at(ms).since(Tick::ZERO) - age);
                assert_eq!(heard.insert((beat.tag, beat.key), tick), None, "told twice");
            }
            let Some(record_id) = stopped else { return (heard, sizes, all_told) };
            slots.retain(|slot| *slot >= Slot::of(&record_id.0));
            after = Some(record_id);
        }
    }

    #[test]
    fn an_account_comes_in_pages_and_tells_of_each_record_once_when_it_was_heard() {
        let config = DistroConfig { batch_beats: 7, ..DistroConfig::default() };
        let (heard, sizes, told) = whole_account(&answer(config), OWNER, 10_000);
        let expected = |n: usize| {
            let record_id = (format!("tag-{}", n % TAGS).into(), format!("key-{n:03}").into());
            (record_id, at(n as u64))
        };
        assert_eq!(heard, (0..TAGS * KEYS).map(expected).collect());
        assert!(sizes.iter().all(|size| *size <= 7), "{sizes:?}");
        assert!(told.iter().copied().eq(Slot::all()));
    }

    #[test]
    fn an_account_is_bounded_by_bytes_as_well() {
        let config = DistroConfig { batch_bytes: 300, ..DistroConfig::default() };
        let (heard, sizes, _) = whole_account(&answer(config), OWNER, 10_000);
        assert_eq!(heard.len(), TAGS * KEYS);
        assert!(sizes.iter().all(|size| *size <= 4), "{sizes:?}");
    }

    #[test]
    fn what_was_heard_longer_ago_than_any_time_out_is_not_told() {
        let answer = answer(DistroConfig::default());
        let (heard, _, told) = whole_account(&answer, OWNER, LATEST_MS);
        assert!(heard.values().all(|at_ms| *at_ms > at(50)), "{heard:?}");
        assert_eq!((heard.len(), told.len()), (TAGS * KEYS - 51, 1_024));
    }

    #[test]
    fn nothing_is_told_to_somebody_who_is_not_the_owner() {
        let stranger = Sender { member: MemberId(2), ..OWNER };
        let answer = answer(DistroConfig::default());
        assert_eq!(whole_account(&answer, stranger, 10_000), (BTreeMap::new(), vec![0], vec![]));
    }

    #[test]
    fn an_account_makes_a_record_no_older_and_what_was_heard_before_the_clock_began_does_not_count()
    {
        let answer = answer(DistroConfig::default());
        let beat = |key: &str, age_ms| {
            let (tag, key) = ("tag-0".into(), key.into());
            Beat { tag, key, age_ms, hops: 0, written: 0 }
        };
        let beats = [
            beat("key-000", 4_000),
            beat("key-008", 20_000),
            beat("key-016", Tick::START.as_ms() + 99_999),
        ];
        take_account(&answer.store, &beats, at(10_000));
        let datum = answer.store.find("tag-0").expect("it is there");
        let heard = |key: &str| datum.read(|reader| reader.last_heard(key));
        assert_eq!(heard("key-000"), Some(at(6_000)));
        assert_eq!(heard("key-008"), Some(at(8)));
        assert_eq!(heard("key-016"), Some(at(16)));
    }
}
