//! Lists of instances as clients see them, rendered once for each change and kept by revision.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use distro_core::{DATUM_KEY, Reader};
use naming_model::{RecordKey, ServiceKey};
use tokio::time::Instant;

use super::address_filter::AddressFilter;
use super::checksum::{Summand, service_checksum};
use super::host::{Host, Hosts, hosts};
use super::protection::Protected;
use super::query::{Flavour, ViewQuery};
use super::service::{ClusterSettings, ServiceSettings};
use super::service_info::render_info;
use super::{Content, NamingDatum, wall_ms};

mod endpoints;
mod kept;

pub(crate) use endpoints::{Endpoint, EndpointHost, Endpoints};
use kept::{Kept, KeptViews};

/// Views of one service kept at a time. Clients of a service mostly ask alike; who asks for ever
/// new sets of clusters is served, but not remembered.
const VIEWS_PER_SERVICE: usize = 16;
/// Longest text of clusters in bytes whose view is kept: as long as that of a subscriber.
const MAX_KEPT_CLUSTERS: usize = 1_024;
/// What a kept view takes besides its texts, roughly.
const VIEW_BYTES: usize = 256;

/// One rendered view.
#[derive(Debug)]
pub(crate) struct View {
    /// The revision of the datum it was rendered from.
    pub(crate) revision: u64,
    /// Whether the service exists.
    pub(crate) is_known: bool,
    /// Whether any instance was considered, shown or not.
    pub(crate) has_candidates: bool,
    /// The answer up to where answers differ: `{"hosts":[...],"dom":"...","name":"...",
    /// "cacheMillis":`. Shared by all answers, which are continued behind it.
    pub(crate) opening: Bytes,
    /// Checksum of the service, 32 hex digits. In place, as every answer reads it.
    checksum: [u8; 32],
    /// Metadata of the service as JSON; `None` for the empty object.
    metadata: Option<Box<str>>,
    /// Of a list that is shown in place of none: until when.
    shown_until: Option<Instant>,
    _charge: Charge,
}

/// Bytes counted for as long as the view they belong to lives.
#[derive(Debug)]
struct Charge {
    account: Arc<AtomicUsize>,
    bytes: usize,
}

