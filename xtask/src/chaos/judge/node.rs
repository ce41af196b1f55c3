//! What is known of a node: done to it by whoever runs the row, or said by itself.

use super::At;

/// What can be expected of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::chaos) enum State {
    /// Not started, killed, or told to leave.
    Down,
    /// Running; it has not called itself ready since it was started or resumed.
    NotReady,
    /// Stopped with SIGSTOP.
    Paused,
    /// It has called itself ready, and nothing was done to its process since.
    Ready { since: At },
}

impl State {
    /// Whether the node had to answer a call begun at `begun` that ended just now.
    pub(super) fn was_ready_since(self, begun: At) -> bool {
        matches!(self, Self::Ready { since } if since <= begun)
    }
}
