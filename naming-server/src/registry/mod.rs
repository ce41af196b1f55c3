//! The façade of the registry: what every protocol front calls, and the only way to the store.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{SystemTime, UNIX_EPOCH};

use distro_core::{LeaseTerms, StampClock, Store, StoreConfig, Tick, Value, Watcher};
use distro_net::Clock;
use naming_model::ServiceKey;
use parking_lot::Mutex;

mod accounts;
mod address_filter;
mod administer;
mod at_owner;
mod backup;
mod beats;
mod carried;
mod catalog;
mod checked;
mod checksum;
mod cluster;
mod content_codec;
mod error;
mod events;
mod filter;
mod foreign;
mod held;
mod holding;
mod host;
mod index;
mod inspect;
mod instance;
mod json;
mod kinds;
mod listing;
mod metadata_text;
mod namespaces;
mod operator_values;
mod page;
mod plain;
mod plan;
mod protection;
mod query;
mod records;
mod recovery;
mod redirected;
mod routed;
mod service;
mod service_info;
mod switches;
mod upkeep;
mod view;
mod watch;
mod write;
mod writes;

pub(crate) use accounts::{
    ADMIN_ROLE, Accounts, AccountsView, Action, Resource, check_name, check_permission,
    is_password_hash, permission_key, role_key,
};
pub(crate) use backup::{BackupPage, Cursor, Item, ItemPlace, Unreadable};
pub(crate) use beats::{BeatCounts, BeatOutcome};
pub(crate) use catalog::{CatalogQuery, NamePattern};
pub(crate) use checked::CheckTarget;
pub(crate) use checksum::{hex, java_hash, java_order};
pub(crate) use cluster::Cluster;
pub(crate) use content_codec::ContentCodec;
pub(crate) use error::RegistryError;
pub(crate) use events::{Event, EventKind, Events, MAX_ACTOR};
pub(crate) use filter::MetadataFilter;
pub(crate) use foreign::ListTerms;
pub(crate) use held::Held;
pub(crate) use host::{Host, are_protected, hosts, push_facts, push_id};
pub(crate) use index::{GroupFilter, ListedService, ServiceIndex, names_json};
pub(crate) use inspect::{AddressQuery, InstanceQuery};
pub(crate) use instance::{
    Instance, Metadata, Timed, check_address, check_app, check_kind, check_port, text_form,
};
pub(crate) use json::{push_bool, push_display, push_double, push_number, push_string};
pub(crate) use kinds::kind_of;
pub(crate) use listing::{ListReply, list_reply};
pub(crate) use namespaces::Namespace;
pub(crate) use operator_values::{MetadataChange, Named, OperatorValues, operator_values_json};
pub(crate) use page::Page;
pub(crate) use query::{Flavour, ViewQuery};
pub(crate) use records::{NAMESPACES, PERMISSIONS, ROLES, SWITCHES, USERS};
use recovery::Recovery;
pub(crate) use routed::Writes;
pub(crate) use service::{
    ClusterSettings, HealthChecker, MAX_CLUSTERS, Selector, ServiceKind, ServiceSettings,
};
pub(crate) use service_info::ServiceInfo;
pub(crate) use switches::{
    CheckPace, Fields, MAX_SWITCH_ITEMS, PushVersions, ServerStatus, SwitchObject, SwitchSink,
    SwitchValues, Switches, Version, parse_status, parse_version, unsigned,
};
pub(crate) use upkeep::{UpkeepSettings, run as run_upkeep};
pub(crate) use view::{
    Endpoint, EndpointHost, Endpoints, ServiceState, View, Views, clusters, settings,
};
pub(crate) use watch::{ChangeSink, Watch};
pub(crate) use write::{Later, Patched, Write};

/// The datum of a service.
pub(crate) type NamingDatum = distro_core::Datum<Content, ServiceState>;
/// The store of all services.
pub(crate) type NamingStore = Store<Content, ServiceState>;

/// Class of instance records in [`Store::visible_count`].
pub(crate) const CLASS_INSTANCE: usize = 0;
/// Class of settings records in [`Store::visible_count`].
pub(crate) const CLASS_SERVICE: usize = 1;
/// Class of the records that belong to no service in [`Store::visible_count`].
pub(crate) const CLASS_OTHER: usize = 2;
/// Class of what operators set of instances in [`Store::visible_count`].
pub(crate) const CLASS_OPERATOR: usize = 3;

