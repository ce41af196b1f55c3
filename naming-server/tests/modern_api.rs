//! What the recorded answers of 2.x and 3.x do not tell: where these APIs meet that of 1.x, who may
//! make the first administrator, and what Prometheus is told.

#[path = "server_support/mod.rs"]
mod server_support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use naming_server::{AuthConfig, Config, Hidden};
use serde_json::{Value, json};

use server_support::{Answer, TestServer};

fn ok(answer: Answer) -> Value {
    let body = answer.expect(200);
    let answer: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(answer["code"], 0, "{answer}");
    answer["data"].clone()
}

fn refused(answer: &Answer, status: u16, code: u32, part: &str) {
    assert_eq!(answer.status, status, "{answer:?}");
    let body = answer.json();
    assert_eq!(body["code"], code, "{body}");
    assert!(body["data"].as_str().unwrap().contains(part), "{body}");
}

fn register(server: &TestServer, more: &str) -> Answer {
    server.call("POST", &format!("/nacos/v2/ns/instance?ip=10.0.0.1&port=80&{more}"))
}

fn hosts(server: &TestServer, service: &str) -> Value {
    let list = server.get(&format!("/nacos/v2/ns/instance/list?serviceName={service}"));
    ok(list)["hosts"].clone()
}

#[test]
fn what_an_operator_sets_over_2_x_outlasts_registrations_over_1_x() {
    let server = TestServer::start();
    ok(register(&server, "serviceName=s&weight=3&metadata=a=1"));
    ok(server.put("/nacos/v2/ns/instance?serviceName=s&ip=10.0.0.1&port=80&weight=5&metadata=b=2"));
    server
        .call("POST", "instance?serviceName=s&ip=10.0.0.1&port=80&weight=7&metadata=a=9")
        .expect(200);
    let host = hosts(&server, "s")[0].clone();
    assert_eq!((&host["weight"], &host["metadata"]), (&json!(5.0), &json!({"a": "9", "b": "2"})));
    // The next word of an operator takes its place, whichever API it comes by.
    server.call("PATCH", "instance?serviceName=s&ip=10.0.0.1&port=80&weight=6").expect(200);
    server.call("POST", "instance?serviceName=s&ip=10.0.0.1&port=80&weight=7").expect(200);
    assert_eq!(hosts(&server, "s")[0]["weight"], 6.0);
    ok(server.put("/nacos/v3/admin/ns/instance?serviceName=s&ip=10.0.0.1&port=80"));
    let host = hosts(&server, "s")[0].clone();
    assert_eq!((&host["weight"], &host["metadata"]), (&json!(1.0), &json!({})));
    server
        .call("PATCH", "instance?serviceName=s&ip=10.0.0.1&port=80&operatorValues=clear")
        .expect(200);
    server.call("POST", "instance?serviceName=s&ip=10.0.0.1&port=80&weight=7").expect(200);
    assert_eq!(hosts(&server, "s")[0]["weight"], 7.0);
}

#[test]
fn a_service_of_2_x_has_one_kind_of_instances_and_one_of_1_x_may_have_both() {
    let server = TestServer::start();
    ok(register(&server, "serviceName=s"));
    let other = register(&server, "serviceName=s&ephemeral=false");
    refused(&other, 400, 20_002, "ephemeral");
    let beat = "%7B%22ip%22:%2210.0.0.2%22,%22port%22:80,%22ephemeral%22:false%7D";
    let beat =
        server.put(&format!("/nacos/v2/ns/instance/beat?serviceName=DEFAULT_GROUP@@s&beat={beat}"));
    refused(&beat, 400, 20_002, "ephemeral");
    server.call("POST", "instance?serviceName=s&ip=10.0.0.2&port=80&ephemeral=false").expect(200);
    assert_eq!(hosts(&server, "s").as_array().unwrap().len(), 2);
}

#[test]
fn names_of_2_x_are_there_over_1_x_but_are_not_made_there() {
    let server = TestServer::start();
    ok(register(&server, "serviceName=a/b%E4%B8%AD"));
    let list = server.get("instance/list?serviceName=a/b%E4%B8%AD").json();
    assert_eq!(list["hosts"][0]["ip"], "10.0.0.1");
    for request in ["instance?ip=10.0.0.2&port=80&", "service?"] {
        let made = server.call("POST", &format!("{request}serviceName=c/d"));
        assert!(made.expect(400).contains("dom name can only have these characters"));
    }
    let beat = "%7B%22ip%22:%2210.0.0.2%22,%22port%22:80%7D";
    server.put(&format!("instance/beat?serviceName=c/d&beat={beat}")).expect(400);
    for bad in ["a%20b", "a%23%23b", "a%0Ab", "%40a", "a%40%40b"] {
        let made = register(&server, &format!("serviceName={bad}"));
        assert_eq!(made.status, 400, "{bad}");
    }
}

#[test]
fn a_client_is_sent_to_a_server_that_can_be_one() {
    let server = TestServer::start();
    let send = "/nacos/v3/admin/core/loader/reloadClient?connectionId=1_127.0.0.1_1";
    // It has gone already.
    assert_eq!(ok(server.call("POST", send)), "success");
    assert_eq!(
        ok(server.call("POST", &format!("{send}&redirectAddress=registry-2.example.org:8848"))),
        "success"
    );
    let long = format!("{}:8848", "a".repeat(256));
    for bad in ["nowhere", "host:port", ":8848", "host:70000", "a%0Ab:8848", &long] {
        let answer = server.call("POST", &format!("{send}&redirectAddress={bad}"));
        refused(&answer, 400, 20_002, "redirectAddress");
    }
    let nobody = server.get("/nacos/v2/core/loader/reloadClient");
    refused(&nobody, 400, 10_000, "connectionId");
}

