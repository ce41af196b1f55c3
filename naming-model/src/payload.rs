//! The messages of gRPC. There are three, and they never change: no code is generated for them.

use std::collections::HashMap;

use bytes::{Buf, Bytes, BytesMut};
use prost::Message;
use prost::encoding::{encode_varint, encoded_len_varint};

/// Bytes of the longest message that servers take. Nacos has the same limit.
pub const MOST_REQUEST_BYTES: usize = 10_485_760;

/// Length of what stands before a message: a flag, and the length in four bytes.
const PREFIX: usize = 5;
/// Bodies up to this length are copied behind their head: copying this little is cheaper than one
/// more frame.
const JOINED_BYTES: usize = 4 << 10;

/// Keys of the fields that [`frame`] writes: number and wire type.
const METADATA: u8 = 2 << 3 | 2;
const BODY: u8 = 3 << 3 | 2;
const KIND: u8 = 3 << 3 | 2;
const CLIENT_IP: u8 = 8 << 3 | 2;
const VALUE: u8 = 2 << 3 | 2;

/// What goes through the unary call and the stream, in both directions.
#[derive(Clone, PartialEq, Message)]
pub struct Payload {
    /// What kind of message it is.
    #[prost(message, optional, tag = "2")]
    pub metadata: Option<Metadata>,
    /// The message itself.
    #[prost(message, optional, tag = "3")]
    pub body: Option<Any>,
}

/// What kind of message it is, and what comes with it.
#[derive(Clone, PartialEq, Message)]
pub struct Metadata {
    /// The simple name of the Java class of the body.
    #[prost(string, tag = "3")]
    pub kind: String,
    /// Name and value, the token of the caller above all.
    #[prost(map = "string, string", tag = "7")]
    pub headers: HashMap<String, String>,
    /// What the sender takes for its own address. For display only.
    #[prost(string, tag = "8")]
    pub client_ip: String,
}

/// The body. Its type is that of the metadata, whatever `type_url` says.
#[derive(Clone, PartialEq, Message)]
pub struct Any {
    /// Mostly empty, and never looked at.
    #[prost(string, tag = "1")]
    pub type_url: String,
    /// JSON.
    #[prost(bytes = "bytes", tag = "2")]
    pub value: Bytes,
}

/// Why bytes are no message.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PayloadError {
    /// The prefix announces more bytes than the reader takes.
    #[error("a message of {length} bytes, and {most} are taken at most")]
    TooLong {
        /// Bytes announced.
        length: usize,
        /// Bytes that are taken.
        most: usize,
    },
    /// Compressed, although nobody asked for that.
    #[error("a compressed message")]
    Compressed,
    /// The bytes of the message are no payload.
    #[error("a message that is no payload: {0}")]
    Malformed(String),
}

impl Payload {
    /// A message of this kind, without headers and without an address.
    #[must_use]
    pub fn new(kind: impl Into<String>, body: impl Into<Bytes>) -> Self {
        let metadata = Metadata { kind: kind.into(), ..Metadata::default() };
        let body = Any { value: body.into(), ..Any::default() };
        Self { metadata: Some(metadata), body: Some(body) }
    }

    /// The same message with these headers in place of its own.
    #[must_use]
    pub fn with_headers<N, V>(mut self, headers: impl IntoIterator<Item = (N, V)>) -> Self
    where
        N: Into<String>,
        V: Into<String>,
    {
        let headers = headers.into_iter().map(|(name, value)| (name.into(), value.into()));
        self.metadata.get_or_insert_default().headers = headers.collect();
        self
    }

    /// The same message, from this client.
    #[must_use]
    pub fn with_client_ip(mut self, client_ip: &str) -> Self {
        self.metadata.get_or_insert_default().client_ip = client_ip.to_owned();
        self
    }

