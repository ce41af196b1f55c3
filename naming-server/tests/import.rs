//! `naming-server import`, from servers of this kind and from stand-ins that answer as Nacos does.

mod import_support;
mod server_support;

use std::fs;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use import_support::{Reply, Request, StandIn, caused, empty, ok};
use server_support::TestServer;

const NAMESPACES: &str = "/nacos/v1/console/namespaces";

/// What an import said.
#[derive(Debug)]
struct Said {
    code: Option<i32>,
    report: String,
    errors: String,
}

impl Said {
    /// The numbers of a line of the report: created, changed, same, not taken.
    #[track_caller]
    fn counts(&self, kind: &str) -> [usize; 4] {
        let line = self.report.lines().find_map(|line| line.strip_prefix(kind));
        let numbers = line.unwrap_or_else(|| panic!("{kind}: {self:#?}")).split_whitespace();
        let numbers: Vec<usize> = numbers.map(|number| number.parse().unwrap()).collect();
        numbers.try_into().unwrap()
    }

    #[track_caller]
    fn expect(
        &self,
        code: i32,
        namespaces: [usize; 4],
        services: [usize; 4],
        clusters: [usize; 4],
    ) {
        assert_eq!(self.code, Some(code), "{self:#?}");
        let counts = ["namespaces", "services", "clusters"].map(|kind| self.counts(kind));
        assert_eq!(counts, [namespaces, services, clusters], "{self:#?}");
    }
}

fn import_with(arguments: &[&str], variables: &[(&str, &str)]) -> Said {
    let output: Output = Command::new(env!("CARGO_BIN_EXE_naming-server"))
        .arg("import")
        .args(arguments)
        .env_remove("IMPORT_FROM_PASSWORD")
        .env_remove("IMPORT_TO_PASSWORD")
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { code: output.status.code(), report: text(output.stdout), errors: text(output.stderr) }
}

fn import(source: &impl ToString, target: &TestServer, more: &[&str]) -> Said {
    let (from, to) = (source.to_string(), target.address.to_string());
    import_with(&[&["--from", &from, "--to", &to], more].concat(), &[])
}

fn post(server: &TestServer, target: &str) {
    assert_eq!(server.call("POST", target).expect(200), "ok", "{target}");
}

fn create_namespace(server: &TestServer, id: &str, more: &str) {
    let target = format!("{NAMESPACES}?customNamespaceId={id}&{more}");
    assert_eq!(server.call("POST", &target).expect(200), "true");
}

fn put_cluster(server: &TestServer, at: &str, cluster: &str, checker: &str) {
    let parameters = "checkPort=81&useInstancePort4Check=false&metadata=k=v%20w";
    let target = format!("cluster?{at}&clusterName={cluster}&healthChecker={checker}&{parameters}");
    assert_eq!(server.put(&target).expect(200), "ok");
}

/// Settings of a service as the console shows them.
fn settings(server: &TestServer, at: &str) -> Value {
    let mut shown = server.get(&format!("catalog/service?{at}")).json();
    for cluster in shown["clusters"].as_array_mut().unwrap() {
        cluster.as_object_mut().unwrap().remove("empty");
    }
    shown
}

fn status(server: &TestServer, at: &str) -> u16 {
    server.get(&format!("catalog/service?{at}")).status
}

/// A source with a little of everything.
fn populated() -> TestServer {
    let source = TestServer::start();
    create_namespace(&source, "dev", "namespaceName=D%C3%A9v&namespaceDesc=for%20tests");
    post(&source, "service?serviceName=empty");
    post(&source, "service?serviceName=g@@tuned&protectThreshold=0.3&metadata=a=b,c=%C3%A9%20%26x");
    put_cluster(&source, "serviceName=g@@tuned", "c1", HTTP);
    put_cluster(&source, "serviceName=g@@tuned", "DEFAULT", NONE);
    let label =
        "%7B%22type%22:%22label%22,%22expression%22:%22CONSUMER.label.a=PROVIDER.label.a%22%7D";
    post(&source, &format!("service?serviceName=s&namespaceId=dev&selector={label}"));
    post(&source, "service?serviceName=s&namespaceId=nameless&protectThreshold=1");
    post(&source, "instance?serviceName=alive&ip=10.0.0.1&port=80");
    post(&source, "instance?serviceName=alive&ip=10.0.0.2&port=80");
    post(&source, "instance?serviceName=g@@tuned&ip=10.0.0.2&port=80&clusterName=c1");
    source
}

