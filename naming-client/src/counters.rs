//! What a client has done, counted.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, more: u64) {
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
    /// Counts one attempt of a call.
    pub(crate) fn note(&self, transport: &'static str, is_answered: bool) {
        let _ = transport;
        match is_answered {
            true => self.answered.add(1),
            false => self.failed.add(1),
        }
    }
}
