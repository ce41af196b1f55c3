//! Comparing with one peer what both hold, from the checksum of everything down to the records
//! that differ. Both sides end with the newer of every part.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::answer::merge;
use crate::config::DistroConfig;
use crate::message::{Entry, Reply, Request, StampRange, TagSum};
use crate::random::Random;
use crate::record::RecordId;
use crate::record::{DATUM_KEY, Key, Stamps, Value};
use crate::slot::Slot;
use crate::store::{Store, open_root};
use crate::time::Tick;

mod answer;
mod unread;
use unread::{Sums, Unread};

/// A tag to compare.
#[derive(Debug, Clone)]
struct Remainder {
    tag: Arc<str>,
    /// From after this key on.
    after: Option<Key>,
    /// The record that speaks for the datum, and nothing else: only whether it is listed differs.
    only_datum: bool,
}

/// What two members list, in one number each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Lists {
    ours: u64,
    theirs: u64,
}

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
    remainders: VecDeque<Remainder>,
    /// Slots that differ because one of the two cannot read a record.
    unread: Unread,
    /// What both list was compared to the end when it was this, and nobody knew of a closing that
    /// the other had missed. Members clean up at different moments: until one of the two changes
    /// there is nothing to compare.
    settled: Option<Lists>,
    /// The same once this round has come to its end.
    settles: Option<Lists>,
    /// Whether this round looks at what is listed.
    looks_at_lists: bool,
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
    /// The ranges, and whether the rest of the last one waits at the front.
    Compare(Vec<StampRange>, bool),
}

impl Verifier {
    pub(crate) fn new(first: Tick) -> Self {
        Self {
            next: first,
            seen: BTreeSet::new(),
            is_eager: false,
            acts_at_once: false,
            slots: VecDeque::new(),
            remainders: VecDeque::new(),
            unread: Unread::default(),
            settled: None,
            settles: None,
            looks_at_lists: false,
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
        self.settled = None;
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
        if self.asked.is_some() || !config.rules.verify() {
            return None;
        }
        if !self.remainders.is_empty() {
            let (ranges, is_cut) = self.fill_ranges(store, config);
            self.asked = Some(Asked::Compare(ranges.clone(), is_cut));
            return Some(Request::Compare(ranges));
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
        let open = config.rules.compare_open().then(|| self.lists_to_ask_for(store.open_root()));
        Some(Request::Verify { root: store.root(), open })
    }

    /// What the other should list if there is nothing to compare.
    fn lists_to_ask_for(&self, ours: u64) -> u64 {
        self.settled.filter(|settled| settled.ours == ours).map_or(ours, |settled| settled.theirs)
    }

    /// Takes an answer; returns what the peer lacks.
    pub(crate) fn answered<V: Value, A: Default + Send + Sync + 'static>(
        &mut self,
        store: &Store<V, A>,
        reply: Reply<V>,
        config: &DistroConfig,
        random: &mut Random,
        now: Tick,
    ) -> Vec<RecordId> {
        let mut lacking = Vec::new();
        match (self.asked.take(), reply) {
            (Some(Asked::Root), Reply::Same) => {
                self.seen.clear();
                self.unread.keep(&BTreeMap::new());
            }
            (Some(Asked::Root), Reply::Differs { sums, open }) => self.look(store, &sums, &open),
            (Some(Asked::Tags(asked)), Reply::Tags { slots, sums }) => {
                // At least one, or a peer that answers none would keep us busy for ever.
                let answered = slots.clamp(1, asked.len());
                self.slots.drain(..answered.min(self.slots.len()));
                let asked = asked.get(..answered).unwrap_or_default();
                self.find_differing_tags(store, asked, sums);
            }
            (
                Some(Asked::Compare(ranges, is_cut)),
                Reply::Compared { given, wanted, stopped, unread },
            ) => {
                merge(store, &given, now);
                unread.iter().for_each(|record_id| self.cannot_read(record_id));
                lacking = wanted;
                self.go_on(ranges, is_cut, stopped, &given);
            }
            _ => {
                self.fail(config, random, now);
                return lacking;
            }
        }
        if self.slots.is_empty() && self.remainders.is_empty() {
            self.end_round(config, random, now);
        }
        lacking
    }

    /// One of the two cannot read this record: comparing it again and again is in vain.
    pub(crate) fn cannot_read(&mut self, record_id: &RecordId) {
        self.unread.note(Slot::of(&record_id.0));
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
        self.remainders.clear();
        self.settles = None;
    }

    fn end_round(&mut self, config: &DistroConfig, random: &mut Random, now: Tick) {
        self.completed = Some(self.round_began);
        self.settled = self.settles.take().or(self.settled);
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
        open: &[u64],
    ) {
        let lists = Lists { ours: store.open_root(), theirs: open_root(open.iter().copied()) };
        let looks_at_lists = !open.is_empty() && self.settled != Some(lists);
        self.looks_at_lists = looks_at_lists;
        let lists_other =
            |slot: &Slot| looks_at_lists && open.get(slot.index()) != Some(&store.open_sum(*slot));
        let both = |slot: Slot| {
            let (theirs, ours) = (sums.get(slot.index()).copied(), store.checksum(slot));
            (theirs != Some(ours)).then_some((slot, (theirs.unwrap_or_default(), ours)))
        };
        let mut differing: BTreeMap<Slot, Sums> = Slot::all().filter_map(both).collect();
        self.unread.keep(&differing);
        let (at_once, unread) = (self.acts_at_once, &mut self.unread);
        differing.retain(|slot, sums| at_once || !unread.passes(*slot, *sums));
        let found: BTreeSet<Slot> =
            Slot::all().filter(|slot| differing.contains_key(slot) || lists_other(slot)).collect();
        let is_sure = |slot: &Slot| at_once || self.seen.contains(slot);
        self.slots = found.iter().copied().filter(is_sure).collect();
        let acts_on_all = Slot::all().filter(lists_other).all(|slot| self.slots.contains(&slot));
        self.settles = (looks_at_lists && acts_on_all).then_some(lists);
        self.differences += self.slots.len() as u64;
        let acted = self.slots.iter().filter_map(|slot| Some((*slot, *differing.get(slot)?)));
        acted.for_each(|(slot, sums)| unread.acts(slot, sums));
        self.seen = found.into_iter().filter(|slot| !self.slots.contains(slot)).collect();
    }

    fn find_differing_tags<V: Value, A: Default + Send + Sync + 'static>(
        &mut self,
        store: &Store<V, A>,
        slots: &[Slot],
        sums: Vec<TagSum>,
    ) {
        // Each tag, and whether nothing but the record of the datum has to be compared.
        let mut tags: BTreeMap<Arc<str>, bool> = BTreeMap::new();
        for TagSum { tag, sum, is_open } in &sums {
            let (ours, ours_is_open) =
                store.find(tag).map_or((0, false), |datum| (datum.checksum(), datum.is_open()));
            let lists_other =
                self.looks_at_lists && is_open.is_some_and(|is_open| is_open != ours_is_open);
            if ours != *sum || lists_other {
                tags.insert(tag.clone(), ours == *sum);
            }
        }
        let theirs: BTreeSet<&str> = sums.iter().map(|sum| &*sum.tag).collect();
        for tag in slots.iter().flat_map(|slot| store.tags(*slot, None)) {
            let Some(datum) = store.find(&tag).filter(|_| !theirs.contains(&*tag)) else {
                continue;
            };
            let is_empty = datum.checksum() == 0;
            if !is_empty || self.looks_at_lists && datum.is_open() {
                tags.insert(tag, is_empty);
            }
        }
        let remainder = |(tag, only_datum)| Remainder { tag, after: None, only_datum };
        self.remainders.extend(tags.into_iter().map(remainder));
    }

