//! The data plane: a concurrent store of datums that request handlers call directly.
//!
//! No guard of a lock leaves this file, no lock is held while another is taken except shard
//! then datum or index of the slot, and no order of iteration reaches a caller unsorted.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use dashmap::DashMap;
use foldhash::fast::FixedState;
use parking_lot::Mutex;
use xxhash_rust::xxh3::Xxh3;

use crate::config::StoreConfig;
use crate::journal::{HeardAt, Journal};
use crate::late::LateJudges;
use crate::lease::{DueRing, JudgeTerms};
use crate::ownership::{OwnerPolicy, TagOwners};
use crate::record::{CLASSES, Health, Key, Value};
use crate::slot::{SLOT_COUNT, Slot};
use crate::stamp::{MemberId, Stamp, StampClock};
use crate::time::Tick;

mod datum;
pub(crate) use datum::HeardOf;
pub use datum::{Datum, Heard, Reader};

mod writer;
pub use writer::{ListTerms, Listed, Writer};

mod footprint;

mod tombstone;
pub(crate) use tombstone::Term;

mod carried;
use carried::Carried;
pub(crate) use carried::carried_bytes;

mod cleaning;
pub(crate) use cleaning::open_root;

mod foreign;
use foreign::Notes;

mod hearing;

mod holding;
pub use holding::Held;

mod keeping;

mod memory;
pub(crate) use memory::{Belief, DOUBT, Room, SIGN_OF_LIFE, bytes_of, is_in_doubt};
use memory::{SlotMemory, emptied_bytes};

mod merging;

/// Is told what happens in a store. Called on the thread that caused it, after the
/// datum's lock is released; must be quick and must not block.
pub trait Watcher<V: Value, A>: Send + Sync {
    /// Records of `datum` changed. `visible`: readers see a difference, the revision has grown.
    /// Without any key: the housekeeping of this member has just taken the datum out of the list.
    fn changed(&self, datum: &Arc<Datum<V, A>>, keys: &[Key], visible: bool);

    /// This member judged a record by its silence, or took a judgement back because it was heard
    /// again (`silent_for` is zero then). [`Self::changed`] is called for the same change too, in
    /// no particular order.
    fn judged(&self, datum: &Arc<Datum<V, A>>, verdict: &Verdict<V>);

    /// The removal of these durable records is not remembered here any more: their saved copies may
    /// go. Only a hint to look at what is there now: somebody may have written them again
    /// meanwhile, and that may have been told before this is.
    fn forgotten(&self, _datum: &Arc<Datum<V, A>>, _keys: &[Key]) {}
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
    watchers: Vec<Arc<dyn Watcher<V, A>>>,
    pub(crate) shared: Shared,
    pub(crate) ring: DueRing<Datum<V, A>>,
    /// Datums dropped so far.
    dropped: AtomicUsize,
}

/// What all datums of a store share.
pub(crate) struct Shared {
    pub(crate) config: StoreConfig,
    pub(crate) clock: StampClock,
    pub(crate) journal: Journal,
    /// Whose judgements must wait.
    pub(crate) late: LateJudges,
    pub(crate) slots: Box<[SlotState]>,
    /// Instead of the owners of slots, where tags fall to members one by one.
    pub(crate) tag_owners: Option<TagOwners>,
    /// Until when lists of foreign tags must leave alone what was written here.
    pub(crate) recent_writes: Notes,
    /// Until when records that came up in such a list count as new.
    pub(crate) newly_listed: Notes,
    pub(crate) visible: [AtomicU64; CLASSES],
    pub(crate) carried: Carried,
    /// Bytes of all tombstones, and of datums that show nothing.
    memory_bytes: AtomicU64,
    /// Bytes that a datum takes which shows nothing, besides its tag and what it remembers.
    emptied_bytes: u64,
    /// Writes of others that were left out because of their stamps.
    disbelieved: AtomicU64,
    /// Since when some member has listened to clients all the time, as of the last accounts.
    pub(crate) listened_since_ms: AtomicU64,
}

impl Shared {
    /// Takes note of a stamp of another member. False: what has it must be left out, and counts.
    pub(crate) fn believes(&self, stamp: Stamp) -> bool {
        let believes = self.clock.observe(stamp);
        if !believes {
            self.disbelieved.fetch_add(1, Ordering::Relaxed);
        }
        believes
    }
}

/// The sums of one slot, and who owns it.
#[derive(Default)]
pub(crate) struct SlotState {
    pub(crate) checksum: AtomicU64,
    /// Sum of the hashes of the tags of open datums.
    pub(crate) open: AtomicU64,
    /// All of them, and those of durable records among them.
    pub(crate) tombstones: AtomicU32,
    pub(crate) durable_tombstones: AtomicU32,
    pub(crate) memory: SlotMemory,
    /// Its part of [`Shared::visible`].
    pub(crate) visible: [AtomicU32; CLASSES],
    /// The id of the owner plus one; zero if there is none.
    owner: AtomicU64,
    pub(crate) since_ms: AtomicU64,
    /// Twice the time when others were asked for the accounts that are here of the records of the
    /// slot, plus 2 ms, and plus 1 if some member could not tell; zero if there are none. One word, so
    /// that both are of the same account.
    pub(crate) accounted: AtomicU64,
    tags: Mutex<BTreeSet<Arc<str>>>,
}

