//! The façade of the registry: what every protocol front calls, and the only way to the store.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use distro_core::{
    DATUM_KEY, Health, Heard, LeaseTerms, StampClock, Store, StoreConfig, Tick, Value, Writer,
};
use distro_net::Clock;
use naming_model::{InstanceKey, ServiceKey, check_cluster_name};

mod beats;
mod catalog;
mod checksum;
mod events;
mod filter;
mod index;
mod instance;
mod json;
mod listing;
mod page;
mod service;
mod switches;
mod upkeep;
mod view;
mod watch;

pub(crate) use beats::{BeatCounts, BeatOutcome};
pub(crate) use catalog::{CatalogQuery, NamePattern};
pub(crate) use events::{Event, EventKind, Events};
pub(crate) use filter::MetadataFilter;
pub(crate) use index::{GroupFilter, ListedService, ServiceIndex, names_json};
pub(crate) use instance::{Instance, Metadata, check_address, check_port, text_form};
pub(crate) use listing::{ListReply, list_reply};
pub(crate) use page::Page;
pub(crate) use service::{ClusterSettings, HealthChecker, Selector, ServiceSettings};
pub(crate) use switches::{CheckPace, ServerStatus, SwitchValues, Switches};
pub(crate) use upkeep::{UpkeepSettings, run as run_upkeep};
pub(crate) use view::{
    Flavour, Host, ServiceState, View, ViewQuery, Views, checksum, clusters, hosts, push_id,
    settings,
};
pub(crate) use watch::{ChangeSink, Watch};

use crate::http::ApiError;

/// The datum of a service.
pub(crate) type NamingDatum = distro_core::Datum<Content, ServiceState>;
/// The store of all services.
pub(crate) type NamingStore = Store<Content, ServiceState>;

/// Class of instance records in [`Store::visible_count`].
pub(crate) const CLASS_INSTANCE: usize = 0;
/// Class of settings records in [`Store::visible_count`].
pub(crate) const CLASS_SERVICE: usize = 1;

/// What a record carries.
#[derive(Debug)]
pub(crate) enum Content {
    /// An instance, under its key.
    Instance(Instance),
    /// The settings of the service, under [`DATUM_KEY`].
    Service(Arc<ServiceSettings>),
}

impl Value for Content {
    fn lease(&self) -> Option<LeaseTerms> {
        match self {
            Self::Instance(instance) => Some(instance.lease()),
            Self::Service(_) => None,
        }
    }

    fn shows_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Instance(a), Self::Instance(b)) => a == b,
            (Self::Service(a), Self::Service(b)) => a == b,
            _ => false,
        }
    }

    fn class(&self) -> usize {
        match self {
            Self::Instance(_) => CLASS_INSTANCE,
            Self::Service(_) => CLASS_SERVICE,
        }
    }
}

/// Limits and rules of the registry.
#[derive(Debug, Clone)]
pub(crate) struct RegistrySettings {
    /// Instances held at a time.
    pub(crate) max_instances: u64,
    /// Bytes of one metadata map as JSON.
    pub(crate) max_metadata_bytes: usize,
    /// Bytes of rendered lists kept.
    pub(crate) rendered_bytes: usize,
    /// Whether a threshold of 0 protects a service without a healthy instance.
    pub(crate) protect_at_zero: bool,
    /// Events kept.
    pub(crate) event_capacity: usize,
    /// Settings of the store.
    pub(crate) store: StoreConfig,
}

/// All services of this node.
pub(crate) struct Registry {
    pub(crate) store: Arc<NamingStore>,
    pub(crate) clock: Clock,
    pub(crate) switches: Switches,
    pub(crate) events: Arc<Events>,
    pub(crate) views: Views,
    pub(crate) index: Arc<ServiceIndex>,
    pub(crate) beats: BeatCounts,
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
    /// An empty registry. `watch` hears of what its store does.
    pub(crate) fn new(
        settings: RegistrySettings,
        events: Arc<Events>,
        watch: Arc<Watch>,
        stamps: StampClock,
        clock: Clock,
    ) -> Self {
        let index = Arc::clone(watch.index());
        Self {
            store: Arc::new(Store::new(settings.store.clone(), stamps, vec![watch])),
            clock,
            switches: Switches::default(),
            events,
            views: Views::new(settings.rendered_bytes, settings.protect_at_zero),
            index,
            beats: BeatCounts::default(),
            settings,
        }
    }