const HTTP: &str = "%7B%22type%22:%22HTTP%22,%22path%22:%22/x%22,%22headers%22:%22a:hidden%22,%22expectedResponseCode%22:204%7D";
const NONE: &str = "%7B%22type%22:%22NONE%22%7D";
const COPIED: [&str; 3] =
    ["serviceName=g@@tuned", "serviceName=s&namespaceId=dev", "serviceName=s&namespaceId=nameless"];

#[test]
fn everything_arrives_and_a_second_time_changes_nothing() {
    let (source, target) = (populated(), TestServer::start());
    let rehearsed = import(&source.address, &target, &["--dry-run"]);
    rehearsed.expect(0, [1, 0, 0, 0], [3, 0, 0, 0], [2, 0, 0, 0]);
    assert!(COPIED.iter().all(|at| status(&target, at) == 404), "a rehearsal writes nothing");

    let said = import(&source.address, &target, &[]);
    said.expect(0, [1, 0, 0, 0], [3, 0, 0, 0], [2, 0, 0, 0]);
    for at in COPIED {
        assert_eq!(settings(&target, at), settings(&source, at), "{at}");
    }
    let dev = format!("{NAMESPACES}?show=all&namespaceId=dev");
    assert_eq!(target.get(&dev).json(), source.get(&dev).json());
    // What only has ephemeral instances comes with its clients.
    assert_eq!(status(&target, "serviceName=alive"), 404);
    assert!(said.report.contains("not copied: 3 ephemeral instances"), "{said:#?}");
    assert!(said.report.contains("not copied: 1 services"), "{said:#?}");
    // What has nothing at all may have lost it a moment ago.
    assert_eq!(status(&target, "serviceName=empty"), 404);
    assert!(said.report.contains("not copied: 1 services with default settings and no instances"));
    assert!(said.errors.contains("namespace public: 3 services"), "{said:#?}");
    assert!(said.errors.ends_with("5 of 5 services\n"), "{said:#?}");
    assert!(!format!("{said:?}").contains("hidden"), "{said:#?}");

    let said = import(&source.address, &target, &[]);
    said.expect(0, [0, 0, 1, 0], [0, 0, 3, 0], [0, 0, 2, 0]);
}

#[test]
fn a_rehearsal_needs_no_target() {
    let source = with_persistent_instances();
    create_namespace(&source, "dev", "namespaceName=dev");
    let from = source.address.to_string();
    let alone = import_with(&["--from", &from, "--dry-run"], &[]);
    alone.expect(0, [1, 0, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0]);
    assert_eq!(alone.counts("persistent instances"), [505, 0, 0, 0]);
    assert!(alone.report.contains("to a server that has nothing"), "{alone:#?}");
    // A target that is not started yet.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let to = nobody.to_string();
    let users = ["--to-user", "u"];
    let aimed = [&["--from", &from, "--to", &to, "--dry-run"][..], &users].concat();
    let aimed = import_with(&aimed, &[("IMPORT_TO_PASSWORD", "p")]);
    aimed.expect(0, [1, 0, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0]);
    assert!(aimed.report.contains(&format!("if http://{to}/nacos has nothing")), "{aimed:#?}");
    // The real one does need it.
    let said = import_with(&["--from", &from, "--to", &to], &[]);
    assert_eq!((said.code, &*said.report), (Some(1), ""), "{said:#?}");
}

#[test]
fn what_was_emptied_at_the_source_is_not_made_again_at_the_target() {
    let (source, target) = (TestServer::start(), TestServer::start());
    for name in ["went", "stays"] {
        post(&source, &format!("instance?serviceName={name}&ip=10.0.0.1&port=80"));
    }
    post(&source, "service?serviceName=tuned&protectThreshold=0.5");
    let gone = "instance?serviceName=went&ip=10.0.0.1&port=80";
    assert_eq!(source.call("DELETE", gone).expect(200), "ok");
    assert_eq!(status(&source, "serviceName=went"), 200, "it is there, without instances");
    let said = import(&source.address, &target, &[]);
    said.expect(0, [0; 4], [1, 0, 0, 0], [0; 4]);
    assert_eq!(status(&target, "serviceName=went"), 404, "{said:#?}");
    // Whoever wants it says so.
    import(&source.address, &target, &["--all-services"]).expect(0, [0; 4], [2, 0, 1, 0], [0; 4]);
    assert_eq!(status(&target, "serviceName=went"), 200);
}

