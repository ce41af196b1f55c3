//! The recorded messages of Nacos 2.5.1 and 3.0.3: read, written again, and refused where Java
//! stumbles.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use naming_model::payload::{Payload, frame};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::arrays::{parse_snapshot, render_snapshot};
use super::content::{ClientData, Instances, Verified};
use super::member::Member;
use super::owners::{Owners, slot_of};
use super::request::{DistroRequest, Operation, ReloadRequest, Reply, ReportRequest};

#[derive(Debug, Deserialize)]
struct Recording {
    vectors: Vec<Value>,
}

fn vectors(file: &str) -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden_peer_v2");
    let text = std::fs::read_to_string(folder.join(file)).unwrap();
    serde_json::from_str::<Recording>(&text).unwrap().vectors
}

const FILES: [&str; 10] = [
    "distro-add.json",
    "distro-change.json",
    "distro-delete.json",
    "distro-errors.json",
    "distro-query.json",
    "distro-snapshot.json",
    "distro-verify.json",
    "handshake.json",
    "identity-3.0.3.json",
    "other.json",
];

/// The message of a vector: its type, its headers, its body as text.
fn decoded(message: &Value) -> (String, Value, Vec<u8>) {
    let bytes = STANDARD.decode(message["payload"].as_str().unwrap()).unwrap();
    let (metadata, body) = Payload::read(bytes.into()).unwrap().into_parts();
    (metadata.kind, json!(metadata.headers), body.to_vec())
}

/// Reads a body and writes it again: the same fields.
fn again<T: DeserializeOwned + serde::Serialize>(id: &str, body: &[u8]) {
    let given: Value = serde_json::from_slice(body).unwrap();
    let read: T = serde_json::from_slice(body).unwrap_or_else(|error| panic!("{id}: {error}"));
    let written = serde_json::to_value(&read).unwrap();
    assert_eq!(written, given, "{id}");
}

#[test]
fn every_recorded_message_is_read_and_written_again() {
    let (mut messages, mut contents) = (0, 0);
    for file in FILES.into_iter().chain(["member-report.json"]) {
        for vector in vectors(file) {
            let id = format!("{file} {}", vector["id"]);
            for way in ["request", "reply"] {
                let message = &vector[way];
                if message["payload"].is_null() {
                    continue;
                }
                let (kind, headers, body) = decoded(message);
                assert_eq!(kind, message["type"], "{id}");
                if !message["headers"].is_null() {
                    assert_eq!(headers, message["headers"], "{id}");
                }
                // Broken ones are in the tests of what is refused.
                let is_broken = file == "distro-errors.json" && way == "request";
                match &*kind {
                    _ if is_broken || vector["id"] == "bad-json" => continue,
                    "DistroDataRequest" => again::<DistroRequest>(&id, &body),
                    "MemberReportRequest" if file == "member-report.json" => {}
                    "ServerReloadRequest" => again::<ReloadRequest>(&id, &body),
                    kind if kind.ends_with("Response") => again::<Reply>(&id, &body),
                    _ => continue,
                }
                messages += 1;
                let content = &message["content"];
                if !content.is_null() {
                    check_content(&id, &vector, content);
                    contents += 1;
                }
            }
        }
    }
    assert!(messages > 120 && contents > 45, "{messages} messages, {contents} contents");
}

