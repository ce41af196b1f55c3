//! What clients do to instances.
//!
//! Stamps are issued under the lock of the service: of two writes that wait for it, the one that
//! gets it later must be the newer one, or it would be answered and have no effect. They are issued
//! as of the moment at which [`Writes`](super::Writes) last saw that this process was not stopped:
//! whoever freezes it between that and the stamp makes the write older, not newer than those of
//! other members meanwhile.

use std::sync::Arc;

use distro_core::{Health, Heard, Operation, Stamp, Tick, Writer, apply};
use naming_model::{InstanceKey, RecordKey, ServiceKey, check_cluster_name};

use super::plan::{Known, Planned, initial_health};
use super::{
    BeatAnswer, BeatOutcome, CLASS_INSTANCE, Content, EventKind, Host, Instance, Patched, Registry,
    RegistryError, hosts, text_form,
};

impl Registry {
    /// Writes an instance, creating its service if need be, and renews its lease. A
    /// registration replaces the whole entry but keeps its id and its health: only a beat makes
    /// an unhealthy instance healthy, or a check if it is persistent. One of the other kind that
    /// has the same names is another instance. What an operator set of it stays, if that is kept.
    ///
    /// # Errors
    /// `Invalid` for names against the rules, `Full` if the registry is full.
    pub(crate) fn register(
        &self,
        now: Tick,
        service: &ServiceKey,
        key: &InstanceKey<'_>,
        instance: Instance,
        healthy: bool,
        actor: &dyn Fn() -> String,
    ) -> Result<(), RegistryError> {
        check_names(service, key)?;
        let id = instance.record_key(key).text();
        let kind = self.store.update(service.as_str(), now, |writer| {
            let stamp = self.store.clock().issue(now);
            let known = Known {
                instance: find_instance(writer, &id),
                kept: self.kept_values_in(writer, &id, &instance),
                has_service: writer.is_open(),
                is_removable: self.has_room_to_remove(|| writer.find(&id).is_some()),
            };
            // Other members may number the same service, while they disagree about who owns it.
            let number = || match self.settings.is_member {
                true => number_of(stamp),
                false => free_number(writer),
            };
            let place = (service.as_str(), &*id);
            let planned = self.plan_registration(place, &known, instance, healthy, number)?;
            let Planned { instance, health, kind } = planned;
            writer.register(&id, stamp, Arc::new(Content::Instance(instance)), health);
            Ok::<_, RegistryError>(kind)
        })?;
        if let Some(kind) = kind {
            self.note(service, &id, kind, actor);
        }
        Ok(())
    }

