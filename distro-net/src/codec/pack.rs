//! Large messages are sent compressed (LZ4) to members that understand it.
//!
//! The names of services repeat in a batch, as do stamps and metadata. A packed message begins with
//! a byte that no message begins with, then its length as it was, then one LZ4 block.

use std::borrow::Cow;

use bytes::Bytes;

use super::{CodecError, Limits};

/// The first minor version that understands packed messages.
const SINCE_MINOR: u32 = 2;

/// Smaller messages are sent as they are: there is little in them that repeats.
const LEAST_BYTES: usize = 128;

/// An envelope begins with the key of its first field, which is never zero.
const MARK: u8 = 0;

/// The mark and the length.
const HEAD_BYTES: usize = 1 + size_of::<u32>();

/// No byte of a block stands for more bytes than this.
const MOST_RATIO: usize = 255;

/// A message as it is sent to a member that speaks this minor version.
pub(crate) fn pack(message: &[u8], minor: u32) -> Cow<'_, [u8]> {
    let Ok(length) = u32::try_from(message.len()) else { return message.into() };
    if minor < SINCE_MINOR || message.len() < LEAST_BYTES {
        return message.into();
    }
    let most = lz4_flex::block::get_maximum_output_size(message.len());
    let mut packed = vec![0; HEAD_BYTES + most];
    let (head, block) = packed.split_at_mut(HEAD_BYTES);
    if let ([mark, numbers @ ..], Ok(bytes)) =
        (head, lz4_flex::block::compress_into(message, block))
        && HEAD_BYTES + bytes < message.len()
    {
        *mark = MARK;
        numbers.copy_from_slice(&length.to_le_bytes());
        packed.truncate(HEAD_BYTES + bytes);
        return packed.into();
    }
    message.into()
}

/// The message that was packed, or the message if it was not. Memory is taken for no more bytes
/// than a message may have, nor for more than the block can stand for.
pub(crate) fn unpack(message: Bytes, limits: &Limits) -> Result<Bytes, CodecError> {
    let Some((&MARK, rest)) = message.split_first() else { return Ok(message) };
    let malformed = |what: &str| CodecError::Malformed(what.into());
    let (length, block) =
        rest.split_first_chunk().ok_or_else(|| malformed("a packed message without a length"))?;
    let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
    let limit = limits.message_bytes;
    if length > limit {
        return Err(CodecError::TooLarge { what: "the message", limit });
    }
    if length > block.len().saturating_mul(MOST_RATIO) {
        return Err(malformed("a packed message that claims too much"));
    }
    let mut target = vec![0; length];
    match lz4_flex::block::decompress_into(block, &mut target) {
        Ok(bytes) if bytes == length => Ok(target.into()),
        Ok(_) => Err(malformed("a packed message of another length")),
        Err(error) => Err(CodecError::Malformed(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn limits(message_bytes: usize) -> Limits {
        Limits { message_bytes, ..Limits::default() }
    }

    fn batch() -> Vec<u8> {
        let mut message = vec![8];
        for n in 0..50 {
            let text = format!("public##DEFAULT_GROUP@@service.{n:06}10.0.0.{n}#8080#DEFAULT");
            message.extend_from_slice(text.as_bytes());
        }
        message
    }

    #[test]
    fn a_batch_takes_less_than_half_and_is_the_same_again() {
        let message = batch();
        let packed = pack(&message, 2).into_owned();
        assert!(packed.len() * 2 < message.len(), "{} of {}", packed.len(), message.len());
        assert_eq!(unpack(packed.into(), &limits(1 << 20)).unwrap(), message);
    }

    #[test]
    fn members_of_before_and_small_messages_get_them_as_they_are() {
        let message = batch();
        assert_eq!(*pack(&message, 1), *message);
        assert_eq!(*pack(&message[..100], 2), message[..100]);
    }

    #[test]
    fn what_claims_more_than_a_message_may_be_is_refused_before_it_takes_memory() {
        let packed = Bytes::from(pack(&batch(), 2).into_owned());
        let refused = unpack(packed.clone(), &limits(1_000)).unwrap_err();
        assert!(matches!(refused, CodecError::TooLarge { .. }), "{refused}");
        for length in [0, 1, 1 << 24] {
            let mut lying = packed.to_vec();
            lying[1..5].copy_from_slice(&u32::to_le_bytes(length));
            let refused = unpack(lying.into(), &limits(usize::MAX)).unwrap_err();
            assert!(matches!(refused, CodecError::Malformed(_)), "{refused}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_sent_comes_back(message in prop::collection::vec(0..4_u8, 1..2_000)) {
            let message: Vec<u8> = [8].into_iter().chain(message).collect();
            let packed = Bytes::from(pack(&message, 2).into_owned());
            prop_assert_eq!(unpack(packed, &limits(4_000)).unwrap(), message);
        }

        #[test]
        fn bytes_of_all_kinds_do_no_harm(rest in prop::collection::vec(any::<u8>(), 0..300)) {
            let message: Vec<u8> = [MARK].into_iter().chain(rest).collect();
            if let Ok(message) = unpack(message.into(), &limits(10_000)) {
                prop_assert!(message.len() <= 10_000);
            }
        }
    }
}
