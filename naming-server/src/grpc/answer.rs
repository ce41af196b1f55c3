//! What is sent to clients. All of it is written here, so that it holds for all SDKs at once: no
//! null, `resultCode`, `errorCode` and `success` in every answer, `headers` and a text as
//! `requestId` in every request.

use bytes::Bytes;
use naming_model::payload::frame;

use crate::registry::{push_bool, push_number, push_string};

/// Codes of errors, as Nacos has them.
pub(super) mod code {
    /// Still starting, or paused.
    pub(in crate::grpc) const STARTING: i32 = 300;
    /// The connection has not been set up.
    pub(in crate::grpc) const UNREGISTERED: i32 = 301;
    /// There is no such request.
    pub(in crate::grpc) const NO_HANDLER: i32 = 302;
    /// The request can never work as it is.
    pub(in crate::grpc) const BAD_REQUEST: i32 = 400;
    /// Not allowed.
    pub(in crate::grpc) const FORBIDDEN: i32 = 403;
    /// Something else is there.
    pub(in crate::grpc) const CONFLICT: i32 = 409;
    /// The fault of this server.
    pub(in crate::grpc) const SERVER_ERROR: i32 = 500;
    /// This server does not offer that.
    pub(in crate::grpc) const NOT_OFFERED: i32 = 501;
    /// Not JSON, or a request that only servers may send.
    pub(in crate::grpc) const BAD_BODY: i32 = 502;
    /// More than there is room for.
    pub(in crate::grpc) const OVER_LIMIT: i32 = 503;
    /// More patterns than are watched.
    pub(in crate::grpc) const TOO_MANY_PATTERNS: i32 = 50_310;
    /// More services than a pattern may match.
    pub(in crate::grpc) const TOO_MANY_SERVICES: i32 = 50_311;
}

/// A message to a client: its kind and its body, in parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) kind: &'static str,
    /// What it counts as: 200, or the code of the error.
    pub(super) code: i32,
    body: Vec<Bytes>,
}

impl Answer {
    /// A success, with what [`Fields`] were added.
    pub(super) fn success(kind: &'static str, fields: Fields) -> Self {
        let mut fields = fields.ending("\"resultCode\":200,\"errorCode\":0,\"success\":true}");
        fields.parts.push(Bytes::from(fields.text));
        Self { kind, code: 200, body: fields.parts }
    }

    /// A failure of this kind, after which clients do not try again: they are told the code.
    pub(super) fn failure(kind: &'static str, code: i32, message: &str) -> Self {
        Self::failing(kind, code::SERVER_ERROR, code, message, Fields::new())
    }

    /// The same with more in it.
    pub(super) fn failure_with(
        kind: &'static str,
        code: i32,
        message: &str,
        fields: Fields,
    ) -> Self {
        Self::failing(kind, code::SERVER_ERROR, code, message, fields)
    }

    /// A failure that clients may take for that of the transport: they try again.
    pub(super) fn error(code: i32, message: &str) -> Self {
        Self::failing("ErrorResponse", code::SERVER_ERROR, code, message, Fields::new())
    }

    fn failing(kind: &'static str, result: i32, code: i32, message: &str, fields: Fields) -> Self {
        let mut fields = fields.number("resultCode", result).number("errorCode", code);
        if !message.is_empty() {
            fields = fields.text("message", message);
        }
        let mut fields = fields.ending("\"success\":false}");
        fields.parts.push(Bytes::from(fields.text));
        Self { kind, code, body: fields.parts }
    }

    /// What another part of this server has written.
    pub(super) fn written(kind: &'static str, code: i32, body: Vec<u8>) -> Self {
        Self { kind, code, body: vec![body.into()] }
    }

    /// A request to the client, which answers with the id; with what [`Fields`] were added.
    pub(super) fn request(kind: &'static str, id: &str, fields: Fields) -> Self {
        let mut fields = fields.text("requestId", id).ending("\"headers\":{}}");
        fields.parts.push(Bytes::from(fields.text));
        Self { kind, code: 200, body: fields.parts }
    }

