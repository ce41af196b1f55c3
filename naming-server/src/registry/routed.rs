//! Routing forward: a write goes to the member that owns the service, in one hop, and is done when
//! this member holds the outcome, so that its client reads its own write here.
//!
//! Alone, or for services of our own, nothing waits: see [`Write::Done`].

use std::sync::Arc;

use distro_core::DATUM_KEY;
use naming_model::{InstanceKey, RecordKey, ServiceKey, check_cluster_name};

use super::at_owner::{AtOwner, InstanceId, not_yet_known};
use super::cluster::Cluster;
use super::plan::initial_health;
use super::writes::check_names;
use super::{
    BeatAnswer, BeatOutcome, EventKind, Instance, Later, OperatorValues, Patched, Registry,
    RegistryError, ServiceSettings, Write,
};
use crate::durable::Acks;

mod anew;
mod moment;
mod records;

/// Carries out writes, here or where they belong.
#[derive(Clone)]
pub(crate) struct Writes {
    pub(super) registry: Arc<Registry>,
    cluster: Option<Arc<Cluster>>,
    acks: Option<Acks>,
}

impl Writes {
    /// Writes to this registry, or through the cluster if there is one. Durable ones wait for
    /// `acks`, if anything is kept on disk.
    pub(crate) fn new(
        registry: Arc<Registry>,
        cluster: Option<Arc<Cluster>>,
        acks: Option<Acks>,
    ) -> Self {
        Self { registry, cluster, acks }
    }

