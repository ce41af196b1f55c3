//! What the threads of a load share with the one that watches them.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Counters and switches of one load.
#[derive(Debug, Default)]
pub(super) struct Tally {
    next: AtomicU64,
    done: AtomicU64,
    unanswered: AtomicU64,
    errors: AtomicU64,
    tolerant: bool,
    recording: AtomicBool,
    stopped: AtomicBool,
    complaint: Mutex<Option<String>>,
}

impl Tally {
    /// One that goes on after wrong replies and counts them: other people's servers may fail
    /// where ours may not.
    pub(super) fn tolerant() -> Self {
        Self { tolerant: true, ..Self::default() }
    }

    /// A reply other than expected.
    pub(super) fn count_error(&self, describe: impl FnOnce() -> String) {
        self.errors.fetch_add(1, Ordering::Relaxed);
        if !self.tolerant {
            self.complain(describe());
        }
    }

    pub(super) fn errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }

    /// Takes `count` numbers for requests; the first one.
    pub(super) fn take(&self, count: u64) -> u64 {
        self.next.fetch_add(count, Ordering::Relaxed)
    }

    pub(super) fn count_done(&self) {
        self.done.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    pub(super) fn count_unanswered(&self, count: u64) {
        self.unanswered.fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn unanswered(&self) -> u64 {
        self.unanswered.load(Ordering::Relaxed)
    }

    /// Latencies count from now on, or no longer.
    pub(super) fn record(&self, on: bool) {
        self.recording.store(on, Ordering::Relaxed);
    }

    pub(super) fn is_recording(&self) -> bool {
        self.recording.load(Ordering::Relaxed)
    }

    /// Everyone finishes what is under way and ends.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// Keeps the first complaint and stops the load: a run with failures measures nothing.
    pub(super) fn complain(&self, complaint: String) {
        let mut kept = self.complaint.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        kept.get_or_insert(complaint);
        self.stop();
    }

    pub(super) fn complaint(&self) -> Option<String> {
        self.complaint.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }
}