    /// Checks that an instance is there that may be replaced: some instance of the service of this
    /// kind with this address and port, in whatever cluster, as Java clients are told.
    ///
    /// # Errors
    /// `Missing` if it is not.
    pub(super) fn check_known(
        &self,
        service: &ServiceKey,
        key: &InstanceKey<'_>,
        instance: &Instance,
        healthy: bool,
    ) -> Result<(), RegistryError> {
        let same_address = |host: Host<'_>| {
            host.key.ip == key.ip
                && (host.key.port == key.port || host.key.port == 0)
                && host.instance.is_persistent == instance.is_persistent
        };
        let datum = self.find(service).ok_or_else(|| {
            let (namespace, name) = (service.namespace(), service.grouped());
            let text = format!("service not found, namespace: {namespace}, service: {name}");
            RegistryError::Missing(text)
        })?;
        if datum.read(|reader| hosts(&reader).any(same_address)) {
            return Ok(());
        }
        let form = text_form(key, instance.weight, healthy);
        Err(RegistryError::Missing(format!("instance not exist: {form}")))
    }

    /// What is known of an instance.
    pub(super) fn find_instance(&self, service: &ServiceKey, id: &str) -> Option<KnownInstance> {
        self.store.find(service.as_str())?.read(|reader| {
            let (record, content) = reader.find_visible(id)?;
            let Content::Instance(instance) = &**content else { return None };
            let (health, written) = (record.health(), record.registration);
            Some(KnownInstance { instance: instance.clone(), health, written })
        })
    }

    /// Whether an ephemeral instance with these names is there.
    pub(crate) fn is_known(&self, service: &ServiceKey, key: &InstanceKey<'_>) -> bool {
        self.find_instance(service, &RecordKey::ephemeral(*key).text()).is_some()
    }

    /// Which of the instances with these names is there: the one of the kind asked for, if any is,
    /// or else the persistent one, which Nacos finds first.
    pub(crate) fn choose_kind<'a>(
        &self,
        service: &ServiceKey,
        key: &InstanceKey<'a>,
        ephemeral: Option<bool>,
    ) -> RecordKey<'a> {
        let first = RecordKey { instance: *key, is_persistent: !ephemeral.unwrap_or(false) };
        let second = RecordKey { is_persistent: !first.is_persistent, ..first };
        let is_known = |key: &RecordKey<'_>| self.find_instance(service, &key.text()).is_some();
        [first, second].into_iter().find(is_known).unwrap_or(first)
    }

    /// Which of the instances with these names a removal means that names no kind: the one that is
    /// there, of two the ephemeral one, and if this member knows neither, the one of the kind that
    /// a registration without a kind makes.
    pub(crate) fn choose_kind_to_remove<'a>(
        &self,
        service: &ServiceKey,
        key: &InstanceKey<'a>,
    ) -> RecordKey<'a> {
        let of_kind = |is_persistent| RecordKey { instance: *key, is_persistent };
        let is_known = |key: &RecordKey<'_>| self.find_instance(service, &key.text()).is_some();
        let known = [false, true].into_iter().map(of_kind).find(is_known);
        known.unwrap_or_else(|| of_kind(!self.switches.load().default_instance_ephemeral))
    }

    /// Changes parts of an instance, which the events call `kind`. `change` edits a copy and gives
    /// the health to set, if any.
    ///
    /// # Errors
    /// Whatever `change` refuses; nothing is written then.
    pub(super) fn patch(
        &self,
        now: Tick,
        kind: EventKind,
        service: &ServiceKey,
        key: &RecordKey<'_>,
        actor: &dyn Fn() -> String,
        change: impl FnOnce(&Instance) -> Result<(Instance, Option<bool>), RegistryError>,
    ) -> Result<Patched, RegistryError> {
        let id = key.text();
        let patched = self.store.update_existing(
            service.as_str(),
            now,
            |writer| -> Result<_, RegistryError> {
                let Some(known) = find_instance(writer, &id) else {
                    return Ok(Patched::NotFound);
                };
                let Planned { instance, health, .. } = self.plan_patch(known, kind, change)?;
                let stamp = self.store.clock().issue(now);
                writer.register(&id, stamp, Arc::new(Content::Instance(instance)), health);
                Ok(Patched::Done)
            },
        );
        let patched = patched.unwrap_or(Ok(Patched::NotFound))?;
        if patched == Patched::Done {
            self.note(service, &id, kind, actor);
        }
        Ok(patched)
    }

    /// Removes an instance; nothing happens if it is not there.
    pub(crate) fn deregister(
        &self,
        now: Tick,
        service: &ServiceKey,
        key: &RecordKey<'_>,
        actor: &dyn Fn() -> String,
    ) {
        let id = key.text();
        let removed = self.store.update_existing(service.as_str(), now, |writer| {
            writer.deregister(&id, self.store.clock().issue(now))
        });
        if removed == Some(true) {
            self.note(service, &id, EventKind::Deregistered, actor);
        }
    }

    /// Removes an instance whether it is there or not: its registration may be on its way from
    /// another member, and must not count when it arrives.
    pub(super) fn deregister_unseen(
        &self,
        now: Tick,
        service: &ServiceKey,
        key: &RecordKey<'_>,
        actor: &dyn Fn() -> String,
    ) {
        let id = key.text();
        let was_known = self.find_instance(service, &id).is_some();
        let stamp = self.store.clock().issue(now);
        apply(&self.store, &Operation::deregister(service.as_str(), id.as_str(), stamp), now);
        if was_known {
            self.note(service, &id, EventKind::Deregistered, actor);
        }
    }

    /// Takes a beat of an instance that is known, or was until a moment ago: then the beat was on
    /// its way already. `None` for any other. With the answer comes an instance that a connection
    /// holds, which the beat takes over.
    pub(super) fn hear(
        &self,
        service: &ServiceKey,
        id: &str,
    ) -> Option<(BeatAnswer, Option<Box<Instance>>)> {
        let now = self.clock.tick();
        match self.store.hear(service.as_str(), id, now) {
            Heard::Known { value, .. } => {
                let Content::Instance(instance) = &*value else {
                    return Some((BeatAnswer::Unknown, None));
                };
                self.beats.count(BeatOutcome::Known);
                let held = instance.held.is_some().then(|| Box::new(instance.clone()));
                Some((BeatAnswer::Known { interval_ms: instance.beat_interval_ms() }, held))
            }
            Heard::Deregistered { learned }
                if now.since(learned) < self.settings.store.compensation_window =>
            {
                self.beats.count(BeatOutcome::Late);
                Some((BeatAnswer::Known { interval_ms: None }, None))
            }
            Heard::Deregistered { .. } | Heard::Unknown => None,
        }
    }

    /// The answer to the beat of a persistent instance, if there is one with these names: it is
    /// known, and nothing changes.
    pub(super) fn beat_of_persistent(
        &self,
        service: &ServiceKey,
        key: &InstanceKey<'_>,
    ) -> Option<BeatAnswer> {
        let known = self.find_instance(service, &RecordKey::persistent(*key).text())?;
        self.beats.count(BeatOutcome::Known);
        Some(BeatAnswer::Known { interval_ms: known.instance.beat_interval_ms() })
    }

    /// Sets the health of an instance by hand. Nothing happens if it is not there.
    pub(crate) fn set_health(
        &self,
        now: Tick,
        service: &ServiceKey,
        key: &RecordKey<'_>,
        healthy: bool,
        actor: &dyn Fn() -> String,
    ) {
        let (id, health) = (key.text(), initial_health(healthy));
        let changed = self.store.update_existing(service.as_str(), now, |writer| {
            let differs = find_instance(writer, &id).is_some_and(|(_, known)| known != health);
            if differs {
                writer.judge(&id, self.store.clock().issue(now), health);
            }
            differs
        });
        if changed == Some(true) {
            let kind = if healthy { EventKind::Healthy } else { EventKind::Unhealthy };
            self.note(service, &id, kind, actor);
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.store.visible_count(CLASS_INSTANCE) >= self.settings.limits.instances()
    }

    pub(super) fn full(&self) -> RegistryError {
        let limit = self.settings.limits.instances();
        RegistryError::Full(format!(
            "the limit of {limit} instances (registry.max_instances) is reached"
        ))
    }
}