impl Charge {
    fn new(account: &Arc<AtomicUsize>, bytes: usize) -> Self {
        account.fetch_add(bytes, Ordering::Relaxed);
        Self { account: Arc::clone(account), bytes }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.account.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// What is kept beside a datum: its rendered views, the state of the empty-service clean-up and
/// whether the service is in the index.
#[derive(Default)]
pub(crate) struct ServiceState {
    /// Read without a lock: lists are asked for on all threads. `None` if there are none.
    views: ArcSwapOption<KeptViews>,
    /// The endpoints, if anybody has asked for them: see [`Registry::endpoints`](super::Registry::endpoints).
    endpoints: ArcSwapOption<Endpoints>,
    /// Whether a view was used since the last sweep.
    used: AtomicBool,
    /// Whether the index of services has it.
    pub(super) listed: AtomicBool,
    /// The checksum that Java servers compare, with the revision that it belongs to, if any was
    /// asked for: see [`Registry::peer_checksum`](super::Registry::peer_checksum).
    pub(super) peer_checksum: ArcSwapOption<(u64, Option<Arc<str>>)>,
    /// The checksum of the service as such, likewise: see
    /// [`Registry::service_checksum`](super::Registry::service_checksum).
    pub(super) service_checksum: ArcSwapOption<(u64, Arc<str>)>,
    /// The `lastRefTime` of the latest view for clients that look at it.
    last_ref: AtomicU64,
    /// What the service shows in place of no instance.
    pub(super) protected: Protected,
    /// Which addresses it may have.
    pub(super) addresses: AddressFilter,
}

/// Renders views and keeps them within a number of bytes.
pub(crate) struct Views {
    bytes: Arc<AtomicUsize>,
    rendered: AtomicU64,
    /// The greatest `lastRefTime` that was said of an unknown service.
    last_ref_of_unknown: AtomicU64,
    max_bytes: usize,
    protect_at_zero: bool,
}

impl Views {
    /// `max_bytes` of rendered lists are kept; beyond that every list is rendered anew.
    /// `protect_at_zero`: see the configuration.
    pub(crate) fn new(max_bytes: usize, protect_at_zero: bool) -> Self {
        let (bytes, rendered, last_ref_of_unknown) = Default::default();
        Self { bytes, rendered, last_ref_of_unknown, max_bytes, protect_at_zero }
    }

    /// Bytes of rendered lists in memory now.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// How often a list was rendered since the start, as opposed to taken from memory.
    pub(crate) fn rendered_count(&self) -> u64 {
        self.rendered.load(Ordering::Relaxed)
    }

    /// Gives the view of a service as of its present revision to `read`. Shares what is kept;
    /// renders only if the service has changed since.
    pub(crate) fn read<R>(
        &self,
        datum: &NamingDatum,
        query: &ViewQuery<'_>,
        read: impl FnOnce(&View) -> R,
    ) -> R {
        let state = datum.attached();
        let revision = datum.revision();
        if !state.used.load(Ordering::Relaxed) {
            state.used.store(true, Ordering::Relaxed);
        }
        let views = state.views.load();
        match views.as_ref().and_then(|views| views.find(query)) {
            Some(kept) if kept.view.revision >= revision && kept.view.is_current() => {
                read(&kept.view)
            }
            _ => {
                drop(views);
                let view = Arc::new(self.render(datum, query));
                if query.clusters.len() <= MAX_KEPT_CLUSTERS {
                    self.keep(state, query, &view);
                }
                read(&view)
            }
        }
    }

    /// Drops the views that nobody has asked for since the last sweep.
    pub(crate) fn sweep(datum: &NamingDatum) {
        let state = datum.attached();
        if state.used.swap(false, Ordering::Relaxed) {
            return;
        }
        if state.views.load().is_some() {
            state.views.store(None);
        }
        if state.endpoints.load().is_some() {
            state.endpoints.store(None);
        }
    }

    fn keep(&self, state: &ServiceState, query: &ViewQuery<'_>, view: &Arc<View>) {
        state.views.rcu(|known| {
            let mut views = known.as_ref().map_or_else(Vec::new, |known| known.to_vec());
            match views.iter_mut().find(|kept| kept.is_for(query)) {
                // Another thread was faster with something newer.
                Some(kept) if kept.view.revision > view.revision => return known.clone(),
                Some(kept) => kept.view = Arc::clone(view),
                None if self.bytes() > self.max_bytes => return known.clone(),
                None => {
                    if views.len() >= VIEWS_PER_SERVICE {
                        views.remove(0);
                    }
                    views.push(Kept::new(query, view));
                }
            }
            KeptViews::from_vec(views)
        });
    }

    fn render(&self, datum: &NamingDatum, query: &ViewQuery<'_>) -> View {
        self.rendered.fetch_add(1, Ordering::Relaxed);
        let Some(service) = ServiceKey::from_tag(datum.tag()) else {
            unreachable!("every tag in the store was made from a service key");
        };
        if query.flavour == Flavour::Grpc {
            return self.render_info(datum, &service, query);
        }
        let last = datum.attached().protected.held();
        datum.read(|reader| {
            let held = last.as_ref().and_then(|last| last.hosts(&reader));
            let shown_until = last.as_ref().filter(|_| held.is_some()).map(|l| l.shown_until());
            let hosts = match held {
                Some(held) => Hosts::among(held.into_iter(), query.clusters),
                None => Hosts::collect(&reader, query.clusters),
            };
            let settings = settings(&reader);
            let protected = hosts.are_protected(settings.protect_threshold, self.protect_at_zero);
            let rendered = hosts.render(&service, query, protected);
            let checksum = match query.clusters {
                // Not collected a second time.
                "" => checksum_of(&reader, &service, &settings, hosts.candidates.iter().copied()),
                _ => checksum(&reader, &service, &settings),
            };
            let metadata = Some(settings.metadata.as_json()).filter(|json| *json != "{}");
            View {
                revision: reader.revision(),
                is_known: reader.is_open(),
                has_candidates: !hosts.candidates.is_empty(),
                _charge: Charge::new(
                    &self.bytes,
                    VIEW_BYTES
                        + rendered.len()
                        + metadata.map_or(0, str::len)
                        + query.clusters.len(),
                ),
                opening: rendered,
                checksum: hex_digits(&checksum),
                metadata: metadata.map(Box::from),
                shown_until,
            }
        })
    }
}

/// Lists for clients that take the one with the later `lastRefTime`.
impl Views {
    fn render_info(
        &self,
        datum: &NamingDatum,
        service: &ServiceKey,
        query: &ViewQuery<'_>,
    ) -> View {
        let last = datum.attached().protected.held();
        datum.read(|reader| {
            let held = last.as_ref().and_then(|last| last.hosts(&reader));
            let shown_until = last.as_ref().filter(|_| held.is_some()).map(|l| l.shown_until());
            // Under the lock: nothing changes meanwhile, so a later state gets a later time.
            let last_ref = self.next_last_ref(datum.attached(), wall_ms());
            let settings = settings(&reader);
            let clusters = if query.clusters.trim().is_empty() { "" } else { query.clusters };
            let hosts = match held {
                Some(held) => Hosts::among(held.into_iter(), clusters),
                None => Hosts::collect(&reader, clusters),
            };
            let opening =
                render_info(hosts, service, &settings, query, self.protect_at_zero, last_ref);
            View {
                revision: reader.revision(),
                is_known: reader.is_open(),
                has_candidates: true,
                _charge: Charge::new(
                    &self.bytes,
                    VIEW_BYTES + opening.len() + query.clusters.len(),
                ),
                opening,
                // These lists have none.
                checksum: [b'0'; 32],
                metadata: None,
                shown_until,
            }
        })
    }

    /// The wall clock, or more if that is not later than what was said before.
    fn next_last_ref(&self, state: &ServiceState, now_ms: u64) -> u64 {
        let unknown = self.last_ref_of_unknown.load(Ordering::Relaxed);
        let next = |last: u64| now_ms.max(last.max(unknown).saturating_add(1));
        let before = state.last_ref.update(Ordering::Relaxed, Ordering::Relaxed, next);
        next(before)
    }

    /// What is said of a service that nothing is kept of. Views of it from now on say more.
    pub(super) fn last_ref_of_unknown(&self, now_ms: u64) -> u64 {
        self.last_ref_of_unknown.fetch_max(now_ms, Ordering::Relaxed);
        now_ms
    }
}

fn hex_digits(text: &str) -> [u8; 32] {
    text.as_bytes().try_into().expect("a checksum is 16 bytes, written as two digits each")
}

/// The settings of a service, or the defaults if nobody has written any.
pub(crate) fn settings(reader: &Reader<'_, Content>) -> Arc<ServiceSettings> {
    match reader.find_visible(DATUM_KEY).map(|(_, content)| &**content) {
        Some(Content::Service(settings)) => Arc::clone(settings),
        _ => Arc::default(),
    }
}

/// The clusters of a service by name: those of its instances, past ones included, and those with
/// settings of their own.
pub(crate) fn clusters<'a>(
    reader: &Reader<'a, Content>,
    settings: &'a ServiceSettings,
    default: &'a ClusterSettings,
) -> Vec<(&'a str, &'a ClusterSettings)> {
    let of_instances =
        reader.keys_since_closing().filter_map(|key| Some(RecordKey::parse(key)?.instance.cluster));
    let mut names: Vec<&str> = Vec::new();
    for name in of_instances {
        // Mostly there is one cluster.
        if names.last() != Some(&name) {
            names.push(name);
        }
    }
    names.extend(settings.clusters.keys().map(String::as_str));
    names.sort_unstable();
    names.dedup();
    names.into_iter().map(|name| (name, settings.clusters.get(name).unwrap_or(default))).collect()
}

/// The checksum of a service as Java members compute it.
pub(crate) fn checksum<'a>(
    reader: &Reader<'a, Content>,
    service: &ServiceKey,
    settings: &ServiceSettings,
) -> String {
    checksum_of(reader, service, settings, hosts(reader))
}

