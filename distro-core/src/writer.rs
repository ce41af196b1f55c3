//! Writing to a datum: the one place where records change, and where checksum, counts, schedule
//! and journal follow from it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::aspect::Aspect;
use crate::datum::{Entry, Shelf, UNSCHEDULED};
use crate::lease::{JudgeTerms, bucket_moment};
use crate::record::{DATUM_KEY, Health, Key, Record, Value};
use crate::slot::Slot;
use crate::stamp::{MemberId, Stamp};
use crate::store::{Effect, Shared, Verdict};
use crate::time::Tick;
use crate::tombstone::{Ages, Term};

mod foreign;
mod upkeep;

pub use foreign::{ListTerms, Listed};

/// Tombstones of a datum are forgotten at most so many times within the retention time, which
/// makes that longer by this part of it at most.
const GATHERED: u32 = 16;

/// Exclusive access to the records of a datum.
pub struct Writer<'a, V: Value> {
    tag: &'a str,
    slot: Slot,
    shelf: &'a mut Shelf<V>,
    shared: &'a Shared,
    now: Tick,
    /// May have a key twice; [`Self::finish`] sees to that, as looking for it each time would make
    /// the removal of many records quadratic.
    changed: Vec<Key>,
    /// Those of the changed keys that other members must be told of.
    local: Vec<Key>,
    /// Who need not be told of those, because it brought them.
    spared: Option<MemberId>,
    /// Those of durable records whose removal is not remembered any more.
    forgotten: Vec<Key>,
    visible: bool,
    deadline: Tick,
    /// Whether what is written here is left alone by lists from a moment ago.
    holds: bool,
}

