//! What an operator looks for: instances by their address in all services, and the instances of one
//! service, picked by what they are.

use std::net::IpAddr;
use std::sync::Arc;

use distro_core::{Health, Reader};
use naming_model::{RecordKey, ServiceKey};

use super::address_filter::Mask;
use super::catalog::push_instance;
use super::json::{push_bool, push_display, push_string};
use super::{Content, Host, Metadata, NamingDatum, Page, Registry, hosts, operator_values_json};

/// An address, or how one begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AddressQuery {
    /// How the keys of records begin that are meant, but for the mark of persistent ones.
    prefixes: Vec<String>,
}

impl AddressQuery {
    /// `ip`, `ip:port`, or the beginning of an address that is none as a whole. IPv6 addresses are
    /// meant with brackets and without. `None` if the text is blank or no address can begin so.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.is_empty() || !RecordKey::is_address(text) || text.contains('#') {
            return None;
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
                match port.parse::<u16>() {
                    Ok(port) => (host, Some(port)),
                    Err(_) => (text, None),
                }
            }
            _ => (text, None),
        };
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let is_whole = port.is_some() || bare.parse::<IpAddr>().is_ok();
        let spellings = match bare.contains(':') && is_whole {
            true => vec![bare.to_owned(), format!("[{bare}]")],
            false => vec![host.to_owned()],
        };
        let key = |host: String| match port {
            Some(port) => format!("{host}#{port}#"),
            None if is_whole => format!("{host}#"),
            None => host,
        };
        Some(Self { prefixes: spellings.into_iter().map(key).collect() })
    }

    /// Whether this is the text of the key of a record that is meant.
    fn has(&self, key: &str) -> bool {
        let names = if RecordKey::is_text_of_persistent(key) { &key[1..] } else { key };
        self.prefixes.iter().any(|prefix| names.starts_with(&**prefix))
    }

    /// What the filter of a service must have one of, if it has an instance that is meant.
    fn masks(&self) -> Vec<Mask> {
        let mask = |prefix: &String| match prefix.split_once('#') {
            Some((ip, _)) => Mask::of(ip),
            None => Mask::of_beginning(prefix),
        };
        self.prefixes.iter().map(mask).collect()
    }

    /// How the texts of keys begin that are meant.
    fn key_prefixes(&self) -> Vec<String> {
        let marked = |prefix: &String| format!("{}{prefix}", naming_model::PERSISTENT_MARK);
        self.prefixes.iter().cloned().chain(self.prefixes.iter().map(marked)).collect()
    }
}

/// Which instances of a service are meant. What is not given does not matter.
#[derive(Debug, Clone, Default)]
pub(crate) struct InstanceQuery {
    pub(crate) cluster: Option<String>,
    pub(crate) address: Option<AddressQuery>,
    pub(crate) healthy: Option<bool>,
    pub(crate) enabled: Option<bool>,
    /// A key of the metadata, and its value if that is given.
    pub(crate) metadata: Option<(String, Option<String>)>,
}

impl InstanceQuery {
    fn picks(&self, host: &Host<'_>) -> bool {
        self.cluster.as_deref().is_none_or(|cluster| cluster == host.key.cluster)
            && self.healthy.is_none_or(|healthy| healthy == host.healthy)
            && self.enabled.is_none_or(|enabled| enabled == host.instance.enabled)
            && self.metadata.as_ref().is_none_or(|pair| has_pair(&host.instance.metadata, pair))
            && self.address.as_ref().is_none_or(|query| query.has(&host.record_key().text()))
    }
}

fn has_pair(metadata: &Metadata, (key, value): &(String, Option<String>)) -> bool {
    let found = metadata.find(key);
    found.is_some_and(|found| value.as_ref().is_none_or(|value| *value == found))
}

/// Instances that were found in all services.
#[derive(Debug, Default)]
pub(crate) struct FoundInstances {
    /// A JSON array.
    pub(crate) json: String,
    pub(crate) count: usize,
    /// Whether there are more than were asked for.
    pub(crate) has_more: bool,
}

