//! The part of `/metrics` that tells of the data on disk. A server in memory only has none.

use super::Api;
use crate::durable::FLUSH_BOUNDS_MS;
use crate::metrics::{Histogram, Metric};

impl Api {
    pub(super) fn durable_metrics(&self) -> Vec<Metric> {
        let Some(keeper) = &self.keeper else { return Vec::new() };
        let stats = keeper.stats();
        let failing = if keeper.failure().is_some() { 1.0 } else { 0.0 };
        let waiting = keeper.waiting() as f64;
        let bounds = FLUSH_BOUNDS_MS.iter().map(|bound_ms| *bound_ms as f64 / 1_000.0);
        let flushes = Histogram {
            sum: stats.flush_sum().as_secs_f64(),
            buckets: bounds.chain([f64::INFINITY]).zip(stats.flushes()).collect(),
        };
        vec![
            Metric::gauge(
                "naming_durable_failing",
                "1 if data cannot be saved at present.",
                failing,
            ),
            Metric::gauge("naming_durable_waiting", "Records that are yet to be saved.", waiting),
            Metric::counter("naming_durable_saved", "Records saved.", stats.written()),
            Metric::counter("naming_durable_failures", "Flushes that failed.", stats.failed()),
            Metric::histogram("naming_durable_flush_seconds", "Seconds a flush takes.", flushes),
        ]
    }
}
