//! A datum: the records of one tag under one lock, and what follows from changing them.

use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;

use crate::lease::{JudgeTerms, bucket_moment};
use crate::record::{DATUM_KEY, Health, Key, Record, Value};
use crate::slot::Slot;
use crate::stamp::{Stamp, StampClock};
use crate::store::{Effect, Shared, Verdict};
use crate::time::Tick;

const UNSCHEDULED: Tick = Tick::from_ms(u64::MAX);

/// All that is replicated for one tag.
pub struct Datum<V: Value, A> {
    tag: Arc<str>,
    slot: Slot,
    revision: AtomicU64,
    shelf: RwLock<Shelf<V>>,
    attached: A,
}

/// What the lock of a datum guards.
struct Shelf<V> {
    entries: BTreeMap<Key, Entry<V>>,
    newest_registration: Stamp,
    closed: Stamp,
    /// The moment for which the datum stands in the ring; later entries there are stale.
    due: Tick,
    /// Dropped from the store; whoever still holds it must look again.
    retired: bool,
}

struct Entry<V> {
    record: Record<V>,
    /// Of a visible record: when it was last heard, in ticks. Of a tombstone: when this member
    /// learned of it. Atomic, because beats store it under the shared lock.
    moment_ms: AtomicU64,
}

impl<V: Value> Entry<V> {
    fn moment(&self) -> Tick {
        Tick::from_ms(self.moment_ms.load(Ordering::Relaxed))
    }
}

/// What a beat found.
#[derive(Debug)]
pub enum Heard<V> {
    /// No such record, or it has expired.
    Unknown,
    /// The record was deregistered; this member learned of it at `learned`.
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

impl<V: Value, A: Default> Datum<V, A> {
    pub(crate) fn new(tag: Arc<str>) -> Self {
        let shelf = Shelf {
            entries: BTreeMap::new(),
            newest_registration: Stamp::NEVER,
            closed: Stamp::NEVER,
            due: UNSCHEDULED,
            retired: false,
        };
        Self {
            slot: Slot::of(&tag),
            tag,
            revision: AtomicU64::new(1),
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
        let Some(entry) = shelf.entries.get(key) else { return Heard::Unknown };
        match &entry.record.value {
            Some(value) if entry.record.is_visible() => {
                entry.moment_ms.fetch_max(now.as_ms(), Ordering::Relaxed);
                Heard::Known { value: Arc::clone(value), health: entry.record.health() }
            }
            _ if entry.record.deregistered > entry.record.registration => {
                Heard::Deregistered { learned: entry.moment() }
            }
            _ => Heard::Unknown,
        }
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
        let mut writer = self.writer(&mut shelf, shared, now);
        let result = write(&mut writer);
        let effect = writer.finish(&self.revision);
        Some((result, effect))
    }

    /// Judges every record and collects old tombstones, if the datum is due.
    pub(crate) fn judge(
        &self,
        shared: &Shared,
        terms: &JudgeTerms,
        clock: &StampClock,
        now: Tick,
    ) -> (Vec<Verdict<V>>, Effect) {
        let mut shelf = self.shelf.write();
        if shelf.due > now || shelf.retired {
            return (Vec::new(), Effect::default());
        }
        shelf.due = UNSCHEDULED;
        let mut writer = self.writer(&mut shelf, shared, now);
        writer.collect_tombstones();
        let verdicts = writer.find_verdicts(terms);
        for verdict in &verdicts {
            writer.judge(&verdict.key, clock.issue(now), verdict.health);
        }
        (verdicts, writer.finish(&self.revision))
    }

    /// Whether nothing would be lost by dropping it.
    pub(crate) fn may_be_dropped(&self) -> bool {
        let shelf = self.shelf.read();
        shelf.entries.is_empty() && !shelf.is_open()
    }

    /// Marks it as dropped, unless something was written meanwhile.
    pub(crate) fn retire(&self) -> bool {
        let mut shelf = self.shelf.write();
        shelf.retired = shelf.entries.is_empty() && !shelf.is_open();
        shelf.retired
    }

    fn writer<'a>(
        &'a self,
        shelf: &'a mut Shelf<V>,
        shared: &'a Shared,
        now: Tick,
    ) -> Writer<'a, V> {
        Writer {
            tag: &self.tag,
            slot: self.slot,
            shelf,
            shared,
            now,
            changed: Vec::new(),
            visible: false,
            deadline: UNSCHEDULED,
        }
    }
}

impl<V: Value> Shelf<V> {
    fn is_open(&self) -> bool {
        self.newest_registration > self.closed
    }

    fn find(&self, key: &str) -> Option<&Record<V>> {
        self.entries.get(key).map(|entry| &entry.record)
    }

    fn visible(&self) -> impl Iterator<Item = (&Key, &Record<V>, &Arc<V>)> {
        self.entries.iter().filter_map(|(key, entry)| {
            let value = entry.record.value.as_ref()?;
            entry.record.is_visible().then_some((key, &entry.record, value))
        })
    }
}

