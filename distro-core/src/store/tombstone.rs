//! Tombstones: what is remembered of records without content, packed into a few dozen bytes each.

use std::mem;
use std::ops::Range;
use std::time::Duration;

use crate::record::{Health, Record};
use crate::stamp::Stamp;
use crate::time::Tick;

mod filter;
mod packed;
use filter::Filter;
use packed::{decode, encode, items};

/// A block that would grow beyond this is split. Small enough that walking through one costs
/// little, large enough that its own allocation does not count.
const BLOCK_BYTES: usize = 1_024;

/// All that is kept of a record whose content is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tombstone {
    pub(crate) registration: Stamp,
    pub(crate) liveness: Stamp,
    pub(crate) deregistered: Stamp,
    pub(crate) judged: Health,
    /// See [`Entry`](crate::store::datum::Entry).
    pub(crate) learned: Tick,
    pub(crate) heard_ms: u64,
}

impl Tombstone {
    /// As the record it is.
    pub(crate) fn record<V>(&self) -> Record<V> {
        let Self { registration, liveness, deregistered, judged, .. } = *self;
        Record { registration, liveness, deregistered, judged, value: None }
    }

    /// Whether it was removed on purpose, not just expired.
    pub(crate) fn is_deregistered(&self) -> bool {
        self.deregistered > self.registration
    }
}

/// How long a tombstone is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Term {
    /// Like what it remembers: of something that beats.
    Usual,
    /// Of a record that outlives restarts: members may bring it back after days.
    Durable,
}

impl Term {
    const COUNT: usize = 2;

    fn index(self) -> usize {
        match self {
            Self::Usual => 0,
            Self::Durable => 1,
        }
    }
}

/// The age at which tombstones of each term are forgotten.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ages {
    pub(crate) usual: Duration,
    pub(crate) durable: Duration,
}

impl Ages {
    pub(crate) fn of(&self, term: Term) -> Duration {
        match term {
            Term::Usual => self.usual,
            Term::Durable => self.durable,
        }
    }
}

/// The tombstones of a datum in the order of their keys.
///
/// Each block is a run of items one behind the other, exactly as long as they are. One pointer
/// while there are none, because most datums have none.
#[derive(Debug, Default)]
pub(crate) struct Tombstones(Option<Box<Blocks>>);

/// Where a tombstone is.
#[derive(Debug)]
pub(crate) struct Position {
    block: usize,
    range: Range<usize>,
}

#[derive(Debug)]
struct Blocks {
    /// None is empty, and their first keys ascend.
    blocks: Vec<Box<[u8]>>,
    /// None of the term was learned of earlier.
    oldest: [Tick; Term::COUNT],
    /// Knows all keys once there is more than one block: what is registered for the first time
    /// needs no search then.
    filter: Filter,
}

impl Blocks {
    const EMPTY: Self = Self {
        blocks: Vec::new(),
        oldest: [Tick::from_ms(u64::MAX); Term::COUNT],
        filter: Filter::EMPTY,
    };

    fn note(&mut self, term: Term, learned: Tick) {
        let oldest = &mut self.oldest[term.index()];
        *oldest = learned.min(*oldest);
    }
}

impl Tombstones {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// The moment at which the first of them may reach its age; `None` if there are none.
    pub(crate) fn due(&self, ages: &Ages) -> Option<Tick> {
        let all = self.0.as_ref()?;
        let due = |term: Term| all.oldest[term.index()].after(ages.of(term));
        Some(due(Term::Usual).min(due(Term::Durable)))
    }

    pub(crate) fn find(&self, key: &str) -> Option<Tombstone> {
        self.find_at(key).map(|(tombstone, _)| tombstone)
    }

