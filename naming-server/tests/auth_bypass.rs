//! What others have tried on Nacos, and what might be tried here: none of it opens anything.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

mod auth_support;

use auth_support::{Guarded, encode, instance};

const LIST: &str = "/nacos/v1/ns/instance/list?serviceName=s";
const USERS: &str = "/nacos/v1/auth/users?pageNo=1&pageSize=9";

/// Whether an answer gives nothing away: refused, or no such thing.
fn is_closed(status: u16) -> bool {
    matches!(status, 400 | 403 | 404 | 405 | 501)
}

#[test]
fn no_header_of_a_client_opens_anything() {
    let site = Guarded::start();
    let headers = [
        // CVE-2021-29441.
        "User-Agent: Nacos-Server\r\n",
        "User-Agent: Nacos-Server:v1.4.8\r\n",
        "Client-Version: Nacos-Server\r\n",
        // CVE-2021-29442 and what images are shipped with.
        "serverIdentity: security\r\n",
        "nacos: nacos\r\n",
        "test: test\r\n",
        "example: example\r\n",
        "golden-id: golden-value\r\n",
        "server.identity.key: server.identity.value\r\n",
        "nacos.core.auth.server.identity.key: nacos.core.auth.server.identity.value\r\n",
        "X-Forwarded-For: 127.0.0.1\r\n",
        "X-Real-IP: 127.0.0.1\r\n",
        "X-Original-URL: /nacos/v1/console/health/liveness\r\n",
        "X-Rewrite-URL: /nacos/v1/console/health/liveness\r\n",
        "X-HTTP-Method-Override: OPTIONS\r\n",
        "Authorization: Basic cm9vdDpyb290J3MgcGFzc3dvcmQ=\r\n",
        "Authorization: bearer x\r\n",
        "Authorization: Bearer\r\n",
        "Authorization: Bearer \r\n",
        "Authorization: Bearer null\r\n",
        "username: root\r\npassword: nacos\r\n",
        "username: root\r\n",
        "accessToken: x\r\n",
        "Cookie: accessToken=x; JSESSIONID=1\r\n",
        "Spas-SecurityToken: x\r\nSpas-AccessKey: root\r\n",
    ];
    for headers in headers {
        for target in [LIST, USERS] {
            let answer = site.server.send("GET", target, headers, "");
            assert_eq!(answer.status, 403, "{target} {headers}: {answer:?}");
        }
        let create = "/nacos/v1/auth/users?username=x&password=x&admin=true";
        let answer = site.server.send("POST", create, headers, "");
        assert_eq!(answer.status, 403, "{headers}: {answer:?}");
    }
}

#[test]
fn no_spelling_of_a_path_goes_around_the_check() {
    let site = Guarded::start();
    let paths = [
        // N#4701: the check knew only the path without the slash.
        "/nacos/v1/auth/users/?pageNo=1&pageSize=9",
        "/nacos/v1/auth/users//?pageNo=1&pageSize=9",
        "/nacos/v1/auth//users?pageNo=1&pageSize=9",
        "/nacos//v1/auth/users?pageNo=1&pageSize=9",
        "//nacos/v1/auth/users?pageNo=1&pageSize=9",
        "/nacos/v1/auth/./users?pageNo=1&pageSize=9",
        "/nacos/v1/console/health/../../auth/users?pageNo=1&pageSize=9",
        "/nacos/v1/console/health/liveness/../../../auth/users?pageNo=1&pageSize=9",
        "/nacos/v1/console/health/%2e%2e/%2e%2e/auth/users?pageNo=1&pageSize=9",
        "/nacos/v1/auth%2Fusers?pageNo=1&pageSize=9",
        "/nacos/v1/auth/%75sers?pageNo=1&pageSize=9",
        "/nacos/v1/auth/users%2F?pageNo=1&pageSize=9",
        "/nacos/v1/auth/users%00?pageNo=1&pageSize=9",
        "/nacos/v1/auth/users;x=1?pageNo=1&pageSize=9",
        "/nacos/;/v1/auth/users?pageNo=1&pageSize=9",
        "/nacos/v1/auth/users.json?pageNo=1&pageSize=9",
        "/nacos/v1/AUTH/users?pageNo=1&pageSize=9",
        "/nacos/v1/auth/Users?pageNo=1&pageSize=9",
        "/NACOS/v1/auth/users?pageNo=1&pageSize=9",
        "/v1/auth/users?pageNo=1&pageSize=9",
        "/nacos/v1/auth/users?pageNo=1&pageSize=9#/v1/console/health/liveness",
        "/nacos/v1/ns/instance/list/?serviceName=s",
        "/nacos/v1/ns/instance//list?serviceName=s",
        "/nacos/v1/ns/instance/list;a?serviceName=s",
        "/nacos/v1/ns/api/list?serviceName=s",
        "/nacos/v1/ns/api/srvIPXT?dom=s",
        "/nacos/v1/ns/api/allDomNames",
        "/nacos/v1/ns/instance/statuses?key=public%23%23DEFAULT_GROUP%40%40s",
        "/nacos/v1/ns/service/names",
        "/nacos/v1/ns/ops/events",
        "/nacos/v1/ns/catalog/services?pageNo=1&pageSize=9",
        "http://elsewhere/nacos/v1/auth/users?pageNo=1&pageSize=9",
    ];
    for path in paths {
        for method in ["GET", "HEAD", "OPTIONS", "TRACE", "get", "POST", "PATCH"] {
            let answer = site.server.send(method, path, "", "");
            assert!(is_closed(answer.status), "{method} {path}: {answer:?}");
            assert!(!answer.body.contains("$2a$"), "{method} {path}: {answer:?}");
        }
    }
}

