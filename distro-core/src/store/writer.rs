//! Writing to a datum: the one way in which records change. Checksum, counts, schedule and journal
//! follow from each change.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::late::Judgement;
use crate::lease::{JudgeTerms, Silence, bucket_moment};
use crate::record::{DATUM_KEY, Health, Key, Record, Value};
use crate::slot::Slot;
use crate::stamp::{MemberId, Stamp};
use crate::store::datum::{Entry, Shelf, UNSCHEDULED};
use crate::store::tombstone::{Ages, Term};
use crate::store::{Belief, Effect, Shared, Verdict};
use crate::time::Tick;

mod apply;
mod cleaning;
mod doubt;
mod foreign;
mod memory;
mod upkeep;

pub use foreign::{ListTerms, Listed};

use apply::Origin;

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
    /// When the client spoke whose write this is.
    heard: Tick,
    /// May have a key twice; [`Self::finish`] sees to that, as looking for it each time would make
    /// the removal of many records quadratic.
    changed: Vec<Key>,
    /// Those of the changed keys that other members must be told of.
    local: Vec<Key>,
    /// One of those, and who need not be told of it, because it brought it.
    spared: Option<(Key, MemberId)>,
    /// Those of durable records whose removal is not remembered any more.
    forgotten: Vec<Key>,
    visible: bool,
    deadline: Tick,
    /// Whether what is written here is left alone by lists from a moment ago.
    notes_writes: bool,
    /// Whether nothing that is merged is doubted.
    trusts: bool,
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
            heard: now,
            changed,
            local,
            spared: None,
            forgotten: Vec::new(),
            visible: false,
            deadline: UNSCHEDULED,
            notes_writes: true,
            trusts: false,
        }
    }

    /// The member need not be told of what was just written under this key: it brought that.
    /// Whatever else is written here follows from what is held here, and the other may not know it.
    pub(crate) fn spare(&mut self, key: &str, member: MemberId) {
        let written = self.local.iter().rfind(|written| ***written == *key);
        self.spared = written.map(|written| (Arc::clone(written), member));
    }

    /// The client whose write this is spoke at this moment, and not just now.
    pub(crate) fn heard_at(&mut self, at: Tick) {
        self.heard = at;
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
            entry.hear(self.heard);
        }
    }

    /// Removes a record on behalf of a client. Returns whether it was visible; an unknown key
    /// leaves no trace.
    pub fn deregister(&mut self, key: &str, stamp: Stamp) -> bool {
        let visible = self.find_visible(key).is_some();
        if visible {
            self.apply(key, &Record::removed(stamp), Origin::Local);
        }
        visible
    }

    /// Removes a record whether it is known here or not: other members may hold it.
    pub(crate) fn deregister_unseen(&mut self, key: &str, stamp: Stamp) {
        self.apply(key, &Record::removed(stamp), Origin::Local);
    }

    /// Ends one registration of a record by a removal with the stamp `end`, unless the record was
    /// registered again, or is over. Returns whether that changed anything.
    pub(crate) fn end_registration(&mut self, key: &str, registration: Stamp, end: Stamp) -> bool {
        // Under a foreign tag the owner judges, and stamps of registrations are this member's own.
        let is_it = !self.shelf.is_foreign
            && !registration.is_never()
            && self.find(key).is_some_and(|record| record.registration == registration);
        is_it && self.apply(key, &Record::removed(end), Origin::Local)
    }

    /// Sets the health of a record.
    pub fn judge(&mut self, key: &str, stamp: Stamp, health: Health) {
        if let Some(known) = self.find(key).map(|record| record.registration) {
            self.apply(key, &Record::judged(known, stamp, health), Origin::Local);
        }
    }

    /// Deregisters every record that was registered before, and the datum itself: it is not open
    /// any more.
    pub fn close(&mut self, stamp: Stamp) {
        self.apply(DATUM_KEY, &Record::removed(stamp), Origin::Local);
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

    /// The same for a record that this member itself has saved: it was believed before.
    pub(crate) fn restore(&mut self, key: &str, saved: &Record<V>) {
        self.shared.clock.adopt(saved.newest());
        self.merge(key, saved);
    }

    /// Takes over what is newer in a record that comes from another member. If that says
    /// unhealthy or expired of a record that was heard here within its time-out, it is refuted at
    /// once, so that no reader ever sees it. Returns whether anything changed.
    pub fn merge(&mut self, key: &str, incoming: &Record<V>) -> bool {
        if !self.shared.believes(incoming.newest()) {
            return false;
        }
        match self.belief(key, incoming) {
            Belief::News => {}
            Belief::Doubt => return self.doubt(key, incoming),
            Belief::Over => return self.end_doubt(key, incoming),
        }
        if !self.shared.config.rules.refute() {
            return self.apply(key, incoming, Origin::Peer);
        }
        // A judgement that will be refuted is applied together with its refutation, lest readers
        // see it in between.
        let refuted = self.refutation(key, incoming);
        let is_well = refuted.as_ref().is_some_and(|record| record.health() == Health::Healthy);
        if !is_well && self.must_wait(key, incoming) {
            self.show_owner(key, incoming);
            return self.apply(key, &without_judgement(incoming), Origin::Peer);
        }
        match refuted {
            Some(refuted) => {
                let changed = self.apply(key, &refuted, Origin::Peer);
                if changed {
                    self.note_local(key);
                }
                changed
            }
            None => self.apply(key, incoming, Origin::Peer),
        }
    }

    /// Whether `incoming` judges worse of a record than is known here, and comes of a member that
    /// was out of hearing: a member that heard the record will take that back. Not if that would be
    /// this member, because beats come to the owner.
    fn must_wait(&self, key: &str, incoming: &Record<V>) -> bool {
        let health = incoming.health();
        if health == Health::Healthy || incoming.liveness == incoming.registration {
            return false;
        }
        let Some((record, value)) = self.find_visible(key) else { return false };
        let is_worse = health > record.health()
            && (incoming.registration, incoming.liveness) > (record.registration, record.liveness);
        let (Some(lease), true) =
            (value.lease(), is_worse && self.shared.config.rules.late_judges())
        else {
            return false;
        };
        let owned_since = self.shared.judged_since(self.tag, self.slot);
        let knows = owned_since.is_some_and(|at| self.now.since(at) >= lease.expire_after);
        !knows && self.shared.late.must_wait(incoming.liveness.member(), self.now)
    }

    /// Has the owner told of a judgement that is not believed here, unless that made it.
    fn show_owner(&self, key: &str, incoming: &Record<V>) {
        let Record { registration, liveness, judged, .. } = *incoming;
        let owner = self.shared.owner(self.tag, self.slot);
        let knows = owner == Some(self.shared.clock.member()) || owner == Some(liveness.member());
        if !knows && self.shared.config.rules.show_owner() {
            let record_id = (self.tag.into(), key.into());
            self.shared.late.withhold(record_id, Judgement { registration, liveness, judged });
        }
    }

    /// Takes back a judgement of a record that was heard within its time-out after all.
    pub(crate) fn refute(&mut self, key: &str) {
        let Some(record) = self.find(key).map(Cow::into_owned) else { return };
        if let Some(refuted) = self.refutation(key, &record) {
            self.apply(key, &refuted, Origin::Local);
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
        merged.merge_by(incoming, self.shared.config.rules.per_registration());
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

    /// Whether other members are told of what is written under a key.
    fn tells_of(&self, key: &str) -> bool {
        let config = &self.shared.config;
        self.shared.journal.is_kept() && !config.is_apart(self.shelf.is_foreign, self.tag, key)
    }

    fn note_local(&mut self, key: &str) {
        if self.tells_of(key) {
            // Shared with the record, if it is whole.
            let known = self.shelf.entries.get_key_value(key);
            self.local.push(known.map_or_else(|| key.into(), |(key, _)| Arc::clone(key)));
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
        self.weigh_emptied();
        let mut changed = mem::take(&mut self.changed);
        changed.sort_unstable();
        changed.dedup();
        Effect {
            changed,
            local: mem::take(&mut self.local),
            spared: self.spared.take(),
            forgotten: mem::take(&mut self.forgotten),
            visible: self.visible,
            schedule,
            wrote_nothing: self.shelf.is_empty(),
        }
    }
}

/// What a record says besides its judgement: of a registration whose content is gone, only what was
/// removed.
fn without_judgement<V: Value>(record: &Record<V>) -> Record<V> {
    match record.value {
        None => Record::removed(record.deregistered),
        Some(_) => Record { liveness: Stamp::NEVER, judged: Health::Healthy, ..record.clone() },
    }
}

/// Whether a record was ended by the closing of its datum and does not say so yet.
fn is_over<V>(record: &Record<V>, closed: Stamp) -> bool {
    record.registration > record.deregistered && record.registration < closed
}
