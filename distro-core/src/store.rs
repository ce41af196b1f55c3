//! The data plane: a concurrent store of datums that request handlers call directly.
//!
//! No guard of a lock leaves this file, no lock is held while another is taken except shard then
//! datum, and no order of iteration reaches a caller unsorted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use dashmap::DashMap;
use foldhash::fast::FixedState;

use crate::config::StoreConfig;
use crate::datum::{Datum, Heard};
use crate::lease::{JudgeTerms, Ring};
use crate::record::{CLASSES, Health, Key, Value};
use crate::slot::{SLOT_COUNT, Slot};
use crate::stamp::StampClock;
use crate::time::Tick;
use crate::writer::Writer;

/// Who wants to know what happens in a store. Called on the thread that caused it, after the
/// datum's lock is released; must be quick and must not block.
pub trait Watcher<V: Value, A>: Send + Sync {
    /// Records of `datum` changed. `visible`: readers see a difference, the revision has grown.
    fn changed(&self, datum: &Arc<Datum<V, A>>, keys: &[Key], visible: bool);

    /// This member judged a record by its silence, or took a judgement back because it was heard
    /// again (`silent_for` is zero then). [`Self::changed`] is called for the same change too, in
    /// no particular order.
    fn judged(&self, datum: &Arc<Datum<V, A>>, verdict: &Verdict<V>);
}

/// A change of health that this member decided.
#[derive(Debug)]
pub struct Verdict<V> {
    /// The record.
    pub key: Key,
    /// Its value.
    pub value: Arc<V>,
    /// What it is now.
    pub health: Health,
    /// How long nothing had been heard of it.
    pub silent_for: Duration,
}

/// All datums of a member, by tag.
///
/// `A` is a place beside each datum for what its readers derive from it (rendered bytes).
pub struct Store<V: Value, A> {
    datums: DashMap<Arc<str>, Arc<Datum<V, A>>, FixedState>,
    clock: StampClock,
    watchers: Vec<Arc<dyn Watcher<V, A>>>,
    pub(crate) shared: Shared,
    ring: Ring<Datum<V, A>>,
}

/// What all datums of a store share.
pub(crate) struct Shared {
    pub(crate) config: StoreConfig,
    pub(crate) slots: Box<[SlotState]>,
    pub(crate) visible: [AtomicU64; CLASSES],
}

/// The sums of one slot.
#[derive(Default)]
pub(crate) struct SlotState {
    pub(crate) checksum: AtomicU64,
    pub(crate) tombstones: AtomicU32,
}

