//! What a running driver lets others see.

use std::sync::Arc;

use distro_core::{MemberId, MemberView, Phase};

/// A member as it was a moment ago, for readiness pages, operators and metrics.
#[derive(Debug, Clone)]
pub struct Status {
    /// What this member says of itself.
    pub phase: Phase,
    /// Why reads are not answered, if they are not.
    pub why_not_ready: Option<&'static str>,
    /// The others, in the order of their ids.
    pub members: Vec<MemberStatus>,
    /// Thirty-seconds of the first load that are left.
    pub load_left: usize,
    /// Calls between members that are under way.
    pub calls_under_way: usize,
    /// Who may own something, if that was told from outside.
    pub owners: Option<Arc<[MemberId]>>,
    /// Times that another set of members came to own slots.
    pub owner_changes: u64,
    /// Slots that have changed their owner in this member's view.
    pub moved_slots: u64,
    /// Times that a member could not be given a record: it is too large, or means nothing to it.
    pub dropped_records: u64,
    /// Whether this member has handed over everything and may end.
    pub has_left: bool,
}

/// Another member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberStatus {
    /// Where it is.
    pub address: Arc<str>,
    /// What is known of it.
    pub view: MemberView,
    /// How far its wall clock was ahead of ours when the last connection to it was opened, in
    /// milliseconds; zero if there was none.
    pub clock_ahead_ms: i64,
}

impl Default for Status {
    /// Before the driver runs.
    fn default() -> Self {
        Self {
            phase: Phase::Joining,
            why_not_ready: Some("starting"),
            members: Vec::new(),
            load_left: 0,
            calls_under_way: 0,
            owners: None,
            owner_changes: 0,
            moved_slots: 0,
            dropped_records: 0,
            has_left: false,
        }
    }
}