/// What a record carries.
#[derive(Debug)]
pub(crate) enum Content {
    /// An instance, under its key.
    Instance(Instance),
    /// The settings of the service, under [`DATUM_KEY`].
    Service(Arc<ServiceSettings>),
    /// The value of a switch as JSON, under its name.
    Switch(Box<str>),
    /// What a namespace is called, under its id.
    Namespace(Namespace),
    /// The password hash of a user, under the name.
    User(Arc<str>),
    /// That a user has a role, or that a role may do something; the key says which.
    Grant,
    /// What an operator set of an instance, beside it.
    Operator(Box<OperatorValues>),
    /// Something that only members of a later release understand, as they encoded it. Kept and
    /// passed on, so that members of two releases agree.
    Unknown(Box<[u8]>),
}

impl Value for Content {
    fn lease(&self) -> Option<LeaseTerms> {
        match self {
            Self::Instance(instance) => instance.lease(),
            _ => None,
        }
    }

    fn shows_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Instance(a), Self::Instance(b)) => a.shows_like(b),
            (Self::Service(a), Self::Service(b)) => a == b,
            (Self::Switch(a), Self::Switch(b)) => a == b,
            (Self::Namespace(a), Self::Namespace(b)) => a == b,
            (Self::User(a), Self::User(b)) => a == b,
            (Self::Grant, Self::Grant) => true,
            (Self::Operator(a), Self::Operator(b)) => a == b,
            (Self::Unknown(a), Self::Unknown(b)) => a == b,
            _ => false,
        }
    }

    fn class(&self) -> usize {
        match self {
            Self::Instance(_) => CLASS_INSTANCE,
            Self::Service(_) => CLASS_SERVICE,
            Self::Switch(_)
            | Self::Namespace(_)
            | Self::User(_)
            | Self::Grant
            | Self::Unknown(_) => CLASS_OTHER,
            Self::Operator(_) => CLASS_OPERATOR,
        }
    }

    fn weight(&self) -> usize {
        content_codec::weight(self)
    }
}

/// How much may be held at a time. May change while the server runs: what is held then stays.
#[derive(Debug)]
pub(crate) struct RegistryLimits {
    instances: AtomicU64,
    bytes: AtomicU64,
}

impl RegistryLimits {
    /// So many instances, and so many bytes that everything visible carries; 0 for any number of
    /// bytes.
    pub(crate) fn new(instances: u64, bytes: u64) -> Self {
        Self { instances: AtomicU64::new(instances), bytes: AtomicU64::new(bytes) }
    }

    /// Other numbers, from now on.
    pub(crate) fn change(&self, instances: u64, bytes: u64) {
        self.instances.store(instances, Relaxed);
        self.bytes.store(bytes, Relaxed);
    }

    pub(crate) fn instances(&self) -> u64 {
        self.instances.load(Relaxed)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }
}

/// Limits and rules of the registry.
#[derive(Debug, Clone)]
pub(crate) struct RegistrySettings {
    /// How much may be held at a time.
    pub(crate) limits: Arc<RegistryLimits>,
    /// Bytes of one metadata map as JSON.
    pub(crate) max_metadata_bytes: usize,
    /// Bytes of rendered lists kept.
    pub(crate) rendered_bytes: usize,
    /// Whether a threshold of 0 protects a service without a healthy instance.
    pub(crate) protect_at_zero: bool,
    /// Whether what an operator sets of an instance over the 1.x API outlasts its registrations.
    /// Over later ones it always does.
    pub(crate) keep_operator_values: bool,
    /// For how many seconds a service that has lost all its instances by itself shows its last list,
    /// if the service does not say. 0 for not at all.
    pub(crate) empty_protection_seconds: u64,
    /// Events kept.
    pub(crate) event_capacity: usize,
    /// Whether other members write to the same services.
    pub(crate) is_member: bool,
    /// Settings of the store.
    pub(crate) store: StoreConfig,
}