/// The console lists `g@@long@@er` as the service `long` of the group `g`.
#[test]
fn a_name_with_a_second_separator_arrives_whole() {
    let (source, target) = (TestServer::start(), TestServer::start());
    post(&source, "service?serviceName=g@@long@@er&metadata=k=v");
    post(&source, "instance?serviceName=g@@long@@er&ip=10.0.0.1&port=80&ephemeral=false");
    post(&source, "service?serviceName=g@@longer&metadata=k=v");
    let said = import(&source.address, &target, &[]);
    said.expect(0, [0; 4], [2, 0, 0, 0], [0; 4]);
    assert_eq!(said.counts("persistent instances"), [1, 0, 0, 0]);
    for at in ["serviceName=g@@long@@er", "serviceName=g@@longer"] {
        assert_eq!(settings(&target, at), settings(&source, at), "{at}");
    }
    assert_eq!(status(&target, "serviceName=g@@long"), 404);
    import(&source.address, &target, &[]).expect(0, [0; 4], [0, 0, 2, 0], [0; 4]);
}

#[test]
fn what_differs_at_the_target_becomes_as_it_is_at_the_source() {
    let (source, target) = (populated(), TestServer::start());
    create_namespace(&target, "dev", "namespaceName=other");
    post(&target, "service?serviceName=g@@tuned&metadata=x=y");
    put_cluster(&target, "serviceName=g@@tuned", "c1", "%7B%22type%22:%22NONE%22%7D");
    put_cluster(&target, "serviceName=g@@tuned", "theirs", HTTP);
    post(&target, "service?serviceName=theirs&protectThreshold=0.5");
    let said = import(&source.address, &target, &[]);
    said.expect(0, [0, 1, 0, 0], [2, 1, 0, 0], [1, 1, 0, 0]);
    // What the source does not have stays.
    let mut merged = settings(&target, "serviceName=g@@tuned");
    let clusters = merged["clusters"].as_array_mut().unwrap();
    assert_eq!(clusters.len(), 3);
    clusters.retain(|cluster| cluster["name"] != "theirs");
    assert_eq!(merged, settings(&source, "serviceName=g@@tuned"));
    assert_eq!(settings(&target, "serviceName=theirs")["service"]["protectThreshold"], 0.5);
    let name = target.get(&format!("{NAMESPACES}?show=all&namespaceId=dev")).json();
    assert_eq!(name["namespaceShowName"], "Dév");
}

#[test]
fn parts_can_be_asked_for() {
    let (source, target) = (populated(), TestServer::start());
    let said = import(&source.address, &target, &["--namespace", "nameless", "--namespace", "x"]);
    said.expect(0, [0; 4], [1, 0, 0, 0], [0; 4]);
    let said = import(&source.address, &target, &["--namespace", "dev"]);
    said.expect(0, [1, 0, 0, 0], [1, 0, 0, 0], [0; 4]);
    let said = import(&source.address, &target, &["--namespace", "public", "--all-services"]);
    said.expect(0, [0; 4], [3, 0, 0, 0], [2, 0, 0, 0]);
    assert_eq!(status(&target, "serviceName=alive"), 200);
    assert!(!said.report.contains("--all-services"), "{said:#?}");
}

#[test]
fn large_catalogs_are_read_page_by_page() {
    let (source, target) = (TestServer::start(), TestServer::start());
    for number in 0..1_103 {
        post(&source, &format!("service?serviceName=s-{number}&protectThreshold=0.5"));
    }
    let said = import(&source.address, &target, &[]);
    said.expect(0, [0; 4], [1_103, 0, 0, 0], [0; 4]);
    let names = target.get("service/list?pageNo=1&pageSize=1").json();
    assert_eq!(names["count"], 1_103);
}

/// A Nacos with services of these names in the public namespace, and the detail of each.
fn nacos(
    names: &'static [&'static str],
    service: impl Fn(&str) -> Reply + Send + Sync + 'static,
    instances: impl Fn(&str) -> Reply + Send + Sync + 'static,
) -> impl Fn(&Request) -> Reply + Send + Sync {
    move |request| {
        let name = request.parameter("serviceName").unwrap_or_default();
        let name = name.strip_prefix("DEFAULT_GROUP%40%40").unwrap_or_default();
        match &*request.path {
            "/v1/ns/catalog/services" if request.parameter("namespaceId") == Some("public") => {
                let entry = |name| json!({"name": name, "groupName": "DEFAULT_GROUP"});
                let list: Vec<Value> = names.iter().map(entry).collect();
                // Whatever page is asked for: there are fewer than fit on one.
                ok(json!({"serviceList": list, "count": list.len()}))
            }
            "/v1/ns/catalog/service" => service(name),
            "/v1/ns/catalog/instances" => instances(name),
            _ => empty(request),
        }
    }
}

