//! The list of a service as clients of 2.x and 3.x read it, in answers and in pushes alike.
//!
//! It differs from the lists of 1.x: the name has no group, the hosts say more of themselves,
//! disabled ones count for nothing, and only a service that an operator has written settings of is
//! protected. Of two lists the client takes the one with the later `lastRefTime`, so that grows
//! with every view of a service, even within one millisecond.

use bytes::Bytes;
use naming_model::{DEFAULT_BEAT_INTERVAL_MS, META_ID_GENERATOR, ServiceKey};

use super::host::{Host, Hosts, are_protected, push_facts, push_id};
use super::instance::Instance;
use super::json::{push_bool, push_number, push_string};
use super::query::{Flavour, ViewQuery};
use super::service::ServiceSettings;
use super::{Registry, wall_ms};

/// What a host takes in a list besides its texts, with the longest port and a short weight.
const HOST_BYTES: usize = 330;
/// What a list takes besides its hosts and texts.
const LIST_BYTES: usize = 256;

/// A list, ready to be sent.
#[derive(Debug, Clone)]
pub(crate) struct ServiceInfo {
    /// Which state of the service it shows. 0 if there is none.
    #[cfg(test)]
    pub(super) revision: u64,
    /// Whether the service exists.
    #[cfg(test)]
    pub(super) is_known: bool,
    /// The JSON object in two parts. The first one is shared by all who ask alike.
    pub(crate) json: [Bytes; 2],
}

impl Registry {
    /// The list of a service as it is now. `clusters` is echoed as it is: instances of these,
    /// separated by commas, or of all if it is blank. Shares what is rendered; costs a rendering
    /// only after a change.
    pub(crate) fn service_info(
        &self,
        service: &ServiceKey,
        clusters: &str,
        healthy_only: bool,
    ) -> ServiceInfo {
        let cache_ms = self.switches.load().push_cache_ms;
        let query =
            ViewQuery { flavour: Flavour::Grpc, healthy_only, clusters, null_metadata: false };
        let ending = ending(cache_ms);
        let find = || self.store.find(service.as_str());
        // It may come while the time of the unknown is noted, and its first view not know of that:
        // so look twice.
        let found = find().ok_or_else(|| self.views.last_ref_of_unknown(wall_ms()));
        let datum = match found.or_else(|last_ref| find().ok_or(last_ref)) {
            Ok(datum) => datum,
            Err(last_ref) => {
                let nobody = Hosts { candidates: Vec::new() };
                let opening = render(&nobody, service, clusters, false, last_ref);
                return ServiceInfo {
                    #[cfg(test)]
                    revision: 0,
                    #[cfg(test)]
                    is_known: false,
                    json: [opening, ending],
                };
            }
        };
        self.views.read(&datum, &query, |view| ServiceInfo {
            #[cfg(test)]
            revision: view.revision,
            #[cfg(test)]
            is_known: view.is_known,
            json: [view.opening.clone(), ending],
        })
    }
}

/// What follows the opening.
fn ending(cache_ms: u64) -> Bytes {
    let mut out = String::with_capacity(8);
    push_number(&mut out, cache_ms);
    out.push('}');
    out.into()
}

/// Renders a list of these instances up to the value of `cacheMillis`.
pub(super) fn render_info(
    mut hosts: Hosts<'_>,
    service: &ServiceKey,
    settings: &ServiceSettings,
    query: &ViewQuery<'_>,
    protect_at_zero: bool,
    last_ref: u64,
) -> Bytes {
    hosts.candidates.retain(|host| host.instance.enabled && (host.healthy || !query.healthy_only));
    let healthy = hosts.candidates.iter().filter(|host| host.healthy).count();
    let (total, threshold) = (hosts.candidates.len(), settings.protect_threshold);
    let is_protected =
        settings.explicit && are_protected(healthy, total, threshold, protect_at_zero);
    render(&hosts, service, query.clusters, is_protected, last_ref)
}

fn render(
    hosts: &Hosts<'_>,
    service: &ServiceKey,
    clusters: &str,
    is_protected: bool,
    last_ref: u64,
) -> Bytes {
    let mut out = String::with_capacity(expected_bytes(hosts, service, clusters));
    out.push_str("{\"name\":");
    push_string(&mut out, service.service());
    out.push_str(",\"groupName\":");
    push_string(&mut out, service.group());
    out.push_str(",\"clusters\":");
    push_string(&mut out, clusters);
    out.push_str(",\"hosts\":[");
    for (at, host) in hosts.candidates.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        push_host(&mut out, host, service, host.healthy || is_protected);
    }
    out.push_str("],\"lastRefTime\":");
    push_number(&mut out, last_ref);
    out.push_str(",\"checksum\":\"\",\"allIPs\":false,\"allIps\":false");
    out.push_str(",\"reachProtectionThreshold\":");
    push_bool(&mut out, is_protected);
    out.push_str(",\"valid\":true,\"cacheMillis\":");
    // Kept until the service changes, and nobody counts what is reserved.
    out.shrink_to_fit();
    out.into()
}

fn expected_bytes(hosts: &Hosts<'_>, service: &ServiceKey, clusters: &str) -> usize {
    let each = HOST_BYTES + 2 * service.grouped().len();
    let of_host = |Host { key, instance, .. }: &Host<'_>| {
        each + 2 * (key.ip.len() + key.cluster.len()) + instance.metadata.as_json().len()
    };
    let texts = service.grouped().len() + clusters.len();
    LIST_BYTES + texts + hosts.candidates.iter().map(of_host).sum::<usize>()
}

fn push_host(out: &mut String, host: &Host<'_>, service: &ServiceKey, healthy: bool) {
    let instance = host.instance;
    out.push_str("{\"instanceId\":\"");
    match instance.held.as_ref().and_then(|held| held.id.as_deref()) {
        Some(id) => super::json::push_escaped(out, id),
        None => {
            push_id(out, host, service);
            push_id_ending(out, host, service);
        }
    }
    let declared = instance.held.as_ref().and_then(|held| held.weight);
    push_facts(out, host, healthy, declared.unwrap_or(instance.weight), service);
    push_derived(out, instance);
    out.push('}');
}

/// A number alone is the id of 1.x; that of 2.x goes on like the simple one.
fn push_id_ending(out: &mut String, host: &Host<'_>, service: &ServiceKey) {
    let Host { key, instance, .. } = host;
    let is_number = |id: &str| id.bytes().all(|byte| byte.is_ascii_digit());
    if instance.id.as_deref().is_some_and(is_number) && instance.wants_snowflake_id() {
        out.push('#');
        super::json::push_escaped(out, key.cluster);
        out.push('#');
        super::json::push_escaped(out, service.grouped());
    }
}

/// What follows from the metadata.
fn push_derived(out: &mut String, instance: &Instance) {
    let (unhealthy_ms, expire_ms) = instance.time_outs_ms();
    out.push_str(",\"instanceHeartBeatInterval\":");
    push_number(out, instance.beat_interval_ms().unwrap_or(DEFAULT_BEAT_INTERVAL_MS));
    out.push_str(",\"instanceHeartBeatTimeOut\":");
    push_number(out, unhealthy_ms);
    out.push_str(",\"ipDeleteTimeout\":");
    push_number(out, expire_ms);
    let generator = match instance.metadata.as_json() {
        "{}" => Some("simple".to_owned()),
        _ => instance.metadata.find(META_ID_GENERATOR),
    };
    if let Some(generator) = generator {
        out.push_str(",\"instanceIdGenerator\":");
        push_string(out, &generator);
    }
}

#[cfg(test)]
mod tests;
