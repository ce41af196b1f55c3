//! Which services exist, by namespace and name, so that a poll of the names reads no datum.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use distro_core::Slot;
use naming_model::{GROUP_SEPARATOR, ServiceKey};
use parking_lot::RwLock;

use super::json::{push_escaped, push_number};
use super::{MetadataFilter, NamingDatum, Page};

/// A service that exists.
pub(crate) type ListedService = (ServiceKey, Arc<NamingDatum>);

/// What stands behind the group in a grouped name, to the datum.
type Services = BTreeMap<Box<str>, Arc<NamingDatum>>;
/// Group with its separator, to the services of the group. No such key begins another, so walking
/// group by group is the order of the grouped names.
type Groups = BTreeMap<Box<str>, Services>;

/// The names of all services, in order. About 150 bytes each.
///
/// Its lock may be taken while the lock of a datum is held, never the other way round.
#[derive(Default)]
pub(crate) struct ServiceIndex {
    namespaces: RwLock<BTreeMap<Box<str>, Groups>>,
    count: AtomicUsize,
    of_slots: SlotCounts,
}

/// How many services each slot has.
struct SlotCounts(Box<[AtomicUsize]>);

impl Default for SlotCounts {
    fn default() -> Self {
        Self(Slot::all().map(|_| AtomicUsize::new(0)).collect())
    }
}

/// Which names of a namespace are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GroupFilter<'a> {
    /// All; names are given with their group.
    All,
    /// Those of one group; names are given without it.
    One(&'a str),
}

impl ServiceIndex {
    /// Takes over whether the service of a datum exists. Called after every change of the datum:
    /// the last call sees the last state, however the calls overlap.
    pub(super) fn follow(&self, datum: &Arc<NamingDatum>) {
        datum.read(|reader| {
            // What is read here stays true until the datum's lock is released.
            let is_open = reader.is_open();
            let listed = &datum.attached().listed;
            if listed.load(Ordering::Acquire) == is_open {
                return;
            }
            if is_open {
                self.insert(datum);
            } else {
                self.remove(datum);
            }
            listed.store(is_open, Ordering::Release);
        });
    }

    /// Number of services in all namespaces.
    pub(crate) fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Number of services in a slot.
    pub(crate) fn of_slot(&self, slot: Slot) -> usize {
        self.of_slots.0[slot.index()].load(Ordering::Relaxed)
    }

    /// All services in the order of namespace and name.
    pub(crate) fn all(&self) -> Vec<ListedService> {
        let namespaces = self.namespaces.read();
        let groups = namespaces.values().flat_map(BTreeMap::values);
        groups.flat_map(BTreeMap::values).filter_map(listed).collect()
    }

    /// Names of the namespaces that have a service.
    pub(crate) fn namespaces(&self) -> Vec<String> {
        self.namespaces.read().keys().map(|name| name.clone().into_string()).collect()
    }

    /// Whether a namespace has a service, or a group of it has.
    pub(crate) fn has_any(&self, namespace: &str, group: Option<&str>) -> bool {
        let namespaces = self.namespaces.read();
        let Some(groups) = namespaces.get(namespace) else { return false };
        group.is_none_or(|group| groups.contains_key(&*format!("{group}{GROUP_SEPARATOR}")))
    }

    /// Services of a namespace in the order of their grouped names.
    pub(crate) fn of_namespace(
        &self,
        namespace: &str,
        filter: GroupFilter<'_>,
    ) -> Vec<ListedService> {
        let namespaces = self.namespaces.read();
        let Some(groups) = namespaces.get(namespace) else { return Vec::new() };
        match filter {
            GroupFilter::All => {
                groups.values().flat_map(BTreeMap::values).filter_map(listed).collect()
            }
            GroupFilter::One(group) => {
                let (key, rest) = split_group(group);
                let services = groups.get(&*key);
                services
                    .into_iter()
                    .flat_map(|services| starting_with(services, &rest))
                    .filter_map(|(_, datum)| listed(datum))
                    .collect()
            }
        }
    }

