//! Disks: what was flushed outlives its process, what was not is gone with it.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::collections::btree_map::{BTreeMap, Entry};
use std::mem;
use std::sync::{Arc, Mutex};

use distro_core::{Datum, Key, Record, RecordId, Store, Tick, Verdict, Watcher};

use crate::node::{Call, Text};

/// Whether a record outlives restarts.
pub(crate) fn is_durable(tag: &str, key: &str) -> bool {
    tag.starts_with('#') || key.is_empty() || key.starts_with('!')
}

/// What is on the disk of a node.
#[derive(Default)]
pub(crate) struct Disk {
    records: BTreeMap<RecordId, Record<Text>>,
}

impl Disk {
    pub(crate) fn find(&self, tag: &str, key: &str) -> Option<&Record<Text>> {
        self.records.get(&(tag.into(), key.into()))
    }

    /// Puts everything back.
    pub(crate) fn load(&self, store: &Store<Text, ()>, now: Tick) {
        for ((tag, key), record) in &self.records {
            assert_eq!(store.restore(tag, [(Key::clone(key), record.clone())], now), 0);
        }
    }

    fn write(&mut self, batch: Batch) {
        for (place, record) in batch {
            match (self.records.entry(place), record) {
                (entry, Some(record)) => _ = entry.insert_entry(record),
                (Entry::Occupied(old), None) => _ = old.remove(),
                (Entry::Vacant(_), None) => {}
            }
        }
    }
}

/// What is flushed in one go; `None`: nothing is left of it.
type Batch = Vec<(RecordId, Option<Record<Text>>)>;

/// Durable records that have changed since they were last read for a flush.
#[derive(Default)]
pub(crate) struct Dirty(Mutex<BTreeSet<RecordId>>);

impl Dirty {
    fn note(&self, datum: &Datum<Text, ()>, keys: &[Key]) {
        let durable = keys.iter().filter(|key| is_durable(datum.tag(), key));
        let places = durable.map(|key| (Arc::clone(datum.tag()), Key::clone(key)));
        self.0.lock().unwrap().extend(places);
    }
}

impl Watcher<Text, ()> for Dirty {
    fn changed(&self, datum: &Arc<Datum<Text, ()>>, keys: &[Key], _: bool) {
        self.note(datum, keys);
    }
    fn judged(&self, _: &Arc<Datum<Text, ()>>, _: &Verdict<Text>) {}
    fn forgotten(&self, datum: &Arc<Datum<Text, ()>>, keys: &[Key]) {
        self.note(datum, keys);
    }
}

/// Who waits for a flush.
pub(crate) enum Waiter {
    /// A write that was taken here, by its number.
    Write(u64),
    /// A member that asked to hold something, and the call in which it did.
    Member { to: usize, incarnation: u32, call: Call },
}

/// Between the store of one process and its disk: one flush at a time, for all that wait.
#[derive(Default)]
pub(crate) struct Saver {
    pub(crate) dirty: Arc<Dirty>,
    in_flight: Option<Batch>,
    /// The number of the flush that was begun last.
    begun: u64,
    waiting: Vec<(u64, Waiter)>,
}

impl Saver {
    /// Waits until everything is on disk that the store holds now; given back if it is.
    pub(crate) fn wait(&mut self, waiter: Waiter) -> Option<Waiter> {
        let is_dirty = !self.dirty.0.lock().unwrap().is_empty();
        if !is_dirty && self.in_flight.is_none() {
            return Some(waiter);
        }
        self.waiting.push((self.begun + u64::from(is_dirty), waiter));
        None
    }

    /// Begins a flush if there is something to flush and none is under way.
    pub(crate) fn begin(&mut self, store: &Store<Text, ()>, keeps_removals: bool) -> bool {
        if self.in_flight.is_some() {
            return false;
        }
        let places = mem::take(&mut *self.dirty.0.lock().unwrap());
        if places.is_empty() {
            return false;
        }
        let read = |(tag, key): &RecordId| {
            let datum = store.find(tag)?;
            datum.read(|reader| reader.find(key).map(Cow::into_owned))
        };
        let batch = places.into_iter().map(|place| {
            let record = read(&place).filter(|record| keeps_removals || record.is_visible());
            (place, record)
        });
        self.in_flight = Some(batch.collect());
        self.begun += 1;
        true
    }

    /// The flush is done. Returns who need not wait any more.
    pub(crate) fn finish(&mut self, disk: &mut Disk) -> Vec<Waiter> {
        disk.write(self.in_flight.take().unwrap_or_default());
        let (done, waiting) =
            mem::take(&mut self.waiting).into_iter().partition(|(flush, _)| *flush <= self.begun);
        self.waiting = waiting;
        let done: Vec<(u64, Waiter)> = done;
        done.into_iter().map(|(_, waiter)| waiter).collect()
    }
}