/// An instance as it was found.
pub(super) struct KnownInstance {
    pub(super) instance: Instance,
    pub(super) health: Health,
    /// When it was written.
    pub(super) written: Stamp,
}

/// Checks the names of an instance that is about to be stored. Which characters a name of a service
/// may have is the rule of each front; here it must be one that can be stored.
///
/// # Errors
/// A name is against the rules.
pub(super) fn check_names(
    service: &ServiceKey,
    key: &InstanceKey<'_>,
) -> Result<(), RegistryError> {
    check_service(service)?;
    Ok(check_cluster_name(key.cluster)?)
}

/// Checks the name of a service that is about to be stored.
///
/// # Errors
/// A character that cannot be seen, a blank, or what would run into the namespace.
pub(super) fn check_service(service: &ServiceKey) -> Result<(), RegistryError> {
    // Nearly all names pass the rule that is quickly checked.
    Ok(service.check_characters().or_else(|_| service.check_printable())?)
}

pub(super) fn find_instance<'a>(
    writer: &'a Writer<'_, Content>,
    key: &str,
) -> Option<(&'a Instance, Health)> {
    let (record, content) = writer.find_visible(key)?;
    match &**content {
        Content::Instance(instance) => Some((instance, record.health())),
        _ => None,
    }
}

/// A number that no other registration gets, whichever member takes it: its moment, and the member.
pub(super) fn number_of(stamp: Stamp) -> u64 {
    const MEMBER_BITS: u32 = 10;
    (stamp.time() << MEMBER_BITS) | u64::from(stamp.member().0 % (1 << MEMBER_BITS))
}

