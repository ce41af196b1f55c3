//! When a delivery needs the next look.

use std::cmp::{Ordering, Reverse};
use std::sync::Arc;

use tokio::time::Instant;

use super::Subscription;

/// Says when to look at a delivery. The one whose time does not match `ticket_at` is void.
pub(in crate::push) struct Ticket {
    pub(in crate::push) at: Reverse<Instant>,
    pub(in crate::push) subscription: Arc<Subscription>,
}

impl Ord for Ticket {
    fn cmp(&self, other: &Self) -> Ordering {
        self.at.cmp(&other.at)
    }
}

impl PartialOrd for Ticket {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ticket {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl Eq for Ticket {}