fn check_content(id: &str, vector: &Value, content: &Value) {
    let bytes = serde_json::to_vec(content).unwrap();
    if content.get("clientSyncDataList").is_some() {
        let (clients, left_out) = parse_snapshot(&bytes).unwrap();
        assert_eq!(left_out, 0, "{id}");
        let written: Value = serde_json::from_slice(&render_snapshot(clients.iter())).unwrap();
        assert_eq!(&written, content, "{id}");
    } else if content.get("attributes").is_some() {
        let client = ClientData::parse(&bytes).unwrap_or_else(|error| panic!("{id}: {error}"));
        let written: Value = serde_json::from_slice(&client.render()).unwrap();
        let given = match vector["id"].as_str().unwrap() {
            // What is not known is ignored; what older members leave out is written.
            "change-extra-keys" => return,
            "change-no-batch-key" => {
                let mut given = content.clone();
                given["batchInstanceData"] = json!({});
                given
            }
            _ => content.clone(),
        };
        assert_eq!(written, given, "{id}");
    } else if !id.contains("persistent") {
        let verified = Verified::parse(&bytes).unwrap_or_else(|error| panic!("{id}: {error}"));
        let written: Value = serde_json::from_slice(&verified.render()).unwrap();
        assert_eq!(&written, content, "{id}");
    }
}

#[test]
fn reports_are_read_as_java_reads_them() {
    let mut whole = 0;
    for vector in vectors("member-report.json") {
        let id = vector["id"].as_str().unwrap();
        let (.., body) = decoded(&vector["request"]);
        let read = serde_json::from_slice::<ReportRequest>(&body);
        match id {
            "extend-info-null" | "bad-state" => assert!(read.is_err(), "{id}"),
            "node-null" => assert!(read.unwrap().node.is_none()),
            "no-ip" | "no-address" | "port-minus-one" => {
                assert_eq!(read.unwrap().node.unwrap().whole_address(), None, "{id}");
            }
            "known-bare" => assert!(read.unwrap().node.unwrap().whole_address().is_some()),
            _ => {
                again::<ReportRequest>(id, &body);
                let member = read.unwrap().node.unwrap();
                assert!(member.whole_address().is_some() && !member.is_ours(), "{id}");
                whole += 1;
            }
        }
    }
    assert!(whole >= 4, "{whole}");
}

#[test]
fn this_member_tells_what_java_needs_and_is_known_to_its_own_make() {
    let own = Member::own("10.0.0.4:8848", "2.5.1", 7);
    let report = ReportRequest::of(own.clone());
    let written = serde_json::to_value(&report).unwrap();
    assert_eq!(written["headers"], json!({}));
    let node = &written["node"];
    assert_eq!((&node["ip"], &node["port"]), (&json!("10.0.0.4"), &json!(8848)));
    assert_eq!(node["abilities"]["remoteAbility"]["grpcReportEnabled"], true);
    assert_eq!(node["extendInfo"]["raftPort"], "7848");
    assert_eq!(node["state"], "UP");
    assert!(own.is_ours());
    assert_eq!(own.version(), "2.5.1");
}

#[test]
fn what_java_takes_and_stumbles_over_is_refused_by_name() {
    // Which field the refusal names; without one Java takes it, and so is it taken here.
    let refused = [
        ("extend-datum-null", "null"),
        ("extend-datum-missing", "extendDatum"),
        ("weight-integer", "publishInstanceWeight"),
        ("weight-text", "publishInstanceWeight"),
        ("enable-text", "publishInstanceEnable"),
        ("revision-too-large", "revision"),
        ("revision-text", "revision"),
        ("arrays-differ", "arrays"),
        ("arrays-missing", "namespaces"),
        ("attributes-missing", "attributes"),
        ("grouped-name", "serviceNames"),
        ("persistent-id", "clientId"),
    ];
    let taken = [
        "no-revision",
        "no-cluster",
        "client-id-differs",
        "metadata-number",
        "null-lists-batch",
        "wrong-resource",
        "type-missing",
    ];
    let mut seen = 0;
    for vector in vectors("distro-errors.json") {
        let id = vector["id"].as_str().unwrap();
        let content = &vector["request"]["content"];
        if content.is_null() {
            continue;
        }
        let read = ClientData::parse(&serde_json::to_vec(content).unwrap());
        if let Some((_, named)) = refused.iter().find(|(known, _)| *known == id) {
            let text = read.expect_err(id).to_string();
            assert!(text.contains(named), "{id}: {text}");
        } else {
            assert!(taken.contains(&id), "{id} is not spoken of");
            read.unwrap_or_else(|error| panic!("{id}: {error}"));
        }
        seen += 1;
    }
    assert!(seen >= 14, "{seen}");
}

