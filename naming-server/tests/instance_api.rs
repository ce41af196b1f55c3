//! Instances and beats over HTTP: bad input and what the recorded transcripts do not cover.

mod common;

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use common::Site;
use serde_json::{Value, json};

const INSTANCE: [(&str, &str); 3] =
    [("serviceName", "orders"), ("ip", "10.0.0.1"), ("port", "8080")];

/// The parameters of a good registration with some changed or added.
fn with<'a>(changes: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let kept = INSTANCE.iter().filter(|(name, _)| changes.iter().all(|(other, _)| other != name));
    changes.iter().chain(kept).copied().collect()
}

#[test]
fn bad_registrations_are_refused_by_name_and_leave_nothing() {
    let site = Site::start();
    let (long, longer) = ("x".repeat(257), "x".repeat(513));
    let metadata = format!(r#"{{"k":"{}"}}"#, "x".repeat(33_000));
    let weight = "The weights range from 0.0 to 10000.0";
    for (name, value, part) in [
        ("weight", "NaN", weight),
        ("weight", "-NaN", weight),
        ("weight", "Infinity", weight),
        ("weight", "-0.1", weight),
        ("weight", "10000.1", weight),
        ("weight", "1e400", weight),
        ("port", "65536", "'port'"),
        ("port", "-1", "'port'"),
        ("port", "2147483648", "For input string"),
        ("ip", "10.0.0.1 ,10.0.0.2", "'ip'"),
        ("ip", "a#b", "'ip'"),
        ("ip", "!10.0.0.1", "'ip'"),
        ("ip", "a\nb", "'ip'"),
        ("ip", &long, "'ip'"),
        ("clusterName", &long, "'clusterName'"),
        ("clusterName", "a_b", "cluster name"),
        ("namespaceId", &long, "'namespaceId'"),
        ("serviceName", &longer, "'serviceName'"),
        ("groupName", "a b", "dom name"),
        ("app", &long, "'app'"),
        ("metadata", &metadata, "'metadata'"),
        ("metadata", "{\"a\":{}}", "metadata format incorrect"),
    ] {
        site.refused("POST instance", &with(&[(name, value)]), 400, part);
        site.refused("PUT instance", &with(&[(name, value)]), 400, part);
    }
    let list = site.call("GET instance/list", &[("serviceName", "orders")]).json();
    assert_eq!(
        list,
        json!({"name": "DEFAULT_GROUP@@orders", "clusters": "", "cacheMillis": 3000, "hosts": []})
    );
}

#[test]
fn bad_patches_and_batches_change_nothing() {
    let site = Site::start();
    site.ok("POST instance", &with(&[("weight", "3"), ("metadata", "a=1")]));
    for (name, value, part) in [
        ("weight", "20000", "weights range"),
        ("weight", "x", "For input string"),
        ("metadata", "{\"a\":[]}", "metadata format incorrect"),
        ("port", "9", "instance not found"),
        ("clusterName", "other", "instance not found"),
    ] {
        site.refused("PATCH instance", &with(&[(name, value)]), 400, part);
    }
    let big = format!(r#"{{"k":"{}"}}"#, "x".repeat(33_000));
    let batch = [("serviceName", "orders"), ("consistencyType", "ephemeral"), ("metadata", &*big)];
    site.refused("PUT instance/metadata/batch", &batch, 400, "'metadata'");
    let detail = site.call("GET instance", &INSTANCE).json();
    assert_eq!((&detail["weight"], &detail["metadata"]), (&json!(3.0), &json!({"a": "1"})));
}

#[test]
fn bad_beats_are_refused_and_register_nothing() {
    let site = Site::start();
    for (beat, part) in [
        (r#"{"ip":"10.0.0.1","port":70000}"#, "'port'"),
        (r#"{"ip":"10.0.0.1","port":80,"weight":"x"}"#, "'beat'"),
        (r#"{"ip":"10.0.0.1","port":80,"weight":-1}"#, "weights range"),
        (r#"{"ip":"","port":80}"#, "'ip'"),
        (r#"{"ip":"!10.0.0.1","port":80}"#, "'ip'"),
        (r#"{"ip":"10.0.0.1","port":80,"metadata":{"a":{}}}"#, "metadata"),
        (r#"{"ip":"10.0.0.1","port":80,"cluster":"a_b"}"#, "cluster name"),
        (r#"{"ip":"10.0.0.1","#, "'beat'"),
    ] {
        let parameters = [("serviceName", "orders"), ("beat", beat)];
        site.refused("PUT instance/beat", &parameters, 400, part);
    }
    let list = site.call("GET instance/list", &[("serviceName", "orders")]).json();
    assert_eq!(list["hosts"], json!([]));
}

#[test]
fn a_beat_without_weight_makes_an_instance_that_can_be_chosen() {
    let site = Site::start();
    let beat = r#"{"ip":"10.0.0.1","port":8080,"cluster":"DEFAULT"}"#;
    site.call("PUT instance/beat", &[("serviceName", "orders"), ("beat", beat)]).json();
    let detail = site.call("GET instance", &INSTANCE).json();
    assert_eq!((&detail["weight"], &detail["metadata"]), (&json!(1.0), &json!({})));
}

#[test]
fn a_late_beat_neither_revives_nor_asks_for_registration_within_the_window() {
    let site = Site::with(|config| config.health.compensation_window_ms = 600);
    let known = json!({"clientBeatInterval": 5000, "code": 10200, "lightBeatEnabled": true});
    let beat = [("serviceName", "orders"), ("beat", r#"{"ip":"10.0.0.1","port":8080}"#)];
    site.ok("POST instance", &INSTANCE);
    site.ok("DELETE instance", &INSTANCE);
    assert_eq!(site.call("PUT instance/beat", &INSTANCE).json(), known);
    assert_eq!(site.call("PUT instance/beat", &beat).json(), known);
    site.refused("GET instance", &INSTANCE, 404, "no ips found");
    // After the window only a beat that carries the whole instance brings it back.
    site.until("PUT instance/beat", &INSTANCE, |answer| answer.json()["code"] == 20404);
    assert_eq!(site.call("PUT instance/beat", &beat).json(), known);
    assert_eq!(site.call("GET instance", &INSTANCE).status, 200);
}

#[test]
fn ipv6_addresses_and_host_names_are_addresses() {
    let site = Site::start();
    for ip in ["::1", "fe80::1%eth0", "2001:db8::8:800:200c:417a", "node-1.example"] {
        site.ok("POST instance", &with(&[("ip", ip)]));
        let detail = site.call("GET instance", &with(&[("ip", ip)])).json();
        assert_eq!(detail["instanceId"], format!("{ip}#8080#DEFAULT#DEFAULT_GROUP@@orders"));
        site.ok("DELETE instance", &with(&[("ip", ip)]));
        site.refused("GET instance", &with(&[("ip", ip)]), 404, "no ips found");
    }
}

#[test]
fn protection_at_threshold_zero_can_be_turned_off() {
    let site = Site::with(|config| config.registry.protect_at_zero = false);
    site.ok("POST instance", &with(&[("healthy", "false")]));
    let list = site.call("GET instance/list", &[("serviceName", "orders")]).json();
    assert_eq!(list["hosts"][0]["healthy"], false);
    let only = [("serviceName", "orders"), ("healthyOnly", "true")];
    assert_eq!(site.call("GET instance/list", &only).json()["hosts"], json!([]));
}

#[test]
fn what_everything_carries_has_a_limit_for_what_grows_alone() {
    const LIMIT: &str = "registry.max_instance_bytes";
    let site = Site::with(|config| config.registry.max_instance_bytes = 4_096);
    let text = |bytes: usize| format!("k={}", "x".repeat(bytes));
    let (small, medium, large, larger) = (text(10), text(1_500), text(3_000), text(4_000));
    let one = |metadata| with(&[("metadata", metadata)]);
    let two = |metadata| with(&[("port", "1"), ("metadata", metadata)]);
    let carried = || {
        let page = site.call("GET /metrics", &[]).text;
        let line = page.lines().find(|line| line.starts_with("naming_carried_bytes ")).unwrap();
        line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()
    };
    let lists = || {
        let list = site.call("GET instance/list", &[("serviceName", "orders")]).json();
        let host = |host: &Value| (host["port"].clone(), host["metadata"].clone());
        list["hosts"].as_array().unwrap().iter().map(host).collect::<Vec<_>>()
    };
    let at_first = carried();
    site.ok("POST instance", &one(&large));
    site.ok("POST instance", &two(&small));
    let (before, held) = (lists(), carried());
    assert!((3_000.0..4_096.0).contains(&held), "{held}");
    let beat = json!({
        "serviceName": "DEFAULT_GROUP@@orders", "ip": "10.0.0.2", "port": 80, "cluster": "DEFAULT",
        "metadata": { "k": "x".repeat(1_500) },
    });
    let batch = |metadata| {
        let all = ("consistencyType", "ephemeral");
        vec![("serviceName", "orders"), ("metadata", metadata), all]
    };
    let service = |metadata| {
        vec![("serviceName", "other"), ("protectThreshold", "0"), ("metadata", metadata)]
    };
    for (request, params) in [
        ("POST instance", with(&[("port", "2"), ("metadata", &*medium)])),
        ("POST instance", two(&medium)),
        ("PUT instance", two(&medium)),
        ("PATCH instance", two(&medium)),
        ("PUT instance/metadata/batch", batch(&medium)),
        ("PUT instance/beat", vec![("serviceName", "orders"), ("beat", &*beat.to_string())]),
        ("POST service", service(&medium)),
    ] {
        site.refused(request, &params, 503, LIMIT);
        assert_eq!((lists(), carried()), (before.clone(), held), "after {request}");
    }
    // What exists is renewed, shrinks and goes, and gives room to others.
    assert_eq!(site.call("PUT instance/beat", &INSTANCE).json()["code"], 10200);
    site.ok("POST instance", &one(&large));
    site.ok("PATCH instance", &one(&small));
    site.ok("PUT instance", &two(&medium));
    site.refused("POST service", &service(&large), 503, LIMIT);
    site.ok("DELETE instance", &two(&medium));
    site.ok("POST service", &service(&large));
    site.refused("PUT service", &service(&larger), 503, LIMIT);
    site.ok("PUT service", &service(&small));
    site.ok("DELETE service", &[("serviceName", "other")]);
    site.ok("DELETE instance", &INSTANCE);
    site.ok("DELETE service", &[("serviceName", "orders")]);
    assert_eq!(carried(), at_first);
}

#[test]
fn a_full_registry_refuses_the_new_and_serves_the_known() {
    let site = Site::with(|config| config.registry.max_instances = 1);
    site.ok("POST instance", &INSTANCE);
    site.refused("POST instance", &with(&[("port", "1")]), 503, "registry.max_instances");
    site.ok("POST instance", &with(&[("weight", "2")]));
    assert_eq!(site.call("PUT instance/beat", &INSTANCE).json()["code"], 10200);
    site.ok("DELETE instance", &INSTANCE);
    site.ok("POST instance", &with(&[("port", "1")]));
}

/// Registers and removes an instance in each of these services; the statuses of all answers.
fn come_and_go(site: &Site, services: std::ops::Range<usize>) -> Vec<String> {
    let mut requests = String::new();
    for n in services {
        for method in ["POST", "DELETE"] {
            let name = format!("gone.{n}.{}", "x".repeat(400));
            let target = format!("/nacos/v1/ns/instance?serviceName={name}&ip=10.0.0.1&port=1");
            write!(requests, "{method} {target} HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
        }
    }
    requests.push_str("GET /nacos/none HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    let mut stream = TcpStream::connect(site.address()).unwrap();
    stream.write_all(requests.as_bytes()).unwrap();
    let mut answers = String::new();
    stream.read_to_string(&mut answers).unwrap();
    let statuses = answers.split("HTTP/1.1 ").skip(1).map(|answer| answer[..3].to_owned());
    statuses.filter(|status| status != "404").collect()
}

#[test]
fn what_removal_leaves_behind_is_bounded_and_gives_its_room_back() {
    const STEP: usize = 100;
    const LIMIT: &str = "store.tombstone_bytes";
    let site = Site::with(|config| config.store.tombstone_bytes = 1 << 20);
    site.ok("POST instance", &INSTANCE);
    let removed = with(&[("port", "1")]);
    site.ok("POST instance", &removed);
    site.ok("DELETE instance", &removed);
    let mut steps = (0..100).map(|step| come_and_go(&site, step * STEP..(step + 1) * STEP));
    let full = steps.find(|statuses| statuses.iter().any(|status| status == "503")).unwrap();
    // What was there is removed all the same.
    let is_as_usual = |pair: &[String]| pair[1] == "200";
    assert!(full.len() == 2 * STEP && full.chunks(2).all(is_as_usual), "{full:?}");
    site.refused("POST instance", &with(&[("serviceName", "new")]), 503, LIMIT);
    site.refused("POST instance", &with(&[("port", "2")]), 503, LIMIT);
    site.refused("POST service", &[("serviceName", "new")], 503, LIMIT);
    site.ok("POST instance", &with(&[("weight", "2")]));
    assert_eq!(site.call("PUT instance/beat", &INSTANCE).json()["code"], 10200);
    site.ok("POST instance", &removed);
    site.ok("DELETE instance", &removed);
    // Late beats have come by then.
    let until = Instant::now() + Duration::from_secs(60);
    while site.call("POST instance", &with(&[("serviceName", "new")])).status == 503 {
        assert!(Instant::now() < until, "there is no room again");
        thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(site.call("PUT instance/beat", &INSTANCE).json()["code"], 10200);
}