/// The smallest number that no instance of the service has as its id.
fn free_number(writer: &Writer<'_, Content>) -> u64 {
    let number = |content: &Content| match content {
        Content::Instance(instance) => instance.id.as_deref()?.parse::<u64>().ok(),
        _ => None,
    };
    let mut taken: Vec<u64> = writer.visible().filter_map(|(.., value)| number(value)).collect();
    taken.sort_unstable();
    taken.dedup();
    (0..)
        .zip(&taken)
        .find(|(free, taken)| free != *taken)
        .map_or(taken.len() as u64, |(free, _)| free)
}

#[cfg(test)]
mod tests {
    use distro_core::{MemberId, StampClock};
    use distro_net::Clock;
    use naming_model::META_ID_GENERATOR;

    use super::*;
    use crate::registry::{Events, Metadata, Watch};

    /// Patches of each thread.
    const ROUNDS: u32 = 3_000;

    fn registry(config: &crate::Config, member: MemberId) -> Registry {
        let clock = Clock::start();
        let settings = config.registry_settings(1);
        let events = Arc::new(Events::new(0));
        let watch = Arc::new(Watch::new(Arc::clone(&events)));
        let stamps = StampClock::new(member, 1, clock.now());
        Registry::new(settings, events, watch, stamps, clock, Vec::new())
    }

    #[test]
    fn members_that_both_take_a_service_for_theirs_give_no_number_twice() {
        let config = crate::Config {
            cluster: crate::ClusterConfig { members: "a,b".into(), ..Default::default() },
            ..Default::default()
        };
        let service = ServiceKey::parse("public", "g@@s").unwrap();
        let generator = (META_ID_GENERATOR.to_owned(), "snowflake".to_owned());
        let metadata = Metadata::new(&[generator].into(), 4_096).unwrap();
        let mut ids = std::collections::BTreeSet::new();
        for member in 1..=2 {
            let registry = registry(&config, MemberId(member));
            for port in 1..=100 {
                let key = InstanceKey { ip: "10.0.0.1", port, cluster: "DEFAULT" };
                let instance = Instance::new(1.0, metadata.clone()).unwrap();
                registry
                    .register(registry.clock.tick(), &service, &key, instance, true, &String::new)
                    .unwrap();
            }
            registry.find(&service).unwrap().read(|reader| {
                ids.extend(hosts(&reader).map(|host| host.instance.id.clone().unwrap()));
            });
        }
        assert_eq!(ids.len(), 200);
    }

    fn count_up(registry: &Registry, service: &ServiceKey, key: &RecordKey<'_>, name: &str) {
        for count in 1..=ROUNDS {
            let change = |known: &Instance| {
                let mut map = known.metadata.to_map();
                let last = map.insert(name.to_owned(), count.to_string());
                assert_eq!(last, (count > 1).then(|| (count - 1).to_string()), "lost");
                let mut changed = known.clone();
                changed.set_metadata(Metadata::new(&map, 4_096)?);
                Ok((changed, None))
            };
            registry
                .patch(
                    registry.clock.tick(),
                    EventKind::Updated,
                    service,
                    key,
                    &String::new,
                    change,
                )
                .unwrap();
        }
    }

    #[test]
    fn of_patches_at_the_same_time_none_is_lost() {
        let registry = registry(&crate::Config::default(), MemberId(1));
        let service = ServiceKey::parse("public", "g@@s").unwrap();
        let key = InstanceKey { ip: "10.0.0.1", port: 80, cluster: "DEFAULT" };
        let instance = Instance::new(1.0, Metadata::default()).unwrap();
        registry
            .register(registry.clock.tick(), &service, &key, instance, true, &String::new)
            .unwrap();
        let key = RecordKey::ephemeral(key);
        let names = ["a", "b", "c", "d"];
        std::thread::scope(|scope| {
            for name in names {
                let (registry, service, key) = (&registry, &service, &key);
                scope.spawn(move || count_up(registry, service, key, name));
            }
        });
        let found = registry.find(&service).unwrap().read(|reader| {
            hosts(&reader).next().map(|host| host.instance.metadata.to_map()).unwrap()
        });
        assert_eq!(found, names.map(|name| (name.to_owned(), ROUNDS.to_string())).into());
    }
}
