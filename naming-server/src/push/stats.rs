//! Counters of the pusher, read by the metrics page and the push state.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Upper bounds in milliseconds of the buckets of the push delay; one more bucket takes the rest.
pub(crate) const DELAY_BOUNDS_MS: [u64; 10] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000];

/// What the pusher counts. All but the gauges only grow.
#[derive(Debug, Default)]
pub(crate) struct PushStats {
    /// Packets sent for the first time.
    pub(crate) sent: Counter,
    /// Packets sent a second time.
    pub(crate) resent: Counter,
    /// Packets whose ack arrived.
    pub(crate) acked: Counter,
    /// Packets given up without ack.
    pub(crate) failed: Counter,
    /// Sends the operating system refused, as for an address without a route.
    pub(crate) send_errors: Counter,
    /// Sends put off because the buffer of the socket was full.
    pub(crate) blocked: Counter,
    /// Packets not sent since the agent could not read so much at once, or had to ack something
    /// shorter first.
    pub(crate) too_large: Counter,
    /// Packets without a list, to find out whether somebody at an address wants packets.
    pub(crate) probes: Counter,
    /// Packets put off or not sent again since their address had its bytes of the second.
    pub(crate) over_budget: Counter,
    /// Subscriptions refused: limits, and addresses nobody can be reached at.
    pub(crate) refused: Counter,
    /// Datagrams on the push socket that are no ack.
    pub(crate) garbage: Counter,
    /// Acks for a packet that is not outstanding (late, doubled or forged).
    pub(crate) unknown_acks: Counter,
    /// Gauge: subscriptions known now.
    pub(crate) subscribers: Counter,
    /// Gauge: bytes of the texts of those subscriptions.
    pub(crate) subscriber_bytes: Counter,
    /// Gauge: subscriptions that are parked now because they never ack.
    pub(crate) parked: Counter,
    /// From a change to the first packet about it.
    pub(crate) delay: DelayHistogram,
    /// What streams get.
    pub(crate) streams: StreamStats,
}

/// What is counted of lists on streams. All only grow.
#[derive(Debug, Default)]
pub(crate) struct StreamStats {
    /// Lists sent for the first time.
    pub(crate) sent: Counter,
    /// Lists sent once more: no ack came in time, or the client said that it failed.
    pub(crate) resent: Counter,
    /// Lists whose ack arrived.
    pub(crate) acked: Counter,
    /// Answers of clients that could not take a list.
    pub(crate) failed: Counter,
    /// Connections closed since they acked nothing for too long.
    pub(crate) closed: Counter,
    /// From a change to the list about it, on each connection.
    pub(crate) delay: DelayHistogram,
    /// From a list to its ack.
    pub(crate) ack_delay: DelayHistogram,
}

impl PushStats {
    /// Notes how long after a change its first packet left.
    pub(crate) fn observe_delay(&self, delay: Duration) {
        self.delay.observe(delay);
    }

    /// Packets and lists on streams that were sent for the first time, and acked.
    pub(super) fn sent_and_acked(&self) -> (u64, u64) {
        let Self { sent, acked, streams, .. } = self;
        (sent.value() + streams.sent.value(), acked.value() + streams.acked.value())
    }
}

/// A number that any thread may change and read. Orders nothing.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// The number now.
    pub(crate) fn value(&self) -> u64 {
        self.0.load(Relaxed)
    }

    pub(super) fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Relaxed);
    }

    pub(super) fn increment(&self) {
        self.add(1);
    }

    pub(super) fn subtract(&self, amount: u64) {
        self.0.fetch_sub(amount, Relaxed);
    }

    /// Adds one unless the number has reached `limit`.
    pub(super) fn increment_below(&self, limit: u64) -> bool {
        self.add_within(1, limit)
    }

    /// Adds `amount` unless the number would pass `limit`.
    pub(super) fn add_within(&self, amount: u64, limit: u64) -> bool {
        let more = |now: u64| now.checked_add(amount).filter(|sum| *sum <= limit);
        self.0.try_update(Relaxed, Relaxed, more).is_ok()
    }
}

/// Delays in fixed buckets.
#[derive(Debug, Default)]
pub(crate) struct DelayHistogram {
    counts: [AtomicU64; DELAY_BOUNDS_MS.len() + 1],
    sum_us: AtomicU64,
}

impl DelayHistogram {
    /// Counts a delay.
    pub(super) fn observe(&self, delay: Duration) {
        let delay_us = u64::try_from(delay.as_micros()).unwrap_or(u64::MAX);
        let bucket = DELAY_BOUNDS_MS.partition_point(|bound_ms| bound_ms * 1_000 < delay_us);
        if let Some(count) = self.counts.get(bucket) {
            count.fetch_add(1, Relaxed);
        }
        self.sum_us.fetch_add(delay_us, Relaxed);
    }

    /// How many delays fell into each bucket of [`DELAY_BOUNDS_MS`] (not cumulative; the last
    /// one is for those above the greatest bound).
    pub(crate) fn buckets(&self) -> [u64; DELAY_BOUNDS_MS.len() + 1] {
        std::array::from_fn(|bucket| self.counts[bucket].load(Relaxed))
    }

    /// Sum of all delays.
    pub(crate) fn sum(&self) -> Duration {
        Duration::from_micros(self.sum_us.load(Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_counts_in_the_bucket_that_bounds_it() {
        let stats = PushStats::default();
        for micros in [0, 1_000, 1_001, 20_000, 1_000_000, 1_000_001] {
            stats.observe_delay(Duration::from_micros(micros));
        }
        assert_eq!(stats.delay.buckets(), [2, 1, 0, 0, 1, 0, 0, 0, 0, 1, 1]);
        assert_eq!(stats.delay.sum(), Duration::from_micros(2_022_002));
    }

    #[test]
    fn a_limit_is_never_passed() {
        let counter = Counter::default();
        assert!(counter.increment_below(1));
        assert!(!counter.increment_below(1));
        assert_eq!(counter.value(), 1);
        assert!(!counter.add_within(3, 3));
        assert!(counter.add_within(2, 3));
        assert!(!counter.add_within(u64::MAX, u64::MAX));
        assert_eq!(counter.value(), 3);
    }
}
