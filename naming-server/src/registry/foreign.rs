//! Services that a Java server owns, and what Java servers are told of ours: lists of instances in
//! and out.
//!
//! The rules (what is taken, what absence means, which stamps) are those of
//! [`Store::take_list`](distro_core::Store::take_list); here instances are translated.

use std::sync::Arc;

use distro_core::{Listed, Tick};
use naming_model::{InstanceKey, RecordKey, ServiceKey, is_unprintable};

use super::plan::initial_health;
use super::view::{checksum, settings};
use super::{
    CLASS_INSTANCE, Content, EventKind, Host, Instance, Metadata, Registry, check_address, hosts,
    push_id,
};
use crate::nacos::{InstanceStatus, PeerInstance, list_checksum};

/// How a list of a Java server is to be taken.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ListTerms {
    /// Whether the service has been the sender's for longer than it takes a Java server to hear
    /// again of everything (35 s). If not, an instance that it does not list stays for its own
    /// time-out.
    pub(crate) is_settled: bool,
    /// When the list was asked for; now, if it came by itself. What was learned here since then is
    /// newer than the list.
    pub(crate) as_of: Tick,
}

impl Registry {
    /// Whether the owner of a service does not speak the protocol of this server.
    pub(crate) fn is_foreign(&self, service: &ServiceKey) -> bool {
        self.store.is_foreign(service.as_str())
    }

    /// Takes the whole list of a service that its owner sent. Returns false, and does nothing, if
    /// the service is not foreign. Instances that cannot be stored here are left out, as are new
    /// ones for which there is no room.
    pub(crate) fn take_foreign_list(
        &self,
        service: &ServiceKey,
        list: &[PeerInstance],
        terms: ListTerms,
    ) -> bool {
        self.take_list(service, list, terms, true)
    }

    /// Takes it that the owner of a service has no list of it any more. That says less than an
    /// empty one, until the owner is settled: Java servers lose whole lists when owners change.
    pub(crate) fn drop_foreign(&self, service: &ServiceKey, terms: ListTerms) -> bool {
        self.take_list(service, &[], terms, false)
    }

    fn take_list(
        &self,
        service: &ServiceKey,
        list: &[PeerInstance],
        terms: ListTerms,
        is_told: bool,
    ) -> bool {
        let listed = self.listed(service, list);
        let ListTerms { is_settled, as_of } = terms;
        let terms = distro_core::ListTerms { is_settled, is_told, as_of, room: self.room(service) };
        self.store.take_list(service.as_str(), &listed, terms, self.clock.tick())
    }

    /// Takes what the owner of a foreign service says of the health of its instances. Instances
    /// that are not listed keep their health, as do those which were heard here and live.
    pub(crate) fn take_foreign_health(
        &self,
        service: &ServiceKey,
        statuses: &[InstanceStatus],
        terms: ListTerms,
    ) {
        let ListTerms { is_settled, as_of } = terms;
        let terms = distro_core::ListTerms { is_settled, is_told: true, as_of, room: 0 };
        let health_of = |key: &str| {
            let InstanceKey { ip, port, .. } = RecordKey::parse(key)?.instance;
            let is_this =
                |status: &&InstanceStatus| status.ip == ip && status.port == i32::from(port);
            statuses.iter().find(is_this).map(|status| initial_health(status.healthy))
        };
        self.store.take_health(service.as_str(), health_of, terms, self.clock.tick());
    }

    /// Takes what a Java server says of a service that is not foreign: one that owned it until a
    /// moment ago may have registered somebody meanwhile; and while this server loads it is better
    /// than nothing. Instances that are known here, or were removed, are as they are; absence says
    /// nothing; what other members of this protocol know wins.
    pub(crate) fn adopt_foreign_list(&self, service: &ServiceKey, list: &[PeerInstance]) {
        let listed = self.listed(service, list);
        self.store.adopt_list(service.as_str(), &listed, self.room(service), self.clock.tick());
    }

