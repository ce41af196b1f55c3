//! Parameters in a body of `multipart/form-data`, as some HTTP libraries send every form.

mod auth_support;

use auth_support::Guarded;
use auth_support::server_support::{Answer, TestServer};

const KIND: &str = "Content-Type: multipart/form-data; boundary=----B7\r\n";

fn part(name: &str, value: &str) -> String {
    format!("------B7\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
}

fn form(pairs: &[(&str, &str)]) -> String {
    pairs.iter().map(|(name, value)| part(name, value)).collect::<String>() + "------B7--\r\n"
}

fn send(server: &TestServer, request: &str, pairs: &[(&str, &str)]) -> Answer {
    let (method, path) = request.split_once(' ').unwrap();
    server.send(method, &format!("/nacos/v1/{path}"), KIND, &form(pairs))
}

#[test]
fn every_route_that_reads_a_form_reads_one_of_parts() {
    let server = TestServer::start();
    let instance = [("serviceName", "s"), ("ip", "10.0.0.1"), ("port", "80")];
    let with = |more: &[(&'static str, &'static str)]| [&instance[..], more].concat();
    let beat =
        r#"{"ip":"10.0.0.1","port":80,"serviceName":"DEFAULT_GROUP@@s","cluster":"DEFAULT"}"#;
    let checker = r#"{"type":"TCP"}"#;
    let cluster = [
        ("serviceName", "s"),
        ("clusterName", "DEFAULT"),
        ("checkPort", "80"),
        ("useInstancePort4Check", "true"),
        ("healthChecker", checker),
    ];
    let steps: &[(&str, &[(&str, &str)])] = &[
        ("POST ns/instance", &with(&[("metadata", r#"{"k":"v&w=100%+é"}"#)])),
        ("PUT ns/instance/beat", &[("serviceName", "s"), ("beat", beat)]),
        ("PATCH ns/instance", &with(&[("weight", "3")])),
        ("PUT ns/service", &[("serviceName", "s"), ("protectThreshold", "0.5")]),
        ("PUT ns/cluster", &cluster),
        ("POST ns/service", &[("serviceName", "empty"), ("groupName", "g")]),
        ("DELETE ns/service", &[("serviceName", "empty"), ("groupName", "g")]),
        ("PUT ns/operator/switches", &[("entry", "defaultCacheMillis"), ("value", "4000")]),
        ("POST console/namespaces", &[("customNamespaceId", "n"), ("namespaceName", "N")]),
        ("POST auth/login", &[("username", "nacos"), ("password", "x")]),
    ];
    for (request, pairs) in steps {
        let answer = send(&server, request, pairs);
        assert_eq!(answer.status, 200, "{request}: {answer:?}");
    }
    let list = server.get("instance/list?serviceName=s").json();
    let host = &list["hosts"][0];
    assert_eq!(host["weight"], 3.0);
    assert_eq!(host["metadata"], serde_json::json!({ "k": "v&w=100%+é" }));
    let switches = server.get("operator/switches").json();
    assert_eq!(switches["defaultCacheMillis"], 4_000);
    send(&server, "DELETE ns/instance", &instance).expect(200);
    let list = server.get("instance/list?serviceName=s").json();
    assert_eq!(list["hosts"].as_array().unwrap().len(), 0);
}

#[test]
fn the_query_counts_before_the_parts_as_before_every_form() {
    let server = TestServer::start();
    let target = "/nacos/v1/ns/instance?serviceName=first&ip=10.0.0.1&port=80";
    server.send("POST", target, KIND, &form(&[("serviceName", "second")])).expect(200);
    let names = server.get("service/list?pageNo=1&pageSize=9").json();
    assert_eq!(names["doms"], serde_json::json!(["first"]));
}

#[test]
fn credentials_in_parts_count_and_a_right_is_checked_for_what_the_parts_name() {
    let site = Guarded::start();
    let login = [("username", "root"), ("password", "root's password")];
    let answer = send(&site.server, "POST auth/login", &login);
    assert_eq!(answer.json()["globalAdmin"], true);
    let token = site.user_who_may("u", &[(":DEFAULT_GROUP:naming/mine", "rw")]);
    let register = |service: &str| {
        let pairs = [("serviceName", service), ("ip", "10.0.0.1"), ("port", "80")];
        let pairs = [&pairs[..], &[("accessToken", &*token)]].concat();
        send(&site.server, "POST ns/instance", &pairs).status
    };
    assert_eq!((register("mine"), register("theirs")), (200, 403));
}

#[test]
fn what_is_no_form_of_texts_is_refused_by_name() {
    let server = TestServer::start();
    let post = |body: &str| server.send("POST", "/nacos/v1/ns/instance", KIND, body);
    let file = "------B7\r\nContent-Disposition: form-data; name=\"metadata\"; filename=\"m\"\r\n\
                \r\n{}\r\n------B7--\r\n";
    assert!(post(file).expect(400).contains("Param 'metadata' is illegal, it is a file"));
    assert!(post(&form(&[("a", "1")])[..60]).expect(400).contains("multipart form is broken"));
    let many: Vec<_> = (0..300).map(|_| ("a", "1")).collect();
    assert!(post(&form(&many)).expect(400).contains("more than 256 parts"));
    let no_boundary = "Content-Type: multipart/form-data\r\n";
    let answer = server.send("POST", "/nacos/v1/ns/instance", no_boundary, "x");
    assert!(answer.expect(400).contains("boundary"));
}

#[test]
fn a_large_form_of_almost_boundaries_takes_no_time_and_no_more_room_than_another() {
    let server = TestServer::start();
    let start = std::time::Instant::now();
    let almost = "\r\n------B".repeat((7 << 20) / 9);
    let answer = server.send("POST", "/nacos/v1/ns/instance", KIND, &form(&[("ip", &almost)]));
    assert_eq!(answer.status, 400, "{:.200}", answer.body);
    // All of it needs three times the room when it is written anew.
    let growing = "&".repeat(4 << 20);
    let answer = server.send("POST", "/nacos/v1/ns/instance", KIND, &form(&[("ip", &growing)]));
    assert_eq!(answer.status, 413, "{:.200}", answer.body);
    assert!(start.elapsed() < std::time::Duration::from_secs(10), "{:?}", start.elapsed());
}
