//! Services and instances as the console lists them.

use distro_core::Reader;
use naming_model::{DEFAULT_BEAT_INTERVAL_MS, InstanceKey, META_ID_GENERATOR, ServiceKey};

use super::host::are_protected;
use super::json::{push_bool, push_display, push_double, push_number, push_string};
use super::{
    ClusterSettings, Content, GroupFilter, Host, ListedService, NamingDatum, Page, Registry,
    clusters, hosts, operator_values_json, push_id, settings,
};

/// Which services of a namespace the console asks for.
#[derive(Debug, Clone)]
pub(crate) struct CatalogQuery<'a> {
    pub(crate) namespace: &'a str,
    /// What the group must contain.
    pub(crate) group: NamePattern<'a>,
    /// What the name behind the group must contain.
    pub(crate) service: NamePattern<'a>,
    /// `ip` or `ip:port` of an instance it must have.
    pub(crate) instance: Option<&'a str>,
    /// Whether services without instances are left out.
    pub(crate) only_with_instances: bool,
}

/// A piece of a name, in which `*` (or `.*`) stands for anything. Everything else stands for
/// itself: Nacos takes a regular expression here, which lets a caller burn time on every service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NamePattern<'a> {
    /// What stands between the stars. None is empty, so each takes its part of a name, and a
    /// pattern of many stars costs no more than the name is long.
    parts: Vec<&'a str>,
}

impl<'a> NamePattern<'a> {
    /// Takes a pattern apart, once for all names.
    pub(crate) fn new(text: &'a str) -> Self {
        let mut parts: Vec<&str> = text.split('*').collect();
        let last = parts.pop();
        for part in &mut parts {
            *part = part.strip_suffix('.').unwrap_or(part);
        }
        parts.extend(last);
        parts.retain(|part| !part.is_empty());
        Self { parts }
    }

    /// Whether `name` contains it.
    pub(crate) fn is_in(&self, name: &str) -> bool {
        let mut rest = name;
        self.parts.iter().all(|part| {
            let behind = rest.find(part).and_then(|at| rest.get(at + part.len()..));
            behind.inspect(|behind| rest = behind).is_some()
        })
    }
}

/// What a list of services tells about one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) clusters: usize,
    pub(crate) instances: usize,
    pub(crate) healthy: usize,
    /// Whether the protect threshold is in effect.
    pub(crate) is_protected: bool,
}

impl Registry {
    /// The services on a page of those a query picks, and how many it picks. Instances are looked
    /// at only if the query is about them.
    pub(crate) fn catalog(
        &self,
        query: &CatalogQuery<'_>,
        page: Page,
    ) -> (Vec<ListedService>, usize) {
        let mut picked = self.index.of_namespace(query.namespace, GroupFilter::All);
        picked.retain(|(service, datum)| query.picks(service, datum));
        let count = picked.len();
        (page.of(picked.into_iter()).collect(), count)
    }

    /// Counts the instances of a service.
    pub(crate) fn summary(&self, datum: &NamingDatum) -> Summary {
        datum.read(|reader| {
            let settings = settings(&reader);
            let clusters = clusters(&reader, &settings, &ClusterSettings::default()).len();
            let (mut instances, mut healthy) = (0, 0);
            for host in hosts(&reader) {
                instances += 1;
                healthy += usize::from(host.healthy);
            }
            let (threshold, at_zero) = (settings.protect_threshold, self.settings.protect_at_zero);
            let is_protected = are_protected(healthy, instances, threshold, at_zero);
            Summary { clusters, instances, healthy, is_protected }
        })
    }

    /// One page of the instances of a cluster as a JSON array with all that is known about them,
    /// and how many there are. `None` if the service has no such cluster.
    pub(crate) fn instances_json(
        &self,
        service: &ServiceKey,
        datum: &NamingDatum,
        cluster: &str,
        page: Page,
    ) -> Option<(String, usize)> {
        datum.read(|reader| {
            if !has_cluster(&reader, cluster) {
                return None;
            }
            let in_cluster = || hosts(&reader).filter(|host| host.key.cluster == cluster);
            let mut out = String::from("[");
            for host in page.of(in_cluster()) {
                if out.len() > 1 {
                    out.push(',');
                }
                let id = host.record_key().text();
                let heard = reader.last_heard(&id);
                push_instance(&mut out, &host, service, heard.map_or(0, |tick| self.wall_ms(tick)));
                if let Some(values) = operator_values_json(&reader, &id) {
                    push_display(&mut out, format_args!(",\"operatorValues\":{values}"));
                }
                out.push('}');
            }
            out.push(']');
            Some((out, in_cluster().count()))
        })
    }
}

impl CatalogQuery<'_> {
    fn picks(&self, service: &ServiceKey, datum: &NamingDatum) -> bool {
        let (group, name) = split_grouped(service);
        if !self.group.is_in(group) || !self.service.is_in(name) {
            return false;
        }
        let is_wanted = |host: Host<'_>| self.instance.is_none_or(|text| is_at(&host.key, text));
        let looks_inside = self.only_with_instances || self.instance.is_some();
        !looks_inside || datum.read(|reader| hosts(&reader).any(is_wanted))
    }
}