    /// Writes an instance, creating its service if need be, and renews its lease. A
    /// registration replaces the whole entry but keeps its id and its health: only a beat makes
    /// an unhealthy instance healthy.
    ///
    /// # Errors
    /// 400 for names against the rules, 503 if the registry is full.
    pub(crate) fn register(
        &self,
        service: &ServiceKey,
        key: &InstanceKey<'_>,
        mut instance: Instance,
        healthy: bool,
        actor: &dyn Fn() -> String,
    ) -> Result<(), ApiError> {
        service.check_characters()?;
        check_cluster_name(key.cluster)?;
        let now = self.clock.tick();
        let stamp = self.store.clock().issue(now);
        let id = key.to_string();
        let kind = self.store.update(service.as_str(), now, |writer| {
            let (kind, health) = match find_instance(writer, &id) {
                Some((known, health)) => {
                    instance.id.clone_from(&known.id);
                    ((*known != instance).then_some(EventKind::Replaced), health)
                }
                None if self.is_full() => return Err(self.full()),
                None if !writer.is_open() && self.has_all_services() => {
                    return Err(self.too_many_services());
                }
                None => {
                    if instance.wants_snowflake_id() {
                        instance.id = Some(free_number(writer).to_string().into());
                    }
                    (Some(EventKind::Registered), initial_health(healthy))
                }
            };
            writer.register(&id, stamp, Arc::new(Content::Instance(instance)), health);
            Ok(kind)
        })?;
        if let Some(kind) = kind {
            self.note(service, &id, kind, actor);
        }
        Ok(())
    }