    /// A tombstone, and where it is until anything is put in or taken out.
    pub(crate) fn find_at(&self, key: &str) -> Option<(Tombstone, Position)> {
        let (Blocks { blocks, filter, .. }, key) = (&**self.0.as_ref()?, key.as_bytes());
        if !filter.may_hold(key) {
            return None;
        }
        let block = index_of(blocks, key)?;
        let item = items(blocks.get(block)?).find(|item| item.key >= key)?;
        let tombstone = if item.key == key { decode(item.body) } else { None };
        Some((tombstone?, Position { block, range: item.range }))
    }

    /// Those after a key, all without one, in the order of their keys.
    pub(crate) fn after<'a>(
        &'a self,
        after: Option<&str>,
    ) -> impl Iterator<Item = (&'a str, Tombstone)> + use<'a> {
        let blocks = self.0.as_ref().map_or(&[][..], |all| &all.blocks);
        let after = after.map(str::as_bytes);
        let from = after.map_or(0, |key| index_of(blocks, key).unwrap_or(0));
        let blocks = blocks.get(from..).unwrap_or_default();
        // Only the first block has items to pass over.
        let passed = blocks
            .first()
            .zip(after)
            .map_or(0, |(block, after)| items(block).take_while(|item| item.key <= after).count());
        let all = blocks.iter().flat_map(|block| items(block)).skip(passed);
        all.filter_map(|item| Some((std::str::from_utf8(item.key).ok()?, decode(item.body)?)))
    }

    /// Puts one in, in place of one of the same key.
    pub(crate) fn insert(&mut self, key: &str, tombstone: &Tombstone, term: Term) {
        let all = self.0.get_or_insert_with(|| Box::new(Blocks::EMPTY));
        all.note(term, tombstone.learned);
        all.insert(key.as_bytes(), &encode(key.as_bytes(), tombstone));
        all.filter(key.as_bytes());
    }

    /// Takes out the one that was found there.
    pub(crate) fn remove_at(&mut self, position: &Position) {
        let Some(all) = &mut self.0 else { return };
        all.remove(position);
        if all.blocks.is_empty() {
            self.0 = None;
        }
    }

    /// Forgets all that were learned of so long ago as is the age of their term, or earlier, and
    /// tells which; `age_of` may give some of them another age. Looks at them only if there may be
    /// any.
    pub(crate) fn forget(
        &mut self,
        now: Tick,
        ages: &Ages,
        term_of: impl Fn(&str, &Tombstone) -> Term,
        age_of: impl Fn(&Tombstone, Duration) -> Duration,
        mut gone: impl FnMut(&str, Term, &Tombstone),
    ) {
        let Some(all) = &mut self.0 else { return };
        let is_old = |term, learned| now.since(learned) >= ages.of(term);
        if ![Term::Usual, Term::Durable].iter().any(|term| is_old(*term, all.oldest[term.index()]))
        {
            return;
        }
        let mut kept = Blocks::EMPTY;
        let mut block = Vec::with_capacity(BLOCK_BYTES);
        for old in &all.blocks {
            for item in items(old) {
                // Both are as they were put in.
                let (Ok(key), Some(tombstone)) = (std::str::from_utf8(item.key), decode(item.body))
                else {
                    continue;
                };
                let term = term_of(key, &tombstone);
                if now.since(tombstone.learned) >= age_of(&tombstone, ages.of(term)) {
                    gone(key, term, &tombstone);
                    continue;
                }
                kept.note(term, tombstone.learned);
                let bytes = old.get(item.range).unwrap_or_default();
                if block.len() + bytes.len() > BLOCK_BYTES && !block.is_empty() {
                    kept.blocks.push(block.as_slice().into());
                    block.clear();
                }
                block.extend_from_slice(bytes);
            }
        }
        if !block.is_empty() {
            kept.blocks.push(block.into());
        }
        kept.blocks.shrink_to_fit();
        if kept.blocks.len() > 1 {
            kept.make_filter();
        }
        self.0 = (!kept.blocks.is_empty()).then(|| Box::new(kept));
    }
}

