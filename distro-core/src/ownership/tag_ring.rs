//! The owner of each tag in clusters with members of another protocol: a number of the tag chooses
//! a place in the list of members.

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;

use crate::slot::SLOT_COUNT;
use crate::stamp::MemberId;
use crate::time::Tick;

/// How tags fall to the members that may own something. All members of a cluster must use the
/// same.
#[derive(Debug, Clone, Copy, Default)]
pub enum OwnerPolicy {
    /// By the slot of the tag and the [`Ring`](crate::Ring): a member that comes or goes moves as
    /// little as can be.
    #[default]
    Slots,
    /// By this number of the tag, divided by the number of members: the remainder is a place in the
    /// list of those who may own something, in the order of
    /// [`Input::Members`](crate::Input::Members). A member that comes or goes moves nearly
    /// everything. For clusters whose other members count so.
    Tags(fn(&str) -> u32),
}

/// The owner of each tag among a list of members, by the remainder of a number of the tag.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TagRing {
    members: Box<[MemberId]>,
}

/// Numbers that are looked at to tell two rings apart.
const SAMPLE: u32 = 1 << 16;

impl TagRing {
    /// The ring of these members in this order, which matters. Without members no tag has an
    /// owner.
    pub fn new(members: &[MemberId]) -> Self {
        Self { members: members.into() }
    }

    /// The owner of the tags with this number.
    pub fn owner(&self, number: u32) -> Option<MemberId> {
        let at = number.checked_rem(u32::try_from(self.members.len()).ok()?)?;
        self.members.get(at as usize).copied()
    }

    /// The part of all tags that have another owner in `next`, in slots: [`SLOT_COUNT`] is all.
    pub fn moved(&self, next: &Self) -> usize {
        let (one, other) = (self.members.len().max(1), next.members.len().max(1));
        // From there on the remainders repeat; for very long lists a sample will do.
        let period = u32::try_from(one.saturating_mul(other)).map_or(SAMPLE, |all| all.min(SAMPLE));
        let moved = (0..period).filter(|number| self.owner(*number) != next.owner(*number)).count();
        moved * SLOT_COUNT / period as usize
    }

    /// The part of all tags that a member owns, in slots.
    pub fn share(&self, member: MemberId) -> usize {
        let places = self.members.iter().filter(|id| **id == member).count();
        (places * SLOT_COUNT).checked_div(self.members.len()).unwrap_or(0)
    }
}

/// The rings that were in force of late: who owns a tag, and since when it was this member without
/// a break. A number for each tag would have to be kept for tags that do not exist yet, too.
#[derive(Debug)]
pub(crate) struct TagOwners {
    number_of: fn(&str) -> u32,
    view: RwLock<View>,
    /// Grows with each change of the view.
    epoch: AtomicU64,
}

#[derive(Debug)]
struct View {
    /// The newest first, each with when it came into force. Never empty.
    rings: VecDeque<(TagRing, Tick)>,
    /// The members of the newest ring that speak this protocol; `None` if all do.
    ours: Option<BTreeSet<MemberId>>,
    /// The newest ring without the others.
    keepers: TagRing,
}

/// Rings that are remembered. A tag that stayed with one member through more changes counts as
/// taken over when the oldest of them came into force: it is judged later than it might be.
const MOST_RINGS: usize = 8;

impl View {
    fn owner(&self, number: u32) -> Option<MemberId> {
        self.rings.front()?.0.owner(number)
    }

    fn is_foreign(&self, number: u32) -> bool {
        let Some(ours) = &self.ours else { return false };
        self.owner(number).is_some_and(|owner| !ours.contains(&owner))
    }

    fn since(&self, number: u32, member: MemberId) -> Option<Tick> {
        let same = self.rings.iter().take_while(|(ring, _)| ring.owner(number) == Some(member));
        same.last().map(|(_, since)| *since)
    }
}

impl TagOwners {
    /// Everything belongs to this member, since ever.
    pub(crate) fn new(number_of: fn(&str) -> u32, member: MemberId) -> Self {
        let keepers = TagRing::new(&[member]);
        let rings = VecDeque::from([(keepers.clone(), Tick::ZERO)]);
        let view = RwLock::new(View { rings, ours: None, keepers });
        Self { number_of, view, epoch: AtomicU64::new(0) }
    }

    /// Puts a ring into force. `ours` are those of its members that speak this protocol; `None`
    /// if all do. Returns whether any tag was or is foreign.
    pub(crate) fn set(&self, ring: TagRing, ours: Option<BTreeSet<MemberId>>, since: Tick) -> bool {
        let is_ours = |id: &&MemberId| ours.as_ref().is_none_or(|ours| ours.contains(id));
        let keepers: Vec<MemberId> = ring.members.iter().filter(is_ours).copied().collect();
        let has_foreign = |view: &View| {
            view.rings.front().is_some_and(|(ring, _)| ring.members != view.keepers.members)
        };
        let mut view = self.view.write();
        let had_foreign = has_foreign(&view);
        view.ours = ours;
        view.keepers = TagRing::new(&keepers);
        if view.rings.front().is_none_or(|(newest, _)| *newest != ring) {
            view.rings.truncate(MOST_RINGS - 1);
            view.rings.push_front((ring, since));
        }
        let is_concerned = had_foreign || has_foreign(&view);
        drop(view);
        // Afterwards: who sees the new number sees the new view, too.
        self.epoch.fetch_add(1, Ordering::AcqRel);
        is_concerned
    }