impl<V: Value, A: Default + Send + Sync + 'static> Store<V, A> {
    /// An empty store.
    pub fn new(
        config: StoreConfig,
        clock: StampClock,
        watchers: Vec<Arc<dyn Watcher<V, A>>>,
    ) -> Self {
        let hasher = FixedState::with_seed(config.hash_seed);
        let slots = (0..SLOT_COUNT).map(|_| SlotState::default()).collect();
        Self {
            datums: DashMap::with_hasher(hasher),
            clock,
            watchers,
            shared: Shared { config, slots, visible: Default::default() },
            ring: Ring::new(),
        }
    }

    /// The clock that stamps this member's writes.
    pub fn clock(&self) -> &StampClock {
        &self.clock
    }

    /// The datum of a tag. One lookup, no allocation.
    pub fn find(&self, tag: &str) -> Option<Arc<Datum<V, A>>> {
        self.datums.get(tag).map(|datum| Arc::clone(&datum))
    }

    /// All datums, in the order of their tags. Costs a copy of all handles.
    pub fn all(&self) -> Vec<Arc<Datum<V, A>>> {
        let mut all: Vec<_> = self.datums.iter().map(|entry| Arc::clone(entry.value())).collect();
        all.sort_unstable_by(|a, b| a.tag().cmp(b.tag()));
        all
    }

    /// Number of datums, empty ones included.
    pub fn len(&self) -> usize {
        self.datums.len()
    }

    /// Whether there is no datum.
    pub fn is_empty(&self) -> bool {
        self.datums.is_empty()
    }

    /// Number of visible records whose value is of this class.
    pub fn visible_count(&self, class: usize) -> u64 {
        self.shared.visible.get(class).map_or(0, |count| count.load(Ordering::Relaxed))
    }

    /// Number of records that are only remembered as removed or expired.
    pub fn tombstone_count(&self) -> u64 {
        let count = |slot: &SlotState| u64::from(slot.tombstones.load(Ordering::Relaxed));
        self.shared.slots.iter().map(count).sum()
    }

    /// The folded checksum of a slot: equal on two members that hold the same visible records
    /// with the same stamps.
    pub fn checksum(&self, slot: Slot) -> u64 {
        self.shared.slots[slot.index()].checksum.load(Ordering::Relaxed)
    }

    /// Writes to the datum of a tag, creating it if `write` puts something there. `write` runs
    /// under that datum's lock and must not touch the store.
    pub fn update<R>(
        &self,
        tag: &str,
        now: Tick,
        write: impl FnOnce(&mut Writer<'_, V>) -> R,
    ) -> R {
        let mut write = Some(write);
        loop {
            let datum = self.find(tag).unwrap_or_else(|| self.insert(tag));
            let Some((result, effect)) = datum.write(&self.shared, now, &mut write) else {
                // Collected between the lookup and the lock: look again.
                continue;
            };
            self.follow_up(&datum, effect);
            return result;
        }
    }

    /// Like [`Self::update`], but does nothing if there is no such datum.
    pub fn update_existing<R>(
        &self,
        tag: &str,
        now: Tick,
        write: impl FnOnce(&mut Writer<'_, V>) -> R,
    ) -> Option<R> {
        let datum = self.find(tag)?;
        let mut write = Some(write);
        let (result, effect) = datum.write(&self.shared, now, &mut write)?;
        self.follow_up(&datum, effect);
        Some(result)
    }

    /// A beat: renews the lease of a record and, if it was unhealthy, makes it healthy. Costs a
    /// lookup, a shared lock and one atomic store; only a change of health takes more.
    pub fn hear(&self, tag: &str, key: &str, now: Tick) -> Heard<V> {
        let Some(datum) = self.find(tag) else { return Heard::Unknown };
        let heard = datum.hear(key, now);
        if let Heard::Known { value, health: Health::Unhealthy } = &heard
            && value.lease().is_some()
        {
            self.revive(&datum, key, value, now);
        }
        heard
    }

    fn revive(&self, datum: &Arc<Datum<V, A>>, key: &str, value: &Arc<V>, now: Tick) {
        let mut revived = false;
        self.update_existing(datum.tag(), now, |writer| {
            let unhealthy = |writer: &Writer<'_, V>| writer.find(key).map(|record| record.health());
            if unhealthy(writer) == Some(Health::Unhealthy) {
                writer.judge(key, self.clock.issue(now), Health::Healthy);
                revived = true;
            }
        });
        if revived {
            let (key, value) = (Key::from(key), Arc::clone(value));
            let verdict =
                Verdict { key, value, health: Health::Healthy, silent_for: Duration::ZERO };
            self.watchers.iter().for_each(|watcher| watcher.judged(datum, &verdict));
        }
    }

    /// Judges some of the datums that are due and says whether more may be. Callers that share a
    /// thread with others should yield between calls.
    pub fn judge(&self, terms: &JudgeTerms, now: Tick) -> bool {
        /// Well below a millisecond, unless a datum has very many records.
        const SLICE: usize = 256;
        let Some(due) = self.ring.take_due(now, SLICE) else { return false };
        for datum in due.iter().filter_map(std::sync::Weak::upgrade) {
            let (verdicts, effect) = datum.judge(&self.shared, terms, &self.clock, now);
            for verdict in &verdicts {
                self.watchers.iter().for_each(|watcher| watcher.judged(&datum, verdict));
            }
            self.follow_up(&datum, effect);
            self.collect(&datum);
        }
        true
    }

    fn insert(&self, tag: &str) -> Arc<Datum<V, A>> {
        let tag: Arc<str> = tag.into();
        let entry = self.datums.entry(Arc::clone(&tag));
        Arc::clone(&entry.or_insert_with(|| Arc::new(Datum::new(tag))))
    }

    /// What a write owes to others once the datum's lock is free again.
    fn follow_up(&self, datum: &Arc<Datum<V, A>>, effect: Effect) {
        if let Some(moment) = effect.schedule {
            self.ring.schedule(moment, Arc::downgrade(datum));
        }
        if !effect.changed.is_empty() {
            for watcher in &self.watchers {
                watcher.changed(datum, &effect.changed, effect.visible);
            }
        } else if effect.wrote_nothing {
            self.collect(datum);
        }
    }

    /// Drops a datum that holds nothing and is not open.
    fn collect(&self, datum: &Arc<Datum<V, A>>) {
        if datum.may_be_dropped() {
            self.datums.remove_if(datum.tag(), |_, held| Arc::ptr_eq(held, datum) && held.retire());
        }
    }
}

/// What a write did, as far as others must know.
#[derive(Default)]
pub(crate) struct Effect {
    pub(crate) changed: Vec<Key>,
    pub(crate) visible: bool,
    pub(crate) schedule: Option<Tick>,
    pub(crate) wrote_nothing: bool,
}
