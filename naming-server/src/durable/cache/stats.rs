//! Counters of the cache, read by the metrics page.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};

/// What the cache counts.
#[derive(Debug, Default)]
pub(crate) struct CacheStats {
    pub(super) bytes: AtomicU64,
    pub(super) queued: AtomicUsize,
    pub(super) failing: AtomicBool,
}

impl CacheStats {
    /// Bytes written since the start.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// Whether the file cannot be written at present.
    pub(crate) fn is_failing(&self) -> bool {
        self.failing.load(Relaxed)
    }

    pub(super) fn queued(&self) -> usize {
        self.queued.load(Relaxed)
    }
}