    /// Writes an instance that the owner of a foreign service has just registered for a client of
    /// this server, so that the client finds it here. If the service has become ours meanwhile it
    /// is an ordinary registration. `healthy` counts if it is new.
    pub(crate) fn foreign_registered(
        &self,
        service: &ServiceKey,
        key: &InstanceKey<'_>,
        instance: Instance,
        healthy: bool,
        actor: &dyn Fn() -> String,
    ) {
        let id = RecordKey::ephemeral(*key).text();
        let known = self.find_instance(service, &id);
        let kind = match &known {
            None => Some(EventKind::Registered),
            Some(known) => (known.instance != instance).then_some(EventKind::Replaced),
        };
        let value = Arc::new(Content::Instance(instance));
        let health = initial_health(healthy);
        self.store.take_registration(service.as_str(), &id, value, health, self.clock.tick());
        if let Some(kind) = kind {
            self.note(service, &id, kind, actor);
        }
    }

    /// Removes an instance that the owner of a foreign service has just removed for a client of
    /// this server.
    pub(crate) fn foreign_deregistered(
        &self,
        service: &ServiceKey,
        key: &InstanceKey<'_>,
        actor: &dyn Fn() -> String,
    ) {
        let id = RecordKey::ephemeral(*key).text();
        if self.store.take_removal(service.as_str(), &id, self.clock.tick()) {
            self.note(service, &id, EventKind::Deregistered, actor);
        }
    }

    /// The ephemeral instances of a service as Java servers are told, in the order of their keys.
    pub(crate) fn peer_list(&self, service: &ServiceKey) -> Vec<PeerInstance> {
        self.find(service).map_or_else(Vec::new, |datum| {
            datum.read(|reader| {
                let ephemeral = hosts(&reader).filter(|host| !host.instance.is_persistent);
                ephemeral
                    .map(|host| {
                        let heard = reader.last_heard(&host.record_key().text());
                        peer_instance(service, &host, heard.map(|tick| self.wall_ms(tick)))
                    })
                    .collect()
            })
        })
    }

    /// The checksum of the list of a service, which is worked out anew only after a change; `None`
    /// if the service has no ephemeral instance.
    pub(crate) fn peer_checksum(&self, service: &ServiceKey) -> Option<Arc<str>> {
        let datum = self.find(service)?;
        let (revision, kept) = (datum.revision(), &datum.attached().peer_checksum);
        if let Some(kept) = kept.load_full().filter(|kept| kept.0 == revision) {
            return kept.1.clone();
        }
        // A change after the revision was read makes it look again the next time.
        let list = self.peer_list(service);
        let sum = (!list.is_empty()).then(|| Arc::from(list_checksum(&list)));
        kept.store(Some(Arc::new((revision, sum.clone()))));
        sum
    }

    /// The checksum of a service as Java members compute it, which is worked out anew only after
    /// a change; `None` if there is no such service.
    pub(crate) fn service_checksum(&self, service: &ServiceKey) -> Option<Arc<str>> {
        let datum = self.find(service)?;
        let (revision, kept) = (datum.revision(), &datum.attached().service_checksum);
        if let Some(kept) = kept.load_full().filter(|kept| kept.0 == revision) {
            return Some(Arc::clone(&kept.1));
        }
        // A change after the revision was read makes it look again the next time.
        let sum = datum.read(|reader| checksum(&reader, service, &settings(&reader)));
        let sum = Arc::from(sum);
        kept.store(Some(Arc::new((revision, Arc::clone(&sum)))));
        Some(sum)
    }

    /// The services of which something is known here, with the checksums of their lists: those
    /// that have an ephemeral instance. In the order of namespace and name; reads all datums.
    pub(crate) fn peer_checksums(
        &self,
        is_wanted: impl Fn(&ServiceKey) -> bool,
    ) -> Vec<(ServiceKey, Arc<str>)> {
        let all = self.index.all().into_iter().map(|(service, _)| service);
        let wanted = all.filter(|service| is_wanted(service));
        wanted
            .filter_map(|service| {
                let checksum = self.peer_checksum(&service)?;
                Some((service, checksum))
            })
            .collect()
    }

