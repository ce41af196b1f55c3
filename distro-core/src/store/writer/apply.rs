//! A change of one record, and what follows from it at once.

use std::collections::btree_map;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Writer, is_over};
use crate::record::{DATUM_KEY, Health, Key, Record, Value};
use crate::store::bytes_of;
use crate::store::datum::{Entry, UNSCHEDULED};
use crate::store::footprint::Aspect;
use crate::store::tombstone::Term;
use crate::time::Tick;

impl<V: Value> Writer<'_, V> {
    /// Merges a record into what is held under its key. Returns whether that changed anything. One
    /// walk through the tree of the datum, one through the tombstones of a block.
    pub(super) fn apply(&mut self, key: &str, incoming: &Record<V>, origin: Origin) -> bool {
        let (closed, was_open) = (self.shelf.closed, self.shelf.is_open());
        // One walk through the tree, whatever comes of it.
        let mut found = self.shelf.entries.entry(Key::from(key));
        let packed = match &found {
            btree_map::Entry::Occupied(_) => None,
            btree_map::Entry::Vacant(_) => self.shelf.tombstones.find_at(key),
        };
        let mut other = match &packed {
            Some((packed, _)) => Entry::unpacked(packed),
            None => Entry::new(self.now),
        };
        let (entry, is_whole) = match &mut found {
            btree_map::Entry::Occupied(known) => (known.get_mut(), true),
            btree_map::Entry::Vacant(_) => (&mut other, false),
        };
        let is_new = !is_whole && packed.is_none();

        let (config, is_foreign) = (&self.shared.config, self.shelf.is_foreign);
        let before = match is_new {
            true => Aspect::NONE,
            false => Aspect::of(&entry.record, self.tag, key, is_foreign, config),
        };
        let stamps = entry.record.stamps();
        if !entry.record.merge_by(incoming, config.rules.per_registration()) {
            entry.hear_from(origin, self.heard);
            if let (btree_map::Entry::Vacant(vacant), Some((_, place))) = (found, packed)
                && other.record.value.is_some()
            {
                // It has its content back, and nothing else.
                self.shared.weigh(self.slot, before.bytes, bytes_of(key, &other.record));
                self.shelf.tombstones.remove_at(&place);
                vacant.insert(other);
            }
            return false;
        }
        if config.rules.close_all() && is_over(&entry.record, closed) {
            entry.record.merge(&Record::removed(closed));
        }
        entry.hear_from(origin, self.heard);
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
        self.shelf.is_listed |= after.shown.is_some();
        self.shelf.is_listed &= self.shelf.newest_registration > self.shelf.closed;
        self.visible |= !before.shows_like(&after) || key == DATUM_KEY;
        let (left, term) = (entry.tombstone(), after.term.unwrap_or(Term::Usual));
        let known = match (found, left) {
            (btree_map::Entry::Occupied(whole), None) => Arc::clone(whole.key()),
            (btree_map::Entry::Vacant(vacant), None) => {
                if let Some((_, place)) = packed {
                    self.shelf.tombstones.remove_at(&place);
                }
                let known = Arc::clone(vacant.key());
                vacant.insert(other);
                known
            }
            (found, Some(tombstone)) => {
                self.shelf.tombstones.insert(key, &tombstone, term);
                match found {
                    btree_map::Entry::Occupied(whole) => whole.remove_entry().0,
                    btree_map::Entry::Vacant(vacant) => vacant.into_key(),
                }
            }
        };
        self.account(&before, &after, is_new);
        self.follow_opening(was_open);
        if origin.is_here() && self.tells_of(key) {
            self.local.push(Arc::clone(&known));
        }
        self.changed.push(known);
        if origin != Origin::List {
            self.hold(key);
        }
        let is_told = self.shared.config.rules.close_all() || origin.is_here();
        if self.shelf.closed > closed && is_told {
            self.end_records_before_closing(origin);
        }
        true
    }

    /// Folds a change of one record into the sums of the datum, the slot and the store.
    pub(super) fn account(&mut self, before: &Aspect<V>, after: &Aspect<V>, is_new: bool) {
        let slot = &self.shared.slots[self.slot.index()];
        let change = after.fingerprint.wrapping_sub(before.fingerprint);
        self.shelf.checksum = self.shelf.checksum.wrapping_add(change);
        slot.checksum.fetch_add(change, Ordering::Relaxed);
        self.shared.weigh(self.slot, before.bytes, after.bytes);
        self.shared.carried.change(self.slot, before.carried, after.carried);
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
            Some(class) => {
                self.shared.visible[class].fetch_sub(1, Ordering::Relaxed);
                slot.visible[class].fetch_sub(1, Ordering::Relaxed);
            }
            None if is_new => {}
            None => _ = slot.tombstones.fetch_sub(1, Ordering::Relaxed),
        }
        match is {
            Some(class) => {
                self.shared.visible[class].fetch_add(1, Ordering::Relaxed);
                slot.visible[class].fetch_add(1, Ordering::Relaxed);
            }
            None => _ = slot.tombstones.fetch_add(1, Ordering::Relaxed),
        }
    }
}

/// Who brings a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
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
    pub(super) fn is_here(self) -> bool {
        matches!(self, Self::Client | Self::Here)
    }
}

impl<V: Value> Entry<V> {
    /// Counts it as heard, if it was and readers see it.
    fn hear_from(&self, origin: Origin, at: Tick) {
        if origin == Origin::Client && self.record.is_visible() {
            self.hear(at);
        }
    }
}
