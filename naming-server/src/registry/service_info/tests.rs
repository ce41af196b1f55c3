use std::collections::BTreeMap;
use std::sync::Arc;

use distro_core::{MemberId, StampClock};
use distro_net::Clock;
use naming_model::InstanceKey;
use serde_json::{Value, json};

use super::*;
use crate::registry::{Events, Metadata, Watch};

fn registry() -> Registry {
    let clock = Clock::start();
    let events = Arc::new(Events::new(0));
    let watch = Arc::new(Watch::new(Arc::clone(&events)));
    let stamps = StampClock::new(MemberId(1), 1, clock.now());
    let settings = crate::Config::default().registry_settings(1);
    Registry::new(settings, events, watch, stamps, clock, Vec::new())
}

fn service() -> ServiceKey {
    ServiceKey::parse("public", "g@@s").unwrap()
}

/// What a client registers, with the defaults of one.
struct Wish<'a> {
    ip: &'a str,
    cluster: &'a str,
    metadata: &'a [(&'a str, &'a str)],
    healthy: bool,
    enabled: bool,
    id: Option<&'a str>,
}

impl Default for Wish<'_> {
    fn default() -> Self {
        let (cluster, metadata, id) = ("DEFAULT", &[][..], None);
        Self { ip: "10.0.0.1", cluster, metadata, healthy: true, enabled: true, id }
    }
}

impl Wish<'_> {
    fn register(&self, registry: &Registry) {
        let pairs = self.metadata.iter().map(|(key, value)| ((*key).into(), (*value).into()));
        let metadata = Metadata::new(&BTreeMap::from_iter(pairs), 1_024).unwrap();
        let mut instance = Instance::new(1.0, metadata).unwrap();
        instance.enabled = self.enabled;
        instance.id = self.id.map(Box::from);
        let key = InstanceKey { ip: self.ip, port: 8_080, cluster: self.cluster };
        registry
            .register(registry.clock.tick(), &service(), &key, instance, self.healthy, &String::new)
            .unwrap();
    }
}

fn protect(registry: &Registry, protect_threshold: f32) {
    let settings =
        ServiceSettings { protect_threshold, explicit: true, ..ServiceSettings::default() };
    registry.change_settings(registry.clock.tick(), &service(), |_| Ok(settings)).unwrap();
}

fn info(registry: &Registry, clusters: &str, healthy_only: bool) -> Value {
    let info = registry.service_info(&service(), clusters, healthy_only);
    serde_json::from_slice(&info.json.concat()).unwrap()
}

/// Addresses with the health that is shown.
fn health(list: &Value) -> Vec<(&str, bool)> {
    let hosts = list["hosts"].as_array().unwrap();
    hosts
        .iter()
        .map(|host| (host["ip"].as_str().unwrap(), host["healthy"].as_bool().unwrap()))
        .collect()
}

#[test]
fn a_list_and_its_hosts_have_all_that_any_client_reads() {
    let registry = registry();
    let metadata = [("zone", "a")];
    Wish { metadata: &metadata, ..Wish::default() }.register(&registry);
    let list = info(&registry, "", false);
    assert!(list["lastRefTime"].as_u64().unwrap().abs_diff(wall_ms()) < 60_000);
    let expected = json!({
        "name": "s", "groupName": "g", "clusters": "", "cacheMillis": 10_000,
        "hosts": [{
            "instanceId": "10.0.0.1#8080#DEFAULT#g@@s", "ip": "10.0.0.1", "port": 8_080,
            "weight": 1.0, "healthy": true, "enabled": true, "ephemeral": true,
            "clusterName": "DEFAULT", "serviceName": "g@@s", "metadata": {"zone": "a"},
            "instanceHeartBeatInterval": 5_000, "instanceHeartBeatTimeOut": 15_000,
            "ipDeleteTimeout": 30_000,
        }],
        "lastRefTime": list["lastRefTime"], "checksum": "", "allIPs": false, "allIps": false,
        "reachProtectionThreshold": false, "valid": true,
    });
    assert_eq!(list, expected);
}

#[test]
fn an_unknown_service_has_an_empty_list_that_echoes_the_clusters() {
    let registry = registry();
    let found = registry.service_info(&service(), "a,b", false);
    assert!(!found.is_known);
    let list = info(&registry, "a,b", false);
    assert_eq!((&list["hosts"], &list["clusters"]), (&json!([]), &json!("a,b")));
    assert_eq!((&list["name"], &list["groupName"]), (&json!("s"), &json!("g")));
}

