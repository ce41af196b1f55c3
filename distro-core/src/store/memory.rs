//! The memory of removals: how large it may be, and what a member does not take on trust after it
//! had to forget early.
//!
//! Counted are removed and expired records, and datums that show nothing: they are there for what
//! was removed from them, and where each holds one removal they take most of the memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::{Datum, Shared, Store};
use crate::record::{Health, Record, Value};
use crate::slot::{SLOT_COUNT, Slot};
use crate::time::Tick;

/// Bytes of a tombstone besides its key, as they are counted.
const TOMBSTONE_BYTES: usize = 64;

/// About how many bytes the memory of a removal or an expiry takes, its content included if that
/// is still kept.
pub(crate) fn bytes_of<V: Value>(key: &str, record: &Record<V>) -> u64 {
    let content = record.value.as_ref().map_or(0, |value| value.weight());
    (TOMBSTONE_BYTES + key.len() + content) as u64
}

/// What an emptied datum takes besides the structure itself and its tag: its places in the map, in
/// the index of its slot, in the ring and in the lists of whoever watches the store, the head of its
/// tombstones, and what the allocator rounds up. Measured where each datum holds one removal.
const AROUND_DATUM_BYTES: usize = 280;

pub(super) const fn emptied_bytes<V: Value, A>() -> u64 {
    (size_of::<Datum<V, A>>() + AROUND_DATUM_BYTES) as u64
}

/// The memory of one slot.
#[derive(Default)]
pub(crate) struct SlotMemory {
    bytes: AtomicU64,
    /// Whether a peer has yet to be told of something in the slot.
    is_queued: AtomicBool,
    /// The greatest time of a stamp of what was forgotten before its time, and until when that is
    /// worth knowing: then everybody has forgotten it. In milliseconds.
    horizon: AtomicU64,
    horizon_until: AtomicU64,
}

impl SlotMemory {
    /// Something was forgotten before its time.
    pub(crate) fn forgot_early(&self, newest: u64, until: Tick) {
        self.horizon.fetch_max(newest, Ordering::Relaxed);
        self.horizon_until.fetch_max(until.as_ms(), Ordering::Relaxed);
    }

    /// Whether anything was ever forgotten before its time.
    pub(crate) fn has_gaps(&self) -> bool {
        self.horizon.load(Ordering::Relaxed) > 0
    }

    /// Whether what has this for its newest stamp may have been removed here and forgotten.
    pub(crate) fn may_have_forgotten(&self, newest: u64, now: Tick) -> bool {
        newest <= self.horizon.load(Ordering::Relaxed)
            && now.as_ms() < self.horizon_until.load(Ordering::Relaxed)
    }
}

/// How full the memory is, as one slot sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Room {
    /// Enough.
    Enough,
    /// The store is over its budget, and the slot has more than its share.
    Short,
    /// As [`Self::Short`], but a peer has yet to be told of something in the slot: what was removed
    /// must be remembered.
    Needed,
}

impl Shared {
    /// Takes a change of the memory of a slot into account.
    pub(crate) fn weigh(&self, slot: Slot, before: u64, after: u64) {
        if before != after {
            let change = after.wrapping_sub(before);
            self.slots[slot.index()].memory.bytes.fetch_add(change, Ordering::Relaxed);
            self.memory_bytes.fetch_add(change, Ordering::Relaxed);
        }
    }

    /// Whether the memory takes more than its budget.
    fn is_crowded(&self) -> bool {
        self.memory_bytes.load(Ordering::Relaxed) > self.config.tombstone_bytes
    }

    /// How much room there is for `count` tombstones of a slot, of which it may hold `most` in any
    /// case.
    pub(crate) fn room(&self, slot: Slot, count: u32, most: u32) -> Room {
        let memory = &self.slots[slot.index()].memory;
        let (total, budget) =
            (self.memory_bytes.load(Ordering::Relaxed), self.config.tombstone_bytes);
        let keeps_queued = self.config.rules.keep_queued_removals();
        let is_queued = keeps_queued && memory.is_queued.load(Ordering::Relaxed);
        let has_more_than_its_share =
            || memory.bytes.load(Ordering::Relaxed) > budget / SLOT_COUNT as u64;
        let is_short = match keeps_queued {
            true => total > budget && (count > most || has_more_than_its_share()),
            // As it was before there was a budget.
            false => count > most,
        };
        match (is_short, is_queued) {
            // Everything has an end: a queue names a bounded number of keys.
            (true, true) if total <= budget.saturating_mul(2) => Room::Needed,
            (true, _) => Room::Short,
            (false, true) => Room::Needed,
            (false, false) => Room::Enough,
        }
    }
}