#[test]
fn a_closed_server_refuses_in_the_envelope_and_can_be_opened() {
    let server = TestServer::start();
    let switch = "/nacos/v3/admin/ns/ops/switches?entry=overriddenServerStatus&value=";
    ok(server.put(&format!("{switch}DOWN")));
    refused(&register(&server, "serviceName=s"), 503, 30_000, "DOWN");
    assert_eq!(server.get("/nacos/v2/console/health/readiness").status, 503);
    assert_eq!(ok(server.get("/nacos/v2/console/health/liveness")), "ok");
    ok(server.put(switch));
    ok(register(&server, "serviceName=s"));
}

/// A request with exactly these lines.
fn raw(address: SocketAddr, lines: &str) -> u16 {
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!("{lines}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

#[test]
fn the_first_administrator_is_made_at_the_machine_and_only_once() {
    let token_key = Hidden("bm90aGluZyBlbHNlIGlzIHNpZ25lZCB3aXRoIHRoaXM=".to_owned());
    let auth = AuthConfig { enabled: true, token_key, ..AuthConfig::default() };
    let server = TestServer::start_with(Config { auth, ..Config::default() });
    let make = |path: &str, headers: &str| {
        let lines =
            format!("POST /nacos{path}?password=secret&username=root HTTP/1.1\r\n{headers}");
        raw(server.address, &lines)
    };
    let paths = ["/v1/auth/users/admin", "/v3/auth/user/admin"];
    for path in paths {
        for elsewhere in [
            "Host: registry.example.org",
            "Host: localhost\r\nX-Forwarded-For: 10.0.0.1",
            "Host: localhost\r\nForwarded: for=10.0.0.1",
            "Host: localhost\r\nVia: 1.1 proxy",
            "Host: localhost\r\nOrigin: http://example.org",
        ] {
            assert_eq!(make(path, elsewhere), 403, "{path} {elsewhere}");
        }
    }
    let state =
        || server.get("/nacos/v1/console/server/state").json()["auth_admin_request"].clone();
    assert_eq!(state(), "true");
    let none = "POST /nacos/v3/auth/user/admin HTTP/1.1\r\nHost: localhost";
    assert_eq!(raw(server.address, none), 400);
    assert_eq!(make(paths[1], "Host: localhost:8848"), 200);
    assert_eq!(state(), "false");
    for path in paths {
        assert_eq!(make(path, "Host: localhost"), 409, "{path}");
    }
    let login = server.call("POST", "/nacos/v3/auth/user/login?username=root&password=secret");
    assert_eq!(login.json()["globalAdmin"], true);
}

#[test]
fn nobody_makes_users_while_authentication_is_off() {
    let server = TestServer::start();
    for request in ["user?username=u&password=p", "user/admin?password=p"] {
        let made = server.call("POST", &format!("/nacos/v3/auth/{request}"));
        assert_eq!(made.status, 403, "{request}");
    }
}

#[test]
fn prometheus_is_told_where_a_client_may_be_asked_and_nothing_that_leads_elsewhere() {
    let server = TestServer::start();
    let metadata = json!({"__metrics_path__": "/m", "__address__": "evil:1", "1a.b": "x"});
    let metadata = metadata.to_string().replace('"', "%22").replace('{', "%7B").replace('}', "%7D");
    ok(register(&server, &format!("serviceName=s&groupName=g&namespaceId=n&metadata={metadata}")));
    ok(server.call(
        "POST",
        "/nacos/v2/ns/instance?serviceName=s&ip=fe80::1&port=81&namespaceId=n&enabled=false",
    ));
    let all = server.get("/nacos/prometheus").json();
    let labels = json!({
        "_1a_b": "x", "__metrics_path__": "/m", "__meta_clusterName": "DEFAULT",
        "__meta_nacos_namespace": "n", "__meta_nacos_group": "g", "__meta_nacos_service": "s",
        "__meta_nacos_cluster": "DEFAULT", "__meta_nacos_healthy": "true",
        "__meta_nacos_enabled": "true",
    });
    let all = all.as_array().unwrap();
    assert!(all.contains(&json!({"targets": ["10.0.0.1:80"], "labels": labels})), "{all:?}");
    assert!(all.iter().any(|target| target["targets"] == json!(["[fe80::1]:81"])), "{all:?}");
    let of_service = server.get("/nacos/prometheus/namespaceId/n/service/s").json();
    assert_eq!(of_service.as_array().unwrap().len(), 2);
    assert_eq!(server.get("/nacos/prometheus/namespaceId/other").json(), json!([]));
    assert_eq!(server.get("/nacos/prometheus/namespaceId/n/other/s").status, 404);
}

#[test]
fn the_pages_for_consoles_are_not_on_the_port_of_clients() {
    let server = TestServer::start();
    for path in ["/nacos/v3/console/server/state", "/v3/console/server/state", "/v3/auth/user/list"]
    {
        assert_eq!(server.get(path).status, 404, "{path}");
    }
}