/// Shared access to the records of a datum.
pub struct Reader<'a, V> {
    shelf: &'a Shelf<V>,
    revision: u64,
}

impl<'a, V: Value> Reader<'a, V> {
    /// The revision that what is read belongs to.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Whether anything was ever registered here that closing the datum did not end. An open
    /// datum may be empty: its last record has just left.
    pub fn is_open(&self) -> bool {
        self.shelf.is_open()
    }

    /// The record of a key, visible or not.
    pub fn find(&self, key: &str) -> Option<&'a Record<V>> {
        self.shelf.find(key)
    }

    /// The visible records in the order of their keys.
    pub fn visible(
        &self,
    ) -> impl Iterator<Item = (&'a Key, &'a Record<V>, &'a Arc<V>)> + use<'a, V> {
        self.shelf.visible()
    }

    /// The keys of all records, tombstones included, that belong to the life of an open datum.
    pub fn keys_since_closing(&self) -> impl Iterator<Item = &'a Key> + use<'a, V> {
        let closed = self.shelf.closed;
        let lived = move |(key, entry): (&'a Key, &'a Entry<V>)| {
            (entry.record.registration > closed).then_some(key)
        };
        self.shelf.entries.iter().filter_map(lived)
    }

    /// When a record was last heard (of a tombstone: when this member learned of it).
    pub fn last_heard(&self, key: &str) -> Option<Tick> {
        self.shelf.entries.get(key).map(Entry::moment)
    }
}

/// Exclusive access to the records of a datum.
pub struct Writer<'a, V: Value> {
    tag: &'a str,
    slot: Slot,
    shelf: &'a mut Shelf<V>,
    shared: &'a Shared,
    now: Tick,
    changed: Vec<Key>,
    visible: bool,
    deadline: Tick,
}

