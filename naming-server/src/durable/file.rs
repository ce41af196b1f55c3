//! The file with the durable records.
//!
//! One table of records by tag and key, one of numbers about the file. A write is one transaction
//! and returns when the disk has it. The file is made under another name and renamed when it is
//! whole, so that a crash leaves none that is half made.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use distro_core::{Key, MemberId, Record, RecordId};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

use super::error::DataError;
use super::row;
use crate::registry::Content;

/// The format that this release writes, and the latest that it reads.
const FORMAT: u64 = 1;
/// Bytes of the file that are kept in memory: the branches of its trees. The records themselves
/// are in the store.
const CACHE: usize = 16 << 20;

/// By tag and key: when it was written by the wall clock, in milliseconds since the epoch, and the
/// bytes of [`row`].
const RECORDS: TableDefinition<'_, (&str, &str), (u64, &[u8])> = TableDefinition::new("records");
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
/// The format of everything else.
const FORMAT_KEY: &str = "format";
/// When the file was last written to, in milliseconds since the epoch.
const ALIVE_KEY: &str = "alive_ms";
/// The id of the member that wrote to it last.
const MEMBER_KEY: &str = "member";

/// An open file.
pub(super) struct RecordFile {
    path: PathBuf,
    member: MemberId,
    database: Database,
}

/// What a file says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Meta {
    /// When its member was last alive, in milliseconds since the epoch; `None` in a new file.
    pub(super) alive_ms: Option<u64>,
    /// Who wrote to it last.
    pub(super) member: Option<MemberId>,
}

/// A record to be written, or `None` to remove it.
pub(super) type Change = (RecordId, Option<Record<Content>>);

/// A record as it was read.
#[derive(Debug)]
pub(super) struct Saved {
    pub(super) key: Key,
    pub(super) record: Record<Content>,
    /// When it was written, by the wall clock.
    pub(super) saved_ms: u64,
}

/// The records of one tag.
pub(super) type SavedDatum = (Arc<str>, Vec<Saved>);

