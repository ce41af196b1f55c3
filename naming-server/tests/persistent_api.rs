//! Persistent instances over HTTP, alone and beside ephemeral ones with the same names.

mod common;

use common::{Answer, Site, cluster, register};
use serde_json::{Value, json};

const EPHEMERAL: (&str, &str) = ("ephemeral", "true");
const PERSISTENT: (&str, &str) = ("ephemeral", "false");
const TWIN: [(&str, &str); 3] = [("serviceName", "s"), ("ip", "10.0.0.1"), ("port", "80")];

fn twin<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [&TWIN, more].concat()
}

/// What a list shows, persistent instances first: of each the kind and one field.
fn listed(site: &Site, field: &str) -> Vec<(bool, Value)> {
    let list = site.call("GET instance/list", &[("serviceName", "s")]).json();
    let hosts = list["hosts"].as_array().unwrap().iter();
    hosts.map(|host| (host["ephemeral"] == false, host[field].clone())).collect()
}

/// A service with one instance of each kind, both with the same names.
fn site_with_twins() -> Site {
    let site = Site::start();
    register(&site, "s", "10.0.0.1", &[EPHEMERAL, ("weight", "1")]);
    register(&site, "s", "10.0.0.1", &[PERSISTENT, ("weight", "2")]);
    assert_eq!(listed(&site, "weight"), [(true, json!(2.0)), (false, json!(1.0))]);
    site
}

#[test]
fn each_kind_is_registered_updated_and_removed_for_itself() {
    let site = site_with_twins();
    site.ok("POST instance", &twin(&[PERSISTENT, ("weight", "3")]));
    assert_eq!(listed(&site, "weight"), [(true, json!(3.0)), (false, json!(1.0))]);
    site.ok("PUT instance", &twin(&[EPHEMERAL, ("weight", "4")]));
    assert_eq!(listed(&site, "weight"), [(true, json!(3.0)), (false, json!(4.0))]);
    site.ok("DELETE instance", &twin(&[PERSISTENT]));
    assert_eq!(listed(&site, "weight"), [(false, json!(4.0))]);
    site.ok("DELETE instance", &twin(&[PERSISTENT]));
    site.ok("DELETE instance", &twin(&[]));
    assert_eq!(listed(&site, "weight"), []);
}

#[test]
fn a_removal_without_a_kind_means_the_one_that_is_there_and_of_two_the_ephemeral_one() {
    let site = site_with_twins();
    site.ok("DELETE instance", &twin(&[]));
    assert_eq!(listed(&site, "weight"), [(true, json!(2.0))]);
    // A kind that is named is heeded, `ok` or not.
    for ephemeral in ["true", "1"] {
        site.ok("DELETE instance", &twin(&[("ephemeral", ephemeral)]));
        assert_eq!(listed(&site, "weight"), [(true, json!(2.0))], "{ephemeral}");
    }
    site.ok("DELETE instance", &twin(&[]));
    assert_eq!(listed(&site, "weight"), []);
    site.ok("DELETE instance", &twin(&[]));
}

#[test]
fn a_kind_may_be_one_or_zero() {
    let site = Site::start();
    register(&site, "s", "10.0.0.1", &[("ephemeral", "1"), ("weight", "1")]);
    register(&site, "s", "10.0.0.1", &[("ephemeral", "0"), ("weight", "2")]);
    assert_eq!(listed(&site, "weight"), [(true, json!(2.0)), (false, json!(1.0))]);
    site.ok("DELETE instance", &twin(&[("ephemeral", "1")]));
    assert_eq!(listed(&site, "weight"), [(true, json!(2.0))]);
    site.ok("DELETE instance", &twin(&[("ephemeral", "0")]));
    assert_eq!(listed(&site, "weight"), []);
}

#[test]
fn a_patch_means_the_persistent_one_unless_it_says_otherwise() {
    let site = site_with_twins();
    site.ok("PATCH instance", &twin(&[("weight", "5")]));
    site.ok("PATCH instance", &twin(&[("weight", "6"), EPHEMERAL]));
    site.ok("PATCH instance", &twin(&[("metadata", "a=1"), PERSISTENT, ("healthy", "false")]));
    assert_eq!(listed(&site, "weight"), [(true, json!(5.0)), (false, json!(6.0))]);
    assert_eq!(listed(&site, "metadata"), [(true, json!({"a": "1"})), (false, json!({}))]);
    assert_eq!(listed(&site, "healthy"), [(true, json!(false)), (false, json!(true))]);
    // Where there is only one, that one is meant whatever is said, as in Nacos.
    site.ok("DELETE instance", &twin(&[EPHEMERAL]));
    site.ok("PATCH instance", &twin(&[("weight", "7"), EPHEMERAL]));
    assert_eq!(listed(&site, "weight"), [(true, json!(7.0))]);
}

