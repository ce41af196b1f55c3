//! What a server may leave out of what was recorded, or write beside it, and the comparison of
//! messages.

use serde_json::{Map, Value};

use super::payload::Incoming;
use super::step::MessageExpectation;
use crate::golden_support::json::shown;
use crate::golden_support::pattern::Pattern;
use crate::golden_support::scenario::Side;
use crate::golden_support::variables::Variables;

/// May be absent at any depth, but inside metadata.
const OPTIONAL: [&str; 5] = [
    "instanceHeartBeatInterval",
    "instanceHeartBeatTimeOut",
    "ipDeleteTimeout",
    "instanceIdGenerator",
    "valid",
];
/// May be absent at the top.
const OPTIONAL_TOP: [&str; 2] = ["module", "message"];
/// May stand beside what was recorded in an answer.
const EXTRA_IN_ANSWERS: [&str; 1] = ["requestId"];
/// May stand beside the list in a push.
const EXTRA_IN_PUSHES: [&str; 3] = ["namespace", "serviceName", "groupName"];

/// Who has sent a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// The server answers a call.
    Answer,
    /// The server asks.
    ServerRequest,
}

/// The differences between a message, or the status of a call that failed, and what is expected.
pub(crate) fn differences(
    expect: &MessageExpectation,
    found: &Result<Incoming, (String, String)>,
    variables: &Variables,
    side: Side,
    direction: Direction,
) -> Vec<String> {
    let message = match (found, &expect.grpc) {
        (Err((status, _)), Some(expected)) => {
            return expected.differences(&status.as_str().into(), variables, "grpc");
        }
        (Err((status, details)), None) => return vec![format!("gRPC status {status}: {details}")],
        (Ok(message), Some(_)) if expect.kind.is_none() => {
            return vec![format!(
                "want a gRPC status, got {} {}",
                message.kind,
                shown(&message.body)
            )];
        }
        (Ok(message), _) => message,
    };
    let mut found = Vec::new();
    if let Some(kind) = &expect.kind {
        found.extend(kind.differences(&message.kind.as_str().into(), variables, "type"));
    }
    if let Some(body) = &expect.body {
        match side {
            Side::Want => found.extend(relaxed(body, &message.body, variables, direction)),
            Side::Nacos => found.extend(compare(body.clone(), &message.body, variables)),
        }
    }
    for (name, pattern) in &expect.headers {
        let value = message.headers.get(name).map_or(Value::Null, |value| value.as_str().into());
        found.extend(pattern.differences(&value, variables, &format!("header {name}")));
    }
    if !found.is_empty() {
        found.push(format!("the message was {} {}", message.kind, shown(&message.body)));
    }
    found
}

fn compare(expected: Value, actual: &Value, variables: &Variables) -> Vec<String> {
    match Pattern::try_from(expected) {
        Ok(pattern) => pattern.differences(actual, variables, "$"),
        Err(error) => vec![error],
    }
}

fn relaxed(
    expected: &Value,
    actual: &Value,
    variables: &Variables,
    direction: Direction,
) -> Vec<String> {
    let Value::Object(entries) = actual else {
        return compare(strip(expected), actual, variables);
    };
    let mut differences = Vec::new();
    if entries.get("message").is_some_and(|message| !message.is_string()) {
        differences.push(format!("$.message: want text, got {}", entries["message"]));
    }
    let extra: &[&str] = match direction {
        Direction::Answer => &EXTRA_IN_ANSWERS,
        Direction::ServerRequest if entries.contains_key("serviceInfo") => &EXTRA_IN_PUSHES,
        Direction::ServerRequest => &[],
    };
    let known = expected.as_object();
    let is_expected = |key: &str| known.is_some_and(|known| known.contains_key(key));
    let is_compared =
        |key: &str| !OPTIONAL_TOP.contains(&key) && (!extra.contains(&key) || is_expected(key));
    let actual: Map<_, _> = entries
        .iter()
        .filter(|(key, _)| is_compared(key))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    let mut expected = expected.clone();
    if let Value::Object(entries) = &mut expected {
        // A matcher has none of these keys.
        entries.retain(|key, _| !OPTIONAL_TOP.contains(&key.as_str()));
    }
    differences.extend(compare(strip(&expected), &strip(&actual.into()), variables));
    differences
}

/// Drops what may be absent.
fn strip(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(strip).collect(),
        Value::Object(entries) => {
            let is_spare = |key: &str, value: &Value| {
                OPTIONAL.contains(&key)
                    || key == "allIps" && entries.contains_key("allIPs") && *value == false
            };
            let keep = entries.iter().filter(|(key, value)| !is_spare(key, value));
            let strip = |(key, value): (&String, &Value)| {
                let value = if key == "metadata" { value.clone() } else { strip(value) };
                (key.clone(), value)
            };
            Value::Object(keep.map(strip).collect())
        }
        other => other.clone(),
    }
}
