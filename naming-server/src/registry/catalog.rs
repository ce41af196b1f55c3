//! Services and instances as the console lists them.

use std::sync::Arc;

use distro_core::Reader;
use naming_model::{
    DEFAULT_BEAT_INTERVAL_MS, GROUP_SEPARATOR, InstanceKey, META_ID_GENERATOR, ServiceKey,
};

use super::address_filter::Mask;
use super::host::{are_protected, push_facts};
use super::index::listed;
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
    /// at only if the query is about them, and names only if it is about names.
    ///
    /// # Errors
    /// How many services are on the page, if these are more than `most`.
    pub(crate) fn catalog(
        &self,
        query: &CatalogQuery<'_>,
        page: Page,
        most: usize,
    ) -> Result<(Vec<ListedService>, usize), usize> {
        let (mut picked, mut count) = (Vec::new(), 0);
        let masks = query.masks();
        if !query.is_about_names() && !query.is_about_instances() {
            let keep = |_: &str, _: &str, datum: &Arc<NamingDatum>| {
                if picked.len() < most {
                    picked.push(Arc::clone(datum));
                }
            };
            count = self.index.names(query.namespace, GroupFilter::All, page, keep);
        } else {
            let everything = query.is_about_instances();
            self.index.visit(query.namespace, |group, name, datum| {
                let may_have = |mask: &Mask| datum.attached().addresses.may_have(*mask);
                if query.picks_name(group, name) && masks.iter().all(|any| any.iter().any(may_have))
                {
                    if everything || page.has(count) && picked.len() < most {
                        picked.push(Arc::clone(datum));
                    }
                    count += 1;
                }
                true
            });
            if everything {
                picked.retain(|datum| query.picks_inside(datum));
                count = picked.len();
                picked = page.of(picked.into_iter()).take(most).collect();
            }
        }
        match page.count_of(count) {
            on_page if on_page > most => Err(on_page),
            _ => Ok((picked.iter().filter_map(listed).collect(), count)),
        }
    }

    /// The services of a page with all their instances, as a JSON array. `None` if it would be
    /// longer than `most` bytes.
    pub(crate) fn catalog_json(&self, services: &[ListedService], most: usize) -> Option<String> {
        let mut out = String::from("[");
        for (service, datum) in services {
            if out.len() > 1 {
                out.push(',');
            }
            datum.read(|reader| push_service(&mut out, service, &reader, most));
            if out.len() > most {
                return None;
            }
        }
        out.push(']');
        Some(out)
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
    /// and how many there are. `None` if the service has no such cluster. Ends soon after `most`
    /// bytes.
    pub(crate) fn instances_json(
        &self,
        service: &ServiceKey,
        datum: &NamingDatum,
        cluster: &str,
        page: Page,
        most: usize,
    ) -> Option<(String, usize)> {
        datum.read(|reader| {
            if !has_cluster(&reader, cluster) {
                return None;
            }
            let in_cluster = || hosts(&reader).filter(|host| host.key.cluster == cluster);
            let mut out = String::from("[");
            for host in page.of(in_cluster()) {
                if out.len() > most {
                    break;
                }
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
    /// Whether it picks services by their names.
    pub(crate) fn is_about_names(&self) -> bool {
        !self.group.parts.is_empty() || !self.service.parts.is_empty()
    }

    /// Whether it picks services by their instances.
    pub(crate) fn is_about_instances(&self) -> bool {
        self.only_with_instances || self.instance.is_some()
    }

    /// Of the instance that a service must have: what its filter must have one of. The text may be an
    /// address alone, or an address and a port.
    fn masks(&self) -> Option<[Mask; 2]> {
        let text = self.instance?;
        let ip = text.rsplit_once(':').map_or(text, |(ip, _)| ip);
        Some([Mask::of(text), Mask::of(ip)])
    }

    /// `group` ends with the separator.
    fn picks_name(&self, group: &str, name: &str) -> bool {
        let group = group.strip_suffix(GROUP_SEPARATOR).unwrap_or(group);
        self.group.is_in(group) && self.service.is_in(name)
    }

    fn picks_inside(&self, datum: &NamingDatum) -> bool {
        let is_wanted = |host: Host<'_>| self.instance.is_none_or(|text| is_at(&host.key, text));
        datum.read(|reader| hosts(&reader).any(is_wanted))
    }
}

/// A service with the instances of each of its clusters. Ends soon after `most` bytes.
fn push_service(out: &mut String, service: &ServiceKey, reader: &Reader<'_, Content>, most: usize) {
    out.push_str("{\"serviceName\":");
    push_string(out, service.service());
    out.push_str(",\"groupName\":");
    push_string(out, service.group());
    out.push_str(",\"clusterMap\":{");
    let (settings, default) = (settings(reader), ClusterSettings::default());
    let mut hosts: Vec<Host<'_>> = hosts(reader).collect();
    // Stable: within a cluster they stay in order.
    hosts.sort_by_key(|host| host.key.cluster);
    let mut hosts = hosts.into_iter().peekable();
    for (name, _) in clusters(reader, &settings, &default) {
        out.push_str(if out.ends_with('{') { "" } else { "," });
        push_string(out, name);
        out.push_str(":{\"hosts\":[");
        while let Some(host) = hosts.next_if(|host| host.key.cluster == name) {
            if out.len() <= most {
                push_short_instance(out, &host);
            }
        }
        out.push_str("]}");
    }
    out.push_str("},\"metadata\":");
    out.push_str(settings.metadata.as_json());
    out.push('}');
}

/// What the list of services with their instances tells of an instance.
fn push_short_instance(out: &mut String, host: &Host<'_>) {
    let Host { key, instance, healthy } = host;
    out.push_str(if out.ends_with('[') { "{\"valid\":" } else { ",{\"valid\":" });
    push_bool(out, *healthy);
    out.push_str(",\"metadata\":");
    out.push_str(instance.metadata.as_json());
    out.push_str(",\"port\":");
    push_number(out, key.port);
    out.push_str(",\"ip\":");
    push_string(out, key.ip);
    out.push_str(",\"weight\":");
    push_double(out, instance.weight);
    out.push_str(",\"enabled\":");
    push_bool(out, instance.enabled);
    out.push('}');
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
pub(super) fn push_instance(
    out: &mut String,
    host: &Host<'_>,
    service: &ServiceKey,
    heard_ms: u64,
) {
    let Host { instance, healthy, .. } = host;
    out.push_str("{\"instanceId\":\"");
    push_id(out, host, service);
    push_facts(out, host, *healthy, instance.weight, service);
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
    use distro_core::{MemberId, StampClock};
    use distro_net::Clock;
    use proptest::prelude::*;

    use super::*;
    use crate::registry::{Events, Instance, Metadata, Watch};

    /// A registry in which so many services have two instances each.
    fn registry(services: usize) -> Registry {
        let clock = Clock::start();
        let settings = crate::Config::default().registry_settings(1);
        let events = Arc::new(Events::new(10));
        let watch = Arc::new(Watch::new(Arc::clone(&events)));
        let stamps = StampClock::new(MemberId(1), 1, clock.now());
        let registry = Registry::new(settings, events, watch, stamps, clock, Vec::new());
        for number in 0..services {
            let service = ServiceKey::parse("public", &format!("g@@s{number:02}")).unwrap();
            for cluster in ["a", "b"] {
                let key = InstanceKey { ip: "10.0.0.1", port: 80, cluster };
                let instance = Instance::new(1.0, Metadata::default()).unwrap();
                registry
                    .register(registry.clock.tick(), &service, &key, instance, true, &String::new)
                    .unwrap();
            }
        }
        registry
    }

    fn query<'a>(service: &'a str, instance: Option<&'a str>) -> CatalogQuery<'a> {
        CatalogQuery {
            namespace: "public",
            group: NamePattern::new(""),
            service: NamePattern::new(service),
            instance,
            only_with_instances: false,
        }
    }

    #[test]
    fn a_page_that_is_too_long_is_no_page() {
        let registry = registry(30);
        // By nothing, by names, by instances.
        for query in [query("", None), query("s", None), query("", Some("10.0.0.1:80"))] {
            let page = |number, size, most| registry.catalog(&query, Page::new(number, size), most);
            assert_eq!(page(1, i64::MAX, 20).err(), Some(30));
            assert_eq!(page(2, 25, 20).unwrap().0.len(), 5);
            assert_eq!(page(1, 25, 20).err(), Some(25));
            let (services, count) = page(2, 20, 20).unwrap();
            assert_eq!((services.len(), count), (10, 30));
            assert!(
                services.iter().map(|(key, _)| key.service()).eq((20..30).map(|n| format!("s{n}")))
            );
            assert_eq!(page(1, 30, 30).unwrap().0.len(), 30);
        }
        let (services, count) = registry.catalog(&query("s1", None), Page::new(2, 4), 20).unwrap();
        assert!(services.iter().map(|(key, _)| key.service()).eq(["s14", "s15", "s16", "s17"]));
        assert_eq!(count, 10);
        let far = registry.catalog(&query("", Some("10.0.0.1:81")), Page::new(1, 9), 20).unwrap();
        assert_eq!((far.0.len(), far.1), (0, 0));
    }

    #[test]
    fn a_list_that_is_too_long_is_no_list() {
        let registry = registry(30);
        let (services, _) = registry.catalog(&query("", None), Page::new(1, 99), 99).unwrap();
        let whole = registry.catalog_json(&services, usize::MAX).unwrap();
        let parsed: serde_json::Value = serde_json::from_str(&whole).unwrap();
        let hosts = |number: usize, cluster: &str| {
            parsed[number]["clusterMap"][cluster]["hosts"].as_array().unwrap().len()
        };
        assert!((0..30).all(|number| hosts(number, "a") == 1 && hosts(number, "b") == 1));
        assert_eq!(registry.catalog_json(&services, whole.len()).unwrap(), whole);
        for most in [whole.len() - 2, whole.len() / 2, 10, 0] {
            assert!(registry.catalog_json(&services, most).is_none(), "{most}");
        }
    }

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
