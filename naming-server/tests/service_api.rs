//! Services, over HTTP: what the recorded transcripts do not cover.

mod common;

use common::{Site, cluster, names, register};
use serde_json::json;

#[test]
fn thresholds_that_are_no_share_are_refused() {
    let site = Site::start();
    for bad in ["1.1", "-0.1", "NaN", "Infinity", "1e300"] {
        let parameters = [("serviceName", "s"), ("protectThreshold", bad)];
        site.refused("POST service", &parameters, 400, "'protectThreshold'");
    }
    let parameters = [("serviceName", "s"), ("protectThreshold", "much")];
    site.refused("POST service", &parameters, 400, "'protectThreshold'");
    site.refused("GET service", &[("serviceName", "s")], 404, "is not found!");

    site.ok("POST service", &[("serviceName", "s"), ("protectThreshold", "-0")]);
    let threshold =
        || site.call("GET service", &[("serviceName", "s")]).json()["protectThreshold"].clone();
    assert_eq!(threshold().to_string(), "0.0");
    for bad in ["2", "NaN"] {
        let parameters = [("serviceName", "s"), ("protectThreshold", bad)];
        site.refused("PUT service", &parameters, 400, "'protectThreshold'");
    }
    site.refused(
        "PUT service",
        &[("serviceName", "s")],
        400,
        "Param 'protectThreshold' is required.",
    );
    site.ok("PUT service", &[("serviceName", "s"), ("protectThreshold", "1")]);
    assert_eq!(threshold().to_string(), "1.0");
    site.ok("PUT service", &[("serviceName", "s"), ("protectThreshold", "much")]);
    assert_eq!(threshold().to_string(), "0.0");
}

