//! `naming-server migrate check`, from a server of this kind and from stand-ins.
//!
//! Whole clusters are checked where the migration is played: nacos_peer.

mod import_support;
mod server_support;

use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use import_support::{Reply, Request, StandIn, ok};
use serde_json::json;
use server_support::TestServer;

struct Said {
    code: Option<i32>,
    output: String,
    errors: String,
}

fn check(arguments: &[&str], variables: &[(&str, &str)]) -> Said {
    migrate(&[&["check", "--within", "0"], arguments].concat(), variables)
}

fn migrate(arguments: &[&str], variables: &[(&str, &str)]) -> Said {
    let output = Command::new(env!("CARGO_BIN_EXE_naming-server"))
        .arg("migrate")
        .args(arguments)
        .env_remove("MIGRATE_PASSWORD")
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { code: output.status.code(), output: text(output.stdout), errors: text(output.stderr) }
}

impl Said {
    #[track_caller]
    fn expect(&self, code: i32, parts: &[&str]) {
        let Self { output, errors, .. } = self;
        assert_eq!(self.code, Some(code), "{output}{errors}");
        for part in parts {
            assert!(output.contains(part), "{part}: {output}{errors}");
        }
    }
}

#[test]
fn a_server_is_asked_for_its_view() {
    let server = TestServer::start();
    let own = server.address.to_string();
    server.call("POST", "instance?serviceName=a&ip=10.0.0.1&port=80").expect(200);
    let said = check(&["--servers", &own], &[]);
    said.expect(
        0,
        &["ours   yes    on            1          1  1 UP", "\nyes: the 1 servers asked"],
    );
    let more = ["--servers", &own, "--expect", &format!("{own},10.0.0.9:8848")];
    let said = check(&more, &[]);
    said.expect(1, &[&format!("- {own} does not list 10.0.0.9:8848\nno: do not take the next")]);
}

#[test]
fn a_server_without_an_answer_holds_nobody_up() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let servers = format!("{},{nobody}", silent.local_addr().unwrap());
    let began = Instant::now();
    let said = check(&["--servers", &servers, "--timeout", "2"], &[]);
    said.expect(1, &["gives no view: no answer within 2 s", "does not answer: Connection refused"]);
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
}

#[test]
fn an_endless_answer_is_refused() {
    let server = StandIn::start(|_| ok("x".repeat((1 << 20) + 1)));
    let said = check(&["--servers", &server.address.to_string()], &[]);
    said.expect(1, &["gives no view: the answer of /v1/core/cluster/self: length limit exceeded"]);
}

/// A server of Nacos that is alone and lets nobody in without a token.
fn guarded(request: &Request) -> Reply {
    let member = json!({"address": "10.0.0.1:8848", "state": "UP"});
    if request.is("POST /v1/auth/login") {
        return match &*request.body {
            "password=right" => ok(json!({"accessToken": "t"})),
            _ => Some((403, "unknown user!".to_owned())),
        };
    }
    if request.headers.get("authorization").map(String::as_str) != Some("Bearer t") {
        return Some((403, "unknown user!".to_owned()));
    }
    match &*request.path {
        "/v1/core/cluster/self" => ok(json!({"code": 200, "data": member})),
        "/v1/core/cluster/nodes" => ok(json!({"code": 200, "data": [member]})),
        "/v1/ns/operator/switches" => ok(json!({"healthCheckEnabled": false})),
        "/v1/ns/operator/metrics" => {
            ok(json!({"status": "UP", "serviceCount": 2, "instanceCount": 7}))
        }
        "/v1/console/health/readiness" => ok("OK"),
        _ => Some((404, String::new())),
    }
}

