//! The message of the wire: one payload in both directions, length-prefixed as gRPC has it.

use std::collections::HashMap;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::Message;

use crate::error::{Error, Failure};

/// What stands before a message: a flag and the length.
const PREFIX: usize = 5;
/// Longest request that servers take, in bytes.
const MAX_REQUEST: usize = 10_485_760;
/// Longest message taken, in bytes: servers send lists of any length.
const MAX_MESSAGE: usize = 64 * 1024 * 1024;

#[derive(Clone, PartialEq, Message)]
pub(super) struct Payload {
    #[prost(message, optional, tag = "2")]
    metadata: Option<Metadata>,
    #[prost(message, optional, tag = "3")]
    body: Option<Any>,
}

#[derive(Clone, PartialEq, Message)]
struct Metadata {
    /// The simple name of the Java class of the body.
    #[prost(string, tag = "3")]
    kind: String,
    #[prost(map = "string, string", tag = "7")]
    headers: HashMap<String, String>,
}

#[derive(Clone, PartialEq, Message)]
struct Any {
    /// JSON.
    #[prost(bytes = "bytes", tag = "2")]
    value: Bytes,
}

impl Payload {
    /// Kind and body.
    pub(super) fn into_parts(self) -> (String, Bytes) {
        let (metadata, body) = (self.metadata.unwrap_or_default(), self.body.unwrap_or_default());
        (metadata.kind, body.value)
    }
}

/// Writes a message of this kind with its prefix.
///
/// # Errors
/// [`Error::Request`] above the length that servers take.
pub(super) fn frame(kind: &str, headers: &[(&str, &str)], body: Bytes) -> Result<Bytes, Error> {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let metadata = Some(Metadata { kind: kind.to_owned(), headers: headers.collect() });
    let payload = Payload { metadata, body: Some(Any { value: body }) };
    let length = payload.encoded_len();
    let announced = u32::try_from(length).ok().filter(|_| length <= MAX_REQUEST);
    let announced = announced.ok_or_else(|| {
        Error::Request(format!("{length} bytes, and servers take {MAX_REQUEST} at most"))
    })?;
    let mut frame = BytesMut::with_capacity(PREFIX + length);
    frame.put_u8(0);
    frame.put_u32(announced);
    payload.encode_raw(&mut frame);
    Ok(frame.freeze())
}

/// Puts the bytes of a stream together to messages.
#[derive(Debug, Default)]
pub(super) struct Frames {
    buffered: BytesMut,
}

impl Frames {
    pub(super) fn push(&mut self, chunk: &[u8]) {
        self.buffered.extend_from_slice(chunk);
    }

    /// The next message, if all of it is there.
    ///
    /// # Errors
    /// It is too long, compressed although nobody asked for that, or no payload.
    pub(super) fn pop(&mut self) -> Result<Option<Payload>, Failure> {
        let Some(mut prefix) = self.buffered.get(..PREFIX) else { return Ok(None) };
        let (flag, length) = (prefix.get_u8(), prefix.get_u32() as usize);
        if flag != 0 {
            return Err(Failure::Malformed("a compressed message".to_owned()));
        }
        if length > MAX_MESSAGE {
            return Err(Failure::Malformed(format!("a message of {length} bytes")));
        }
        if self.buffered.len() < PREFIX + length {
            return Ok(None);
        }
        self.buffered.advance(PREFIX);
        let message = self.buffered.split_to(length).freeze();
        let payload = Payload::decode(message);
        payload.map(Some).map_err(|error| Failure::Malformed(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn messages_come_out_however_their_bytes_come_in(
            kinds in prop::collection::vec("[A-Z]{1,40}", 1..5),
            body: Vec<u8>,
            step in 1_usize..64,
        ) {
            let framed = |kind: &String| frame(kind, &[("a", "b")], body.clone().into()).unwrap();
            let bytes: Vec<u8> = kinds.iter().flat_map(framed).collect();
            let (mut frames, mut found) = (Frames::default(), Vec::new());
            for chunk in bytes.chunks(step) {
                frames.push(chunk);
                while let Some(payload) = frames.pop().unwrap() {
                    found.push(payload.into_parts());
                }
            }
            let expected = kinds.into_iter().map(|kind| (kind, body.clone().into()));
            prop_assert_eq!(found, expected.collect::<Vec<(String, Bytes)>>());
        }

        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            let mut frames = Frames::default();
            frames.push(&bytes);
            while let Ok(Some(_)) = frames.pop() {}
        }
    }

    #[test]
    fn messages_that_are_too_long_are_refused_on_both_ways() {
        let long = frame("A", &[], vec![0; MAX_REQUEST].into());
        assert!(matches!(long, Err(Error::Request(_))));
        let mut frames = Frames::default();
        frames.push(&[0, 0xff, 0xff, 0xff, 0xff]);
        assert!(frames.pop().is_err());
        let mut packed = Frames::default();
        packed.push(&[1, 0, 0, 0, 0]);
        assert!(packed.pop().is_err());
    }
}
