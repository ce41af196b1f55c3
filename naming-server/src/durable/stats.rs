//! Counters of the keeper, read by the metrics page.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Upper bounds in milliseconds of the buckets of the time a flush takes; one more bucket takes
/// the rest.
pub(crate) const FLUSH_BOUNDS_MS: [u64; 9] = [1, 2, 5, 10, 20, 50, 100, 500, 1_000];

/// What the keeper counts.
#[derive(Debug, Default)]
pub(crate) struct KeeperStats {
    written: AtomicU64,
    failed: AtomicU64,
    flush_counts: [AtomicU64; FLUSH_BOUNDS_MS.len() + 1],
    flush_sum_us: AtomicU64,
}

impl KeeperStats {
    /// A flush that took this long has written this many records.
    pub(super) fn note_flush(&self, records: usize, took: Duration) {
        self.written.fetch_add(records as u64, Relaxed);
        let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = FLUSH_BOUNDS_MS.partition_point(|bound_ms| bound_ms * 1_000 < took_us);
        if let Some(count) = self.flush_counts.get(bucket) {
            count.fetch_add(1, Relaxed);
        }
        self.flush_sum_us.fetch_add(took_us, Relaxed);
    }

    pub(super) fn note_failure(&self) {
        self.failed.fetch_add(1, Relaxed);
    }

    /// Records written since the start.
    pub(crate) fn written(&self) -> u64 {
        self.written.load(Relaxed)
    }

    /// Flushes that failed since the start.
    pub(crate) fn failed(&self) -> u64 {
        self.failed.load(Relaxed)
    }

    /// How many flushes fell into each bucket of [`FLUSH_BOUNDS_MS`] (not cumulative).
    pub(crate) fn flushes(&self) -> [u64; FLUSH_BOUNDS_MS.len() + 1] {
        std::array::from_fn(|bucket| self.flush_counts[bucket].load(Relaxed))
    }

    /// Time that all flushes took together.
    pub(crate) fn flush_sum(&self) -> Duration {
        Duration::from_micros(self.flush_sum_us.load(Relaxed))
    }
}
