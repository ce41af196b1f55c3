//! The return of a member that was away for longer than the others remember removals.
//!
//! What its file holds may have been removed elsewhere, and nobody can tell it so any more. To put
//! it back would bring it back everywhere. So it waits until it is known whether the others have
//! data: then that counts, and the file is set aside for people to look at.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use distro_core::Beginning;

use super::error::DataError;
use super::file::{SavedDatum, sync_folder};
use super::keeper::{Data, Keeper};
use super::saver::Saver;
use crate::registry::NamingStore;

/// Says how this member came by its data, once that is known.
pub(super) type FindBeginning = Box<dyn Fn() -> Option<Beginning> + Send>;

/// Who was away for all of the retention but this part of it counts as away for too long: joining
/// takes time, and clocks differ.
const MARGIN_PART: u32 = 8;
/// How often to look whether the others have data.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// From a file that cannot be set aside to the next try.
const TRY_EVERY: Duration = Duration::from_secs(8);

/// Whether the others may have forgotten what they removed since `alive_ms`.
pub(super) fn is_too_old(alive_ms: Option<u64>, now_ms: u64, retention: Duration) -> bool {
    let Some(alive_ms) = alive_ms else { return false };
    let away = Duration::from_millis(now_ms.saturating_sub(alive_ms));
    away >= retention - retention / MARGIN_PART
}

/// Waits for the others, does what they make necessary, and then writes what changes. Whoever
/// waits until something is on disk waits for this, too.
pub(super) fn run(mut saver: Saver, data: Data, keeper: &Keeper, beginning: &FindBeginning) {
    let away_ms = data.meta.alive_ms.map(|alive_ms| saver.wall_ms().saturating_sub(alive_ms));
    tracing::warn!(
        file = %saver.path().display(), away_ms,
        "this member was away for longer than removals are remembered (durable.retention_ms); its \
         data is used only if no other member has any"
    );
    let beginning = loop {
        match beginning() {
            Some(beginning) => break beginning,
            // What is yet unwritten was never acknowledged.
            None if keeper.dirty.pause(Instant::now() + LOOK_EVERY) => return,
            None => {}
        }
    };
    let Data { folder, file, datums, .. } = data;
    match beginning {
        Beginning::Alone => {
            // All removals too: other members may come that were away just as long.
            saver.restore(datums, Duration::MAX);
            saver.take(file, folder);
        }
        Beginning::Loaded => {
            drop(file);
            let Some(aside) = set_aside_until_it_works(&saver, keeper) else { return };
            let (records, missing) = compare(&datums, saver.store());
            tracing::warn!(
                file = %aside.display(), records, missing,
                "the data of the other members was taken in place of that of this member, which \
                 was set aside; missing are records of it that no other member has"
            );
            saver.begin_anew(keeper, folder);
        }
    }
    saver.run(keeper);
}

/// `None` if the server stops before.
fn set_aside_until_it_works(saver: &Saver, keeper: &Keeper) -> Option<PathBuf> {
    loop {
        match set_aside(saver.path(), saver.wall_ms()) {
            Ok(aside) => return Some(aside),
            Err(error) => {
                tracing::error!(%error, "old data cannot be set aside; trying again");
                if keeper.dirty.pause(Instant::now() + TRY_EVERY) {
                    return None;
                }
            }
        }
    }
}

fn set_aside(path: &Path, now_ms: u64) -> Result<PathBuf, DataError> {
    let aside = path.with_extension(format!("redb.stale-{now_ms}"));
    fs::rename(path, &aside).map_err(|error| DataError::system("rename", path, error))?;
    sync_folder(path)?;
    Ok(aside)
}

/// How many records were shown, and how many of those nobody knows of, not even as removed.
fn compare(datums: &[SavedDatum], store: &NamingStore) -> (usize, usize) {
    let (mut records, mut missing) = (0, 0);
    for (tag, saved) in datums {
        let datum = store.find(tag);
        for saved in saved.iter().filter(|saved| saved.record.is_visible()) {
            let is_known = |key: &str| {
                let datum = datum.as_ref();
                datum.is_some_and(|datum| datum.read(|reader| reader.find(key).is_some()))
            };
            records += 1;
            missing += usize::from(!is_known(&saved.key));
        }
    }
    (records, missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_old_is_what_is_nearly_as_old_as_removals_become() {
        let retention = Duration::from_millis(800);
        assert!(!is_too_old(None, 1_000_000, retention), "a new file");
        assert!(!is_too_old(Some(10_000), 10_699, retention));
        assert!(is_too_old(Some(10_000), 10_700, retention));
        assert!(!is_too_old(Some(10_000), 9_000, retention), "the clock was set back");
    }

    #[test]
    fn what_is_set_aside_has_a_name_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("registry.redb");
        fs::write(&path, "old").unwrap();
        let aside = set_aside(&path, 77).unwrap();
        assert_eq!(aside, folder.path().join("registry.redb.stale-77"));
        assert!(!path.exists() && fs::read(aside).unwrap() == b"old");
        let text = set_aside(&path, 78).unwrap_err().to_string();
        assert!(text.contains("cannot rename") && text.contains("registry.redb"), "{text}");
    }
}
