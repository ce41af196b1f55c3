//! What UDP keeps of a service: how long its packets are, and when those that were put off may go.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::{PacketSize, Subscription};
use crate::registry::Flavour;

/// Beside a service that somebody listens to.
#[derive(Debug, Default)]
pub(in crate::push) struct UdpPace {
    size: Mutex<Option<KnownSize>>,
    /// When those whose packets were put off may be pushed to again.
    next_extra: Mutex<Option<Instant>>,
}

/// How long the packets of a kind are in one state of the service.
#[derive(Debug)]
struct KnownSize {
    clusters: Arc<str>,
    flavour: Flavour,
    revision: u64,
    size: Option<PacketSize>,
}

impl UdpPace {
    /// How long a packet for this subscription is in this state of the service; `None` if it is
    /// too long for any. What was found out by `measure` is kept for the next one of the kind.
    pub(in crate::push) fn packet_size(
        &self,
        subscription: &Subscription,
        revision: u64,
        measure: impl FnOnce() -> Option<PacketSize>,
    ) -> Option<PacketSize> {
        let (clusters, flavour) = subscription.kind();
        if let Some(known) = &*self.size.lock()
            && (&*known.clusters, known.flavour, known.revision) == (clusters, flavour, revision)
        {
            return known.size;
        }
        let size = measure();
        let clusters = Arc::clone(&subscription.subscriber.clusters);
        *self.size.lock() = Some(KnownSize { clusters, flavour, revision, size });
        size
    }

    /// Whether those whose packets were put off may be pushed to now, and the next ones not for
    /// `pause`; or when.
    pub(in crate::push) fn begin_extra(
        &self,
        now: Instant,
        pause: Duration,
    ) -> Result<(), Instant> {
        let mut next_extra = self.next_extra.lock();
        if let Some(next) = next_extra.filter(|next| now < *next) {
            return Err(next);
        }
        *next_extra = Some(now + pause);
        Ok(())
    }
}
