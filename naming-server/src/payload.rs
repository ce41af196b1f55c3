//! The messages of the wire. There are three, and they never change: written by hand they need no
//! generated code.

use std::collections::HashMap;

use bytes::{Bytes, BytesMut};
use prost::Message;
use prost::encoding::{encode_varint, encoded_len_varint};

/// What goes through the unary call and the stream, in both directions.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Payload {
    #[prost(message, optional, tag = "2")]
    pub(crate) metadata: Option<Metadata>,
    #[prost(message, optional, tag = "3")]
    pub(crate) body: Option<Any>,
}

/// What kind of message it is, and what comes with it.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Metadata {
    /// The simple name of the Java class.
    #[prost(string, tag = "3")]
    pub(crate) kind: String,
    #[prost(map = "string, string", tag = "7")]
    pub(crate) headers: HashMap<String, String>,
    /// What the sender takes for its own address. For display only.
    #[prost(string, tag = "8")]
    pub(crate) client_ip: String,
}

/// The body. Its type is that of the metadata, whatever stands here.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Any {
    #[prost(string, tag = "1")]
    pub(crate) type_url: String,
    /// JSON.
    #[prost(bytes = "bytes", tag = "2")]
    pub(crate) value: Bytes,
}

/// Keys of the fields that are written: number and wire type.
const METADATA: u8 = 2 << 3 | 2;
const BODY: u8 = 3 << 3 | 2;
const KIND: u8 = 3 << 3 | 2;
const CLIENT_IP: u8 = 8 << 3 | 2;
const VALUE: u8 = 2 << 3 | 2;

/// Length of what stands before a message: a flag and the length.
pub(crate) const PREFIX: usize = 5;
/// Bodies up to this length are copied behind their head: copying this little is cheaper than one
/// more frame.
const JOINED_BYTES: usize = 4 << 10;

/// Writes a payload with the prefix of gRPC before it. The parts of the body are not copied unless
/// they are short.
pub(crate) fn frame(kind: &str, client_ip: &str, body: &[Bytes]) -> Vec<Bytes> {
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
    let announced = u32::try_from(message).expect("no answer takes 4 GiB");
    head.extend_from_slice(&[0]);
    head.extend_from_slice(&announced.to_be_bytes());
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

    proptest! {
        #[test]
        fn what_is_written_is_what_any_other_reads(
            kind in "[A-Za-z]{0,200}",
            client_ip in "[0-9.]{0,15}",
            parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..6_000), 0..4),
        ) {
            let parts: Vec<Bytes> = parts.into_iter().map(Bytes::from).collect();
            let frame = frame(&kind, &client_ip, &parts).concat();
            let length = u32::from_be_bytes(frame[1..PREFIX].try_into().unwrap());
            prop_assert_eq!(length as usize, frame.len() - PREFIX);
            let payload = Payload::decode(&frame[PREFIX..]).unwrap();
            let metadata = payload.metadata.unwrap();
            prop_assert_eq!(metadata.kind, kind);
            prop_assert_eq!(metadata.client_ip, client_ip);
            prop_assert_eq!(&payload.body.unwrap().value[..], &parts.concat()[..]);
        }

        #[test]
        fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = Payload::decode(&bytes[..]);
        }
    }
}
