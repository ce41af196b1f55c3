//! Counts of beats, for metrics.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Beats since the start, by what became of them.
#[derive(Debug, Default)]
pub(crate) struct BeatCounts {
    known: AtomicU64,
    late: AtomicU64,
    registered: AtomicU64,
    unknown: AtomicU64,
}

/// What became of a beat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BeatOutcome {
    /// It renewed the lease of its instance.
    Known,
    /// Its instance had been deregistered a moment before.
    Late,
    /// It registered its instance.
    Registered,
    /// Nobody knows its instance.
    Unknown,
}

impl BeatCounts {
    /// Counts one.
    pub(crate) fn count(&self, outcome: BeatOutcome) {
        self.counter(outcome).fetch_add(1, Relaxed);
    }

    /// All counts with the words for them.
    pub(crate) fn all(&self) -> [(&'static str, u64); 4] {
        [
            ("known", self.known.load(Relaxed)),
            ("late", self.late.load(Relaxed)),
            ("registered", self.registered.load(Relaxed)),
            ("unknown", self.unknown.load(Relaxed)),
        ]
    }

    fn counter(&self, outcome: BeatOutcome) -> &AtomicU64 {
        match outcome {
            BeatOutcome::Known => &self.known,
            BeatOutcome::Late => &self.late,
            BeatOutcome::Registered => &self.registered,
            BeatOutcome::Unknown => &self.unknown,
        }
    }
}
