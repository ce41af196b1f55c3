//! The messages of the protocol, and what was received as a transcript sees it.

use std::collections::HashMap;
use std::time::Instant;

use prost::Message as _;
use serde_json::Value;

use crate::golden_support::json;

/// Bytes before each message: whether it is compressed, and its length.
pub(crate) const PREFIX_BYTES: usize = 5;

/// The one message of the protocol.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Payload {
    #[prost(message, optional, tag = "2")]
    pub(crate) metadata: Option<Metadata>,
    #[prost(message, optional, tag = "3")]
    pub(crate) body: Option<Body>,
}

/// What stands beside the body of a message.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Metadata {
    #[prost(string, tag = "3")]
    pub(crate) kind: String,
    #[prost(map = "string, string", tag = "7")]
    pub(crate) headers: HashMap<String, String>,
    #[prost(string, tag = "8")]
    pub(crate) client_ip: String,
}

/// JSON in `Any` of protobuf.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Body {
    #[prost(string, tag = "1")]
    pub(crate) type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) value: Vec<u8>,
}

/// A message to be sent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outgoing {
    pub(crate) kind: String,
    pub(crate) body: Vec<u8>,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) client_ip: String,
    pub(crate) type_url: String,
}

impl Outgoing {
    /// The same, from this address if it names none.
    pub(crate) fn or_from(mut self, client_ip: &str) -> Self {
        if self.client_ip.is_empty() {
            client_ip.clone_into(&mut self.client_ip);
        }
        self
    }

    /// The message with its prefix, as it is written into a stream.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let (kind, headers) = (self.kind.clone(), self.headers.clone());
        let metadata = Metadata { kind, headers, client_ip: self.client_ip.clone() };
        let body = Body { type_url: self.type_url.clone(), value: self.body.clone() };
        frame(&Payload { metadata: Some(metadata), body: Some(body) })
    }
}

fn frame(payload: &Payload) -> Vec<u8> {
    let length = payload.encoded_len();
    let mut bytes = Vec::with_capacity(PREFIX_BYTES + length);
    bytes.push(0);
    bytes.extend(u32::try_from(length).expect("no message has 4 GiB").to_be_bytes());
    payload.encode(&mut bytes).expect("a vector grows");
    bytes
}

/// A message that was received.
#[derive(Clone, Debug)]
pub(crate) struct Incoming {
    pub(crate) kind: String,
    pub(crate) headers: HashMap<String, String>,
    /// The body as JSON, or as text if it is none. `null` if it is empty.
    pub(crate) body: Value,
    pub(crate) at: Instant,
}

impl Incoming {
    fn of(payload: Payload) -> Self {
        let Metadata { kind, headers, .. } = payload.metadata.unwrap_or_default();
        let text = payload.body.unwrap_or_default().value;
        let text = String::from_utf8_lossy(&text);
        let body = match &*text {
            "" => Value::Null,
            text => json::parse(text).unwrap_or_else(|_| text.into()),
        };
        Self { kind, headers, body, at: Instant::now() }
    }

    /// Messages about the same take each other's place.
    pub(crate) fn topic(&self) -> (String, Vec<Value>) {
        let info = |key: &str| self.body.pointer(&format!("/serviceInfo/{key}")).cloned();
        let own = |key: &str| self.body.get(key).cloned();
        let parts = [
            info("groupName"),
            info("name"),
            info("clusters"),
            own("groupKeyPattern"),
            own("serviceKey"),
        ];
        (self.kind.clone(), parts.map(Option::unwrap_or_default).to_vec())
    }
}

/// Puts messages together from the bytes of a stream.
#[derive(Debug, Default)]
pub(crate) struct Reader(Vec<u8>);

impl Reader {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// The next message, if all of it is there.
    pub(crate) fn next(&mut self) -> Result<Option<Incoming>, String> {
        let Some((prefix, rest)) = self.0.split_first_chunk::<PREFIX_BYTES>() else {
            return Ok(None);
        };
        let [compressed, length @ ..] = *prefix;
        if compressed != 0 {
            return Err(format!("the message is compressed ({compressed})"));
        }
        let length = u32::from_be_bytes(length) as usize;
        let Some(message) = rest.get(..length) else { return Ok(None) };
        let payload = Payload::decode(message).map_err(|error| error.to_string())?;
        self.0.drain(..PREFIX_BYTES + length);
        Ok(Some(Incoming::of(payload)))
    }
}