/// All services of this node.
pub(crate) struct Registry {
    pub(crate) store: Arc<NamingStore>,
    pub(crate) clock: Clock,
    pub(crate) switches: Arc<Switches>,
    /// The users and their rights.
    pub(crate) accounts: Arc<Accounts>,
    pub(crate) events: Arc<Events>,
    pub(crate) views: Views,
    pub(crate) index: Arc<ServiceIndex>,
    pub(crate) beats: BeatCounts,
    /// Services that go on showing their last list.
    protection: Arc<protection::Protection>,
    watch: Arc<Watch>,
    /// Held by a write in the name of a Java owner, before all locks of the store.
    writes_for_owners: Mutex<()>,
    recovery: Recovery,
    pub(crate) settings: RegistrySettings,
}

/// What a beat is answered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BeatAnswer {
    /// The instance is there; beat again after so many milliseconds.
    Known {
        /// The interval its metadata asks for.
        interval_ms: Option<u64>,
    },
    /// There is no such instance: register it.
    Unknown,
}

impl Registry {
    /// An empty registry. `watch` hears of what its store does, and `watchers` do, too.
    pub(crate) fn new(
        settings: RegistrySettings,
        events: Arc<Events>,
        watch: Arc<Watch>,
        stamps: StampClock,
        clock: Clock,
        mut watchers: Vec<Arc<dyn Watcher<Content, ServiceState>>>,
    ) -> Self {
        let index = Arc::clone(watch.index());
        let switches = Arc::clone(watch.switches());
        let accounts = Arc::clone(watch.accounts());
        let protection = Arc::clone(watch.protection());
        protection.set_default(settings.empty_protection_seconds);
        watchers.push(Arc::clone(&watch) as Arc<dyn Watcher<Content, ServiceState>>);
        Self {
            protection,
            watch,
            store: Arc::new(Store::new(settings.store.clone(), stamps, watchers)),
            clock,
            switches,
            accounts,
            events,
            views: Views::new(settings.rendered_bytes, settings.protect_at_zero),
            index,
            beats: BeatCounts::default(),
            writes_for_owners: Mutex::new(()),
            recovery: Recovery::default(),
            settings,
        }
    }

    /// The datum of a service that exists.
    pub(crate) fn find(&self, service: &ServiceKey) -> Option<Arc<NamingDatum>> {
        let datum = self.store.find(service.as_str())?;
        datum.read(|reader| reader.is_open()).then_some(datum)
    }

    /// Gives the view of a service, if it exists, to `read`, which must be quick.
    pub(crate) fn read_view<R>(
        &self,
        service: &ServiceKey,
        query: &ViewQuery<'_>,
        read: impl FnOnce(Option<&View>) -> R,
    ) -> R {
        let Some(datum) = self.store.find(service.as_str()) else { return read(None) };
        self.views.read(&datum, query, |view| read(Some(view).filter(|view| view.is_known)))
    }

    /// All services that exist, in the order of namespace and name. Reads no datum.
    pub(crate) fn services(&self) -> Vec<ListedService> {
        self.index.all()
    }

    /// How many services exist.
    pub(crate) fn service_count(&self) -> usize {
        self.index.len()
    }

    /// Milliseconds since the epoch at which something happened that `tick` dates.
    pub(crate) fn wall_ms(&self, tick: Tick) -> u64 {
        let ago = self.clock.tick().since(tick).as_millis();
        wall_ms().saturating_sub(u64::try_from(ago).unwrap_or(u64::MAX))
    }

    /// Services without instances cost memory too. An instance makes one service at most, so the
    /// limit of instances does for both.
    fn has_all_services(&self) -> bool {
        self.index.len() as u64 >= self.settings.limits.instances()
    }

    fn too_many_services(&self) -> RegistryError {
        let limit = self.settings.limits.instances();
        RegistryError::Full(format!(
            "the limit of {limit} services (registry.max_instances) is reached"
        ))
    }

    fn note(&self, service: &ServiceKey, id: &str, kind: EventKind, actor: &dyn Fn() -> String) {
        let event = Event {
            wall_ms: wall_ms(),
            service: service.as_str(),
            instance: id,
            kind,
            by: &actor(),
            silent_ms: 0,
        };
        self.events.note(event);
    }
}

/// Milliseconds since the epoch by the wall clock.
pub(crate) fn wall_ms() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
}