#[test]
fn reads_show_both_kinds() {
    let site = site_with_twins();
    let detail = site.call("GET instance", &TWIN).json();
    assert_eq!((&detail["weight"], &detail["healthy"]), (&json!(2.0), &json!(true)));
    let id = "10.0.0.1#80#DEFAULT#DEFAULT_GROUP@@s";
    assert_eq!(listed(&site, "instanceId"), [(true, json!(id)), (false, json!(id))]);
    let statuses = site.call("GET instance/statuses", &[("key", "DEFAULT_GROUP@@s")]).json();
    assert_eq!(statuses, json!({"ips": ["10.0.0.1:80_true", "10.0.0.1:80_true"]}));
    let page = [("pageNo", "1"), ("pageSize", "10")];
    let counts = site.call("GET catalog/services", &page).json();
    assert_eq!(counts["serviceList"][0]["ipCount"], 2);
    let names = [("serviceName", "s"), ("clusterName", "DEFAULT")];
    let instances = site.call("GET catalog/instances", &[&names[..], &page].concat()).json();
    assert_eq!(instances["count"], 2);
    let kinds = instances["list"].as_array().unwrap().iter().map(|one| one["ephemeral"].clone());
    assert_eq!(kinds.collect::<Vec<_>>(), [json!(false), json!(true)]);
    assert!(instances["list"][0]["lastBeat"].as_u64().unwrap() > 0, "{instances}");
    assert_eq!(site.call("GET operator/metrics", &[]).json()["instanceCount"], 2);
    let events = site.call("GET operator/events", &[("serviceName", "s")]).json();
    let kinds = events["events"].as_array().unwrap().iter().map(|one| one["ephemeral"].clone());
    assert_eq!(kinds.collect::<Vec<_>>(), [json!(false), json!(true)]);
    let legacy = site.call("GET api/srvIPXT", &[("dom", "s")]).json();
    assert_eq!(legacy["hosts"].as_array().unwrap().len(), 2);
}

#[test]
fn java_clients_update_only_what_is_there_of_that_kind() {
    let site = Site::start();
    register(&site, "s", "10.0.0.1", &[PERSISTENT]);
    let java = |request, parameters: &[(&str, &str)]| {
        site.call_with("User-Agent: Nacos-Java-Client:v1.4.8\r\n", request, parameters)
    };
    let refused: Answer = java("PUT instance", &twin(&[EPHEMERAL]));
    assert_eq!(refused.status, 400);
    assert!(refused.text.contains("instance not exist"), "{refused:?}");
    assert_eq!(java("PUT instance", &twin(&[PERSISTENT, ("weight", "2")])).status, 200);
    assert_eq!(listed(&site, "weight"), [(true, json!(2.0))]);
}

#[test]
fn a_batch_changes_one_kind_or_those_listed() {
    let site = site_with_twins();
    let batch = |more: &[(&str, &str)]| {
        let parameters = [&[("serviceName", "s"), ("metadata", "k=v")], more].concat();
        site.call("PUT instance/metadata/batch", &parameters).json()["updated"].clone()
    };
    let [persistent, ephemeral] =
        ["persist", "ephemeral"].map(|kind| format!("10.0.0.1:80:unknown:DEFAULT:{kind}"));
    assert_eq!(batch(&[("consistencyType", "persist")]), json!([persistent]));
    assert_eq!(listed(&site, "metadata"), [(true, json!({"k": "v"})), (false, json!({}))]);
    assert_eq!(batch(&[("consistencyType", "ephemeral")]), json!([ephemeral]));
    assert_eq!(batch(&[("consistencyType", "raft")]), json!([]));
    let listed = r#"[{"ip":"10.0.0.1","port":80,"ephemeral":false},{"ip":"10.0.0.1","port":80},
        {"ip":"!10.0.0.1","port":80},{"ip":"10.0.0.2","port":80,"ephemeral":false}]"#;
    assert_eq!(batch(&[("instances", listed)]), json!([persistent, ephemeral]));
}

