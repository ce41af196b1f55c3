//! The bytes that real members of 2.5.1 and 3.0.3 sent, sent to a server of ours: it must answer as
//! the member answered whom they were sent to.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use naming_model::payload::Payload;
use serde_json::{Value, json};

use crate::client::{Client, head};
use crate::java::cluster_address;
use crate::site::Site;

fn vectors(file: &str) -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden_peer_v2");
    let text = std::fs::read_to_string(folder.join(file)).unwrap();
    let recording: Value = serde_json::from_str(&text).unwrap();
    recording["vectors"].as_array().unwrap().clone()
}

const FILES: [&str; 9] = [
    "distro-add.json",
    "distro-change.json",
    "distro-delete.json",
    "distro-query.json",
    "distro-snapshot.json",
    "distro-verify.json",
    "identity-3.0.3.json",
    "member-report.json",
    "other.json",
];

/// Sends the recorded bytes; kind and body of the answer.
async fn ask(client: &Client, request: &Value) -> (String, Value) {
    let message = STANDARD.decode(request["payload"].as_str().unwrap()).unwrap();
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    let framed: Bytes = [&[0], &length[..], &message].concat().into();
    let mut calls = client.raw_calls().ready().await.unwrap();
    let (response, mut send) = calls.send_request(head("/Request/request"), false).unwrap();
    send.send_data(framed, true).unwrap();
    let mut body = response.await.unwrap().into_body();
    let mut answer = BytesMut::new();
    while let Some(chunk) = body.data().await {
        let chunk = chunk.unwrap();
        let _ = body.flow_control().release_capacity(chunk.len());
        answer.extend_from_slice(&chunk);
    }
    let payload = Payload::read(answer.split_off(5).freeze()).unwrap();
    (payload.kind().to_owned(), serde_json::from_slice(payload.body()).unwrap())
}

async fn operate(client: &Client, operation: &str, id: &str, content: Option<Value>) -> Value {
    let mut data = json!({"distroKey": {"resourceKey": id,
        "resourceType": "Nacos:Naming:v2:ClientData"}, "type": operation});
    if let Some(content) = content {
        data["content"] = STANDARD.encode(content.to_string()).into();
    }
    let body = json!({"headers": {}, "distroData": data, "dataOperation": operation});
    let headers = [("serverIdentity", "security")];
    client.call_with("DistroDataRequest", &headers, body.to_string().into()).await.unwrap().1
}

fn empty(id: &str, revision: &Value) -> Value {
    json!({"clientId": id, "attributes": {"clientAttributes": {"revision": revision}},
        "namespaces": [], "groupNames": [], "serviceNames": [], "instancePublishInfos": [],
        "batchInstanceData": {}})
}

fn content_of(body: &Value) -> Value {
    let content = body["distroData"]["content"].as_str().map(|text| STANDARD.decode(text).unwrap());
    content.map_or(Value::Null, |bytes| serde_json::from_slice(&bytes).unwrap())
}

fn keys(value: &Value) -> Vec<String> {
    value.as_object().map_or_else(Vec::new, |object| object.keys().cloned().collect())
}

#[test]
fn recorded_requests_are_answered_as_members_answer_them() {
    let mut site = Site::new(&[4]);
    site.identity = Some(("serverIdentity", "security"));
    site.set_list(&[1, 4], &[]);
    let java = site.java(1);
    let ours = site.start(4);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let client = Client::set_up(cluster_address(&site.address(4)), "recorded").await;
        let mut asked = 0;
        for file in FILES {
            for vector in vectors(file) {
                let id = format!("{file} {}", vector["id"].as_str().unwrap());
                let (request, expected) = (&vector["request"], &vector["reply"]);
                if request["payload"].is_null() || expected["payload"].is_null() {
                    continue;
                }
                if request["type"] == "ConnectionSetupRequest" {
                    continue;
                }
                // Recorded where no identity was asked for: it is asked for here.
                let is_bare = request["headers"].get("serverIdentity").is_none();
                if is_bare && file != "identity-3.0.3.json" {
                    continue;
                }
                prime(&client, &vector).await;
                let (kind, body) = ask(&client, request).await;
                compare(&id, expected, &kind, &body);
                asked += 1;
            }
        }
        assert!(asked >= 20, "{asked}");
    });
    drop((java, ours));
}

