//! Catalog, cluster settings and health by hand, over HTTP: what the transcripts do not cover.

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;

use common::{Site, cluster, names, register};
use serde_json::{Value, json};

const NONE: &str = r#"{"type":"NONE"}"#;

#[test]
fn no_page_number_is_too_large() {
    let site = Site::start();
    register(&site, "a", "10.0.0.1", &[]);
    register(&site, "b", "10.0.0.1", &[]);
    let both = vec!["a".to_owned(), "b".to_owned()];
    let page = |number, size| names(&site, &[("pageNo", number), ("pageSize", size)]);
    let huge = "99999999999999999999999";
    for size in ["2147483647", "9223372036854775807", huge] {
        assert_eq!(page("1", size), (both.clone(), 2));
        assert_eq!(page("-2147483648", size), (both.clone(), 2));
        assert_eq!(page("2", size), (vec![], 2));
        assert_eq!(page(huge, size), (vec![], 2));
    }
    assert_eq!(page("1", "-1"), (vec![], 2));
    assert_eq!(page(huge, "1"), (vec![], 2));

    let catalog = |more: &[(&str, &str)]| site.call("GET catalog/services", more).json();
    let far = catalog(&[("pageNo", "9223372036854775807"), ("pageSize", "9223372036854775807")]);
    assert_eq!(far, json!({"serviceList": [], "count": 2}));
    let whole = [("pageNo", "0"), ("pageSize", "2147483647"), ("withInstances", "true")];
    assert_eq!(catalog(&whole).as_array().unwrap().len(), 2);
    let second = [("pageNo", "1"), ("pageSize", "1"), ("withInstances", "true")];
    assert_eq!(catalog(&second)[0]["serviceName"], "b");
}

/// Creates the services `s00000` and so on with these numbers, on one connection.
fn create_services(site: &Site, numbers: std::ops::Range<usize>) {
    let (count, end) = (numbers.len(), numbers.end);
    let mut stream = TcpStream::connect(site.address()).unwrap();
    let request = |number: usize| {
        let target = format!("/nacos/v1/ns/service?serviceName=s{number:05}");
        let close = if number + 1 == end { "Connection: close\r\n" } else { "" };
        format!("POST {target} HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n{close}\r\n")
    };
    let mut answers = stream.try_clone().unwrap();
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        answers.read_to_string(&mut text).unwrap();
        text.matches("HTTP/1.1 200").count()
    });
    numbers.for_each(|number| stream.write_all(request(number).as_bytes()).unwrap());
    assert_eq!(reader.join().unwrap(), count);
}

#[test]
fn a_page_of_services_is_given_whole_or_refused() {
    let site = Site::start();
    create_services(&site, 0..1_200);
    let page = |number: &str, size: &str, with_instances: &str| {
        let ask = [("pageNo", number), ("pageSize", size), ("withInstances", with_instances)];
        site.call("GET catalog/services", &ask)
    };
    let all = page("0", "1000000", "true").json();
    assert_eq!(all.as_array().unwrap().len(), 1_200);
    assert_eq!(all[1_199]["serviceName"], "s01199");
    let counted = page("1", "1000000", "false").json();
    let listed = counted["serviceList"].as_array().unwrap().len();
    assert_eq!((listed, &counted["count"]), (1_200, &json!(1_200)));
    assert_eq!(page("1", "5000", "true").json(), json!([]));

    create_services(&site, 1_200..10_001);
    for (number, with_instances) in [("0", "true"), ("1", "false")] {
        let refusal = page(number, "1000000", with_instances);
        assert_eq!(refusal.status, 400, "{}", refusal.text);
        for part in ["'pageSize'", "10001 services", "10000"] {
            assert!(refusal.text.contains(part), "{}", refusal.text);
        }
    }
    assert_eq!(page("0", "10000", "true").json().as_array().unwrap().len(), 10_000);
    assert_eq!(page("1", "10000", "true").json().as_array().unwrap().len(), 1);
    // Names alone are short: they come whole.
    let whole = [("pageNo", "1"), ("pageSize", "2147483647")];
    assert_eq!(names(&site, &whole).0.len(), 10_001);
}

