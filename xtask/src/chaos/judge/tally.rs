//! The counts of a row, and the first findings in words.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::At;

/// So many findings are told in words.
const MOST_TOLD: usize = 12;

/// What can be wrong with an instance in a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::chaos) enum Finding {
    Missing,
    Unhealthy,
    LeftDead,
    Resurrected,
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Missing => "is missing though it lives",
            Self::Unhealthy => "is unhealthy though it lives",
            Self::LeftDead => "is still there though it is long dead",
            Self::Resurrected => "is there though it was deregistered",
        })
    }
}

/// What went wrong, and how much was looked at.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(in crate::chaos) struct Tally {
    pub(in crate::chaos) calls: u64,
    /// Of nodes that were ready and reachable, later than the first seconds after a fault.
    pub(in crate::chaos) failed_calls: u64,
    /// The same within these seconds.
    pub(in crate::chaos) failed_early: u64,
    /// Of nodes that were down, frozen or not ready.
    pub(in crate::chaos) failed_elsewhere: u64,
    pub(in crate::chaos) registered_again: u64,
    pub(in crate::chaos) reads: u64,
    pub(in crate::chaos) pushes: u64,
    /// Those of the lists, read or pushed, that came over gRPC.
    pub(in crate::chaos) streamed: u64,
    /// Connections over gRPC that were set up.
    pub(in crate::chaos) connected: u64,
    pub(in crate::chaos) empty_lists: u64,
    pub(in crate::chaos) missing: BTreeSet<usize>,
    pub(in crate::chaos) unhealthy: BTreeSet<usize>,
    pub(in crate::chaos) left_dead: BTreeSet<usize>,
    pub(in crate::chaos) resurrected: BTreeSet<usize>,
    /// Living, but no node had acknowledged a beat of theirs for long: they cannot be judged, and
    /// the row has missed its aim.
    pub(in crate::chaos) unheard: BTreeSet<usize>,
    pub(in crate::chaos) told: Vec<String>,
}

impl Tally {
    /// Instances that live and were seen missing or unhealthy.
    pub(in crate::chaos) fn hurt(&self) -> usize {
        self.missing.union(&self.unhealthy).count()
    }

    /// Whether nothing is wrong.
    pub(in crate::chaos) fn is_clean(&self) -> bool {
        self.failed_calls == 0
            && self.empty_lists == 0
            && self.hurt() == 0
            && self.left_dead.is_empty()
            && self.resurrected.is_empty()
            && self.unheard.is_empty()
    }

    pub(super) fn find(&mut self, finding: Finding, id: usize, at: At, text: String) {
        let set = match finding {
            Finding::Missing => &mut self.missing,
            Finding::Unhealthy => &mut self.unhealthy,
            Finding::LeftDead => &mut self.left_dead,
            Finding::Resurrected => &mut self.resurrected,
        };
        if set.insert(id) {
            self.tell(at, text);
        }
    }

    pub(super) fn tell(&mut self, at: At, text: String) {
        if self.told.len() < MOST_TOLD {
            self.told.push(format!("{:.2} s: {text}", at.as_secs_f64()));
        }
    }
}