    /// Another number after each change.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// The owner of a tag.
    pub(crate) fn owner(&self, tag: &str) -> Option<MemberId> {
        self.view.read().owner((self.number_of)(tag))
    }

    /// Whether the owner of a tag does not speak this protocol.
    pub(crate) fn is_foreign(&self, tag: &str) -> bool {
        let number = (self.number_of)(tag);
        self.view.read().is_foreign(number)
    }

    /// The owner of a tag, or, if that does not speak this protocol, who stands in for it among
    /// those that do.
    pub(crate) fn keeper(&self, tag: &str) -> Option<MemberId> {
        let number = (self.number_of)(tag);
        let view = self.view.read();
        if view.is_foreign(number) { view.keepers.owner(number) } else { view.owner(number) }
    }

    /// Since when the tag is this member's, if it is.
    pub(crate) fn owned_since(&self, tag: &str, member: MemberId) -> Option<Tick> {
        self.view.read().since((self.number_of)(tag), member)
    }

    /// Since when the ring is in force.
    pub(crate) fn since(&self) -> Tick {
        self.view.read().rings.front().map_or(Tick::ZERO, |(_, since)| *since)
    }

    /// The part of all tags that a member owns, in slots.
    pub(crate) fn share(&self, member: MemberId) -> usize {
        self.view.read().rings.front().map_or(0, |(ring, _)| ring.share(member))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    // Not in the order of their ids.
    const A: MemberId = MemberId(30);
    const B: MemberId = MemberId(10);
    const C: MemberId = MemberId(20);

    fn at(ms: u64) -> Tick {
        Tick::from_ms(ms)
    }

    fn owners() -> TagOwners {
        TagOwners::new(|tag| tag.len() as u32, A)
    }

    #[test]
    fn the_remainder_is_a_place_in_the_list_as_it_was_given() {
        let ring = TagRing::new(&[A, B, C]);
        assert_eq!([0, 1, 2, 3, 4].map(|n| ring.owner(n).unwrap()), [A, B, C, A, B]);
        assert_eq!(TagRing::new(&[]).owner(7), None);
        assert_eq!(TagRing::default().share(A), 0);
        assert_eq!(ring.share(B), SLOT_COUNT / 3);
    }

    #[test]
    fn a_third_member_moves_two_thirds() {
        let (two, three) = (TagRing::new(&[A, B]), TagRing::new(&[A, B, C]));
        assert_eq!(two.moved(&three), SLOT_COUNT * 4 / 6);
        assert_eq!(two.moved(&two), 0);
        assert_eq!(two.moved(&TagRing::default()), SLOT_COUNT);
    }

    #[test]
    fn a_tag_that_stays_was_taken_over_when_it_came() {
        let owners = owners();
        assert_eq!(owners.owned_since("", A), Some(at(0)));
        owners.set(TagRing::new(&[B, A]), None, at(10));
        assert_eq!((owners.owned_since("", A), owners.owned_since("1", A)), (None, Some(at(0))));
        owners.set(TagRing::new(&[A, B]), None, at(20));
        assert_eq!((owners.owned_since("", A), owners.owned_since("1", A)), (Some(at(20)), None));
        owners.set(TagRing::new(&[A, C]), None, at(30));
        assert_eq!(owners.owned_since("22", A), Some(at(20)));
        assert_eq!((owners.owner("22"), owners.owner("333")), (Some(A), Some(C)));
    }

    #[test]
    fn what_is_no_longer_remembered_makes_nothing_older() {
        let owners = owners();
        for ms in 1..=100 {
            owners.set(TagRing::new(&[A, if ms % 2 == 0 { B } else { C }]), None, at(ms));
        }
        assert_eq!(owners.view.read().rings.len(), MOST_RINGS);
        let since = owners.owned_since("", A).unwrap();
        assert!(since >= at(0) && since <= at(100 - MOST_RINGS as u64 + 1), "{since:?}");
    }

    proptest! {
        #[test]
        fn since_when_is_what_a_tag_by_tag_account_says(
            changes in proptest::collection::vec((0..3_usize, 1..4_usize), 0..MOST_RINGS - 1),
            length in 0..12_usize,
        ) {
            let owners = owners();
            let tag = "x".repeat(length);
            let mut expected = Some(at(0));
            for (n, (turn, count)) in changes.into_iter().enumerate() {
                let mut members = [A, B, C];
                members.rotate_left(turn);
                let ring = TagRing::new(&members[..count]);
                let now = at(n as u64 + 1);
                let is_ours = ring.owner(length as u32) == Some(A);
                expected = is_ours.then(|| expected.unwrap_or(now));
                owners.set(ring, None, now);
                prop_assert_eq!(owners.owned_since(&tag, A), expected);
                prop_assert_eq!(owners.owner(&tag) == Some(A), is_ours);
            }
        }
    }
}
