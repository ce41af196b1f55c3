//! Health checks of persistent instances, as their users see them.

mod common;

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use common::{Site, cluster};
use serde_json::{Value, json};

/// As fast as can be set.
const FAST: &str = r#"{"tcpHealthParams":{"max":3000,"min":500,"factor":0.0},
    "httpHealthParams":{"max":3000,"min":500,"factor":0.0}}"#;
const SERVICE: (&str, &str) = ("serviceName", "s");

fn fast_site() -> Site {
    let site = Site::start();
    site.ok("PUT operator/switches", &[("entry", "batch"), ("value", FAST)]);
    site
}

/// Registers a persistent instance on this machine.
fn register(site: &Site, service: &str, port: u16, more: &[(&str, &str)]) {
    let port = port.to_string();
    let mut instance = vec![
        ("serviceName", service),
        ("ip", "127.0.0.1"),
        ("port", &port),
        ("ephemeral", "false"),
    ];
    instance.retain(|(name, _)| more.iter().all(|(other, _)| other != name));
    site.ok("POST instance", &[&instance, more].concat());
}

fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// A port where nobody listens.
fn closed_port() -> u16 {
    listener().1
}

/// The true health of the instance in a cluster of a service.
fn health(site: &Site, service: &str, cluster: &str) -> Vec<Value> {
    let page =
        [("serviceName", service), ("clusterName", cluster), ("pageNo", "1"), ("pageSize", "100")];
    let list = site.call("GET catalog/instances", &page).json();
    list["list"].as_array().unwrap().iter().map(|instance| instance["healthy"].clone()).collect()
}

fn wait_for_health(site: &Site, service: &str, cluster: &str, healthy: bool) {
    site.until("GET service/list", &[("pageNo", "1"), ("pageSize", "1")], |_| {
        health(site, service, cluster) == [healthy]
    });
}

/// What the events of a kind say who did it.
fn reasons(site: &Site, event: &str) -> Vec<String> {
    let events = site.call("GET operator/events", &[SERVICE]).json();
    let events = events["events"].as_array().unwrap().iter();
    let of_kind = events.filter(|entry| entry["event"] == event);
    of_kind.map(|entry| entry["by"].as_str().unwrap().to_owned()).collect()
}

fn response_times(site: &Site, name: &str) -> [i64; 3] {
    let times = site.call("GET catalog/rt/service", &[SERVICE]).json();
    let clusters = times["clusters"].as_array().unwrap();
    let cluster = clusters.iter().find(|cluster| cluster["name"] == name).unwrap();
    ["checkRTBest", "checkRTWorst", "checkRTNormalized"].map(|key| cluster[key].as_i64().unwrap())
}

#[test]
fn who_takes_no_connection_is_unhealthy_until_it_does() {
    let site = fast_site();
    let (first, port) = listener();
    register(&site, "s", port, &[]);
    site.until("GET catalog/rt/service", &[SERVICE], |_| {
        let [best, worst, _] = response_times(&site, "DEFAULT");
        0 <= best && best <= worst
    });
    assert_eq!(health(&site, "s", "DEFAULT"), [true]);
    drop(first);
    wait_for_health(&site, "s", "DEFAULT", false);
    assert_eq!(reasons(&site, "unhealthy"), ["a check: connection refused"]);
    assert_eq!(response_times(&site, "DEFAULT")[2], 3_000, "asked seldom");
    let _second = TcpListener::bind(("127.0.0.1", port)).unwrap();
    wait_for_health(&site, "s", "DEFAULT", true);
    assert_eq!(reasons(&site, "healthy"), ["a check: connected"]);
    assert_eq!(response_times(&site, "DEFAULT")[2], 500, "asked often");
    let metrics = site.call("GET /metrics", &[]).text;
    assert!(metrics.contains("\nnaming_checks_scheduled 1.0\n"), "{metrics}");
    assert!(metrics.contains("\nnaming_checks_total{result=\"refused\"} "), "{metrics}");
    // Its beats say nothing about it, and it is checked no more when it is gone.
    let port = port.to_string();
    let instance = [SERVICE, ("ip", "127.0.0.1"), ("port", &port), ("ephemeral", "false")];
    site.ok("DELETE instance", &instance);
    site.until("GET /metrics", &[], |page| page.text.contains("\nnaming_checks_scheduled 0.0\n"));
}

/// A web server that answers every request with the same status.
struct Web {
    address: SocketAddr,
    status: Arc<AtomicU16>,
    last_head: Arc<Mutex<String>>,
}

impl Web {
    fn start(status: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (status, last_head) =
            (Arc::new(AtomicU16::new(status)), Arc::<Mutex<String>>::default());
        let web = Self { address, status: Arc::clone(&status), last_head: Arc::clone(&last_head) };
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let lines = BufReader::new(&stream).lines().map_while(Result::ok);
                let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
                *last_head.lock().unwrap() = head.join("\n").to_lowercase();
                let status = status.load(Ordering::Relaxed);
                let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: 2\r\n\r\nok");
                // The check may have given up.
                let _ = (&stream).write_all(answer.as_bytes());
            }
        });
        web
    }
}

