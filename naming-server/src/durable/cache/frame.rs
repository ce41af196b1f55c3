//! A frame: all ephemeral instances that a service had at some moment. The last one of a service
//! counts; one without records says that there is none any more, one without tag only that the
//! server was alive. A last frame with a mark for a tag says that nothing is missing.
//!
//! ```text
//!  length: u32, checksum: u64 | moment: u64, tag, (key, record)*      each text: length u32, bytes
//! ```

use distro_core::{Key, Record};
use xxhash_rust::xxh3::xxh3_64;

use crate::durable::row;
use crate::registry::Content;

/// What stands before the payload: its length and checksum.
pub(super) const HEAD: usize = 12;

/// The tag of a frame that is about no service.
pub(super) const ALIVE: &str = "";

/// The tag of a frame that ends a file to which everything was written. No service is called so.
pub(super) const COMPLETE: &str = "complete";

/// A payload, taken apart as far as is needed to know what it is about.
pub(super) struct Frame<'a> {
    /// By the wall clock, in milliseconds since the epoch.
    pub(super) saved_ms: u64,
    pub(super) tag: &'a str,
    records: &'a [u8],
}

/// Adds a frame to `buffer`. One that were longer than a frame can be is left out.
pub(super) fn push(
    buffer: &mut Vec<u8>,
    saved_ms: u64,
    tag: &str,
    records: &[(Key, Record<Content>)],
) {
    let start = buffer.len();
    buffer.extend_from_slice(&[0; HEAD]);
    buffer.extend_from_slice(&saved_ms.to_le_bytes());
    push_part(buffer, tag.as_bytes());
    for (key, record) in records {
        push_part(buffer, key.as_bytes());
        push_part(buffer, &row::encode(record));
    }
    let (head, payload) = buffer[start..].split_at_mut(HEAD);
    match u32::try_from(payload.len()) {
        Ok(length) => {
            head[..4].copy_from_slice(&length.to_le_bytes());
            head[4..].copy_from_slice(&xxh3_64(payload).to_le_bytes());
        }
        Err(_) => buffer.truncate(start),
    }
}

/// Length and checksum of the payload behind a head.
pub(super) fn parse_head(head: &[u8; HEAD]) -> (u32, u64) {
    let [a, b, c, d, checksum @ ..] = *head;
    (u32::from_le_bytes([a, b, c, d]), u64::from_le_bytes(checksum))
}

/// Whether a payload is what was written.
pub(super) fn is_whole(payload: &[u8], checksum: u64) -> bool {
    xxh3_64(payload) == checksum
}

impl<'a> Frame<'a> {
    /// `None` if nobody can have written it.
    pub(super) fn parse(payload: &'a [u8]) -> Option<Self> {
        let (moment, mut rest) = payload.split_first_chunk()?;
        let tag = std::str::from_utf8(take_part(&mut rest)?).ok()?;
        Some(Self { saved_ms: u64::from_le_bytes(*moment), tag, records: rest })
    }

    /// The records, as far as they make sense.
    pub(super) fn records(&self) -> impl Iterator<Item = (Key, Record<Content>)> + use<'a> {
        let mut rest = self.records;
        std::iter::from_fn(move || {
            let key = std::str::from_utf8(take_part(&mut rest)?).ok()?;
            let record = row::decode(take_part(&mut rest)?).ok()?;
            Some((key.into(), record))
        })
    }
}

fn push_part(buffer: &mut Vec<u8>, part: &[u8]) {
    // Keys and records are far shorter; if one were not, its frame would be left out.
    let length = u32::try_from(part.len()).unwrap_or(u32::MAX);
    buffer.extend_from_slice(&length.to_le_bytes());
    buffer.extend_from_slice(part);
}

fn take_part<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, after) = rest.split_first_chunk()?;
    let (part, after) = after.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    *rest = after;
    Some(part)
}