fn detail(checker: Value) -> Value {
    json!({
        "service": {"protectThreshold": 0.0, "metadata": null, "selector": {"type": "none"}},
        "clusters": [{"name": "c", "healthChecker": checker, "defCkport": 80,
            "useIPPort4Check": true, "metadata": null}],
    })
}

#[test]
fn what_cannot_be_taken_is_told_and_the_rest_is_taken() {
    let attempts = AtomicUsize::new(0);
    let script = nacos(
        &["gone", "good", "odd", "bad name", "instances", "broken"],
        move |name| match name {
            "gone" => caused("service gone is not found!"),
            // The second time it goes well.
            "good" if attempts.fetch_add(1, Ordering::SeqCst) == 0 => Some((503, "busy".into())),
            "good" => ok(json!({"service": {"protectThreshold": 0.7}, "clusters": []})),
            "odd" => ok(detail(json!({"type": "ODD"}))),
            "instances" => ok(detail(json!({"type": "TCP"}))),
            "broken" => ok("<html>"),
            _ => ok(json!({"service": {"metadata": {"k": "v"}}, "clusters": []})),
        },
        |name| match name {
            "instances" => ok(json!({"count": 2, "list": [
                {"ip": "10.0.0.1", "port": -1, "ephemeral": false, "weight": 1.0},
                {"ip": "10.0.0.2", "port": 80, "ephemeral": true},
            ]})),
            _ => ok(r#"{"list":[],"count":0}"#),
        },
    );
    let (source, target) = (StandIn::start(script), TestServer::start());
    let said = import(&source.address, &target, &[]);
    said.expect(1, [0; 4], [2, 0, 0, 2], [0, 0, 0, 1]);
    assert_eq!(said.counts("persistent instances"), [0, 0, 0, 1]);
    for part in [
        "public DEFAULT_GROUP@@bad name: 400 ",
        "public DEFAULT_GROUP@@broken: cannot read the answer of /v1/ns/catalog/service: ",
        "public DEFAULT_GROUP@@odd cluster c: its health checker is of type NONE at the target",
        "public DEFAULT_GROUP@@instances instance 10.0.0.1:-1 of cluster c: 400 ",
    ] {
        assert!(said.report.contains(part), "{part}: {said:#?}");
    }
    assert_eq!(settings(&target, "serviceName=good")["service"]["protectThreshold"], 0.7);
    assert!(said.report.contains("not copied: 1 ephemeral instances"), "{said:#?}");
}

#[test]
fn it_stops_when_a_server_does_not_answer_any_more() {
    let names = &["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];
    let script = nacos(
        names,
        |name| {
            let tuned = json!({"service": {"protectThreshold": 0.5}, "clusters": [{"name": "c"}]});
            (name < "c").then(|| (200, tuned.to_string()))
        },
        |_| ok(r#"{"list":[],"count":0}"#),
    );
    let (source, target) = (StandIn::start(script), TestServer::start());
    let said = import(&source.address, &target, &[]);
    assert_eq!(said.code, Some(1), "{said:#?}");
    assert_eq!(said.counts("services"), [2, 0, 0, 0]);
    assert!(said.report.contains("stopped before the end: http://127.0.0.1:"), "{said:#?}");
    // Nobody went on to the others, and each call was tried again a few times only.
    let asked = |name: &str| {
        let of = |request: &Request| {
            request.is("GET /v1/ns/catalog/service")
                && request.parameter("serviceName") == Some(&format!("DEFAULT_GROUP%40%40{name}"))
        };
        source.seen().iter().filter(|request| of(request)).count()
    };
    assert_eq!((asked("c"), asked("l")), (4, 0), "{:#?}", source.seen());
}

/// A Nacos that wants a token. The first one holds for so many requests only.
fn guarded(request: &Request, logins: &AtomicUsize, rest_of_first: &AtomicUsize) -> Reply {
    if request.is("POST /v1/auth/login") {
        let is_right = request.parameter("username") == Some("nacos")
            && request.body == "password=p%C3%A4ss%26word";
        if !is_right {
            return Some((403, "unknown user!".into()));
        }
        let number = logins.fetch_add(1, Ordering::SeqCst) + 1;
        return ok(json!({"accessToken": format!("t.o.k{number}"), "tokenTtl": 18_000}));
    }
    if request.path.starts_with("/v3/") {
        return Some((404, String::new()));
    }
    let use_first = |rest: usize| rest.checked_sub(1);
    let is_valid = match request.headers.get("authorization").map(String::as_str) {
        Some("Bearer t.o.k1") => {
            rest_of_first.fetch_update(Ordering::SeqCst, Ordering::SeqCst, use_first).is_ok()
        }
        token => token == Some("Bearer t.o.k2"),
    };
    if !is_valid {
        return Some((403, r#"{"status":403,"message":"token expired!"}"#.into()));
    }
    let services = |_: &str| ok(json!({"service": {"protectThreshold": 0.5}, "clusters": []}));
    nacos(&["a", "b", "c", "d"], services, |_| ok("{}"))(request)
}

#[test]
fn users_log_in_with_a_password_that_nobody_sees() {
    let (logins, rest_of_first) = (AtomicUsize::new(0), AtomicUsize::new(5));
    let source = StandIn::start(move |request| guarded(request, &logins, &rest_of_first));
    let target = TestServer::start();
    let (from, to) = (source.address.to_string(), target.address.to_string());
    let arguments = ["--from", &from, "--to", &to, "--from-user", "nacos"];

    let said = import_with(&arguments, &[("IMPORT_FROM_PASSWORD", "päss&word")]);
    said.expect(0, [0; 4], [4, 0, 0, 0], [0; 4]);
    let logins = source.seen().iter().filter(|seen| seen.is("POST /v1/auth/login")).count();
    assert_eq!(logins, 2, "a token that is refused is renewed, once for all");
    assert!(source.seen().iter().all(|seen| !seen.query.contains("word")));

    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), "wrong\n").unwrap();
    let path = file.path().to_str().unwrap();
    // The file counts, not the variable.
    let arguments = [&arguments[..], &["--from-password-file", path]].concat();
    let said = import_with(&arguments, &[("IMPORT_FROM_PASSWORD", "päss&word")]);
    assert_eq!((said.code, &*said.report), (Some(1), ""));
    let expected = format!("cannot log in at http://{from}/nacos: 403 unknown user!");
    assert!(said.errors.contains(&expected), "{said:#?}");
    assert!(!said.errors.contains("wrong"), "{said:#?}");
}

#[test]
fn what_cannot_begin_says_why() {
    let target = TestServer::start();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let said = import(&nobody, &target, &[]);
    assert_eq!((said.code, &*said.report), (Some(1), ""));
    assert!(said.errors.contains(&format!("http://{nobody}/nacos does not answer: ")), "{said:#?}");
    let said = import(&target.address, &target, &[]);
    assert!(said.errors.contains("source and target are the same server"), "{said:#?}");
    let said = import(&nobody, &target, &["--from-user", "u", "--from-password-file", "/none"]);
    assert!(said.errors.contains("no password for the user u: /none: "), "{said:#?}");
    let silent = StandIn::start(|_| Some((200, "no JSON".into())));
    let said = import(&silent.address, &target, &[]);
    assert!(
        said.errors.contains("cannot begin: cannot read the answer of /v1/console"),
        "{said:#?}"
    );
}

/// The persistent instances of a cluster as the console shows them, without what is of this moment.
fn persistent(server: &TestServer, at: &str) -> Vec<Value> {
    let page = server.get(&format!("catalog/instances?{at}&pageNo=1&pageSize=2000")).json();
    let mut list = page["list"].as_array().unwrap().clone();
    list.retain(|instance| instance["ephemeral"] == false);
    for instance in &mut list {
        instance.as_object_mut().unwrap().remove("lastBeat");
    }
    list
}

const NOBODY: &str = "%7B%22type%22:%22NONE%22%7D";

/// A server that looks for none of its persistent instances: their addresses are nobody's.
fn without_checks() -> TestServer {
    let server = TestServer::start();
    server.put("operator/switches?entry=check&value=false").expect(200);
    server
}

/// Persistent instances in three clusters; in one of them health is set by hand.
fn with_persistent_instances() -> TestServer {
    let source = without_checks();
    for number in 1..=503 {
        let at = format!("ip=10.0.{}.{}&port=80", number / 250, number % 250);
        post(&source, &format!("instance?serviceName=many&{at}&ephemeral=false&clusterName=c"));
    }
    let more = "weight=2.5&enabled=false&metadata=k=%C3%A9%20%26v&app=shop";
    post(&source, &format!("instance?serviceName=one&ip=h.example&port=81&ephemeral=false&{more}"));
    // The same address, but another instance.
    post(&source, "instance?serviceName=one&ip=h.example&port=81");
    post(&source, "instance?serviceName=one&ip=10.0.0.1&port=1&ephemeral=false&clusterName=hand");
    put_cluster(&source, "serviceName=one", "hand", NOBODY);
    set_health(&source, "10.0.0.1", false);
    source
}

fn set_health(server: &TestServer, ip: &str, healthy: bool) {
    let at = format!("serviceName=one&clusterName=hand&ip={ip}&port=1");
    server.put(&format!("health/instance?{at}&healthy={healthy}")).expect(200);
}

const CLUSTERS: [&str; 3] = [
    "serviceName=many&clusterName=c",
    "serviceName=one&clusterName=DEFAULT",
    "serviceName=one&clusterName=hand",
];

#[test]
fn persistent_instances_arrive_and_stay_as_they_are() {
    let (source, target) = (with_persistent_instances(), without_checks());
    let count = |arguments: &[&str]| {
        let said = import(&source.address, &target, arguments);
        assert_eq!(said.code, Some(0), "{said:#?}");
        said.counts("persistent instances")
    };
    assert_eq!(count(&["--dry-run"]), [505, 0, 0, 0]);
    assert_eq!(count(&[]), [505, 0, 0, 0]);
    for at in CLUSTERS {
        assert_eq!(persistent(&target, at), persistent(&source, at), "{at}");
    }
    let list = target.get("instance/list?serviceName=one&clusters=DEFAULT").json();
    assert_eq!(list["hosts"], json!([]), "the ephemeral one is left to its client");
    assert_eq!(count(&[]), [0, 0, 505, 0]);
}

#[test]
fn persistent_instances_that_differ_become_as_they_are_at_the_source() {
    let (source, target) = (with_persistent_instances(), without_checks());
    import(&source.address, &target, &[]);
    // An ephemeral one beside it must not be touched.
    post(&target, "instance?serviceName=one&ip=h.example&port=81&weight=7");
    post(&target, "instance?serviceName=one&ip=h.example&port=81&weight=1&ephemeral=false");
    post(&target, "instance?serviceName=one&ip=10.9.9.9&port=81&ephemeral=false");
    set_health(&target, "10.0.0.1", true);
    target
        .call(
            "DELETE",
            "instance?serviceName=many&ip=10.0.1.1&port=80&ephemeral=false&clusterName=c",
        )
        .expect(200);
    let said = import(&source.address, &target, &[]);
    assert_eq!(said.counts("persistent instances"), [1, 2, 502, 0], "{said:#?}");
    for at in CLUSTERS {
        let mut arrived = persistent(&target, at);
        arrived.retain(|instance| instance["ip"] != "10.9.9.9");
        assert_eq!(arrived, persistent(&source, at), "{at}");
    }
    let list = target.get("instance/list?serviceName=one&clusters=DEFAULT").json();
    let of = |ephemeral: bool| {
        let hosts = list["hosts"].as_array().unwrap().iter();
        hosts.filter(|host| host["ephemeral"] == ephemeral).count()
    };
    // The one of the source is disabled; what only the target has stays.
    assert_eq!((of(true), of(false)), (1, 1), "{list:#}");
}

/// What 2.5.1 says differently: the type of a selector twice, the port to check under another name,
/// nothing of applications, and the whole list again behind its end.
#[test]
fn a_server_of_2_x_is_read_by_the_api_of_1_x() {
    const CLUSTER: &str = r#"{"serviceName":"DEFAULT_GROUP@@tuned","name":"c",
        "healthChecker":{"type":"NONE"},"defaultPort":80,"defaultCheckPort":81,
        "useIPPort4Check":false,"metadata":{"k":"v"}}"#;
    const LABEL: &str = r#"{"type":"LabelSelector","type":"label",
        "expression":"CONSUMER.label.a = PROVIDER.label.a","labels":["a"],"contextType":"CMDB"}"#;
    let script = nacos(
        &["tuned"],
        |_| {
            ok(format!(
                r#"{{"service":{{"name":"tuned","groupName":"DEFAULT_GROUP","protectThreshold":0.3,
                "selector":{LABEL},"metadata":{{"a":"b"}}}},"clusters":[{CLUSTER}]}}"#
            ))
        },
        |_| {
            ok(json!({"count": 2, "list": [
                {"instanceId": null, "ip": "10.0.0.1", "port": 80, "weight": 2.0, "healthy": false,
                 "enabled": false, "ephemeral": false, "clusterName": "c",
                 "serviceName": "DEFAULT_GROUP@@tuned", "metadata": {"m": "n"},
                 "instanceHeartBeatInterval": 5000, "ipDeleteTimeout": 30000},
                {"ip": "10.0.0.2", "port": 80, "weight": 1.0, "ephemeral": true},
            ]}))
        },
    );
    let script = move |request: &Request| match &*request.path {
        "/v1/console/namespaces" if request.parameter("show").is_some() => ok(json!(
            {"namespace": "dev", "namespaceShowName": "d", "namespaceDesc": null, "quota": 200,
             "configCount": 0, "type": 2}
        )),
        "/v1/console/namespaces" => ok(json!({"code": 200, "message": null, "data": [
            {"namespace": "", "namespaceShowName": "public", "namespaceDesc": null, "type": 0},
            {"namespace": "dev", "namespaceShowName": "d", "namespaceDesc": null, "type": 2},
        ]})),
        _ => script(request),
    };
    let (source, target) = (StandIn::start(script), TestServer::start());
    let said = import(&source.address, &target, &[]);
    said.expect(0, [1, 0, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0]);
    assert_eq!(said.counts("persistent instances"), [1, 0, 0, 0]);
    let shown = settings(&target, "serviceName=tuned");
    assert_eq!(shown["service"]["selector"]["expression"], "CONSUMER.label.a = PROVIDER.label.a");
    let cluster = &shown["clusters"][0];
    assert_eq!((&cluster["defCkport"], &cluster["useIPPort4Check"]), (&json!(81), &json!(false)));
    import(&source.address, &target, &[]).expect(0, [0, 0, 1, 0], [0, 0, 1, 0], [0, 0, 1, 0]);
}

