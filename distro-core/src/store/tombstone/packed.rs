//! How one tombstone is written and read as bytes.

use std::ops::Range;

use super::Tombstone;
use crate::record::Health;
use crate::stamp::{MemberId, Stamp};
use crate::time::Tick;

/// One tombstone in a block: length of the body, length of the key, key, body.
pub(super) struct Item<'a> {
    pub(super) range: Range<usize>,
    pub(super) key: &'a [u8],
    pub(super) body: &'a [u8],
}

pub(super) fn items(block: &[u8]) -> impl Iterator<Item = Item<'_>> + Clone {
    let mut rest = block;
    std::iter::from_fn(move || {
        let start = block.len() - rest.len();
        let body_bytes = take_number(&mut rest)?;
        let key_bytes = take_number(&mut rest)?;
        let key = take(&mut rest, usize::try_from(key_bytes).ok()?)?;
        let body = take(&mut rest, usize::try_from(body_bytes).ok()?)?;
        Some(Item { range: start..block.len() - rest.len(), key, body })
    })
}

pub(super) fn encode(key: &[u8], tombstone: &Tombstone) -> Vec<u8> {
    let mut item = Vec::with_capacity(key.len() + USUAL_ITEM);
    // The length of the body, which never needs a second byte: see `MAX_BODY`.
    item.push(0);
    put_number(&mut item, key.len() as u64);
    item.extend_from_slice(key);
    let start = item.len();
    encode_body(tombstone, &mut item);
    item[0] = (item.len() - start) as u8;
    item
}

/// Bytes of an item besides its key, unless its stamps are of many members.
const USUAL_ITEM: usize = 64;

/// Most bytes of a body: the first, three stamps of 16 bytes, two numbers of 64 bits.
pub(super) const MAX_BODY: usize = 1 + 3 * 16 + 2 * 10;
const _: () = assert!(MAX_BODY < 0x80);

/// How a stamp is written: two bits each, in the first byte of the body.
const NEVER: u8 = 0;
/// The same as the one before.
const SAME: u8 = 1;
/// By the same member in the same start as the one before: only the difference in time.
const NEAR: u8 = 2;
const FULL: u8 = 3;

/// Appends a body.
pub(super) fn encode_body(tombstone: &Tombstone, body: &mut Vec<u8>) {
    let start = body.len();
    let mut first = match tombstone.judged {
        Health::Healthy => 0,
        Health::Unhealthy => 1,
        Health::Expired => 2,
    };
    body.push(0);
    let mut last = Stamp::NEVER;
    for stamp in [tombstone.registration, tombstone.liveness, tombstone.deregistered] {
        let issuer = |stamp: Stamp| (stamp.member(), stamp.incarnation());
        let kind = if stamp == Stamp::NEVER {
            NEVER
        } else if stamp == last {
            SAME
        } else if issuer(stamp) == issuer(last) {
            put_number(body, zigzag(stamp.time().wrapping_sub(last.time())));
            NEAR
        } else {
            body.extend_from_slice(&stamp.time().to_le_bytes());
            body.extend_from_slice(&stamp.member().0.to_le_bytes());
            body.extend_from_slice(&stamp.incarnation().to_le_bytes());
            FULL
        };
        first = first << 2 | kind;
        if kind != NEVER {
            last = stamp;
        }
    }
    let learned = tombstone.learned.as_ms();
    put_number(body, learned);
    put_number(body, zigzag(learned.wrapping_sub(tombstone.heard_ms)));
    if let Some(place) = body.get_mut(start) {
        *place = first;
    }
}

/// `None` only for what [`encode_body`] did not write.
pub(super) fn decode(body: &[u8]) -> Option<Tombstone> {
    let (first, mut rest) = body.split_first()?;
    let mut last = Stamp::NEVER;
    let mut stamp = |kind: u8, rest: &mut &[u8]| {
        let stamp = match kind & 3 {
            NEVER => return Some(Stamp::NEVER),
            SAME => last,
            NEAR => {
                let time = last.time().wrapping_add(unzigzag(take_number(rest)?));
                Stamp::from_parts(time, last.member(), last.incarnation())
            }
            _ => {
                let time = u64::from_le_bytes(take(rest, 8)?.try_into().ok()?);
                let member = u32::from_le_bytes(take(rest, 4)?.try_into().ok()?);
                let incarnation = u32::from_le_bytes(take(rest, 4)?.try_into().ok()?);
                Stamp::from_parts(time, MemberId(member), incarnation)
            }
        };
        last = stamp;
        Some(stamp)
    };
    let registration = stamp(first >> 4, &mut rest)?;
    let liveness = stamp(first >> 2, &mut rest)?;
    let deregistered = stamp(*first, &mut rest)?;
    let judged = match first >> 6 {
        0 => Health::Healthy,
        1 => Health::Unhealthy,
        _ => Health::Expired,
    };
    let learned = take_number(&mut rest)?;
    let heard_ms = learned.wrapping_sub(unzigzag(take_number(&mut rest)?));
    let learned = Tick::from_ms(learned);
    Some(Tombstone { registration, liveness, deregistered, judged, learned, heard_ms })
}

/// Small numbers either side of zero become small numbers.
const fn zigzag(difference: u64) -> u64 {
    (difference << 1) ^ (0_u64.wrapping_sub(difference >> 63))
}

const fn unzigzag(number: u64) -> u64 {
    (number >> 1) ^ (0_u64.wrapping_sub(number & 1))
}

/// Seven bits a byte, the lowest first; the highest bit says that more follow.
fn put_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

#[inline]
fn take_number(rest: &mut &[u8]) -> Option<u64> {
    match *rest {
        // The lengths of all but the longest keys: what is passed over on the way to a key.
        [byte @ ..0x80, after @ ..] => {
            *rest = after;
            Some(u64::from(*byte))
        }
        _ => take_long_number(rest),
    }
}

fn take_long_number(rest: &mut &[u8]) -> Option<u64> {
    let (mut number, mut shift) = (0, 0);
    loop {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        number |= u64::from(byte & 0x7F).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(number);
        }
        shift += 7;
    }
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(taken)
}