#[test]
fn nothing_that_changes_something_is_open() {
    let site = Guarded::start();
    let writes = [
        "POST ns/instance",
        "PUT ns/instance",
        "DELETE ns/instance",
        "PATCH ns/instance",
        "PUT ns/instance/beat",
        "PUT ns/instance/metadata/batch",
        "DELETE ns/instance/metadata/batch",
        "POST ns/api",
        "PUT ns/api/beat",
        "GET ns/api/clientBeat",
        "POST ns/service",
        "PUT ns/service",
        "DELETE ns/service",
        "PUT ns/cluster",
        "PUT ns/health",
        "PUT ns/health/instance",
        "PUT ns/operator/switches",
        "PUT ns/ops/switches",
        "PUT ns/operator/log",
        "POST console/namespaces",
        "PUT console/namespaces",
        "DELETE console/namespaces",
        "POST auth/users",
        "PUT auth/users",
        "DELETE auth/users",
        "POST auth/roles",
        "DELETE auth/roles",
        "POST auth/permissions",
        "DELETE auth/permissions",
    ];
    for request in writes {
        let (method, path) = request.split_once(' ').unwrap();
        let target = format!(
            "/nacos/v1/{path}?serviceName=s&dom=s&ip=10.0.0.1&port=80&entry=check&value=false\
             &logName=naming_server&logLevel=debug&customNamespaceId=x&namespaceName=x&namespace=x\
             &username=root"
        );
        let answer = site.server.call(method, &target);
        assert_eq!(answer.status, 403, "{request}: {answer:?}");
    }
    let reset = site.server.get("operator/push/state?reset=true");
    assert_eq!(reset.status, 403, "{reset:?}");
    site.server.get("operator/push/state").expect(200);
}

#[test]
fn a_name_is_checked_as_it_is_used() {
    let site = Guarded::start();
    let root = site.root();
    let token = site.user_who_may("u", &[(":allowed:naming/svc", "rw"), ("ns:*:*", "rw")]);
    site.ok(&token, "POST ns/instance", &instance("svc", &[("groupName", "allowed")]));
    site.ok(&token, "POST ns/instance", &instance("allowed@@svc", &[]));
    for parameters in [
        // Nacos takes the group of one parameter for the check and that of the other for the deed.
        &[("serviceName", "other@@svc"), ("groupName", "allowed")][..],
        &[("serviceName", "svc"), ("dom", "allowed@@svc")],
        &[("dom", "other@@svc"), ("groupName", "allowed")],
        &[("serviceName", "allowed@@svc@@other")],
        &[("serviceName", "allowed@@svcs")],
        &[("serviceName", "allowed@@*")],
        &[("serviceName", "*"), ("groupName", "allowed")],
        &[("serviceName", "allowed@@svc"), ("namespaceId", "other")],
        &[("serviceName", "allowed@@svc"), ("namespaceId", "PUBLIC")],
        &[("serviceName", "allowed@@svc"), ("namespaceId", "null")],
        &[("serviceName", "svc"), ("namespaceId", "ns:x")],
        &[("serviceName", "svc"), ("namespaceId", "nsx")],
        &[("serviceName", "svc"), ("namespaceId", "*")],
        &[("serviceName", "svc"), ("namespaceId", "ns##more")],
        &[("serviceName", "more##g@@svc"), ("namespaceId", "ns")],
        &[("serviceName", "svc"), ("groupName", "more##g"), ("namespaceId", "ns")],
        &[],
    ] {
        let mut parameters = parameters.to_vec();
        parameters.extend([("ip", "10.0.0.1"), ("port", "80")]);
        site.denied(&token, "POST ns/instance", &parameters);
        site.denied(&token, "GET ns/instance/list", &parameters);
        site.denied(&token, "DELETE ns/instance", &parameters);
    }
    // The first of two counts for both.
    let twice = "/nacos/v1/ns/instance/list?serviceName=allowed@@svc&serviceName=other@@svc";
    let list = site.server.send("GET", twice, &format!("Authorization: Bearer {token}\r\n"), "");
    assert!(list.expect(200).contains("allowed@@svc"));
    // And what is in the body is not what is in the query.
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    let headers = format!("{form}Authorization: Bearer {token}\r\n");
    let body = "serviceName=allowed@@svc&ip=10.0.0.2&port=80";
    let answer =
        site.server.send("POST", "/nacos/v1/ns/instance?serviceName=other@@svc", &headers, body);
    assert_eq!(answer.status, 403, "{answer:?}");
    let found = site.json(
        &root,
        "GET ns/service/list",
        &[("pageNo", "1"), ("pageSize", "9"), ("groupName", "*")],
    );
    assert_eq!(found["doms"], serde_json::json!(["allowed@@svc"]));
}

