//! Comparing with one peer what both hold, from the checksum of everything down to the records
//! that differ. Both sides end with the newer of every part.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::answer::merge;
use crate::config::DistroConfig;
use crate::journal::Place;
use crate::message::{Entry, Reply, Request, Sheet};
use crate::random::Random;
use crate::record::{Key, Value};
use crate::slot::Slot;
use crate::store::Store;
use crate::time::Tick;
use crate::unread::{Sums, Unread};

/// A tag to compare, from after a key on.
type Stretch = (Arc<str>, Option<Key>);

/// The comparison with one peer: at most one request under way.
#[derive(Debug)]
pub(crate) struct Verifier {
    next: Tick,
    /// Slots that differed when last looked at.
    seen: BTreeSet<Slot>,
    /// The next round acts on what it sees at once: there is more to heal than what is on its
    /// way.
    is_eager: bool,
    /// This round does.
    acts_at_once: bool,
    slots: VecDeque<Slot>,
    stretches: VecDeque<Stretch>,
    /// Slots that differ because one of the two cannot read a record.
    unread: Unread,
    asked: Option<Asked>,
    round_began: Tick,
    /// When the last round began that came to its end, and when the last one that failed.
    pub(crate) completed: Option<Tick>,
    pub(crate) failed: Option<Tick>,
    /// Slots that were found to differ and acted on, for metrics.
    pub(crate) differences: u64,
}

#[derive(Debug)]
enum Asked {
    Root,
    Tags(Vec<Slot>),
    Compare(Vec<Sheet>),
}

impl Verifier {
    pub(crate) fn new(first: Tick) -> Self {
        Self {
            next: first,
            seen: BTreeSet::new(),
            is_eager: false,
            acts_at_once: false,
            slots: VecDeque::new(),
            stretches: VecDeque::new(),
            unread: Unread::default(),
            asked: None,
            round_began: first,
            completed: None,
            failed: None,
            differences: 0,
        }
    }

    /// Asks for a round now whose differences are acted on at first sight.
    pub(crate) fn demand(&mut self, now: Tick) {
        self.is_eager = true;
        self.next = self.next.min(now);
        if self.asked.is_none() {
            self.abandon();
        }
    }

