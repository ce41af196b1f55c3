//! How often one address may call, by what it calls for.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::{Caller, Naming, NamingError};
use crate::networks::Networks;
use crate::pace::Pace;
use crate::source_rates::SourceRates;

/// Lines about refused calls, and in which time.
const LINES: u32 = 10;
const PERIOD: Duration = Duration::from_secs(60);

/// What a call is counted among.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallKind {
    /// It changes nothing.
    Read,
    /// It changes something.
    Write,
    /// A beat of a client of 1.x.
    Beat,
}

impl CallKind {
    /// All, with their names, in the order of [`RateSettings::most`].
    pub(crate) const ALL: [(Self, &'static str); 3] =
        [(Self::Read, "read"), (Self::Write, "write"), (Self::Beat, "beat")];

    fn refusal(self) -> &'static str {
        match self {
            Self::Read => {
                "too many reads from this address in a second (limits.reads_per_second_per_source)"
            }
            Self::Write => {
                "too many writes from this address in a second (limits.writes_per_second_per_source)"
            }
            Self::Beat => {
                "too many beats from this address in a second (limits.beats_per_second_per_source)"
            }
        }
    }
}

/// How often one address may call in a second.
#[derive(Debug, Clone, Default)]
pub(crate) struct RateSettings {
    /// By kind; 0 for any number.
    pub(crate) most: [u32; CallKind::ALL.len()],
    /// Whose calls are not counted.
    pub(crate) exempt: Networks,
}

/// What was called for in this second, by address.
#[derive(Default)]
pub(super) struct Rates {
    /// Whether anything is counted at all: nearly nobody sets a limit.
    is_on: AtomicBool,
    settings: ArcSwap<RateSettings>,
    counts: [SourceRates; CallKind::ALL.len()],
    refused: [AtomicU64; CallKind::ALL.len()],
    lines: Lines,
}

/// Lines about refused calls.
struct Lines(Mutex<Pace>);

impl Default for Lines {
    fn default() -> Self {
        Self(Mutex::new(Pace::new(LINES, PERIOD)))
    }
}

impl Naming {
    /// Counts a call, of which its front knows nothing yet but its kind.
    ///
    /// # Errors
    /// Its address calls too often.
    pub(crate) fn count_call(
        &self,
        caller: &Caller<'_>,
        kind: impl FnOnce() -> CallKind,
    ) -> Result<(), NamingError> {
        if !self.rates.is_on.load(Relaxed) {
            return Ok(());
        }
        self.count_limited(caller, kind())
    }

    #[cold]
    fn count_limited(&self, caller: &Caller<'_>, kind: CallKind) -> Result<(), NamingError> {
        let (rates, ip) = (&self.rates, caller.peer.ip());
        let settings = rates.settings.load();
        let most = settings.most[kind as usize];
        if most == 0 || settings.exempt.contain(ip) {
            return Ok(());
        }
        let second = (self.registry.clock.tick().as_ms() / 1_000) as u32;
        if rates.counts[kind as usize].allow(ip, second, most) {
            return Ok(());
        }
        rates.refused[kind as usize].fetch_add(1, Relaxed);
        if let Some(left_out) = rates.lines.0.lock().line(Instant::now()) {
            tracing::warn!(address = %ip, left_out, "{}", kind.refusal());
        }
        Err(NamingError::Busy(kind.refusal()))
    }

    /// Has other limits count from now on.
    pub(crate) fn change_rates(&self, settings: RateSettings) {
        let is_on = settings.most.iter().any(|most| *most > 0);
        self.rates.settings.store(settings.into());
        self.rates.is_on.store(is_on, Relaxed);
    }

    /// Calls that were refused since the start, by kind.
    pub(crate) fn refused_calls(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self.rates.refused.iter().map(|count| count.load(Relaxed));
        CallKind::ALL.into_iter().map(|(_, name)| name).zip(counts)
    }
}