impl Registry {
    /// Instances by their address, in the order of their services, at most `most`. A service that has
    /// none costs a glance at its [filter](super::address_filter) or, if that misleads, two look-ups.
    /// Only those of a namespace if one is given.
    pub(crate) fn find_address(
        &self,
        namespace: Option<&str>,
        query: &AddressQuery,
        most: usize,
    ) -> FoundInstances {
        let (prefixes, masks) = (query.key_prefixes(), query.masks());
        let mut found = FoundInstances { json: "[".to_owned(), ..FoundInstances::default() };
        let namespaces = match namespace {
            Some(namespace) => vec![namespace.to_owned()],
            None => self.index.namespaces(),
        };
        for namespace in namespaces {
            // The lock of the index is free before a datum is read.
            let mut data = Vec::new();
            self.index.visit(&namespace, |_, _, datum| {
                let addresses = &datum.attached().addresses;
                if masks.iter().any(|mask| addresses.may_have(*mask)) {
                    data.push(Arc::clone(datum));
                }
                true
            });
            for datum in data {
                datum.read(|reader| {
                    let before = found.count;
                    push_found(&mut found, &datum, &reader, &prefixes, most);
                    let addresses = &datum.attached().addresses;
                    if found.count == before && !found.has_more && addresses.is_dense() {
                        addresses.renew(hosts(&reader).map(|host| host.key.ip));
                    }
                });
                if found.has_more {
                    found.json.push(']');
                    return found;
                }
            }
        }
        found.json.push(']');
        found
    }

    /// One page of the instances of a service that are meant, as a JSON array with all that is known
    /// about them, and how many are meant. `holder` tells the client that holds what has a mark.
    /// Ends soon after `longest` bytes.
    pub(crate) fn picked_instances(
        &self,
        service: &ServiceKey,
        datum: &NamingDatum,
        query: &InstanceQuery,
        page: Page,
        holder: &dyn Fn(u64) -> Option<String>,
        longest: usize,
    ) -> (String, usize) {
        datum.read(|reader| {
            let (mut out, mut count) = (String::from("["), 0);
            for host in hosts(&reader).filter(|host| query.picks(host)) {
                let is_shown = page.has(count) && out.len() <= longest;
                count += 1;
                if !is_shown {
                    continue;
                }
                if out.len() > 1 {
                    out.push(',');
                }
                let id = host.record_key().text();
                let heard = reader.last_heard(&id).map_or(0, |tick| self.wall_ms(tick));
                push_instance(&mut out, &host, service, heard);
                if let Some(values) = operator_values_json(&reader, &id) {
                    push_display(&mut out, format_args!(",\"operatorValues\":{values}"));
                }
                if let Some(held) = &host.instance.held {
                    out.push_str(",\"held\":true,\"clientId\":");
                    match holder(held.by) {
                        Some(client) => push_string(&mut out, &client),
                        // It is connected to another member.
                        None => out.push_str("null"),
                    }
                }
                out.push('}');
            }
            out.push(']');
            (out, count)
        })
    }
}

fn push_found(
    found: &mut FoundInstances,
    datum: &NamingDatum,
    reader: &Reader<'_, Content>,
    prefixes: &[String],
    most: usize,
) {
    for prefix in prefixes {
        for (key, record, content) in reader.visible_starting_with(prefix) {
            let (Content::Instance(instance), Some(key)) = (&**content, RecordKey::parse(key))
            else {
                continue;
            };
            let Some(service) = ServiceKey::from_tag(datum.tag()) else { return };
            if found.count == most {
                found.has_more = true;
                return;
            }
            found.count += 1;
            let healthy = record.health() == Health::Healthy && !instance.is_declared_unhealthy();
            let out = &mut found.json;
            out.push_str(if out.len() > 1 { ",{\"namespaceId\":" } else { "{\"namespaceId\":" });
            push_string(out, service.namespace());
            out.push_str(",\"groupName\":");
            push_string(out, service.group());
            out.push_str(",\"serviceName\":");
            push_string(out, service.service());
            out.push_str(",\"ip\":");
            push_string(out, key.instance.ip);
            push_display(out, format_args!(",\"port\":{},\"clusterName\":", key.instance.port));
            push_string(out, key.instance.cluster);
            push_display(out, format_args!(",\"weight\":{},\"healthy\":", instance.weight));
            push_bool(out, healthy);
            out.push_str(",\"enabled\":");
            push_bool(out, instance.enabled);
            out.push_str(",\"ephemeral\":");
            push_bool(out, !key.is_persistent);
            out.push('}');
        }
    }
}

