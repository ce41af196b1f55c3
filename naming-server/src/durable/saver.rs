//! The thread that writes the file.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use distro_core::{MemberId, RecordId};
use distro_net::Clock;

use super::error::DataError;
use super::file::{Change, RecordFile, SavedDatum};
use super::folder::Folder;
use super::is_durable;
use super::keeper::{Data, Keeper};
use crate::registry::NamingStore;

/// How often the file is told that its member is alive, if nothing else is written.
const ALIVE_PERIOD: Duration = Duration::from_secs(60);
/// From a failed write to the next try, at first; twice as long each time.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(8);
/// Between two lines in the log while writing fails.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);

/// What writes the file.
pub(super) struct Saver {
    path: PathBuf,
    member: MemberId,
    store: Arc<NamingStore>,
    clock: Clock,
    /// Open unless something went wrong with it.
    file: Option<RecordFile>,
    /// Held as long as there is something to write.
    folder: Option<Arc<Folder>>,
}

/// The failures since the last write that worked.
struct Trouble {
    pause: Duration,
    complained: Instant,
}

impl Saver {
    pub(super) fn new(data: &Data, store: Arc<NamingStore>, clock: Clock) -> Self {
        let (path, member) = (data.file_path(), store.clock().member());
        Self { path, member, store, clock, file: None, folder: None }
    }

    /// Puts records into the store, but for removals that are older than `retention`. Returns the
    /// places of those.
    pub(super) fn restore(&self, datums: Vec<SavedDatum>, retention: Duration) -> Vec<RecordId> {
        let (began, now) = (Instant::now(), self.clock.now());
        let retention_ms = u64::try_from(retention.as_millis()).unwrap_or(u64::MAX);
        let (mut count, mut outdated) = (0_usize, Vec::new());
        for (tag, records) in datums {
            let mut kept = Vec::with_capacity(records.len());
            for saved in records {
                let age_ms = now.wall_ms.saturating_sub(saved.saved_ms);
                if saved.record.is_tombstone() && age_ms >= retention_ms {
                    outdated.push((Arc::clone(&tag), saved.key));
                } else {
                    kept.push((saved.key, saved.record));
                }
            }
            count += kept.len();
            self.store.restore(&tag, kept, now.tick);
        }
        let took_ms = began.elapsed().as_millis();
        tracing::info!(records = count, took_ms, file = %self.path.display(), "data restored");
        outdated
    }

    /// Goes on with this file.
    pub(super) fn take(&mut self, file: RecordFile, folder: Arc<Folder>) {
        (self.file, self.folder) = (Some(file), Some(folder));
    }

    /// Goes on with a new file of all that the store holds, once the one at [`Self::path`] is
    /// gone from there.
    pub(super) fn begin_anew(&mut self, keeper: &Keeper, folder: Arc<Folder>) {
        (self.file, self.folder) = (None, Some(folder));
        keeper.dirty.note(self.all_places().into_iter());
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn store(&self) -> &NamingStore {
        &self.store
    }

    pub(super) fn wall_ms(&self) -> u64 {
        self.clock.now().wall_ms
    }

    /// Writes whatever the keeper has noted, until it is closed.
    pub(super) fn run(mut self, keeper: &Keeper) {
        let mut trouble: Option<Trouble> = None;
        loop {
            let batch = keeper.dirty.take(Instant::now() + ALIVE_PERIOD);
            let began = Instant::now();
            let is_last = batch.is_last;
            match self.save(batch.places.iter()) {
                Ok(written) => {
                    keeper.stats.note_flush(written, began.elapsed());
                    keeper.dirty.finish(&batch);
                    if trouble.take().is_some() {
                        tracing::info!(file = %self.path.display(), "durable data is saved again");
                    }
                }
                Err(error) => {
                    keeper.stats.note_failure();
                    let waiting = batch.places.len();
                    keeper.dirty.put_back(batch, error.to_string().into());
                    let pause = Trouble::note(&mut trouble, &error, waiting);
                    if !is_last {
                        keeper.dirty.pause(Instant::now() + pause);
                    }
                }
            }
            if is_last {
                return;
            }
        }
    }

    fn save<'a>(
        &mut self,
        places: impl ExactSizeIterator<Item = &'a RecordId>,
    ) -> Result<usize, DataError> {
        let (file, is_new) = match self.file.take() {
            Some(file) => (file, false),
            None => self.open_again()?,
        };
        let changes: Vec<Change> = if is_new {
            self.all_places().iter().map(|place| self.change(place)).collect()
        } else {
            places.map(|place| self.change(place)).collect()
        };
        let written = file.write(&changes, self.clock.now().wall_ms)?;
        // Only one that has just worked is used again.
        self.file = Some(file);
        Ok(written)
    }

    /// Opens the file after something went wrong with it, and says whether it had to be made.
    fn open_again(&self) -> Result<(RecordFile, bool), DataError> {
        let (file, meta) = RecordFile::open(&self.path, self.member)?;
        Ok((file, meta.alive_ms.is_none()))
    }

    /// The record of a place as it is now.
    fn change(&self, place: &RecordId) -> Change {
        let datum = self.store.find(&place.0);
        let record = datum.and_then(|datum| {
            datum.read(|reader| reader.find(&place.1).map(|record| record.into_owned()))
        });
        (place.clone(), record)
    }

    /// Every durable record there is, tombstones included.
    fn all_places(&self) -> Vec<RecordId> {
        let mut places = Vec::new();
        for datum in self.store.all() {
            let tag = datum.tag();
            datum.read(|reader| {
                let durable = reader.records_after(None).filter(|(key, _)| is_durable(tag, key));
                places.extend(durable.map(|(key, _)| (Arc::clone(tag), key)));
            });
        }
        places
    }
}

impl Trouble {
    /// Notes a failure, complains now and then, and says how long to wait.
    fn note(trouble: &mut Option<Self>, error: &DataError, waiting: usize) -> Duration {
        let now = Instant::now();
        let (pause, is_due) = match trouble {
            None => (FIRST_PAUSE, true),
            Some(known) => (
                (known.pause * 2).min(LONGEST_PAUSE),
                now.duration_since(known.complained) >= COMPLAIN_EVERY,
            ),
        };
        if is_due {
            tracing::error!(%error, records = waiting, "durable data cannot be saved; trying again");
        }
        let complained = match trouble {
            Some(known) if !is_due => known.complained,
            _ => now,
        };
        *trouble = Some(Self { pause, complained });
        pause
    }
}
