//! The keeper: hears from the store what changed, and has it written.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use distro_core::{Beginning, DATUM_KEY, Key, MemberId, RecordId, Tick, Verdict, Watcher};
use distro_net::{Clock, Durability, NotSaved, Saving};
use naming_model::{OPERATOR_MARK, PERSISTENT_MARK};
use parking_lot::Mutex;

use super::dirty::Dirty;
use super::error::DataError;
use super::file::{Meta, RecordFile, SavedDatum};
use super::folder::Folder;
use super::is_durable;
use super::rejoin::{self, FindBeginning};
use super::saver::Saver;
use super::stats::KeeperStats;
use crate::registry::{Content, NamingDatum, NamingStore, ServiceState};

/// The name of the file within the folder.
const FILE: &str = "registry.redb";

/// The data folder of a server that starts: taken, read and found whole.
pub(crate) struct Data {
    pub(super) folder: Arc<Folder>,
    pub(super) file: RecordFile,
    pub(super) meta: Meta,
    pub(super) datums: Vec<SavedDatum>,
}

impl Data {
    /// Takes a folder, which is made if there is none, and reads what is in it.
    ///
    /// # Errors
    /// A folder or file that cannot be used; nothing in it was changed then.
    pub(crate) fn open(path: &Path, member: MemberId) -> Result<Self, DataError> {
        let folder = Arc::new(Folder::open(path)?);
        let (file, meta) = RecordFile::open(&folder.path().join(FILE), member)?;
        let datums = file.read()?;
        Ok(Self { folder, file, meta, datums })
    }

    /// Whether a folder has data. Nothing is opened.
    pub(crate) fn is_in(path: &Path) -> bool {
        path.join(FILE).exists()
    }

    /// The same of a folder that has data already. Nothing is made, and nothing changes but what a
    /// crash has left half done.
    ///
    /// # Errors
    /// There is no data; else as [`Self::open`].
    pub(crate) fn open_existing(path: &Path, member: MemberId) -> Result<Self, DataError> {
        let file = path.join(FILE);
        std::fs::metadata(&file).map_err(|error| DataError::system("find", &file, error))?;
        Self::open(path, member)
    }

    /// Puts what was saved into a store that nobody else uses. Nothing of it is written down.
    pub(crate) fn show(self, store: &NamingStore, now: Tick) {
        for (tag, saved) in self.datums {
            let records = saved.into_iter().map(|saved| (saved.key, saved.record));
            store.restore(&tag, records, now);
        }
    }

    /// The folder.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Whoever has it keeps other processes from using it.
    pub(crate) fn folder(&self) -> &Arc<Folder> {
        &self.folder
    }

    pub(super) fn file_path(&self) -> PathBuf {
        self.folder.path().join(FILE)
    }
}

impl std::fmt::Debug for Data {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Data").field("path", &self.path()).finish_non_exhaustive()
    }
}

