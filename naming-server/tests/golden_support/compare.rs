//! Replies and packets against what a step expects of them. Each function returns one line for
//! every difference, and none if all is well.

use serde_json::Value;

use super::http::Reply;
use super::json::{self, shown};
use super::scenario::{ExpectPush, Expectation};
use super::udp::Packet;
use super::variables::Variables;

pub(crate) fn reply(expect: &Expectation, reply: &Reply, variables: &Variables) -> Vec<String> {
    let mut differences = Vec::new();
    if let Some(status) = &expect.status {
        differences.extend(status.differences(&reply.status.into(), variables, "status"));
    }
    if let Some(text) = &expect.text {
        differences.extend(text.differences(&reply.text.as_str().into(), variables, "text"));
    }
    if let Some(json) = &expect.json {
        match json::parse(&reply.text) {
            Ok(actual) => differences.extend(json.differences(&actual, variables, "$")),
            Err(error) => differences.push(format!("the body is not JSON: {error}")),
        }
    }
    for (name, pattern) in &expect.headers {
        let actual = reply.header(name).map_or(Value::Null, Value::from);
        differences.extend(pattern.differences(&actual, variables, &format!("header {name}")));
    }
    if !differences.is_empty() {
        let body = shown(&reply.text.as_str().into());
        differences.push(format!("the reply was {} {body}", reply.status));
    }
    differences
}

pub(crate) fn push(expect: &ExpectPush, packet: &Packet, variables: &Variables) -> Vec<String> {
    let mut differences = expect.outer.differences(&packet.outer, variables, "outer");
    if expect.gzip.is_some_and(|gzip| gzip != packet.gzip) {
        let size = packet.plain.len();
        differences.push(format!("gzip is {} for {size} plain bytes", packet.gzip));
    }
    if let Some(data) = &expect.data {
        match packet.outer.get("data").and_then(Value::as_str).map(json::parse) {
            Some(Ok(actual)) => differences.extend(data.differences(&actual, variables, "data")),
            Some(Err(error)) => differences.push(format!("data is not JSON: {error}")),
            None => differences.push(format!("data is not text: {}", shown(&packet.outer))),
        }
    }
    differences
}