    /// The kind, or an empty text.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.metadata.as_ref().map_or("", |metadata| &metadata.kind)
    }

    /// The body, or no bytes.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        self.body.as_ref().map_or(&[], |body| &body.value)
    }

    /// Metadata and body, empty where they are absent.
    #[must_use]
    pub fn into_parts(self) -> (Metadata, Bytes) {
        (self.metadata.unwrap_or_default(), self.body.unwrap_or_default().value)
    }

    /// The bytes of the message without its prefix. Their number is what [`MOST_REQUEST_BYTES`]
    /// limits.
    #[must_use]
    pub fn message_bytes(&self) -> usize {
        self.encoded_len()
    }

    /// The message with its prefix. [`frame`] does the same for messages without headers, and
    /// copies no long body.
    ///
    /// # Panics
    /// The message takes 4 GiB or more.
    #[must_use]
    pub fn framed(&self) -> Bytes {
        let length = self.encoded_len();
        let mut frame = BytesMut::with_capacity(PREFIX + length);
        put_prefix(&mut frame, length);
        self.encode(&mut frame).expect("there is room for all of it");
        frame.freeze()
    }

    /// Reads a message without its prefix.
    ///
    /// # Errors
    /// [`PayloadError::Malformed`].
    pub fn read(message: Bytes) -> Result<Self, PayloadError> {
        Self::decode(message).map_err(|error| PayloadError::Malformed(error.to_string()))
    }

    /// Takes the first message out of `input`, in plain and of `most` bytes without its prefix.
    /// `None` while not all of it is there.
    ///
    /// # Errors
    /// It is too long, compressed, or no payload. Nothing that follows can be read then.
    pub fn take(input: &mut BytesMut, most: usize) -> Result<Option<Self>, PayloadError> {
        let Some(Prefix { flag, length }) = Prefix::of(input) else { return Ok(None) };
        if flag != 0 {
            return Err(PayloadError::Compressed);
        }
        if length > most {
            return Err(PayloadError::TooLong { length, most });
        }
        Prefix { flag, length }.take(input).map(Self::read).transpose()
    }
}

/// What stands before a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefix {
    /// 0 for a message in plain, 1 for a compressed one.
    pub flag: u8,
    /// Bytes of the message that follows.
    pub length: usize,
}

impl Prefix {
    /// The prefix at the beginning of `input`, once all of it is there.
    #[must_use]
    pub fn of(input: &[u8]) -> Option<Self> {
        let [flag, length @ ..] = *input.first_chunk::<PREFIX>()?;
        Some(Self { flag, length: u32::from_be_bytes(length) as usize })
    }

    /// Takes this prefix and its message out of `input`, and gives the bytes of the message. `None`
    /// while not all of them are there.
    #[must_use]
    pub fn take(self, input: &mut BytesMut) -> Option<Bytes> {
        if input.len() < PREFIX + self.length {
            return None;
        }
        input.advance(PREFIX);
        Some(input.split_to(self.length).freeze())
    }
}

/// Writes a message with its prefix, in one chunk or more. The parts of the body are not copied
/// unless they are short.
///
/// Written by hand and not by prost: answers are the hot path of servers, and prost would copy each
/// body once more.
///
/// # Panics
/// The message takes 4 GiB or more.
#[must_use]
pub fn frame(kind: &str, client_ip: &str, body: &[Bytes]) -> Vec<Bytes> {
    let length: usize = body.iter().map(Bytes::len).sum();
    let of_text = |text: &str| match text.len() {
        0 => 0,
        length => 1 + encoded_len_varint(length as u64) + length,
    };
    let metadata = of_text(kind) + of_text(client_ip);
    let any = 1 + encoded_len_varint(length as u64) + length;
    let message = 1
        + encoded_len_varint(metadata as u64)
        + metadata
        + 1
        + encoded_len_varint(any as u64)
        + any;
    let is_short = length <= JOINED_BYTES;
    let room = PREFIX + message - if is_short { 0 } else { length };
    let mut head = BytesMut::with_capacity(room);
    put_prefix(&mut head, message);
    put_length(&mut head, METADATA, metadata);
    put_text(&mut head, KIND, kind);
    put_text(&mut head, CLIENT_IP, client_ip);
    put_length(&mut head, BODY, any);
    put_length(&mut head, VALUE, length);
    if is_short {
        body.iter().for_each(|part| head.extend_from_slice(part));
        return vec![head.freeze()];
    }
    let mut chunks = Vec::with_capacity(1 + body.len());
    chunks.push(head.freeze());
    chunks.extend(body.iter().filter(|part| !part.is_empty()).cloned());
    chunks
}

