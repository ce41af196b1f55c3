//! Reading a datum under its shared lock.

use std::borrow::Cow;
use std::iter;
use std::ops::Bound;
use std::sync::Arc;

use super::{Entry, Shelf};
use crate::record::{Key, Record, Value};
use crate::time::Tick;

/// Shared access to the records of a datum.
pub struct Reader<'a, V> {
    pub(super) shelf: &'a Shelf<V>,
    pub(super) revision: u64,
}

impl<'a, V: Value> Reader<'a, V> {
    /// The revision that what is read belongs to.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Whether this member lists the datum: readers saw something in it that closing the datum did
    /// not end. An open datum may be empty: its last record has just left. It stays open until
    /// somebody closes it, or until [the housekeeping](crate::Store::clean_up) of this member takes
    /// it out of the list.
    pub fn is_open(&self) -> bool {
        self.shelf.is_open()
    }

    /// The record of a key, visible or not. Borrowed, unless it is a tombstone.
    pub fn find(&self, key: &str) -> Option<Cow<'a, Record<V>>> {
        self.shelf.find(key)
    }

    /// The record of a key and its value, if readers see it.
    pub fn find_visible(&self, key: &str) -> Option<(&'a Record<V>, &'a Arc<V>)> {
        self.shelf.find_visible(key)
    }

    /// The visible records in the order of their keys.
    pub fn visible(
        &self,
    ) -> impl Iterator<Item = (&'a Key, &'a Record<V>, &'a Arc<V>)> + use<'a, V> {
        self.shelf.visible()
    }

    /// The visible records whose keys begin so, in the order of their keys. The others cost nothing.
    pub fn visible_starting_with(
        &self,
        prefix: &str,
    ) -> impl Iterator<Item = (&'a Key, &'a Record<V>, &'a Arc<V>)> {
        let entries =
            self.shelf.entries.range::<str, _>((Bound::Included(prefix), Bound::Unbounded));
        let entries = entries.take_while(move |(key, _)| key.starts_with(prefix));
        let visible = entries.filter(|(_, entry)| entry.record.is_visible());
        visible
            .filter_map(|(key, Entry { record, .. })| Some((key, record, record.value.as_ref()?)))
    }

    /// All records, tombstones included, in the order of their keys, from after `after` on.
    pub fn records_after(
        &self,
        after: Option<&str>,
    ) -> impl Iterator<Item = (Key, Record<V>)> + use<'a, V> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut entries = self.shelf.entries.range::<str, _>((from, Bound::Unbounded)).peekable();
        let mut tombstones = self.shelf.tombstones.after(after).peekable();
        iter::from_fn(move || {
            let is_packed = match (entries.peek(), tombstones.peek()) {
                (Some((key, _)), Some((other, _))) => *other < &***key,
                (entry, _) => entry.is_none(),
            };
            if is_packed {
                return tombstones.next().map(|(key, packed)| (key.into(), packed.record()));
            }
            entries.next().map(|(key, entry)| (Arc::clone(key), entry.record.clone()))
        })
    }

    /// When each visible record was last heard by this member, if it was.
    pub fn heard(&self) -> impl Iterator<Item = (&'a Key, Tick)> + use<'a, V> {
        let entries = self.shelf.entries.iter();
        let visible = entries.filter(|(_, entry)| entry.record.is_visible());
        visible.filter_map(|(key, entry)| Some((key, entry.heard()?)))
    }

    /// The visible records that have a lease, in the order of their keys from after `after` on, and
    /// when this member last heard each.
    pub(crate) fn heard_after(
        &self,
        after: Option<&str>,
    ) -> impl Iterator<Item = (&'a Key, &'a Record<V>, Option<Tick>)> + use<'a, V> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let entries = self.shelf.entries.range::<str, _>((from, Bound::Unbounded));
        let visible = entries.filter(|(_, entry)| entry.record.is_visible());
        visible.filter_map(|(key, entry)| {
            entry.record.value.as_ref()?.lease()?;
            Some((key, &entry.record, entry.heard()))
        })
    }

    /// The keys of all records, tombstones included, that belong to the life of an open datum, in
    /// no particular order.
    pub fn keys_since_closing(&self) -> impl Iterator<Item = &'a str> + use<'a, V> {
        let over = self.shelf.closed.max(self.shelf.cleaned);
        let is_of_this_life =
            move |record: &Record<V>| record.registration > over || record.is_visible();
        let entries = self.shelf.entries.iter();
        let whole = entries.map(move |(key, entry)| (&**key, is_of_this_life(&entry.record)));
        let packed = self.shelf.tombstones.after(None);
        let all = whole.chain(packed.map(move |(key, packed)| (key, packed.registration > over)));
        all.filter_map(|(key, is_of_this_life)| is_of_this_life.then_some(key))
    }

    /// When a record was last heard (of a tombstone: when this member learned of it).
    pub fn last_heard(&self, key: &str) -> Option<Tick> {
        match self.shelf.entries.get(key) {
            Some(entry) => Some(entry.moment()),
            None => Some(Entry::<V>::unpacked(&self.shelf.tombstones.find(key)?).moment()),
        }
    }
}