    /// Replaces an instance that must be there: some instance of the service with this address
    /// and port, in whatever cluster, as Java clients are told.
    ///
    /// # Errors
    /// 400 if it is not, otherwise as [`Self::register`].
    pub(crate) fn update(
        &self,
        service: &ServiceKey,
        key: &InstanceKey<'_>,
        instance: Instance,
        healthy: bool,
        actor: &dyn Fn() -> String,
    ) -> Result<(), ApiError> {
        let same_address = |host: Host<'_>| {
            host.key.ip == key.ip && (host.key.port == key.port || host.key.port == 0)
        };
        let datum = self.find(service).ok_or_else(|| {
            let (namespace, name) = (service.namespace(), service.grouped());
            let text = format!("service not found, namespace: {namespace}, service: {name}");
            ApiError::bad_request(text)
        })?;
        if !datum.read(|reader| hosts(&reader).any(same_address)) {
            let form = text_form(key, instance.weight, healthy);
            return Err(ApiError::bad_request(format!("instance not exist: {form}")));
        }
        self.register(service, key, instance, healthy, actor)
    }

    /// Changes parts of an instance. `change` edits a copy and gives the health to set, if any.
    ///
    /// # Errors
    /// 400 `instance not found`, and whatever `change` refuses; nothing is written then.
    pub(crate) fn patch(
        &self,
        service: &ServiceKey,
        key: &InstanceKey<'_>,
        actor: &dyn Fn() -> String,
        change: impl FnOnce(&Instance) -> Result<(Instance, Option<bool>), ApiError>,
    ) -> Result<(), ApiError> {
        let now = self.clock.tick();
        let stamp = self.store.clock().issue(now);
        let id = key.to_string();
        let not_found = || ApiError::bad_request("instance not found");
        let patched = self.store.update_existing(service.as_str(), now, |writer| {
            let (known, health) = find_instance(writer, &id).ok_or_else(not_found)?;
            let (instance, healthy) = change(known)?;
            let health = healthy.map_or(health, initial_health);
            writer.register(&id, stamp, Arc::new(Content::Instance(instance)), health);
            Ok(())
        });
        patched.unwrap_or_else(|| Err(not_found()))?;
        self.note(service, &id, EventKind::Updated, actor);
        Ok(())
    }

    /// Removes an instance; nothing happens if it is not there.
    pub(crate) fn deregister(
        &self,
        service: &ServiceKey,
        key: &InstanceKey<'_>,
        actor: &dyn Fn() -> String,
    ) {
        let now = self.clock.tick();
        let stamp = self.store.clock().issue(now);
        let id = key.to_string();
        let removed = self
            .store
            .update_existing(service.as_str(), now, |writer| writer.deregister(&id, stamp));
        if removed == Some(true) {
            self.note(service, &id, EventKind::Deregistered, actor);
        }
    }

    /// Takes a beat. One that carries the whole instance registers it if it is unknown, unless it
    /// was deregistered a moment ago: then the beat was on its way already.
    ///
    /// # Errors
    /// Those of making `whole` into an instance, and of [`Self::register`].
    pub(crate) fn beat(
        &self,
        service: &ServiceKey,
        key: &InstanceKey<'_>,
        whole: Option<impl FnOnce() -> Result<Instance, ApiError>>,
        actor: &dyn Fn() -> String,
    ) -> Result<BeatAnswer, ApiError> {
        let now = self.clock.tick();
        match self.store.hear(service.as_str(), &key.to_string(), now) {
            Heard::Known { value, .. } => {
                let Content::Instance(instance) = &*value else { return Ok(BeatAnswer::Unknown) };
                self.beats.count(BeatOutcome::Known);
                return Ok(BeatAnswer::Known { interval_ms: instance.beat_interval_ms() });
            }
            Heard::Deregistered { learned }
                if now.since(learned) < self.settings.store.compensation_window =>
            {
                self.beats.count(BeatOutcome::Late);
                return Ok(BeatAnswer::Known { interval_ms: None });
            }
            Heard::Deregistered { .. } | Heard::Unknown => {}
        }
        let Some(whole) = whole else {
            self.beats.count(BeatOutcome::Unknown);
            return Ok(BeatAnswer::Unknown);
        };
        let instance = whole()?;
        let interval_ms = instance.beat_interval_ms();
        self.register(service, key, instance, true, actor)?;
        self.beats.count(BeatOutcome::Registered);
        Ok(BeatAnswer::Known { interval_ms })
    }

    /// Sets the health of an instance by hand. Nothing happens if it is not there.
    pub(crate) fn set_health(
        &self,
        service: &ServiceKey,
        key: &InstanceKey<'_>,
        healthy: bool,
        actor: &dyn Fn() -> String,
    ) {
        let now = self.clock.tick();
        let stamp = self.store.clock().issue(now);
        let (id, health) = (key.to_string(), initial_health(healthy));
        let changed = self.store.update_existing(service.as_str(), now, |writer| {
            let differs = find_instance(writer, &id).is_some_and(|(_, known)| known != health);
            if differs {
                writer.judge(&id, stamp, health);
            }
            differs
        });
        if changed == Some(true) {
            let kind = if healthy { EventKind::Healthy } else { EventKind::Unhealthy };
            self.note(service, &id, kind, actor);
        }
    }

    /// Writes the settings of a service. `change` sees the present ones, `None` if there is no
    /// such service, and gives the new ones.
    ///
    /// # Errors
    /// 400 for a name against the rules, 503 if there are too many services, and whatever `change`
    /// refuses; nothing is written then.
    pub(crate) fn change_settings(
        &self,
        service: &ServiceKey,
        change: impl FnOnce(Option<&ServiceSettings>) -> Result<ServiceSettings, ApiError>,
    ) -> Result<(), ApiError> {
        service.check_characters()?;
        let now = self.clock.tick();
        let stamp = self.store.clock().issue(now);
        self.store.update(service.as_str(), now, |writer| {
            let known = match writer.find_visible(DATUM_KEY) {
                Some((_, content)) => match &**content {
                    Content::Service(settings) => Some(Arc::clone(settings)),
                    Content::Instance(_) => None,
                },
                None => writer.is_open().then(Arc::default),
            };
            let settings = Arc::new(change(known.as_deref())?);
            if known.is_none() && self.has_all_services() {
                return Err(self.too_many_services());
            }
            let content = Arc::new(Content::Service(settings));
            writer.register(DATUM_KEY, stamp, content, Health::Healthy);
            Ok(())
        })
    }

    /// Deletes a service with all its instances. Returns whether there was one.
    pub(crate) fn delete_service(&self, service: &ServiceKey, actor: &dyn Fn() -> String) -> bool {
        let now = self.clock.tick();
        let stamp = self.store.clock().issue(now);
        let closed = self.store.update_existing(service.as_str(), now, |writer| {
            let instances: Vec<_> = writer
                .visible()
                .filter(|(key, ..)| &***key != DATUM_KEY)
                .map(|(key, ..)| Arc::clone(key))
                .collect();
            let was_open = writer.is_open();
            if was_open {
                writer.close(stamp);
            }
            (was_open, instances)
        });
        let Some((was_open, instances)) = closed else { return false };
        for id in &instances {
            self.note(service, id, EventKind::ServiceDeleted, actor);
        }
        was_open
    }

    /// The datum of a service that exists.
    pub(crate) fn find(&self, service: &ServiceKey) -> Option<Arc<NamingDatum>> {
        let datum = self.store.find(service.as_str())?;
        datum.read(|reader| reader.is_open()).then_some(datum)
    }

    /// The view of a service, if it exists.
    pub(crate) fn view(&self, service: &ServiceKey, query: &ViewQuery<'_>) -> Option<Arc<View>> {
        let datum = self.store.find(service.as_str())?;
        Some(self.views.view(&datum, query)).filter(|view| view.is_known)
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

    fn is_full(&self) -> bool {
        self.store.visible_count(CLASS_INSTANCE) >= self.settings.max_instances
    }

    fn full(&self) -> ApiError {
        let limit = self.settings.max_instances;
        ApiError::unavailable(format!(
            "the limit of {limit} instances (registry.max_instances) is reached"
        ))
    }

    /// Services without instances cost memory too. An instance makes one service at most, so the
    /// limit of instances does for both.
    fn has_all_services(&self) -> bool {
        self.index.len() as u64 >= self.settings.max_instances
    }

    fn too_many_services(&self) -> ApiError {
        let limit = self.settings.max_instances;
        ApiError::unavailable(format!(
            "the limit of {limit} services (registry.max_instances) is reached"
        ))
    }

    fn note(&self, service: &ServiceKey, id: &str, kind: EventKind, actor: &dyn Fn() -> String) {
        let event = Event {
            wall_ms: wall_ms(),
            service: service.as_str().into(),
            instance: id.into(),
            kind,
            by: actor().into(),
            silent_ms: 0,
        };
        self.events.note(self.clock.tick(), event);
    }
}

/// Milliseconds since the epoch by the wall clock.
pub(crate) fn wall_ms() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
}

fn initial_health(healthy: bool) -> Health {
    if healthy { Health::Healthy } else { Health::Unhealthy }
}

fn find_instance<'a>(writer: &'a Writer<'_, Content>, key: &str) -> Option<(&'a Instance, Health)> {
    let (record, content) = writer.find_visible(key)?;
    match &**content {
        Content::Instance(instance) => Some((instance, record.health())),
        Content::Service(_) => None,
    }
}

/// The smallest number that no instance of the service has as its id.
fn free_number(writer: &Writer<'_, Content>) -> u64 {
    let number = |content: &Content| match content {
        Content::Instance(instance) => instance.id.as_deref()?.parse::<u64>().ok(),
        Content::Service(_) => None,
    };
    let mut taken: Vec<u64> = writer.visible().filter_map(|(.., value)| number(value)).collect();
    taken.sort_unstable();
    taken.dedup();
    (0..)
        .zip(&taken)
        .find(|(free, taken)| free != *taken)
        .map_or(taken.len() as u64, |(free, _)| free)
}
