//! The thread that writes the file, at a pace.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use distro_core::{Key, Record};

use super::file::CacheFile;
use super::{InstanceCache, frame};
use crate::durable::folder::Folder;
use crate::durable::is_durable;
use crate::registry::{Content, NamingStore, wall_ms};

/// From taking what was noted to taking it again, if the pace allows. However often a service
/// changes meanwhile, it is written once.
const ROUND: Duration = Duration::from_secs(5);
/// How often there is something written while there is something to write, and how much then: of
/// changes, and as much of a file that is made anew. 5 MiB a second.
const SLICE: Duration = Duration::from_millis(100);
const SLICE_BYTES: i64 = 512 << 10;
/// From a failed write to the next try. Long, since what is durable may need the room.
const RETRY: Duration = Duration::from_secs(300);

/// What writes the file.
pub(super) struct Writer {
    path: PathBuf,
    store: Arc<NamingStore>,
    /// `None` until the first draft is whole.
    file: Option<CacheFile>,
    /// What takes the place of the file when it is whole.
    draft: Option<Draft>,
    /// Tags that are yet to be written, of those that were taken.
    pub(super) queue: Vec<Arc<str>>,
    pace: Pace,
    retry: Instant,
    /// Held as long as there is something to write.
    _folder: Arc<Folder>,
}

/// A file that is made anew. What changes meanwhile is written to it, too.
struct Draft {
    file: CacheFile,
    rest: std::vec::IntoIter<Arc<str>>,
    pace: Pace,
}

/// What may be written in the present slice. A service with very many instances takes more than
/// one; nothing is written then until its time has passed.
#[derive(Clone, Copy, Default)]
struct Pace(i64);

impl Pace {
    fn next_slice(&mut self) {
        self.0 = SLICE_BYTES.min(self.0 + SLICE_BYTES);
    }

    fn spend(&mut self, bytes: usize) {
        self.0 -= i64::try_from(bytes).unwrap_or(SLICE_BYTES);
    }
}

impl Writer {
    pub(super) fn new(
        path: PathBuf,
        store: Arc<NamingStore>,
        file: Option<CacheFile>,
        folder: Arc<Folder>,
    ) -> Self {
        let (queue, pace, retry) = (Vec::new(), Pace::default(), Instant::now());
        Self { path, store, file, draft: None, queue, pace, retry, _folder: folder }
    }

    /// Writes whatever the cache has noted, until it is closed.
    pub(super) fn run(mut self, cache: &InstanceCache) {
        let mut due = Instant::now();
        loop {
            let is_busy = !self.queue.is_empty() || self.is_drafting() || self.pace.0 < 0;
            if cache.pause(if is_busy { Instant::now() + SLICE } else { due }) {
                break;
            }
            let is_due = self.queue.is_empty() && Instant::now() >= due;
            if is_due {
                self.queue = cache.take().into_iter().collect();
                due = Instant::now() + ROUND;
            }
            if let Err(error) = self.step(cache, is_due) {
                self.give_up(&error, cache);
            }
            cache.stats.queued.store(self.queue.len(), Relaxed);
        }
        if let Err(error) = self.finish(cache.stop_within, cache) {
            self.give_up(&error, cache);
        }
    }

    pub(super) fn step(&mut self, cache: &InstanceCache, is_due: bool) -> io::Result<()> {
        if self.file.is_none() && self.draft.is_none() && Instant::now() < self.retry {
            // Whatever changes meanwhile will be in the draft that comes then.
            self.queue = Vec::new();
            return Ok(());
        }
        if self.draft.is_none() && self.file.as_ref().is_none_or(CacheFile::is_overgrown) {
            self.begin_draft()?;
        }
        if is_due {
            self.append(frame::ALIVE);
        }
        self.write_some();
        self.flush(cache)?;
        self.copy(cache)
    }

    /// Whether the file is being made anew.
    pub(super) fn is_drafting(&self) -> bool {
        self.draft.is_some()
    }

    fn begin_draft(&mut self) -> io::Result<()> {
        let file = CacheFile::create(&self.draft_path())?;
        let tags: Vec<_> = self.store.all().iter().map(|datum| Arc::clone(datum.tag())).collect();
        let (rest, pace) = (tags.into_iter(), Pace::default());
        self.draft = Some(Draft { file, rest, pace });
        Ok(())
    }

    /// Writes a slice of what was taken.
    fn write_some(&mut self) {
        self.pace.next_slice();
        while self.pace.0 > 0
            && let Some(tag) = self.queue.pop()
        {
            let bytes = self.append(&tag);
            self.pace.spend(bytes);
        }
    }

