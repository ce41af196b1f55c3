//! What is yet to be written, and how far the writing has come.

use std::collections::BTreeSet;
use std::mem;
use std::sync::Arc;
use std::time::Instant;

use distro_core::RecordId;
use parking_lot::{Condvar, Mutex};
use tokio::sync::watch;

/// Keys whose records changed since they were last written.
///
/// Every note has a number; a flush takes everything noted so far and later says up to which
/// number the file has it all.
pub(super) struct Dirty {
    state: Mutex<State>,
    /// There is something to do for whoever flushes.
    wake: Condvar,
    progress: watch::Sender<Progress>,
}

#[derive(Default)]
struct State {
    places: BTreeSet<RecordId>,
    noted: u64,
    is_closed: bool,
}

/// How far the file follows.
#[derive(Debug, Clone, Default)]
pub(super) struct Progress {
    /// Everything up to this note is on disk.
    kept: u64,
    /// Why nothing is written at present, if so.
    pub(super) failure: Option<Arc<str>>,
}

/// What a flush has to write.
pub(super) struct Batch {
    pub(super) places: BTreeSet<RecordId>,
    /// The last note in it.
    noted: u64,
    /// Nothing comes after this one.
    pub(super) is_last: bool,
}

impl Dirty {
    pub(super) fn new() -> Self {
        let progress = watch::Sender::new(Progress::default());
        Self { state: Mutex::default(), wake: Condvar::new(), progress }
    }

    pub(super) fn note(&self, places: impl Iterator<Item = RecordId>) {
        let mut state = self.state.lock();
        let was_empty = state.places.is_empty();
        state.places.extend(places);
        if state.places.is_empty() {
            return;
        }
        state.noted += 1;
        // Whoever flushes looks for more by itself before it sleeps.
        if was_empty {
            self.wake.notify_one();
        }
    }

    /// Keys that wait.
    pub(super) fn len(&self) -> usize {
        self.state.lock().places.len()
    }

    /// Nothing is noted from now on; what was is flushed once more.
    pub(super) fn close(&self) {
        self.state.lock().is_closed = true;
        self.wake.notify_one();
    }

    /// Everything that waits, or nothing at `until`.
    pub(super) fn take(&self, until: Instant) -> Batch {
        let mut state = self.state.lock();
        while state.places.is_empty() && !state.is_closed {
            if self.wake.wait_until(&mut state, until).timed_out() {
                break;
            }
        }
        let places = mem::take(&mut state.places);
        Batch { places, noted: state.noted, is_last: state.is_closed }
    }

    /// The batch is on disk.
    pub(super) fn finish(&self, batch: &Batch) {
        self.progress.send_modify(|progress| {
            progress.kept = progress.kept.max(batch.noted);
            progress.failure = None;
        });
    }

    /// The batch could not be written and waits again.
    pub(super) fn put_back(&self, batch: Batch, failure: Arc<str>) {
        self.state.lock().places.extend(batch.places);
        self.progress.send_modify(|progress| progress.failure = Some(failure));
    }

    /// Waits for the end, until `until` at most. True if it has come.
    pub(super) fn pause(&self, until: Instant) -> bool {
        let mut state = self.state.lock();
        while !state.is_closed {
            if self.wake.wait_until(&mut state, until).timed_out() {
                break;
            }
        }
        state.is_closed
    }

    /// Why nothing is written at present, if so.
    pub(super) fn failure(&self) -> Option<Arc<str>> {
        self.progress.borrow().failure.clone()
    }

    /// Resolves when everything that is noted now is on disk, or is known not to be.
    pub(super) fn flushed(&self) -> impl Future<Output = Result<(), Arc<str>>> + Send + use<> {
        let noted = self.state.lock().noted;
        let mut progress = self.progress.subscribe();
        async move {
            let decided =
                |progress: &Progress| progress.kept >= noted || progress.failure.is_some();
            match progress.wait_for(decided).await {
                Ok(now) if now.kept >= noted => Ok(()),
                Ok(now) => Err(now.failure.clone().unwrap_or_else(|| "nothing is known".into())),
                Err(_) => Err("the server stops".into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn place(key: &str) -> RecordId {
        ("tag".into(), key.into())
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(20)
    }

    fn keys(batch: &Batch) -> Vec<&str> {
        batch.places.iter().map(|(_, key)| &**key).collect()
    }

    async fn now<T>(future: impl Future<Output = T>) -> Option<T> {
        tokio::time::timeout(Duration::ZERO, future).await.ok()
    }

    #[tokio::test]
    async fn a_note_is_kept_when_the_flush_that_took_it_ends() {
        let dirty = Dirty::new();
        assert_eq!(now(dirty.flushed()).await, Some(Ok(())), "nothing was noted");
        dirty.note([place("a"), place("b"), place("a")].into_iter());
        let first = dirty.flushed();
        let batch = dirty.take(soon());
        assert_eq!(keys(&batch), ["a", "b"]);
        dirty.note([place("a")].into_iter());
        let second = dirty.flushed();
        dirty.finish(&batch);
        assert_eq!(now(first).await, Some(Ok(())));
        assert_eq!(now(dirty.flushed()).await, None, "its key changed while it was written");
        let batch = dirty.take(soon());
        assert_eq!(keys(&batch), ["a"]);
        dirty.finish(&batch);
        assert_eq!(now(second).await, Some(Ok(())));
        assert_eq!(dirty.len(), 0);
    }

    #[tokio::test]
    async fn a_failed_flush_fails_those_who_wait_and_loses_nothing() {
        let dirty = Dirty::new();
        dirty.note([place("a")].into_iter());
        let waiting = dirty.flushed();
        let batch = dirty.take(soon());
        dirty.note([place("b")].into_iter());
        dirty.put_back(batch, "full".into());
        assert_eq!(now(waiting).await, Some(Err("full".into())));
        assert_eq!(now(dirty.flushed()).await, Some(Err("full".into())), "at once meanwhile");
        let batch = dirty.take(soon());
        assert_eq!(keys(&batch), ["a", "b"]);
        dirty.finish(&batch);
        assert_eq!((now(dirty.flushed()).await, dirty.failure()), (Some(Ok(())), None));
    }

    #[tokio::test]
    async fn notes_of_nothing_wait_for_nothing() {
        let dirty = Dirty::new();
        dirty.note(std::iter::empty());
        assert_eq!(now(dirty.flushed()).await, Some(Ok(())));
        let batch = dirty.take(Instant::now());
        assert!(batch.places.is_empty() && !batch.is_last);
    }

    #[test]
    fn closing_ends_every_wait_and_leaves_what_was_noted() {
        let dirty = Dirty::new();
        dirty.note([place("a")].into_iter());
        dirty.close();
        assert!(dirty.pause(soon()));
        let batch = dirty.take(soon());
        assert_eq!((keys(&batch), batch.is_last), (vec!["a"], true));
        assert!(dirty.take(soon()).places.is_empty());
    }
}
