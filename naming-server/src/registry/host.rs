//! Instances on their way into a list: which ones, whether they are protected, and as JSON.

use bytes::Bytes;
use distro_core::{Health, Reader};
use naming_model::{InstanceKey, RecordKey, ServiceKey};

use super::Content;
use super::instance::Instance;
use super::json::{push_bool, push_double, push_escaped, push_number, push_string};
use super::query::{Flavour, ViewQuery};

/// What a host takes in a list besides its texts, with the longest port and a short weight.
const HOST_BYTES: usize = 190;
/// What a list takes besides its hosts and the names of the service.
const LIST_BYTES: usize = 64;

/// One instance on its way into an answer.
#[derive(Clone, Copy)]
pub(crate) struct Host<'a> {
    pub(crate) key: InstanceKey<'a>,
    pub(crate) instance: &'a Instance,
    /// Its true health.
    pub(crate) healthy: bool,
}

/// The instances that were asked for.
pub(super) struct Hosts<'a> {
    pub(super) candidates: Vec<Host<'a>>,
}

/// All visible instances of a datum in the order of their keys: persistent ones first.
pub(crate) fn hosts<'a>(reader: &Reader<'a, Content>) -> impl Iterator<Item = Host<'a>> {
    reader.visible().filter_map(|(key, record, content)| {
        let Content::Instance(instance) = &**content else { return None };
        let healthy = record.health() == Health::Healthy && !instance.is_declared_unhealthy();
        Some(Host { key: RecordKey::parse(key)?.instance, instance, healthy })
    })
}

/// Whether so few are healthy that all are reported healthy: at or below the threshold, the
/// disabled ones counted too. At threshold 0 this spares a service whose last healthy instance is
/// gone from showing nothing usable.
pub(crate) fn are_protected(
    healthy: usize,
    total: usize,
    threshold: f32,
    protect_at_zero: bool,
) -> bool {
    if total == 0 || threshold <= 0.0 && !protect_at_zero {
        return false;
    }
    healthy as f32 / total as f32 <= threshold
}

impl<'a> Host<'a> {
    /// The key of its record.
    pub(crate) fn record_key(&self) -> RecordKey<'a> {
        self.instance.record_key(&self.key)
    }
}

impl<'a> Hosts<'a> {
    /// The visible instances of these clusters, separated by commas; of all if there are none.
    pub(super) fn collect(reader: &Reader<'a, Content>, clusters: &str) -> Self {
        Self::among(hosts(reader), clusters)
    }

    /// Those of these instances that are of these clusters.
    pub(super) fn among(all: impl Iterator<Item = Host<'a>>, clusters: &str) -> Self {
        let mut wanted: Vec<&str> = clusters.split(',').filter(|name| !name.is_empty()).collect();
        // A request can name thousands, and a service can have as many instances.
        wanted.sort_unstable();
        let is_wanted =
            |host: &Host<'_>| wanted.is_empty() || wanted.binary_search(&host.key.cluster).is_ok();
        Self { candidates: all.filter(is_wanted).collect() }
    }

    /// Whether all are reported healthy: see [`are_protected`].
    pub(super) fn are_protected(&self, threshold: f32, protect_at_zero: bool) -> bool {
        let healthy = self.candidates.iter().filter(|host| host.healthy).count();
        // Who says of itself that it is unhealthy is believed, unless a threshold says otherwise.
        let declared = |host: &Host<'_>| host.instance.is_declared_unhealthy();
        let at_zero = protect_at_zero && !self.candidates.iter().any(declared);
        are_protected(healthy, self.candidates.len(), threshold, at_zero)
    }

    /// Writes the list, up to the value of `cacheMillis`.
    pub(super) fn render(
        &self,
        service: &ServiceKey,
        query: &ViewQuery<'_>,
        protected: bool,
    ) -> Bytes {
        let style = Style::new(service, query);
        let mut out = String::with_capacity(self.expected_bytes(service, &style));
        out.push_str("{\"hosts\":[");
        let shown = |as_healthy: bool| {
            let picked = move |host: &&Host<'_>| {
                host.instance.enabled && (host.healthy || protected) == as_healthy
            };
            self.candidates.iter().filter(picked)
        };
        if !query.healthy_only {
            shown(false).for_each(|host| push_host(&mut out, host, false, &style));
        }
        shown(true).for_each(|host| push_host(&mut out, host, true, &style));
        out.push_str("],");
        push_names(&mut out, service, query.flavour);
        // Kept until the service changes, and nobody counts what is reserved.
        out.shrink_to_fit();
        Bytes::from(out)
    }

    /// Bytes of the list if all are shown and nothing needs an escape, or a little more: a buffer
    /// that has to grow is copied, and for a moment there twice.
    fn expected_bytes(&self, service: &ServiceKey, style: &Style) -> usize {
        let each = HOST_BYTES + style.name.len() + service.grouped().len();
        let of_host = |Host { key, instance, .. }: &Host<'_>| {
            each + 2 * (key.ip.len() + key.cluster.len()) + instance.metadata.as_json().len()
        };
        LIST_BYTES + each + self.candidates.iter().map(of_host).sum::<usize>()
    }
}

