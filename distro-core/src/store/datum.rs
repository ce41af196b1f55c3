//! A datum: the records of one tag under one lock.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use parking_lot::RwLock;

use crate::journal::HeardAt;
use crate::lease::JudgeTerms;
use crate::record::{Health, Key, Record, Value};
use crate::slot::Slot;
use crate::stamp::Stamp;
use crate::store::tombstone::{Tombstone, Tombstones};
use crate::store::writer::Writer;
use crate::store::{Effect, Shared, Verdict};
use crate::time::Tick;

mod entry;
pub(crate) use entry::Entry;

mod reader;
pub use reader::Reader;

pub(crate) const UNSCHEDULED: Tick = Tick::from_ms(u64::MAX);

/// All that is replicated for one tag.
pub struct Datum<V: Value, A> {
    tag: Arc<str>,
    slot: Slot,
    revision: AtomicU64,
    /// How many looks of the housekeeping in a row found it open and empty.
    empty_looks: AtomicU8,
    shelf: RwLock<Shelf<V>>,
    attached: A,
}

/// What the lock of a datum guards.
pub(crate) struct Shelf<V> {
    /// Every record that has content, be it that of an expired one.
    pub(crate) entries: BTreeMap<Key, Entry<V>>,
    /// Every record that has none. No key is in both.
    pub(crate) tombstones: Tombstones,
    pub(crate) newest_registration: Stamp,
    pub(crate) closed: Stamp,
    /// Whether something was visible since the housekeeping of this member last took the datum out
    /// of what it lists. Other members never hear of that.
    pub(crate) is_listed: bool,
    /// The newest registration as of that moment.
    pub(crate) cleaned: Stamp,
    /// Sum of the fingerprints of the records.
    pub(crate) checksum: u64,
    /// How many records readers see.
    pub(crate) shown: u32,
    /// Whether the datum itself counts in the memory of removals, since readers see none of its
    /// records.
    pub(crate) is_weighed: bool,
    /// The moment for which the datum stands in the ring; later entries there are stale.
    pub(crate) due: Tick,
    /// Dropped from the store; a thread that still holds it must look again.
    retired: bool,
    /// Whether the owner of the tag does not speak this protocol, in the view of owners that has
    /// the number `epoch`.
    pub(crate) is_foreign: bool,
    pub(crate) epoch: u64,
}

/// What a beat found.
#[derive(Debug)]
pub enum Heard<V> {
    /// No such record, or it has expired or [lapsed](crate::Store::lapse): the client
    /// registers anew.
    Unknown,
    /// The record was deregistered on purpose; this member learned of it at `learned`. A late beat
    /// does not bring it back.
    Deregistered {
        /// When this member learned of the deregistration.
        learned: Tick,
    },
    /// The record is there and its lease is renewed.
    Known {
        /// Its value.
        value: Arc<V>,
        /// Its health before the beat.
        health: Health,
    },
}

/// What a beat that another member heard found.
#[derive(Debug)]
pub(crate) enum HeardOf<V> {
    /// No such record, or none with content.
    Unknown,
    /// It was deregistered.
    Removed(Record<V>),
    /// It is there, perhaps judged wrongly, perhaps as it was written before.
    Known { is_news: bool, is_healthy: bool, is_behind: bool },
}

impl<V: Value, A: Default> Datum<V, A> {
    pub(crate) fn new(tag: Arc<str>) -> Self {
        let shelf = Shelf {
            entries: BTreeMap::new(),
            tombstones: Tombstones::default(),
            newest_registration: Stamp::NEVER,
            closed: Stamp::NEVER,
            is_listed: false,
            cleaned: Stamp::NEVER,
            checksum: 0,
            shown: 0,
            is_weighed: false,
            due: UNSCHEDULED,
            retired: false,
            is_foreign: false,
            epoch: 0,
        };
        Self {
            slot: Slot::of(&tag),
            tag,
            revision: AtomicU64::new(1),
            empty_looks: AtomicU8::new(0),
            shelf: RwLock::new(shelf),
            attached: A::default(),
        }
    }
}