    /// The services of this member with the checksums of their lists.
    pub(crate) fn owned_checksums(&self) -> Vec<(ServiceKey, Arc<str>)> {
        self.peer_checksums(|service| self.store.owns(service.as_str()))
    }

    /// How many instances more this service may have.
    fn room(&self, service: &ServiceKey) -> usize {
        if self.has_all_services() && self.find(service).is_none() {
            return 0;
        }
        let held = self.store.visible_count(CLASS_INSTANCE);
        usize::try_from(self.settings.limits.instances().saturating_sub(held)).unwrap_or(usize::MAX)
    }

    fn listed(&self, service: &ServiceKey, list: &[PeerInstance]) -> Vec<Listed<Content>> {
        let (mut listed, mut bad) = (Vec::with_capacity(list.len()), 0_usize);
        for instance in list {
            match own_instance(service, instance) {
                Some((key, own)) => listed.push(Listed {
                    key: key.into(),
                    value: Arc::new(Content::Instance(own)),
                    health: initial_health(instance.healthy),
                }),
                None => bad += 1,
            }
        }
        if bad > 0 {
            tracing::debug!(
                service = service.as_str(),
                bad,
                "left out instances of a Java server's list that cannot be stored here"
            );
        }
        listed
    }
}

/// What is stored of an instance in a list, and under which key; `None` if it cannot be.
fn own_instance(service: &ServiceKey, listed: &PeerInstance) -> Option<(String, Instance)> {
    check_address(&listed.ip).ok()?;
    if listed.cluster.chars().any(is_unprintable) {
        return None;
    }
    let port = u16::try_from(listed.port).ok()?;
    let instance = InstanceKey { ip: &listed.ip, port, cluster: &listed.cluster };
    let key = RecordKey::ephemeral(instance);
    let text = key.text();
    if !listed.ephemeral || text.len() > MAX_KEY || RecordKey::parse(&text) != Some(key) {
        return None;
    }
    let metadata = match &listed.metadata {
        None => Metadata::absent(),
        // The owner took it, whatever its limit is; a message has one.
        Some(metadata) => Metadata::new(metadata, usize::MAX).ok()?,
    };
    let mut own = Instance::new(listed.weight, metadata).ok()?;
    own.enabled = listed.enabled;
    if let Some(app) = &listed.app {
        own = own.with_app(app).ok()?;
    }
    let simple = Host { key: instance, instance: &own, healthy: true };
    let mut simple_id = String::new();
    push_id(&mut simple_id, &simple, service);
    let id = listed.id.as_ref().filter(|id| **id != simple_id && id.len() <= MAX_ID);
    own.id = id.map(|id| id.as_str().into());
    Some((text, own))
}

/// Longest key of an instance in bytes, far beyond any that is in use.
const MAX_KEY: usize = 1_024;
/// Longest id of an instance in bytes; another one is given in place of a longer one.
const MAX_ID: usize = 2_048;