#[test]
fn who_answers_with_another_status_is_unhealthy() {
    let site = fast_site();
    let web = Web::start(200);
    // Nobody listens on its own port; that of the cluster is asked.
    register(&site, "s", closed_port(), &[("clusterName", "web")]);
    let port = web.address.port().to_string();
    let settings = |checker: &str| {
        let changes = [
            ("clusterName", "web"),
            ("checkPort", &*port),
            ("useInstancePort4Check", "false"),
            ("healthChecker", checker),
        ];
        site.ok("PUT cluster", &cluster(&changes));
    };
    settings(r#"{"type":"HTTP","path":"/alive?deep=1","headers":"x-key: k|host:h.example"}"#);
    site.until("GET catalog/rt/service", &[SERVICE], |_| response_times(&site, "web")[0] >= 0);
    let head = web.last_head.lock().unwrap().clone();
    assert!(head.starts_with("get /alive?deep=1 http/1.1\n"), "{head}");
    for line in ["x-key: k", "host: h.example", "user-agent: vipserver"] {
        assert!(head.contains(line), "{head}");
    }
    assert_eq!(health(&site, "s", "web"), [true]);
    web.status.store(404, Ordering::Relaxed);
    wait_for_health(&site, "s", "web", false);
    assert_eq!(reasons(&site, "unhealthy"), ["a check: status 404"]);
    // The status that is expected is what the settings say.
    settings(r#"{"type":"HTTP","path":"alive","expectedResponseCode":404}"#);
    wait_for_health(&site, "s", "web", true);
    // Busy is no failure at once, but it is in the end.
    web.status.store(503, Ordering::Relaxed);
    wait_for_health(&site, "s", "web", false);
    assert_eq!(reasons(&site, "unhealthy")[0], "a check: status 503");
}

#[test]
fn where_the_checker_is_none_nobody_checks() {
    let site = fast_site();
    register(&site, "s", closed_port(), &[("clusterName", "c1")]);
    register(&site, "s", closed_port(), &[("clusterName", "c2")]);
    site.ok("PUT cluster", &cluster(&[("healthChecker", r#"{"type":"NONE"}"#)]));
    wait_for_health(&site, "s", "c2", false);
    assert_eq!(health(&site, "s", "c1"), [true]);
    assert_eq!(response_times(&site, "c1"), [-1; 3]);
    site.ok("PUT cluster", &cluster(&[]));
    wait_for_health(&site, "s", "c1", false);
}

#[test]
fn the_switch_holds_checks_back_but_not_those_of_listed_services() {
    let site = Site::start();
    let held = r#"{"healthCheckEnabled":false,"healthCheckWhiteList":["DEFAULT_GROUP@@listed"]}"#;
    site.ok("PUT operator/switches", &[("entry", "batch"), ("value", held)]);
    for service in ["s", "listed"] {
        register(&site, service, closed_port(), &[]);
    }
    wait_for_health(&site, "listed", "DEFAULT", false);
    assert_eq!(health(&site, "s", "DEFAULT"), [true]);
    site.ok("PUT operator/switches", &[("entry", "check"), ("value", "true")]);
    wait_for_health(&site, "s", "DEFAULT", false);
}

#[test]
fn who_is_outside_the_networks_is_kept_as_it_is() {
    let site = Site::with(|config| {
        config.health.check_networks = "127.0.0.2/31".parse().unwrap();
    });
    register(&site, "s", closed_port(), &[]);
    register(&site, "t", closed_port(), &[("ip", "127.0.0.2")]);
    wait_for_health(&site, "t", "DEFAULT", false);
    site.until("GET /metrics", &[], |page| {
        page.text.contains("\nnaming_checks_barred{reason=\"network\"} 1.0\n")
    });
    assert_eq!(health(&site, "s", "DEFAULT"), [true]);
    assert_eq!(reasons(&site, "unhealthy"), [""; 0]);
}

#[test]
fn a_server_that_others_reach_connects_neither_to_its_machine_nor_to_its_link() {
    let (listener, port) = listener();
    listener.set_nonblocking(true).unwrap();
    let site = Site::on_all_interfaces();
    for ip in ["127.0.0.1", "[::1]", "169.254.169.254"] {
        register(&site, "s", port, &[("ip", ip), ("healthy", "false")]);
    }
    site.until("GET /metrics", &[], |page| {
        page.text.contains("\nnaming_checks_barred{reason=\"network\"} 3.0\n")
    });
    assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    assert_eq!(health(&site, "s", "DEFAULT"), [false; 3]);
}

#[test]
fn an_ipv6_address_is_checked_with_brackets_and_without() {
    let Ok(listener) = TcpListener::bind("[::1]:0") else {
        // No IPv6 on this machine.
        return;
    };
    let port = listener.local_addr().unwrap().port();
    let site = fast_site();
    for (service, ip) in [("s", "[::1]"), ("t", "::1")] {
        register(&site, service, port, &[("ip", ip), ("healthy", "false")]);
        wait_for_health(&site, service, "DEFAULT", true);
    }
}

#[test]
fn checks_that_cannot_be_made_are_refused() {
    let site = Site::start();
    site.ok("POST service", &[SERVICE]);
    let refused = |checker: &str, part: &str| {
        let settings = cluster(&[("healthChecker", checker)]);
        site.refused("PUT cluster", &settings, 400, part);
    };
    // Of a server that makes them it needs a command.
    let command = if cfg!(feature = "mysql") { "" } else { "select 1" };
    let mysql = json!({"type": "MYSQL", "user": "u", "pwd": "p", "cmd": command}).to_string();
    refused(&mysql, if cfg!(feature = "mysql") { "cmd" } else { "MYSQL" });
    refused(r#"{"type":"HTTP","path":"/a b"}"#, "'healthChecker'");
    refused(r#"{"type":"HTTP","path":"/","headers":"a b:c"}"#, "'healthChecker'");
    let reply = site.call("GET service", &[SERVICE]).json();
    assert_eq!(reply["clusters"], json!([]));
}
