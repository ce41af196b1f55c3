//! The outbox of a connection at made-up times, and connections among the subscribers.

mod laws;
mod rules;
mod subscribing;

use std::sync::Arc;
use std::time::Duration;

use naming_model::ServiceKey;
use tokio::time::Instant;

use super::outbox::{Due, Silent};
use super::rules::Heard;
use super::*;
use crate::push::stats::PushStats;

const RULES: OutboxRules = OutboxRules {
    first_push: Duration::from_millis(500),
    ack_timeout: Duration::from_secs(5),
    replace_after: Duration::from_millis(500),
    retry_after_error: Duration::from_secs(1),
    close_after: Duration::from_secs(15),
};

fn key(service: &str) -> ServiceKey {
    ServiceKey::parse("public", service).unwrap()
}

fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// An outbox with a clock that is moved by hand.
struct Bench {
    outbox: Outbox,
    stats: Arc<PushStats>,
    start: Instant,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        let stats = Arc::<PushStats>::default();
        let outbox = Outbox::new(RULES, Arc::new(RequestIds::new()), Arc::clone(&stats));
        let start = Instant::now();
        Self { outbox, stats, start, now: start }
    }

    /// Subscribed to `g@@s`, whose first push is acked; the clock is at 1 s.
    fn at_rest() -> Self {
        let mut bench = Self::new();
        bench.subscribe("g@@s", "");
        bench.at(1_000);
        let first = bench.send().unwrap();
        assert_eq!(bench.ack(&first), Heard::Acked);
        bench
    }

    fn subscribe(&mut self, service: &str, clusters: &str) -> bool {
        self.outbox.subscribe(&key(service), clusters.into(), self.now)
    }

    fn change(&mut self, service: &str) {
        self.outbox.changed(&key(service), self.now, self.now);
    }

    /// Moves the clock to so many milliseconds after the start, on the way to each deadline.
    fn at(&mut self, at_ms: u64) {
        self.try_at(at_ms).unwrap();
    }

    fn try_at(&mut self, at_ms: u64) -> Result<(), Silent> {
        let end = self.start + millis(at_ms);
        while let Some(deadline) = self.outbox.deadline().filter(|deadline| *deadline <= end) {
            self.now = self.now.max(deadline);
            self.outbox.timed_out(self.now)?;
        }
        self.now = end;
        Ok(())
    }

    fn send(&mut self) -> Option<Due> {
        self.outbox.next(self.now)
    }

    fn ack(&mut self, due: &Due) -> Heard {
        self.outbox.acked(due.request_id, true, self.now)
    }

    fn fail(&mut self, due: &Due) -> Heard {
        self.outbox.acked(due.request_id, false, self.now)
    }
}
