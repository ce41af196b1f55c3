//! The owner of each slot, which follows from the list of members alone.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::slot::{SLOT_COUNT, Slot};
use crate::stamp::MemberId;

/// The owner of each slot among a set of members, by rendezvous hashing: every member has a
/// weight in every slot and the heaviest owns it. So the ring follows from the set alone, and a
/// member that comes or goes moves only the slots that it wins or held.
///
/// The weights of a member are the numbers from 0 to 1,023 in an order of its own, so none is
/// lucky on the whole: a fourth member takes 256 slots with a standard deviation of 9. With a
/// hash as the weight that would be 14, and one list in fifteen moved more than a quarter and
/// two per cent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ring {
    owners: Box<[Option<MemberId>]>,
}

impl Ring {
    /// The ring of these members, in whatever order. Without members no slot has an owner.
    pub fn new(members: &[MemberId]) -> Self {
        let weights: Vec<_> = members.iter().map(|id| (weights(*id), *id)).collect();
        let heaviest = |slot: Slot| {
            let heaviest = weights.iter().max_by_key(|(weights, id)| (weights[slot.index()], id));
            heaviest.map(|(_, id)| *id)
        };
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

/// The weight of a member in each slot: its rank among all slots in the order of their hashes,
/// and the hash for where two members have one rank. Part of the protocol: members of different
/// releases must agree on it.
fn weights(member: MemberId) -> Vec<(usize, u64)> {
    let hash = |slot: Slot| xxh3_64_with_seed(&member.0.to_le_bytes(), slot.index() as u64);
    let mut order: Vec<(u64, Slot)> = Slot::all().map(|slot| (hash(slot), slot)).collect();
    order.sort_unstable();
    let mut weights = vec![(0, 0); SLOT_COUNT];
    for (rank, (hash, slot)) in order.into_iter().enumerate() {
        weights[slot.index()] = (rank, hash);
    }
    weights
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
            // A quarter is expected, 256 slots; the standard deviation of the draw is 9 slots.
            // What holds for every list of addresses is six of them.
            prop_assert!((202..=310).contains(&moved.len()), "{}", moved.len());
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
    fn a_fourth_member_rarely_takes_more_than_a_quarter_and_two_per_cent() {
        const MOST: usize = SLOT_COUNT / 4 + SLOT_COUNT / 50;
        let is_over =
            |offset: &u16| Ring::new(&members(4, *offset)).share(members(4, *offset)[3]) > MOST;
        let over = (0..2_000).filter(is_over).count();
        assert!(over <= 30, "{over} of 2,000 lists");
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
        assert_eq!([1, 2, 3].map(|id| ring.share(MemberId(id))), SHARES);
    }

    /// Part of the protocol.
    const FIRST_OWNERS: [u32; 8] = [1, 3, 1, 3, 1, 2, 2, 1];
    const SHARES: [usize; 3] = [338, 332, 354];
}
