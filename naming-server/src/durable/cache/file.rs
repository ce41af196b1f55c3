//! The file: a mark, then [frames](super::frame), one behind the other in the order of time.
//!
//! It is only ever appended to. A crash may leave the last frame half written; it is cut off.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;

use super::frame::{self, Frame, HEAD};
use super::stats::CacheStats;

/// The name of the file within the folder.
pub(super) const NAME: &str = "instances.cache";

/// What the file begins with. Another one is that of another format.
const MARK: &[u8; 8] = b"nsinst-1";

/// So much is always worth less than writing the file anew.
const SLACK: u64 = 32 << 20;
/// What is kept of a buffer that had to grow.
const BUFFER: usize = 1 << 20;

/// A file that is written to.
pub(super) struct CacheFile {
    file: File,
    /// Appended and not yet written.
    buffer: Vec<u8>,
    /// Of the file and the buffer.
    bytes: u64,
    /// Of those frames that counted when it was made or read.
    pub(super) live: u64,
}

/// What is in a file.
pub(super) struct Contents {
    reader: BufReader<File>,
    /// Where the payload of the last frame of each service is, and its length.
    places: Vec<(u64, u32)>,
    /// The latest moment that a frame names.
    pub(super) saved_ms: u64,
    /// Where the last whole frame ends, and where the file does.
    pub(super) valid: u64,
    pub(super) length: u64,
    /// Whether whoever wrote it had the time to write everything.
    pub(super) is_complete: bool,
    live: u64,
}

impl CacheFile {
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        let mut file = File::create(path)?;
        file.write_all(MARK)?;
        Ok(Self { file, buffer: Vec::new(), bytes: MARK.len() as u64, live: 0 })
    }

    /// Goes on with a file that was read.
    pub(super) fn continued(path: &Path, contents: &Contents) -> io::Result<Self> {
        let mut file = OpenOptions::new().write(true).open(path)?;
        file.set_len(contents.valid)?;
        file.seek(SeekFrom::End(0))?;
        Ok(Self { file, buffer: Vec::new(), bytes: contents.valid, live: contents.live })
    }

    pub(super) fn append(&mut self, frames: &[u8]) {
        self.buffer.extend_from_slice(frames);
        self.bytes += frames.len() as u64;
    }

    /// Hands what was appended to the system.
    pub(super) fn write(&mut self, stats: &CacheStats) -> io::Result<()> {
        self.file.write_all(&self.buffer)?;
        stats.bytes.fetch_add(self.buffer.len() as u64, Relaxed);
        self.buffer.clear();
        self.buffer.shrink_to(BUFFER);
        Ok(())
    }

    /// Whether so much of it counts no more that it should be written anew.
    pub(super) fn is_overgrown(&self) -> bool {
        self.bytes > 2 * self.live + SLACK
    }
}

impl Contents {
    /// Finds the frames that count. `None` if the file is of another format.
    ///
    /// # Errors
    /// There is no such file, or it cannot be read.
    pub(super) fn find(path: &Path) -> io::Result<Option<Self>> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        let mut reader = BufReader::with_capacity(256 << 10, file);
        let mut mark = [0; MARK.len()];
        if length < MARK.len() as u64 {
            return Ok(None);
        }
        reader.read_exact(&mut mark)?;
        if mark != *MARK {
            return Ok(None);
        }
        let mut last: HashMap<Box<str>, (u64, u32)> = HashMap::new();
        let (mut at, mut saved_ms, mut payload) = (MARK.len() as u64, 0, Vec::new());
        let mut ends_complete = false;
        while let Some(checksum) = next(&mut reader, length - at, &mut payload)? {
            let Some(frame) =
                Frame::parse(&payload).filter(|_| frame::is_whole(&payload, checksum))
            else {
                break;
            };
            saved_ms = saved_ms.max(frame.saved_ms);
            ends_complete = frame.tag == frame::COMPLETE;
            let place = (at + HEAD as u64, u32::try_from(payload.len()).unwrap_or(u32::MAX));
            match last.get_mut(frame.tag) {
                Some(known) => *known = place,
                None if [frame::ALIVE, frame::COMPLETE].contains(&frame.tag) => {}
                None => _ = last.insert(frame.tag.into(), place),
            }
            at = place.0 + payload.len() as u64;
        }
        let mut places: Vec<_> = last.into_values().collect();
        places.sort_unstable();
        let live = places.iter().map(|(_, bytes)| u64::from(*bytes) + HEAD as u64).sum();
        let is_complete = ends_complete && at == length;
        Ok(Some(Self { reader, places, saved_ms, valid: at, length, is_complete, live }))
    }

    /// Gives each frame that counts to `read`, in the order of the file.
    pub(super) fn each(&mut self, mut read: impl FnMut(&Frame<'_>)) -> io::Result<()> {
        let mut at = self.reader.seek(SeekFrom::Start(0))?;
        let mut payload = Vec::new();
        for (place, bytes) in &self.places {
            self.reader.seek_relative(i64::try_from(place - at).unwrap_or(i64::MAX))?;
            payload.resize(*bytes as usize, 0);
            self.reader.read_exact(&mut payload)?;
            at = place + u64::from(*bytes);
            if let Some(frame) = Frame::parse(&payload) {
                read(&frame);
            }
        }
        Ok(())
    }
}

/// Reads one payload and returns the checksum that it should have; `None` if none is whole within
/// the `left` bytes.
fn next(reader: &mut impl Read, left: u64, payload: &mut Vec<u8>) -> io::Result<Option<u64>> {
    let Some(left) = left.checked_sub(HEAD as u64) else { return Ok(None) };
    let mut head = [0; HEAD];
    reader.read_exact(&mut head)?;
    let (length, checksum) = frame::parse_head(&head);
    if u64::from(length) > left {
        return Ok(None);
    }
    payload.resize(length as usize, 0);
    reader.read_exact(payload)?;
    Ok(Some(checksum))
}