fn put_prefix(target: &mut BytesMut, length: usize) {
    let length = u32::try_from(length).expect("no message takes 4 GiB");
    target.extend_from_slice(&[0]);
    target.extend_from_slice(&length.to_be_bytes());
}

fn put_length(target: &mut BytesMut, key: u8, length: usize) {
    target.extend_from_slice(&[key]);
    encode_varint(length as u64, target);
}

fn put_text(target: &mut BytesMut, key: u8, text: &str) {
    if !text.is_empty() {
        put_length(target, key, text.len());
        target.extend_from_slice(text.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As a Java client of 2.5.1 sent it.
    const RECORDED: &[u8] = b"\x12\x1f\x1a\x12ServerCheckRequestB\t127.0.0.9\
        \x1a$\x12\"{\"headers\":{},\"module\":\"internal\"}";
    const BODY_OF_RECORDED: &str = r#"{"headers":{},"module":"internal"}"#;

    #[test]
    fn a_message_of_java_is_read_and_written_byte_for_byte() {
        let read = Payload::read(Bytes::from_static(RECORDED)).unwrap();
        let expected = Payload::new("ServerCheckRequest", BODY_OF_RECORDED);
        assert_eq!(read, expected.with_client_ip("127.0.0.9"));
        assert_eq!((read.kind(), read.body()), ("ServerCheckRequest", BODY_OF_RECORDED.as_bytes()));
        assert_eq!(read.message_bytes(), RECORDED.len());
        let body = [BODY_OF_RECORDED.into()];
        for framed in [read.framed(), frame(read.kind(), "127.0.0.9", &body).concat().into()] {
            assert_eq!(framed[..PREFIX], [0, 0, 0, 0, 71]);
            assert_eq!(framed[PREFIX..], *RECORDED);
        }
    }

    #[test]
    fn too_long_and_compressed_messages_are_refused_before_they_are_whole() {
        let refused = |prefix: [u8; PREFIX]| {
            Payload::take(&mut BytesMut::from(&prefix[..]), 100).unwrap_err()
        };
        assert_eq!(refused([0, 0, 0, 0, 101]), PayloadError::TooLong { length: 101, most: 100 });
        assert_eq!(refused([1, 0, 0, 0, 1]), PayloadError::Compressed);
        let mut whole = BytesMut::from(&[0, 0, 0, 0, 1, 0xff][..]);
        assert!(matches!(Payload::take(&mut whole, 100), Err(PayloadError::Malformed(_))));
        let mut within = BytesMut::from(&[0, 0, 0, 0, 100][..]);
        assert_eq!(Payload::take(&mut within, 100), Ok(None));
    }

    proptest! {
        #[test]
        fn both_writers_write_the_same(
            kind in "[A-Za-z]{0,200}",
            client_ip in "[0-9.]{0,15}",
            parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..6_000), 1..4),
        ) {
            let parts: Vec<Bytes> = parts.into_iter().map(Bytes::from).collect();
            let payload = Payload::new(&*kind, parts.concat()).with_client_ip(&client_ip);
            prop_assert_eq!(frame(&kind, &client_ip, &parts).concat(), payload.framed());
        }

        #[test]
        fn messages_come_out_however_their_bytes_come_in(
            kinds in prop::collection::vec("[A-Z]{1,40}", 1..5),
            body: Vec<u8>,
            header in "[a-z]{1,9}",
            step in 1_usize..64,
        ) {
            let message = |kind: &String| {
                Payload::new(kind, body.clone()).with_headers([(header.clone(), "b")])
            };
            let sent: Vec<Payload> = kinds.iter().map(message).collect();
            let bytes: Vec<u8> = sent.iter().flat_map(Payload::framed).collect();
            let (mut input, mut found) = (BytesMut::new(), Vec::new());
            for chunk in bytes.chunks(step) {
                input.extend_from_slice(chunk);
                while let Some(payload) = Payload::take(&mut input, MOST_REQUEST_BYTES).unwrap() {
                    found.push(payload);
                }
            }
            prop_assert_eq!(found, sent);
            prop_assert!(input.is_empty());
        }

        #[test]
        fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = Payload::read(bytes.clone().into());
            let mut input = BytesMut::from(&bytes[..]);
            while let Ok(Some(_)) = Payload::take(&mut input, MOST_REQUEST_BYTES) {}
        }
    }
}