#[test]
fn recorded_requests_of_members_without_identity_are_answered_the_same() {
    let mut site = Site::new(&[4]);
    site.set_list(&[1, 4], &[]);
    let java = site.java(1);
    let ours = site.start(4);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let client = Client::set_up(cluster_address(&site.address(4)), "recorded").await;
        let mut asked = 0;
        for file in FILES.into_iter().filter(|file| *file != "identity-3.0.3.json") {
            for vector in vectors(file) {
                let id = format!("{file} {}", vector["id"].as_str().unwrap());
                let (request, expected) = (&vector["request"], &vector["reply"]);
                if request["payload"].is_null() || expected["payload"].is_null() {
                    continue;
                }
                prime(&client, &vector).await;
                let (kind, body) = ask(&client, request).await;
                compare(&id, expected, &kind, &body);
                asked += 1;
            }
        }
        assert!(asked >= 60, "{asked}");
        refuse_what_java_stumbles_over(&client).await;
        handshakes(&client).await;
    });
    drop((java, ours));
}

/// What the member knew before it was asked.
async fn prime(client: &Client, vector: &Value) {
    for given in vector["given"].as_array().unwrap_or(&Vec::new()) {
        let id = given["clientId"].as_str().unwrap();
        operate(client, "CHANGE", id, Some(given.clone())).await;
    }
    let (request, expected) = (&vector["request"], &vector["reply"]["body"]);
    let content = &request["content"];
    let known = &vector["reply"]["content"];
    if let Some(id) = known["clientId"].as_str() {
        operate(client, "CHANGE", id, Some(known.clone())).await;
    }
    let Some(id) = content["clientId"].as_str() else { return };
    if request["body"]["dataOperation"] == "VERIFY" && vector["given"].is_null() {
        match expected["resultCode"] == 200 {
            true => operate(client, "CHANGE", id, Some(empty(id, &content["revision"]))).await,
            false => operate(client, "DELETE", id, None).await,
        };
    }
}

fn compare(id: &str, expected: &Value, kind: &str, body: &Value) {
    assert_eq!(kind, expected["type"], "{id}: {body}");
    let wanted = &expected["body"];
    for field in ["resultCode", "errorCode", "success"] {
        assert_eq!(body[field], wanted[field], "{id}: {body}");
    }
    assert_eq!(body.get("distroData").is_some(), wanted.get("distroData").is_some(), "{id}");
    assert_eq!(keys(&content_of(body)), keys(&expected["content"]), "{id}");
    if let Some(metrics) = wanted.get("loaderMetrics") {
        let (mut given, mut named) = (keys(&body["loaderMetrics"]), keys(metrics));
        given.sort();
        named.sort();
        assert_eq!(given, named, "{id}");
        assert!(body["loaderMetrics"].as_object().unwrap().values().all(Value::is_string));
    }
    if wanted.get("node").is_some_and(Value::is_object) {
        assert!(body["node"]["address"].is_string(), "{id}: {body}");
    }
}

/// Java says yes to some of these, and cannot list the service afterwards.
async fn refuse_what_java_stumbles_over(client: &Client) {
    let mut refused = 0;
    for vector in vectors("distro-errors.json") {
        let id = vector["id"].as_str().unwrap();
        let taken = [
            "no-revision",
            "no-cluster",
            "client-id-differs",
            "metadata-number",
            "null-lists-batch",
        ];
        let (kind, body) = ask(client, &vector["request"]).await;
        if taken.contains(&id) {
            assert_eq!(body["resultCode"], 200, "{id}: {body}");
            continue;
        }
        assert_eq!(body["resultCode"], 500, "{id}: {body}");
        assert_ne!(body["errorCode"], 0, "{id}");
        assert!(body["message"].as_str().is_some_and(|text| !text.is_empty()), "{id}: {body}");
        assert_eq!(kind, vector["reply"]["type"], "{id}");
        refused += 1;
    }
    assert!(refused >= 12, "{refused}");
}

async fn handshakes(client: &Client) {
    for vector in vectors("handshake.json") {
        let id = vector["id"].as_str().unwrap();
        let request = &vector["request"];
        if request["type"] == "ConnectionSetupRequest" || request["payload"].is_null() {
            continue;
        }
        // One is asked at the port of clients, others before the setup.
        let is_elsewhere = id.contains("unregistered") || id == "report-on-sdk-port";
        if is_elsewhere || vector["reply"]["payload"].is_null() {
            continue;
        }
        let (kind, body) = ask(client, request).await;
        compare(id, &vector["reply"], &kind, &body);
    }
}