#[test]
fn beats_change_nothing_of_a_persistent_instance() {
    let site = Site::start();
    let interval = r#"{"preserved.heart.beat.interval":"1234"}"#;
    register(&site, "s", "10.0.0.1", &[PERSISTENT, ("healthy", "false"), ("metadata", interval)]);
    let known = json!({"clientBeatInterval": 1234, "code": 10200, "lightBeatEnabled": true});
    assert_eq!(site.call("PUT instance/beat", &TWIN).json(), known);
    let full = [("serviceName", "s"), ("beat", r#"{"ip":"10.0.0.1","port":80}"#)];
    assert_eq!(site.call("PUT instance/beat", &full).json(), known);
    // An ephemeral twin would stand there now.
    assert_eq!(listed(&site, "ip"), [(true, json!("10.0.0.1"))]);
    assert_eq!(site.call("GET instance", &TWIN).json()["healthy"], false);
}

#[test]
fn a_full_beat_registers_the_kind_it_says() {
    let site = Site::start();
    let beat = r#"{"ip":"10.0.0.1","port":80,"ephemeral":false}"#;
    let answer = site.call("PUT instance/beat", &[("serviceName", "s"), ("beat", beat)]).json();
    assert_eq!(answer["code"], 10200);
    assert_eq!(listed(&site, "ip"), [(true, json!("10.0.0.1"))]);
}

#[test]
fn a_persistent_instance_outlives_its_silence() {
    let site = Site::start();
    let short = r#"{"preserved.heart.beat.interval":"500","preserved.heart.beat.timeout":"1000",
        "preserved.ip.delete.timeout":"1000"}"#;
    for kind in [EPHEMERAL, PERSISTENT] {
        register(&site, "s", "10.0.0.1", &[kind, ("metadata", short)]);
    }
    // Nor is it checked, as nobody would answer.
    let none = [("clusterName", "DEFAULT"), ("healthChecker", r#"{"type":"NONE"}"#)];
    site.ok("PUT cluster", &cluster(&none));
    site.until("GET instance/list", &[("serviceName", "s")], |list| {
        list.json()["hosts"].as_array().unwrap().len() == 1
    });
    assert_eq!(listed(&site, "healthy"), [(true, json!(true))]);
}

#[test]
fn health_is_set_by_hand_where_nobody_checks() {
    let site = site_with_twins();
    let unhealthy = twin(&[("healthy", "false")]);
    site.refused("PUT health/instance", &unhealthy, 400, "health check is still working");
    let none = [("clusterName", "DEFAULT"), ("healthChecker", r#"{"type":"NONE"}"#)];
    site.ok("PUT cluster", &cluster(&none));
    register(&site, "s", "10.0.0.2", &[]);
    site.ok("PUT health/instance", &unhealthy);
    let unhealthy = |list: &[(bool, Value)]| {
        list.iter().filter(|(_, healthy)| *healthy == false).map(|one| one.0).collect::<Vec<_>>()
    };
    assert_eq!(unhealthy(&listed(&site, "healthy")), [true, false]);
    // It cannot be the beat of the persistent one that sets the ephemeral one right.
    assert_eq!(site.call("PUT instance/beat", &TWIN).json()["code"], 10200);
    site.until("GET instance/list", &[("serviceName", "s")], |_| {
        unhealthy(&listed(&site, "healthy")) == [true]
    });
}

#[test]
fn no_address_means_an_instance_of_the_other_kind() {
    let site = site_with_twins();
    let marked = [("serviceName", "s"), ("ip", "!10.0.0.1"), ("port", "80")];
    for request in ["DELETE instance", "PATCH instance", "POST instance", "PUT instance/beat"] {
        site.refused(request, &marked, 400, "'ip'");
    }
    let health = [&marked[..], &[("healthy", "false")]].concat();
    site.refused("PUT health/instance", &health, 400, "'ip'");
    site.refused("GET instance", &marked, 404, "no matched ip found!");
    assert_eq!(listed(&site, "weight").len(), 2);
}

#[test]
fn deleting_a_service_deletes_both_kinds() {
    let site = site_with_twins();
    site.ok("DELETE service", &[("serviceName", "s")]);
    assert_eq!(listed(&site, "ip"), []);
    register(&site, "s", "10.0.0.2", &[]);
    assert_eq!(listed(&site, "ip"), [(false, json!("10.0.0.2"))]);
}

#[test]
fn numbers_as_ids_are_unique_over_both_kinds() {
    let site = Site::start();
    let numbered = ("metadata", r#"{"preserved.instance.id.generator":"snowflake"}"#);
    register(&site, "s", "10.0.0.1", &[numbered]);
    register(&site, "s", "10.0.0.1", &[numbered, PERSISTENT]);
    assert_eq!(listed(&site, "instanceId"), [(true, json!("1")), (false, json!("0"))]);
}

#[test]
fn a_service_with_a_persistent_instance_is_not_empty() {
    let site = Site::with(|config| {
        (config.empty_service.initial_delay_ms, config.empty_service.period_ms) = (10, 10);
    });
    register(&site, "s", "10.0.0.1", &[PERSISTENT]);
    register(&site, "empty", "10.0.0.1", &[]);
    site.ok("DELETE instance", &[("serviceName", "empty"), TWIN[1], TWIN[2]]);
    let names = [("pageNo", "1"), ("pageSize", "10")];
    site.until("GET service/list", &names, |list| list.json()["doms"] == json!(["s"]));
}