fn checksum_of<'a>(
    reader: &Reader<'a, Content>,
    service: &ServiceKey,
    settings: &ServiceSettings,
    hosts: impl Iterator<Item = Host<'a>>,
) -> String {
    let summand = |host: Host<'a>| {
        let Host { key, instance, healthy } = host;
        Summand { key, weight: instance.weight, healthy }
    };
    let instances: Vec<_> = hosts.map(summand).collect();
    let default = ClusterSettings::default();
    let clusters = clusters(reader, settings, &default);
    service_checksum(service.grouped(), settings.protect_threshold, &clusters, &instances)
}

impl View {
    /// Whether it shows its revision of the service still: a list in place of none does so for a
    /// while only.
    fn is_current(&self) -> bool {
        self.shown_until.is_none_or(|until| Instant::now() < until)
    }

    /// Checksum of the service, 32 hex digits.
    pub(crate) fn checksum(&self) -> &str {
        std::str::from_utf8(&self.checksum).expect("hex digits are text")
    }

    /// Metadata of the service as JSON.
    pub(crate) fn metadata(&self) -> &str {
        self.metadata.as_deref().unwrap_or("{}")
    }
}

#[cfg(test)]
mod tests {
    use distro_core::{MemberId, StampClock};
    use distro_net::Clock;
    use naming_model::InstanceKey;

