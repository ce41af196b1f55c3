//! The changes that one peer has not been told of, and the batch that is on its way.

use std::borrow::Cow;
use std::collections::{BTreeSet, VecDeque};
use std::ops::Bound;
use std::time::Duration;

use crate::answer::weight;
use crate::config::DistroConfig;
use crate::message::{Entry, Request};
use crate::random::Random;
use crate::record::RecordId;
use crate::record::Value;
use crate::slot::Slot;
use crate::store::Store;
use crate::time::Tick;

/// The keys that a peer has not been told of, and the one request that is under way. Values are
/// read at the moment of sending; a failure puts the keys back and never forgets them, except by
/// degrading to a comparison of everything.
#[derive(Debug, Default)]
pub(crate) struct Replicator {
    dirty: BTreeSet<RecordId>,
    in_flight: Option<Vec<RecordId>>,
    /// Parts of batches that could not be taken: one record in them spoils the rest.
    suspects: VecDeque<Vec<RecordId>>,
    /// Where the last batch ended, so that busy keys do not starve those after them.
    cursor: Option<RecordId>,
    ready_at: Tick,
    failures: u32,
    overflown: bool,
    /// Since when the oldest of the keys that wait, and of those that are under way, may have been
    /// waiting.
    waiting_since: Option<Tick>,
    sent_since: Option<Tick>,
}

impl Replicator {
    pub(crate) fn mark(&mut self, record_id: RecordId, config: &DistroConfig, now: Tick) {
        if self.dirty.is_empty() && self.failures == 0 {
            self.ready_at = self.ready_at.max(now.after(config.sync_delay));
        }
        self.waiting_since.get_or_insert(now);
        if self.dirty.len() < config.queue_keys {
            self.dirty.insert(record_id);
        } else {
            self.overflow();
        }
    }

    /// There is too much to tell: everything must be compared.
    pub(crate) fn overflow(&mut self) {
        self.overflown = true;
        self.dirty.clear();
        self.waiting_since = None;
    }

    /// Whether it has forgotten keys since this was last asked.
    pub(crate) fn take_overflown(&mut self) -> bool {
        std::mem::take(&mut self.overflown)
    }

    /// Names the slots of which the peer has yet to be told something.
    pub(crate) fn slots(&self, mut note: impl FnMut(Slot)) {
        let in_flight = self.in_flight.iter().flatten();
        let waiting = self.dirty.iter().chain(self.suspects.iter().flatten());
        let mut last: Option<&RecordId> = None;
        for record_id in waiting.chain(in_flight) {
            // They stand in the order of their tags, mostly.
            if last.is_none_or(|last| last.0 != record_id.0) {
                note(Slot::of(&record_id.0));
            }
            last = Some(record_id);
        }
    }

    /// How many keys the peer has not been told of.
    pub(crate) fn len(&self) -> usize {
        let suspects: usize = self.suspects.iter().map(Vec::len).sum();
        self.dirty.len() + suspects + self.in_flight.as_ref().map_or(0, Vec::len)
    }

    /// For how long the oldest change that the peer has not acknowledged may have been waiting.
    pub(crate) fn lag(&self, now: Tick) -> Duration {
        let oldest = self.sent_since.into_iter().chain(self.waiting_since).min();
        oldest.map_or(Duration::ZERO, |since| now.since(since))
    }

    /// When to [`poll`](Self::poll) again at the latest, if something waits that may not be sent
    /// before.
    pub(crate) fn due(&self, now: Tick) -> Option<Tick> {
        let waits = !self.dirty.is_empty() || !self.suspects.is_empty();
        (waits && self.in_flight.is_none() && self.ready_at > now).then_some(self.ready_at)
    }