    /// Gives the names on one page to `take`, in order and in two parts that belong together, with
    /// the datum, and returns how many there are on all pages. Costs nothing for the services of
    /// other groups. `take` must not read the datum: see [`ServiceIndex`].
    pub(crate) fn names(
        &self,
        namespace: &str,
        filter: GroupFilter<'_>,
        page: Page,
        mut take: impl FnMut(&str, &str, &Arc<NamingDatum>),
    ) -> usize {
        let namespaces = self.namespaces.read();
        let Some(groups) = namespaces.get(namespace) else { return 0 };
        match filter {
            GroupFilter::All => {
                let count = groups.values().map(BTreeMap::len).sum();
                page.of(names_of(groups)).for_each(|(group, rest, datum)| take(group, rest, datum));
                count
            }
            GroupFilter::One(group) => {
                let (key, prefix) = split_group(group);
                let Some(services) = groups.get(&*key) else { return 0 };
                let names = starting_with(services, &prefix)
                    .map(|(rest, datum)| (&rest[prefix.len()..], datum));
                page.of(names).for_each(|(name, datum)| take("", name, datum));
                if prefix.is_empty() {
                    services.len()
                } else {
                    starting_with(services, &prefix).count()
                }
            }
        }
    }

    /// Gives the group (with its separator), the rest of the name and the datum of each service of a
    /// namespace to `take`, in order, as long as that says true. Whether there is such a namespace.
    /// `take` must not read the datum: see [`ServiceIndex`].
    pub(crate) fn visit(
        &self,
        namespace: &str,
        mut take: impl FnMut(&str, &str, &Arc<NamingDatum>) -> bool,
    ) -> bool {
        let namespaces = self.namespaces.read();
        let Some(groups) = namespaces.get(namespace) else { return false };
        let _ = names_of(groups).all(|(group, rest, datum)| take(group, rest, datum));
        true
    }

    fn insert(&self, datum: &Arc<NamingDatum>) {
        let Some(service) = ServiceKey::from_tag(datum.tag()) else { return };
        let (group, rest) = split_name(&service);
        let mut namespaces = self.namespaces.write();
        let groups = namespaces.entry(service.namespace().into()).or_default();
        let services = groups.entry(group.into()).or_default();
        if services.insert(rest.into(), Arc::clone(datum)).is_none() {
            self.count.fetch_add(1, Ordering::Relaxed);
            self.of_slots.0[Slot::of(datum.tag()).index()].fetch_add(1, Ordering::Relaxed);
        }
    }

    fn remove(&self, datum: &Arc<NamingDatum>) {
        let Some(service) = ServiceKey::from_tag(datum.tag()) else { return };
        let (group, rest) = split_name(&service);
        let mut namespaces = self.namespaces.write();
        let Some(groups) = namespaces.get_mut(service.namespace()) else { return };
        let Some(services) = groups.get_mut(group) else { return };
        // A datum that was collected and made again may have taken the place already.
        if !services.get(rest).is_some_and(|held| Arc::ptr_eq(held, datum)) {
            return;
        }
        services.remove(rest);
        self.count.fetch_sub(1, Ordering::Relaxed);
        self.of_slots.0[Slot::of(datum.tag()).index()].fetch_sub(1, Ordering::Relaxed);
        if services.is_empty() {
            groups.remove(group);
        }
        if groups.is_empty() {
            namespaces.remove(service.namespace());
        }
    }
}

fn names_of(groups: &Groups) -> impl Iterator<Item = (&str, &str, &Arc<NamingDatum>)> {
    groups.iter().flat_map(|(group, services)| {
        services.iter().map(move |(rest, datum)| (&**group, &**rest, datum))
    })
}

/// One page of names as the JSON of the service list: `{"doms":["a","b"],"count":2}`. Instances and
/// settings are looked at only if there is a filter. `None` if it would be longer than `most` bytes.
pub(crate) fn names_json(
    index: &ServiceIndex,
    namespace: &str,
    group: GroupFilter<'_>,
    page: Page,
    filter: Option<&MetadataFilter>,
    most: usize,
) -> Option<String> {
    let mut out = String::from("{\"doms\":[");
    let mut push = |group: &str, rest: &str| {
        // One name too many is enough to see that it is too long.
        if out.len() <= most {
            push_name(&mut out, group, rest);
        }
    };
    let count = match filter {
        None => index.names(namespace, group, page, |group, rest, _| push(group, rest)),
        Some(filter) => {
            let mut passing = index.of_namespace(namespace, group);
            passing.retain(|(_, datum)| filter.passes(datum));
            let hidden = match group {
                GroupFilter::All => 0,
                GroupFilter::One(group) => group.len() + GROUP_SEPARATOR.len(),
            };
            for (service, _) in page.of(passing.iter()) {
                push("", service.grouped().get(hidden..).unwrap_or_default());
            }
            passing.len()
        }
    };
    out.push_str("],\"count\":");
    push_number(&mut out, count);
    out.push('}');
    (out.len() <= most).then_some(out)
}