    /// Copies a slice into the draft, if there is one, and puts it in place when it is whole.
    fn copy(&mut self, cache: &InstanceCache) -> io::Result<()> {
        let Some(mut draft) = self.draft.take() else { return Ok(()) };
        let mut copied = Vec::new();
        draft.pace.next_slice();
        while draft.pace.0 > 0
            && let Some(tag) = draft.rest.next()
        {
            let (instances, before) = (self.instances(&tag), copied.len());
            if !instances.is_empty() {
                frame::push(&mut copied, wall_ms(), &tag, &instances);
                draft.pace.spend(copied.len() - before);
            }
        }
        draft.file.live += copied.len() as u64;
        draft.file.append(&copied);
        draft.file.write(&cache.stats)?;
        if draft.rest.as_slice().is_empty() {
            self.put_in_place(draft, cache)
        } else {
            self.draft = Some(draft);
            Ok(())
        }
    }

    fn put_in_place(&mut self, draft: Draft, cache: &InstanceCache) -> io::Result<()> {
        fs::rename(self.draft_path(), &self.path)?;
        self.file = Some(draft.file);
        if cache.stats.failing.swap(false, Relaxed) {
            tracing::info!(file = %self.path.display(), "ephemeral instances are saved again");
        }
        Ok(())
    }

    /// Adds what is known of a tag to whatever is written. Returns its bytes.
    fn append(&mut self, tag: &str) -> usize {
        let mut bytes = Vec::new();
        frame::push(&mut bytes, wall_ms(), tag, &self.instances(tag));
        let files = self.file.iter_mut().chain(self.draft.as_mut().map(|draft| &mut draft.file));
        files.for_each(|file| file.append(&bytes));
        bytes.len()
    }

    fn flush(&mut self, cache: &InstanceCache) -> io::Result<()> {
        self.file.as_mut().map_or(Ok(()), |file| file.write(&cache.stats))
    }

    /// The ephemeral instances of a tag that readers see. Their bytes are made after the lock is
    /// free.
    fn instances(&self, tag: &str) -> Vec<(Key, Record<Content>)> {
        let Some(datum) = self.store.find(tag) else { return Vec::new() };
        datum.read(|reader| {
            let visible = reader.visible().filter(|(key, ..)| !is_durable(tag, key));
            visible.map(|(key, record, _)| (Key::clone(key), record.clone())).collect()
        })
    }

    /// Writes all that is left, without a pace, as long as it may take.
    pub(super) fn finish(&mut self, within: Duration, cache: &InstanceCache) -> io::Result<()> {
        let until = Instant::now() + within;
        if self.file.is_none() && self.draft.is_none() {
            if Instant::now() < self.retry {
                return Ok(());
            }
            self.begin_draft()?;
        }
        self.queue.extend(cache.take());
        self.append(frame::ALIVE);
        while !self.queue.is_empty() && Instant::now() < until {
            self.write_some();
            self.flush(cache)?;
        }
        while self.file.is_none() && self.draft.is_some() && Instant::now() < until {
            self.copy(cache)?;
        }
        self.flush(cache)?;
        let mut left_out = self.queue.len();
        if let Some(mut draft) = self.draft.take() {
            if self.file.is_none() {
                // Some of it is better than none.
                left_out += draft.rest.len();
                draft.file.write(&cache.stats)?;
                self.put_in_place(draft, cache)?;
            } else {
                fs::remove_file(self.draft_path())?;
            }
        }
        if left_out > 0 {
            tracing::warn!(
                services = left_out,
                "not all instances were saved: the time for it ran out (data.stop_grace_ms)"
            );
            return Ok(());
        }
        self.append(frame::COMPLETE);
        self.flush(cache)
    }

    /// Leaves the room to others, for a while: nothing depends on this file.
    pub(super) fn give_up(&mut self, error: &io::Error, cache: &InstanceCache) {
        let file = self.path.display();
        tracing::warn!(%error, %file, "ephemeral instances cannot be saved; trying again later");
        (self.file, self.draft, self.queue) = (None, None, Vec::new());
        // Gone already, or as stuck as it was.
        for path in [&self.path, &self.draft_path()] {
            let _ = fs::remove_file(path);
        }
        self.retry = Instant::now() + RETRY;
        cache.stats.failing.store(true, Relaxed);
    }

    fn draft_path(&self) -> PathBuf {
        self.path.with_extension("new")
    }
}
