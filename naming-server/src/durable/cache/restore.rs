//! From the file into the store, at the start.

use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::{Duration, Instant};

use distro_core::{Key, Record};
use naming_model::ServiceKey;

use super::file::{CacheFile, Contents};
use super::frame::Frame;
use crate::durable::is_durable;
use crate::registry::{Content, Registry, wall_ms};

/// Restores what the file says, if it is good and not older than `within`, and returns it to go on
/// with. Whatever is wrong with it is said, and no reason not to start.
pub(super) fn restore(path: &Path, registry: &Registry, within: Duration) -> Option<CacheFile> {
    let shown = path.display();
    match try_restore(path, registry, within) {
        Ok(Some(file)) => return Some(file),
        // A first start, most likely: nobody has registered anything before.
        Err(error) if error.kind() == ErrorKind::NotFound => return None,
        Ok(None) => {}
        Err(error) => {
            tracing::warn!(%error, file = %shown, "saved instances cannot be read; going on without");
        }
    }
    registry.begin_recovery();
    None
}

fn try_restore(
    path: &Path,
    registry: &Registry,
    within: Duration,
) -> io::Result<Option<CacheFile>> {
    let (began, file) = (Instant::now(), path.display());
    let Some(mut contents) = Contents::find(path)? else {
        tracing::warn!(%file, "saved instances are in a form unknown here; going on without");
        return Ok(None);
    };
    let age = Duration::from_millis(wall_ms().saturating_sub(contents.saved_ms));
    if age > within {
        let seconds_ago = age.as_secs();
        tracing::info!(%file, seconds_ago, "instances were saved too long ago to be shown");
        return Ok(None);
    }
    let mut count = 0;
    contents.each(|frame| count += restore_frame(frame, registry))?;
    let (took_ms, age_ms) = (began.elapsed().as_millis(), age.as_millis());
    tracing::info!(instances = count, took_ms, age_ms, %file, "ephemeral instances restored");
    if !contents.is_complete {
        registry.begin_recovery();
        tracing::info!(
            %file,
            "the last stop had no time to save all instances: services of which none is known are \
             not answered until their clients had time to send a beat"
        );
    }
    let torn = contents.length - contents.valid;
    if torn > 0 {
        tracing::info!(bytes = torn, %file, "the damaged end of the saved instances was left out");
    }
    CacheFile::continued(path, &contents).map(Some)
}

/// Returns how many instances are there again.
fn restore_frame(frame: &Frame<'_>, registry: &Registry) -> usize {
    let tag = frame.tag;
    if !ServiceKey::is_tag(tag) {
        return 0;
    }
    let records: Vec<_> =
        frame.records().filter(|(key, record)| is_ephemeral(tag, key, record)).collect();
    if records.is_empty() {
        return 0;
    }
    let keys: Vec<Key> = records.iter().map(|(key, _)| Key::clone(key)).collect();
    registry.store.restore(tag, records, registry.clock.tick());
    let Some(datum) = registry.store.find(tag) else { return 0 };
    let is_there = |key: &Key| datum.read(|reader| reader.find_visible(key).is_some());
    let keys = keys.into_iter().filter(is_there);
    registry.events.note_restored(datum.tag(), keys)
}

fn is_ephemeral(tag: &str, key: &str, record: &Record<Content>) -> bool {
    let is_instance = matches!(record.value.as_deref(), Some(Content::Instance(_)));
    is_instance && record.is_visible() && !is_durable(tag, key)
}
