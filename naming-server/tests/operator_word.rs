//! What an operator sets of an instance outlasts its registrations, if the server is told so.

use naming_server::{Config, DataConfig, EmptyServiceConfig, RegistryConfig};
use serde_json::{Value, json};

mod common;

use common::server_support::members::Cluster;
use common::server_support::{TestServer, wait_for};
use common::{Site, register};

const S: [(&str, &str); 3] = [("serviceName", "s"), ("ip", "10.0.0.1"), ("port", "80")];
const PERSISTENT: (&str, &str) = ("ephemeral", "false");

fn s<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [&S, more].concat()
}

/// A server that keeps them, and an instance as its client registers it.
fn keeping() -> Site {
    let site = Site::with(|config| config.registry.keep_operator_values = true);
    client(&site);
    site
}

fn client(site: &Site) {
    register(site, "s", "10.0.0.1", &[("weight", "1"), ("metadata", "zone=a,version=1")]);
}

fn detail(site: &Site) -> Value {
    site.call("GET instance", &S).json()
}

fn in_catalog(site: &Site) -> Value {
    let page = [("clusterName", "DEFAULT"), ("pageNo", "1"), ("pageSize", "10")];
    let list = site.call("GET catalog/instances", &[&S[..1], &page].concat()).json();
    list["list"][0].clone()
}

fn kept(site: &Site) -> Value {
    let (detail, catalog) = (detail(site), in_catalog(site));
    assert_eq!(detail["operatorValues"], catalog["operatorValues"]);
    detail["operatorValues"].clone()
}

/// Weight, enabled and metadata as everybody sees them.
fn shown(site: &Site) -> (f64, bool, Value) {
    let one = in_catalog(site);
    (one["weight"].as_f64().unwrap(), one["enabled"].as_bool().unwrap(), one["metadata"].clone())
}

/// Everything by which a client comes back.
const WAYS: [fn(&Site); 4] = [
    client,
    |site| {
        site.ok("DELETE instance", &S);
        client(site);
    },
    |site| {
        register(site, "s", "10.0.0.1", &[("weight", "1")]);
        client(site);
    },
    |site| {
        // No beat counts as late here: it registers.
        site.ok("DELETE instance", &S);
        let beat = r#"{"ip":"10.0.0.1","port":80,"metadata":{"zone":"a","version":"1"}}"#;
        let full = [("serviceName", "s"), ("beat", beat)];
        site.until("PUT instance/beat", &full, |answer| {
            assert_eq!(answer.json()["code"], 10200);
            site.call("GET instance", &S).status == 200
        });
    },
];

/// Sets something, and looks at it after each way in which the client comes back.
#[track_caller]
fn outlasts(set: impl Fn(&Site), values: Value, seen: (f64, bool, Value)) {
    let site = Site::with(|config| {
        config.registry.keep_operator_values = true;
        config.health.compensation_window_ms = 0;
    });
    client(&site);
    set(&site);
    for (number, way) in WAYS.into_iter().enumerate() {
        way(&site);
        assert_eq!((kept(&site), shown(&site)), (values.clone(), seen.clone()), "way {number}");
    }
}

fn as_registered() -> Value {
    json!({"zone": "a", "version": "1"})
}

#[test]
fn by_default_a_registration_replaces_everything() {
    let site = Site::start();
    client(&site);
    site.ok("PATCH instance", &s(&[("weight", "5"), ("enabled", "false"), ("metadata", "a=b")]));
    assert_eq!(shown(&site), (5.0, false, json!({"a": "b"})));
    client(&site);
    assert_eq!(shown(&site), (1.0, true, as_registered()));
    site.ok("PUT instance", &s(&[("weight", "5")]));
    client(&site);
    assert_eq!(shown(&site), (1.0, true, as_registered()));
    assert!(detail(&site).get("operatorValues").is_none());
    assert!(in_catalog(&site).get("operatorValues").is_none());
}

#[test]
fn a_weight_outlasts_registrations() {
    let set = |site: &Site| site.ok("PATCH instance", &s(&[("weight", "5")]));
    outlasts(set, json!({"weight": 5.0}), (5.0, true, as_registered()));
    let least = |site: &Site| site.ok("PATCH instance", &s(&[("weight", "0.001")]));
    outlasts(least, json!({"weight": 0.01}), (0.01, true, as_registered()));
}

#[test]
fn enabled_outlasts_registrations() {
    let set = |site: &Site| site.ok("PATCH instance", &s(&[("enabled", "false")]));
    outlasts(set, json!({"enabled": false}), (1.0, false, as_registered()));
    let form = |site: &Site| {
        let same = ("metadata", "zone=a,version=1");
        site.ok("PUT instance", &s(&[("weight", "1"), ("enabled", "false"), same]));
    };
    outlasts(form, json!({"enabled": false}), (1.0, false, as_registered()));
}

