use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use distro_net::TcpConnector;
use hyper::HeaderMap;
use naming_http::Form;

use super::table::Audit;
use super::table::Class;
use super::*;
use crate::app::{App, Resources, Sockets};
use crate::config::{AuthConfig, Config, Hidden};
use crate::http::v1::Right;
use crate::http::{Agent, Params};
use crate::membership::Origin;
use crate::registry::{Instance, Metadata};

/// No two rows are for one request.
#[test]
fn every_request_has_one_row() {
    for table in [&*MAIN, &*CONSOLE] {
        for (path, rows) in &table.exact {
            let mut methods: Vec<_> = rows.iter().map(|row| row.row.method).collect();
            methods.sort_unstable();
            methods.dedup();
            assert_eq!(methods.len(), rows.len(), "{path}");
        }
    }
}

#[test]
fn numbers_of_rows_are_those_of_the_list() {
    let names = rows();
    let numbered = MAIN.exact.values().chain(CONSOLE.exact.values()).flatten();
    for Numbered { row, number } in numbered.chain(&MAIN.below).chain(&CONSOLE.below) {
        assert_eq!(names[*number], (row.method, row.path));
    }
}

#[test]
fn paths_of_1_x_are_not_looked_up() {
    for path in ["/v1/ns/instance", "/v1", "/", "/metrics", "/prometheusx", "/v4/x", "/v2"] {
        assert!(!is_modern(path), "{path}");
    }
    for path in ["/v2/ns/instance", "/v3/x", "/prometheus", "/prometheus/x", "/actuator/prometheus"]
    {
        assert!(is_modern(path), "{path}");
    }
}

