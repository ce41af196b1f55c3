//! When a connection is sent lists, and what its acks mean.

use std::time::Duration;

/// When lists are sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OutboxRules {
    /// So long after the first subscription its list is pushed although the reply had it: some
    /// clients tell their application of pushes alone. Default 500 ms, as in Nacos.
    pub(crate) first_push: Duration,
    /// Without ack for this long a list is sent again, as it is then. Default 5 s, as in Nacos.
    pub(crate) ack_timeout: Duration,
    /// A newer list waits so long for the ack of the one before. Default 500 ms.
    pub(crate) replace_after: Duration,
    /// So long after the first error ack a list is sent again. Default 1 s, as in Nacos.
    pub(crate) retry_after_error: Duration,
    /// A connection that has acked nothing of a service for so long is closed. Default 15 s: three
    /// sends.
    pub(crate) close_after: Duration,
}

impl Default for OutboxRules {
    fn default() -> Self {
        Self {
            first_push: Duration::from_millis(500),
            ack_timeout: Duration::from_secs(5),
            replace_after: Duration::from_millis(500),
            retry_after_error: Duration::from_secs(1),
            close_after: Duration::from_secs(15),
        }
    }
}

/// What an ack meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    /// The client has the list.
    Acked,
    /// The client could not take the list. It comes once more soon, later ones as without an ack.
    Failed,
    /// It has acked an earlier list than the one in flight: it lives.
    Lives,
    /// Nothing waits for it: late, doubled, or made up.
    Unknown,
}