/// What is to be made of a record that another member brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Belief {
    /// It is news like any other.
    News,
    /// It may have been removed here and forgotten: its stamps are kept, and it is not shown.
    Doubt,
    /// It has been in doubt for as long as it may be silent, and this member judges it.
    Over,
}

/// Whether nothing is kept of a record but that somebody showed it, and it was not believed.
pub(crate) fn is_in_doubt<V: Value>(record: &Record<V>) -> bool {
    record.value.is_none()
        && record.registration > record.deregistered
        && record.health() != Health::Expired
}

/// No removal is forgotten sooner than this, and who has heard a record since then knows that it is
/// alive. Longer than from one beat to the next.
pub(crate) const SIGN_OF_LIFE: Duration = Duration::from_secs(10);

/// A record that is in doubt is not forgotten sooner than this, however little room there is, unless
/// removals are not remembered for as long at all: it must be there until it is judged.
pub(crate) const DOUBT: Duration = Duration::from_secs(900);

impl<V: Value, A: Default + Send + Sync + 'static> Store<V, A> {
    /// About how many bytes the memory of removed and expired records takes, datums that show
    /// nothing included.
    pub fn tombstone_bytes(&self) -> u64 {
        self.shared.memory_bytes.load(Ordering::Relaxed)
    }

    /// Whether the memory of removals takes more than [its budget](crate::StoreConfig::tombstone_bytes).
    /// Then the housekeeping should go through the [crowded slots](Self::is_crowded_slot) at once and
    /// [relieve](Self::relieve) each datum, again and again until this says no.
    pub fn is_crowded(&self) -> bool {
        self.shared.is_crowded()
    }

    /// Whether the store is crowded, and the slot holds more than its share of what is remembered.
    pub fn is_crowded_slot(&self, slot: Slot) -> bool {
        let state = &self.shared.slots[slot.index()];
        let durable = state.durable_tombstones.load(Ordering::Relaxed);
        let usual = state.tombstones.load(Ordering::Relaxed).saturating_sub(durable);
        let bytes = state.memory.bytes.load(Ordering::Relaxed);
        self.is_crowded()
            && (usual > self.shared.config.tombstones_per_slot
                || bytes > self.shared.config.tombstone_bytes / SLOT_COUNT as u64)
    }

    /// Whether the memory of removals takes twice [its budget](crate::StoreConfig::tombstone_bytes),
    /// although all is forgotten that may be: who writes on behalf of clients should make no new
    /// records until this says no. What is there may be changed, renewed and removed.
    pub fn is_out_of_memory(&self) -> bool {
        let most = self.shared.config.tombstone_bytes.saturating_mul(2);
        self.shared.memory_bytes.load(Ordering::Relaxed) > most
    }

    /// Forgets what a datum remembers and need not remember any longer, and drops it if nothing is
    /// left. [Judging](Self::judge) does the same, up to a minute later.
    pub fn relieve(&self, datum: &Arc<Datum<V, A>>, now: Tick) {
        if let Some(effect) = datum.forget_early(&self.shared, now) {
            self.follow_up(datum, effect);
        }
        self.collect(datum);
    }

    /// Which slots a peer has yet to be told something of.
    pub(crate) fn set_queued(&self, is_queued: impl Fn(Slot) -> bool) {
        for slot in Slot::all() {
            let memory = &self.shared.slots[slot.index()].memory;
            memory.is_queued.store(is_queued(slot), Ordering::Relaxed);
        }
    }

    /// Another member is in doubt about a record that is visible here: if this member heard it a
    /// moment ago, it says so with a new stamp, to everybody.
    pub(crate) fn confirm(&self, tag: &str, key: &str, now: Tick) {
        self.update_existing(tag, now, |writer| writer.confirm(key));
    }
}