#[test]
fn bodies_that_java_cannot_read_are_none_here() {
    for vector in vectors("distro-errors.json") {
        if vector["id"] == "unknown-operation" {
            let (.., body) = decoded(&vector["request"]);
            assert!(serde_json::from_slice::<DistroRequest>(&body).is_err());
        }
    }
    let bad = br#"{"distroData":{"content":"%%%","type":"CHANGE"},"dataOperation":"CHANGE"}"#;
    let error = serde_json::from_slice::<DistroRequest>(bad).unwrap_err().to_string();
    assert!(error.contains("base64"), "{error}");
}

#[test]
fn nothing_is_written_that_java_stumbles_over() {
    let mut client = ClientData::parse(
        br#"{"clientId":"1_10.0.0.1_2","attributes":{"clientAttributes":{"revision":3}},
            "namespaces":["public"],"groupNames":["g"],"serviceNames":["s"],
            "instancePublishInfos":[{"ip":"10.0.0.1","port":80,"healthy":true,"cluster":"DEFAULT",
            "extendDatum":{"zone":"a"}}]}"#,
    )
    .unwrap();
    let Instances::One(instance) = &mut client.published[0].instances else { panic!() };
    instance.weight = 2.0;
    instance.enabled = false;
    // Metadata of a client under the names of Java's own numbers and flags.
    for name in ["publishInstanceWeight", "publishInstanceEnable", "customInstanceId"] {
        instance.metadata.insert(name.to_owned(), "7".to_owned());
    }
    let written = String::from_utf8(client.render()).unwrap();
    assert!(written.contains(r#""publishInstanceWeight":2.0"#), "{written}");
    assert!(written.contains(r#""publishInstanceEnable":false"#), "{written}");
    assert!(written.contains(r#""batchInstanceData":{}"#), "{written}");
    assert!(!written.contains(r#""7""#) && !written.contains("null"), "{written}");
    let back = ClientData::parse(written.as_bytes()).unwrap();
    let Instances::One(back) = &back.published[0].instances else { panic!() };
    assert_eq!((back.weight, back.enabled, back.metadata.len()), (2.0, false, 1));
}

#[test]
fn requests_of_this_member_are_those_of_java() {
    let written = serde_json::to_value(DistroRequest::verify("a:1", "1_b_2", -5)).unwrap();
    let key = json!({"resourceKey": "1_b_2", "targetServer": "a:1",
        "resourceType": "Nacos:Naming:v2:ClientData"});
    assert_eq!(written["distroData"]["distroKey"], key);
    assert_eq!(written["dataOperation"], "VERIFY");
    let recorded = vectors("distro-snapshot.json");
    let (.., body) = decoded(&recorded[0]["request"]);
    let snapshot = serde_json::to_value(DistroRequest::snapshot()).unwrap();
    assert_eq!(snapshot, serde_json::from_slice::<Value>(&body).unwrap());
    let delete = DistroRequest::delete("a:1", "x");
    assert_eq!(delete.distro_data.unwrap().operation, Some(Operation::Delete));
    let frame = frame("X", "", &[]).concat();
    assert!(!frame.is_empty());
}

#[test]
fn every_recorded_owner_comes_out() {
    let recorded = vectors("owners.json");
    for vector in &recorded {
        let tag = vector["tag"].as_str().unwrap();
        let view = vector["view"].as_array().unwrap();
        let owners = Owners::new(view.iter().map(|member| member.as_str().unwrap().into()));
        assert_eq!(**owners.owner(tag).unwrap(), *vector["owner"].as_str().unwrap(), "{tag}");
        assert_eq!(u64::from(slot_of(tag)), vector["slot"].as_u64().unwrap(), "{tag}");
    }
    assert!(recorded.len() > 100);
    assert_eq!(Owners::default().owner("x"), None);
}
