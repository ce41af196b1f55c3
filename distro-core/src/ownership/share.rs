//! Sharing everything out anew when the members that may own something have changed.

use std::collections::BTreeSet;

use super::{OwnerPolicy, Ring, TagRing};
use crate::distro::{Distro, Output};
use crate::membership::Phase;
use crate::record::Value;
use crate::slot::{Slot, SlotSet};
use crate::stamp::MemberId;
use crate::time::Tick;

/// How everything is shared out at present, and by what.
#[derive(Debug)]
pub(crate) struct Shares {
    /// Who may own something, as this member finds, in the order of their ids.
    eligible: Vec<MemberId>,
    /// All members, this one among them, in the order that was told.
    order: Vec<MemberId>,
    /// Who may own something in the order that counts, as it was told from outside; members among
    /// them that are no peers do not speak this protocol.
    owners: Option<Vec<MemberId>>,
    ring: Ring,
    /// Instead of the ring of slots, where tags fall to members one by one.
    tag_ring: TagRing,
    /// The members of that which speak this protocol; `None` if all do.
    speakers: Option<BTreeSet<MemberId>>,
}

impl Shares {
    /// Everything is this member's.
    pub(crate) fn of(member: MemberId) -> Self {
        Self {
            eligible: vec![member],
            order: vec![member],
            owners: None,
            ring: Ring::new(&[member]),
            tag_ring: TagRing::new(&[member]),
            speakers: None,
        }
    }

    pub(crate) fn set_order(&mut self, order: Vec<MemberId>) {
        self.order = order;
    }

    pub(crate) fn owners(&self) -> Option<&[MemberId]> {
        self.owners.as_deref()
    }

    pub(crate) fn set_owners(&mut self, owners: Vec<MemberId>) {
        self.owners = Some(owners);
    }

    /// The slots that a member owns.
    pub(crate) fn slots_of(&self, member: MemberId) -> SlotSet {
        Slot::all().filter(|slot| self.ring.owner(*slot) == Some(member)).collect()
    }
}

impl<V: Value, A: Default + Send + Sync + 'static> Distro<V, A> {
    /// Works out who may own something, and puts that into force if it has changed.
    pub(crate) fn share_out(&mut self, now: Tick) {
        let eligible = self.eligible(now);
        if matches!(self.store.config().owner_policy, OwnerPolicy::Tags(_)) {
            self.share_tags(&eligible, now);
        } else if eligible != self.shares.eligible {
            self.share_slots(&eligible, now);
        }
        self.shares.eligible = eligible;
    }

    fn eligible(&self, now: Tick) -> Vec<MemberId> {
        let peers = self.peers.values();
        let eligible = peers.filter(|peer| peer.member.is_eligible(&self.config, now));
        let mut eligible: Vec<MemberId> = eligible.map(|peer| peer.member.id).collect();
        if self.phase == Phase::Up {
            eligible.push(self.store.clock().member());
        }
        eligible.sort_unstable();
        eligible
    }

    fn share_slots(&mut self, eligible: &[MemberId], now: Tick) {
        let ring = Ring::new(eligible);
        let moved: Vec<Slot> = self.shares.ring.moved(&ring).collect();
        for slot in &moved {
            self.store.set_owner(*slot, ring.owner(*slot), now);
        }
        self.outputs.push_back(Output::Moved(moved.len()));
        self.shares.ring = ring;
        let me = Some(self.store.clock().member());
        let (won, lost): (Vec<Slot>, _) =
            moved.into_iter().partition(|slot| self.shares.ring.owner(*slot) == me);
        self.ask_no_more(&lost.into_iter().collect());
        self.ask_for(&won.into_iter().collect(), None, now);
    }

    fn share_tags(&mut self, eligible: &[MemberId], now: Tick) {
        let me = self.store.clock().member();
        let (members, speakers): (Vec<MemberId>, _) = match &self.shares.owners {
            None => {
                let is_eligible = |id: &&MemberId| eligible.contains(id);
                (self.shares.order.iter().filter(is_eligible).copied().collect(), None)
            }
            Some(owners) => {
                let may_own = |id: &&MemberId| **id != me || self.phase == Phase::Up;
                let speakers = self.peers.keys().copied().chain([me]).collect();
                (owners.iter().filter(may_own).copied().collect(), Some(speakers))
            }
        };
        let ring = TagRing::new(&members);
        if ring != self.shares.tag_ring {
            self.outputs.push_back(Output::Moved(self.shares.tag_ring.moved(&ring)));
        } else if speakers == self.shares.speakers {
            return;
        }
        self.store.set_tag_ring(ring.clone(), speakers.clone(), now);
        self.shares.tag_ring = ring;
        self.shares.speakers = speakers;
    }
}
