//! Recorded traffic between Java servers, sent to a server of ours that is a member among them.

use std::io::Write;

use base64::prelude::{BASE64_STANDARD, Engine};
use serde_json::{Value, json};

#[path = "../server_support/mod.rs"]
mod server_support;

mod identity;
mod java;
mod trio;

use java::Request;
use server_support::wait_for;
use trio::{ENDINGS, Trio};

const DATUM_KEY: &str = "com.alibaba.nacos.naming.iplist.ephemeral.";

fn exchanges(text: &str) -> Vec<Value> {
    let file: Value = serde_json::from_str(text).unwrap();
    let exchanges = file["exchanges"].as_array().unwrap().clone();
    assert!(!exchanges.is_empty());
    exchanges
}

fn recorded(exchange: &Value) -> Request {
    let request = &exchange["request"];
    let pairs = request["headers"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let headers = pairs.map(|pair| (text(&pair[0]), text(&pair[1]))).collect();
    let body = match request["bodyBase64"].as_str() {
        Some(packed) => BASE64_STANDARD.decode(packed).unwrap(),
        None => request["body"].as_str().unwrap_or_default().as_bytes().to_vec(),
    };
    Request { method: text(&request["method"]), target: text(&request["target"]), headers, body }
}

/// The same kinds of values under the same names; of a list and of a map with free names only that
/// it is one.
fn same_shape(ours: &Value, recorded: &Value) -> bool {
    match (ours, recorded) {
        (Value::Object(ours), Value::Object(recorded)) => {
            let is_map = recorded.keys().any(|key| key.starts_with(DATUM_KEY));
            is_map
                || recorded.iter().all(|(key, value)| {
                    ours.get(key).map_or_else(|| value.is_null(), |ours| same_shape(ours, value))
                })
        }
        (Value::Array(_), Value::Array(_)) => true,
        (ours, recorded) => {
            recorded.is_null() || std::mem::discriminant(ours) == std::mem::discriminant(recorded)
        }
    }
}

/// What this server does better than it was recorded, by the title of the exchange.
fn expected_instead(title: &str) -> Option<u16> {
    Some(match title {
        // It reads votes in forms, and never switches to a Raft that it does not have.
        "vote, 1.4.8 to 1.4.8: refused" | "beat after the receiver switched to JRaft" => 200,
        // It is never a leader.
        "datum, follower to leader" | "delete, follower to leader" => 400,
        _ => return None,
    })
}

#[test]
fn every_recorded_call_is_answered_as_it_was() {
    let trio = Trio::start();
    let files = [
        include_str!("../peer/post-cluster-report.json"),
        include_str!("../peer/put-distro-datum.json"),
        include_str!("../peer/redirected-writes.json"),
        include_str!("../peer/get-distro-datum.json"),
        include_str!("../peer/get-distro-datums.json"),
        include_str!("../peer/put-distro-checksum.json"),
        include_str!("../peer/post-service-status.json"),
        include_str!("../peer/get-instance-statuses.json"),
        include_str!("../peer/legacy-status.json"),
        include_str!("../peer/raft-old.json"),
        include_str!("../peer/self-expiry.json"),
        include_str!("../peer/service-subscribers.json"),
        include_str!("../peer/config-data-change.json"),
        // Last: it takes members out.
        include_str!("../peer/server-leave.json"),
    ];
    let mut replayed = 0;
    for exchange in files.iter().flat_map(|file| exchanges(file)) {
        let title = exchange["title"].as_str().unwrap();
        let mut request = recorded(&exchange);
        let host = request.header("host").unwrap_or_default().to_owned();
        let target = ENDINGS.iter().position(|ending| host.ends_with(ending)).unwrap_or(2);
        request.target = trio.here(&request.target, target);
        for (_, value) in &mut request.headers {
            *value = trio.here(value, target);
        }
        if exchange["request"]["bodyBase64"].is_null() {
            request.body = trio.here(&request.text(), target).into_bytes();
        } else {
            // Packed, with the addresses of the other network in it: packed again here.
            let text = exchange["request"]["bodyGunzipped"].as_str().unwrap();
            let mut packer =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            packer.write_all(trio.here(text, target).as_bytes()).unwrap();
            request.body = packer.finish().unwrap();
        }
        if let Some(service) = asked_for(&request) {
            let body = format!("instance?serviceName={service}&ip=10.9.9.9&port=80");
            trio.ours.call("POST", &body).expect(200);
        }
        let answer = trio.send(&request);
        let reply = match &exchange["reply"] {
            Value::Null => &exchange["replyAcceptedBy1.4.8"],
            reply => reply,
        };
        let expected = u64::from(expected_instead(title).unwrap_or(0));
        let expected = if expected > 0 { expected } else { reply["status"].as_u64().unwrap() };
        assert_eq!(u64::from(answer.status), expected, "{title}: {request:?} {answer:?}");
        replayed += 1;
        if expected != 200 || expected_instead(title).is_some() || title.contains("unknown key") {
            continue;
        }
        let body = reply["body"].as_str().unwrap();
        let is_ours_only = exchange["reply"].is_null() && body == "ok";
        match serde_json::from_str::<Value>(body) {
            Ok(recorded) => {
                let ours = answer.json();
                assert!(same_shape(&ours, &recorded), "{title}: {ours} {recorded}");
            }
            Err(_) if is_ours_only => {}
            Err(_) => assert_eq!(answer.body, body, "{title}"),
        }
    }
    assert!(replayed > 60, "{replayed}");
}

/// The service whose health a request asks for.
fn asked_for(request: &Request) -> Option<String> {
    let (_, key) = request.target.split_once("statuses?key=public%23%23")?;
    Some(key.split('&').next()?.to_owned())
}

#[test]
fn every_odd_request_that_java_chokes_on_is_refused_and_changes_nothing() {
    let trio = Trio::start();
    let file: Value = serde_json::from_str(include_str!("../peer/rejections.json")).unwrap();
    let odd: Vec<Value> = file
        .as_object()
        .unwrap()
        .values()
        .filter_map(Value::as_array)
        .flatten()
        .filter(|entry| entry.is_object())
        .cloned()
        .collect();
    let mut refused = 0;
    for entry in &odd {
        let title = entry["title"].as_str().unwrap();
        let request = &entry["request"];
        let text = |value: &Value| trio.here(value.as_str().unwrap_or_default(), 0);
        let headers = request["headers"].as_object().unwrap().iter();
        let sent = Request {
            method: text(&request["method"]),
            target: text(&request["target"]),
            headers: headers.map(|(name, value)| (name.clone(), text(value))).collect(),
            body: text(&request["body"]).into_bytes(),
        };
        let before = trio.held();
        let answer = trio.send(&sent);
        let java = entry["reply"]["status"].as_u64().unwrap();
        match title {
            // Java takes these and is broken, or believes anybody.
            "datum: null list element"
            | "datum: no value"
            | "checksum: unknown source, empty map" => {
                assert!((400..500).contains(&answer.status), "{title}: {answer:?}");
            }
            // Java refuses these, and whoever sent them repeats them for ever or has lost them.
            "datum: empty map"
            | "redirected write at a node that is not responsible"
            | "redirected beat at a node that is not responsible"
            | "raft vote with the vote in a form body" => {
                assert_eq!(answer.status, 200, "{title}: {answer:?}");
            }
            // A service without instances is not known here.
            "statuses: no namespace in the key" => {
                assert!([200, 404].contains(&answer.status), "{title}: {answer:?}");
            }
            _ if java == 200 || java == 501 => {
                assert_eq!(u64::from(answer.status), java, "{title}: {answer:?}");
            }
            _ => assert!((400..500).contains(&answer.status), "{title}: {answer:?}"),
        }
        if (400..500).contains(&answer.status) {
            refused += 1;
            assert_eq!(trio.held(), before, "{title}");
        }
    }
    assert!(odd.len() > 45 && refused > 20, "{} {refused}", odd.len());
}

#[test]
fn lists_are_believed_of_their_owner_alone() {
    let trio = Trio::start();
    let put = |service: &str, ip: &str| {
        let key =
            format!("com.alibaba.nacos.naming.iplist.ephemeral.public##DEFAULT_GROUP@@{service}");
        let list = json!({"instanceList": [{"ip": ip, "port": 80}]});
        let body = json!({&key: {"key": key, "value": list, "timestamp": 1}}).to_string();
        trio.peer_call("PUT", "ns/distro/datum", &body).expect(200);
    };
    let (theirs, ours) = (trio.service_of(0), trio.service_of(2));
    trio.ours.call("POST", &format!("instance?serviceName={ours}&ip=10.0.0.7&port=80")).expect(200);
    put(&theirs, "10.0.0.1");
    assert_eq!(trio.hosts(&theirs)[0]["ip"], "10.0.0.1");
    put(&ours, "10.0.0.2");
    let hosts = trio.hosts(&ours);
    assert!(hosts.iter().any(|host| host["ip"] == "10.0.0.7"), "nobody takes it away: {hosts:?}");
}

#[test]
fn a_new_owner_that_has_heard_nobody_makes_nobody_unhealthy() {
    let trio = Trio::start();
    let service = trio.service_of(0);
    let put = |healthy: bool, port: u16| {
        let key =
            format!("com.alibaba.nacos.naming.iplist.ephemeral.public##DEFAULT_GROUP@@{service}");
        let known = json!({"ip": "10.0.0.1", "port": 80, "healthy": healthy});
        let list =
            json!({"instanceList": [known, {"ip": "10.0.0.2", "port": port, "healthy": false}]});
        let body = json!({&key: {"key": key, "value": list, "timestamp": 1}}).to_string();
        trio.peer_call("PUT", "ns/distro/datum", &body).expect(200);
        let hosts = trio.hosts(&service);
        let host = |ip: &str, port: u16| {
            hosts.iter().find(|host| host["ip"] == ip && host["port"] == port).unwrap()["healthy"]
                .clone()
        };
        (host("10.0.0.1", 80), host("10.0.0.2", port))
    };
    assert_eq!(
        put(true, 81),
        (Value::Bool(true), Value::Bool(false)),
        "as it is told of strangers"
    );
    assert_eq!(put(false, 82), (Value::Bool(true), Value::Bool(false)), "not of the living");
}

#[test]
fn a_write_goes_to_the_java_server_that_owns_the_service_and_shows_here_at_once() {
    let trio = Trio::start();
    let service = trio.service_of(1);
    let target = format!(
        "instance?serviceName={service}&ip=10.0.0.1&port=80&metadata=%7B%22k%22%3A%22v%22%7D"
    );
    trio.ours.send("POST", &target, "User-Agent: Nacos-Java-Client:v1.4.2\r\n", "").expect(200);
    assert_eq!(trio.hosts(&service)[0]["metadata"]["k"], "v", "its client reads it");
    let sent = trio.java[1].heard("POST", "/nacos/v1/ns/instance?");
    assert_eq!(sent.len(), 1, "{sent:?}");
    let sent = &sent[0];
    assert!(sent.target.ends_with("&encoding=UTF-8&nofix=1"), "{}", sent.target);
    assert!(sent.target.contains("metadata=%7B%22k%22%3A%22v%22%7D"), "{}", sent.target);
    assert!(sent.header("user-agent").unwrap().starts_with("Nacos-Server:1.3.2"));
    assert_eq!(sent.header("request-source"), Some(&*trio.own()));
    let form = "application/x-www-form-urlencoded;charset=UTF-8";
    assert_eq!(sent.header("content-type"), Some(form));
    assert!(sent.body.is_empty());
    trio.ours
        .call("DELETE", &format!("instance?serviceName={service}&ip=10.0.0.1&port=80"))
        .expect(200);
    assert!(trio.hosts(&service).is_empty());
    assert_eq!(trio.java[1].heard("DELETE", "/instance?").len(), 1);
}

#[test]
fn an_instance_that_its_owner_has_lost_is_registered_again_without_its_client() {
    let trio = Trio::start();
    let service = trio.service_of(0);
    let instance = format!("serviceName={service}&ip=10.0.0.1&port=80");
    trio.ours.call("POST", &format!("instance?{instance}&weight=3")).expect(200);
    trio.java[0].react(|request| {
        let unknown = r#"{"clientBeatInterval":5000,"code":20404}"#;
        request.target.contains("/instance/beat").then(|| (200, unknown.to_owned()))
    });
    let beat = trio.ours.put(&format!("instance/beat?{instance}")).json();
    assert_eq!(beat["code"], 10_200);
    let sent = trio.java[0].heard("POST", "/instance?");
    assert_eq!(sent.len(), 2, "once by its client: {sent:?}");
    assert!(sent[1].target.contains("weight=3.0"), "{}", sent[1].target);
    // Whom nobody knows has to register.
    let stranger = format!("instance/beat?serviceName={service}&ip=10.0.0.2&port=80");
    assert_eq!(trio.ours.put(&stranger).json()["code"], 20_404);
}

#[test]
fn a_write_that_its_owner_does_not_want_is_kept_and_told_again() {
    let trio = Trio::start();
    let service = trio.service_of(0);
    trio.java[0].react(|request| {
        let text = r#"{"status":400,"message":"receive invalid redirect request from peer 1"}"#;
        (request.method == "POST" && request.target.contains("/instance?"))
            .then(|| (400, text.to_owned()))
    });
    let target = format!("instance?serviceName={service}&ip=10.0.0.1&port=80");
    trio.ours.call("POST", &target).expect(200);
    assert_eq!(trio.hosts(&service).len(), 1);
    trio.java[0].react(|_| None);
    let before = trio.java[0].heard("POST", "/instance?").len();
    wait_for("the owner is told", || trio.java[0].heard("POST", "/instance?").len() > before);
    // What is wrong with a request is said by the owner, and nothing is kept.
    trio.java[0].react(|request| {
        let is_it = request.target.contains("/instance?");
        is_it.then(|| (500, "caused: the owner does not like it;".to_owned()))
    });
    let other = format!("instance?serviceName={service}&ip=10.0.0.2&port=80");
    assert!(trio.ours.call("POST", &other).expect(500).contains("does not like it"));
    assert_eq!(trio.hosts(&service).len(), 1);
}

#[test]
fn what_this_server_owns_is_told_in_lists_checksums_and_health() {
    let trio = Trio::start();
    let service = trio.service_of(2);
    let key = format!("com.alibaba.nacos.naming.iplist.ephemeral.public##DEFAULT_GROUP@@{service}");
    trio.ours
        .call("POST", &format!("instance?serviceName={service}&ip=10.0.0.1&port=80"))
        .expect(200);
    for java in &trio.java {
        wait_for("the list", || !java.heard("PUT", "/ns/distro/datum").is_empty());
        let list = &java.heard("PUT", "/ns/distro/datum")[0];
        assert_eq!(list.header("content-encoding"), Some("gzip"), "as Java says");
        assert_eq!(list.header("user-agent"), Some("Nacos-Server:1.3.2"));
        assert_eq!(list.header("client-version"), Some("1.3.2"));
        let told: Value = serde_json::from_str(&list.text()).unwrap();
        assert_eq!(told[&key]["value"]["instanceList"][0]["ip"], "10.0.0.1");
        wait_for("the checksums", || {
            let sent = java.heard("PUT", "/ns/distro/checksum?source=");
            sent.iter().any(|message| message.text().contains(&key))
        });
        let checksums = &java.heard("PUT", "/ns/distro/checksum?source=")[0];
        assert!(checksums.target.ends_with(&format!("source={}", trio.own())));
        wait_for("the health", || !java.heard("POST", "/ns/service/status").is_empty());
        let report = &java.heard("POST", "/core/cluster/report")[0];
        let told: Value = serde_json::from_str(&report.text()).unwrap();
        assert_eq!(told["address"], trio.own());
        assert_eq!(told["extendInfo"]["version"], "1.3.2");
        assert!(report.header("nacos-server").is_some());
    }
    trio.ours
        .call("DELETE", &format!("instance?serviceName={service}&ip=10.0.0.1&port=80"))
        .expect(200);
    wait_for("the empty list", || {
        let sent = trio.java[0].heard("PUT", "/ns/distro/datum");
        sent.iter().any(|message| message.text().contains(r#""instanceList":[]"#))
    });
}

#[test]
fn everything_is_loaded_before_the_first_report() {
    let key = |n: usize| {
        format!("com.alibaba.nacos.naming.iplist.ephemeral.public##DEFAULT_GROUP@@load-{n}")
    };
    let datums: serde_json::Map<String, Value> = (0..30)
        .map(|n| {
            let list = json!({"instanceList": [{"ip": "10.0.0.1", "port": 80, "weight": n + 1}]});
            (key(n), json!({"key": key(n), "value": list, "timestamp": 1}))
        })
        .collect();
    let text = Value::Object(datums).to_string();
    let trio = Trio::start_with(
        |_| {},
        |java| {
            for java in java {
                let text = text.clone();
                java.react(move |request| {
                    request.target.contains("distro/datums").then(|| (200, text.clone()))
                });
            }
        },
    );
    for n in 0..30 {
        let hosts = trio.hosts(&format!("load-{n}"));
        assert_eq!(hosts[0]["weight"], (n + 1) as f64, "{hosts:?}");
    }
    for java in &trio.java {
        let heard = java.heard.lock().unwrap();
        let place = |part: &str| heard.iter().position(|r| r.target.contains(part));
        assert!(place("distro/datums") < place("cluster/report"), "{:?}", place("distro/datums"));
    }
}