#[test]
fn catalog_pages_are_checked_by_name() {
    let site = Site::start();
    register(&site, "a", "10.0.0.1", &[]);
    let service: &[(&str, &str)] = &[("serviceName", "a"), ("clusterName", "DEFAULT")];
    for (request, base) in [("GET catalog/services", &[][..]), ("GET catalog/instances", service)] {
        for bad in ["x", "1.5", "99999999999999999999999"] {
            let number = [base, &[("pageNo", bad), ("pageSize", "1")]].concat();
            site.refused(request, &number, 400, "'pageNo'");
            let size = [base, &[("pageNo", "1"), ("pageSize", bad)]].concat();
            site.refused(request, &size, 400, "'pageSize'");
        }
        site.refused(request, base, 400, "Param 'pageNo' is required.");
        let number = [base, &[("pageNo", "1")]].concat();
        site.refused(request, &number, 400, "Param 'pageSize' is required.");
    }
    let long = "9".repeat(5_000);
    let answer = site.call("GET catalog/services", &[("pageNo", &long), ("pageSize", "1")]);
    assert!(answer.status == 400 && answer.text.len() < 200, "{}", answer.text);
    let negative = [service, &[("pageNo", "-1"), ("pageSize", "1")]].concat();
    site.refused("GET catalog/instances", &negative, 400, "'pageNo'");
    let page = [("pageNo", "1"), ("pageSize", "1")];
    let ask =
        |name, cluster| [&[("serviceName", name), ("clusterName", cluster)], &page[..]].concat();
    site.refused(
        "GET catalog/instances",
        &ask("b", "c"),
        404,
        "service DEFAULT_GROUP@@b is not found!",
    );
    site.refused("GET catalog/instances", &ask("a", "c"), 404, "cluster c is not found!");
    let nameless = [&[("serviceName", "a")], &page[..]].concat();
    site.refused("GET catalog/instances", &nameless, 400, "Param 'clusterName' is required.");
}

#[test]
fn the_catalog_shows_all_of_an_instance() {
    let site = Site::start();
    let metadata =
        r#"{"preserved.heart.beat.interval":"1000","preserved.heart.beat.timeout":"600000"}"#;
    register(&site, "s", "10.0.0.1", &[("metadata", metadata), ("app", "shop"), ("weight", "2.5")]);
    register(&site, "s", "10.0.0.2", &[("enabled", "false"), ("healthy", "false")]);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let page =
        [("serviceName", "s"), ("clusterName", "DEFAULT"), ("pageNo", "1"), ("pageSize", "9")];
    let mut reply = site.call("GET catalog/instances", &page).json();
    for instance in reply["list"].as_array_mut().unwrap() {
        let beat = instance.as_object_mut().unwrap().remove("lastBeat").unwrap();
        let age = now.as_millis().abs_diff(u128::from(beat.as_u64().unwrap()));
        assert!(age < 60_000, "lastBeat {beat} is {age} ms off");
    }
    let common = |ip: &str, more: Value| {
        let mut all = json!({
            "instanceId": format!("{ip}#80#DEFAULT#DEFAULT_GROUP@@s"), "ip": ip, "port": 80,
            "ephemeral": true, "clusterName": "DEFAULT", "serviceName": "DEFAULT_GROUP@@s",
            "marked": false, "ipDeleteTimeout": 30_000,
        });
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        all
    };
    let metadata: Value = serde_json::from_str(metadata).unwrap();
    let first = json!({
        "weight": 2.5, "healthy": true, "enabled": true, "metadata": metadata, "app": "shop",
        "instanceHeartBeatInterval": 1_000, "instanceHeartBeatTimeOut": 600_000,
    });
    let second = json!({
        "weight": 1.0, "healthy": false, "enabled": false, "metadata": {}, "app": "DEFAULT",
        "instanceHeartBeatInterval": 5_000, "instanceHeartBeatTimeOut": 15_000,
        "instanceIdGenerator": "simple",
    });
    let list = [common("10.0.0.1", first), common("10.0.0.2", second)];
    assert_eq!(reply, json!({"list": list, "count": 2}));
}

#[test]
fn the_catalog_filters_by_literal_pieces_of_names() {
    let site = Site::start();
    for (service, group) in [("order.v1", "shop"), ("order-v1", "shop"), ("pay", "shop-2")] {
        register(&site, service, "10.0.0.1", &[("groupName", group)]);
    }
    let found = |more: &[(&str, &str)]| {
        let parameters = [&[("pageNo", "1"), ("pageSize", "9")], more].concat();
        let reply = site.call("GET catalog/services", &parameters).json();
        let services = reply["serviceList"].as_array().unwrap().clone();
        let name = |service: &Value| service["name"].as_str().unwrap().to_owned();
        assert_eq!(reply["count"], services.len());
        services.iter().map(name).collect::<Vec<_>>()
    };
    assert_eq!(found(&[("serviceNameParam", "r.v")]), ["order.v1"]);
    assert_eq!(found(&[("serviceNameParam", "o*v1")]), ["order-v1", "order.v1"]);
    assert_eq!(found(&[("serviceNameParam", "shop")]), [""; 0]);
    assert_eq!(found(&[("serviceNameParam", "(a+)+$")]), [""; 0]);
    assert_eq!(found(&[("groupNameParam", "hop-")]), ["pay"]);
    assert_eq!(found(&[("groupNameParam", "shop"), ("serviceNameParam", "pay")]), ["pay"]);
    assert_eq!(found(&[("instance", "10.0.0.1:81")]), [""; 0]);
    assert_eq!(found(&[("namespaceId", "other")]), [""; 0]);
}

