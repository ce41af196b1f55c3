//! Who owns which slot.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::slot::{SLOT_COUNT, Slot};
use crate::stamp::MemberId;

/// The owner of each slot among a set of members, by rendezvous hashing: every member has a
/// weight in every slot and the heaviest owns it. So the ring follows from the set alone, and a
/// member that comes or goes moves only the slots that it wins or held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ring {
    owners: Box<[Option<MemberId>]>,
}

impl Ring {
    /// The ring of these members, in whatever order. Without members no slot has an owner.
    pub fn new(members: &[MemberId]) -> Self {
        let heaviest =
            |slot: Slot| members.iter().copied().max_by_key(|id| (weight(slot, *id), *id));
        Self { owners: Slot::all().map(heaviest).collect() }
    }

    /// The owner of a slot.
    pub fn owner(&self, slot: Slot) -> Option<MemberId> {
        self.owners[slot.index()]
    }

    /// The slots that have another owner in `next`.
    pub fn moved<'a>(&'a self, next: &'a Self) -> impl Iterator<Item = Slot> + 'a {
        Slot::all().filter(|slot| self.owner(*slot) != next.owner(*slot))
    }

    /// How many slots a member owns.
    pub fn share(&self, member: MemberId) -> usize {
        self.owners.iter().filter(|owner| **owner == Some(member)).count()
    }
}

impl Default for Ring {
    fn default() -> Self {
        Self { owners: vec![None; SLOT_COUNT].into() }
    }
}

/// Part of the protocol: members of different releases must agree on it.
fn weight(slot: Slot, member: MemberId) -> u64 {
    xxh3_64_with_seed(&member.0.to_le_bytes(), slot.index() as u64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn members(count: u16, offset: u16) -> Vec<MemberId> {
        (0..count).map(|n| MemberId::of(&format!("10.0.{offset}.{n}:8848"))).collect()
    }

    proptest! {
        #[test]
        fn a_fourth_member_takes_about_a_quarter_and_moves_nothing_else(offset in 0..60_000_u16) {
            let four = members(4, offset);
            let (before, after) = (Ring::new(&four[..3]), Ring::new(&four));
            let moved: Vec<Slot> = before.moved(&after).collect();
            prop_assert!(moved.iter().all(|slot| after.owner(*slot) == Some(four[3])));
            // A quarter is expected, 256 slots; the standard deviation of the draw is 14 slots.
            // What holds for every list of addresses is six of them.
            prop_assert!((172..=340).contains(&moved.len()), "{}", moved.len());
        }

        #[test]
        fn a_member_that_goes_moves_only_its_own(count in 2..8_u16, offset in 0..60_000_u16) {
            let all = members(count, offset);
            let (before, after) = (Ring::new(&all), Ring::new(&all[1..]));
            let moved: Vec<Slot> = before.moved(&after).collect();
            prop_assert!(moved.iter().all(|slot| before.owner(*slot) == Some(all[0])));
            prop_assert_eq!(moved.len(), before.share(all[0]));
        }

        #[test]
        fn the_order_of_the_list_does_not_matter(count in 1..8_u16, offset in 0..60_000_u16) {
            let mut all = members(count, offset);
            let ring = Ring::new(&all);
            all.reverse();
            prop_assert_eq!(ring, Ring::new(&all));
        }
    }

    #[test]
    fn nobody_owns_anything_without_members() {
        assert_eq!(Ring::new(&[]), Ring::default());
    }

    #[test]
    fn the_owner_of_a_slot_never_changes() {
        let ring = Ring::new(&[MemberId(1), MemberId(2), MemberId(3)]);
        let owners: Vec<_> = Slot::all().take(8).map(|slot| ring.owner(slot).unwrap().0).collect();
        assert_eq!(owners, FIRST_OWNERS);
    }

    /// Part of the protocol.
    const FIRST_OWNERS: [u32; 8] = [1, 3, 1, 3, 1, 2, 2, 1];
}
