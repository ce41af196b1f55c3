//! All that this member keeps about one other member.

use super::member::Member;
use crate::accounts::Auditor;
use crate::config::DistroConfig;
use crate::connections::Herald;
use crate::renew::Renewer;
use crate::replicate::Replicator;
use crate::stamp::MemberId;
use crate::time::Tick;
use crate::verify::Verifier;

#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) member: Member,
    pub(crate) replicator: Replicator,
    pub(crate) renewer: Renewer,
    pub(crate) verifier: Verifier,
    pub(crate) auditor: Auditor,
    pub(crate) herald: Herald,
    pub(crate) next_probe: Tick,
    pub(crate) is_probing: bool,
    /// As of the last look, to notice when contact is regained.
    pub(crate) was_reachable: bool,
    lost: Option<Lost>,
    pub(crate) knows_of_leave: bool,
    /// The checksum of whom it takes for members; 0 if it has not said.
    pub(crate) members_checksum: u64,
}

impl Peer {
    pub(crate) fn new(id: MemberId, now: Tick) -> Self {
        Self {
            member: Member::new(id),
            replicator: Replicator::default(),
            renewer: Renewer::default(),
            verifier: Verifier::new(now),
            auditor: Auditor::new(now),
            herald: Herald::default(),
            next_probe: now,
            is_probing: false,
            was_reachable: false,
            lost: Some(Lost { incarnation: 0, is_unheard: true }),
            knows_of_leave: false,
            members_checksum: 0,
        }
    }

    /// The start of the member that could not be heard at the last look, if it could not; 0 if none
    /// ever was.
    pub(crate) fn unheard(&self) -> Option<u32> {
        self.lost.as_ref().filter(|lost| lost.is_unheard).map(|lost| lost.incarnation)
    }

    /// Notices that the member can be heard again, or is sure to be gone, and may have heard clients
    /// meanwhile without our being told of it. To be called all the time.
    pub(crate) fn follow_contact(&mut self, config: &DistroConfig, now: Tick) -> bool {
        let incarnation = self.member.incarnation;
        let is_unheard = self.member.is_unheard(config, now);
        let is_gone = self.member.is_surely_gone();
        let Some(lost) = &mut self.lost else {
            self.lost = (is_unheard || is_gone).then_some(Lost { incarnation, is_unheard });
            return false;
        };
        if is_unheard || is_gone {
            // What it heard before it was gone died with it; its clients go to others now.
            return std::mem::replace(&mut lost.is_unheard, is_unheard) && is_gone;
        }
        // Of one that was gone and started anew there is nothing to know.
        let may_have_heard = lost.is_unheard || lost.incarnation == incarnation;
        self.lost = None;
        may_have_heard
    }

    pub(crate) fn is_drained(&self) -> bool {
        self.knows_of_leave && self.replicator.len() == 0 && self.renewer.len() == 0
    }
}

/// A member without contact.
#[derive(Debug)]
struct Lost {
    /// The start of it that was heard last.
    incarnation: u32,
    /// Whether it may have been there all the same.
    is_unheard: bool,
}
