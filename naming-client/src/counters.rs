//! What a client has done, counted.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub(crate) fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The numbers of a client.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Calls that were answered, and that were not.
    pub(crate) answered: Counter,
    pub(crate) failed: Counter,
    /// Lists that servers have told by themselves.
    pub(crate) pushes: Counter,
    /// Connections that were lost.
    pub(crate) reconnects: Counter,
}

impl Counters {
    /// Counts a list that a server has told by itself.
    pub(crate) fn note_push(&self) {
        #[cfg(feature = "metrics")]
        metrics::counter!("naming_client_pushes_total").increment(1);
        self.pushes.add(1);
    }

    /// Counts a connection that was lost.
    #[cfg(feature = "grpc")]
    pub(crate) fn note_loss(&self) {
        #[cfg(feature = "metrics")]
        metrics::counter!("naming_client_connections_lost_total").increment(1);
        self.reconnects.add(1);
    }

    /// Counts one attempt of a call.
    pub(crate) fn note(&self, transport: &'static str, is_answered: bool) {
        #[cfg(feature = "metrics")]
        metrics::counter!(
            "naming_client_calls_total",
            "transport" => transport,
            "outcome" => if is_answered { "answered" } else { "failed" }
        )
        .increment(1);
        #[cfg(not(feature = "metrics"))]
        let _ = transport;
        match is_answered {
            true => self.answered.add(1),
            false => self.failed.add(1),
        }
    }
}
