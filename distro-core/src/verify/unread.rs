//! Slots in which two members differ for a reason that no comparison can mend: one of them holds a
//! record that means nothing to the other, which may be of another release.

use std::collections::{BTreeMap, BTreeSet};

use crate::slot::Slot;

/// The checksums of a slot: theirs, and ours.
pub(crate) type Sums = (u64, u64);

/// After so many rounds a slot is compared again although nothing has changed in it.
const MOST_PASSES: u8 = 100;

/// What is known of such slots of one peer. Two entries for each slot at most.
#[derive(Debug, Default)]
pub(crate) struct Unread {
    /// With records that one of the two cannot read.
    slots: BTreeSet<Slot>,
    /// What slots were when they were last acted on, and how often they were passed over since.
    acted: BTreeMap<Slot, (Sums, u8)>,
}

impl Unread {
    /// One of the two cannot read a record in this slot.
    pub(crate) fn note(&mut self, slot: Slot) {
        self.slots.insert(slot);
    }

    /// These slots differ, and no others.
    pub(crate) fn keep(&mut self, differing: &BTreeMap<Slot, Sums>) {
        self.slots.retain(|slot| differing.contains_key(slot));
        self.acted.retain(|slot, _| differing.contains_key(slot));
    }

    /// Whether a slot is not worth a comparison: the last one found a record that cannot be read,
    /// and nothing has changed since on either side.
    pub(crate) fn passes(&mut self, slot: Slot, sums: Sums) -> bool {
        let Some((before, passes)) = self.acted.get_mut(&slot) else { return false };
        if *before != sums || *passes >= MOST_PASSES || !self.slots.contains(&slot) {
            return false;
        }
        *passes += 1;
        true
    }

    /// A slot is compared as it is now.
    pub(crate) fn acts(&mut self, slot: Slot, sums: Sums) {
        self.acted.insert(slot, (sums, 0));
    }

    /// A comparison did not come to its end.
    pub(crate) fn fail(&mut self) {
        self.acted.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_passed_over_only_as_long_as_nothing_changes_in_it_and_not_for_ever() {
        let (mut unread, slot) = (Unread::default(), Slot::of("tag"));
        unread.acts(slot, (1, 2));
        assert!(!unread.passes(slot, (1, 2)), "nothing says that it cannot be mended");
        unread.note(slot);
        assert!(unread.passes(slot, (1, 2)));
        assert!(!unread.passes(slot, (1, 3)) && !unread.passes(slot, (3, 2)));
        assert!((1..MOST_PASSES).all(|_| unread.passes(slot, (1, 2))));
        assert!(!unread.passes(slot, (1, 2)), "once in a while it is looked at again");
        unread.acts(slot, (1, 2));
        assert!(unread.passes(slot, (1, 2)));
        unread.fail();
        assert!(!unread.passes(slot, (1, 2)), "the other side was not heard to the end");
        unread.acts(slot, (1, 2));
        unread.keep(&BTreeMap::new());
        assert!(!unread.passes(slot, (1, 2)) && unread.slots.is_empty());
    }
}
