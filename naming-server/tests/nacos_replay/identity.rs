//! The header by which servers of Nacos know each other, and what it opens.

use naming_server::{Config, Hidden, NewUser};
use serde_json::json;

use super::java::Request;
use super::server_support::{Answer, TestServer, wait_for};
use super::trio::Trio;

const TOKEN_KEY: &str = "dGVzdHMgb2YgdXNlcnMgYW5kIHRva2VucywgYW5kIG5vdGhpbmcgZWxzZQ==";

fn with_identity(config: &mut Config) {
    config.cluster.nacos.identity_key = "who".to_owned();
    config.cluster.nacos.identity_value = Hidden("a member".to_owned());
}

/// Members that prove themselves, and the administrator `root`.
fn guarded() -> Trio {
    let change = |config: &mut Config| {
        with_identity(config);
        config.auth.enabled = true;
        config.auth.token_key = Hidden(TOKEN_KEY.to_owned());
    };
    Trio::begin(change, vec![NewUser::new("root", "p", true).unwrap()], |_| {})
}

fn send(trio: &Trio, request: &str, headers: &[(&str, &str)]) -> Answer {
    let (method, path) = request.split_once(' ').unwrap();
    let (method, target) = (method.to_owned(), format!("/nacos/v1/{path}"));
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    trio.send(&Request { method, target, headers: headers.collect(), body: Vec::new() })
}

#[test]
fn the_identity_opens_what_members_send_and_nothing_else() {
    let trio = guarded();
    let as_member = |request| send(&trio, request, &[("who", "a member")]).status;
    for closed in [
        "GET auth/users?pageNo=1&pageSize=9",
        "POST auth/users?username=x&password=x&admin=true",
        "PUT auth/users?username=root&newPassword=x",
        "DELETE auth/users?username=x",
        "POST auth/roles?role=r&username=root",
        "POST auth/permissions?role=r&resource=*&action=rw",
        "PUT ns/operator/switches?entry=check&value=false",
        "PUT ns/operator/log?logName=naming_server&logLevel=debug",
        "GET ns/operator/events",
        "POST console/namespaces?customNamespaceId=x&namespaceName=x",
        "POST ns/service?serviceName=s",
        "DELETE ns/service?serviceName=s",
        "GET ns/instance/list?serviceName=s",
        "GET ns/catalog/services?pageNo=1&pageSize=9",
    ] {
        assert_eq!(as_member(closed), 403, "{closed}");
    }
    let write = "ns/instance?serviceName=g@@s&ip=10.0.0.1&port=80";
    for open in [
        "GET ns/distro/datums",
        &format!("POST {write}"),
        &format!("PUT {write}"),
        &format!("DELETE {write}"),
        "GET ns/instance/statuses?key=public%23%23g@@s",
        "GET ns/service/subscribers?serviceName=g@@s&pageNo=1&pageSize=9&aggregation=false",
    ] {
        assert_ne!(as_member(open), 403, "{open}");
        assert_eq!(send(&trio, open, &[("who", "somebody")]).status, 403, "{open}");
    }
}

#[test]
fn no_write_without_a_user_reaches_another_server_with_the_identity() {
    let trio = guarded();
    let register = |n: usize, headers: &[(&str, &str)]| {
        let request = format!("POST ns/instance?serviceName=g@@s-{n}&ip=10.0.0.1&port=80");
        send(&trio, &request, headers).status
    };
    for n in 0..20 {
        assert_eq!(register(n, &[]), 403);
    }
    let heard = || trio.java.iter().flat_map(|java| java.heard("POST", "/ns/instance?"));
    assert_eq!(heard().count(), 0);
    // Nor is anything of it told later.
    assert!(trio.java.iter().all(|java| java.heard("PUT", "ns/distro/datum").is_empty()));

    let login = send(&trio, "POST auth/login?username=root&password=p", &[]).json();
    let bearer = format!("Bearer {}", login["accessToken"].as_str().unwrap());
    for n in 0..20 {
        assert_eq!(register(n, &[("Authorization", &bearer)]), 200);
    }
    wait_for("a service of another server", || heard().count() > 0);
    assert!(heard().all(|request| request.header("who") == Some("a member")));
}

#[test]
fn an_identity_without_users_is_refused() {
    let mut config = Config { bind: "127.0.0.1".to_owned(), port: 0, ..Config::default() };
    with_identity(&mut config);
    let refusal = TestServer::try_start_at(config).map(drop).unwrap_err();
    assert!(refusal.contains("cluster.nacos.identity_key needs auth.enabled"), "{refusal}");
    assert!(!refusal.contains("a member"), "{refusal}");
}

#[test]
fn where_members_prove_themselves_nobody_else_is_heard() {
    let trio = guarded();
    let key = "com.alibaba.nacos.naming.iplist.ephemeral.public##g@@s";
    let body =
        json!({key: {"key": key, "value": {"instanceList": []}, "timestamp": 1}}).to_string();
    let mut request = Request {
        method: "PUT".to_owned(),
        target: "/nacos/v1/ns/distro/datum".to_owned(),
        headers: vec![("Content-Type".to_owned(), "application/json".to_owned())],
        body: body.into_bytes(),
    };
    assert_eq!(trio.send(&request).status, 403);
    request.headers.push(("who".to_owned(), "somebody".to_owned()));
    assert_eq!(trio.send(&request).status, 403);
    request.headers[1].1 = "a member".to_owned();
    assert_eq!(trio.send(&request).status, 200);
    let report = &trio.java[0].heard("POST", "/core/cluster/report")[0];
    assert_eq!(report.header("who"), Some("a member"));
}
