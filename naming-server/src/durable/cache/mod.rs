//! What is known of ephemeral instances, in a file beside the durable ones, so that a server that
//! comes back shows nobody an empty list.
//!
//! ```text
//!  store ──► the tag is noted ──► every few seconds, bounded in bytes: all instances of the tag ──► file
//! ```
//!
//! It is a cache: nothing waits for it, it is never flushed, and a file that is damaged, too old
//! or of another release is thrown away. What comes from it is an unconfirmed lease, which ends
//! unless its client beats. What waits are tags, never instances, and each at most once.

use std::collections::HashSet;
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use distro_core::{Key, Verdict, Watcher};
use parking_lot::{Condvar, Mutex};

use super::folder::Folder;
use super::is_durable;
use crate::registry::{Content, NamingDatum, Registry, ServiceState};

mod file;
mod frame;
mod restore;
mod stats;
mod writer;

pub(crate) use stats::CacheStats;

use file::NAME;
use writer::Writer;

/// Between the end of the time for a stop and giving up on a disk that does not answer.
const STOP_GRACE: Duration = Duration::from_millis(500);

/// Keeps the file of ephemeral instances. Made before the store, whose watcher it is.
pub(crate) struct InstanceCache {
    state: Mutex<State>,
    wake: Condvar,
    /// Whether changes count: what is restored is in the file already.
    is_listening: AtomicBool,
    /// A stop takes so much longer at most, if very much was changed just before it.
    stop_within: Duration,
    stats: CacheStats,
}

#[derive(Default)]
struct State {
    /// Tags of which something changed since they were last taken.
    tags: HashSet<Arc<str>>,
    is_closed: bool,
    /// Whether there is a thread that writes.
    is_running: bool,
}

impl InstanceCache {
    /// Writes nothing before [`Self::begin`]. A stop saves what is left for `stop_within` at most.
    pub(crate) fn new(stop_within: Duration) -> Self {
        Self {
            state: Mutex::default(),
            wake: Condvar::new(),
            is_listening: AtomicBool::new(false),
            stop_within,
            stats: CacheStats::default(),
        }
    }

    /// Puts what was saved into the store, unless that was longer ago than `within`, and saves
    /// what changes from now on. Durable data is to be there already: what it says of services
    /// that were deleted counts.
    pub(crate) fn begin(
        self: &Arc<Self>,
        folder: Arc<Folder>,
        registry: &Registry,
        within: Duration,
    ) {
        let path = folder.path().join(NAME);
        let file = restore::restore(&path, registry, within);
        self.is_listening.store(true, Ordering::Release);
        let writer = Writer::new(path, Arc::clone(&registry.store), file, folder);
        self.state.lock().is_running = true;
        let cache = Arc::clone(self);
        let thread = std::thread::Builder::new().name("instances".to_owned());
        let thread = thread.spawn(move || {
            let _running = Running(&cache);
            writer.run(&cache);
        });
        thread.expect("a thread can be started");
    }

    /// Makes sure that nothing comes from this folder at a later start.
    pub(crate) fn discard(folder: &Folder) {
        let path = folder.path().join(NAME);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                tracing::warn!(%error, file = %path.display(), "cannot remove saved instances");
            }
            _ => {}
        }
    }

    /// What the counters say.
    pub(crate) fn stats(&self) -> &CacheStats {
        &self.stats
    }

    /// Services whose instances are yet to be saved.
    pub(crate) fn waiting(&self) -> usize {
        self.state.lock().tags.len() + self.stats.queued()
    }

    /// Saves what is yet to be saved, and ends, soon. May be called again.
    pub(crate) fn close(&self) {
        self.state.lock().is_closed = true;
        self.wake.notify_all();
    }

    /// Saves what is yet to be saved, for as long as a stop may take, and ends. Blocks meanwhile.
    pub(crate) fn stop(&self) {
        self.close();
        let until = Instant::now() + self.stop_within + STOP_GRACE;
        let mut state = self.state.lock();
        while state.is_running {
            if self.wake.wait_until(&mut state, until).timed_out() {
                tracing::warn!("the disk is too slow to save all ephemeral instances");
                return;
            }
        }
    }

    /// All tags that were noted. They count as [waiting](Self::waiting) until they are written.
    fn take(&self) -> HashSet<Arc<str>> {
        let mut state = self.state.lock();
        self.stats.queued.store(state.tags.len(), Ordering::Relaxed);
        std::mem::take(&mut state.tags)
    }

    /// Waits for the end, until `until` at most. True if it has come.
    fn pause(&self, until: Instant) -> bool {
        let mut state = self.state.lock();
        while !state.is_closed {
            if self.wake.wait_until(&mut state, until).timed_out() {
                break;
            }
        }
        state.is_closed
    }
}

impl Watcher<Content, ServiceState> for InstanceCache {
    fn changed(&self, datum: &Arc<NamingDatum>, keys: &[Key], _: bool) {
        if !self.is_listening.load(Ordering::Acquire) {
            return;
        }
        let tag = datum.tag();
        if keys.iter().all(|key| is_durable(tag, key)) {
            return;
        }
        let mut state = self.state.lock();
        if !state.tags.contains(tag) {
            state.tags.insert(Arc::clone(tag));
        }
    }

    fn judged(&self, _: &Arc<NamingDatum>, _: &Verdict<Content>) {}
}

/// Says that the thread has ended, however it did.
struct Running<'a>(&'a InstanceCache);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.state.lock().is_running = false;
        self.0.wake.notify_all();
    }
}

#[cfg(test)]
mod tests;