    use super::super::instance::Instance;
    use super::super::query::Flavour;
    use super::*;
    use crate::registry::{Events, Metadata, Registry, Watch};

    /// A registry that has the service of [`service`] with one instance in each of two clusters.
    fn registry() -> Registry {
        let clock = Clock::start();
        let events = Arc::new(Events::new(0));
        let watch = Arc::new(Watch::new(Arc::clone(&events)));
        let stamps = StampClock::new(MemberId(1), 1, clock.now());
        let settings = crate::Config::default().registry_settings(1);
        let registry = Registry::new(settings, events, watch, stamps, clock, Vec::new());
        for cluster in ["a", "b"] {
            let key = InstanceKey { ip: "10.0.0.1", port: 80, cluster };
            let instance = Instance::new(1.0, Metadata::default()).unwrap();
            registry
                .register(registry.clock.tick(), &service(), &key, instance, true, &String::new)
                .unwrap();
        }
        registry
    }

    fn service() -> ServiceKey {
        ServiceKey::parse("public", "g@@s").unwrap()
    }

    fn list(registry: &Registry, clusters: &str) -> String {
        let flavour = Flavour::Grouped;
        let query = ViewQuery { flavour, healthy_only: false, clusters, null_metadata: false };
        registry.read_view(&service(), &query, |view| {
            String::from_utf8(view.unwrap().opening.to_vec()).unwrap()
        })
    }

    #[test]
    fn clusters_are_found_among_any_number_of_names_in_any_order() {
        let registry = registry();
        let many: Vec<String> = (0..1_000).rev().map(|n| format!("z{n}")).collect();
        let many = many.join(",");
        for (clusters, hosts) in [
            ("", 2),
            (",", 2),
            ("b,a", 2),
            ("b", 1),
            ("b,b,", 1),
            (&format!("b,{many}"), 1),
            (&format!("{many},a,b"), 2),
            (&many, 0),
        ] {
            assert_eq!(list(&registry, clusters).matches("\"ip\"").count(), hosts, "{clusters}");
        }
    }

    #[test]
    fn a_list_is_rendered_once_for_each_change_and_query() {
        let registry = registry();
        let rendered = || registry.views.rendered_count();
        for _ in 0..3 {
            list(&registry, "");
        }
        assert_eq!(rendered(), 1);
        list(&registry, "a");
        assert_eq!(rendered(), 2);
        let key = InstanceKey { ip: "10.0.0.1", port: 80, cluster: "a" };
        let instance = Instance::new(2.0, Metadata::default()).unwrap();
        registry
            .register(registry.clock.tick(), &service(), &key, instance, true, &String::new)
            .unwrap();
        assert_eq!(rendered(), 2);
        for clusters in ["", "a", "", "a"] {
            list(&registry, clusters);
        }
        assert_eq!(rendered(), 4);
    }

    #[test]
    fn what_is_kept_of_a_query_is_counted_or_not_kept() {
        let registry = registry();
        list(&registry, "");
        let before = registry.views.bytes();
        for n in 0..VIEWS_PER_SERVICE {
            list(&registry, &format!("{n:MAX_KEPT_CLUSTERS$},"));
        }
        assert_eq!(registry.views.bytes(), before);
        list(&registry, &format!("{:MAX_KEPT_CLUSTERS$}", 1));
        assert!(registry.views.bytes() > before + MAX_KEPT_CLUSTERS);
    }
}