#[test]
fn cluster_settings_are_checked_by_name() {
    let site = Site::with(|config| config.registry.max_metadata_bytes = 1_024);
    site.refused("PUT cluster", &cluster(&[]), 400, "service not found:DEFAULT_GROUP@@s");
    site.ok("POST service", &[("serviceName", "s")]);
    let long_checker = format!(r#"{{"type":"HTTP","path":"{}"}}"#, "x".repeat(5_000));
    let large = format!("k={}", "v".repeat(1_100));
    for (name, bad, part) in [
        ("checkPort", "x", "'checkPort'"),
        ("checkPort", "65536", "'checkPort'"),
        ("checkPort", "-1", "'checkPort'"),
        ("checkPort", "", "Param 'checkPort' is required."),
        ("useInstancePort4Check", "", "Param 'useInstancePort4Check' is required."),
        ("healthChecker", "", "Param 'healthChecker' is required."),
        ("healthChecker", "{}", "'healthChecker'"),
        ("healthChecker", "[]", "'healthChecker'"),
        ("healthChecker", &long_checker, "'healthChecker'"),
        ("clusterName", "", "Param 'clusterName' is required."),
        ("clusterName", "a_b", "cluster name can only have"),
        ("metadata", &large, "'metadata'"),
    ] {
        site.refused("PUT cluster", &cluster(&[(name, bad)]), 400, part);
    }
    assert_eq!(site.call("GET service", &[("serviceName", "s")]).json()["clusters"], json!([]));

    site.ok("PUT cluster", &cluster(&[("checkPort", "81"), ("useInstancePort4Check", "no")]));
    let reply = site.call("GET catalog/service", &[("serviceName", "s")]).json();
    let shown = json!([{
        "serviceName": "DEFAULT_GROUP@@s", "name": "c1", "healthChecker": {"type": "TCP"},
        "defaultPort": 80, "defaultCheckPort": 80, "useIPPort4Check": false, "metadata": {},
        "sitegroup": "", "defCkport": 81, "defIPPort": 81, "empty": true,
    }]);
    assert_eq!(reply["clusters"], shown);
}

#[test]
fn clusters_with_settings_are_limited() {
    let site = Site::start();
    site.ok("POST service", &[("serviceName", "s")]);
    let names: Vec<String> = (0..257).map(|number| format!("c{number}")).collect();
    for name in &names[..256] {
        site.ok("PUT cluster", &cluster(&[("clusterName", name)]));
    }
    site.refused("PUT cluster", &cluster(&[("clusterName", &names[256])]), 400, "'clusterName'");
    site.ok("PUT cluster", &cluster(&[("clusterName", "c7"), ("checkPort", "1")]));
}

#[test]
fn health_by_hand_needs_a_known_cluster_without_checker() {
    let site = Site::start();
    register(&site, "s", "10.0.0.1", &[]);
    let health = |changes: &[(&'static str, &'static str)]| {
        let mut parameters =
            vec![("serviceName", "s"), ("ip", "10.0.0.1"), ("port", "80"), ("healthy", "false")];
        for (name, value) in changes {
            parameters.retain(|(known, _)| known != name);
            parameters.push((name, value));
        }
        parameters
    };
    for (name, bad, part) in [
        ("serviceName", "", "Param 'serviceName' is required."),
        ("ip", "", "Param 'ip' is required."),
        ("port", "", "Param 'port' is required."),
        ("port", "70000", "'port'"),
        ("healthy", "", "Param 'healthy' is required."),
        ("ip", "10.0.0.1", "health check is still working"),
    ] {
        site.refused("PUT health/instance", &health(&[(name, bad)]), 400, part);
    }
    site.refused("PUT health", &health(&[("serviceName", "t")]), 404, "is not found!");
    site.refused("PUT health", &health(&[("clusterName", "t")]), 404, "cluster t is not found!");

    let none = [("clusterName", "DEFAULT"), ("healthChecker", NONE)];
    site.ok("PUT cluster", &cluster(&none));
    let is_healthy = || {
        let instance = [("serviceName", "s"), ("ip", "10.0.0.1"), ("port", "80")];
        site.call("GET instance", &instance).json()["healthy"] == true
    };
    // What is not true is false, whatever it is.
    for (text, healthy) in [("no", false), ("yes", true), ("1", false), ("ON", true)] {
        site.ok("PUT health", &health(&[("healthy", text)]));
        assert_eq!(is_healthy(), healthy, "{text}");
    }
}

#[test]
fn response_times_are_those_of_no_checks() {
    let site = Site::start();
    register(&site, "s", "10.0.0.1", &[("clusterName", "c1")]);
    let reply = site.call("GET catalog/rt/service", &[("serviceName", "s")]).json();
    let times = json!([
        {"name": "c1", "checkRTBest": -1, "checkRTWorst": -1, "checkRTNormalized": -1},
    ]);
    assert_eq!(reply, json!({"clusters": times}));
    let unknown = [("serviceName", "t")];
    site.refused("GET catalog/rt/service", &unknown, 400, "request service doesn't exist");
    site.refused("GET catalog/service", &unknown, 404, "service DEFAULT_GROUP@@t is not found!");
}
