//! The numbers of requests that this server sends.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Numbers the requests that this process sends to clients, from 1 on. No two are alike, so that
/// an answer belongs to one request whatever connection it comes from.
#[derive(Debug)]
pub(crate) struct RequestIds(AtomicU64);

impl RequestIds {
    /// Begins with 1.
    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(1))
    }

    /// The next number. Its decimal digits are the `requestId`.
    pub(crate) fn next(&self) -> u64 {
        self.0.fetch_add(1, Relaxed)
    }
}
