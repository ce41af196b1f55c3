//! Telling one peer of beats that belong to it, or that must go round by it.

use std::collections::BTreeMap;
use std::mem;

use crate::answer::MOST_HOPS;
use crate::config::DistroConfig;
use crate::journal::{HeardAt, Place};
use crate::message::{Beat, Request};
use crate::time::Tick;

/// The beats that wait for a peer, and the batch that is under way.
#[derive(Debug, Default)]
pub(crate) struct Renewer {
    waiting: BTreeMap<Place, HeardAt>,
    in_flight: Option<BTreeMap<Place, HeardAt>>,
}

impl Renewer {
    pub(crate) fn add(&mut self, place: Place, heard: HeardAt, config: &DistroConfig) {
        // The next beat replaces one that finds no room.
        if heard.hops < MOST_HOPS && self.waiting.len() < config.queue_keys {
            let known = self.waiting.entry(place).or_insert(heard);
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
        let rest = match self.waiting.keys().nth(config.batch_beats).cloned() {
            Some(place) => self.waiting.split_off(&place),
            None => BTreeMap::new(),
        };
        let batch = mem::replace(&mut self.waiting, rest);
        let beat = |((tag, key), heard): (&Place, &HeardAt)| Beat {
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

    pub(crate) fn succeeded(&mut self) {
        self.in_flight = None;
    }

    /// The peer cannot be reached: what waits for it is handed back.
    pub(crate) fn give_up(&mut self) -> BTreeMap<Place, HeardAt> {
        mem::take(&mut self.waiting)
    }

    /// The batch was not acknowledged: it is handed back, together with what waits behind it.
    pub(crate) fn failed(&mut self) -> BTreeMap<Place, HeardAt> {
        let mut lost = mem::take(&mut self.waiting);
        for (place, heard) in self.in_flight.take().unwrap_or_default() {
            lost.entry(place).or_insert(heard);
        }
        lost
    }
}
