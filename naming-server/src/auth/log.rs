//! Failures in the log, without secrets and at a bounded pace.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::Refusal;
use crate::http::cut;

/// Lines in one [`PERIOD`].
const MAX_LINES: u32 = 10;
/// How often lines may be written anew.
const PERIOD: Duration = Duration::from_secs(10);
/// Bytes of a name that is shown.
const MAX_SHOWN: usize = 64;

/// Writes failures down, some of them.
#[derive(Default)]
pub(super) struct FailureLog {
    pace: Mutex<Pace>,
}

#[derive(Default)]
struct Pace {
    began: Option<Instant>,
    lines: u32,
    /// Failures that were not written down since the last one that was.
    left_out: u64,
}

impl FailureLog {
    /// A request from `source` was refused. `user` is who it said it was, if it said so.
    pub(super) fn note(&self, source: IpAddr, user: &str, refusal: Refusal) {
        let Some(left_out) = self.pace.lock().line(Instant::now()) else { return };
        let user = cut(user, MAX_SHOWN);
        tracing::warn!(%source, ?user, reason = %refusal, left_out, "log-in refused");
    }
}

impl Pace {
    /// Whether there may be one more line: how many were left out before it.
    fn line(&mut self, now: Instant) -> Option<u64> {
        if self.began.is_none_or(|began| now.saturating_duration_since(began) >= PERIOD) {
            (self.began, self.lines) = (Some(now), 0);
        }
        if self.lines >= MAX_LINES {
            self.left_out += 1;
            return None;
        }
        self.lines += 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_counted_instead_of_written() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        let lines = (0..1_000).filter_map(|_| pace.line(now)).count();
        assert_eq!(lines, 10);
        assert_eq!(pace.line(now + PERIOD), Some(990));
        assert_eq!(pace.line(now + PERIOD), Some(0));
    }
}