#[test]
fn a_user_logs_in_where_a_server_asks_for_one() {
    let server = StandIn::start(guarded);
    let own = server.address.to_string();
    let arguments = ["--servers", &own, "--user", "nacos"];
    let said = check(&arguments, &[("MIGRATE_PASSWORD", "right")]);
    said.expect(0, &["10.0.0.1:8848  Nacos  yes    off           2          7  1 UP"]);
    assert!(server.seen().iter().all(|seen| !seen.query.contains("right")));
    let said = check(&arguments, &[("MIGRATE_PASSWORD", "wrong")]);
    said.expect(1, &["gives no view: 403 unknown user!"]);
    check(&["--servers", &own], &[]).expect(1, &["gives no view: 403 unknown user!"]);
    // A server where the switch is on does not let the next step be taken.
    let arguments = [&arguments[..], &["--health-check", "on"]].concat();
    let said = check(&arguments, &[("MIGRATE_PASSWORD", "right")]);
    said.expect(1, &["- the switch check of 10.0.0.1:8848 is off, and should be on"]);
    // A server that needs no log-in is not told of a user.
    let open = TestServer::start();
    let at = open.address.to_string();
    let said = check(&["--servers", &at, "--user", "u"], &[("MIGRATE_PASSWORD", "p")]);
    said.expect(0, &["yes: "]);
}

/// A server of 3.x as it is when nothing is set: calls of operators of 1.x and 2.x are gone.
fn of_3x(request: &Request) -> Reply {
    let data = |data: serde_json::Value| ok(json!({"code": 0, "message": "success", "data": data}));
    let member =
        json!({"address": "10.0.0.1:8848", "state": "UP", "extendInfo": {"version": "3.0.3"}});
    let host = json!({"ip": "10.0.0.7", "port": 80, "clusterName": "DEFAULT", "healthy": true});
    match &*request.path {
        "/v3/admin/core/cluster/node/self" => data(member),
        "/v3/admin/core/cluster/node/list" => data(json!([member])),
        "/v3/admin/ns/ops/switches" => data(json!({"healthCheckEnabled": true})),
        "/v3/admin/ns/ops/metrics" => {
            data(json!({"status": "UP", "serviceCount": 1, "instanceCount": 1}))
        }
        "/v3/admin/core/state/readiness" => data(json!("ok")),
        "/v3/admin/core/loader/current" => data(json!({"1": {"metaInfo": {
            "clientIp": "10.0.0.9", "labels": {"module": "config"}}}})),
        "/v3/admin/core/namespace/list" => data(json!([{"namespace": "public"}])),
        "/v3/admin/ns/service/list" => data(json!({"totalCount": 1,
            "pageItems": [{"name": "one", "groupName": "DEFAULT_GROUP"}]})),
        "/v1/ns/instance/list" => ok(json!({"hosts": [host]})),
        _ => Some((410, "{\"code\":40000}".to_owned())),
    }
}

#[test]
fn servers_of_3x_are_asked_at_their_own_paths() {
    let java = StandIn::start(of_3x);
    let at = java.address.to_string();
    let said = check(&["--servers", &at], &[]);
    said.expect(0, &["10.0.0.1:8848  Nacos  yes    on            1          1  1 UP"]);
    let said = migrate(&["plan", "--java", &at, "--new", "10.0.0.4:8848"], &[]);
    assert!(said.output.contains("Nacos 3.0.3"), "{}", said.output);
    assert!(said.output.contains("connected now: 1\n- 10.0.0.9"), "{}", said.output);
}

#[test]
fn what_two_servers_list_differently_is_shown() {
    let (java, ours) = (StandIn::start(of_3x), TestServer::start());
    let (at, own) = (java.address.to_string(), ours.address.to_string());
    let both = format!("{at},{own}");
    let said = migrate(&["status", "--servers", &both], &[]);
    let there = format!(
        "- public DEFAULT_GROUP@@one: 10.0.0.7:80 DEFAULT is at http://{at}/nacos, and not at http://{own}/nacos\nno: 1 of 1"
    );
    said.expect(1, &[&there]);
    ours.call("POST", "instance?serviceName=one&ip=10.0.0.7&port=80").expect(200);
    let said = migrate(&["status", "--servers", &both], &[]);
    said.expect(0, &["yes: 2 servers list the same 1 services with 1 instances"]);
}