#[cfg(test)]
mod tests {
    use distro_core::{MemberId, StampClock};
    use distro_net::Clock;
    use naming_model::InstanceKey;

    use super::*;
    use crate::registry::{CatalogQuery, Events, Instance, NamePattern, Watch};

    /// A registry of one crowded service and some that have one instance each.
    fn registry() -> Registry {
        let clock = Clock::start();
        let settings = crate::Config::default().registry_settings(1);
        let events = Arc::new(Events::new(10));
        let watch = Arc::new(Watch::new(Arc::clone(&events)));
        let stamps = StampClock::new(MemberId(1), 1, clock.now());
        let registry = Registry::new(settings, events, watch, stamps, clock, Vec::new());
        let register = |service: &str, ip: &str| {
            let service = ServiceKey::parse("public", service).unwrap();
            let key = InstanceKey { ip, port: 80, cluster: "DEFAULT" };
            let instance = Instance::new(1.0, Metadata::default()).unwrap();
            let now = registry.clock.tick();
            registry.register(now, &service, &key, instance, true, &String::new).unwrap();
        };
        (0..200).for_each(|n| register("g@@crowded", &format!("10.{n}.0.{n}")));
        (0..20).for_each(|n| register(&format!("g@@s{n}"), &format!("172.16.{n}.1")));
        register("g@@six", "2001:db8::1");
        registry
    }

    #[test]
    fn an_address_is_found_wherever_it_is() {
        let registry = registry();
        let count = |text: &str| {
            registry.find_address(None, &AddressQuery::parse(text).unwrap(), 1_000).count
        };
        for (text, found) in [
            ("10.7.0.7", 1),
            ("10.7.0.7:80", 1),
            ("10.7.0.7:81", 0),
            ("10.7.0.8", 0),
            ("10.7.", 1),
            ("10.7.0.", 1),
            ("10.7.0.7", 1),
            ("10.", 200),
            ("1", 220),
            ("10.1", 111),
            ("172.16.", 20),
            ("172.16.3", 1),
            ("172.16.3.", 1),
            ("172.16.3.1", 1),
            ("172.17.", 0),
            ("2001:db8::1", 1),
            ("[2001:db8::1]:80", 1),
            ("2001:db8:", 1),
            ("2001:db9:", 0),
        ] {
            // A search that finds nothing may make filters anew: it changes no answer.
            assert_eq!((count(text), count(text)), (found, found), "{text}");
        }
        let page = |instance| {
            let query = CatalogQuery {
                namespace: "public",
                group: NamePattern::new(""),
                service: NamePattern::new(""),
                instance: Some(instance),
                only_with_instances: false,
            };
            registry.catalog(&query, Page::new(1, 10), 10).unwrap().1
        };
        for (text, found) in
            [("10.7.0.7", 1), ("172.16.3.1:80", 1), ("172.16.3.1:81", 0), ("2001:db8::1:80", 1)]
        {
            assert_eq!(page(text), found, "{text}");
        }
    }

    fn prefixes(text: &str) -> Vec<String> {
        AddressQuery::parse(text).map(|query| query.prefixes).unwrap_or_default()
    }

    #[test]
    fn whole_addresses_mean_themselves_and_others_what_begins_so() {
        assert_eq!(prefixes("10.0.0.1"), ["10.0.0.1#"]);
        assert_eq!(prefixes(" 10.0.0.1:80 "), ["10.0.0.1#80#"]);
        assert_eq!(prefixes("10.0."), ["10.0."]);
        assert_eq!(prefixes("host-a"), ["host-a"]);
        assert_eq!(prefixes("host-a:80"), ["host-a#80#"]);
        assert_eq!(prefixes("host-a:x"), ["host-a:x"]);
        assert_eq!(prefixes("fe80::1"), ["fe80::1#", "[fe80::1]#"]);
        assert_eq!(prefixes("[fe80::1]:80"), ["fe80::1#80#", "[fe80::1]#80#"]);
        assert_eq!(prefixes("fe80:"), ["fe80:"]);
        for nothing in ["", "  ", "!10.0.0.1", "=x", "a#b"] {
            assert_eq!(AddressQuery::parse(nothing), None, "{nothing}");
        }
    }
}