/// Group, and all that stands behind it.
fn split_grouped(service: &ServiceKey) -> (&str, &str) {
    let grouped = service.grouped();
    grouped.split_once(naming_model::GROUP_SEPARATOR).unwrap_or(("", grouped))
}

/// Whether an instance has the address `ip` or `ip:port`.
fn is_at(key: &InstanceKey<'_>, text: &str) -> bool {
    let Some(rest) = text.strip_prefix(key.ip) else { return false };
    rest.is_empty() || rest.strip_prefix(':').is_some_and(|port| port.parse() == Ok(key.port))
}

/// Whether a service has a cluster, be it by its settings alone.
fn has_cluster(reader: &Reader<'_, Content>, name: &str) -> bool {
    let settings = settings(reader);
    let default = ClusterSettings::default();
    clusters(reader, &settings, &default).iter().any(|(cluster, _)| *cluster == name)
}

/// Everything Nacos tells about an instance, in its order. `heard_ms` is when the last beat came, or the
/// registration if that was later. The object is left open for more.
fn push_instance(out: &mut String, host: &Host<'_>, service: &ServiceKey, heard_ms: u64) {
    let Host { key, instance, healthy } = host;
    out.push_str("{\"instanceId\":\"");
    push_id(out, host, service);
    out.push_str("\",\"ip\":");
    push_string(out, key.ip);
    out.push_str(",\"port\":");
    push_number(out, key.port);
    out.push_str(",\"weight\":");
    push_double(out, instance.weight);
    out.push_str(",\"healthy\":");
    push_bool(out, *healthy);
    out.push_str(",\"enabled\":");
    push_bool(out, instance.enabled);
    out.push_str(",\"ephemeral\":");
    push_bool(out, !instance.is_persistent);
    out.push_str(",\"clusterName\":");
    push_string(out, key.cluster);
    out.push_str(",\"serviceName\":");
    push_string(out, service.grouped());
    out.push_str(",\"metadata\":");
    out.push_str(instance.metadata.as_json());
    out.push_str(",\"lastBeat\":");
    push_number(out, heard_ms);
    out.push_str(",\"marked\":false");
    if let Some(app) = &instance.app {
        out.push_str(",\"app\":");
        push_string(out, app);
    }
    let interval_ms = instance.beat_interval_ms().unwrap_or(DEFAULT_BEAT_INTERVAL_MS);
    push_display(out, format_args!(",\"instanceHeartBeatInterval\":{interval_ms}"));
    let generator = match instance.metadata.find(META_ID_GENERATOR) {
        None if instance.metadata.as_json() == "{}" => Some("simple".to_owned()),
        generator => generator,
    };
    if let Some(generator) = generator {
        out.push_str(",\"instanceIdGenerator\":");
        push_string(out, &generator);
    }
    let (unhealthy_ms, expire_ms) = instance.time_outs_ms();
    push_display(
        out,
        format_args!(
            ",\"instanceHeartBeatTimeOut\":{unhealthy_ms},\"ipDeleteTimeout\":{expire_ms}"
        ),
    );
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_pattern_is_looked_for_anywhere_in_the_name() {
        let is_in = |pattern, name| NamePattern::new(pattern).is_in(name);
        for pattern in ["", "order", "er-s", "o*s", "o.*s", ".*order.*", "*", "**", "o*er*ice"] {
            assert!(is_in(pattern, "order-service"), "{pattern}");
        }
        for pattern in ["Order", "s*order", "order.service", "o*z", "(order", "ordere*"] {
            assert!(!is_in(pattern, "order-service"), "{pattern}");
        }
        assert!(is_in("a.b", "x.a.b.c"));
    }

    #[test]
    fn stars_cost_nothing() {
        for stars in ["*".repeat(60_000), ".*".repeat(30_000)] {
            assert_eq!(NamePattern::new(&stars).parts, [""; 0]);
            assert_eq!(NamePattern::new(&format!("a{stars}b")).parts, ["a", "b"]);
        }
        assert_eq!(NamePattern::new("a.*.b*.").parts, ["a", ".b", "."]);
    }

    #[test]
    fn an_instance_is_named_by_address_with_or_without_port() {
        let is_at = |ip, port, text| is_at(&InstanceKey { ip, port, cluster: "c" }, text);
        assert!(is_at("10.0.0.1", 80, "10.0.0.1"));
        assert!(is_at("10.0.0.1", 80, "10.0.0.1:80"));
        assert!(is_at("fe80::1", 80, "fe80::1:80") && is_at("fe80::1", 80, "fe80::1"));
        for text in ["10.0.0", "10.0.0.1:8", "10.0.0.180", "10.0.0.1:", ":80", ""] {
            assert!(!is_at("10.0.0.1", 80, text), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_pattern_makes_it_panic(pattern in "[a.*é]{0,8}", name in "[a.é]{0,8}") {
            let _ = NamePattern::new(&pattern).is_in(&name);
        }

        #[test]
        fn what_was_cut_out_of_a_name_is_found_in_it(before in "[a-z]*", part in "[a-z]*", after in "[a-z]*") {
            let name = format!("{before}{part}{after}");
            prop_assert!(NamePattern::new(&part).is_in(&name));
        }
    }
}