impl SlotState {
    pub(crate) fn owner(&self) -> Option<MemberId> {
        let owner = self.owner.load(Ordering::Acquire).checked_sub(1)?;
        u32::try_from(owner).ok().map(MemberId)
    }

    fn remove_tag(&self, tag: &str) {
        let mut tags = self.tags.lock();
        tags.remove(tag);
        if tags.is_empty() {
            // An emptied set keeps a node.
            *tags = BTreeSet::new();
        }
    }

    pub(crate) fn set_owner(&self, owner: Option<MemberId>, since: Tick) {
        // Since first: whoever sees the new owner sees from when on, too.
        self.since_ms.store(since.as_ms(), Ordering::Release);
        let owner = owner.map_or(0, |owner| u64::from(owner.0) + 1);
        self.owner.store(owner, Ordering::Release);
    }
}

impl<V: Value, A: Default + Send + Sync + 'static> Store<V, A> {
    /// An empty store of a member that owns every slot, until [`Distro`](crate::Distro) says
    /// otherwise.
    pub fn new(
        config: StoreConfig,
        clock: StampClock,
        watchers: Vec<Arc<dyn Watcher<V, A>>>,
    ) -> Self {
        let hasher = FixedState::with_seed(config.hash_seed);
        let slots: Box<[_]> = (0..SLOT_COUNT).map(|_| SlotState::default()).collect();
        slots.iter().for_each(|slot| slot.set_owner(Some(clock.member()), Tick::ZERO));
        let journal = Journal::new(config.journal_keys);
        let visible = Default::default();
        let tag_owners = match config.owner_policy {
            OwnerPolicy::Slots => None,
            OwnerPolicy::Tags(number_of) => Some(TagOwners::new(number_of, clock.member())),
        };
        Self {
            datums: DashMap::with_hasher(hasher),
            watchers,
            shared: Shared {
                config,
                clock,
                journal,
                late: LateJudges::default(),
                slots,
                tag_owners,
                recent_writes: Notes::default(),
                newly_listed: Notes::default(),
                visible,
                carried: Carried::default(),
                memory_bytes: AtomicU64::new(0),
                emptied_bytes: emptied_bytes::<V, A>(),
                disbelieved: AtomicU64::new(0),
                listened_since_ms: AtomicU64::new(u64::MAX),
            },
            ring: DueRing::new(),
            dropped: AtomicUsize::new(0),
        }
    }

    /// The clock that stamps this member's writes.
    pub fn clock(&self) -> &StampClock {
        &self.shared.clock
    }

    /// The settings it was made with.
    pub fn config(&self) -> &StoreConfig {
        &self.shared.config
    }

    /// One number for all that is visible: the checksum of the checksums of all slots.
    pub fn root(&self) -> u64 {
        let mut hash = Xxh3::new();
        Slot::all().for_each(|slot| hash.update(&self.checksum(slot).to_le_bytes()));
        hash.digest()
    }

    pub(crate) fn journal(&self) -> &Journal {
        &self.shared.journal
    }

    /// The tags that have a datum in a slot, in their order, from after `after` on.
    pub(crate) fn tags(&self, slot: Slot, after: Option<&str>) -> Vec<Arc<str>> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let tags = self.shared.slots[slot.index()].tags.lock();
        tags.range::<str, _>((from, Bound::Unbounded)).cloned().collect()
    }

    /// The datum of a tag. One lookup, no allocation.
    pub fn find(&self, tag: &str) -> Option<Arc<Datum<V, A>>> {
        self.datums.get(tag).map(|datum| Arc::clone(&datum))
    }

    /// The datums of a slot, in the order of their tags.
    pub fn in_slot(&self, slot: Slot) -> Vec<Arc<Datum<V, A>>> {
        self.tags(slot, None).iter().filter_map(|tag| self.find(tag)).collect()
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

    /// Writes of other members that were left out because nobody can have issued their stamps:
    /// [`StampClock::observe`].
    pub fn disbelieved(&self) -> u64 {
        self.shared.disbelieved.load(Ordering::Relaxed)
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

    /// Judges some of the datums that are due and says whether more may be. Callers that share a
    /// thread with others should yield between calls, and give the round up when
    /// [`Distro::poll_timeout`](crate::Distro::poll_timeout) has come: what is left is judged in
    /// the next round, on terms that know of a stop in this one.
    pub fn judge(&self, terms: &JudgeTerms) -> bool {
        /// Well below a millisecond, unless a datum has very many records.
        const SLICE: usize = 256;
        let Some(due) = self.ring.take_due(terms.as_of, SLICE) else { return false };
        for datum in due.iter().filter_map(std::sync::Weak::upgrade) {
            let (verdicts, effect) = datum.judge(&self.shared, terms);
            for verdict in &verdicts {
                self.watchers.iter().for_each(|watcher| watcher.judged(&datum, verdict));
            }
            self.follow_up(&datum, effect);
            self.collect(&datum);
        }
        true
    }
}

/// What a write did, as far as others must know.
#[derive(Default)]
pub(crate) struct Effect {
    pub(crate) changed: Vec<Key>,
    pub(crate) local: Vec<Key>,
    /// One of the local keys, and who need not be told of it.
    pub(crate) spared: Option<(Key, MemberId)>,
    pub(crate) forgotten: Vec<Key>,
    pub(crate) visible: bool,
    pub(crate) schedule: Option<Tick>,
    pub(crate) wrote_nothing: bool,
}

#[cfg(test)]
mod tests;
