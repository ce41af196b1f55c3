//! The shapes of this crate hold what Nacos 1.4.8 answered: every recorded answer is read, and what
//! is written again agrees with the recording in every field that a shape has. The server is held to
//! the same recordings by its own tests.

use std::path::Path;

use naming_model::{BeatReply, InstanceList, PushPacket, ServiceDetail, ServicePage};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

const TRANSCRIPTS: &str = "../naming-server/tests/golden/v1";

/// A recorded value with samples in the place of its matchers.
fn filled(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(filled).collect(),
        Value::Object(fields) => match matcher(fields) {
            Some(("$set" | "$has_items" | "$has", inner)) => filled(inner),
            Some(("$one_of", items)) => filled(&items[0]),
            Some(("$type", kind)) if *kind == "string" || *kind == "md5" => "text".into(),
            Some(("$type", kind)) if *kind == "int" || *kind == "epoch_ms" => 1.into(),
            Some(("$var", _)) => 1.into(),
            Some((name, value)) => panic!("no sample for {name} {value}"),
            None => fields.iter().map(|(name, value)| (name.clone(), filled(value))).collect(),
        },
        plain => plain.clone(),
    }
}

fn matcher(fields: &Map<String, Value>) -> Option<(&str, &Value)> {
    let (name, value) = fields.iter().next().filter(|_| fields.len() == 1)?;
    name.starts_with('$').then_some((name.as_str(), value))
}

/// What of `written` is recorded otherwise.
fn differences(place: &str, written: &Value, recorded: &Value) -> Vec<String> {
    match (written, recorded) {
        (Value::Object(written), Value::Object(recorded)) => written
            .iter()
            .filter_map(|(name, value)| Some((name, value, recorded.get(name)?)))
            .flat_map(|(name, value, other)| differences(&format!("{place}/{name}"), value, other))
            .collect(),
        (Value::Array(written), Value::Array(recorded)) if written.len() == recorded.len() => {
            let pairs = written.iter().zip(recorded).enumerate();
            pairs.flat_map(|(n, (a, b))| differences(&format!("{place}/{n}"), a, b)).collect()
        }
        // Java writes a float where this writes a whole number, and null for an empty map.
        (Value::Number(_), Value::Number(_)) if written.as_f64() == recorded.as_f64() => vec![],
        (Value::Object(written), Value::Null) if written.is_empty() => vec![],
        (written, recorded) if written == recorded => vec![],
        (written, recorded) => vec![format!("{place}: {written} and not {recorded}")],
    }
}

fn holds<T: DeserializeOwned + Serialize>(place: &str, recorded: &Value) {
    let recorded = filled(recorded);
    let read: T = serde_json::from_value(recorded.clone())
        .unwrap_or_else(|error| panic!("{place}: {error}: {recorded}"));
    let found = differences(place, &serde_json::to_value(&read).unwrap(), &recorded);
    assert!(found.is_empty(), "{found:#?}");
}

/// Holds the answer of a step against the shape of its call; whether there is one.
fn check(place: &str, step: &Value) -> bool {
    let expected = ["want", "expect"].iter().find_map(|side| step[side].as_object());
    if step["step"] == "expect_push" {
        if let Some(outer) = step.get("outer") {
            holds::<PushPacket>(place, outer);
        }
        if let Some(data) = step.get("data") {
            holds::<InstanceList>(place, data);
        }
        return true;
    }
    let Some(answer) = expected.filter(|answer| answer.get("status") == Some(&json!(200))) else {
        return false;
    };
    // Of a service that is disabled there is no list.
    let Some(body) = answer.get("json").filter(|body| **body != json!({})) else { return false };
    let request = &step["request"];
    let path = request["path"].as_str().unwrap_or_default();
    match (request["method"].as_str(), path.strip_prefix("/nacos/v1/ns/")) {
        (Some("GET"), Some("instance/list")) => holds::<InstanceList>(place, body),
        (Some("PUT"), Some("instance/beat")) => holds::<BeatReply>(place, body),
        (Some("GET"), Some("service")) => holds::<ServiceDetail>(place, body),
        (Some("GET"), Some("service/list")) => holds::<ServicePage>(place, body),
        _ => return false,
    }
    true
}

#[test]
fn every_recorded_answer_is_read_and_written_again() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(TRANSCRIPTS);
    let mut checked = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|ending| ending != "json") {
            continue;
        }
        let story: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        for (number, step) in story["steps"].as_array().unwrap().iter().enumerate() {
            let place = format!("{} step {}", story["name"], number + 1);
            checked += usize::from(check(&place, step));
        }
    }
    assert!(checked >= 120, "{checked}");
}

#[test]
fn a_field_that_is_recorded_otherwise_is_found() {
    let found = differences("x", &json!({"a": 1, "b": [2.0]}), &json!({"a": 2, "b": [2], "c": 3}));
    assert_eq!(found, ["x/a: 1 and not 2"]);
}
