//! The messages of the protocol, and what was received as a transcript sees it.

use std::collections::HashMap;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use naming_model::payload::{Any, Metadata, Payload, Prefix};
use serde_json::Value;

use crate::golden_support::json;

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
    pub(crate) fn encode(&self) -> Bytes {
        let (kind, headers) = (self.kind.clone(), self.headers.clone());
        let metadata = Metadata { kind, headers, client_ip: self.client_ip.clone() };
        let body = Any { type_url: self.type_url.clone(), value: self.body.clone().into() };
        Payload { metadata: Some(metadata), body: Some(body) }.framed()
    }
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
        let (Metadata { kind, headers, .. }, text) = payload.into_parts();
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
pub(crate) struct Reader(BytesMut);

impl Reader {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// The next message, if all of it is there. Nacos sends lists of any length.
    pub(crate) fn next(&mut self) -> Result<Option<Incoming>, String> {
        let Some(prefix) = Prefix::of(&self.0) else { return Ok(None) };
        if prefix.flag != 0 {
            return Err(format!("the message is compressed ({})", prefix.flag));
        }
        let Some(message) = prefix.take(&mut self.0) else { return Ok(None) };
        let payload = Payload::read(message).map_err(|error| error.to_string())?;
        Ok(Some(Incoming::of(payload)))
    }
}