    /// A write of a durable record, as its client sees it: done when that is on disk. `wrote` are
    /// its tag and key; the outcome says whether there was anything to write.
    fn durably<T: Send + 'static>(
        &self,
        wrote: (&str, &str),
        write: Write<Result<T, RegistryError>>,
    ) -> Write<Result<T, RegistryError>> {
        let Some(acks) = &self.acks else { return write };
        let place = (wrote.0.into(), wrote.1.into());
        match write {
            Write::Done(Err(error)) => Write::Done(Err(error)),
            Write::Done(Ok(outcome)) => {
                let kept = acks.kept(&place);
                Write::Sent(Box::pin(async move { Ok(kept.await.map(|()| outcome)?) }))
            }
            Write::Sent(later) => {
                let acks = acks.clone();
                Write::Sent(Box::pin(async move {
                    let outcome = later.await?;
                    Ok(acks.kept(&place).await.map(|()| outcome)?)
                }))
            }
        }
    }

    /// The same for an instance, which outlives a restart or does not.
    fn durably_if<T: Send + 'static>(
        &self,
        service: &ServiceKey,
        durable: Option<String>,
        write: Write<Result<T, RegistryError>>,
    ) -> Write<Result<T, RegistryError>> {
        match durable {
            Some(key) => self.durably((service.as_str(), &key), write),
            None => write,
        }
    }

    /// Whether a Java server owns a service. Its instances are written here as it would write them;
    /// the caller has asked it before, or cannot.
    fn is_foreign(&self, service: &ServiceKey) -> bool {
        self.cluster.is_some() && self.registry.is_foreign(service)
    }

    /// The key of an instance, if it is one that outlives a restart and anything is kept.
    fn durable_instance(&self, key: &RecordKey<'_>) -> Option<String> {
        (key.is_persistent && self.acks.is_some()).then(|| key.text())
    }

    /// The way to the owner of a service that is not ours.
    fn at_owner(&self, service: &ServiceKey) -> Option<AtOwner> {
        self.at_owner_of(service.as_str())
    }

    fn at_owner_of(&self, tag: &str) -> Option<AtOwner> {
        let cluster = self.cluster.as_ref().filter(|cluster| !cluster.owns(tag))?;
        // An operator may have everything written where it arrives.
        self.registry
            .switches
            .load()
            .distro_enabled
            .then(|| AtOwner { registry: Arc::clone(&self.registry), cluster: Arc::clone(cluster) })
    }

    /// As [`Registry::register`].
    pub(crate) fn register(
        &self,
        service: &ServiceKey,
        key: &InstanceKey<'_>,
        instance: Instance,
        healthy: bool,
        actor: &dyn Fn() -> String,
    ) -> Write<Result<(), RegistryError>> {
        if !instance.is_persistent && self.is_foreign(service) {
            let made = self.registry.register_for_owner(service, key, instance, healthy, actor);
            return Write::Done(made);
        }
        let durable = self.durable_instance(&instance.record_key(key));
        let write = match self.at_owner(service) {
            None => {
                self.here(|now| self.registry.register(now, service, key, instance, healthy, actor))
            }
            Some(owner) => {
                let checked = check_names(service, key);
                let (target, actor) =
                    (InstanceId::new(service, &instance.record_key(key)), actor());
                Write::Sent(Box::pin(async move {
                    checked?;
                    owner.register(target, instance, healthy, actor).await
                }))
            }
        };
        self.durably_if(service, durable, write)
    }

    /// As [`Registry::update`].
    pub(crate) fn update(
        &self,
        service: &ServiceKey,
        key: &InstanceKey<'_>,
        instance: Instance,
        healthy: bool,
        actor: &dyn Fn() -> String,
    ) -> Write<Result<(), RegistryError>> {
        match self.registry.check_known(service, key, &instance, healthy) {
            Err(error) => Write::Done(Err(error)),
            Ok(()) => self.register(service, key, instance, healthy, actor),
        }
    }

    /// As [`Registry::patch`]. `change` may be asked several times, each time with what is newer.
    pub(crate) fn patch(
        &self,
        service: &ServiceKey,
        key: &RecordKey<'_>,
        actor: &dyn Fn() -> String,
        change: impl Fn(&Instance) -> Result<(Instance, Option<bool>), RegistryError> + Send + 'static,
    ) -> Write<Result<Patched, RegistryError>> {
        self.patch_as(EventKind::Updated, service, key, actor, change)
    }

    fn patch_as(
        &self,
        kind: EventKind,
        service: &ServiceKey,
        key: &RecordKey<'_>,
        actor: &dyn Fn() -> String,
        change: impl Fn(&Instance) -> Result<(Instance, Option<bool>), RegistryError> + Send + 'static,
    ) -> Write<Result<Patched, RegistryError>> {
        if !key.is_persistent && self.is_foreign(service) {
            return Write::Done(self.registry.patch_for_owner(service, key, actor, change));
        }
        let durable = self.durable_instance(key);
        let write = match self.at_owner(service) {
            None => self.here(|now| self.registry.patch(now, kind, service, key, actor, change)),
            Some(owner) => {
                let (target, actor) = (InstanceId::new(service, key), actor());
                Write::Sent(Box::pin(owner.patch(kind, target, actor, change)))
            }
        };
        self.durably_if(service, durable, write)
    }

    /// As [`Registry::deregister`].
    pub(crate) fn deregister(
        &self,
        service: &ServiceKey,
        key: &RecordKey<'_>,
        actor: &dyn Fn() -> String,
    ) -> Write<Result<(), RegistryError>> {
        if !key.is_persistent && self.registry.is_held(service, key) {
            // As in Nacos: what a connection has registered is not theirs to remove who beat.
            return Write::Done(Ok(()));
        }
        if !key.is_persistent && self.is_foreign(service) {
            self.registry.foreign_deregistered(service, &key.instance, actor);
            return Write::Done(Ok(()));
        }
        let durable = self.durable_instance(key);
        let write = match self.at_owner(service) {
            None => self.here(|now| {
                match self.cluster {
                    Some(_) => self.registry.deregister_unseen(now, service, key, actor),
                    None => self.registry.deregister(now, service, key, actor),
                }
                Ok(())
            }),
            Some(owner) => {
                let (target, actor) = (InstanceId::new(service, key), actor());
                Write::Sent(Box::pin(owner.deregister(target, actor)))
            }
        };
        self.durably_if(service, durable, write)
    }

    /// As [`Registry::set_health`]. In a cluster the instance is written anew with this health: a
    /// judgement would be refuted by a member that heard it a moment ago.
    pub(crate) fn set_health(
        &self,
        service: &ServiceKey,
        key: &RecordKey<'_>,
        healthy: bool,
        actor: &dyn Fn() -> String,
    ) -> Write<Result<(), RegistryError>> {
        if self.cluster.is_none() {
            self.registry.set_health(self.registry.clock.tick(), service, key, healthy, actor);
            return self.durably_if(service, self.durable_instance(key), Write::Done(Ok(())));
        }
        let Some(known) = self.registry.find_instance(service, &key.text()) else {
            return Write::Done(Ok(()));
        };
        if known.health == initial_health(healthy) {
            // Who wrote it may be waiting for the disk yet, or may have waited in vain.
            return self.durably_if(service, self.durable_instance(key), Write::Done(Ok(())));
        }
        let kind = if healthy { EventKind::Healthy } else { EventKind::Unhealthy };
        let change = move |known: &Instance| Ok((known.clone(), Some(healthy)));
        let write = self.patch_as(kind, service, key, actor, change);
        write.map(|patched| patched.map(|_| ()))
    }

    /// Takes a beat: renewed here at once if the instance is known here. An instance unknown here
    /// may be known to the owner. A persistent instance needs none, and is known all the same.
    ///
    /// # Errors
    /// As [`Registry::beat`], and `NotReady` for an unknown instance while this node does not know enough
    /// to say so.
    pub(crate) fn beat(
        &self,
        service: &ServiceKey,
        key: &InstanceKey<'_>,
        whole: Option<impl FnOnce() -> Result<Instance, RegistryError>>,
        actor: &dyn Fn() -> String,
    ) -> Write<Result<BeatAnswer, RegistryError>> {
        let record = RecordKey::ephemeral(*key);
        let known = match self.registry.hear(service, &record.text()) {
            Some((answer, Some(held))) => {
                // From now on it lives by its beats, whatever becomes of the connection.
                let mut instance = *held;
                instance.held = None;
                let taken = self.register(service, key, instance, true, actor);
                return taken.map(move |taken| taken.map(|()| answer));
            }
            known => known.map(|(answer, _)| answer),
        };
        if let Some(answer) = known.or_else(|| self.registry.beat_of_persistent(service, key)) {
            return Write::Done(Ok(answer));
        }
        if self.is_foreign(service) {
            return self.beat_of_unknown(service, key, whole, actor);
        }
        match self.at_owner(service) {
            None => match self.check_may_judge_unknown() {
                Ok(()) => self.beat_of_unknown(service, key, whole, actor),
                Err(error) => Write::Done(Err(error)),
            },
            Some(owner) => {
                let (target, actor) = (InstanceId::new(service, &record), actor());
                let checked = check_cluster_name(key.cluster).map_err(RegistryError::from);
                let whole = whole.map(|whole| checked.and_then(|()| whole()));
                let (writes, service, id) = (self.clone(), service.clone(), record.text());
                let heard = Write::Sent(Box::pin(owner.hear(target)) as Later<_>);
                heard.then(move |heard| match (heard, RecordKey::parse(&id)) {
                    (Err(error), _) => Write::Done(Err(error)),
                    (Ok(Some(answer)), _) => Write::Done(Ok(answer)),
                    (Ok(None), Some(key)) => {
                        let whole = whole.map(|whole| move || whole);
                        writes.beat_of_unknown(&service, &key.instance, whole, &|| actor.clone())
                    }
                    // Names that no instance can have: what is wrong with them is said.
                    (Ok(None), None) => Write::Done(match whole {
                        Some(Err(error)) => Err(error),
                        _ => Ok(BeatAnswer::Unknown),
                    }),
                })
            }
        }
    }

    /// Takes a beat of an instance that nobody knows. One that carries the whole instance registers
    /// it, as any other registration: where it belongs, and on disk if it is to last.
    fn beat_of_unknown(
        &self,
        service: &ServiceKey,
        key: &InstanceKey<'_>,
        whole: Option<impl FnOnce() -> Result<Instance, RegistryError>>,
        actor: &dyn Fn() -> String,
    ) -> Write<Result<BeatAnswer, RegistryError>> {
        let instance = match whole.map(|whole| whole()).transpose() {
            Ok(Some(instance)) => instance,
            Ok(None) => {
                self.registry.beats.count(BeatOutcome::Unknown);
                return Write::Done(Ok(BeatAnswer::Unknown));
            }
            Err(error) => return Write::Done(Err(error)),
        };
        let interval_ms = instance.beat_interval_ms();
        let registry = Arc::clone(&self.registry);
        self.register(service, key, instance, true, actor).map(move |registered| {
            registered?;
            registry.beats.count(BeatOutcome::Registered);
            Ok(BeatAnswer::Known { interval_ms })
        })
    }

    fn check_may_judge_unknown(&self) -> Result<(), RegistryError> {
        match &self.cluster {
            Some(cluster) if !cluster.may_judge_unknown(self.registry.clock.tick()) => {
                Err(not_yet_known())
            }
            _ => Ok(()),
        }
    }

    /// As [`Registry::change_settings`]. `change` may be asked several times.
    pub(crate) fn change_settings(
        &self,
        service: &ServiceKey,
        change: impl Fn(Option<&ServiceSettings>) -> Result<ServiceSettings, RegistryError>
        + Send
        + 'static,
    ) -> Write<Result<(), RegistryError>> {
        let write = match self.at_owner(service) {
            None => self.here(|now| self.registry.change_settings(now, service, change)),
            Some(owner) => Write::Sent(Box::pin(owner.change_settings(service.clone(), change))),
        };
        self.durably((service.as_str(), DATUM_KEY), write)
    }

    /// As [`Registry::change_operator_values`]. `change` may be asked several times.
    pub(crate) fn change_operator_values(
        &self,
        service: &ServiceKey,
        key: &RecordKey<'_>,
        change: impl Fn(OperatorValues) -> OperatorValues + Send + 'static,
    ) -> Write<Result<(), RegistryError>> {
        let id = key.text();
        let durable = self.acks.is_some().then(|| RecordKey::operator_text(&id));
        let write = match self.at_owner(service) {
            None => {
                self.here(|now| self.registry.change_operator_values(now, service, &id, change))
            }
            Some(owner) => {
                let target = InstanceId::new(service, key);
                Write::Sent(Box::pin(owner.change_operator_values(target, change)))
            }
        };
        self.durably_if(service, durable, write)
    }

    /// As [`Registry::delete_service`].
    pub(crate) fn delete_service(
        &self,
        service: &ServiceKey,
        actor: &dyn Fn() -> String,
    ) -> Write<Result<bool, RegistryError>> {
        let write = match self.at_owner(service) {
            None => self.here(|now| Ok(self.registry.delete_service(now, service, actor))),
            Some(owner) => {
                let (service, actor) = (service.clone(), actor());
                Write::Sent(Box::pin(owner.delete_service(service, actor)))
            }
        };
        // The removal of the settings says that everything is removed.
        self.durably((service.as_str(), DATUM_KEY), write)
    }
}