fn all_of(lists: &[&'static [Row]]) -> Vec<&'static Row> {
    lists.iter().copied().flatten().collect()
}

/// A server that runs nowhere, with authentication on and nobody to be.
async fn api() -> Arc<Api> {
    let key = Hidden("bm90aGluZyBlbHNlIGlzIHNpZ25lZCB3aXRoIHRoaXM=".to_owned());
    let identity_value = Hidden("value".to_owned());
    let auth = AuthConfig {
        enabled: true,
        token_key: key,
        identity_key: "who".to_owned(),
        identity_value,
        ..AuthConfig::default()
    };
    let config = Config { auth, ..Config::default() };
    let origin = Origin::new(config.advertised("127.0.0.1:8848".parse().unwrap()));
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let sockets = Sockets { push: socket.into(), checks: Arc::new(TcpConnector) };
    let resources = Resources {
        auth: config.auth.settings().unwrap(),
        identity: config.auth.identity().unwrap(),
        ..Resources::default()
    };
    App::new(&config, origin, None, sockets, resources).api
}

/// The status of the answer to a request.
async fn status(table: &Table, api: &Api, row: &Row, headers: &HeaderMap) -> u16 {
    let (method, path) = (row.method.replace('*', "GET"), row.path.replace('*', "x"));
    let call = Call {
        clearance: Clearance::default(),
        method: &method.parse().unwrap(),
        path: &path,
        under_context: true,
        uri: &path,
        query: None,
        params: &Params::default(),
        agent: Agent::from_headers(headers),
        headers,
        // Elsewhere: the first administrator is made at this machine.
        peer: "192.0.2.1:1".parse().unwrap(),
        body: &Bytes::new(),
        user: None,
    };
    match answer(api, &call, table.find(&method, &path)) {
        Answer::Now(reply) => reply.status.as_u16(),
        Answer::Later(later) => later.await.status.as_u16(),
        Answer::Again(_) => panic!("{method} {path}: nothing was given to be checked"),
    }
}

#[tokio::test]
async fn whoever_proves_nothing_is_refused_wherever_a_right_is_needed() {
    let (api, none) = (api().await, HeaderMap::new());
    for (table, rows) in [
        (&*MAIN, all_of(&[rows_v2::ROWS, rows_v3::ROWS, rows_auth::ROWS, rows_own::ROWS])),
        (&*CONSOLE, all_of(&[rows_v3::CONSOLE_ROWS, rows_auth::ROWS, rows_own::ROWS])),
    ] {
        for row in rows {
            let name = format!("{} {}", row.method, row.path);
            let status = status(table, &api, row, &none).await;
            match row.right() {
                Right::Open if matches!(row.class, Class::Open) => {
                    assert_ne!(status, 403, "{name}")
                }
                // These prove themselves otherwise, which this caller does not.
                _ => assert_eq!(status, 403, "{name}"),
            }
        }
    }
}

#[tokio::test]
async fn the_header_of_the_operator_opens_all_but_the_log_in() {
    let api = api().await;
    let headers = |value: &str| {
        let mut headers = HeaderMap::new();
        headers.insert("who", value.parse().unwrap());
        headers
    };
    for row in all_of(&[rows_v2::ROWS, rows_v3::ROWS, rows_auth::ROWS, rows_own::ROWS]) {
        let name = format!("{} {}", row.method, row.path);
        let is_closed = row.path == rows_auth::LOGIN || matches!(row.class, Class::OpenWrite(_));
        let opened = status(&MAIN, &api, row, &headers("value")).await;
        assert_eq!(opened == 403, is_closed, "{name}: {opened}");
        if matches!(row.class, Class::Write(..)) {
            assert_eq!(status(&MAIN, &api, row, &headers("valuE")).await, 403, "{name}");
        }
    }
}

/// What needs no right is listed here, so that nothing comes to be open unseen.
#[test]
fn what_is_open_is_known() {
    let open: Vec<String> = all_rows()
        .filter(|row| row.right() == Right::Open)
        .map(|row| format!("{} {}", row.method, row.path))
        .collect();
    let known = [
        "GET /v2/ns/operator/metrics",
        "GET /v2/ns/ops/metrics",
        "GET /v2/ns/operator/switches",
        "GET /v2/ns/ops/switches",
        "GET /v2/console/namespace/list",
        "GET /v2/console/health/liveness",
        "GET /v2/console/health/readiness",
        "* /v2/cs/*",
        "GET /actuator/prometheus",
        "GET /v3/admin/core/state",
        "GET /v3/admin/core/state/liveness",
        "GET /v3/admin/core/state/readiness",
        "* /v3/client/cs/*",
        "* /v3/client/ai/*",
        "* /v3/admin/cs/*",
        "* /v3/admin/ai/*",
        "* /v3/admin/core/plugin/*",
        "GET /",
        "GET /index.html",
        "GET /console/*",
        "GET /v3/console/server/state",
        "GET /v3/console/server/announcement",
        "GET /v3/console/server/guide",
        "GET /v3/console/health/liveness",
        "GET /v3/console/health/readiness",
        "* /v3/console/cs/*",
        "* /v3/console/ai/*",
        "POST /v3/auth/user/admin",
        "GET /v3/openapi.json",
    ];
    assert_eq!(open, known);
}

/// Whatever changes something by a method that says so is a write, and of writes only those of
/// clients and log-ins are not taken down.
#[test]
fn writes_are_taken_down() {
    let untold = |row: &&Row| matches!(row.class, Class::Write(_, Audit::No));
    let untold: Vec<String> =
        all_rows().filter(untold).map(|row| format!("{} {}", row.method, row.path)).collect();
    let known = [
        "POST /v2/ns/instance",
        "DELETE /v2/ns/instance",
        "PUT /v2/ns/instance/beat",
        "POST /v3/client/ns/instance",
        "DELETE /v3/client/ns/instance",
        "POST /v3/admin/ns/instance",
        "DELETE /v3/admin/ns/instance",
        "POST /v3/auth/user/login",
    ];
    assert_eq!(untold, known);
    let reads = all_rows().filter(|row| matches!(row.class, Class::Read(_)));
    assert!(reads.into_iter().all(|row| matches!(row.method, "GET" | "*")));
}

/// Second names of parameters, which old clients send; documents name the first ones.
const SECOND_NAMES: &[&str] = &["dom", "cluster", "enable"];
/// Requests between servers, whose parameters are no part of what clients are told.
const BETWEEN_SERVERS: &[&str] = &[
    "/distro/",
    "/v1/ns/distro/",
    "/v1/ns/raft/",
    "/v1/ns/service/status",
    "/v1/core/cluster/report",
];
/// What handlers need not read: the sender is known before a log-in is handled, and no permission is
/// there to be picked.
const UNREAD: &[(&str, &str)] = &[
    ("/v3/auth/user/login", "username"),
    ("/v3/auth/user/login", "password"),
    ("/v3/auth/permission/list", "role"),
    ("/v1/auth/login", "username"),
    ("/v1/auth/login", "password"),
    ("/v1/auth/users/login", "username"),
    ("/v1/auth/users/login", "password"),
    // Somebody has been made first by then.
    ("/v1/auth/users/admin", "username"),
    ("/v1/auth/users/admin", "password"),
    // Of two questions in one request one is answered.
    ("/v1/console/namespaces", "customNamespaceId"),
    // Only who can be pushed to is asked who it is.
    ("/v1/ns/instance/list", "clientIP"),
    ("/v1/ns/instance/list", "app"),
    ("/v1/ns/instance/list", "tid"),
    ("/v1/ns/api/list", "clientIP"),
    ("/v1/ns/api/list", "app"),
    ("/v1/ns/api/list", "tid"),
    ("/v1/ns/api/srvIPXT", "clientIP"),
    ("/v1/ns/api/srvIPXT", "app"),
    ("/v1/ns/api/srvIPXT", "tid"),
];

/// The instance that the examples are about.
fn register_example(api: &Api) {
    let service = naming_model::ServiceKey::parse("public", "DEFAULT_GROUP@@orders").unwrap();
    let key = naming_model::InstanceKey { ip: "10.0.0.1", port: 8080, cluster: "DEFAULT" };
    let instance = Instance::new(1.0, Metadata::default()).unwrap();
    // It may be there already.
    let _ = api.registry.register(
        api.registry.clock.tick(),
        &service,
        &key,
        instance,
        true,
        &String::new,
    );
}

/// What a handler reads of a request that has all that is documented, and what it reads of one that
/// has what is documented as required.
async fn reads(
    api: &Api,
    (row_method, row_path): (&str, &str),
    handle: impl Fn(&Api, &Call<'_>) -> Option<Answer>,
) -> BTreeSet<String> {
    let documented = openapi::of(row_method, row_path);
    let mut all = BTreeSet::new();
    for only_required in [false, true] {
        let sent = documented.iter().filter(|one| one.is_required || !only_required);
        let query = sent.fold(Form::default(), |query, one| query.with(one.name, one.example));
        let params = Params::parse(Some(query.as_str()), None);
        let (method, path) = (row_method.replace('*', "GET"), row_path.replace('*', "x"));
        let headers = HeaderMap::new();
        let call = Call {
            clearance: Clearance::default(),
            method: &method.parse().unwrap(),
            path: &path,
            under_context: true,
            uri: &path,
            query: Some(query.as_str()),
            params: &params,
            agent: Agent::from_headers(&headers),
            headers: &headers,
            peer: "127.0.0.1:1".parse().unwrap(),
            body: &Bytes::new(),
            user: None,
        };
        // Whoever may everything is asked nothing more.
        let clearance = api.naming().admit_member(&call.caller());
        let call = Call { clearance, ..call };
        register_example(api);
        crate::http::params::reads::take();
        let answer = handle(api, &call);
        all.extend(crate::http::params::reads::take());
        if let Some(Answer::Later(later)) = answer {
            later.await;
        }
    }
    all
}

/// Neither is a parameter documented that nobody reads, nor one read that is not documented.
#[tokio::test]
async fn parameters_are_documented_as_they_are_read() {
    let api = api().await;
    let mut troubles = Vec::new();
    let mut compare = |(method, path): (&str, &str), mut read: BTreeSet<String>| {
        let documented: BTreeSet<String> =
            openapi::of(method, path).iter().map(|one| one.name.to_owned()).collect();
        read.retain(|name| documented.contains(name) || !SECOND_NAMES.contains(&&**name));
        let is_known = |name: &&String| UNREAD.contains(&(path, &***name));
        let unread: Vec<_> = documented.difference(&read).filter(|name| !is_known(name)).collect();
        let untold: Vec<_> = read.difference(&documented).collect();
        if !unread.is_empty() || !untold.is_empty() {
            let name = format!("{method} {path}");
            troubles.push(format!("{name}: not read {unread:?}, not documented {untold:?}"));
        }
    };
    for row in all_rows() {
        let handle = |api: &Api, call: &Call<'_>| (row.handler)(api, call).ok();
        let name = (row.method, row.path);
        compare(name, reads(&api, name, handle).await);
    }
    for entry in
        entries().filter(|entry| !BETWEEN_SERVERS.iter().any(|one| entry.path.starts_with(one)))
    {
        let name = (entry.method, &*entry.path);
        compare(name, reads(&api, name, crate::http::v1::handle_first).await);
    }
    assert!(troubles.is_empty(), "{}", troubles.join("\n"));
}

#[test]
fn each_row_is_in_the_document_and_nothing_else() {
    let document = openapi::document(described());
    let mut shown: BTreeSet<(String, String)> = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys().filter(|key| *key != "servers") {
            shown.insert((method.to_uppercase(), path.replace("{rest}", "*")));
        }
    }
    let any = ["GET", "POST", "PUT", "DELETE"];
    let methods = |method: &'static str| if method == "*" { any.to_vec() } else { vec![method] };
    let rows = rows().into_iter().map(|(method, path)| (method, path.to_owned()));
    let first = entries().map(|entry| (entry.method, entry.path));
    let served: BTreeSet<(String, String)> = rows
        .chain(first)
        .flat_map(|(method, path)| {
            methods(method).into_iter().map(move |method| (method.to_owned(), path.clone()))
        })
        .collect();
    assert_eq!(shown, served);
    let ids = document["paths"].as_object().unwrap().values().flat_map(|item| {
        item.as_object().unwrap().values().filter_map(|one| one["operationId"].as_str())
    });
    let ids: Vec<_> = ids.collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "each has a name of its own");
}

/// The copy in `docs`, which `UPDATE=1` writes anew.
#[test]
fn the_document_in_the_docs_is_that_which_is_served() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/openapi.json");
    let text = format!("{:#}\n", openapi::document(described()));
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, &text).unwrap();
    }
    let known = std::fs::read_to_string(path).unwrap_or_default();
    assert!(known == text, "docs/openapi.json is out of date: run this test with UPDATE=1");
}