#[test]
fn single_keys_of_the_metadata_outlast_registrations() {
    let metadata = [("metadata", "zone=b,version=1,canary=yes")];
    let values = json!({"metadata": {"zone": "b", "canary": "yes"}});
    let seen = || (1.0, true, json!({"zone": "b", "version": "1", "canary": "yes"}));
    for request in ["PATCH instance", "PUT instance"] {
        outlasts(|site| site.ok(request, &s(&metadata)), values.clone(), seen());
    }
    let batch = |request: &'static str, metadata: &'static str| {
        let all = [("serviceName", "s"), ("consistencyType", "ephemeral"), ("metadata", metadata)];
        move |site: &Site| {
            let updated = site.call(request, &all).json()["updated"].clone();
            assert_eq!(updated, json!(["10.0.0.1:80:unknown:DEFAULT:ephemeral"]));
        }
    };
    outlasts(batch("PUT instance/metadata/batch", "zone=b,canary=yes"), values, seen());
    let removed = json!({"metadata": {"zone": null, "canary": null}});
    let seen = (1.0, true, json!({"version": "1"}));
    outlasts(
        batch("DELETE instance/metadata/batch", r#"{"zone":"","canary":""}"#),
        removed,
        seen.clone(),
    );
    let without = |site: &Site| site.ok("PATCH instance", &s(&[("metadata", "version=1")]));
    outlasts(without, json!({"metadata": {"zone": null}}), seen);
}

#[test]
fn what_the_client_changes_elsewhere_still_counts() {
    let site = keeping();
    site.ok("PATCH instance", &s(&[("metadata", "zone=b,version=1")]));
    register(&site, "s", "10.0.0.1", &[("weight", "3"), ("metadata", "zone=c,version=2,new=1")]);
    let merged = json!({"zone": "b", "version": "2", "new": "1"});
    assert_eq!(shown(&site), (3.0, true, merged));
    // And what the operator sets later is added to what is kept.
    site.ok("PATCH instance", &s(&[("weight", "7")]));
    site.ok("PATCH instance", &s(&[("enabled", "false")]));
    let all = json!({"weight": 7.0, "enabled": false, "metadata": {"zone": "b"}});
    assert_eq!(kept(&site), all);
    client(&site);
    assert_eq!(shown(&site), (7.0, false, json!({"zone": "b", "version": "1"})));
}

#[test]
fn cleared_the_client_alone_counts() {
    let site = keeping();
    let set = [("weight", "5"), ("enabled", "false"), ("metadata", "x=y")];
    let clear = s(&[("operatorValues", "clear")]);
    site.ok("PATCH instance", &s(&set));
    site.refused("PATCH instance", &s(&[("operatorValues", "no")]), 400, "'operatorValues'");
    site.ok("PATCH instance", &clear);
    // Until the client speaks again, nothing changes but that.
    assert_eq!(shown(&site), (5.0, false, json!({"x": "y"})));
    assert!(detail(&site).get("operatorValues").is_none());
    client(&site);
    assert_eq!(shown(&site), (1.0, true, as_registered()));
    site.ok("PATCH instance", &clear);

    // What the same call names is kept anew.
    site.ok("PATCH instance", &s(&set));
    site.ok("PATCH instance", &s(&[("operatorValues", "clear"), ("weight", "6")]));
    assert_eq!(kept(&site), json!({"weight": 6.0}));

    // Also while the instance is away.
    site.ok("DELETE instance", &S);
    site.ok("PATCH instance", &clear);
    site.refused("PATCH instance", &clear, 400, "instance not found");
    client(&site);
    assert_eq!(shown(&site), (1.0, true, as_registered()));
}

#[test]
fn nothing_is_kept_of_what_is_refused_or_not_there() {
    let site = keeping();
    let long = format!("k={}", "v".repeat(33_000));
    site.refused("PATCH instance", &s(&[("weight", "-1"), ("enabled", "false")]), 400, "weights");
    site.refused("PATCH instance", &s(&[("weight", "5"), ("metadata", &long)]), 400, "'metadata'");
    let other = [("serviceName", "s"), ("ip", "10.0.0.2"), ("port", "80"), ("weight", "5")];
    site.refused("PATCH instance", &other, 400, "instance not found");
    register(&site, "s", "10.0.0.2", &[]);
    let two = site.call("GET instance", &other).json();
    assert_eq!((&two["weight"], two.get("operatorValues")), (&json!(1.0), None));
    assert!(detail(&site).get("operatorValues").is_none());
    for request in ["POST instance", "PATCH instance", "DELETE instance"] {
        let marked = [("serviceName", "s"), ("ip", "=10.0.0.1"), ("port", "80")];
        site.refused(request, &marked, 400, "it begins with '='");
    }
}

#[test]
fn there_are_no_more_of_them_than_instances_may_be() {
    let site = Site::with(|config| {
        config.registry.keep_operator_values = true;
        config.registry.max_instances = 2;
    });
    let set = |ip: &str| {
        let place = [("serviceName", "s"), ("ip", ip), ("port", "80")];
        register(&site, "s", ip, &[]);
        let answer = site.call("PATCH instance", &[&place[..], &[("weight", "5")]].concat());
        site.ok("DELETE instance", &place);
        answer.status
    };
    let statuses = ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.1"].map(set);
    assert_eq!(statuses, [200, 200, 503, 200]);
    site.ok("PATCH instance", &s(&[("operatorValues", "clear")]));
    assert_eq!(set("10.0.0.3"), 200);
}

#[test]
fn nothing_is_kept_of_a_change_for_which_there_is_no_room() {
    let site = Site::with(|config| {
        config.registry.keep_operator_values = true;
        config.registry.max_instance_bytes = 2_048;
    });
    register(&site, "s", "10.0.0.1", &[]);
    let metadata = |bytes| format!("k={}", "x".repeat(bytes));
    // The instance alone would have room, and what is kept beside it, too.
    for (request, bytes) in [("PATCH instance", 1_200), ("PUT instance", 1_200)] {
        let metadata = metadata(bytes);
        let params = s(&[("metadata", &metadata)]);
        site.refused(request, &params, 503, "registry.max_instance_bytes");
        let shown = site.call("GET instance", &s(&[])).json();
        assert_eq!((&shown["metadata"], shown.get("operatorValues")), (&json!({}), None));
        assert!(detail(&site).get("operatorValues").is_none(), "after {request}");
    }
    site.ok("PATCH instance", &s(&[("metadata", &*metadata(500))]));
    assert!(detail(&site).get("operatorValues").is_some());
}

#[test]
fn twins_of_both_kinds_have_values_of_their_own() {
    let site = keeping();
    register(&site, "s", "10.0.0.1", &[PERSISTENT]);
    site.ok("PATCH instance", &s(&[PERSISTENT, ("weight", "5")]));
    site.ok("PATCH instance", &s(&[("ephemeral", "true"), ("weight", "6")]));
    let weights = || {
        let list = site.call("GET instance/list", &S[..1]).json();
        let hosts = list["hosts"].as_array().unwrap().iter();
        hosts.map(|host| host["weight"].as_f64().unwrap()).collect::<Vec<_>>()
    };
    register(&site, "s", "10.0.0.1", &[PERSISTENT]);
    client(&site);
    assert_eq!(weights(), [5.0, 6.0]);
    site.ok("DELETE instance", &s(&[PERSISTENT]));
    site.ok("DELETE instance", &S);
    assert_eq!(weights(), [0.0; 0]);
    site.ok("PATCH instance", &s(&[PERSISTENT, ("operatorValues", "clear")]));
    register(&site, "s", "10.0.0.1", &[PERSISTENT]);
    client(&site);
    assert_eq!(weights(), [1.0, 6.0]);
    // The record of the values is no instance, wherever those are counted.
    assert_eq!(site.call("GET operator/metrics", &[]).json()["instanceCount"], 2);
    let page = [("pageNo", "1"), ("pageSize", "10")];
    let counts = site.call("GET catalog/services", &page).json();
    assert_eq!(counts["serviceList"][0]["ipCount"], 2);
}

#[test]
fn they_go_with_the_service_and_not_with_the_clean_up() {
    let site = Site::with(|config| {
        config.registry.keep_operator_values = true;
        config.empty_service =
            EmptyServiceConfig { auto_clean: true, initial_delay_ms: 0, period_ms: 100 };
    });
    client(&site);
    site.ok("PATCH instance", &s(&[("weight", "5")]));
    site.ok("DELETE instance", &S);
    register(&site, "passing", "10.0.0.1", &[]);
    site.ok("DELETE instance", &[("serviceName", "passing"), S[1], S[2]]);
    let names = [("pageNo", "1"), ("pageSize", "10")];
    site.until("GET service/list", &names, |list| list.json()["doms"] == json!(["s"]));
    client(&site);
    assert_eq!(shown(&site).0, 5.0);
    site.ok("DELETE service", &S[..1]);
    client(&site);
    assert_eq!(shown(&site).0, 1.0);
}

fn config(data: DataConfig) -> Config {
    let registry = RegistryConfig { keep_operator_values: true, ..RegistryConfig::default() };
    Config { data, registry, ..Config::default() }
}

const INSTANCE: &str = "instance?serviceName=s&ip=10.0.0.1&port=80";

#[test]
fn they_outlive_a_restart_and_so_does_their_end() {
    let folder = tempfile::tempdir().unwrap();
    let start = || {
        let mut server = Err(String::new());
        // Who was killed holds the folder for a moment yet.
        wait_for("the folder is free", || {
            let config = config(DataConfig::at(folder.path()));
            let config = Config { bind: "127.0.0.1".to_owned(), port: 0, ..config };
            server = TestServer::try_start_at(config);
            server.is_ok()
        });
        server.unwrap()
    };
    let weight = |server: &TestServer| {
        server.call("POST", INSTANCE).expect(200);
        server.get(INSTANCE).json()["weight"].clone()
    };
    let server = start();
    server.call("POST", INSTANCE).expect(200);
    server.call("PATCH", &format!("{INSTANCE}&weight=5")).expect(200);
    server.call("DELETE", INSTANCE).expect(200);
    server.kill();

    let server = start();
    assert_eq!(weight(&server), 5.0);
    server.call("PATCH", &format!("{INSTANCE}&operatorValues=clear")).expect(200);
    server.kill();

    let server = start();
    assert_eq!(weight(&server), 1.0);
    server.call("PATCH", &format!("{INSTANCE}&weight=6")).expect(200);
    server.call("DELETE", INSTANCE).expect(200);
    server.call("DELETE", "service?serviceName=s").expect(200);
    server.kill();

    let server = start();
    assert_eq!(weight(&server), 1.0);
}

/// Three members that keep what operators set.
fn keeping_cluster() -> Cluster {
    let mut cluster = Cluster::start(3);
    // Started again with the setting, which is off otherwise.
    for member in 0..3 {
        cluster.take(member).stop();
    }
    for member in 0..3 {
        let registry = config(DataConfig::default()).registry;
        let mut server = Err(String::new());
        wait_for("the address is free", || {
            let config = Config { registry: registry.clone(), ..cluster.config(member) };
            server = TestServer::try_start_at(config);
            server.is_ok()
        });
        cluster.members[usize::from(member)] = Some(server.unwrap());
    }
    cluster.wait_until_ready();
    cluster
}

/// Enough services that every member owns one.
fn instance_of(number: u8) -> String {
    format!("instance?serviceName=s{number}&ip=10.0.0.1&port=80")
}

#[test]
fn registrations_at_the_same_time_undo_nothing_that_is_set() {
    let cluster = keeping_cluster();
    let member = cluster.member(0);
    for number in 0..9 {
        let instance = instance_of(number);
        member.call("POST", &instance).expect(200);
        for weight in 2..12 {
            std::thread::scope(|scope| {
                // One that came later would set right what this one has undone.
                scope.spawn(|| member.call("POST", &instance).expect(200));
                member.call("PATCH", &format!("{instance}&weight={weight}")).expect(200);
            });
            let shown = member.get(&instance).json();
            assert_eq!(shown["weight"], json!(f64::from(weight)), "{instance}");
        }
    }
}

#[test]
fn all_members_keep_them() {
    let cluster = keeping_cluster();
    let instance = instance_of;
    for number in 0..9 {
        let (instance, first) = (instance(number), cluster.member(number % 3));
        first.call("POST", &format!("{instance}&metadata=zone%3Da")).expect(200);
        first.call("PATCH", &format!("{instance}&weight=5&metadata=zone%3Db")).expect(200);
        first.call("DELETE", &instance).expect(200);
    }
    cluster.wait_until_equal();
    for number in 0..9 {
        let (instance, other) = (instance(number), cluster.member((number + 1) % 3));
        other.call("POST", &format!("{instance}&metadata=zone%3Da")).expect(200);
        let shown = other.get(&instance).json();
        assert_eq!((&shown["weight"], &shown["metadata"]), (&json!(5.0), &json!({"zone": "b"})));
        assert_eq!(shown["operatorValues"], json!({"weight": 5.0, "metadata": {"zone": "b"}}));
        other.call("PATCH", &format!("{instance}&operatorValues=clear")).expect(200);
    }
    cluster.wait_until_equal();
    for number in 0..9 {
        let (instance, third) = (instance(number), cluster.member((number + 2) % 3));
        third.call("POST", &instance).expect(200);
        let shown = third.get(&instance).json();
        assert_eq!((&shown["weight"], shown.get("operatorValues")), (&json!(1.0), None));
    }
}
