//! Who changed what, from where: one line for each administrative write.
//!
//! Every line goes to the log under the target `audit`, and to a file of its own if one is set.
//! Nobody waits for the file: lines are queued, a thread writes them, and what does not fit or
//! cannot be written is counted.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use anyhow::{Context, Result};

mod change;
mod queue;
mod rotation;

pub(crate) use change::{Change, Outcome, Parameters};

use queue::Queue;
use rotation::RotatedFile;

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
#[derive(Debug, Default)]
pub(crate) struct Audit {
    queue: Option<Queue>,
    counts: Arc<Counts>,
}

/// How many lines there were, for metrics.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Changes taken down.
    pub(crate) recorded: AtomicU64,
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
        let Some(settings) = settings else { return Ok(Self { queue: None, counts }) };
        let name = settings.file.display().to_string();
        let open = || Queue::start(RotatedFile::open(settings)?, Arc::clone(&counts));
        let queue = open().with_context(|| format!("cannot write the audit file {name}"))?;
        Ok(Self { queue: Some(queue), counts })
    }

    /// Takes a change down.
    pub(crate) fn record(&self, change: &Change) {
        self.counts.recorded.fetch_add(1, Relaxed);
        change.log();
        if let Some(queue) = &self.queue {
            queue.push(change.line());
        }
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