/// The answers of 3.0.3 with authentication on.
fn of_3_x(request: &Request) -> Reply {
    let enveloped = |data: Value| ok(json!({"code": 0, "message": "success", "data": data}));
    let is_user = request.headers.get("authorization").is_some_and(|token| token == "Bearer t.o.k");
    match &*request.path {
        "/v3/admin/core/state" => return enveloped(json!({"version": "3.0.3"})),
        "/v3/auth/user/login" => {
            let is_right = request.is("POST /v3/auth/user/login")
                && request.parameter("username") == Some("nacos")
                && request.body == "password=p";
            return match is_right {
                true => {
                    ok(json!({"accessToken": "t.o.k", "tokenTtl": 18_000, "username": "nacos"}))
                }
                false => Some((500, r#"{"status":500,"message":"No message available"}"#.into())),
            };
        }
        path if path.starts_with("/v1/") => {
            return Some((410, r#"{"status":410,"error":"Gone","message":"40000"}"#.into()));
        }
        _ if !is_user => return Some((403, r#"{"status":403,"message":"Code: 401"}"#.into())),
        _ => {}
    }
    let group = request.parameter("groupName");
    let cluster = json!({"clusterName": "c", "healthChecker": {"type": "NONE"},
        "healthyCheckPort": 81, "useInstancePortForCheck": false, "metadata": {"k": "v"},
        "hosts": null});
    let instance = |port: u16, ephemeral: bool| {
        json!({"instanceId": null, "ip": "10.0.0.1", "port": port, "weight": 2.0, "healthy": false,
            "enabled": true, "ephemeral": ephemeral, "clusterName": "c",
            "serviceName": "g1@@tuned", "metadata": {}})
    };
    match &*request.path {
        "/v3/admin/core/namespace/list" => enveloped(json!([
            {"namespace": "public", "namespaceShowName": "public", "namespaceDesc": "D", "type": 0},
            {"namespace": "dev", "namespaceShowName": "d", "namespaceDesc": "", "type": 1},
        ])),
        "/v3/admin/core/namespace" => enveloped(json!(
            {"namespace": "dev", "namespaceShowName": "d", "namespaceDesc": "e", "type": 1}
        )),
        "/v3/admin/ns/service/list" => {
            // No more than so many on a page, whatever is asked for.
            let number: usize = request.parameter("pageNo").unwrap().parse().unwrap();
            let names = ["tuned", "gone", "silent"];
            let here = request.parameter("namespaceId") == Some("dev");
            let items: Vec<Value> = names
                .iter()
                .filter(|_| here)
                .skip((number - 1) * 2)
                .take(2)
                .map(|name| {
                    json!({"name": name, "groupName": "g1", "clusterCount": 1, "ipCount": 1,
                    "healthyInstanceCount": 0, "triggerFlag": "false"})
                })
                .collect();
            let count = if here { names.len() } else { 0 };
            enveloped(json!({"totalCount": count, "pageNumber": number, "pagesAvailable": 2,
                "pageItems": items}))
        }
        "/v3/admin/ns/service" => match request.parameter("serviceName") {
            Some("tuned") if group == Some("g1") => ok(format!(
                r#"{{"code":0,"message":"success","data":{{"namespaceId":"dev",
                "serviceName":"tuned","groupName":"g1","clusterMap":{{"c":{cluster}}},
                "metadata":{{"a":"b"}},"protectThreshold":0.3,"selector":
                {{"type":"NoneSelector","type":"none","contextType":"NONE"}},"ephemeral":false}}}}"#
            )),
            // What its filter swallows comes with nothing at all.
            Some("silent") => ok(""),
            _ => Some((400, r#"{"code":21008,"message":"service not exist","data":"x"}"#.into())),
        },
        "/v3/admin/ns/instance/list" if request.parameter("clusterName") == Some("c") => {
            enveloped(json!([instance(80, false), instance(81, true)]))
        }
        _ => Some((404, r#"{"code":30000,"message":"server error","data":"unknown"}"#.into())),
    }
}

#[test]
fn a_server_of_3_x_is_read_by_its_api_for_administrators() {
    let (source, target) = (StandIn::start(of_3_x), TestServer::start());
    let (from, to) = (source.address.to_string(), target.address.to_string());
    let arguments = ["--from", &from, "--to", &to, "--from-user", "nacos"];
    let said = import_with(&arguments, &[("IMPORT_FROM_PASSWORD", "p")]);
    said.expect(0, [1, 0, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0]);
    assert_eq!(said.counts("persistent instances"), [1, 0, 0, 0]);
    assert!(said.report.contains("not copied: 1 ephemeral instances"), "{said:#?}");
    assert!(said.report.contains("namespaces that nobody made"), "{said:#?}");
    let shown = settings(&target, "serviceName=g1@@tuned&namespaceId=dev");
    assert_eq!(shown["service"]["metadata"], json!({"a": "b"}), "{shown}");
    assert_eq!(shown["clusters"][0]["defCkport"], 81, "{shown}");
    let name = target.get(&format!("{NAMESPACES}?show=all&namespaceId=dev")).json();
    assert_eq!((&name["namespaceShowName"], &name["namespaceDesc"]), (&json!("d"), &json!("e")));
    let again = import_with(&arguments, &[("IMPORT_FROM_PASSWORD", "p")]);
    again.expect(0, [0, 0, 1, 0], [0, 0, 1, 0], [0, 0, 1, 0]);
    let wrong = import_with(&arguments, &[("IMPORT_FROM_PASSWORD", "q")]);
    assert!(wrong.errors.contains("cannot log in"), "{wrong:#?}");
    let seen = source.seen();
    assert!(seen.iter().all(|seen| seen.path != "/v1/auth/login"), "one log-in, that of 3.x");
}

#[test]
fn our_own_server_is_read_by_either_api() {
    let source = with_persistent_instances();
    create_namespace(&source, "dev", "namespaceName=d&namespaceDesc=e");
    post(&source, "service?serviceName=s&namespaceId=dev&protectThreshold=0.5");
    for api in ["v1", "v3"] {
        let target = TestServer::start();
        let said = import(&source.address, &target, &["--from-api", api]);
        said.expect(0, [1, 0, 0, 0], [2, 0, 0, 0], [1, 0, 0, 0]);
        assert_eq!(said.counts("persistent instances"), [505, 0, 0, 0], "{api}");
        // Only one of them tells which namespaces nobody made.
        assert_eq!(said.report.contains("nobody made"), api == "v3", "{said:#?}");
        let at = "serviceName=s&namespaceId=dev";
        assert_eq!(settings(&target, at), settings(&source, at), "{api}");
    }
}
