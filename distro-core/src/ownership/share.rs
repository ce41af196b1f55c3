//! Sharing slots or tags out anew when the members that may own some have changed.

use crate::distro::{Distro, Output};
use crate::membership::Phase;
use crate::ownership::{Ring, TagRing};
use crate::record::Value;
use crate::slot::Slot;
use crate::stamp::MemberId;
use crate::time::Tick;

impl<V: Value, A: Default + Send + Sync + 'static> Distro<V, A> {
    pub(crate) fn share_slots(&mut self, eligible: &[MemberId], now: Tick) {
        let ring = Ring::new(eligible);
        let moved: Vec<Slot> = self.ring.moved(&ring).collect();
        for slot in &moved {
            self.store.set_owner(*slot, ring.owner(*slot), now);
        }
        self.outputs.push_back(Output::Moved(moved.len()));
        self.ring = ring;
        let me = Some(self.store.clock().member());
        let (won, lost): (Vec<Slot>, _) =
            moved.into_iter().partition(|slot| self.ring.owner(*slot) == me);
        self.ask_no_more(&lost.into_iter().collect());
        self.ask_for(&won.into_iter().collect(), None, now);
    }

    pub(crate) fn share_tags(&mut self, eligible: &[MemberId], now: Tick) {
        let me = self.store.clock().member();
        let (members, ours): (Vec<MemberId>, _) = match &self.owners {
            None => {
                let is_eligible = |id: &&MemberId| eligible.contains(id);
                (self.order.iter().filter(is_eligible).copied().collect(), None)
            }
            Some(owners) => {
                let may_own = |id: &&MemberId| **id != me || self.phase == Phase::Up;
                let ours = self.peers.keys().copied().chain([me]).collect();
                (owners.iter().filter(may_own).copied().collect(), Some(ours))
            }
        };
        let ring = TagRing::new(&members);
        if ring != self.tag_ring {
            self.outputs.push_back(Output::Moved(self.tag_ring.moved(&ring)));
        } else if ours == self.shared_with {
            return;
        }
        self.store.set_tag_ring(ring.clone(), ours.clone(), now);
        self.tag_ring = ring;
        self.shared_with = ours;
    }
}