impl<'a, V: Value> Writer<'a, V> {
    /// To be followed by [`Self::follow_owners`], before anything else; apart from it because a
    /// writer is large to move.
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
            spared: None,
            forgotten: Vec::new(),
            visible: false,
            deadline: UNSCHEDULED,
            holds: true,
        }
    }

    /// This member need not be told of what is written here from now on.
    pub(crate) fn spare(&mut self, member: Option<MemberId>) {
        self.spared = member;
    }

    /// The record of a key, visible or not. Borrowed, unless it is a tombstone.
    pub fn find(&self, key: &str) -> Option<Cow<'_, Record<V>>> {
        self.shelf.find(key)
    }

    /// The value of a key if readers see it.
    pub fn find_visible(&self, key: &str) -> Option<(&Record<V>, &Arc<V>)> {
        self.shelf.find_visible(key)
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
        self.apply(key, &Record::registered(stamp, value, health), Origin::Client);
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
        let mut keys: Vec<Key> = over.map(|(key, _)| Arc::clone(key)).collect();
        // Those that have expired and lost their content.
        let packed = self.shelf.tombstones.after(None);
        let over = packed.filter(|(_, packed)| is_over(&packed.record::<V>(), closed));
        keys.extend(over.map(|(key, _)| Key::from(key)));
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
        let Some(record) = self.find(key).map(Cow::into_owned) else { return };
        if let Some(refuted) = self.refutation(key, &record) {
            self.apply(key, &refuted, Origin::Here);
        }
    }

    /// `incoming` with the truth about its health in place of what it says, if this member knows
    /// better: it heard the record within its time-out.
    fn refutation(&self, key: &str, incoming: &Record<V>) -> Option<Record<V>> {
        let packed = || self.shelf.tombstones.find(key).as_ref().map(Entry::unpacked);
        let (mut merged, heard) = match self.shelf.entries.get(key) {
            Some(entry) => (entry.record.clone(), entry.heard()),
            None => packed().map(|entry| (entry.record.clone(), entry.heard()))?,
        };
        merged.merge(incoming);
        if merged.registration <= merged.deregistered || merged.health() == Health::Healthy {
            return None;
        }
        // The health that it was registered with was said, not judged from silence.
        if merged.liveness == merged.registration {
            return None;
        }
        let lease = merged.value.as_ref()?.lease()?;
        let truth = lease.health_after(self.now.since(heard?));
        if truth >= merged.health() {
            return None;
        }
        let stamp = self.shared.clock.issue(self.now);
        Some(Record { liveness: stamp, judged: truth, ..merged })
    }

    fn apply(&mut self, key: &str, incoming: &Record<V>, origin: Origin) -> bool {
        let closed = self.shelf.closed;
        let known = self.shelf.entries.get_mut(key);
        let is_whole = known.is_some();
        let packed = if is_whole { None } else { self.shelf.tombstones.find_at(key) };
        let is_new = !is_whole && packed.is_none();
        let mut other = match &packed {
            Some((packed, _)) => Entry::unpacked(packed),
            None => Entry::new(self.now),
        };
        let entry = known.unwrap_or(&mut other);

        let (config, is_foreign) = (&self.shared.config, self.shelf.is_foreign);
        let before = match is_new {
            true => Aspect::NONE,
            false => Aspect::of(&entry.record, self.tag, key, is_foreign, config),
        };
        let stamps = entry.record.stamps();
        if !entry.record.merge(incoming) {
            entry.hear_from(origin, self.now);
            if let Some((_, place)) = packed
                && entry.record.value.is_some()
            {
                // It has its content back, and nothing else.
                self.shelf.tombstones.remove_at(&place);
                self.shelf.entries.insert(key.into(), other);
            }
            return false;
        }
        if config.rules.close_all && is_over(&entry.record, closed) {
            entry.record.merge(&Record::removed(closed));
        }
        entry.hear_from(origin, self.now);
        // Who never heard a record needs no content to refute with.
        if entry.record.health() == Health::Expired && entry.heard().is_none() {
            entry.record.value = None;
        }
        let after = Aspect::of(&entry.record, self.tag, key, is_foreign, config);
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
        let deadline = match after.shown.as_ref().map(|(value, _)| value.lease()) {
            None if entry.record.value.is_some() => {
                self.now.after(config.tombstone_retention.min(config.content_retention))
            }
            None if after.term == Some(Term::Durable) => self.now.after(config.durable_retention),
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
        let (left, term) = (entry.tombstone(), after.term.unwrap_or(Term::Usual));
        self.account(&before, &after, is_new);
        let known = match left {
            Some(tombstone) => {
                let whole = is_whole.then(|| self.shelf.entries.remove_entry(key)).flatten();
                self.shelf.tombstones.insert(key, &tombstone, term);
                whole.map_or_else(|| Key::from(key), |(known, _)| known)
            }
            None if is_whole => self.key_of(key),
            None => {
                if let Some((_, place)) = packed {
                    self.shelf.tombstones.remove_at(&place);
                }
                let known = Key::from(key);
                self.shelf.entries.insert(Arc::clone(&known), other);
                known
            }
        };
        if origin.is_here() && self.tells_of(key) {
            self.local.push(Arc::clone(&known));
        }
        self.changed.push(known);
        if origin != Origin::List {
            self.hold(key);
        }
        let is_told = self.shared.config.rules.close_all || origin.is_here();
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
        let is_durable = |aspect: &Aspect<V>| aspect.term == Some(Term::Durable);
        match (is_durable(before), is_durable(after)) {
            (false, true) => _ = slot.durable_tombstones.fetch_add(1, Ordering::Relaxed),
            (true, false) => _ = slot.durable_tombstones.fetch_sub(1, Ordering::Relaxed),
            _ => {}
        }
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

    /// A handle of a key, shared with the record that is kept under it.
    fn key_of(&self, key: &str) -> Key {
        let known = self.shelf.entries.get_key_value(key);
        known.map_or_else(|| key.into(), |(key, _)| Arc::clone(key))
    }

    /// Whether other members are told of what is written under a key.
    fn tells_of(&self, key: &str) -> bool {
        let config = &self.shared.config;
        self.shared.journal.is_kept() && !config.is_apart(self.shelf.is_foreign, self.tag, key)
    }

    fn note_local(&mut self, key: &str) {
        if self.tells_of(key) {
            self.local.push(self.key_of(key));
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
        if self.shelf.entries.is_empty() {
            // An emptied map keeps a node as large as eleven entries.
            self.shelf.entries = BTreeMap::new();
        }
        let mut changed = mem::take(&mut self.changed);
        changed.sort_unstable();
        changed.dedup();
        Effect {
            changed,
            local: mem::take(&mut self.local),
            spared: self.spared,
            forgotten: mem::take(&mut self.forgotten),
            visible: self.visible,
            schedule,
            wrote_nothing: self.shelf.is_empty(),
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
    /// A client, which this member has heard by that: otherwise as [`Self::Here`].
    Client,
    /// This member: the others must be told.
    Here,
    /// Another member, which tells the others itself.
    Elsewhere,
    /// A member that owns the tag and does not speak this protocol; it tells everybody.
    List,
}

impl Origin {
    /// Whether the others must be told.
    fn is_here(self) -> bool {
        matches!(self, Self::Client | Self::Here)
    }
}

impl<V: Value> Entry<V> {
    /// Counts it as heard, if it was and readers see it.
    fn hear_from(&self, origin: Origin, now: Tick) {
        if origin == Origin::Client && self.record.is_visible() {
            self.hear(now);
        }
    }
}
