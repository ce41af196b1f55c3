//! Messages as this client sends and takes them.

use bytes::{Bytes, BytesMut};
use naming_model::payload::{MOST_REQUEST_BYTES, Payload};

use crate::error::{Error, Failure};

/// Longest message taken, in bytes: servers send lists of any length.
const MOST_ANSWER_BYTES: usize = 64 << 20;

/// Writes a message of this kind with its prefix.
///
/// # Errors
/// [`Error::Request`] above the length that servers take.
pub(super) fn frame(kind: &str, headers: &[(&str, &str)], body: Bytes) -> Result<Bytes, Error> {
    let payload = Payload::new(kind, body).with_headers(headers.iter().copied());
    match payload.message_bytes() {
        length if length > MOST_REQUEST_BYTES => Err(Error::Request(format!(
            "{length} bytes, and servers take {MOST_REQUEST_BYTES} at most"
        ))),
        _ => Ok(payload.framed()),
    }
}

/// Takes the next message of a stream, if all of it is there.
///
/// # Errors
/// It is too long, compressed although nobody asked for that, or no payload.
pub(super) fn take(input: &mut BytesMut) -> Result<Option<Payload>, Failure> {
    let payload = Payload::take(input, MOST_ANSWER_BYTES);
    payload.map_err(|error| Failure::Malformed(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_that_are_too_long_are_refused_on_both_ways() {
        let long = frame("A", &[], vec![0; MOST_REQUEST_BYTES].into());
        assert!(matches!(long, Err(Error::Request(_))));
        assert!(take(&mut BytesMut::from(&[0, 0xff, 0xff, 0xff, 0xff][..])).is_err());
        assert!(take(&mut BytesMut::from(&[1, 0, 0, 0, 0][..])).is_err());
    }

    #[test]
    fn headers_travel_with_the_message() {
        let framed = frame("A", &[("accessToken", "t")], "{}".into()).unwrap();
        let (metadata, body) = take(&mut framed.into()).unwrap().unwrap().into_parts();
        assert_eq!((&*metadata.kind, &body[..]), ("A", &b"{}"[..]));
        assert_eq!(metadata.headers["accessToken"], "t");
    }
}
