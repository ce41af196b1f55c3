//! The operator's side of the API, over HTTP.

mod server_support;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use naming_server::Config;
use serde_json::{Value, json};

use server_support::{Answer, TestServer, wait_for};

fn set(server: &TestServer, entry: &str, value: &str) -> Answer {
    server.put(&format!("operator/switches?entry={entry}&value={}", encode(value)))
}

fn encode(text: &str) -> String {
    let byte = |byte: u8| match byte {
        byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}

fn switches(server: &TestServer) -> Value {
    server.get("operator/switches").json()
}

/// The value of a line of the metrics page, by the text before it.
fn metric(server: &TestServer, series: &str) -> Option<f64> {
    let page = server.get("/metrics").expect(200);
    let value = |line: &str| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok();
    page.lines().find_map(value)
}

#[test]
fn every_entry_is_taken_and_shown() {
    let server = TestServer::start();
    let entries = [
        ("distroThreshold", "0.5", "distroThreshold", json!(0.5)),
        ("clientBeatInterval", "7000", "clientBeatInterval", json!(7000)),
        ("pushCacheMillis", "12000", "defaultPushCacheMillis", json!(12000)),
        ("defaultCacheMillis", "4000", "defaultCacheMillis", json!(4000)),
        ("pushVersion", "java:1.2.3", "pushJavaVersion", json!("1.2.3")),
        ("pushVersion", "python:1.2.4", "pushPythonVersion", json!("1.2.4")),
        ("pushVersion", "c:1.2.5", "pushCVersion", json!("1.2.5")),
        ("pushVersion", "go:1.2.6", "pushGoVersion", json!("1.2.6")),
        ("masters", "a,b", "masters", json!(["a", "b"])),
        ("distro", "false", "distroEnabled", json!(false)),
        ("check", "false", "healthCheckEnabled", json!(false)),
        ("pushEnabled", "False", "pushEnabled", json!(false)),
        (
            "serviceStatusSynchronizationPeriodMillis",
            "6000",
            "serviceStatusSynchronizationPeriodMillis",
            json!(6000),
        ),
        (
            "serverStatusSynchronizationPeriodMillis",
            "1000",
            "serverStatusSynchronizationPeriodMillis",
            json!(1000),
        ),
        ("healthCheckTimes", "5", "checkTimes", json!(5)),
        ("disableAddIP", "true", "disableAddIP", json!(true)),
        ("sendBeatOnly", "true", "sendBeatOnly", json!(true)),
        ("limitedUrlMap", "/x:403", "limitedUrlMap", json!({ "/x": 403 })),
        ("limitedUrlMap", "", "limitedUrlMap", json!({})),
        ("enableStandalone", "false", "enableStandalone", json!(true)),
        ("overriddenServerStatus", "READ_ONLY", "overriddenServerStatus", json!("READ_ONLY")),
        ("overriddenServerStatus", "null", "overriddenServerStatus", json!("")),
        ("defaultInstanceEphemeral", "false", "defaultInstanceEphemeral", json!(false)),
        ("distroServerExpiredMillis", "9000", "distroServerExpiredMillis", json!(9000)),
        ("lightBeatEnabled", "false", "lightBeatEnabled", json!(false)),
        ("autoChangeHealthCheckEnabled", "no", "autoChangeHealthCheckEnabled", json!(false)),
    ];
    for (entry, value, field, shown) in entries {
        assert_eq!(set(&server, entry, value).expect(200), "ok", "{entry}");
        assert_eq!(switches(&server)[field], shown, "{entry}");
    }
    // What is not in a batch goes back to its default; what is shown can be set.
    set(&server, "batch", r#"{"clientBeatInterval":6000}"#).expect(200);
    let shown = switches(&server);
    assert_eq!((&shown["clientBeatInterval"], &shown["checkTimes"]), (&json!(6000), &json!(3)));
    set(&server, "batch", &shown.to_string()).expect(200);
    assert_eq!(switches(&server), shown);
}

#[test]
fn a_switch_set_with_debug_holds_until_it_is_set_without() {
    let server = TestServer::start();
    let debug = |entry: &str, value: &str| {
        server.put(&format!("operator/switches?entry={entry}&value={value}&debug=true")).expect(200)
    };
    debug("clientBeatInterval", "8000");
    set(&server, "defaultCacheMillis", "4000").expect(200);
    let shown = switches(&server);
    assert_eq!(shown["clientBeatInterval"], 8_000);
    assert_eq!(shown["defaultCacheMillis"], 4_000);
    set(&server, "clientBeatInterval", "7000").expect(200);
    debug("defaultCacheMillis", "5000");
    debug("pushVersion", "go:1.2.3");
    let shown = switches(&server);
    assert_eq!(shown["clientBeatInterval"], 7_000);
    assert_eq!(
        (&shown["defaultCacheMillis"], &shown["pushGoVersion"]),
        (&json!(5_000), &json!("1.2.3"))
    );
    set(&server, "batch", "{}").expect(200);
    let defaults = switches(&TestServer::start());
    assert_eq!(switches(&server), defaults);
}

#[test]
fn limited_urls_are_tried_in_their_order() {
    let server = TestServer::start();
    for first in [404, 403] {
        let value = format!("/nacos/v1/ns/operator/metrics:{first},/nacos/v1/ns:403");
        set(&server, "limitedUrlMap", &value).expect(200);
        server.get("operator/metrics").expect(first);
    }
    set(&server, "limitedUrlMap", "/nacos/v1/ns:403,/nacos/v1/ns/operator/metrics:404").expect(200);
    server.get("operator/metrics").expect(403);
}

#[test]
fn what_cannot_work_is_refused_and_changes_nothing() {
    let server = TestServer::start();
    let before = switches(&server);
    for (entry, value, text) in [
        ("noSuchEntry", "1", "noSuchEntry"),
        ("distroThreshold", "0", "distroThreshold can not be zero or negative: 0.0"),
        ("distroThreshold", "NaN", "distroThreshold"),
        ("clientBeatInterval", "0", "clientBeatInterval must be from 100"),
        ("clientBeatInterval", "-1", "clientBeatInterval must be from 100"),
        ("clientBeatInterval", "99999999999", "clientBeatInterval must be from 100"),
        ("clientBeatInterval", "x", "For input string: \"x\""),
        ("clientBeatInterval", "", "For input string: \"\""),
        ("pushCacheMillis", "9999", "min cache time for http or tcp is too small(<10000)"),
        ("defaultCacheMillis", "999", "min default cache time  is too small(<1000)"),
        ("pushVersion", "java:1.2", "illegal version"),
        ("pushVersion", "cobol:1.2.3", "unsupported client type: cobol"),
        ("pushVersion", "java", "illegal version"),
        ("check", "flase", "must be true or false"),
        ("pushEnabled", "", "must be true or false"),
        ("serviceStatusSynchronizationPeriodMillis", "4999", "is too small(<5000)"),
        ("serverStatusSynchronizationPeriodMillis", "999", "is too small(<15000)"),
        ("healthCheckTimes", "0", "healthCheckTimes"),
        ("limitedUrlMap", "garbage", "invalid input for limited urls"),
        ("limitedUrlMap", "/x:0", "illegal normal status code: 0"),
        ("overriddenServerStatus", "SIDEWAYS", "READ_ONLY"),
        ("batch", r#"{"noSuchField":1}"#, "noSuchField"),
        ("batch", r#"{"defaultCacheMillis":1}"#, "min default cache time"),
    ] {
        let refusal = set(&server, entry, value).expect(400);
        assert!(refusal.contains(text), "{entry}={value}: {refusal}");
    }
    server.put("operator/switches?entry=check").expect(400);
    server.put("operator/switches?value=true").expect(400);
    assert_eq!(switches(&server), before);
}

#[test]
fn no_switch_locks_the_door_behind_itself() {
    let server = TestServer::start();
    for status in ["DOWN", "PAUSED", "STARTING"] {
        set(&server, "overriddenServerStatus", status).expect(200);
        let refusal = server.get("service/list?pageNo=1&pageSize=1").expect(503);
        assert_eq!(refusal, format!("server is {status}now, please try again later!"));
        server.get("no/such/path").expect(503);
        let readiness = server.get("/nacos/v1/console/health/readiness").expect(503);
        assert_eq!(readiness, format!("the status of the server is set to {status}"));
        // Not the naming API.
        server.get("/nacos/v1/console/health/liveness").expect(200);
        assert!(metric(&server, "naming_services").is_some());
        let peer = "User-Agent: Nacos-Server:1.4.8\r\n";
        server.send("GET", "operator/metrics", peer, "").expect(200);
    }
    set(&server, "overriddenServerStatus", "READ_ONLY").expect(200);
    server.get("operator/metrics").expect(200);
    server.call("POST", "instance?serviceName=s&ip=10.0.0.1&port=1").expect(503);
    set(&server, "overriddenServerStatus", "WRITE_ONLY").expect(200);
    server.get("operator/metrics").expect(503);
    server.call("POST", "instance?serviceName=s&ip=10.0.0.1&port=1").expect(200);
    // Some clients are served.
    server.get("/nacos/v1/console/health/readiness").expect(200);
    set(&server, "overriddenServerStatus", "").expect(200);
    assert_eq!(server.get("operator/metrics").json()["status"], "UP");

    set(&server, "limitedUrlMap", "/nacos/v1/ns:403").expect(200);
    assert_eq!(server.get("operator/metrics").expect(403), "");
    server.get("operator/switches").expect(200);
    set(&server, "limitedUrlMap", "/nacos/v1/ns/operator/metrics?a=1:404").expect(200);
    server.get("operator/metrics").expect(200);
    server.get("operator/metrics?a=1").expect(404);
    set(&server, "limitedUrlMap", "").expect(200);
    server.get("operator/metrics?a=1").expect(200);
}

/// An instance that expires a second after its last beat.
const SHORT_LIVED: &str = "&metadata=%7B%22preserved.heart.beat.interval%22%3A%22100%22%2C%22preserved.heart.beat.timeout%22%3A%22300%22%2C\
                           %22preserved.ip.delete.timeout%22%3A%221000%22%7D";

fn hosts(server: &TestServer, service: &str) -> Vec<Value> {
    let list = server.get(&format!("instance/list?serviceName={service}")).json();
    list["hosts"].as_array().unwrap().clone()
}

#[test]
fn check_stops_and_starts_the_judging_of_silence() {
    let server = TestServer::start();
    set(&server, "check", "false").expect(200);
    for service in ["kept", "witness"] {
        let target = format!("instance?serviceName={service}&ip=10.0.0.1&port=1{SHORT_LIVED}");
        server.call("POST", &target).expect(200);
    }
    // Twice the time after which it would be gone.
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert_eq!(hosts(&server, "kept")[0]["healthy"], true);
    set(&server, "check", "true").expect(200);
    wait_for("the instance to expire", || hosts(&server, "kept").is_empty());
}

#[test]
fn events_tell_why_an_instance_went() {
    let server = TestServer::start();
    let java = "User-Agent: Nacos-Java-Client:v1.4.8\r\n";
    let target = format!("instance?serviceName=s&ip=10.0.0.1&port=1{SHORT_LIVED}");
    server.send("POST", &target, java, "").expect(200);
    let other = "instance?serviceName=other&namespaceId=dev&ip=10.0.0.2&port=2";
    server.call("POST", other).expect(200);
    server.call("DELETE", other).expect(200);
    let events = |query: &str| server.get(&format!("operator/events?{query}")).json();
    wait_for("the expiry", || events("serviceName=s")["events"][0]["event"] == "expired");

    let of_service = events("serviceName=s&groupName=DEFAULT_GROUP");
    let kinds: Vec<_> = of_service["events"].as_array().unwrap().iter().collect();
    let names: Vec<_> = kinds.iter().map(|event| event["event"].as_str().unwrap()).collect();
    // On a busy machine it is expired before anybody found it unhealthy.
    let count = names.len();
    let names: Vec<_> = names.into_iter().filter(|name| *name != "unhealthy").collect();
    assert_eq!(names, ["expired", "registered"]);
    assert_eq!(of_service["count"], count);
    assert!(kinds[0]["silentMillis"].as_u64().unwrap() >= 1_000);
    assert_eq!(kinds[0]["service"], "DEFAULT_GROUP@@s");
    assert_eq!(kinds[count - 1]["by"], "127.0.0.1 Nacos-Java-Client:v1.4.8");

    let names = |query: &str| {
        let events = events(query);
        let events = events["events"].as_array().unwrap().iter();
        events.map(|event| event["event"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names("namespaceId=dev"), ["deregistered", "registered"]);
    assert_eq!(names("ip=10.0.0.2&limit=1"), ["deregistered"]);
    assert_eq!(names("port=1").len(), count);
    assert_eq!(names("").len(), count + 2);
    assert!(names("serviceName=other").is_empty(), "it is in another namespace");
    for bad in ["limit=0", "limit=1001", "limit=x", "port=x", "serviceName=@@"] {
        server.get(&format!("operator/events?{bad}")).expect(400);
    }
    assert_eq!(metric(&server, "naming_removals_total{reason=\"expired\"}"), Some(1.0));
    assert_eq!(metric(&server, "naming_events_total{event=\"registered\"}"), Some(2.0));
}

#[test]
fn metrics_count_what_happened() {
    let server = TestServer::start();
    server.call("POST", "instance?serviceName=s&ip=10.0.0.1&port=1").expect(200);
    server.call("POST", "instance?serviceName=s&ip=10.0.0.1&port=x").expect(400);
    server.put("instance/beat?serviceName=s&ip=10.0.0.1&port=1").expect(200);
    server.put("instance/beat?serviceName=s&ip=10.0.0.9&port=1").expect(200);
    server.get("no/such/path").expect(501);
    let page = server.get("/metrics");
    assert!(page.head.contains("content-type: application/openmetrics-text"), "{}", page.head);
    assert!(page.body.ends_with("# EOF\n"));
    for line in page.body.lines().filter(|line| !line.starts_with('#')) {
        let (series, value) = line.rsplit_once(' ').unwrap();
        assert!(series.starts_with("naming_"), "{line}");
        value.parse::<f64>().unwrap();
    }
    for (series, value) in [
        ("naming_requests_total{route=\"instance_register\",status=\"200\"}", 1.0),
        ("naming_requests_total{route=\"instance_register\",status=\"400\"}", 1.0),
        ("naming_requests_total{route=\"instance_beat\",status=\"200\"}", 2.0),
        ("naming_requests_total{route=\"none\",status=\"501\"}", 1.0),
        ("naming_beats_total{result=\"known\"}", 1.0),
        ("naming_beats_total{result=\"unknown\"}", 1.0),
        ("naming_instances", 1.0),
        ("naming_services", 1.0),
        ("naming_connections_refused_total", 0.0),
        ("naming_subscribers", 0.0),
        ("naming_pushes_sent_total", 0.0),
        ("naming_push_delay_seconds_bucket{le=\"+Inf\"}", 0.0),
    ] {
        assert_eq!(metric(&server, series), Some(value), "{series}");
    }
    assert!(metric(&server, "naming_connections").unwrap() >= 1.0);
    assert!(metric(&server, "naming_start_time_seconds").unwrap() > 1.6e9);
    let counts = server.get("operator/metrics").json();
    assert_eq!((&counts["serviceCount"], &counts["instanceCount"]), (&json!(1), &json!(1)));
}

#[test]
fn the_console_is_below_the_context_path_and_other_paths_lead_there() {
    let server = TestServer::start();
    for path in ["/nacos/", "/nacos/index.html"] {
        let page = server.get(path);
        assert!(page.head.contains("content-type: text/html"), "{}", page.head);
        let body = page.expect(200);
        assert!(body.contains("src=\"console/main.js\"") && body.len() < 4_096, "{body}");
    }
    for path in ["/", "/index.html", "/nacos"] {
        let way = server.get(path);
        assert!(way.head.contains("location: /nacos/"), "{path}: {}", way.head);
        way.expect(302);
    }
}

#[test]
fn namespaces_can_be_named() {
    let server = TestServer::start();
    let path = "/nacos/v1/console/namespaces";
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    let create = |body: &str| server.send("POST", path, form, body).expect(200);
    assert_eq!(create("customNamespaceId=dev&namespaceName=Dev&namespaceDesc=d"), "true");
    assert_eq!(create("customNamespaceId=dev&namespaceName=Dev"), "false");
    assert_eq!(create("customNamespaceId=a+b&namespaceName=x"), "false");
    server.send("POST", path, form, "customNamespaceId=nameless").expect(400);
    let body = format!("namespace=dev&namespaceShowName=Dev2&namespaceDesc={}", "x".repeat(300));
    server.send("PUT", path, form, &body).expect(400);
    assert_eq!(server.put(&format!("{path}?namespace=dev&namespaceShowName=Dev2")).body, "true");

    let list = server.get(path).json();
    assert_eq!(list["data"][0]["namespaceShowName"], "public");
    let dev = json!({
        "namespace": "dev", "namespaceShowName": "Dev2", "quota": 200, "configCount": 0, "type": 2,
    });
    assert_eq!((&list["code"], &list["data"][1]), (&json!(200), &dev));
    let one = server.get(&format!("{path}?show=all&namespaceId=dev")).json();
    assert_eq!((&one["namespaceShowName"], &one["type"]), (&json!("Dev2"), &json!(2)));
    server.get(&format!("{path}?show=all&namespaceId=nope")).expect(404);
    let exists = format!("{path}?checkNamespaceIdExist=true&customNamespaceId=dev");
    assert_eq!(server.get(&exists).body, "true");
    assert_eq!(server.call("DELETE", &format!("{path}?namespaceId=dev")).body, "true");
    assert_eq!(server.get(&exists).body, "false");
}

#[test]
fn there_is_a_limit_of_namespaces() {
    let server = TestServer::start();
    let path = "/nacos/v1/console/namespaces";
    for _ in 0..1_000 {
        assert_eq!(server.call("POST", &format!("{path}?namespaceName=n")).expect(200), "true");
    }
    let refusal = server.call("POST", &format!("{path}?namespaceName=n")).expect(400);
    assert!(refusal.contains("1000"), "{refusal}");
    let list = server.get(path).json()["data"].clone();
    let list = list.as_array().unwrap();
    assert_eq!(list.len(), 1_001);
    // Deleting makes room, and none of it is a service.
    let id = list[1]["namespace"].as_str().unwrap();
    server.call("DELETE", &format!("{path}?namespaceId={id}")).expect(200);
    assert_eq!(server.call("POST", &format!("{path}?namespaceName=n")).expect(200), "true");
    assert_eq!(server.get("operator/metrics").json()["serviceCount"], 0);
    assert_eq!(server.call("DELETE", &format!("{path}?namespaceId=unknown")).expect(200), "true");
}

#[test]
fn what_is_not_offered_is_refused_with_a_reason() {
    let server = TestServer::start();
    let users = "/nacos/v1/auth/users?pageNo=1&pageSize=9";
    for (method, target, status, text) in [
        ("GET", users, 403, "authentication is off"),
        ("GET", "/nacos/v1/cs/configs?dataId=a&group=b", 404, "naming server"),
        ("POST", "/nacos/v1/cs/configs/listener", 404, "naming server"),
        ("PUT", "distro/datum", 501, "cluster.dialect"),
        ("PUT", "raft/vote", 501, "cluster.dialect"),
        ("PUT", "distro/checksum?source=10.0.0.1:8848", 501, "cluster.dialect"),
        ("GET", "distro/datum", 501, "cluster.dialect"),
        ("GET", "distro/datums", 501, "cluster.dialect"),
        ("POST", "raft/beat", 501, "cluster.dialect"),
        ("POST", "service/status", 501, "cluster.dialect"),
        ("GET", "operator/server/status?serverStatus=x", 501, "cluster.dialect"),
        ("GET", "operator/cluster/state", 501, "cluster.dialect"),
        ("POST", "/nacos/v1/core/cluster/server/leave", 501, "not changed by calls"),
        ("POST", "/nacos/v1/core/cluster/switch/lookup?type=file", 501, "not changed by calls"),
        ("PUT", "operator/log?logName=naming-push&logLevel=loud", 400, "logLevel"),
        ("PUT", "operator/log?logName=naming-raft&logLevel=INFO", 400, "logName"),
        // Nobody started logging in this process.
        ("PUT", "operator/log?logName=naming-push&logLevel=DEBUG", 501, "not set up"),
        ("GET", "operator/distro/server?serviceName=nope", 400, "service not found"),
    ] {
        let refusal = server.call(method, target).expect(status);
        assert!(refusal.contains(text), "{method} {target}: {refusal}");
    }
}

#[test]
fn the_advertised_address_is_shown_everywhere() {
    let config = Config { advertise: "10.1.2.3:9000".to_owned(), ..Config::default() };
    let server = TestServer::start_with(config);
    server.call("POST", "instance?serviceName=s&ip=10.0.0.1&port=1").expect(200);
    let own = "10.1.2.3:9000";
    assert_eq!(server.get("/nacos/serverlist").expect(200), own);
    let member = server.get("/nacos/v1/core/cluster/self").json()["data"].clone();
    assert_eq!((&member["ip"], &member["port"]), (&json!("10.1.2.3"), &json!(9000)));
    assert_eq!(server.get("/nacos/v1/core/cluster/nodes?keyword=10.1").json()["data"][0], member);
    assert_eq!(server.get("/nacos/v1/core/cluster/simple/nodes").json()["data"], json!([own]));
    assert_eq!(server.get("operator/servers?healthy=true").json()["servers"][0], member);
    assert_eq!(server.get("operator/distro/status").json()["status"][0], member);
    let responsible = server.get("operator/distro/server?serviceName=s").json();
    assert_eq!(responsible["responsibleServer"], own);

    let report = |body: &str| server.send("POST", "/nacos/v1/core/cluster/report", "", body).json();
    assert_eq!(report(&member.to_string())["data"], "true");
    let stranger = r#"{"ip":"10.0.0.7","port":8848,"address":"10.0.0.7:8848"}"#;
    assert_eq!(report(stranger)["data"], "false");
    for malformed in ["", "x", "[]", "{}", r#"{"ip":"a","port":-1,"address":"a:1"}"#] {
        assert_eq!(report(malformed)["code"], 400, "{malformed}");
    }
}

/// The program itself, since logging is one for each process.
#[test]
fn a_log_level_takes_effect() {
    let mut program = Command::new(env!("CARGO_BIN_EXE_naming-server"))
        .args(["--bind", "127.0.0.1", "--port", "0", "--in-memory"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let banner = BufReader::new(program.stdout.take().unwrap());
    let address = banner.lines().find_map(|line| {
        let line = line.unwrap();
        let (_, rest) = line.split_once("listening on ")?;
        rest.split(')').next().unwrap().parse().ok()
    });
    let address = address.unwrap();
    let call = |method, target: &str| server_support::send(address, method, target, "", "");
    let register = |service: &str| {
        let target = format!("instance?serviceName={service}&ip=10.0.0.1&port=1");
        call("POST", &target).expect(200);
    };
    register("first");
    call("PUT", "operator/log?logName=root&logLevel=WARN").expect(200);
    register("second");
    call("PUT", "operator/log?logName=naming-event&logLevel=info").expect(200);
    register("third");
    // Lines are written by a thread of their own: what was registered may not be there yet.
    let mut log = String::new();
    let mut lines = BufReader::new(program.stderr.take().unwrap()).lines();
    let reader = std::thread::spawn(move || {
        while !log.contains("third")
            && let Some(line) = lines.next()
        {
            log.push_str(&line.unwrap());
        }
        log
    });
    wait_for("the last line", || reader.is_finished());
    program.kill().unwrap();
    program.wait().unwrap();
    let log = reader.join().unwrap();
    let named = ["first", "second", "third"].map(|service| log.contains(service));
    assert_eq!(named, [true, false, true], "{log}");
}
