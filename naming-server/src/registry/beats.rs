//! Counts of beats, for metrics.

use crate::metrics::Counters;

/// Beats since the start, by what became of them.
#[derive(Debug)]
pub(crate) struct BeatCounts(Counters);

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

impl Default for BeatCounts {
    fn default() -> Self {
        Self(Counters::new(4))
    }
}

impl BeatCounts {
    /// Counts one.
    pub(crate) fn count(&self, outcome: BeatOutcome) {
        self.0.add(outcome as usize);
    }

    /// All counts with the words for them.
    pub(crate) fn all(&self) -> [(&'static str, u64); 4] {
        use BeatOutcome::{Known, Late, Registered, Unknown};
        [(Known, "known"), (Late, "late"), (Registered, "registered"), (Unknown, "unknown")]
            .map(|(outcome, word)| (word, self.0.value(outcome as usize)))
    }
}