/// Appends the names of a service as answers give them, up to the value of `cacheMillis`.
pub(super) fn push_names(out: &mut String, service: &ServiceKey, flavour: Flavour) {
    out.push_str("\"dom\":");
    push_string(out, flavour.name_of(service));
    out.push_str(",\"name\":");
    push_string(out, service.grouped());
    out.push_str(",\"cacheMillis\":");
}

/// What is alike for all hosts of a view.
struct Style {
    /// The name of the service as this view shows it, as JSON.
    name: String,
    /// The end of an id that follows from the key: the name of the service, escaped.
    id_ending: String,
    null_metadata: bool,
}

impl Style {
    fn new(service: &ServiceKey, query: &ViewQuery<'_>) -> Self {
        let (mut name, mut id_ending) = (String::new(), String::new());
        push_string(&mut name, query.flavour.name_of(service));
        push_escaped(&mut id_ending, service.grouped());
        Self { name, id_ending, null_metadata: query.null_metadata }
    }
}

fn push_host(out: &mut String, host: &Host<'_>, healthy: bool, style: &Style) {
    let Host { key, instance, .. } = host;
    out.push_str(if out.ends_with('[') { "{\"ip\":" } else { ",{\"ip\":" });
    push_string(out, key.ip);
    out.push_str(",\"port\":");
    push_number(out, key.port);
    let flag = if healthy {
        ",\"valid\":true,\"healthy\":true"
    } else {
        ",\"valid\":false,\"healthy\":false"
    };
    out.push_str(flag);
    out.push_str(",\"marked\":false,\"instanceId\":\"");
    push_id_ending_in(out, host, &style.id_ending);
    out.push_str("\",\"metadata\":");
    let is_null = style.null_metadata && instance.metadata.is_absent();
    out.push_str(if is_null { "null" } else { instance.metadata.as_json() });
    out.push_str(",\"enabled\":");
    push_bool(out, instance.enabled);
    out.push_str(",\"weight\":");
    push_double(out, instance.weight);
    out.push_str(",\"clusterName\":");
    push_string(out, key.cluster);
    out.push_str(",\"serviceName\":");
    out.push_str(&style.name);
    let ending =
        if instance.is_persistent { ",\"ephemeral\":false}" } else { ",\"ephemeral\":true}" };
    out.push_str(ending);
}

/// Appends what the objects of the catalog and of the later APIs have in common, in this order: what
/// follows the text of the id, from the end of that to the metadata.
pub(crate) fn push_facts(
    out: &mut String,
    host: &Host<'_>,
    healthy: bool,
    weight: f64,
    service: &ServiceKey,
) {
    let Host { key, instance, .. } = host;
    out.push_str("\",\"ip\":");
    push_string(out, key.ip);
    out.push_str(",\"port\":");
    push_number(out, key.port);
    out.push_str(",\"weight\":");
    push_double(out, weight);
    out.push_str(",\"healthy\":");
    push_bool(out, healthy);
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
}

/// Appends the id of an instance, without quotes.
pub(crate) fn push_id(out: &mut String, host: &Host<'_>, service: &ServiceKey) {
    let mut ending = String::new();
    push_escaped(&mut ending, service.grouped());
    push_id_ending_in(out, host, &ending);
}

fn push_id_ending_in(out: &mut String, host: &Host<'_>, ending: &str) {
    match &host.instance.id {
        Some(id) => push_escaped(out, id),
        None => {
            push_escaped(out, host.key.ip);
            out.push('#');
            push_number(out, host.key.port);
            out.push('#');
            push_escaped(out, host.key.cluster);
            out.push('#');
            out.push_str(ending);
        }
    }
}
