//! Failures in the log, without secrets and at a bounded pace.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::Refusal;
use crate::pace::Pace;
use crate::text::cut;

/// Lines in one [`PERIOD`].
const MAX_LINES: u32 = 10;
/// How often lines may be written anew.
const PERIOD: Duration = Duration::from_secs(10);
/// Bytes of a name that is shown.
const MAX_SHOWN: usize = 64;

/// Writes failures down, some of them.
pub(super) struct FailureLog {
    pace: Mutex<Pace>,
}

impl Default for FailureLog {
    fn default() -> Self {
        Self { pace: Mutex::new(Pace::new(MAX_LINES, PERIOD)) }
    }
}

impl FailureLog {
    /// A request from `source` was refused. `user` is who it said it was, if it said so.
    pub(super) fn note(&self, source: IpAddr, user: &str, refusal: Refusal) {
        let Some(left_out) = self.pace.lock().line(Instant::now()) else { return };
        let user = cut(user, MAX_SHOWN);
        tracing::warn!(%source, ?user, reason = %refusal, left_out, "log-in refused");
    }
}
