//! Slots: the fixed number of shares into which all tags fall.

use xxhash_rust::xxh3::xxh3_64;

/// Number of slots. Fixed for ever: members must agree on it.
pub const SLOT_COUNT: usize = 1_024;

/// One share of all tags: what ownership, verification and snapshots are measured in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u16);

impl Slot {
    /// The slot of a tag. Depends on the tag alone (xxh3, 64 bits, seed 0), so that every build
    /// on every machine gives the same answer.
    pub fn of(tag: &str) -> Self {
        // The upper bits; the remainder fits u16 because SLOT_COUNT does.
        Self(((xxh3_64(tag.as_bytes()) >> 32) % SLOT_COUNT as u64) as u16)
    }

    /// The slot at a position; `None` from [`SLOT_COUNT`] on.
    pub fn at(index: usize) -> Option<Self> {
        u16::try_from(index).ok().filter(|_| index < SLOT_COUNT).map(Self)
    }

    /// All slots in order.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..SLOT_COUNT).filter_map(Self::at)
    }

    /// Position in a table of [`SLOT_COUNT`] entries.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A set of slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct SlotSet([u64; SLOT_COUNT / 64]);

impl SlotSet {
    pub(crate) fn insert(&mut self, slot: Slot) {
        self.0[slot.index() / 64] |= 1 << (slot.index() % 64);
    }

    pub(crate) fn remove(&mut self, slot: Slot) {
        self.0[slot.index() / 64] &= !(1 << (slot.index() % 64));
    }

    pub(crate) fn contains(&self, slot: Slot) -> bool {
        self.0[slot.index() / 64] >> (slot.index() % 64) & 1 == 1
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(|part| *part == 0)
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(part, other)| *part |= other);
    }

    pub(crate) fn subtract(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(part, other)| *part &= !other);
    }

    /// The slots in their order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Slot> + use<> {
        let set = *self;
        Slot::all().filter(move |slot| set.contains(*slot))
    }
}

impl FromIterator<Slot> for SlotSet {
    fn from_iter<I: IntoIterator<Item = Slot>>(slots: I) -> Self {
        let mut set = Self::default();
        slots.into_iter().for_each(|slot| set.insert(slot));
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slot_of_a_tag_never_changes() {
        // Members of different releases must agree, so these numbers are part of the protocol.
        assert_eq!(Slot::of("public##DEFAULT_GROUP@@demo").index(), 438);
    }

    #[test]
    fn tags_spread_evenly() {
        let mut counts = vec![0_u32; SLOT_COUNT];
        for n in 0..102_400 {
            counts[Slot::of(&format!("public##DEFAULT_GROUP@@service-{n}")).index()] += 1;
        }
        // 100 expected in each; six standard deviations either way.
        assert!(counts.iter().all(|count| (40..=160).contains(count)));
    }
}
