//! The one message of the wire, and how gRPC frames it.

use std::collections::HashMap;

use anyhow::{Context, Result, ensure};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::Message;

/// A flag and the length of what follows.
const PREFIX: usize = 5;
/// Far above any answer that the benchmark asks for.
const LARGEST: usize = 64 << 20;

#[derive(Clone, PartialEq, Message)]
pub(super) struct Payload {
    #[prost(message, optional, tag = "2")]
    metadata: Option<Metadata>,
    #[prost(message, optional, tag = "3")]
    body: Option<Any>,
}

#[derive(Clone, PartialEq, Message)]
struct Metadata {
    #[prost(string, tag = "3")]
    kind: String,
    #[prost(map = "string, string", tag = "7")]
    headers: HashMap<String, String>,
    #[prost(string, tag = "8")]
    client_ip: String,
}

#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(bytes = "bytes", tag = "2")]
    value: Bytes,
}

impl Payload {
    pub(super) fn new(kind: &str, body: impl Into<Bytes>) -> Self {
        let metadata =
            Metadata { kind: kind.to_owned(), client_ip: "127.0.0.1".to_owned(), ..<_>::default() };
        Self { metadata: Some(metadata), body: Some(Any { value: body.into() }) }
    }

    /// The simple name of its class.
    pub(super) fn kind(&self) -> &str {
        self.metadata.as_ref().map_or("", |metadata| &metadata.kind)
    }

    /// JSON.
    pub(super) fn body(&self) -> &[u8] {
        self.body.as_ref().map_or(&[], |body| &body.value)
    }

    /// The bytes of the message with their prefix.
    pub(super) fn frame(&self) -> Bytes {
        let length = self.encoded_len();
        let mut frame = BytesMut::with_capacity(PREFIX + length);
        frame.put_u8(0);
        frame.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
        // A vector grows as needed: nothing can fail.
        let _ = self.encode(&mut frame);
        frame.freeze()
    }

    /// Takes the first whole message out of `input`; `None` while there is none.
    ///
    /// # Errors
    ///
    /// If the bytes are no message.
    pub(super) fn take(input: &mut BytesMut) -> Result<Option<Self>> {
        let Some(prefix) = input.get(1..PREFIX) else { return Ok(None) };
        let length = u32::from_be_bytes(prefix.try_into()?) as usize;
        ensure!(length < LARGEST, "a message of {length} bytes");
        if input.len() < PREFIX + length {
            return Ok(None);
        }
        input.advance(PREFIX);
        Self::decode(input.split_to(length).freeze()).map(Some).context("reading a message")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_found_only_when_whole() {
        let sent = Payload::new("QueryServiceResponse", "{}");
        let frame = sent.frame();
        for length in 0..frame.len() {
            let mut input = BytesMut::from(&frame[..length]);
            assert_eq!(Payload::take(&mut input).unwrap(), None, "after {length} bytes");
        }
        let mut input = BytesMut::from(&[&*frame, b"\0"].concat()[..]);
        let found = Payload::take(&mut input).unwrap().unwrap();
        assert_eq!((found.kind(), found.body(), input.len()), (sent.kind(), &b"{}"[..], 1));
    }
}
