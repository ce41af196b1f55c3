//! A change of one record, and what follows from it at once.

use std::collections::{BTreeMap, btree_map};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Writer, is_over};
use crate::config::StoreConfig;
use crate::record::{DATUM_KEY, Health, Key, Record, Stamps, Value};
use crate::stamp::Stamp;
use crate::store::bytes_of;
use crate::store::datum::{Entry, Shelf, UNSCHEDULED};
use crate::store::footprint::Footprint;
use crate::store::tombstone::{Position, Term, Tombstones};
use crate::time::Tick;

impl<V: Value> Writer<'_, V> {
    /// Merges a record into what is held under its key: takes it, merges, puts it back where it then
    /// belongs, and does what follows. Returns whether that changed anything. One walk through the
    /// tree of the datum, one through the tombstones of a block.
    pub(super) fn apply(&mut self, key: &str, incoming: &Record<V>, origin: Origin) -> bool {
        let (closed, was_open) = (self.shelf.closed, self.shelf.is_open());
        let (config, is_foreign) = (&self.shared.config, self.shelf.is_foreign);
        let Shelf { entries, tombstones, .. } = &mut *self.shelf;
        let mut taken = Taken::find(entries, tombstones, key, self.now);
        let is_new = taken.is_new();
        let entry = taken.entry();
        let before = match is_new {
            true => Footprint::NONE,
            false => Footprint::of(&entry.record, self.tag, key, is_foreign, config),
        };
        let stamps = entry.record.stamps();
        let is_changed = entry.record.merge_by(incoming, config.rules.per_registration());
        if is_changed && config.rules.close_all() && is_over(&entry.record, closed) {
            entry.record.merge(&Record::removed(closed));
        }
        entry.hear_from(origin, self.heard);
        if !is_changed {
            if taken.has_its_content_back() {
                let after = bytes_of(key, &taken.entry().record);
                self.shared.weigh(self.slot, before.bytes, after);
                taken.put(tombstones, Term::Usual);
            }
            return false;
        }
        entry.drop_useless_content();
        let after = Footprint::of(&entry.record, self.tag, key, is_foreign, config);
        if is_new || is_told_anew(&entry.record, stamps, &before, &after) {
            entry.learned = self.now;
        }
        self.deadline = self.deadline.min(deadline_of(entry, &after, config, self.now));
        let Record { registration, deregistered, .. } = entry.record;
        let known = taken.put(tombstones, after.term.unwrap_or(Term::Usual));
        self.shelf.note(key, registration, deregistered, after.shown.is_some());
        self.visible |= !before.shows_like(&after) || key == DATUM_KEY;
        self.account(&before, &after, is_new);
        self.follow_opening(was_open);
        self.tell(known, origin);
        self.follow_closing(closed, origin);
        true
    }

    /// Notes for whom the record under a key has changed.
    fn tell(&mut self, key: Key, origin: Origin) {
        if origin.is_local() && self.tells_of(&key) {
            self.local.push(Arc::clone(&key));
        }
        if origin != Origin::ForeignOwner {
            self.note_recent_write(&key);
        }
        self.changed.push(key);
    }

    /// Ends what closing the datum ends, if it was closed since.
    fn follow_closing(&mut self, since: Stamp, origin: Origin) {
        let is_told = self.shared.config.rules.close_all() || origin.is_local();
        if self.shelf.closed > since && is_told {
            self.end_records_before_closing(origin);
        }
    }

    /// Folds a change of one record into the sums of the datum, the slot and the store.
    pub(super) fn account(&mut self, before: &Footprint<V>, after: &Footprint<V>, is_new: bool) {
        let slot = &self.shared.slots[self.slot.index()];
        let change = after.fingerprint.wrapping_sub(before.fingerprint);
        self.shelf.checksum = self.shelf.checksum.wrapping_add(change);
        slot.checksum.fetch_add(change, Ordering::Relaxed);
        self.shared.weigh(self.slot, before.bytes, after.bytes);
        self.shared.carried.change(self.slot, before.carried, after.carried);
        let is_durable = |footprint: &Footprint<V>| footprint.term == Some(Term::Durable);
        match (is_durable(before), is_durable(after)) {
            (false, true) => _ = slot.durable_tombstones.fetch_add(1, Ordering::Relaxed),
            (true, false) => _ = slot.durable_tombstones.fetch_sub(1, Ordering::Relaxed),
            _ => {}
        }
        let class =
            |footprint: &Footprint<V>| footprint.shown.as_ref().map(|(value, _)| value.class());
        let (was, is) = (class(before), class(after));
        if was == is && !is_new {
            // All threads write to these counts: what stays the same leaves them alone.
            return;
        }
        match was {
            Some(class) => {
                self.shelf.shown -= 1;
                self.shared.visible[class].fetch_sub(1, Ordering::Relaxed);
                slot.visible[class].fetch_sub(1, Ordering::Relaxed);
            }
            None if is_new => {}
            None => _ = slot.tombstones.fetch_sub(1, Ordering::Relaxed),
        }
        match is {
            Some(class) => {
                self.shelf.shown += 1;
                self.shared.visible[class].fetch_add(1, Ordering::Relaxed);
                slot.visible[class].fetch_add(1, Ordering::Relaxed);
            }
            None => _ = slot.tombstones.fetch_add(1, Ordering::Relaxed),
        }
    }
}