#[test]
fn a_namespace_with_a_separator_in_its_name_is_not_reached_from_another() {
    let site = Guarded::start();
    let root = site.root();
    site.ok(&root, "POST ns/instance", &instance("g@@svc", &[("namespaceId", "ns##more")]));
    let token = site.user_who_may("u", &[("ns:*:*", "rw")]);
    let reach = [("namespaceId", "ns"), ("serviceName", "more##g@@svc")];
    site.denied(&token, "GET ns/instance/list", &reach);
    site.denied(&token, "GET ns/instance/statuses", &[("key", "ns##more##g@@svc")]);
    let seen = site.json(
        &root,
        "GET ns/instance/list",
        &[("namespaceId", "ns##more"), ("serviceName", "g@@svc")],
    );
    assert_eq!(seen["hosts"].as_array().unwrap().len(), 1);
}

#[test]
fn odd_resources_are_texts_and_no_expressions() {
    let site = Guarded::start();
    let root = site.root();
    for (n, resource) in [
        ".*",
        ".*:.*:.*",
        "(|x):[A-Z_]+:naming/s.c",
        ":DEFAULT.GROUP:naming/svc",
        "((((((a+)+)+)+)+)+)$",
        "[",
        "\\",
        ":?:?",
        "%:%:%",
        "public:*:*",
    ]
    .into_iter()
    .enumerate()
    {
        let token = site.user_who_may(&format!("u{n}"), &[(resource, "rw")]);
        site.denied(&token, "POST ns/instance", &instance("svc", &[]));
    }
    let long = "x".repeat(1_025);
    let right = [("role", "role of u0"), ("resource", &*long), ("action", "rw")];
    assert_eq!(site.call(&root, "POST auth/permissions", &right).status, 400);
    let broken = [("role", "role of u0"), ("resource", ":*:*\nrw"), ("action", "rw")];
    assert_eq!(site.call(&root, "POST auth/permissions", &broken).status, 400);
}

#[test]
fn reading_is_not_writing() {
    let site = Guarded::start();
    let reader = site.user_who_may("reader", &[("ns:*:*", "r")]);
    let writer = site.user_who_may("writer", &[("ns:*:*", "w")]);
    let in_ns = [("namespaceId", "ns")];
    site.denied(&reader, "POST ns/instance", &instance("s", &in_ns));
    site.denied(&reader, "DELETE ns/instance", &instance("s", &in_ns));
    site.denied(&reader, "PUT ns/instance/beat", &instance("s", &in_ns));
    site.ok(&writer, "POST ns/instance", &instance("s", &in_ns));
    site.denied(&writer, "GET ns/instance/list", &instance("s", &in_ns));
    site.ok(&reader, "GET ns/instance/list", &instance("s", &in_ns));
    site.ok(
        &reader,
        "GET ns/service/list",
        &[("namespaceId", "ns"), ("pageNo", "1"), ("pageSize", "9")],
    );
    site.denied(&reader, "GET ns/service/list", &[("pageNo", "1"), ("pageSize", "9")]);
    site.ok(&reader, "GET ns/service/names", &in_ns);
    site.denied(&reader, "GET ns/service/names", &[]);
    site.ok(&writer, "DELETE ns/instance", &instance("s", &in_ns));
}