#[test]
fn every_view_of_a_service_is_later_than_the_one_before() {
    let registry = registry();
    let last_ref = |clusters: &str| info(&registry, clusters, false)["lastRefTime"].as_u64();
    let mut before = last_ref("");
    for n in 0..100 {
        let metadata = [("n", n.to_string())];
        let metadata = metadata.each_ref().map(|(key, value)| (*key, value.as_str()));
        Wish { metadata: &metadata, ..Wish::default() }.register(&registry);
        for clusters in ["", "DEFAULT"] {
            let now = last_ref(clusters);
            assert!(now > before, "{now:?} after {before:?}");
            assert_eq!(last_ref(clusters), now, "the same view has the same time");
            before = now;
        }
    }
}

#[test]
fn a_list_is_rendered_once_for_each_change_and_shared() {
    let registry = registry();
    Wish::default().register(&registry);
    let first = registry.service_info(&service(), "", false);
    let second = registry.service_info(&service(), "", false);
    assert_eq!(first.json[0].as_ptr(), second.json[0].as_ptr());
    assert_eq!((first.revision, registry.views.rendered_count()), (second.revision, 1));
    Wish { ip: "10.0.0.2", ..Wish::default() }.register(&registry);
    assert!(registry.service_info(&service(), "", false).revision > first.revision);
}

#[test]
fn unhealthy_hosts_are_shown_disabled_ones_hidden_and_clusters_chosen() {
    let registry = registry();
    Wish::default().register(&registry);
    Wish { ip: "10.0.0.2", healthy: false, cluster: "c", ..Wish::default() }.register(&registry);
    Wish { ip: "10.0.0.3", enabled: false, ..Wish::default() }.register(&registry);
    let both = [("10.0.0.1", true), ("10.0.0.2", false)];
    for all in ["", " ", "c,DEFAULT"] {
        let list = info(&registry, all, false);
        assert_eq!((health(&list), &list["clusters"]), (both.to_vec(), &json!(all)));
    }
    assert_eq!(health(&info(&registry, "c", false)), both[1..]);
    assert_eq!(health(&info(&registry, "", true)), both[..1]);
    assert!(health(&info(&registry, "c", true)).is_empty());
}

#[test]
fn only_a_service_with_settings_is_protected_and_disabled_hosts_do_not_count() {
    let registry = registry();
    Wish { ip: "10.0.0.1", ..Wish::default() }.register(&registry);
    Wish { ip: "10.0.0.2", healthy: false, ..Wish::default() }.register(&registry);
    Wish { ip: "10.0.0.3", healthy: false, enabled: false, ..Wish::default() }.register(&registry);
    let shown = |healthy_only| shown(&info(&registry, "", healthy_only));
    assert_eq!(shown(false), (vec![true, false], false));
    protect(&registry, 0.5);
    assert_eq!(shown(false), (vec![true, true], true));
    assert_eq!(shown(true), (vec![true], false), "unhealthy ones are not brought back");
    protect(&registry, 0.4);
    assert_eq!(shown(false), (vec![true, false], false));
}

#[test]
fn a_threshold_of_zero_that_an_operator_has_written_protects_when_none_is_healthy() {
    let registry = registry();
    Wish { healthy: false, ..Wish::default() }.register(&registry);
    assert_eq!(shown(&info(&registry, "", false)), (vec![false], false));
    protect(&registry, 0.0);
    assert_eq!(shown(&info(&registry, "", false)), (vec![true], true));
    assert_eq!(shown(&info(&registry, "", true)), (vec![], false), "an empty list never is");
}

/// The health that is shown of each host, and whether they are protected.
fn shown(list: &Value) -> (Vec<bool>, bool) {
    let reached = list["reachProtectionThreshold"].as_bool().unwrap();
    (health(list).iter().map(|(_, healthy)| *healthy).collect(), reached)
}

#[test]
fn ids_are_those_of_the_client_the_simple_one_or_a_number_with_its_ending() {
    let id = |id: Option<&str>, metadata: &[(&str, &str)]| {
        let registry = registry();
        Wish { id, metadata, ..Wish::default() }.register(&registry);
        let host = &info(&registry, "", false)["hosts"][0];
        let text = |key: &str| host[key].as_str().map(str::to_owned);
        (text("instanceId").unwrap(), text("instanceIdGenerator"))
    };
    let simple = "10.0.0.1#8080#DEFAULT#g@@s".to_owned();
    assert_eq!(id(None, &[]), (simple.clone(), Some("simple".into())));
    assert_eq!(id(None, &[("k", "v")]), (simple, None));
    assert_eq!(id(Some("mine"), &[]), ("mine".into(), Some("simple".into())));
    let snowflake = [(META_ID_GENERATOR, "snowflake")];
    let (made, generator) = id(None, &snowflake);
    let number = made.strip_suffix("#DEFAULT#g@@s").unwrap();
    assert!(!number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()), "{made}");
    assert_eq!(generator.as_deref(), Some("snowflake"));
}
