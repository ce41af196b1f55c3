//! What the driver tells the control plane ([`Input`]) and what it is asked to do ([`Output`]).

use std::time::Duration;

use crate::lease::JudgeTerms;
use crate::membership::{MemberState, Phase};
use crate::message::{Reply, Request};
use crate::record::RecordId;
use crate::stamp::MemberId;
use crate::time::Tick;

/// Names a call to another member, so that its outcome can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub u64);

/// What the control plane of a member is told.
#[derive(Debug)]
pub enum Input<V> {
    /// Time has passed.
    Tick,
    /// Records were written here: there may be something to send. Only a hint; what is not told
    /// is found with the next tick.
    Changed,
    /// A call was answered.
    Answered(CallId, Reply<V>),
    /// A call was not answered by its deadline, or its connection broke.
    NoAnswer(CallId),
    /// The request of a call could not be sent because it is too large, or the member could make
    /// nothing of it: sending it again would fail again.
    NotTaken(CallId),
    /// The connection for a call was refused: nobody listens there.
    Refused(CallId),
    /// The members are these from now on; this one need not be among them. Where tags fall to
    /// members one by one ([`OwnerPolicy::Tags`](crate::OwnerPolicy::Tags)) their order counts,
    /// and this one should stand in its place: it comes last otherwise.
    Members(Vec<MemberId>),
    /// Where tags fall to members one by one: these may own something from now on, in this order,
    /// instead of the members that this one finds. Those which are not among the
    /// [`Self::Members`] do not speak this protocol; what they own is
    /// [foreign](crate::Store::is_foreign). This member is left out while it is not
    /// [up](Phase::Up).
    Owners(Vec<MemberId>),
    /// This process is asked to stop: hand everything over.
    Leave,
    /// An operator switched the judging of silence on or off.
    Judging(bool),
}

/// What the driver is asked to do.
#[derive(Debug)]
pub enum Output<V> {
    /// Judge the leases that are due, on these terms
    /// ([`Store::judge`](crate::Store::judge) until it has none left).
    Judge(JudgeTerms),
    /// Send a request to a member and tell what comes of it.
    Send {
        /// Names the call in the input that reports its outcome.
        call: CallId,
        /// The member to ask.
        to: MemberId,
        /// The request.
        request: Request<V>,
        /// When it was put together, which the member is to be told ([`Passage`](crate::Passage)):
        /// ages in it are as of then, and not of when it leaves.
        as_of: Tick,
        /// After so long without an answer it counts as not answered. A connection that missed a
        /// deadline must not be used again.
        deadline: Duration,
    },
    /// This process was stopped or starved for so long. Worth a line in the log.
    Paused(Duration),
    /// A member changed its state, as this one sees it. Worth a line in the log.
    Member(MemberId, MemberState),
    /// So many slots have another owner than before.
    Moved(usize),
    /// The list of some member has begun to differ from this one's, or no list differs any more.
    /// Worth a warning: until all lists are the same, the dead stay for minutes.
    ListsDiffer(bool),
    /// Writes of another member were left out because their stamps are centuries ahead, for the
    /// first time. Worth an error in the log: a member, or a disk, is broken.
    Disbelieved,
    /// A member can make nothing of a record, or it is too large to be sent: it was not told of
    /// it. Worth an error in the log.
    Dropped(MemberId, RecordId),
    /// This member has reached a phase.
    Phase(Phase),
    /// All is handed over, or the time for it is up: the process may end.
    Left,
}

/// What is known of another member, for operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemberView {
    /// The member.
    pub member: MemberId,
    /// Its state, as this member sees it.
    pub state: MemberState,
    /// Its phase, as it said.
    pub phase: Phase,
    /// Its start number.
    pub incarnation: u32,
    /// Keys that it has not been told of.
    pub queued_keys: usize,
    /// For how long the oldest of these may have been waiting.
    pub lag: Duration,
    /// Beats that wait for it.
    pub queued_beats: usize,
    /// Whether its list of members is the same as this one's, as far as it has said.
    pub agrees_on_members: bool,
    /// Slots in which it was found to differ, since this member started.
    pub differences: u64,
}
