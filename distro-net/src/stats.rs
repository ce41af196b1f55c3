//! What passes between this member and the others, in numbers.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::auth::Refusal;
use crate::unread::Unreads;

/// Counters since the start of this member. Shared by [`Peers`](crate::Peers) and
/// [`Service`](crate::Service).
#[derive(Debug, Default)]
pub struct PeerStats {
    answered: AtomicU64,
    sessions: AtomicU64,
    refused: [AtomicU64; Refusal::ALL.len()],
    pub(crate) calls: Calls,
    pub(crate) unreads: Unreads,
}

#[derive(Debug, Default)]
pub(crate) struct Calls {
    pub(crate) answered: AtomicU64,
    pub(crate) unanswered: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) rejected: AtomicU64,
    pub(crate) not_taken: AtomicU64,
    pub(crate) sent_bytes: AtomicU64,
    pub(crate) received_bytes: AtomicU64,
}

/// The outcomes of this member's own calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CallCounts {
    /// Answered in time.
    pub answered: u64,
    /// Not answered in time, or the connection broke.
    pub unanswered: u64,
    /// Nobody listened there.
    pub refused: u64,
    /// The other member did not accept us, or we did not accept its proof. Counted as not
    /// answered, too.
    pub rejected: u64,
    /// Too large to be sent, or without meaning to the other member.
    pub not_taken: u64,
    /// Bytes of messages sent, without HTTP around them.
    pub sent_bytes: u64,
    /// Bytes of messages received, without HTTP around them.
    pub received_bytes: u64,
}

impl PeerStats {
    /// Requests of other members that were answered.
    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// Sessions that other members began here.
    pub fn sessions(&self) -> u64 {
        self.sessions.load(Ordering::Relaxed)
    }

    /// Requests that were refused for this reason. They had no effect.
    pub fn refused(&self, reason: Refusal) -> u64 {
        self.counter(reason).map_or(0, |counter| counter.load(Ordering::Relaxed))
    }

    /// How often a record of another member could not be read, and was kept out. One that stays is
    /// counted again whenever it is given.
    pub fn unread_records(&self) -> u64 {
        self.unreads.count()
    }

    /// The outcomes of this member's own calls.
    pub fn calls(&self) -> CallCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        CallCounts {
            answered: read(&self.calls.answered),
            unanswered: read(&self.calls.unanswered),
            refused: read(&self.calls.refused),
            rejected: read(&self.calls.rejected),
            not_taken: read(&self.calls.not_taken),
            sent_bytes: read(&self.calls.sent_bytes),
            received_bytes: read(&self.calls.received_bytes),
        }
    }

    pub(crate) fn count_answer(&self) {
        add(&self.answered, 1);
    }

    pub(crate) fn count_session(&self) {
        add(&self.sessions, 1);
    }

    pub(crate) fn count_refusal(&self, reason: Refusal) {
        if let Some(counter) = self.counter(reason) {
            add(counter, 1);
        }
    }

    fn counter(&self, reason: Refusal) -> Option<&AtomicU64> {
        let index = Refusal::ALL.iter().position(|of| *of == reason)?;
        self.refused.get(index)
    }
}

pub(crate) fn add(counter: &AtomicU64, count: usize) {
    counter.fetch_add(count as u64, Ordering::Relaxed);
}
