//! From the bytes of a stream to messages.

use std::io::Read;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use flate2::read::GzDecoder;
use naming_model::payload::{MOST_REQUEST_BYTES, Payload, Prefix};

use super::budget::{Account, Charge};

/// Bytes of one message; a compressed one has no more when it is unpacked.
pub(super) const MOST_MESSAGE_BYTES: usize = MOST_REQUEST_BYTES;
/// Bytes that are unpacked at a time, each time asking the budget.
const UNPACKED_AT_A_TIME: usize = 32 << 10;

/// Why a message cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadMessage {
    #[error("a message is larger than {MOST_MESSAGE_BYTES} bytes")]
    TooLarge,
    #[error("too many bytes of messages are being received, please try again")]
    NoRoom,
    #[error("a message is compressed, but not with gzip")]
    UnknownCompression,
    #[error("a message is not a Payload")]
    Malformed,
}

/// Collects the bytes of one stream and gives out its messages.
pub(super) struct Messages {
    account: Arc<Account>,
    charge: Charge,
    buffered: BytesMut,
    takes_gzip: bool,
}

impl Messages {
    /// `takes_gzip`: the head of the call says that compressed messages are so.
    pub(super) fn new(account: &Arc<Account>, takes_gzip: bool) -> Self {
        let (account, charge) = (Arc::clone(account), account.charge());
        Self { account, charge, buffered: BytesMut::new(), takes_gzip }
    }

    /// Takes what has come. Mostly that is a whole message, and nothing is copied.
    ///
    /// # Errors
    /// A message is announced that is too large, or there is no room for the bytes.
    pub(super) fn push(&mut self, chunk: Bytes) -> Result<(), BadMessage> {
        if !self.charge.grow(chunk.len()) {
            return Err(BadMessage::NoRoom);
        }
        if self.buffered.is_empty() {
            self.buffered = chunk.into();
        } else {
            self.buffered.extend_from_slice(&chunk);
        }
        match Prefix::of(&self.buffered) {
            Some(prefix) if prefix.length > MOST_MESSAGE_BYTES => Err(BadMessage::TooLarge),
            _ => Ok(()),
        }
    }

    /// The next message, if all of it is there, with what it takes of the budget.
    ///
    /// # Errors
    /// It is compressed in a way unknown here, or too large, or no payload.
    pub(super) fn pop(&mut self) -> Result<Option<(Payload, Charge)>, BadMessage> {
        let Some(prefix) = Prefix::of(&self.buffered) else { return Ok(None) };
        if prefix.length > MOST_MESSAGE_BYTES {
            return Err(BadMessage::TooLarge);
        }
        let Some(message) = prefix.take(&mut self.buffered) else { return Ok(None) };
        let mut charge = std::mem::replace(&mut self.charge, self.account.charge());
        if !self.buffered.is_empty() && !self.charge.grow(self.buffered.len()) {
            return Err(BadMessage::NoRoom);
        }
        let message = match prefix.flag {
            0 => message,
            1 if self.takes_gzip => unpack(&message, &mut charge)?,
            _ => return Err(BadMessage::UnknownCompression),
        };
        let payload = Payload::read(message).map_err(|_| BadMessage::Malformed)?;
        Ok(Some((payload, charge)))
    }

    /// Whether a message has begun and is not whole.
    pub(super) fn is_in_the_middle(&self) -> bool {
        !self.buffered.is_empty()
    }
}

fn unpack(packed: &[u8], charge: &mut Charge) -> Result<Bytes, BadMessage> {
    let mut unpacked = Vec::new();
    let mut decoder = GzDecoder::new(packed);
    loop {
        if !charge.grow(UNPACKED_AT_A_TIME) {
            return Err(BadMessage::NoRoom);
        }
        let read = decoder.by_ref().take(UNPACKED_AT_A_TIME as u64).read_to_end(&mut unpacked);
        match read {
            Ok(0) => return Ok(unpacked.into()),
            Ok(_) if unpacked.len() > MOST_MESSAGE_BYTES => return Err(BadMessage::TooLarge),
            Ok(_) => {}
            Err(_) => return Err(BadMessage::Malformed),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use naming_model::payload::frame;
    use proptest::prelude::*;

    use super::super::budget::Budget;
    use super::*;

    fn messages(most: usize) -> Messages {
        let all = Arc::new(Budget::new(1 << 30));
        Messages::new(&Arc::new(Account::new(most, all, Arc::default())), true)
    }

    fn packed(kind: &str, body: &[u8]) -> Vec<u8> {
        let plain = frame(kind, "", &[Bytes::copy_from_slice(body)]).concat();
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&plain[5..]).unwrap();
        let packed = encoder.finish().unwrap();
        let length = u32::try_from(packed.len()).unwrap().to_be_bytes();
        [&[1], &length[..], &packed].concat()
    }

    proptest! {
        #[test]
        fn messages_come_out_however_their_bytes_come_in(
            kinds in prop::collection::vec("[A-Z]{1,40}", 1..5),
            step in 1_usize..64,
        ) {
            let bytes: Vec<u8> =
                kinds.iter().flat_map(|kind| frame(kind, "", &[]).concat()).collect();
            let mut messages = messages(1 << 20);
            let mut found = Vec::new();
            for chunk in bytes.chunks(step) {
                messages.push(Bytes::copy_from_slice(chunk)).unwrap();
                while let Some((payload, _)) = messages.pop().unwrap() {
                    found.push(payload.kind().to_owned());
                }
            }
            prop_assert_eq!(found, kinds);
            prop_assert!(!messages.is_in_the_middle());
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut messages = messages(1 << 20);
            if messages.push(bytes.into()).is_ok() {
                while let Ok(Some(_)) = messages.pop() {}
            }
        }
    }

    #[test]
    fn gzip_is_read() {
        let mut messages = messages(1 << 20);
        messages.push(packed("InstanceRequest", b"{}").into()).unwrap();
        let (payload, _charge) = messages.pop().unwrap().unwrap();
        assert_eq!(payload.kind(), "InstanceRequest");
        assert_eq!(payload.body(), b"{}");
    }

    #[test]
    fn what_unpacks_to_too_much_is_refused_before_it_takes_much() {
        let bomb = packed("A", &vec![b'x'; MOST_MESSAGE_BYTES]);
        assert!(bomb.len() < 64 << 10);
        let mut roomy = messages(64 << 20);
        roomy.push(bomb.clone().into()).unwrap();
        assert_eq!(roomy.pop().unwrap_err(), BadMessage::TooLarge);
        let mut narrow = messages(1 << 20);
        narrow.push(bomb.into()).unwrap();
        assert_eq!(narrow.pop().unwrap_err(), BadMessage::NoRoom);
    }

    #[test]
    fn a_message_has_so_many_bytes_and_not_one_more() {
        let prefix = |length: usize| {
            [&[0], &u32::try_from(length).unwrap().to_be_bytes()[..]].concat().into()
        };
        assert_eq!(messages(64 << 20).push(prefix(MOST_MESSAGE_BYTES)), Ok(()));
        let refused = messages(64 << 20).push(prefix(MOST_MESSAGE_BYTES + 1));
        assert_eq!(refused, Err(BadMessage::TooLarge));
    }

    #[test]
    fn more_than_the_budget_is_refused() {
        let mut messages = messages(100);
        let head = [&[0], &1_000_u32.to_be_bytes()[..], &[0; 90]].concat();
        messages.push(head.into()).unwrap();
        assert_eq!(messages.push(Bytes::from_static(&[0; 6])), Err(BadMessage::NoRoom));
    }
}
