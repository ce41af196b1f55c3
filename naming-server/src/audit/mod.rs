//! Who changed what, from where: one line for each administrative write.
//!
//! Every line goes to the log under the target `audit`, and to a file of its own if one is set.
//! Nobody waits for the file: lines are queued, a thread writes them, and what does not fit or
//! cannot be written is counted.
//!
//! Anybody can be refused as often as he likes, without proving who he is. So refusals are sampled:
//! they have a pace, few places in the queue and a share of the file. The others are counted, and
//! what was done never gives way to what was not.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use parking_lot::Mutex;

mod change;
mod queue;
mod recent;
mod rotation;

pub(crate) use change::{Change, Outcome, Parameters};

use crate::pace::Pace;
use queue::{Line, Queue};
use recent::Recent;
use rotation::RotatedFile;

/// Refusals with a line in one [`REFUSAL_PERIOD`].
const REFUSALS: u32 = 20;
/// How often there may be such lines anew.
const REFUSAL_PERIOD: Duration = Duration::from_secs(10);

/// Where the lines go, beside the log.
#[derive(Debug, Clone)]
pub(crate) struct AuditSettings {
    /// The file written to.
    pub(crate) file: PathBuf,
    /// Bytes after which a file is put aside.
    pub(crate) max_bytes: u64,
    /// Files kept, with the one written to.
    pub(crate) files: u32,
}

/// Takes down changes.
#[derive(Debug)]
pub(crate) struct Audit {
    queue: Option<Queue>,
    refusals: Mutex<Pace>,
    recent: Mutex<Recent>,
    counts: Arc<Counts>,
}

impl Default for Audit {
    fn default() -> Self {
        Self::to(None, Arc::default())
    }
}

/// How many lines there were, for metrics.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Changes that were asked for.
    pub(crate) recorded: AtomicU64,
    /// Refusals that have no line, in the file or at all.
    pub(crate) left_out: AtomicU64,
    /// Lines that are not in the file: it could not be written, or not as fast as they came.
    pub(crate) lost: AtomicU64,
}

impl Audit {
    /// Opens the file, if there is to be one.
    ///
    /// # Errors
    /// It cannot be opened for writing; no thread is left.
    pub(crate) fn open(settings: Option<AuditSettings>) -> Result<Self> {
        let counts = Arc::<Counts>::default();
        let Some(settings) = settings else { return Ok(Self::to(None, counts)) };
        let name = settings.file.display().to_string();
        let open = || Queue::start(RotatedFile::open(settings)?, Arc::clone(&counts));
        let queue = open().with_context(|| format!("cannot write the audit file {name}"))?;
        Ok(Self::to(Some(queue), counts))
    }

    fn to(queue: Option<Queue>, counts: Arc<Counts>) -> Self {
        let refusals = Mutex::new(Pace::new(REFUSALS, REFUSAL_PERIOD));
        Self { queue, refusals, recent: Mutex::default(), counts }
    }

    /// Takes a change down, or counts it if it is one refusal of too many.
    pub(crate) fn record(&self, mut change: Change) {
        self.counts.recorded.fetch_add(1, Relaxed);
        let is_refusal = change.outcome == Outcome::Refused;
        if is_refusal {
            let Some(left_out) = self.refusals.lock().line(Instant::now()) else {
                self.counts.left_out.fetch_add(1, Relaxed);
                return;
            };
            change.refusals_left_out = left_out;
        }
        change.log();
        let bytes = change.line();
        self.recent.lock().keep(bytes.trim_ascii_end(), is_refusal);
        if let Some(queue) = &self.queue {
            queue.push(Line { bytes, is_refusal });
        }
    }

    /// The latest lines since the start, newest first, at most so many: JSON objects without an end
    /// of line.
    pub(crate) fn latest(&self, most: usize) -> Vec<Arc<[u8]>> {
        self.recent.lock().latest(most)
    }

    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Waits until all lines are written, or for `patience`.
    pub(crate) async fn finish(&self, patience: Duration) {
        if let Some(queue) = &self.queue
            && tokio::time::timeout(patience, queue.drain()).await.is_err()
        {
            tracing::warn!("the last audit lines may be lost: their file is written too slowly");
        }
    }
}