impl RecordFile {
    /// Opens the file, or makes a new one if there is none. Looks at every byte of it that counts.
    ///
    /// # Errors
    /// A file that is damaged, that a newer release wrote, or that the system keeps from us.
    pub(super) fn open(path: &Path, member: MemberId) -> Result<(Self, Meta), DataError> {
        match fs::metadata(path) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => Self::create(path, member)?,
            Err(error) => return Err(DataError::system("open", path, error)),
        }
        let database = guarded(path, || {
            let mut builder = Database::builder();
            builder.set_cache_size(CACHE).set_check_integrity_on_open(true);
            builder.open(path).map_err(|error| DataError::file(path, error))
        })?;
        let file = Self { path: path.to_owned(), member, database };
        let meta = guarded(path, || file.read_meta())?;
        Ok((file, meta))
    }

    fn create(path: &Path, member: MemberId) -> Result<(), DataError> {
        let draft = path.with_extension("redb.new");
        let failed = |error| DataError::system("write", &draft, error);
        // Left by a crash before it was whole.
        match fs::remove_file(&draft) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let database = guarded(&draft, || {
            let mut builder = Database::builder();
            builder.set_cache_size(CACHE);
            builder.create(&draft).map_err(|error| DataError::file(&draft, error))
        })?;
        let file = Self { path: draft.clone(), member, database };
        guarded(&draft, || {
            file.try_write(&[], None).map_err(|error| DataError::file(&draft, error))
        })?;
        drop(file);
        fs::rename(&draft, path).map_err(failed)?;
        sync_folder(path)
    }

    fn read_meta(&self) -> Result<Meta, DataError> {
        let failed = |error: redb::Error| DataError::file(&self.path, error);
        let read = || -> Result<[Option<u64>; 3], redb::Error> {
            let table = self.database.begin_read()?.open_table(META)?;
            let number = |key: &str| Ok(table.get(key)?.map(|guard| guard.value()));
            let numbers = [FORMAT_KEY, ALIVE_KEY, MEMBER_KEY].map(number);
            let [format, alive_ms, member]: [Result<_, redb::Error>; 3] = numbers;
            Ok([format?, alive_ms?, member?])
        };
        let [format, alive_ms, member] = read().map_err(failed)?;
        match format {
            Some(FORMAT) => {}
            Some(found) if found > FORMAT => {
                let path = self.path.clone();
                return Err(DataError::Newer { path, found, known: FORMAT });
            }
            _ => return Err(DataError::damaged(&self.path, "it says nothing of its format")),
        }
        let member = member.and_then(|member| u32::try_from(member).ok()).map(MemberId);
        Ok(Meta { alive_ms, member })
    }

    /// All records, by tag.
    ///
    /// # Errors
    /// A record that nobody can have written.
    pub(super) fn read(&self) -> Result<Vec<SavedDatum>, DataError> {
        guarded(&self.path, || {
            let failed = |error: redb::Error| DataError::file(&self.path, error);
            let mut datums: Vec<SavedDatum> = Vec::new();
            let transaction = self.database.begin_read().map_err(|error| failed(error.into()))?;
            let table = transaction.open_table(RECORDS).map_err(|error| failed(error.into()))?;
            for item in table.iter().map_err(|error| failed(error.into()))? {
                let (place, saved) = item.map_err(|error| failed(error.into()))?;
                let ((tag, key), (saved_ms, bytes)) = (place.value(), saved.value());
                let record = row::decode(bytes).map_err(|error| {
                    let text = format!("record {key:?} of {tag:?}: {error}");
                    DataError::damaged(&self.path, text)
                })?;
                let saved = Saved { key: key.into(), record, saved_ms };
                match datums.last_mut().filter(|(last, _)| **last == *tag) {
                    Some((_, records)) => records.push(saved),
                    None => datums.push((tag.into(), vec![saved])),
                }
            }
            Ok(datums)
        })
    }

    /// Writes all changes at once. They are on disk when this returns. What the file says already
    /// costs no write; then only the changes are counted that did.
    ///
    /// # Errors
    /// Nothing is written, or all of it: the file must be opened anew to know.
    pub(super) fn write(&self, changes: &[Change], now_ms: u64) -> Result<usize, DataError> {
        guarded(&self.path, || {
            let written = self.try_write(changes, Some(now_ms));
            written.map_err(|error| DataError::file(&self.path, error))
        })
    }

    fn try_write(&self, changes: &[Change], now_ms: Option<u64>) -> Result<usize, redb::Error> {
        // Durable at once, which is the default.
        let transaction = self.database.begin_write()?;
        let mut written = 0;
        {
            let mut records = transaction.open_table(RECORDS)?;
            for ((tag, key), record) in changes {
                let place = (&**tag, &**key);
                let known = records.get(place)?.map(|saved| saved.value().1.to_vec());
                let bytes = record.as_ref().map(row::encode);
                if known == bytes {
                    continue;
                }
                written += 1;
                match &bytes {
                    Some(bytes) => {
                        _ = records.insert(place, (now_ms.unwrap_or(0), bytes.as_slice()))?;
                    }
                    None => _ = records.remove(place)?,
                }
            }
            if written == 0 && !changes.is_empty() {
                drop(records);
                transaction.abort()?;
                return Ok(0);
            }
            let mut meta = transaction.open_table(META)?;
            meta.insert(FORMAT_KEY, FORMAT)?;
            meta.insert(MEMBER_KEY, u64::from(self.member.0))?;
            if let Some(now_ms) = now_ms {
                meta.insert(ALIVE_KEY, now_ms)?;
            }
        }
        transaction.commit()?;
        Ok(written)
    }
}

/// Runs `use_file`. A file that was changed behind our back can make the code that reads it panic;
/// that must end neither a start without a word nor the thread that saves.
fn guarded<T>(
    path: &Path,
    use_file: impl FnOnce() -> Result<T, DataError>,
) -> Result<T, DataError> {
    // The file is opened anew after an error, so nothing half changed is used again.
    catch_unwind(AssertUnwindSafe(use_file))
        .unwrap_or_else(|_| Err(DataError::damaged(path, "its parts do not fit together")))
}

/// Makes a new name in the folder of `path` last.
pub(super) fn sync_folder(path: &Path) -> Result<(), DataError> {
    let Some(folder) = path.parent() else { return Ok(()) };
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|error| DataError::system("write to", folder, error))
}
