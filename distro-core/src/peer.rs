//! All that a member keeps about another one.

use crate::member::Member;
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
    pub(crate) next_probe: Tick,
    pub(crate) is_probing: bool,
    /// As of the last look, to notice when contact is regained.
    pub(crate) was_reachable: bool,
    /// The start of the member that could not be heard, if it could not.
    pub(crate) unheard: Option<u32>,
    pub(crate) knows_of_leave: bool,
    /// The checksum of whom it takes for members; 0 if it has not said.
    pub(crate) list: u64,
}

impl Peer {
    pub(crate) fn new(id: MemberId, now: Tick) -> Self {
        Self {
            member: Member::new(id),
            replicator: Replicator::default(),
            renewer: Renewer::default(),
            verifier: Verifier::new(now),
            next_probe: now,
            is_probing: false,
            was_reachable: false,
            unheard: Some(0),
            knows_of_leave: false,
            list: 0,
        }
    }

    pub(crate) fn is_drained(&self) -> bool {
        self.knows_of_leave && self.replicator.len() == 0 && self.renewer.len() == 0
    }
}
