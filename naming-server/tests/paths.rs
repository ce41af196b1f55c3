//! Paths and methods as clients and load balancers send them: HEAD, several slashes, the health of
//! the framework of Nacos.

mod auth_support;

use auth_support::Guarded;
use auth_support::server_support::TestServer;

#[test]
fn head_is_answered_wherever_get_is_outside_of_the_naming_api() {
    let server = TestServer::start();
    for target in [
        "/nacos/v1/console/health/liveness",
        "/nacos/v1/console/health/readiness",
        "/nacos/v1/console/server/state",
        "/nacos/v1/console/namespaces",
        "/nacos/v1/core/cluster/nodes",
        "/nacos/v1/core/cluster/self",
        "/nacos/serverlist",
        "/nacos/actuator/health",
        "/nacos/",
        "/nacos/index.html",
        "/nacos/console/main.js",
        "/metrics",
        "/nacos/metrics",
    ] {
        let get = server.get(target);
        let head = server.call("HEAD", target);
        assert_eq!((head.status, &*head.body), (200, ""), "{target}");
        let header = |answer: &auth_support::server_support::Answer, name: &str| {
            answer.head.lines().find(|line| line.starts_with(name)).map(str::to_owned)
        };
        assert_eq!(header(&head, "content-type:"), header(&get, "content-type:"), "{target}");
        // Of what changes from one moment to the next the length may change.
        let length = header(&head, "content-length:");
        assert!(length.is_some_and(|line| !line.ends_with(" 0")), "{target}: {}", head.head);
    }
    for (target, status) in [
        ("/nacos/nope", 404),
        ("/nacos/v1/console/nope", 404),
        ("/nacos/v1/cs/configs", 404),
        ("/nacos/v1/ns/instance/list?serviceName=s", 501),
        ("/nacos/v1/ns/operator/metrics", 501),
    ] {
        let head = server.call("HEAD", target);
        assert_eq!((head.status, &*head.body), (status, ""), "{target}");
    }
}

#[test]
fn members_are_not_heard_below_the_context_path() {
    let server = TestServer::start();
    for path in ["/nacos/distro/v1/hello", "/nacos/distro/v1/call", "/distro/v1/hello"] {
        assert_eq!(server.call("POST", path).status, 404, "{path}");
    }
}

#[test]
fn head_needs_the_right_that_get_needs() {
    let site = Guarded::start();
    let target = "/nacos/v1/auth/users?pageNo=1&pageSize=9";
    assert_eq!(site.server.call("HEAD", target).status, 403);
    let root = site.root();
    let with_token = format!("{target}&accessToken={root}");
    assert_eq!(site.server.call("HEAD", &with_token).status, 200);
    assert_eq!(site.server.call("HEAD", "/nacos/v1/console/health/readiness").status, 200);
}

#[test]
fn several_slashes_are_one_for_routes_rights_and_limits() {
    let server = TestServer::start();
    for target in [
        "//nacos/v1/ns/instance/list?serviceName=s",
        "/nacos//v1/ns/instance/list?serviceName=s",
        "///nacos///v1//ns/instance//list/?serviceName=s",
    ] {
        let list = server.get(target).json();
        assert_eq!(list["name"], "DEFAULT_GROUP@@s", "{target}");
    }
    server.call("POST", "//nacos/v1/ns/instance?serviceName=s&ip=10.0.0.1&port=80").expect(200);
    server.get("//metrics").expect(200);
    server.get("//nacos//").expect(200);
    server.get("//nacos//console//main.js").expect(200);
    let way = server.get("//nacos");
    assert!(way.head.contains("location: /nacos/\r\n"), "{}", way.head);
    let error = server.get("//nacos/v1/ns/nope").expect(501);
    assert!(error.contains("no such api:GET:/nacos/v1/ns/nope"), "{error}");

    server.put("operator/switches?entry=limitedUrlMap&value=/nacos/v1/ns/service:403").expect(200);
    for slashes in ["/nacos/v1/ns/service", "//nacos/v1/ns/service", "/nacos//v1/ns//service"] {
        assert_eq!(server.get(&format!("{slashes}?serviceName=s")).status, 403, "{slashes}");
    }

    let site = Guarded::start();
    let root = site.root();
    for slashes in ["/nacos/v1/auth/users", "//nacos/v1/auth/users", "/nacos//v1//auth//users//"] {
        let target = format!("{slashes}?pageNo=1&pageSize=9");
        assert_eq!(site.server.get(&target).status, 403, "{slashes}");
        assert_eq!(site.server.get(&format!("{target}&accessToken={root}")).status, 200);
    }
    for slashes in ["//nacos/v1/ns/service", "/nacos/v1//ns/service"] {
        assert_eq!(site.server.call("POST", &format!("{slashes}?serviceName=s")).status, 403);
    }
}

#[test]
fn the_health_of_the_framework_follows_readiness() {
    let server = TestServer::start();
    let health = || server.get("/nacos/actuator/health");
    assert_eq!(health().expect(200), r#"{"status":"UP"}"#);
    let set = |status: &str| {
        let target = format!("operator/switches?entry=overriddenServerStatus&value={status}");
        server.put(&target).expect(200);
    };
    set("DOWN");
    assert_eq!(health().expect(503), r#"{"status":"OUT_OF_SERVICE"}"#);
    set("");
    health().expect(200);
    assert_eq!(server.get("/actuator/health").status, 404);
    let site = Guarded::start();
    site.server.get("/nacos/actuator/health").expect(200);
}
