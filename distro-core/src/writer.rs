//! Writing to a datum: what follows from a change of its records.

use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::datum::{Entry, Shelf, UNSCHEDULED};
use crate::lease::{JudgeTerms, bucket_moment};
use crate::record::{DATUM_KEY, Health, Key, Record, Value};
use crate::slot::Slot;
use crate::stamp::Stamp;
use crate::store::{Effect, Shared, Verdict};
use crate::time::Tick;

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

impl<'a, V: Value> Writer<'a, V> {
    pub(crate) fn new(
        tag: &'a str,
        slot: Slot,
        shelf: &'a mut Shelf<V>,
        shared: &'a Shared,
        now: Tick,
    ) -> Self {
        Self {
            tag,
            slot,
            shelf,
            shared,
            now,
            changed: Vec::new(),
            visible: false,
            deadline: UNSCHEDULED,
        }
    }

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

    /// Whether the datum is open: see [`Reader::is_open`](crate::Reader::is_open).
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
        let class = |aspect: &Aspect<V>| aspect.shown.as_ref().map(|(value, _)| value.class());
        let (was, is) = (class(before), class(after));
        if was == is && !is_new {
            // All threads write to these counts: what stays the same leaves them alone.
            return;
        }
        match was {
            Some(class) => _ = self.shared.visible[class].fetch_sub(1, Ordering::Relaxed),
            None if is_new => {}
            None => _ = slot.tombstones.fetch_sub(1, Ordering::Relaxed),
        }
        match is {
            Some(class) => _ = self.shared.visible[class].fetch_add(1, Ordering::Relaxed),
            None => _ = slot.tombstones.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// May note a key twice; [`Self::finish`] sees to that, as looking here would make the removal
    /// of many records quadratic.
    fn note_changed(&mut self, key: &str) -> Key {
        let key: Key = match self.shelf.entries.get_key_value(key) {
            Some((key, _)) => Arc::clone(key),
            None => key.into(),
        };
        self.changed.push(Arc::clone(&key));
        key
    }

    pub(crate) fn find_verdicts(&mut self, terms: &JudgeTerms) -> Vec<Verdict<V>> {
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
    pub(crate) fn collect_tombstones(&mut self) {
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

    pub(crate) fn finish(mut self, revision: &AtomicU64) -> Effect {
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
        let mut changed = mem::take(&mut self.changed);
        changed.sort_unstable();
        changed.dedup();
        Effect {
            changed,
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
