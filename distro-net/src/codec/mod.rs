//! Bytes to and from the messages of [`distro_core`].
//!
//! Protocol buffers in the wire format of [`wire`], in an envelope with the version of the
//! protocol. Another major version is refused; fields that a newer minor version has added are
//! ignored, so that members of neighbouring releases work together while one by one is upgraded.
//! Whatever the bytes are, decoding ends with a message or an error and takes memory in
//! proportion to [`Limits`].

use std::sync::Arc;

use bytes::Bytes;
use distro_core::{RecordId, Reply, Request};
use prost::Message;

pub(crate) mod pack;
mod parts;
mod reply;
mod request;
pub(crate) mod wire;

use parts::{Decoder, Encoder};

/// The major version that this release speaks. Members of different major versions do not
/// understand each other.
pub const MAJOR: u32 = 1;

/// The minor version that this release speaks.
pub const MINOR: u32 = 6;

/// Turns the values of records into bytes and back. To be implemented by whoever knows what the
/// values are.
///
/// The bytes should be open to additions, like the messages around them: members of neighbouring
/// releases exchange them.
pub trait ValueCodec<V>: Send + Sync {
    /// Appends the value to `target`.
    fn encode(&self, value: &V, target: &mut Vec<u8>);

    /// The value that these bytes stand for. Must not panic whatever they are, nor take much more
    /// memory than they.
    fn decode(&self, source: &[u8]) -> Result<V, BadValue>;
}

/// The bytes of a value make no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadValue(pub String);

/// How much one message may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a message. Well above [`batch_bytes`](distro_core::DistroConfig::batch_bytes) and
    /// the largest single value, because a batch ends only after the record that fills it; and
    /// enough for a full batch of beats with long names. A request is buffered up to this before
    /// its sender has proved anything.
    /// Default 16 MiB.
    pub message_bytes: usize,
    /// Records, keys or beats in a message. Above the batch limits of
    /// [`DistroConfig`](distro_core::DistroConfig), and above the number of tags that may fall
    /// into one slot. Default 100,000.
    pub items: usize,
    /// Bytes of a tag or a key. Default 8 KiB.
    pub name_bytes: usize,
    /// Bytes of a value. At least what clients may write. Default 4 MiB.
    pub value_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { message_bytes: 16 << 20, items: 100_000, name_bytes: 8 << 10, value_bytes: 4 << 20 }
    }
}

/// Why bytes are not a message, or a message cannot become bytes. Nothing was touched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// Something is larger than the limit for it.
    #[error("{what} is larger than {limit}")]
    TooLarge {
        /// What it is.
        what: &'static str,
        /// The limit that it exceeds.
        limit: usize,
    },
    /// Not in the wire format.
    #[error("malformed message: {0}")]
    Malformed(String),
    /// Of another major version of the protocol.
    #[error("protocol version {major}, this member speaks {MAJOR}")]
    Version {
        /// That version.
        major: u32,
    },
    /// A number that stands for nothing in this version.
    #[error("{what} {number} is unknown")]
    Unknown {
        /// What should have been.
        what: &'static str,
        /// The number.
        number: u64,
    },
    /// A part without which the message makes no sense.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// The value of a record makes no sense.
    #[error("bad value: {0}")]
    Value(#[from] BadValue),
}

impl From<prost::DecodeError> for CodecError {
    fn from(error: prost::DecodeError) -> Self {
        Self::Malformed(error.to_string())
    }
}

/// A record in a message that means nothing here: it may be of another release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    /// Where the record belongs. The names may be longer than those of records that are taken.
    pub place: RecordId,
    /// What is wrong.
    pub error: CodecError,
}

/// Encodes and decodes messages. Cheap to clone.
pub struct Codec<V> {
    values: Arc<dyn ValueCodec<V>>,
    limits: Limits,
}

impl<V> Clone for Codec<V> {
    fn clone(&self) -> Self {
        Self { values: Arc::clone(&self.values), limits: self.limits }
    }
}

impl<V> Codec<V> {
    /// A codec for records that carry these values.
    pub fn new(values: Arc<dyn ValueCodec<V>>, limits: Limits) -> Self {
        Self { values, limits }
    }

    /// The limits that it keeps to.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// A request as bytes. Fails only if it is larger than the receiver would accept.
    pub fn encode_request(&self, request: &Request<V>) -> Result<Vec<u8>, CodecError> {
        let (kind, body) = Encoder { values: &*self.values }.request(request);
        self.seal(kind, body)
    }

    /// The request that these bytes stand for, without records that mean nothing here.
    pub fn decode_request(&self, source: Bytes) -> Result<Request<V>, CodecError> {
        self.decode_request_and_note(source, &mut Vec::new())
    }

    /// The same. Notes the records that mean nothing here; they are in proportion to the message.
    pub fn decode_request_and_note(
        &self,
        source: Bytes,
        unread: &mut Vec<Unread>,
    ) -> Result<Request<V>, CodecError> {
        let (kind, body) = self.open(source)?;
        let mut decoder = Decoder::new(&*self.values, &self.limits);
        let request = decoder.request(kind, body);
        unread.append(&mut decoder.unread);
        request
    }

    /// A reply as bytes. Fails only if it is larger than the receiver would accept.
    pub fn encode_reply(&self, reply: &Reply<V>) -> Result<Vec<u8>, CodecError> {
        let (kind, body) = Encoder { values: &*self.values }.reply(reply);
        self.seal(kind, body)
    }

    /// The reply that these bytes stand for, without records that mean nothing here.
    pub fn decode_reply(&self, source: Bytes) -> Result<Reply<V>, CodecError> {
        self.decode_reply_and_note(source, &mut Vec::new())
    }

    /// The same. Notes the records that mean nothing here; they are in proportion to the message.
    pub fn decode_reply_and_note(
        &self,
        source: Bytes,
        unread: &mut Vec<Unread>,
    ) -> Result<Reply<V>, CodecError> {
        let (kind, body) = self.open(source)?;
        let mut decoder = Decoder::new(&*self.values, &self.limits);
        let reply = decoder.reply(kind, body);
        unread.append(&mut decoder.unread);
        reply
    }

    fn seal(&self, kind: u32, body: Vec<u8>) -> Result<Vec<u8>, CodecError> {
        let body = Some(Bytes::from(body));
        let envelope = wire::Envelope { major: MAJOR, minor: MINOR, kind, body };
        self.check_size(envelope.encoded_len())?;
        Ok(envelope.encode_to_vec())
    }

    fn open(&self, source: Bytes) -> Result<(u32, Bytes), CodecError> {
        self.check_size(source.len())?;
        let envelope = wire::Envelope::decode(source)?;
        if envelope.major != MAJOR {
            return Err(CodecError::Version { major: envelope.major });
        }
        Ok((envelope.kind, envelope.body.ok_or(CodecError::Missing("the body"))?))
    }

    fn check_size(&self, bytes: usize) -> Result<(), CodecError> {
        let limit = self.limits.message_bytes;
        if bytes > limit {
            Err(CodecError::TooLarge { what: "the message", limit })
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests;