    /// The next batch, if one may be sent.
    pub(crate) fn poll<V: Value, A: Default + Send + Sync + 'static>(
        &mut self,
        store: &Store<V, A>,
        config: &DistroConfig,
        now: Tick,
    ) -> Option<Request<V>> {
        if self.in_flight.is_some() || now < self.ready_at {
            return None;
        }
        let (mut entries, mut record_ids, mut bytes) = (Vec::new(), Vec::new(), 0);
        let mut suspects = self.suspects.pop_front().map(Vec::into_iter);
        while record_ids.len() < config.batch_keys && bytes < config.batch_bytes {
            let record_id = match &mut suspects {
                Some(suspects) => suspects.next(),
                None => self.next(),
            };
            let Some(record_id) = record_id else { break };
            if !store.sharing(&record_id.0)(&record_id.1) {
                // Its owner does not speak this protocol any more, and tells everybody.
                continue;
            }
            let record = store.find(&record_id.0);
            let record =
                record.and_then(|datum| datum.read(|r| r.find(&record_id.1).map(Cow::into_owned)));
            if record.is_none() {
                // It was removed, and that is forgotten already: the peer may hold it still.
                self.overflown = true;
            }
            if let Some(record) = record {
                bytes += weight(&record_id, &record);
                let (tag, key) = record_id.clone();
                entries.push(Entry { tag, key, record });
                record_ids.push(record_id);
            }
        }
        // What has grown since it came under suspicion.
        self.dirty.extend(suspects.into_iter().flatten());
        let since = self.waiting_since;
        if self.dirty.is_empty() && self.suspects.is_empty() {
            self.waiting_since = None;
        }
        if entries.is_empty() {
            return None;
        }
        self.sent_since = since.or(Some(now));
        entries.sort_by(|a, b| (&a.tag, &a.key).cmp(&(&b.tag, &b.key)));
        if record_ids.len() < config.batch_keys && bytes < config.batch_bytes {
            self.ready_at = now.after(config.batch_period);
        }
        self.in_flight = Some(record_ids);
        Some(Request::Replicate(entries))
    }

    pub(crate) fn succeeded(&mut self) {
        self.in_flight = None;
        self.sent_since = None;
        self.failures = 0;
    }

    /// The peer can make nothing of the request, or it is too large to be sent: sending it again
    /// would be in vain. Its parts are tried one by one, until the record is found that spoils
    /// it; that one is given up, and returned.
    pub(crate) fn not_taken(&mut self) -> Option<RecordId> {
        let mut record_ids = self.in_flight.take().unwrap_or_default();
        let since = self.sent_since.take();
        if record_ids.len() <= 1 {
            return record_ids.pop();
        }
        let rest = record_ids.split_off(record_ids.len() / 2);
        self.ready_at = Tick::ZERO;
        self.waiting_since = since.into_iter().chain(self.waiting_since).min();
        self.suspects.push_front(rest);
        self.suspects.push_front(record_ids);
        None
    }

    pub(crate) fn failed(&mut self, config: &DistroConfig, random: &mut Random, now: Tick) {
        let record_ids = self.in_flight.take().unwrap_or_default();
        self.waiting_since = self.sent_since.take().into_iter().chain(self.waiting_since).min();
        self.failures = self.failures.saturating_add(1);
        let doubled = config.first_backoff.saturating_mul(1 << self.failures.min(10));
        let wait = random.vary(doubled.min(config.longest_backoff));
        self.ready_at = now.after(wait);
        for record_id in record_ids {
            self.mark(record_id, config, now);
        }
    }

    /// Contact is back: waiting has no point any more.
    pub(crate) fn hurry(&mut self) {
        self.failures = 0;
        self.ready_at = Tick::ZERO.after(Duration::ZERO);
    }

    fn next(&mut self) -> Option<RecordId> {
        let after = self.cursor.take().map_or(Bound::Unbounded, Bound::Excluded);
        let record_id = self.dirty.range((after, Bound::Unbounded)).next().cloned();
        let record_id = record_id.or_else(|| self.dirty.first().cloned())?;
        self.dirty.remove(&record_id);
        self.cursor = Some(record_id.clone());
        Some(record_id)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::StoreConfig;
    use crate::record::{Health, LeaseTerms};
    use crate::stamp::{MemberId, StampClock};
    use crate::time::Now;

    struct Text;

    impl Value for Text {
        fn lease(&self) -> Option<LeaseTerms> {
            None
        }
        fn shows_like(&self, _: &Self) -> bool {
            true
        }
        fn class(&self) -> usize {
            0
        }
    }

    fn at(ms: u64) -> Tick {
        Tick::from_ms(ms)
    }

    fn record_id(n: usize) -> RecordId {
        ("tag".into(), format!("k{n}").into())
    }

    fn store(keys: usize) -> Store<Text, ()> {
        let now = Now { tick: at(0), wall_ms: 1_000 };
        let clock = StampClock::new(MemberId(1), 1, now);
        let store = Store::new(StoreConfig::default(), clock, vec![]);
        for n in 0..keys {
            let stamp = store.clock().issue(at(0));
            store.update("tag", at(0), |writer| {
                writer.register(&record_id(n).1, stamp, Arc::new(Text), Health::Healthy);
            });
        }
        store
    }

    fn keys(request: Option<Request<Text>>) -> Vec<String> {
        let Some(Request::Replicate(entries)) = request else { return Vec::new() };
        entries.into_iter().map(|entry| entry.key.to_string()).collect()
    }

    #[test]
    fn one_batch_is_under_way_and_what_changes_meanwhile_goes_with_the_next() {
        let (config, store) = (DistroConfig::default(), store(3));
        let mut replicator = Replicator::default();
        replicator.mark(record_id(0), &config, at(1));
        assert_eq!(keys(replicator.poll(&store, &config, at(1))), ["k0"]);
        (0..3).for_each(|n| replicator.mark(record_id(n), &config, at(1)));
        assert!(replicator.poll(&store, &config, at(100)).is_none());
        replicator.succeeded();
        assert_eq!(keys(replicator.poll(&store, &config, at(100))), ["k0", "k1", "k2"]);
    }

    #[test]
    fn changes_gather_after_a_batch_that_was_not_full_and_it_says_for_how_long() {
        let config = DistroConfig { batch_keys: 2, ..DistroConfig::default() };
        let (store, mut replicator) = (store(3), Replicator::default());
        replicator.mark(record_id(0), &config, at(1));
        assert_eq!(keys(replicator.poll(&store, &config, at(1))), ["k0"]);
        replicator.succeeded();
        assert_eq!(replicator.due(at(2)), None);
        (0..3).for_each(|n| replicator.mark(record_id(n), &config, at(2)));
        assert!(replicator.poll(&store, &config, at(20)).is_none());
        assert_eq!(replicator.due(at(20)), Some(at(21)));
        assert_eq!(keys(replicator.poll(&store, &config, at(21))).len(), 2);
        replicator.succeeded();
        assert_eq!(keys(replicator.poll(&store, &config, at(21))).len(), 1);
    }

    #[test]
    fn a_failure_forgets_nothing_and_waits_longer_each_time() {
        let (config, store) = (DistroConfig::default(), store(1));
        let (mut replicator, mut random) = (Replicator::default(), Random::new(1));
        replicator.mark(record_id(0), &config, at(0));
        let mut now = at(0);
        let mut waits = Vec::new();
        for _ in 0..12 {
            let since = now;
            while replicator.poll(&store, &config, now).is_none() {
                now = now.after(Duration::from_millis(1));
            }
            waits.push(now.since(since));
            replicator.failed(&config, &mut random, now);
            assert_eq!(replicator.len(), 1);
        }
        assert!(waits[1] < waits[3] && waits[3] < waits[6]);
        assert!(waits[11] <= config.longest_backoff * 5 / 4);
        replicator.hurry();
        assert!(replicator.poll(&store, &config, now).is_some());
    }

    #[test]
    fn one_record_that_cannot_be_taken_does_not_hold_up_the_others() {
        let (config, store) = (DistroConfig::default(), store(20));
        let mut replicator = Replicator::default();
        (0..20).for_each(|n| replicator.mark(record_id(n), &config, at(0)));
        let (mut taken, mut dropped, mut calls) = (Vec::new(), Vec::new(), 0);
        while replicator.len() > 0 {
            let keys = keys(replicator.poll(&store, &config, at(calls * 100)));
            calls += 1;
            if keys.iter().any(|key| key == "k7" || key == "k16") {
                dropped.extend(replicator.not_taken().map(|(_, key)| key.to_string()));
            } else {
                taken.extend(keys);
                replicator.succeeded();
            }
        }
        dropped.sort();
        assert_eq!((dropped, taken.len()), (vec!["k16".to_owned(), "k7".to_owned()], 18));
        assert!(calls <= 21, "{calls}");
    }

    #[test]
    fn too_many_keys_are_forgotten_and_it_says_so() {
        let config = DistroConfig { queue_keys: 2, ..DistroConfig::default() };
        let mut replicator = Replicator::default();
        (0..3).for_each(|n| replicator.mark(record_id(n), &config, at(0)));
        assert!(replicator.take_overflown() && !replicator.take_overflown());
        assert_eq!(replicator.len(), 0);
    }

    #[test]
    fn busy_keys_do_not_starve_those_after_them() {
        let config = DistroConfig { batch_keys: 1, ..DistroConfig::default() };
        let (store, mut replicator) = (store(3), Replicator::default());
        (0..3).for_each(|n| replicator.mark(record_id(n), &config, at(0)));
        let mut sent = Vec::new();
        for _ in 0..4 {
            sent.extend(keys(replicator.poll(&store, &config, at(0))));
            replicator.succeeded();
            replicator.mark(record_id(0), &config, at(0));
        }
        assert_eq!(sent, ["k0", "k1", "k2", "k0"]);
    }
}
