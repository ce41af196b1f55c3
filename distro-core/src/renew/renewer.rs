//! The beats that one peer is to be told of: those that it owns, and those that go round by it.

use std::collections::BTreeMap;
use std::mem;

use crate::answer::names;
use crate::config::DistroConfig;
use crate::journal::HeardAt;
use crate::message::{Beat, Request};
use crate::record::RecordId;
use crate::time::Tick;

/// How often a beat is passed on at most: by who heard it, by one that reaches the owner, and by
/// one more whose view of the owner is newer.
pub(crate) const MOST_HOPS: u8 = 3;

/// The beats that wait for a peer, and the batch that is under way.
#[derive(Debug, Default)]
pub(crate) struct Renewer {
    waiting: BTreeMap<RecordId, HeardAt>,
    in_flight: Option<BTreeMap<RecordId, HeardAt>>,
    /// Batches are halved so many times: larger ones were not taken.
    halved: u32,
}

impl Renewer {
    pub(crate) fn add(&mut self, record_id: RecordId, heard: HeardAt, config: &DistroConfig) {
        // The next beat replaces one that finds no room.
        if heard.hops < MOST_HOPS && self.waiting.len() < config.queue_keys {
            let known = self.waiting.entry(record_id).or_insert(heard);
            if known.tick < heard.tick {
                *known = heard;
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.waiting.len() + self.in_flight.as_ref().map_or(0, BTreeMap::len)
    }

    pub(crate) fn poll<V>(&mut self, config: &DistroConfig, now: Tick) -> Option<Request<V>> {
        if self.in_flight.is_some() || self.waiting.is_empty() {
            return None;
        }
        let rest = match self.waiting.keys().nth(self.batch_size(config)).cloned() {
            Some(record_id) => self.waiting.split_off(&record_id),
            None => BTreeMap::new(),
        };
        let batch = mem::replace(&mut self.waiting, rest);
        let beat = |((tag, key), heard): (&RecordId, &HeardAt)| Beat {
            tag: tag.clone(),
            key: key.clone(),
            age_ms: u64::try_from(now.since(heard.tick).as_millis()).unwrap_or(u64::MAX),
            hops: heard.hops + 1,
            written: heard.written,
        };
        let beats = batch.iter().map(beat).collect();
        self.in_flight = Some(batch);
        Some(Request::Renew(beats))
    }

    /// As many beats as fit into a message by number and by the bytes of their names; at least
    /// one.
    fn batch_size(&self, config: &DistroConfig) -> usize {
        let most = config.batch_beats.checked_shr(self.halved).unwrap_or(0);
        let mut bytes = 0;
        let fits = |record_id: &&RecordId| {
            bytes += names(record_id);
            bytes <= config.batch_bytes
        };
        self.waiting.keys().take(most).take_while(fits).count().max(1)
    }

    pub(crate) fn succeeded(&mut self) {
        self.in_flight = None;
        self.halved = self.halved.saturating_sub(1);
    }

    /// The peer can make nothing of the batch: smaller ones are tried. A single beat is given up;
    /// the next one takes its place.
    pub(crate) fn not_taken(&mut self) {
        let batch = self.in_flight.take().unwrap_or_default();
        if batch.len() <= 1 {
            return;
        }
        // Never fewer than one: the size is held at that.
        self.halved = (self.halved + 1).min(usize::BITS);
        for (record_id, heard) in batch {
            self.waiting.entry(record_id).or_insert(heard);
        }
    }

    /// The peer cannot be reached: what waits for it is handed back.
    pub(crate) fn give_up(&mut self) -> BTreeMap<RecordId, HeardAt> {
        mem::take(&mut self.waiting)
    }

    /// The batch was not acknowledged: it is handed back, together with what waits behind it.
    pub(crate) fn failed(&mut self) -> BTreeMap<RecordId, HeardAt> {
        let mut lost = mem::take(&mut self.waiting);
        for (record_id, heard) in self.in_flight.take().unwrap_or_default() {
            lost.entry(record_id).or_insert(heard);
        }
        lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record_id(n: usize, length: usize) -> RecordId {
        ("t".repeat(length).into(), format!("{n:04}").into())
    }

    fn add(renewer: &mut Renewer, record_id: RecordId, config: &DistroConfig) {
        renewer.add(record_id, HeardAt { tick: Tick::ZERO, hops: 0, written: 1 }, config);
    }

    fn keys(renewer: &mut Renewer, config: &DistroConfig) -> Vec<String> {
        let Some(Request::<()>::Renew(beats)) = renewer.poll(config, Tick::ZERO) else {
            return Vec::new();
        };
        beats.into_iter().map(|beat| beat.key.to_string()).collect()
    }

    #[test]
    fn a_batch_of_beats_is_bounded_by_the_bytes_of_their_names() {
        let (config, mut renewer) = (DistroConfig::default(), Renewer::default());
        (0..1_000).for_each(|n| add(&mut renewer, record_id(n, 8_000), &config));
        let mut sent = 0;
        while renewer.len() > 0 {
            let count = keys(&mut renewer, &config).len();
            assert!(count >= 1 && count * 8_000 <= config.batch_bytes, "{count}");
            sent += count;
            renewer.succeeded();
        }
        assert_eq!(sent, 1_000);
    }

    #[test]
    fn a_beat_that_cannot_be_taken_is_given_up_and_the_others_are_not() {
        let (config, mut renewer) = (DistroConfig::default(), Renewer::default());
        (0..100).for_each(|n| add(&mut renewer, record_id(n, 1), &config));
        let (mut taken, mut calls) = (0, 0);
        while renewer.len() > 0 {
            calls += 1;
            let keys = keys(&mut renewer, &config);
            if keys.iter().any(|key| key == "0042") {
                renewer.not_taken();
            } else {
                taken += keys.len();
                renewer.succeeded();
            }
            assert!(calls < 1_000, "it goes on for ever");
        }
        assert_eq!(taken, 99);
    }
}