fn push_name(out: &mut String, group: &str, rest: &str) {
    out.push_str(if out.ends_with('[') { "\"" } else { ",\"" });
    push_escaped(out, group);
    push_escaped(out, rest);
    out.push('"');
}

pub(super) fn listed(datum: &Arc<NamingDatum>) -> Option<ListedService> {
    Some((ServiceKey::from_tag(datum.tag())?, Arc::clone(datum)))
}

/// Group with separator, and the rest of a grouped name.
fn split_name(service: &ServiceKey) -> (&str, &str) {
    service.grouped().split_at(service.group().len() + GROUP_SEPARATOR.len())
}

/// The key of the group that a filter means, and what the rest of the names must begin with:
/// Nacos asks whether a grouped name begins with the filter and a separator, and the filter may
/// hold separators itself.
fn split_group(group: &str) -> (String, String) {
    let mut key = format!("{group}{GROUP_SEPARATOR}");
    let at = key.find(GROUP_SEPARATOR).map_or(key.len(), |at| at + GROUP_SEPARATOR.len());
    let rest = key.split_off(at);
    (key, rest)
}

fn starting_with<'a>(
    services: &'a Services,
    prefix: &'a str,
) -> impl Iterator<Item = (&'a str, &'a Arc<NamingDatum>)> {
    let from = (Bound::Included(prefix), Bound::Unbounded);
    let names = services.range::<str, _>(from).map(|(rest, datum)| (&**rest, datum));
    names.take_while(move |(rest, _)| rest.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use distro_core::{MemberId, StampClock};
    use distro_net::Clock;

    use super::*;
    use crate::registry::{Events, Registry, RegistryError, ServiceSettings, Watch};

    /// The index of a registry that has these services in namespace `n`.
    fn registry(names: &[&str]) -> Registry {
        let clock = Clock::start();
        let settings = crate::Config::default().registry_settings(1);
        let events = Arc::new(Events::new(10));
        let watch = Arc::new(Watch::new(Arc::clone(&events)));
        let stamps = StampClock::new(MemberId(1), 1, clock.now());
        let registry = Registry::new(settings, events, watch, stamps, clock, Vec::new());
        for name in names {
            registry
                .change_settings(registry.clock.tick(), &key(name), |_| {
                    Ok(ServiceSettings::default())
                })
                .unwrap();
        }
        registry
    }

    fn key(name: &str) -> ServiceKey {
        ServiceKey::parse("n", name).unwrap()
    }

    fn names(index: &ServiceIndex, filter: GroupFilter<'_>, page: Page) -> (Vec<String>, usize) {
        let mut names = Vec::new();
        let count =
            index.names("n", filter, page, |group, rest, _| names.push(format!("{group}{rest}")));
        (names, count)
    }

    #[test]
    fn the_order_is_that_of_the_grouped_names() {
        let mut sorted = ["g1@@b", "g12@@a", "g@@z", "G@@a", "a@@@s", "a@@s", "a@@b@@c", "a-@@x"];
        let index = registry(&sorted).index;
        sorted.sort_unstable();
        let all = Page::new(1, i64::MAX);
        assert_eq!(names(&index, GroupFilter::All, all).0, sorted);
        let keys = index.of_namespace("n", GroupFilter::All);
        assert!(keys.iter().map(|(key, _)| key.grouped()).eq(sorted));
        assert_eq!((index.len(), index.namespaces()), (8, vec!["n".to_owned()]));
    }

    #[test]
    fn a_group_is_a_prefix_of_the_grouped_name() {
        let index = registry(&["a@@@s", "a@@s", "a@@b@@c", "a@@b@@d", "a-@@x"]).index;
        let of = |group| names(&index, GroupFilter::One(group), Page::new(1, 2));
        assert_eq!(of("a"), (vec!["@s".to_owned(), "b@@c".to_owned()], 4));
        assert_eq!(of("a@"), (vec!["s".to_owned()], 1));
        assert_eq!(of("a@@b"), (vec!["c".to_owned(), "d".to_owned()], 2));
        assert_eq!(of("b"), (vec![], 0));
        assert_eq!(index.of_namespace("n", GroupFilter::One("a@@b")).len(), 2);
        assert_eq!(index.of_namespace("other", GroupFilter::All).len(), 0);
    }

    #[test]
    fn a_page_of_names_that_is_too_long_is_no_page() {
        let index = registry(&["a@@s1", "a@@s2", "b@@s3"]).index;
        let list = |group, most| names_json(&index, "n", group, Page::new(1, 9), None, most);
        let whole = r#"{"doms":["a@@s1","a@@s2","b@@s3"],"count":3}"#;
        assert_eq!(list(GroupFilter::All, whole.len()).unwrap(), whole);
        assert!((0..whole.len()).all(|most| list(GroupFilter::All, most).is_none()));
        let of_group = r#"{"doms":["s1","s2"],"count":2}"#;
        assert_eq!(list(GroupFilter::One("a"), of_group.len()).unwrap(), of_group);
    }

    #[test]
    fn services_come_and_go() {
        let registry = registry(&["a@@s", "b@@s"]);
        let actor = || String::new();
        assert!(registry.delete_service(registry.clock.tick(), &key("a@@s"), &actor));
        assert!(!registry.delete_service(registry.clock.tick(), &key("a@@s"), &actor));
        assert_eq!((registry.index.len(), registry.index.namespaces().len()), (1, 1));
        assert!(registry.delete_service(registry.clock.tick(), &key("b@@s"), &actor));
        assert_eq!((registry.index.len(), registry.index.namespaces().len()), (0, 0));
        registry
            .change_settings(
                registry.clock.tick(),
                &key("a@@s"),
                |_| Ok(ServiceSettings::default()),
            )
            .unwrap();
        assert!(registry.services().iter().map(|(key, _)| key.grouped()).eq(["a@@s"]));
    }

    #[test]
    fn a_refused_service_is_not_listed() {
        let registry = registry(&[]);
        let refuse = |_: Option<&ServiceSettings>| Err(RegistryError::invalid("no"));
        assert!(registry.change_settings(registry.clock.tick(), &key("a@@s"), refuse).is_err());
        assert_eq!(registry.index.len(), 0);
    }

    #[test]
    fn writers_at_the_same_time_leave_the_index_true() {
        let registry = registry(&[]);
        let actor = || String::new();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..500 {
                        let create = |_: Option<&ServiceSettings>| Ok(ServiceSettings::default());
                        registry
                            .change_settings(registry.clock.tick(), &key("a@@s"), create)
                            .unwrap();
                        registry.delete_service(registry.clock.tick(), &key("a@@s"), &actor);
                    }
                });
            }
        });
        let exists = registry.find(&key("a@@s")).is_some();
        assert_eq!(registry.index.len(), usize::from(exists));
        assert_eq!(registry.services().len(), usize::from(exists));
    }

    /// Run with `--release -- --ignored --nocapture` for the figures.
    #[test]
    #[ignore = "a measurement"]
    fn a_poll_of_many_names_is_quick() {
        const SERVICES: usize = 100_000;
        let registry = registry(&[]);
        for number in 0..SERVICES {
            let key = key(&format!("DEFAULT_GROUP@@com.example.orders.service-{number}"));
            registry
                .change_settings(registry.clock.tick(), &key, |_| Ok(ServiceSettings::default()))
                .unwrap();
        }
        let filter =
            MetadataFilter::parse(r#"{"type":"label","expression":"INSTANCE.metadata.zone='a'"}"#);
        let filter = filter.unwrap().unwrap();
        let group = GroupFilter::One("DEFAULT_GROUP");
        let measure = |what: &str, work: &dyn Fn() -> usize| {
            let start = std::time::Instant::now();
            let sizes: usize = (0..20).map(|_| work()).sum();
            let each = start.elapsed() / 20;
            eprintln!("{what}: {each:?}, {} bytes or items", sizes / 20);
            each
        };
        let list = |page, filter| {
            names_json(&registry.index, "n", group, page, filter, usize::MAX).unwrap().len()
        };
        measure("first 20 names", &|| list(Page::new(1, 20), None));
        measure("last 20 names", &|| list(Page::new(5_000, 20), None));
        let whole = measure("all names", &|| list(Page::new(1, i64::MAX), None));
        measure("filtered by metadata", &|| list(Page::new(1, i64::MAX), Some(&filter)));
        measure("all services", &|| registry.services().len());
        measure("all services by reading each", &|| {
            let all = registry.store.all();
            all.iter().filter(|datum| datum.read(|reader| reader.is_open())).count()
        });
        assert!(whole < std::time::Duration::from_secs(1), "{whole:?}");
    }
}