impl<V: Value> Writer<'_, V> {
    /// The record of a key, visible or not.
    pub fn find(&self, key: &str) -> Option<&Record<V>> {
        self.shelf.find(key)
    }

    /// The value of a key if readers see it.
    pub fn find_visible(&self, key: &str) -> Option<(&Record<V>, &Arc<V>)> {
        let record = self.shelf.find(key).filter(|record| record.is_visible())?;
        Some((record, record.value.as_ref()?))
    }

    /// The visible records in the order of their keys.
    pub fn visible(&self) -> impl Iterator<Item = (&Key, &Record<V>, &Arc<V>)> {
        self.shelf.visible()
    }

    /// Whether the datum is open: see [`Reader::is_open`].
    pub fn is_open(&self) -> bool {
        self.shelf.is_open()
    }

    /// Writes a value on behalf of a client and renews the lease.
    pub fn register(&mut self, key: &str, stamp: Stamp, value: Arc<V>, health: Health) {
        self.merge(key, &Record::registered(stamp, value, health));
        self.renew(key);
    }

    /// Counts the record as heard now.
    pub fn renew(&mut self, key: &str) {
        if let Some(entry) = self.shelf.entries.get(key).filter(|entry| entry.record.is_visible()) {
            entry.moment_ms.store(self.now.as_ms(), Ordering::Relaxed);
        }
    }

    /// Removes a record on behalf of a client. Returns whether it was visible; an unknown key
    /// leaves no trace.
    pub fn deregister(&mut self, key: &str, stamp: Stamp) -> bool {
        let visible = self.find_visible(key).is_some();
        if visible {
            self.merge(key, &Record::removed(stamp));
        }
        visible
    }

    /// Sets the health of a record.
    pub fn judge(&mut self, key: &str, stamp: Stamp, health: Health) {
        if self.find(key).is_some() {
            self.merge(key, &Record::judged(stamp, health));
        }
    }

    /// Deregisters every record and the datum itself: it is not open any more.
    pub fn close(&mut self, stamp: Stamp) {
        let keys: Vec<Key> = self.visible().map(|(key, ..)| Arc::clone(key)).collect();
        for key in keys {
            self.merge(&key, &Record::removed(stamp));
        }
        self.merge(DATUM_KEY, &Record::removed(stamp));
    }

    /// Takes over what is newer in `incoming`, the one way in which anything changes here. Keeps
    /// checksum, counts and schedule true. Returns whether anything changed.
    pub fn merge(&mut self, key: &str, incoming: &Record<V>) -> bool {
        let known = self.shelf.entries.get_mut(key);
        let is_new = known.is_none();
        let mut fresh = Entry { record: Record::default(), moment_ms: AtomicU64::new(0) };
        let entry = known.unwrap_or(&mut fresh);

        let before = Aspect::of(&entry.record, self.tag, key);
        if !entry.record.merge(incoming) {
            return false;
        }
        let after = Aspect::of(&entry.record, self.tag, key);
        if is_new || before.shown.is_some() != after.shown.is_some() {
            *entry.moment_ms.get_mut() = self.now.as_ms();
        }
        let lease = after.shown.as_ref().and_then(|(value, _)| value.lease());
        let deadline = match (&after.shown, lease) {
            (None, _) => self.now.after(self.shared.config.tombstone_retention),
            (Some(_), None) => UNSCHEDULED,
            (Some(_), Some(lease)) => {
                entry.moment().after(lease.unhealthy_after.min(lease.expire_after))
            }
        };
        self.deadline = self.deadline.min(deadline);
        self.shelf.newest_registration =
            self.shelf.newest_registration.max(entry.record.registration);
        if key == DATUM_KEY {
            self.shelf.closed = self.shelf.closed.max(entry.record.deregistered);
        }
        self.visible |= !before.shows_like(&after) || key == DATUM_KEY;
        self.account(&before, &after, is_new);
        let key = self.note_changed(key);
        if is_new {
            self.shelf.entries.insert(key, fresh);
        }
        true
    }

    /// Folds a change of one record into the sums of the slot and of the store.
    fn account(&self, before: &Aspect<V>, after: &Aspect<V>, is_new: bool) {
        let slot = &self.shared.slots[self.slot.index()];
        slot.checksum
            .fetch_add(after.fingerprint.wrapping_sub(before.fingerprint), Ordering::Relaxed);
        if let Some((value, _)) = &before.shown {
            self.shared.visible[value.class()].fetch_sub(1, Ordering::Relaxed);
        } else if !is_new {
            slot.tombstones.fetch_sub(1, Ordering::Relaxed);
        }
        if let Some((value, _)) = &after.shown {
            self.shared.visible[value.class()].fetch_add(1, Ordering::Relaxed);
        } else {
            slot.tombstones.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn note_changed(&mut self, key: &str) -> Key {
        if let Some(known) = self.changed.iter().find(|changed| &***changed == key) {
            return Arc::clone(known);
        }
        let key: Key = match self.shelf.entries.get_key_value(key) {
            Some((key, _)) => Arc::clone(key),
            None => key.into(),
        };
        self.changed.push(Arc::clone(&key));
        key
    }

    fn find_verdicts(&mut self, terms: &JudgeTerms) -> Vec<Verdict<V>> {
        let mut verdicts = Vec::new();
        for (key, entry) in &self.shelf.entries {
            let Some(value) = entry.record.value.as_ref().filter(|_| entry.record.is_visible())
            else {
                let learned = entry.moment();
                let retention = self.shared.config.tombstone_retention;
                self.deadline = self.deadline.min(learned.after(retention));
                continue;
            };
            let Some(lease) = value.lease() else { continue };
            let (health, next) =
                terms.judge(lease, entry.record.health(), entry.moment(), self.now);
            self.deadline = self.deadline.min(next);
            if let Some(health) = health {
                let silent_for = self.now.since(entry.moment());
                let (key, value) = (Arc::clone(key), Arc::clone(value));
                verdicts.push(Verdict { key, value, health, silent_for });
            }
        }
        verdicts
    }

    /// Forgets tombstones older than the retention time, or than the compensation window where a
    /// slot holds too many.
    fn collect_tombstones(&mut self) {
        let config = &self.shared.config;
        let slot = &self.shared.slots[self.slot.index()];
        let crowded = slot.tombstones.load(Ordering::Relaxed) > config.tombstones_per_slot;
        let keep = if crowded { config.compensation_window } else { config.tombstone_retention };
        let now = self.now;
        self.shelf.entries.retain(|_, entry| {
            let kept = entry.record.is_visible() || now.since(entry.moment()) < keep;
            if !kept {
                slot.tombstones.fetch_sub(1, Ordering::Relaxed);
            }
            kept
        });
    }

    fn finish(mut self, revision: &AtomicU64) -> Effect {
        let mut schedule = None;
        if self.deadline < UNSCHEDULED {
            let moment = bucket_moment(self.now, self.deadline);
            if moment < self.shelf.due {
                self.shelf.due = moment;
                schedule = Some(moment);
            }
        }
        if self.visible {
            revision.fetch_add(1, Ordering::AcqRel);
        }
        Effect {
            changed: mem::take(&mut self.changed),
            visible: self.visible,
            schedule,
            wrote_nothing: self.shelf.entries.is_empty(),
        }
    }
}

/// What others can tell of a record, before or after a change.
struct Aspect<V> {
    shown: Option<(Arc<V>, Health)>,
    fingerprint: u64,
}

impl<V: Value> Aspect<V> {
    fn of(record: &Record<V>, tag: &str, key: &str) -> Self {
        let value = record.value.as_ref().filter(|_| record.is_visible());
        Self {
            shown: value.map(|value| (Arc::clone(value), record.health())),
            fingerprint: record.fingerprint(tag, key),
        }
    }

    fn shows_like(&self, other: &Self) -> bool {
        match (&self.shown, &other.shown) {
            (None, None) => true,
            (Some((a, a_health)), Some((b, b_health))) => a_health == b_health && a.shows_like(b),
            _ => false,
        }
    }
}