    /// The answer to a setup, which no client answers.
    pub(super) fn setup_ack(abilities: &[&str]) -> Self {
        let abilities: Vec<_> = abilities.iter().map(|name| format!("\"{name}\":true")).collect();
        let body = format!(
            "{{\"headers\":{{}},\"abilityTable\":{{{}}},\"module\":\"internal\"}}",
            abilities.join(",")
        );
        Self { kind: "SetupAckRequest", code: 200, body: vec![body.into()] }
    }

    /// As it goes over the wire.
    pub(super) fn frame(&self, client_ip: &str) -> Vec<Bytes> {
        frame(self.kind, client_ip, &self.body)
    }

    /// Bytes of the body.
    pub(super) fn length(&self) -> usize {
        self.body.iter().map(Bytes::len).sum()
    }

    #[cfg(test)]
    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body.concat()).unwrap()
    }
}

/// The fields of a body as they are written.
#[derive(Debug)]
pub(super) struct Fields {
    parts: Vec<Bytes>,
    text: String,
}

impl Fields {
    pub(super) fn new() -> Self {
        Self { parts: Vec::new(), text: String::from("{") }
    }

    pub(super) fn text(mut self, name: &str, value: &str) -> Self {
        self.name(name);
        push_string(&mut self.text, value);
        self.text.push(',');
        self
    }

    pub(super) fn number(mut self, name: &str, value: impl itoa::Integer) -> Self {
        self.name(name);
        push_number(&mut self.text, value);
        self.text.push(',');
        self
    }

    pub(super) fn flag(mut self, name: &str, value: bool) -> Self {
        self.name(name);
        push_bool(&mut self.text, value);
        self.text.push(',');
        self
    }

    pub(super) fn texts<'a>(mut self, name: &str, values: impl Iterator<Item = &'a str>) -> Self {
        self.name(name);
        self.text.push('[');
        for (at, value) in values.enumerate() {
            if at > 0 {
                self.text.push(',');
            }
            push_string(&mut self.text, value);
        }
        self.text.push_str("],");
        self
    }

    /// Objects made by [`Self::object`].
    pub(super) fn objects(mut self, name: &str, values: impl Iterator<Item = String>) -> Self {
        self.name(name);
        self.text.push('[');
        for (at, value) in values.enumerate() {
            if at > 0 {
                self.text.push(',');
            }
            self.text.push_str(&value);
        }
        self.text.push_str("],");
        self
    }

    /// What has been written so far as an object.
    pub(super) fn object(mut self) -> String {
        // The comma after the last field.
        self.text.pop();
        self.text.push('}');
        self.text
    }

    /// A value that is JSON already and may be long: it is shared, not copied.
    pub(super) fn json(mut self, name: &str, value: impl IntoIterator<Item = Bytes>) -> Self {
        self.name(name);
        self.parts.push(Bytes::from(std::mem::take(&mut self.text)));
        self.parts.extend(value);
        self.text.push(',');
        self
    }

    fn name(&mut self, name: &str) {
        push_string(&mut self.text, name);
        self.text.push(':');
    }

    fn ending(mut self, end: &str) -> Self {
        self.text.push_str(end);
        self
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_answer_has_what_every_sdk_looks_at() {
        let fields = Fields::new().text("type", "a\"b").number("count", 2).flag("x", false);
        let fields = fields.texts("names", ["n", "m"].into_iter());
        let answer =
            Answer::success("X", fields.json("info", [Bytes::from("{\"a\":"), "1}".into()]));
        let expected = json!({
            "type": "a\"b", "count": 2, "x": false, "names": ["n", "m"], "info": {"a": 1},
            "resultCode": 200, "errorCode": 0, "success": true,
        });
        assert_eq!(answer.json(), expected);
        let refused =
            json!({"resultCode": 500, "errorCode": 403, "message": "no", "success": false});
        assert_eq!(Answer::failure("X", 403, "no").json(), refused);
        let silent = json!({"resultCode": 500, "errorCode": 301, "success": false});
        assert_eq!(Answer::error(301, "").json(), silent);
        let request = Answer::request("ClientDetectionRequest", "7", Fields::new());
        assert_eq!(request.json(), json!({"requestId": "7", "headers": {}}));
        let ack =
            json!({"headers": {}, "abilityTable": {"a": true, "b": true}, "module": "internal"});
        assert_eq!(Answer::setup_ack(&["a", "b"]).json(), ack);
    }
}