    pub(crate) fn poll<V: Value, A: Default + Send + Sync + 'static>(
        &mut self,
        store: &Store<V, A>,
        config: &DistroConfig,
        now: Tick,
    ) -> Option<Request<V>> {
        if self.asked.is_some() || !config.rules.verify {
            return None;
        }
        if !self.stretches.is_empty() {
            let sheets = self.fill_sheets(store, config);
            self.asked = Some(Asked::Compare(sheets.clone()));
            return Some(Request::Compare(sheets));
        }
        if !self.slots.is_empty() {
            let slots: Vec<Slot> = self.slots.iter().copied().collect();
            self.asked = Some(Asked::Tags(slots.clone()));
            return Some(Request::Tags(slots));
        }
        if now < self.next {
            return None;
        }
        self.round_began = now;
        self.acts_at_once = std::mem::take(&mut self.is_eager);
        self.asked = Some(Asked::Root);
        Some(Request::Verify(store.root()))
    }

    /// Takes an answer; returns what the peer lacks.
    pub(crate) fn answered<V: Value, A: Default + Send + Sync + 'static>(
        &mut self,
        store: &Store<V, A>,
        reply: Reply<V>,
        config: &DistroConfig,
        random: &mut Random,
        now: Tick,
    ) -> Vec<Place> {
        let mut lacking = Vec::new();
        match (self.asked.take(), reply) {
            (Some(Asked::Root), Reply::Same) => {
                self.seen.clear();
                self.unread.keep(&BTreeMap::new());
            }
            (Some(Asked::Root), Reply::Differs(sums)) => self.look(store, &sums),
            (Some(Asked::Tags(asked)), Reply::Tags { slots, sums }) => {
                // At least one, or a peer that answers none would keep us busy for ever.
                let answered = slots.clamp(1, asked.len());
                self.slots.drain(..answered.min(self.slots.len()));
                let asked = asked.get(..answered).unwrap_or_default();
                self.find_stretches(store, asked, sums);
            }
            (Some(Asked::Compare(sheets)), Reply::Compared { given, wanted, stopped, unread }) => {
                merge(store, &given, now);
                unread.iter().for_each(|place| self.cannot_read(place));
                lacking = wanted;
                self.go_on(sheets, stopped, &given);
            }
            _ => {
                self.fail(config, random, now);
                return lacking;
            }
        }
        if self.slots.is_empty() && self.stretches.is_empty() {
            self.end_round(config, random, now);
        }
        lacking
    }

    /// One of the two cannot read this record: comparing it again and again is in vain.
    pub(crate) fn cannot_read(&mut self, place: &Place) {
        self.unread.note(Slot::of(&place.0));
    }

    pub(crate) fn fail(&mut self, config: &DistroConfig, random: &mut Random, now: Tick) {
        self.asked = None;
        self.abandon();
        self.unread.fail();
        self.is_eager |= self.acts_at_once;
        // Not now: a call from before this member was stopped says nothing of after.
        self.failed = Some(self.round_began);
        self.next = now.after(random.vary(config.verify_period));
    }

    fn abandon(&mut self) {
        self.slots.clear();
        self.stretches.clear();
    }

    fn end_round(&mut self, config: &DistroConfig, random: &mut Random, now: Tick) {
        self.completed = Some(self.round_began);
        let wait = if self.seen.is_empty() { config.verify_period } else { config.second_look };
        // Whoever asked for a round while this one went on still wants it.
        self.next = if self.is_eager { now } else { now.after(random.vary(wait)) };
    }

    /// Chooses the slots to act on: those that differed the last time, too, unless that is known
    /// to be in vain.
    fn look<V: Value, A: Default + Send + Sync + 'static>(
        &mut self,
        store: &Store<V, A>,
        sums: &[u64],
    ) {
        let both = |slot: Slot| {
            let (theirs, ours) = (sums.get(slot.index()).copied(), store.checksum(slot));
            (theirs != Some(ours)).then_some((slot, (theirs.unwrap_or_default(), ours)))
        };
        let mut differing: BTreeMap<Slot, Sums> = Slot::all().filter_map(both).collect();
        self.unread.keep(&differing);
        let (at_once, unread) = (self.acts_at_once, &mut self.unread);
        differing.retain(|slot, sums| at_once || !unread.passes(*slot, *sums));
        let is_sure = |slot: &Slot| at_once || self.seen.contains(slot);
        self.slots = differing.keys().copied().filter(is_sure).collect();
        self.differences += self.slots.len() as u64;
        let acted = self.slots.iter().filter_map(|slot| Some((*slot, *differing.get(slot)?)));
        acted.for_each(|(slot, sums)| unread.acts(slot, sums));
        self.seen = differing.into_keys().filter(|slot| !self.slots.contains(slot)).collect();
    }

    fn find_stretches<V: Value, A: Default + Send + Sync + 'static>(
        &mut self,
        store: &Store<V, A>,
        slots: &[Slot],
        sums: Vec<(Arc<str>, u64)>,
    ) {
        let mut tags = BTreeSet::new();
        for (tag, sum) in &sums {
            if store.find(tag).map_or(0, |datum| datum.checksum()) != *sum {
                tags.insert(tag.clone());
            }
        }
        let theirs: BTreeSet<&str> = sums.iter().map(|(tag, _)| &**tag).collect();
        for tag in slots.iter().flat_map(|slot| store.tags(*slot, None)) {
            let is_empty = || store.find(&tag).is_none_or(|datum| datum.checksum() == 0);
            if !theirs.contains(&*tag) && !is_empty() {
                tags.insert(tag);
            }
        }
        self.stretches.extend(tags.into_iter().map(|tag| (tag, None)));
    }

    /// Writes down what is held of the next stretches, as much as fits into a message.
    fn fill_sheets<V: Value, A: Default + Send + Sync + 'static>(
        &mut self,
        store: &Store<V, A>,
        config: &DistroConfig,
    ) -> Vec<Sheet> {
        let (mut sheets, mut room) = (Vec::new(), config.batch_keys);
        while room > 0 && sheets.len() < config.batch_keys {
            let Some((tag, after)) = self.stretches.pop_front() else { break };
            let is_shared = store.sharing(&tag);
            let stamps: Vec<_> = store.find(&tag).map_or_else(Vec::new, |datum| {
                datum.read(|reader| {
                    let records = reader.records_after(after.as_deref());
                    let records = records.filter(|(key, _)| is_shared(key)).take(room);
                    records.map(|(key, record)| (key, record.stamps())).collect()
                })
            });
            let until = (stamps.len() == room).then(|| stamps.last().map(|(key, _)| key.clone()));
            let until = until.flatten();
            if let Some(until) = &until {
                self.stretches.push_front((tag.clone(), Some(until.clone())));
            }
            room -= stamps.len();
            sheets.push(Sheet { tag, after, until, stamps });
        }
        sheets
    }

    /// Puts back what the peer had no room to answer.
    fn go_on<V>(&mut self, sheets: Vec<Sheet>, stopped: Option<(usize, Key)>, given: &[Entry<V>]) {
        let Some((index, key)) = stopped.filter(|(index, _)| *index < sheets.len()) else { return };
        let is_progress = index > 0
            || !given.is_empty()
            || sheets.first().is_some_and(|first| first.after.as_ref() < Some(&key));
        if !is_progress {
            return;
        }
        // The rest of a stretch that was cut here already waits at the front.
        let ends = sheets.last().and_then(|last| last.until.clone());
        if ends.is_some() {
            self.stretches.pop_front();
        }
        for (at, sheet) in sheets.into_iter().enumerate().skip(index).rev() {
            let after = if at == index { Some(key.clone()) } else { sheet.after };
            self.stretches.push_front((sheet.tag, after));
        }
    }
}