#[test]
fn forged_tokens_open_nothing() {
    let site = Guarded::start();
    let good = site.root();
    let part = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
    let claims = part(r#"{"sub":"root","exp":99999999999}"#);
    let signature = good.rsplit_once('.').unwrap().1;
    let mut forged = vec![
        // What all servers with the key that Nacos was shipped with accept.
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJuYWNvcyIsImV4cCI6MTY5ODg5NDcyN30.feetKmWoPnMkAebjkNnyuKo6c21_hzTgu0dfNqbdpZQ".to_owned(),
        format!("{}.{claims}.{signature}", part(r#"{"alg":"HS256"}"#)),
        good.replace('.', ""),
        good.to_uppercase(),
        "x".repeat(20_000),
        "null".to_owned(),
        "undefined".to_owned(),
    ];
    for algorithm in ["none", "None", "NONE", "HS384", "RS256", ""] {
        let header = part(&format!(r#"{{"alg":"{algorithm}","typ":"JWT"}}"#));
        forged.extend([format!("{header}.{claims}."), format!("{header}.{claims}.{signature}")]);
    }
    for token in forged {
        let answer = site.call(&token, "GET auth/users", &[("pageNo", "1"), ("pageSize", "9")]);
        assert!(
            answer.status == 403 && answer.body.contains("token invalid!"),
            "{token}: {answer:?}"
        );
        if token.len() < 8_000 {
            let header = format!("Authorization: Bearer {token}\r\n");
            assert_eq!(site.server.send("GET", USERS, &header, "").status, 403, "{token}");
            // A token that is no good is not made good by logging in with it.
            let login = format!("/nacos/v1/auth/login?accessToken={}", encode(&token));
            assert_eq!(site.server.call("POST", &login).status, 403, "{token}");
        }
    }
}

#[test]
fn a_token_ends() {
    let mut config = auth_support::guarded_config();
    config.auth.token_ttl_s = 1;
    let site = Guarded::start_with(config);
    let token = site.root();
    let page = [("pageNo", "1"), ("pageSize", "9")];
    site.ok(&token, "GET auth/users", &page);
    auth_support::server_support::wait_for("the end of the token", || {
        site.call(&token, "GET auth/users", &page).status == 403
    });
    let answer = site.call(&token, "GET auth/users", &page);
    assert!(answer.body.contains("token expired!"), "{answer:?}");
}

#[test]
fn huge_credentials_are_refused() {
    let site = Guarded::start();
    let huge = "x".repeat(300_000);
    let header = format!("Authorization: Bearer {huge}\r\n");
    let answer = site.server.send("GET", USERS, &header, "");
    assert_eq!(answer.status, 403, "{}", answer.head);
    let header = format!("Authorization: Bearer {}\r\n", "x".repeat(600_000));
    assert_eq!(site.server.send("GET", USERS, &header, "").status, 431);
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    let body = format!("username={huge}&password={huge}");
    assert_eq!(site.server.send("POST", "/nacos/v1/auth/login", form, &body).status, 403);
    let body = format!("username={huge}&password=p");
    assert_eq!(site.server.send("POST", "/nacos/v1/auth/login", form, &body).status, 403);
}

#[test]
fn a_token_comes_before_a_password() {
    let site = Guarded::start();
    let token = site.user_who_may("u", &[]);
    // Else whoever has a token could try passwords beside it.
    let login = format!(
        "/nacos/v1/auth/login?accessToken={token}&username=root&password=root%27s+password"
    );
    let reply = site.server.call("POST", &login);
    assert_eq!(
        (&reply.json()["username"], &reply.json()["globalAdmin"]),
        (&"u".into(), &false.into())
    );
    let answer = site.call(
        "garbage",
        "GET auth/users",
        &[
            ("pageNo", "1"),
            ("pageSize", "9"),
            ("username", "root"),
            ("password", "root's password"),
        ],
    );
    assert_eq!(answer.status, 403, "{answer:?}");
}

#[test]
fn browsers_of_other_sites_get_no_further_than_anybody() {
    let site = Guarded::start();
    let headers = "Origin: http://evil.example\r\nAccess-Control-Request-Method: GET\r\n";
    let answer = site.server.send("OPTIONS", USERS, headers, "");
    assert_eq!(answer.expect(403), "Invalid CORS request");
    assert_eq!(site.server.send("GET", USERS, "Origin: http://evil.example\r\n", "").status, 403);
}