    /// Writes down what is held of the next remainders, as much as fits into a message.
    fn fill_ranges<V: Value, A: Default + Send + Sync + 'static>(
        &mut self,
        store: &Store<V, A>,
        config: &DistroConfig,
    ) -> (Vec<StampRange>, bool) {
        let (mut ranges, mut room, mut is_cut) = (Vec::new(), config.batch_keys, false);
        while room > 0 && ranges.len() < config.batch_keys {
            let Some(Remainder { tag, after, only_datum }) = self.remainders.pop_front() else {
                break;
            };
            let most = if only_datum { 1 } else { room };
            let stamps = stamps_of(store, &tag, after.as_deref(), most, config);
            is_cut = stamps.len() == room && !only_datum;
            let until = match only_datum {
                true => Some(DATUM_KEY.into()),
                false => stamps.last().filter(|_| is_cut).map(|(key, _)| key.clone()),
            };
            if is_cut {
                let rest = Remainder { tag: tag.clone(), after: until.clone(), only_datum: false };
                self.remainders.push_front(rest);
            }
            let stamps: Vec<_> = match only_datum {
                true => stamps.into_iter().filter(|(key, _)| &**key == DATUM_KEY).collect(),
                false => stamps,
            };
            room -= stamps.len();
            ranges.push(StampRange { tag, after, until, stamps });
        }
        (ranges, is_cut)
    }

    /// Puts back what the peer had no room to answer.
    fn go_on<V>(
        &mut self,
        ranges: Vec<StampRange>,
        is_cut: bool,
        stopped: Option<(usize, Key)>,
        given: &[Entry<V>],
    ) {
        let Some((index, key)) = stopped.filter(|(index, _)| *index < ranges.len()) else { return };
        let is_progress = index > 0
            || !given.is_empty()
            || ranges.first().is_some_and(|first| first.after.as_ref() < Some(&key));
        if !is_progress {
            return;
        }
        // The rest of a range that was cut here already waits at the front.
        if is_cut {
            self.remainders.pop_front();
        }
        let last = ranges.len() - 1;
        for (at, range) in ranges.into_iter().enumerate().skip(index).rev() {
            let only_datum = range.until.as_deref() == Some(DATUM_KEY) && !(is_cut && at == last);
            if only_datum && at == index {
                // Its one record was looked at.
                continue;
            }
            let after = if at == index { Some(key.clone()) } else { range.after };
            self.remainders.push_front(Remainder { tag: range.tag, after, only_datum });
        }
    }
}

/// What is held of a tag after a key, so many records at most. The record of a datum that is listed
/// is named even if there is none: then the other can tell that the datum was closed.
fn stamps_of<V: Value, A: Default + Send + Sync + 'static>(
    store: &Store<V, A>,
    tag: &str,
    after: Option<&str>,
    most: usize,
    config: &DistroConfig,
) -> Vec<(Key, Stamps)> {
    let (is_shared, Some(datum)) = (store.sharing(tag), store.find(tag)) else { return Vec::new() };
    datum.read(|reader| {
        let records = reader.records_after(after).filter(|(key, _)| is_shared(key));
        let mut stamps = records.map(|(key, record)| (key, record.stamps())).peekable();
        let is_named = config.rules.compare_open()
            && after.is_none()
            && reader.is_open()
            && is_shared(DATUM_KEY)
            && stamps.peek().is_none_or(|(key, _)| &**key != DATUM_KEY);
        let named = is_named.then(|| (DATUM_KEY.into(), Stamps::default()));
        named.into_iter().chain(stamps).take(most).collect()
    })
}
