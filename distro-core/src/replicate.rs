//! Sending local changes to one peer.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::time::Duration;

use crate::answer::weight;
use crate::config::DistroConfig;
use crate::journal::Place;
use crate::message::{Entry, Request};
use crate::random::Random;
use crate::record::Value;
use crate::store::Store;
use crate::time::Tick;

/// The keys that a peer has not been told of, and the one request that is under way. Values are
/// read at the moment of sending; a failure puts the keys back and never forgets them, except by
/// degrading to a comparison of everything.
#[derive(Debug, Default)]
pub(crate) struct Replicator {
    dirty: BTreeSet<Place>,
    in_flight: Option<Vec<Place>>,
    /// Where the last batch ended, so that busy keys do not starve those after them.
    cursor: Option<Place>,
    ready_at: Tick,
    failures: u32,
    overflown: bool,
}

impl Replicator {
    pub(crate) fn mark(&mut self, place: Place, config: &DistroConfig, now: Tick) {
        if self.dirty.is_empty() && self.failures == 0 {
            self.ready_at = self.ready_at.max(now.after(config.sync_delay));
        }
        if self.dirty.len() < config.queue_keys {
            self.dirty.insert(place);
        } else {
            self.overflow();
        }
    }

    /// There is too much to tell: everything must be compared.
    pub(crate) fn overflow(&mut self) {
        self.overflown = true;
        self.dirty.clear();
    }

    /// Whether it has forgotten keys since this was last asked.
    pub(crate) fn take_overflown(&mut self) -> bool {
        std::mem::take(&mut self.overflown)
    }

    /// How many keys the peer has not been told of.
    pub(crate) fn len(&self) -> usize {
        self.dirty.len() + self.in_flight.as_ref().map_or(0, Vec::len)
    }

    /// The next batch, if one may be sent.
    pub(crate) fn poll<V: Value, A: Default + Send + Sync + 'static>(
        &mut self,
        store: &Store<V, A>,
        config: &DistroConfig,
        now: Tick,
    ) -> Option<Request<V>> {
        if self.in_flight.is_some() || self.dirty.is_empty() || now < self.ready_at {
            return None;
        }
        let (mut entries, mut places, mut bytes) = (Vec::new(), Vec::new(), 0);
        while places.len() < config.batch_keys && bytes < config.batch_bytes {
            let Some(place) = self.next() else { break };
            let record = store.find(&place.0);
            let record = record.and_then(|datum| datum.read(|r| r.find(&place.1).cloned()));
            // Nothing there: it was removed so long ago that it is forgotten.
            if let Some(record) = record {
                bytes += weight(&record);
                let (tag, key) = place.clone();
                entries.push(Entry { tag, key, record });
                places.push(place);
            }
        }
        if entries.is_empty() {
            return None;
        }
        entries.sort_by(|a, b| (&a.tag, &a.key).cmp(&(&b.tag, &b.key)));
        self.in_flight = Some(places);
        Some(Request::Replicate(entries))
    }

    pub(crate) fn succeeded(&mut self) {
        self.in_flight = None;
        self.failures = 0;
    }

    pub(crate) fn failed(&mut self, config: &DistroConfig, random: &mut Random, now: Tick) {
        let places = self.in_flight.take().unwrap_or_default();
        self.failures = self.failures.saturating_add(1);
        let doubled = config.first_backoff.saturating_mul(1 << self.failures.min(10));
        let wait = random.vary(doubled.min(config.longest_backoff));
        self.ready_at = now.after(wait);
        for place in places {
            self.mark(place, config, now);
        }
    }

    /// Contact is back: waiting has no point any more.
    pub(crate) fn hurry(&mut self) {
        self.failures = 0;
        self.ready_at = Tick::ZERO.after(Duration::ZERO);
    }

    fn next(&mut self) -> Option<Place> {
        let after = self.cursor.take().map_or(Bound::Unbounded, Bound::Excluded);
        let place = self.dirty.range((after, Bound::Unbounded)).next().cloned();
        let place = place.or_else(|| self.dirty.first().cloned())?;
        self.dirty.remove(&place);
        self.cursor = Some(place.clone());
        Some(place)
    }
}