fn peer_instance(service: &ServiceKey, host: &Host<'_>, heard_ms: Option<u64>) -> PeerInstance {
    let Host { key, instance, healthy } = host;
    let id = instance.id.as_deref().map_or_else(
        || format!("{}#{}#{}#{}", key.ip, key.port, key.cluster, service.grouped()),
        str::to_owned,
    );
    PeerInstance {
        ip: key.ip.to_owned(),
        port: i32::from(key.port),
        cluster: key.cluster.to_owned(),
        weight: instance.weight,
        healthy: *healthy,
        enabled: instance.enabled,
        ephemeral: true,
        marked: false,
        metadata: Some(instance.metadata.to_map()),
        last_beat_ms: heard_ms.and_then(|ms| i64::try_from(ms).ok()),
        id: Some(id),
        app: instance.app.as_deref().map(str::to_owned),
        tenant: None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use distro_core::{Input, MemberId, OwnerPolicy, SharedStatus, StampClock};
    use distro_net::{
        Clock, Codec, Driver, Forwarder, Identity, Limits, Peers, PeersConfig, Secret, TcpConnector,
    };
    use naming_model::META_ID_GENERATOR;

    use super::*;
    use crate::nacos::owner_number;
    use crate::registry::{BeatAnswer, Cluster, ContentCodec, Events, Watch, Writes};

    const ME: MemberId = MemberId(1);
    const JAVA: MemberId = MemberId(2);

    /// A registry in which all services are a Java server's.
    async fn registry() -> (Registry, distro_net::Control<Content>) {
        let (registry, control, _) = registry_and_status().await;
        (registry, control)
    }

    async fn registry_and_status() -> (Registry, distro_net::Control<Content>, Arc<SharedStatus>) {
        let clock = Clock::start();
        let mut settings = crate::Config::default().registry_settings(1);
        settings.store.owner_policy = OwnerPolicy::Tags(owner_number);
        let events = Arc::new(Events::new(10));
        let watch = Arc::new(Watch::new(Arc::clone(&events)));
        let stamps = StampClock::new(ME, 1, clock.now());
        let registry = Registry::new(settings, events, watch, stamps, clock, Vec::new());
        let store = Arc::clone(&registry.store);
        let (driver, control) = Driver::new(distro_core::DistroConfig::default(), store, clock);
        let shared_status = Arc::clone(driver.shared_status());
        tokio::spawn(driver.run(tokio_util::sync::CancellationToken::new()));
        assert!(control.set_owners(vec![JAVA]).await);
        (registry, control, shared_status)
    }

    /// The way of writes of a member that reaches nobody.
    fn writes(registry: Registry, shared_status: Arc<SharedStatus>) -> (Arc<Registry>, Writes) {
        let secret = Secret::new(b"0123456789abcdef0123456789abcdef").unwrap();
        let identity = Identity { cluster: "c".to_owned(), member: ME, incarnation: 1, secret };
        let codec = Codec::new(Arc::new(ContentCodec), Limits::default());
        let (clock, connector) = (registry.clock, Arc::new(TcpConnector));
        let peers = Peers::new(identity, codec, connector, clock, PeersConfig::default());
        let registry = Arc::new(registry);
        let store = Arc::clone(&registry.store);
        let deadline = std::time::Duration::from_millis(500);
        let forwarder =
            Forwarder::new(Arc::clone(&store), Arc::clone(&shared_status), peers, deadline);
        let cluster = Arc::new(Cluster::new(shared_status, forwarder, store));
        (Arc::clone(&registry), Writes::new(registry, Some(cluster), None))
    }

    #[tokio::test]
    async fn a_beat_registers_no_persistent_instance_among_those_of_the_owner() {
        let (registry, _control, shared_status) = registry_and_status().await;
        let (registry, writes) = writes(registry, shared_status);
        let key = InstanceKey { ip: "10.0.0.1", port: 80, cluster: "DEFAULT" };
        let whole = || {
            let mut instance = Instance::new(1.0, Metadata::default())?;
            instance.is_persistent = true;
            Ok(instance)
        };
        let beat = writes.beat(&service(), &key, Some(whole), &String::new).outcome().await;
        assert!(matches!(beat, Ok(BeatAnswer::Known { .. })), "{beat:?}");
        let found = |key: RecordKey<'_>| registry.find_instance(&service(), &key.text()).is_some();
        assert!(found(RecordKey::persistent(key)) && !found(RecordKey::ephemeral(key)));
    }

    fn service() -> ServiceKey {
        ServiceKey::parse("public", "g@@s").unwrap()
    }

    #[tokio::test]
    async fn an_instance_that_is_registered_for_the_owner_gets_a_number_if_it_wants_one() {
        let (registry, _control) = registry().await;
        let generator = (META_ID_GENERATOR.to_owned(), "snowflake".to_owned());
        let metadata = Metadata::new(&[generator].into(), 4_096).unwrap();
        let made = Instance::new(1.0, metadata).unwrap();
        let key = InstanceKey { ip: "10.0.0.1", port: 80, cluster: "DEFAULT" };
        registry.register_for_owner(&service(), &key, made, true, &String::new).unwrap();
        let id = registry.peer_list(&service())[0].id.clone().unwrap();
        assert!(id.parse::<u64>().is_ok(), "{id}");
    }

    #[tokio::test]
    async fn of_patches_for_the_owner_at_the_same_time_none_is_lost() {
        let (registry, _control) = registry().await;
        let made = Instance::new(1.0, Metadata::default()).unwrap();
        let key = InstanceKey { ip: "10.0.0.1", port: 80, cluster: "DEFAULT" };
        registry.register_for_owner(&service(), &key, made, true, &String::new).unwrap();
        let key = RecordKey::ephemeral(key);
        let set = |name: &str| {
            let change = |known: &Instance| {
                // Time for another one to come between.
                std::thread::sleep(std::time::Duration::from_millis(2));
                let mut map = known.metadata.to_map();
                map.insert(name.to_owned(), "set".to_owned());
                let mut changed = known.clone();
                changed.set_metadata(Metadata::new(&map, 4_096)?);
                Ok((changed, None))
            };
            registry.patch_for_owner(&service(), &key, &String::new, change).unwrap();
        };
        let names = ["a", "b", "c", "d"];
        std::thread::scope(|scope| {
            for name in names {
                let set = &set;
                scope.spawn(move || set(name));
            }
        });
        let found = registry.find_instance(&service(), &key.text()).unwrap();
        assert_eq!(found.instance.metadata.to_map().len(), names.len());
    }

    fn instance(ip: &str) -> PeerInstance {
        PeerInstance {
            ip: ip.to_owned(),
            port: 8080,
            cluster: "DEFAULT".to_owned(),
            weight: 2.5,
            healthy: false,
            enabled: false,
            ephemeral: true,
            marked: false,
            metadata: Some(BTreeMap::from([("k".to_owned(), "v".to_owned())])),
            last_beat_ms: Some(5),
            id: Some(format!("{ip}#8080#DEFAULT#g@@s")),
            app: Some("unknown".to_owned()),
            tenant: None,
        }
    }

    /// As of the next tick: a list of the same one as the last might be older.
    fn terms(registry: &Registry) -> ListTerms {
        let as_of = registry.clock.tick().after(std::time::Duration::from_millis(1));
        ListTerms { is_settled: true, as_of }
    }

    fn worked_out(registry: &Registry, service: &ServiceKey) -> String {
        let datum = registry.find(service).unwrap();
        datum.read(|reader| checksum(&reader, service, &settings(&reader)))
    }

    #[tokio::test]
    async fn a_list_that_was_taken_is_told_alike() {
        let (registry, _control) = registry().await;
        let (service, list) = (service(), [instance("10.0.0.1"), instance("10.0.0.2")]);
        assert!(registry.is_foreign(&service));
        assert_eq!(registry.peer_checksum(&service), None);
        assert!(registry.take_foreign_list(&service, &list, terms(&registry)));
        let told = registry.peer_list(&service);
        let without_beat =
            |told: &PeerInstance| PeerInstance { last_beat_ms: Some(5), ..told.clone() };
        assert_eq!(told.iter().map(without_beat).collect::<Vec<_>>(), list);
        let checksum = registry.peer_checksum(&service);
        assert_eq!(checksum.as_deref(), Some(&*list_checksum(&list)));
        assert_eq!(registry.peer_checksums(|_| true).len(), 1);
        assert!(registry.owned_checksums().is_empty());
        // Kept by revision, and worked out anew after a change.
        assert_eq!(registry.peer_checksum(&service), checksum);
        let of_service = registry.service_checksum(&service);
        assert_eq!(of_service.as_deref(), Some(&*worked_out(&registry, &service)));
        assert_eq!(registry.service_checksum(&service), of_service);
        let mut changed = list.to_vec();
        changed[0].weight = 1.0;
        assert!(registry.take_foreign_list(&service, &changed, terms(&registry)));
        assert_eq!(registry.peer_checksum(&service).as_deref(), Some(&*list_checksum(&changed)));
        assert_ne!(registry.service_checksum(&service), of_service);
        let of_service = registry.service_checksum(&service);
        assert_eq!(of_service.as_deref(), Some(&*worked_out(&registry, &service)));
        // One that lacks what has just come up may have been overtaken.
        assert!(registry.drop_foreign(&service, terms(&registry)));
        assert_eq!(registry.peer_list(&service).len(), 2);
        for ip in ["10.0.0.1", "10.0.0.2"] {
            let key = InstanceKey { ip, port: 8080, cluster: "DEFAULT" };
            registry.foreign_deregistered(&service, &key, &String::new);
        }
        assert_eq!(registry.peer_checksum(&service), None);
    }

    #[tokio::test]
    async fn what_cannot_be_stored_is_left_out_and_hides_nobody() {
        let (registry, _control) = registry().await;
        let good = instance("10.0.0.1");
        let mut list = vec![
            PeerInstance { ip: "!10.0.0.2".to_owned(), ..good.clone() },
            PeerInstance { port: -1, ..good.clone() },
            PeerInstance { port: 65_536, ..good.clone() },
            PeerInstance { weight: f64::NAN, ..good.clone() },
            PeerInstance { weight: -1.0, ..good.clone() },
            PeerInstance { ephemeral: false, ..good.clone() },
            PeerInstance { cluster: "c".repeat(2_000), ..good.clone() },
            PeerInstance { app: Some("a".repeat(2_000)), ..good.clone() },
        ];
        list.push(good);
        assert!(registry.take_foreign_list(&service(), &list, terms(&registry)));
        assert_eq!(registry.peer_list(&service()).len(), 1);
    }

    #[tokio::test]
    async fn health_is_matched_by_address_and_port() {
        let (registry, _control) = registry().await;
        let list = [instance("10.0.0.1"), instance("10.0.0.2")];
        assert!(registry.take_foreign_list(&service(), &list, terms(&registry)));
        let statuses = [
            InstanceStatus { ip: "10.0.0.1".to_owned(), port: 8080, healthy: true },
            InstanceStatus { ip: "10.0.0.2".to_owned(), port: 80, healthy: true },
        ];
        registry.take_foreign_health(&service(), &statuses, terms(&registry));
        let healthy: Vec<bool> =
            registry.peer_list(&service()).iter().map(|told| told.healthy).collect();
        assert_eq!(healthy, [true, false]);
    }

    #[tokio::test]
    async fn what_the_owner_took_for_a_client_is_read_here_and_taken_over_later() {
        let (registry, control) = registry().await;
        let (service, key) = (service(), InstanceKey { ip: "10.0.0.9", port: 1, cluster: "c" });
        let own = Instance::new(1.0, Metadata::default()).unwrap();
        let nobody = String::new;
        registry.foreign_registered(&service, &key, own, true, &nobody);
        assert_eq!(registry.peer_list(&service).len(), 1);
        let root = registry.store.root();
        assert!(control.set_owners(vec![ME, JAVA]).await && control.input(Input::Changed));
        assert!(control.set_owners(vec![ME]).await);
        assert!(!registry.is_foreign(&service) && registry.store.root() != root);
        assert_eq!(registry.owned_checksums().len(), 1);
        registry.adopt_foreign_list(&service, &[instance("10.0.0.1")]);
        assert_eq!(registry.peer_list(&service).len(), 2);
        registry.foreign_deregistered(&service, &key, &nobody);
        assert_eq!(registry.peer_list(&service).len(), 1);
    }
}