/// Puts durable records on disk. Made before the store, whose watcher it is.
pub(crate) struct Keeper {
    pub(super) dirty: Dirty,
    pub(super) stats: KeeperStats,
    /// Whether changes count: what is restored is in the file already.
    is_listening: AtomicBool,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Keeper {
    /// Writes nothing before [`Self::begin`].
    pub(crate) fn new() -> Self {
        Self {
            dirty: Dirty::new(),
            stats: KeeperStats::default(),
            is_listening: AtomicBool::new(false),
            thread: Mutex::default(),
        }
    }

    /// Puts what was saved into the store, which must be empty, and writes down what changes from
    /// now on. Removals older than `retention` are forgotten.
    ///
    /// If the others may have forgotten what was removed while this member was away, nothing is
    /// put back before `beginning` says that they have no data. If they have, theirs is taken, and
    /// what was saved is set aside.
    pub(crate) fn begin(
        self: &Arc<Self>,
        data: Data,
        store: &Arc<NamingStore>,
        clock: Clock,
        retention: Duration,
        beginning: FindBeginning,
    ) {
        let mut saver = Saver::new(&data, Arc::clone(store), clock);
        if let Some(member) = data.meta.member.filter(|member| *member != store.clock().member()) {
            tracing::info!(
                folder = %data.path().display(), member = member.0,
                "the data was written under another member address, perhaps an earlier one"
            );
        }
        let is_old = rejoin::is_too_old(data.meta.alive_ms, clock.now().wall_ms, retention)
            && beginning() != Some(Beginning::Alone);
        let keeper = Arc::clone(self);
        let thread = std::thread::Builder::new().name("durable".to_owned());
        let thread = if is_old {
            self.is_listening.store(true, Ordering::Release);
            thread.spawn(move || rejoin::run(saver, data, &keeper, &beginning))
        } else {
            let outdated = saver.restore(data.datums, retention);
            self.is_listening.store(true, Ordering::Release);
            self.dirty.note(outdated.into_iter());
            saver.take(data.file, data.folder);
            thread.spawn(move || saver.run(&keeper))
        };
        *self.thread.lock() = Some(thread.expect("a thread can be started"));
    }

    /// What the counters say.
    pub(crate) fn stats(&self) -> &KeeperStats {
        &self.stats
    }

    /// Records that are yet to be written.
    pub(crate) fn waiting(&self) -> usize {
        self.dirty.len()
    }

    /// Why nothing can be written at present, if so.
    pub(crate) fn failure(&self) -> Option<Arc<str>> {
        self.dirty.failure()
    }

    /// Writes what is yet to be written, and ends, soon. May be called again.
    pub(crate) fn close(&self) {
        self.dirty.close();
    }

    /// Writes what is yet to be written, and ends. Blocks for as long as that takes.
    pub(crate) fn stop(&self) {
        self.close();
        let Some(thread) = self.thread.lock().take() else { return };
        if thread.join().is_err() {
            tracing::error!("the thread that writes durable records failed");
        }
    }
}

impl Watcher<Content, ServiceState> for Keeper {
    fn changed(&self, datum: &Arc<NamingDatum>, keys: &[Key], _: bool) {
        if !self.is_listening.load(Ordering::Acquire) {
            return;
        }
        let mut keys = keys.iter().filter(|key| is_durable(datum.tag(), key)).peekable();
        // Nearly all changes are those of ephemeral instances.
        if keys.peek().is_none() {
            return;
        }
        let keys: Vec<&Key> = keys.filter(|key| is_worth_keeping(datum, key)).collect();
        self.dirty.note(keys.into_iter().map(|key| (Arc::clone(datum.tag()), Arc::clone(key))));
    }

    fn judged(&self, _: &Arc<NamingDatum>, _: &Verdict<Content>) {}

    fn forgotten(&self, datum: &Arc<NamingDatum>, keys: &[Key]) {
        // What is noted and not there is taken out of the file. So is the end of a service that
        // was there for the sake of its persistent instances.
        let keys = keys.iter().cloned().chain([DATUM_KEY.into()]);
        self.dirty.note(keys.map(|key| (Arc::clone(datum.tag()), key)));
    }
}

impl Durability for Keeper {
    fn saved(&self, places: &[RecordId]) -> Saving {
        // Also what does not look worth it: whoever waits for a removal may rely on it that it
        // outlives a restart, here too, where the record has never been seen.
        let durable = places.iter().filter(|(tag, key)| is_durable(tag, key));
        self.dirty.note(durable.cloned());
        let flushed = self.dirty.flushed();
        Box::pin(async { flushed.await.map_err(|cause| NotSaved(cause.to_string())) })
    }
}

/// Whether a record says anything that must be there after a restart. The removal of what was
/// never there does not; services of ephemeral instances come and go with one, and cost no write.
fn is_worth_keeping(datum: &NamingDatum, key: &str) -> bool {
    datum.read(|reader| {
        let was_registered = reader.find(key).is_none_or(|record| !record.registration.is_never());
        // The end of a service is the end of its persistent instances, too, and of what operators
        // set of instances.
        let has_any = |mark: char| {
            let mut after = reader.records_after(Some(mark.encode_utf8(&mut [0; 4])));
            after.next().is_some_and(|(key, _)| key.starts_with(mark))
        };
        let has_durable = || has_any(PERSISTENT_MARK) || has_any(OPERATOR_MARK);
        was_registered || key == DATUM_KEY && has_durable()
    })
}