impl Blocks {
    /// Has the filter know a key that was put in.
    fn filter(&mut self, key: &[u8]) {
        if self.filter.is_empty() && self.blocks.len() <= 1 {
            return;
        }
        match self.filter.is_full() {
            true => self.make_filter(),
            false => self.filter.note(key),
        }
    }

    fn make_filter(&mut self) {
        let all = self.blocks.iter().flat_map(|block| items(block));
        self.filter = Filter::of(all.map(|item| item.key));
    }

    fn insert(&mut self, key: &[u8], item: &[u8]) {
        let index = index_of(&self.blocks, key).unwrap_or(0);
        let Some(block) = self.blocks.get_mut(index) else {
            self.blocks.push(item.into());
            return;
        };
        let range = range_of(block, key);
        let is_last = range.start == block.len();
        if block.len() - range.len() + item.len() <= BLOCK_BYTES {
            replace(block, &range, item);
        } else if is_last {
            // Where keys ascend, the blocks behind stay full.
            self.make_room();
            self.blocks.insert(index + 1, item.into());
        } else {
            let joined = [&block[..range.start], item, &block[range.end..]].concat();
            let (first, second) = joined.split_at(middle(&joined));
            *block = first.into();
            if !second.is_empty() {
                let second = second.into();
                self.make_room();
                self.blocks.insert(index + 1, second);
            }
        }
    }

    /// Few blocks grow by one, not to a capacity of four.
    fn make_room(&mut self) {
        if self.blocks.len() == self.blocks.capacity() {
            self.blocks.reserve_exact((self.blocks.len() / 4).max(1));
        }
    }

    fn remove(&mut self, position: &Position) {
        let Position { block: index, ref range } = *position;
        let Some(block) = self.blocks.get_mut(index) else { return };
        replace(block, range, &[]);
        if block.is_empty() {
            self.blocks.remove(index);
        } else {
            self.join(index);
            self.join(index.saturating_sub(1));
        }
    }

    /// Makes one block of two neighbours that are less than half full together, so that there are
    /// never many nearly empty ones.
    fn join(&mut self, index: usize) {
        let Some([first, second]) = self.blocks.get(index..index + 2) else { return };
        if first.len() + second.len() <= BLOCK_BYTES / 2 {
            self.blocks[index] = [&**first, &**second].concat().into();
            self.blocks.remove(index + 1);
        }
    }
}

/// The block in which a key is, if it is anywhere; `None` if it is before all.
fn index_of(blocks: &[Box<[u8]>], key: &[u8]) -> Option<usize> {
    let begins_before = |block: &[u8]| items(block).next().is_some_and(|item| item.key <= key);
    blocks.partition_point(|block| begins_before(block)).checked_sub(1)
}

/// Where the item of a key is in a block; empty, and where it belongs, if it is not there.
fn range_of(block: &[u8], key: &[u8]) -> Range<usize> {
    match items(block).find(|item| item.key >= key) {
        Some(item) if item.key == key => item.range,
        Some(item) => item.range.start..item.range.start,
        None => block.len()..block.len(),
    }
}

/// Puts `item` in place of a part of a block. In place, where the allocator has room: most lengths
/// near each other are the same to it.
fn replace(block: &mut Box<[u8]>, range: &Range<usize>, item: &[u8]) {
    let mut bytes = mem::take(block).into_vec();
    let (length, end) = (bytes.len(), range.start + item.len());
    let more = item.len().saturating_sub(range.len());
    bytes.reserve_exact(more);
    bytes.resize(length + more, 0);
    bytes.copy_within(range.end..length, end);
    bytes[range.start..end].copy_from_slice(item);
    bytes.truncate(end + length - range.end);
    *block = bytes.into();
}

/// The end of the first item that reaches into the second half.
fn middle(block: &[u8]) -> usize {
    let half = block.len() / 2;
    items(block).map(|item| item.range.end).find(|end| *end >= half).unwrap_or(block.len())
}

#[cfg(test)]
mod tests;