/// What is held under one key, taken out for a change.
struct Taken<'a, V> {
    /// Its place in the map of records that have content.
    whole: btree_map::Entry<'a, Key, Entry<V>>,
    /// Where it is among the tombstones.
    packed: Option<Position>,
    /// The record, if it is not in the map.
    loose: Entry<V>,
}

impl<'a, V: Value> Taken<'a, V> {
    #[inline]
    fn find(
        entries: &'a mut BTreeMap<Key, Entry<V>>,
        tombstones: &Tombstones,
        key: &str,
        now: Tick,
    ) -> Self {
        let whole = entries.entry(Key::from(key));
        let packed = match &whole {
            btree_map::Entry::Occupied(_) => None,
            btree_map::Entry::Vacant(_) => tombstones.find_at(key),
        };
        let loose = match &packed {
            Some((packed, _)) => Entry::unpacked(packed),
            None => Entry::new(now),
        };
        Self { whole, packed: packed.map(|(_, position)| position), loose }
    }

    /// Whether nothing is held.
    #[inline]
    fn is_new(&self) -> bool {
        matches!(self.whole, btree_map::Entry::Vacant(_)) && self.packed.is_none()
    }

    #[inline]
    fn entry(&mut self) -> &mut Entry<V> {
        match &mut self.whole {
            btree_map::Entry::Occupied(known) => known.get_mut(),
            btree_map::Entry::Vacant(_) => &mut self.loose,
        }
    }

    /// Whether it was a tombstone, and is none any more.
    fn has_its_content_back(&self) -> bool {
        self.packed.is_some() && self.loose.record.value.is_some()
    }

    /// Puts it where it belongs: into the map if it has content, otherwise among the tombstones.
    #[inline]
    fn put(mut self, tombstones: &mut Tombstones, term: Term) -> Key {
        let left = self.entry().tombstone();
        match (self.whole, left) {
            (btree_map::Entry::Occupied(whole), None) => Arc::clone(whole.key()),
            (btree_map::Entry::Vacant(vacant), None) => {
                if let Some(position) = self.packed {
                    tombstones.remove_at(&position);
                }
                let key = Arc::clone(vacant.key());
                vacant.insert(self.loose);
                key
            }
            (found, Some(tombstone)) => {
                tombstones.insert(found.key(), &tombstone, term);
                match found {
                    btree_map::Entry::Occupied(whole) => whole.remove_entry().0,
                    btree_map::Entry::Vacant(vacant) => vacant.into_key(),
                }
            }
        }
    }
}

/// Whether a change says that a record that is shown is alive, or that another one is gone: its
/// silence, or its memory, counts from then on.
fn is_told_anew<V: Value>(
    record: &Record<V>,
    stamps: Stamps,
    before: &Footprint<V>,
    after: &Footprint<V>,
) -> bool {
    if after.shown.is_none() {
        return before.shown.is_some() || record.deregistered > stamps.deregistered;
    }
    let is_judged_alive =
        || record.liveness > stamps.liveness && record.health() == Health::Healthy;
    before.shown.is_none() || record.registration > stamps.registration || is_judged_alive()
}

/// When a record must be looked at next: to judge its silence, or to forget it.
fn deadline_of<V: Value>(
    entry: &Entry<V>,
    after: &Footprint<V>,
    config: &StoreConfig,
    now: Tick,
) -> Tick {
    match after.shown.as_ref().map(|(value, _)| value.lease()) {
        None if entry.record.value.is_some() => {
            now.after(config.tombstone_retention.min(config.content_retention))
        }
        None if after.term == Some(Term::Durable) => now.after(config.durable_retention),
        None => now.after(config.tombstone_retention),
        Some(None) => UNSCHEDULED,
        Some(Some(lease)) => entry.moment().after(lease.shortest()),
    }
}

impl<V> Shelf<V> {
    /// Takes a change of the record under a key into account: whether the datum is open.
    fn note(&mut self, key: &str, registration: Stamp, deregistered: Stamp, is_shown: bool) {
        self.newest_registration = self.newest_registration.max(registration);
        if key == DATUM_KEY {
            self.closed = self.closed.max(deregistered);
        }
        self.is_listed |= is_shown;
        self.is_listed &= self.newest_registration > self.closed;
    }
}

/// Who brings a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// A client, which this member has heard by that: otherwise as [`Self::Local`].
    Client,
    /// This member: the others must be told.
    Local,
    /// Another member, which tells the others itself.
    Peer,
    /// A member that owns the tag and does not speak this protocol; it tells everybody.
    ForeignOwner,
}

impl Origin {
    /// Whether the others must be told.
    pub(super) fn is_local(self) -> bool {
        matches!(self, Self::Client | Self::Local)
    }
}

impl<V: Value> Entry<V> {
    /// A member that never heard an expired record needs no content to refute that with.
    fn drop_useless_content(&mut self) {
        if self.record.health() == Health::Expired && self.heard().is_none() {
            self.record.value = None;
        }
    }

    /// Counts it as heard, if it was and readers see it.
    fn hear_from(&self, origin: Origin, at: Tick) {
        if origin == Origin::Client && self.record.is_visible() {
            self.hear(at);
        }
    }
}