impl<V: Value, A> Datum<V, A> {
    /// The tag that decides who is responsible for it.
    pub fn tag(&self) -> &Arc<str> {
        &self.tag
    }

    /// The slot of the tag.
    pub fn slot(&self) -> Slot {
        self.slot
    }

    /// Counts the changes that readers can see, on this member alone. Starts at 1, never falls.
    pub fn revision(&self) -> u64 {
        self.revision.load(Ordering::Acquire)
    }

    /// What the owner of the store keeps beside the records.
    pub fn attached(&self) -> &A {
        &self.attached
    }

    /// Reads under the shared lock. `read` must be quick and must not write to the store.
    pub fn read<R>(&self, read: impl FnOnce(Reader<'_, V>) -> R) -> R {
        let shelf = self.shelf.read();
        read(Reader { shelf: &shelf, revision: self.revision() })
    }

    pub(crate) fn hear(&self, key: &str, now: Tick) -> Heard<V> {
        let shelf = self.shelf.read();
        let Some(entry) = shelf.entries.get(key) else {
            let removed = shelf.tombstones.find(key).filter(Tombstone::is_deregistered);
            return removed.map_or(Heard::Unknown, |tombstone| Heard::Deregistered {
                learned: tombstone.learned,
            });
        };
        match &entry.record.value {
            Some(value) if entry.record.is_visible() => {
                entry.hear(now);
                Heard::Known { value: Arc::clone(value), health: entry.record.health() }
            }
            _ => Heard::Unknown,
        }
    }

    /// A beat that another member heard at `at`, of what was written at `written`. `None`: before
    /// this member started. Then it is none of now, but the record may be looked for all the same.
    pub(crate) fn hear_of(&self, key: &str, at: Option<Tick>, written: u64) -> HeardOf<V> {
        let shelf = self.shelf.read();
        let Some(record) = shelf.find(key) else { return HeardOf::Unknown };
        let is_behind = record.registration.time() < written;
        if record.deregistered >= record.registration {
            // A registration that is not known here may have come after the removal.
            return if is_behind && record.deregistered.time() < written {
                HeardOf::Unknown
            } else {
                HeardOf::Removed(record.into_owned())
            };
        }
        if record.value.is_none() || is_behind && !record.is_visible() {
            return HeardOf::Unknown;
        }
        let entry = shelf.entries.get(key);
        let is_news = at.zip(entry).is_some_and(|(at, entry)| entry.hear(at));
        HeardOf::Known { is_news, is_healthy: record.health() == Health::Healthy, is_behind }
    }

    fn written(&self, key: &str) -> u64 {
        self.shelf.read().find(key).map_or(0, |record| record.registration.time())
    }

    /// A beat that was heard at `tick`, as it is passed on.
    pub(crate) fn heard_at(&self, key: &str, tick: Tick) -> HeardAt {
        HeardAt { tick, hops: 0, written: self.written(key) }
    }

    /// `None` if the datum has been dropped from the store; `write` is left in place then.
    pub(crate) fn write<R, F>(
        &self,
        shared: &Shared,
        now: Tick,
        write: &mut Option<F>,
    ) -> Option<(R, Effect)>
    where
        F: FnOnce(&mut Writer<'_, V>) -> R,
    {
        let mut shelf = self.shelf.write();
        if shelf.retired {
            return None;
        }
        let write = write.take()?;
        let mut writer = Writer::new(&self.tag, self.slot, &mut shelf, shared, now);
        writer.follow_owners();
        let result = write(&mut writer);
        Some((result, writer.finish(&self.revision)))
    }

    /// Judges every record and collects old tombstones, if the datum is due.
    pub(crate) fn judge(&self, shared: &Shared, terms: &JudgeTerms) -> (Vec<Verdict<V>>, Effect) {
        let now = terms.as_of;
        let mut shelf = self.shelf.write();
        if shelf.due > now || shelf.retired {
            return (Vec::new(), Effect::default());
        }
        shelf.due = UNSCHEDULED;
        let mut writer = Writer::new(&self.tag, self.slot, &mut shelf, shared, now);
        writer.follow_owners();
        writer.collect_tombstones();
        let verdicts = writer.find_verdicts(terms);
        for verdict in &verdicts {
            writer.judge(&verdict.key, shared.clock.issue(now), verdict.health);
        }
        (verdicts, writer.finish(&self.revision))
    }

    /// Forgets what is old enough without waiting for the datum to be due. `None` if it remembers
    /// nothing.
    pub(crate) fn forget_early(&self, shared: &Shared, now: Tick) -> Option<Effect> {
        if !self.shelf.read().has_removals() {
            return None;
        }
        let mut shelf = self.shelf.write();
        if shelf.retired {
            return None;
        }
        let mut writer = Writer::new(&self.tag, self.slot, &mut shelf, shared, now);
        writer.follow_owners();
        writer.collect_tombstones();
        Some(writer.finish(&self.revision))
    }

    /// Brings the next look at its leases forward to this moment. Returns whether it stood in the
    /// ring for later.
    pub(crate) fn hasten(&self, moment: Tick) -> bool {
        let mut shelf = self.shelf.write();
        let is_later = shelf.due > moment && !shelf.retired && !shelf.entries.is_empty();
        if is_later {
            shelf.due = moment;
        }
        is_later
    }

    /// Sum of the fingerprints of its visible records: equal on two members that hold the same.
    pub fn checksum(&self) -> u64 {
        self.shelf.read().checksum
    }

    /// Whether it is open: see [`Reader::is_open`].
    pub(crate) fn is_open(&self) -> bool {
        self.shelf.read().is_open()
    }

    /// One look of the housekeeping: whether this is the `looks`th in a row that finds the datum
    /// open and empty.
    pub(crate) fn is_left_over(&self, looks: u8) -> bool {
        if !self.read(|reader| reader.is_open() && reader.visible().next().is_none()) {
            self.empty_looks.store(0, Ordering::Relaxed);
            return false;
        }
        let before = self.empty_looks.fetch_add(1, Ordering::Relaxed);
        let is_over = before.saturating_add(1) >= looks;
        if is_over {
            self.empty_looks.store(0, Ordering::Relaxed);
        }
        is_over
    }

    /// Whether nothing would be lost by dropping it.
    pub(crate) fn may_be_dropped(&self) -> bool {
        let shelf = self.shelf.read();
        shelf.is_empty() && !shelf.is_open()
    }

    /// Marks it as dropped, unless something was written meanwhile.
    pub(crate) fn retire(&self) -> bool {
        let mut shelf = self.shelf.write();
        shelf.retired = shelf.is_empty() && !shelf.is_open();
        shelf.retired
    }
}

impl<V: Value> Shelf<V> {
    pub(crate) fn is_open(&self) -> bool {
        self.is_listed && self.newest_registration > self.closed
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.tombstones.is_empty()
    }

    /// Whether any record is only remembered as removed or expired.
    pub(crate) fn has_removals(&self) -> bool {
        !self.tombstones.is_empty() || self.entries.len() > self.shown as usize
    }

    pub(crate) fn find(&self, key: &str) -> Option<Cow<'_, Record<V>>> {
        match self.entries.get(key) {
            Some(entry) => Some(Cow::Borrowed(&entry.record)),
            None => Some(Cow::Owned(self.tombstones.find(key)?.record())),
        }
    }

    pub(crate) fn find_visible(&self, key: &str) -> Option<(&Record<V>, &Arc<V>)> {
        let record = &self.entries.get(key).filter(|entry| entry.record.is_visible())?.record;
        Some((record, record.value.as_ref()?))
    }

    pub(crate) fn visible(&self) -> impl Iterator<Item = (&Key, &Record<V>, &Arc<V>)> {
        self.entries.iter().filter_map(|(key, entry)| {
            let value = entry.record.value.as_ref()?;
            entry.record.is_visible().then_some((key, &entry.record, value))
        })
    }
}
