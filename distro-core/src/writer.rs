//! Writing to a datum: the one place where records change, and where checksum, counts, schedule
//! and journal follow from it.

use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::aspect::Aspect;
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
    /// Those of the changed keys that other members must be told of.
    local: Vec<Key>,
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
        let (changed, local) = (Vec::new(), Vec::new());
        Self {
            tag,
            slot,
            shelf,
            shared,
            now,
            changed,
            local,
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
        self.apply(key, &Record::registered(stamp, value, health), Origin::Here);
        self.renew(key);
    }

    /// Counts the record as heard now.
    pub fn renew(&mut self, key: &str) {
        if let Some(entry) = self.shelf.entries.get(key).filter(|entry| entry.record.is_visible()) {
            entry.hear(self.now);
        }
    }

    /// Removes a record on behalf of a client. Returns whether it was visible; an unknown key
    /// leaves no trace.
    pub fn deregister(&mut self, key: &str, stamp: Stamp) -> bool {
        let visible = self.find_visible(key).is_some();
        if visible {
            self.apply(key, &Record::removed(stamp), Origin::Here);
        }
        visible
    }

    /// Removes a record whether it is known here or not: other members may hold it.
    pub(crate) fn deregister_unseen(&mut self, key: &str, stamp: Stamp) {
        self.apply(key, &Record::removed(stamp), Origin::Here);
    }

    /// Sets the health of a record.
    pub fn judge(&mut self, key: &str, stamp: Stamp, health: Health) {
        if self.find(key).is_some() {
            self.apply(key, &Record::judged(stamp, health), Origin::Here);
        }
    }

    /// Deregisters every record that was registered before, and the datum itself: it is not open
    /// any more.
    pub fn close(&mut self, stamp: Stamp) {
        self.apply(DATUM_KEY, &Record::removed(stamp), Origin::Here);
    }

    /// A datum that is closed has no record from before, wherever it is held: others may hold
    /// some that were not known where it was closed.
    fn end_records_before_closing(&mut self, origin: Origin) {
        let closed = self.shelf.closed;
        let over = self.shelf.entries.iter().filter(|(_, entry)| is_over(&entry.record, closed));
        let keys: Vec<Key> = over.map(|(key, _)| Arc::clone(key)).collect();
        for key in keys {
            self.apply(&key, &Record::removed(closed), origin);
        }
    }

    /// Takes over what is newer in a record that comes from another member. If that says
    /// unhealthy or expired of a record that was heard here within its time-out, it is refuted at
    /// once, so that no reader ever sees it. Returns whether anything changed.
    pub fn merge(&mut self, key: &str, incoming: &Record<V>) -> bool {
        let newest = incoming.newest();
        self.shared.clock.observe(newest);
        if !self.shared.config.rules.refute {
            return self.apply(key, incoming, Origin::Elsewhere);
        }
        // A judgement that will be refuted is applied together with its refutation, lest readers
        // see it in between.
        match self.refutation(key, incoming) {
            Some(refuted) => {
                let changed = self.apply(key, &refuted, Origin::Elsewhere);
                if changed {
                    self.note_local(key);
                }
                changed
            }
            None => self.apply(key, incoming, Origin::Elsewhere),
        }
    }

    /// Takes back a judgement of a record that was heard within its time-out after all.
    pub(crate) fn refute(&mut self, key: &str) {
        let Some(record) = self.find(key).cloned() else { return };
        if let Some(refuted) = self.refutation(key, &record) {
            self.apply(key, &refuted, Origin::Here);
        }
    }

    /// `incoming` with the truth about its health in place of what it says, if this member knows
    /// better: it heard the record within its time-out.
    fn refutation(&self, key: &str, incoming: &Record<V>) -> Option<Record<V>> {
        let entry = self.shelf.entries.get(key)?;
        let mut merged = entry.record.clone();
        merged.merge(incoming);
        if merged.registration <= merged.deregistered || merged.health() == Health::Healthy {
            return None;
        }
        // The health that it was registered with was said, not judged from silence.
        if merged.liveness == merged.registration {
            return None;
        }
        let lease = merged.value.as_ref()?.lease()?;
        let truth = lease.health_after(self.now.since(entry.heard()?));
        if truth >= merged.health() {
            return None;
        }
        let stamp = self.shared.clock.issue(self.now);
        Some(Record { liveness: stamp, judged: truth, ..merged })
    }

    fn apply(&mut self, key: &str, incoming: &Record<V>, origin: Origin) -> bool {
        let closed = self.shelf.closed;
        let known = self.shelf.entries.get_mut(key);
        let is_new = known.is_none();
        let mut fresh = Entry::new(self.now);
        let entry = known.unwrap_or(&mut fresh);

        let before = Aspect::of(&entry.record, self.tag, key);
        let stamps = entry.record.stamps();
        if !entry.record.merge(incoming) {
            return false;
        }
        if self.shared.config.rules.close_all && is_over(&entry.record, closed) {
            entry.record.merge(&Record::removed(closed));
        }
        // Who never heard a record needs no content to refute with.
        if entry.record.health() == Health::Expired && entry.heard().is_none() {
            entry.record.value = None;
        }
        let after = Aspect::of(&entry.record, self.tag, key);
        let tells = if after.shown.is_some() {
            before.shown.is_none()
                || entry.record.registration > stamps.registration
                || (entry.record.liveness > stamps.liveness
                    && entry.record.health() == Health::Healthy)
        } else {
            before.shown.is_some() || entry.record.deregistered > stamps.deregistered
        };
        if is_new || tells {
            entry.learned = self.now;
        }
        let config = &self.shared.config;
        let deadline = match after.shown.as_ref().map(|(value, _)| value.lease()) {
            None if entry.record.value.is_some() => {
                self.now.after(config.tombstone_retention.min(config.content_retention))
            }
            None => self.now.after(config.tombstone_retention),
            Some(None) => UNSCHEDULED,
            Some(Some(lease)) => entry.moment().after(lease.shortest()),
        };
        self.deadline = self.deadline.min(deadline);
        self.shelf.newest_registration =
            self.shelf.newest_registration.max(entry.record.registration);
        if key == DATUM_KEY {
            self.shelf.closed = self.shelf.closed.max(entry.record.deregistered);
        }
        self.visible |= !before.shows_like(&after) || key == DATUM_KEY;
        self.account(&before, &after, is_new);
        let known = self.note_changed(key);
        if is_new {
            self.shelf.entries.insert(known, fresh);
        }
        if origin == Origin::Here {
            self.note_local(key);
        }
        let is_told = self.shared.config.rules.close_all || origin == Origin::Here;
        if self.shelf.closed > closed && is_told {
            self.end_records_before_closing(origin);
        }
        true
    }

    /// Folds a change of one record into the sums of the datum, the slot and the store.
    fn account(&mut self, before: &Aspect<V>, after: &Aspect<V>, is_new: bool) {
        let slot = &self.shared.slots[self.slot.index()];
        let change = after.fingerprint.wrapping_sub(before.fingerprint);
        self.shelf.checksum = self.shelf.checksum.wrapping_add(change);
        slot.checksum.fetch_add(change, Ordering::Relaxed);
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

    fn note_local(&mut self, key: &str) {
        if self.shared.journal.is_kept()
            && let Some((key, _)) = self.shelf.entries.get_key_value(key)
        {
            self.local.push(Arc::clone(key));
        }
    }

    pub(crate) fn find_verdicts(&mut self, terms: &JudgeTerms) -> Vec<Verdict<V>> {
        let (config, now) = (&self.shared.config, self.now);
        let owned_since = self.shared.judged_since(self.slot);
        let mut verdicts = Vec::new();
        for (key, entry) in &self.shelf.entries {
            let Some(value) = entry.record.value.as_ref().filter(|_| entry.record.is_visible())
            else {
                let kept = match &entry.record.value {
                    Some(_) => config.content_retention.min(config.tombstone_retention),
                    None => config.tombstone_retention,
                };
                self.deadline = self.deadline.min(entry.learned.after(kept));
                continue;
            };
            let Some(lease) = value.lease() else { continue };
            let Some(owned_since) = owned_since else {
                // Should the slot become ours, nothing is judged before this has passed again.
                self.deadline = self.deadline.min(now.after(lease.shortest()));
                continue;
            };
            let since = entry.moment().max(owned_since);
            let (health, next) = terms.judge(lease, entry.record.health(), since, now);
            self.deadline = self.deadline.min(next);
            if let Some(health) = health {
                let silent_for = now.since(entry.moment());
                let (key, value) = (Arc::clone(key), Arc::clone(value));
                verdicts.push(Verdict { key, value, health, silent_for });
            }
        }
        verdicts
    }

    /// Forgets tombstones older than the retention time, or than the compensation window where a
    /// slot holds too many; and before that the content of what has expired.
    pub(crate) fn collect_tombstones(&mut self) {
        let config = &self.shared.config;
        let slot = &self.shared.slots[self.slot.index()];
        let crowded = slot.tombstones.load(Ordering::Relaxed) > config.tombstones_per_slot;
        let keep = if crowded { config.compensation_window } else { config.tombstone_retention };
        let now = self.now;
        self.shelf.entries.retain(|_, entry| {
            let age = now.since(entry.learned);
            let kept = entry.record.is_visible() || age < keep;
            if !kept {
                slot.tombstones.fetch_sub(1, Ordering::Relaxed);
            } else if !entry.record.is_visible() && age >= config.content_retention {
                entry.record.value = None;
            }
            kept
        });
    }

    /// Forgets, without leaving a tombstone, every visible record that has a lease and was not
    /// heard within its time-out.
    pub(crate) fn forget_unheard(&mut self) {
        let now = self.now;
        let is_silent = |entry: &Entry<V>| {
            let visible = entry.record.value.as_ref().filter(|_| entry.record.is_visible());
            let lease = visible.and_then(|value| value.lease());
            let silence = entry.heard().map_or(Duration::MAX, |at| now.since(at));
            lease.is_some_and(|lease| lease.health_after(silence) == Health::Expired)
        };
        let silent = self.shelf.entries.iter().filter(|(_, entry)| is_silent(entry));
        let keys: Vec<Key> = silent.map(|(key, _)| Arc::clone(key)).collect();
        for key in keys {
            let Some(entry) = self.shelf.entries.remove(&key) else { continue };
            let before = Aspect::of(&entry.record, self.tag, &key);
            self.visible = true;
            self.account(&before, &Aspect { shown: None, fingerprint: 0 }, false);
            // It is not remembered as a tombstone either.
            self.shared.slots[self.slot.index()].tombstones.fetch_sub(1, Ordering::Relaxed);
            self.changed.push(key);
        }
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
            local: mem::take(&mut self.local),
            visible: self.visible,
            schedule,
            wrote_nothing: self.shelf.entries.is_empty(),
        }
    }
}

/// Whether a record was ended by the closing of its datum and does not say so yet.
fn is_over<V>(record: &Record<V>, closed: Stamp) -> bool {
    record.registration > record.deregistered && record.registration < closed
}

/// Who brings a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// This member: the others must be told.
    Here,
    /// Another member, which tells the others itself.
    Elsewhere,
}