#[test]
fn bad_services_are_refused_and_leave_nothing() {
    let site = Site::with(|config| config.registry.max_metadata_bytes = 1_024);
    let long_name = "n".repeat(600);
    let large = format!(r#"{{"k":"{}"}}"#, "v".repeat(1_100));
    let long_selector = format!(r#"{{"type":"none","x":"{}"}}"#, "x".repeat(5_000));
    let cases: [(&[(&str, &str)], &str); 9] = [
        (&[], "Param 'serviceName' is required."),
        (&[("serviceName", "@@s")], "groupName can't be empty"),
        (&[("serviceName", "g@@")], "should be format as 'groupName@@serviceName'"),
        (&[("serviceName", "a b")], "dom name can only have"),
        (&[("serviceName", &long_name)], "'serviceName'"),
        (&[("serviceName", "s"), ("metadata", "k")], "metadata format incorrect:k"),
        (&[("serviceName", "s"), ("metadata", &large)], "'metadata'"),
        (&[("serviceName", "s"), ("selector", "[1]")], "'selector'"),
        (&[("serviceName", "s"), ("selector", &long_selector)], "'selector'"),
    ];
    for (parameters, part) in cases {
        site.refused("POST service", parameters, 400, part);
    }
    site.refused(
        "PUT service",
        &[("serviceName", "s"), ("protectThreshold", "0")],
        400,
        "service DEFAULT_GROUP@@s not found!",
    );
    site.refused("PUT service/checksum", &[("serviceName", "s")], 404, "serviceName not found: ");
    let page = [("pageNo", "1"), ("pageSize", "9")];
    assert_eq!(names(&site, &page), (vec![], 0));
    assert_eq!(site.call("GET service/names", &[]).json(), json!({"services": {}, "count": 0}));
}

#[test]
fn selectors_may_be_encoded_once_more() {
    let site = Site::start();
    let expression = "CONSUMER.label.z = PROVIDER.label.z";
    let selector = json!({"type": "label", "expression": expression}).to_string();
    let encoded: String = selector.bytes().map(|byte| format!("%{byte:02x}")).collect();
    for (service, selector) in [("plain", &selector), ("encoded", &encoded)] {
        site.ok("POST service", &[("serviceName", service), ("selector", selector)]);
        let detail = site.call("GET service", &[("serviceName", service)]).json();
        let wanted = json!({"type": "label", "expression": expression, "labels": ["z"]});
        assert_eq!(detail["selector"], wanted);
    }
    let types = site.call("GET service/selector/types", &[]).json();
    assert_eq!(types, json!({"code": 200, "message": null, "data": ["label", "none"]}));
}

#[test]
fn an_update_keeps_the_settings_of_clusters_and_instances() {
    let site = Site::start();
    register(&site, "s", "10.0.0.1", &[]);
    site.ok("PUT cluster", &cluster(&[("metadata", "k=v")]));
    site.ok("PUT service", &[("serviceName", "s"), ("protectThreshold", "0.5")]);
    let detail = site.call("GET service", &[("serviceName", "s")]).json();
    let clusters = json!([
        {"name": "DEFAULT", "healthChecker": {"type": "TCP"}, "metadata": {}},
        {"name": "c1", "healthChecker": {"type": "TCP"}, "metadata": {"k": "v"}},
    ]);
    assert_eq!((&detail["clusters"], &detail["protectThreshold"]), (&clusters, &json!(0.5)));
    let list = site.call("GET instance/list", &[("serviceName", "s")]).json();
    assert_eq!(list["hosts"].as_array().unwrap().len(), 1);
}

#[test]
fn configured_services_outlive_their_instances_and_others_do_not() {
    let site = Site::with(|config| {
        config.empty_service.initial_delay_ms = 10;
        config.empty_service.period_ms = 10;
    });
    for service in ["kept", "clustered", "left"] {
        register(&site, service, "10.0.0.1", &[]);
    }
    site.ok("PUT service", &[("serviceName", "kept"), ("protectThreshold", "0")]);
    site.ok("PUT cluster", &cluster(&[("serviceName", "clustered")]));
    for service in ["kept", "clustered", "left"] {
        let instance = [("serviceName", service), ("ip", "10.0.0.1"), ("port", "80")];
        site.ok("DELETE instance", &instance);
    }
    let page = [("pageNo", "1"), ("pageSize", "9")];
    site.until("GET service/list", &page, |answer| !answer.text.contains("left"));
    assert_eq!(names(&site, &page), (vec!["clustered".to_owned(), "kept".to_owned()], 2));
}

#[test]
fn names_of_a_namespace_come_without_groups_once() {
    let site = Site::start();
    for (service, more) in [
        ("a", &[("groupName", "g1")][..]),
        ("a", &[("groupName", "g2")]),
        ("b", &[("namespaceId", "n")]),
    ] {
        register(&site, service, "10.0.0.1", more);
    }
    let names = |parameters: &[(&str, &str)]| site.call("GET service/names", parameters).json();
    assert_eq!(names(&[]), json!({"services": {"n": ["b"], "public": ["a"]}, "count": 2}));
    assert_eq!(names(&[("namespaceId", "n")]), json!({"services": {"n": ["b"]}, "count": 1}));
    let unknown = names(&[("namespaceId", "no")]);
    assert_eq!(unknown, json!({"services": {}, "count": 0}));
    let none = names(&[("expr", "g3@@")]);
    assert_eq!(none, json!({"services": {"n": [], "public": []}, "count": 2}));
}

#[test]
fn what_is_no_number_is_named_as_in_nacos() {
    let site = Site::start();
    let text = "For input string: \"x\"";
    let page = |name: &'static str| {
        let other = if name == "pageNo" { "pageSize" } else { "pageNo" };
        [("serviceName", "s"), ("clusterName", "DEFAULT"), (name, "x"), (other, "1")]
    };
    for name in ["pageNo", "pageSize"] {
        site.refused("GET catalog/services", &page(name), 400, text);
        site.refused("GET catalog/instances", &page(name), 400, text);
        site.refused("GET service/subscribers", &page(name), 400, text);
    }
    let threshold = [("serviceName", "s"), ("protectThreshold", "x")];
    site.refused("POST service", &threshold, 400, text);
    site.refused("POST service", &threshold, 400, "'protectThreshold'");
    site.refused("GET service", &[("serviceName", "s")], 404, "is not found!");
    for (request, name) in [
        ("GET instance/list", "udpPort"),
        ("GET instance", "port"),
        ("POST instance", "port"),
        ("POST instance", "weight"),
        ("PUT instance/beat", "port"),
        ("PUT health", "port"),
        ("GET operator/events", "limit"),
    ] {
        let mut parameters = vec![(name, "x")];
        let usual = [("serviceName", "s"), ("ip", "10.0.0.1"), ("port", "80"), ("healthy", "true")];
        parameters.extend(usual.iter().filter(|(usual, _)| *usual != name));
        site.refused(request, &parameters, 400, text);
    }
}

#[test]
fn subscribers_are_those_of_the_service_that_is_named() {
    let site = Site::start();
    let agent = "User-Agent: Nacos-Java-Client:v1.4.8\r\n";
    for (service, port) in [("order", "7001"), ("orders", "7002"), ("my-order", "7003")] {
        let parameters = [("serviceName", service), ("udpPort", port)];
        assert_eq!(site.call_with(agent, "GET instance/list", &parameters).status, 200);
    }
    let subscribers = |parameters: &[(&str, &str)]| {
        let reply = site.call("GET service/subscribers", parameters).json();
        let names = reply["subscribers"].as_array().unwrap().iter();
        let names: Vec<_> = names.map(|one| one["serviceName"].as_str().unwrap()).collect();
        (names.join(" "), reply["count"].as_u64().unwrap())
    };
    let of = |name: &str| (format!("DEFAULT_GROUP@@{name}"), 1);
    assert_eq!(subscribers(&[("serviceName", "order")]), of("order"));
    assert_eq!(subscribers(&[("serviceName", "orders")]), of("orders"));
    assert_eq!(subscribers(&[("serviceName", "my-order")]), of("my-order"));
    for nobody in ["orde", "rder", "DEFAULT@@order", "GROUP@@order"] {
        assert_eq!(subscribers(&[("serviceName", nobody)]), (String::new(), 0), "{nobody}");
    }
}

#[test]
fn bad_list_filters_are_refused() {
    let site = Site::start();
    register(&site, "a", "10.0.0.1", &[("metadata", "k=v"), ("groupName", "g")]);
    let page = [("pageNo", "1"), ("pageSize", "9"), ("groupName", "g")];
    let with = |selector: &str| {
        let parameters = [&page[..], &[("selector", selector)]].concat();
        site.call("GET service/list", &parameters)
    };
    let label = |text: &str| json!({"type": "label", "expression": text}).to_string();
    for bad in ["{", "x", &label("k=v"), &label("INSTANCE.metadata.k"), r#"{"type":"nope"}"#] {
        let answer = with(bad);
        assert_eq!(answer.status, 400, "{bad}");
        assert!(answer.text.contains("'selector'"), "{}", answer.text);
    }
    let filtered = with(&label("INSTANCE.metadata.k='v'")).json();
    assert_eq!(filtered, json!({"doms": ["a"], "count": 1}));
    assert_eq!(with(&label("SERVICE.metadata.k='v'")).json(), json!({"doms": [], "count": 0}));
}

#[test]
fn services_are_limited_like_instances() {
    let site = Site::with(|config| config.registry.max_instances = 2);
    site.ok("POST service", &[("serviceName", "a")]);
    site.ok("POST service", &[("serviceName", "b")]);
    site.refused("POST service", &[("serviceName", "c")], 503, "registry.max_instances");
    let instance = [("serviceName", "c"), ("ip", "10.0.0.1"), ("port", "80")];
    site.refused("POST instance", &instance, 503, "registry.max_instances");
    site.ok("PUT service", &[("serviceName", "a"), ("protectThreshold", "0.1")]);
    register(&site, "a", "10.0.0.1", &[]);
    site.ok("DELETE service", &[("serviceName", "b")]);
    site.ok("POST service", &[("serviceName", "c")]);
}

#[test]
fn a_deleted_service_is_gone_from_every_list() {
    let site = Site::start();
    register(&site, "s", "10.0.0.1", &[]);
    site.ok("PUT cluster", &cluster(&[]));
    site.ok("DELETE service", &[("serviceName", "s")]);
    let page = [("pageNo", "1"), ("pageSize", "9")];
    assert_eq!(names(&site, &page), (vec![], 0));
    let catalog = site.call("GET catalog/services", &page).json();
    assert_eq!(catalog, json!({"serviceList": [], "count": 0}));
    site.refused("DELETE service", &[("serviceName", "s")], 400, "specified service not exist");
    register(&site, "s", "10.0.0.2", &[]);
    let clusters = site.call("GET service", &[("serviceName", "s")]).json()["clusters"].clone();
    let fresh = json!([{"name": "DEFAULT", "healthChecker": {"type": "TCP"}, "metadata": {}}]);
    assert_eq!(clusters, fresh);
}
