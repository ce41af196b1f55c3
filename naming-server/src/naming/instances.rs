//! What clients do to instances.

use naming_model::{InstanceKey, RecordKey, ServiceKey};

use super::begun::{begun, finished};
use super::{Access, Caller, Naming, NamingError, Need};
use crate::registry::{Action, BeatAnswer, Instance, Named, RegistryError, Write};

impl Naming {
    /// Registers an instance, as [`Writes::register`](crate::registry::Writes::register) says.
    ///
    /// # Errors
    /// The gate is closed, the caller may not write the service, or the registry refuses.
    pub(crate) fn register(
        &self,
        caller: &Caller<'_>,
        service: &ServiceKey,
        key: &InstanceKey<'_>,
        instance: Instance,
        healthy: bool,
    ) -> Write<Result<(), NamingError>> {
        if let Err(refused) = self.enter_to_write(caller, service) {
            return Write::Done(Err(refused));
        }
        let is_ephemeral = !instance.is_persistent;
        let write = self.writes.register(service, key, instance, healthy, &|| caller.actor());
        let write = begun(write);
        if is_ephemeral { self.telling_owner_of(caller, service, key, write) } else { write }
    }

    /// Removes an instance; one that is not there is no error.
    ///
    /// # Errors
    /// The gate is closed, the caller may not write the service, or the change is not kept.
    pub(crate) fn deregister(
        &self,
        caller: &Caller<'_>,
        service: &ServiceKey,
        key: &RecordKey<'_>,
    ) -> Write<Result<(), NamingError>> {
        if let Err(refused) = self.enter_to_write(caller, service) {
            return Write::Done(Err(refused));
        }
        let write = begun(self.writes.deregister(service, key, &|| caller.actor()));
        match key.is_persistent {
            true => write,
            false => self.telling_owner_of(caller, service, &key.instance, write),
        }
    }

    /// Takes a beat. `whole` makes the instance of it, if the beat carries it whole: an unknown
    /// instance is registered then.
    ///
    /// # Errors
    /// The gate is closed, the caller may not write the service, or the registry refuses.
    pub(crate) fn beat(
        &self,
        caller: &Caller<'_>,
        service: &ServiceKey,
        key: &InstanceKey<'_>,
        whole: Option<impl FnOnce() -> Result<Instance, RegistryError>>,
    ) -> Write<Result<BeatAnswer, NamingError>> {
        if let Err(refused) = self.enter_to_write(caller, service) {
            return Write::Done(Err(refused));
        }
        let was_known = self.owners.is_none() || self.registry.is_known(service, key);
        let write = begun(self.writes.beat(service, key, whole, &|| caller.actor()));
        // Nobody else tells the owner of an instance that a beat has registered.
        match was_known {
            true => self.passing_on(caller, service, key, write),
            false => self.telling_owner_of(caller, service, key, write),
        }
    }

    /// Replaces an instance by the word of an operator: what `named` says is kept beside it first,
    /// if anything is kept and the instance is there, so that the next registration has it, too.
    /// An instance that is not there is registered, unless it `must_exist`.
    ///
    /// # Errors
    /// The gate is closed, the caller may not write the service, or the registry refuses.
    pub(crate) fn update(
        &self,
        caller: &Caller<'_>,
        service: &ServiceKey,
        key: &InstanceKey<'_>,
        (mut instance, healthy): (Instance, bool),
        named: impl FnOnce(&Instance) -> Named,
        must_exist: bool,
    ) -> Write<Result<(), NamingError>> {
        let about = || super::watched::of_instance(service, key);
        self.watched(caller, "instance_update", about, || {
            if let Err(refused) = self.enter_to_write(caller, service) {
                return Write::Done(Err(refused));
            }
            let record = instance.record_key(key);
            self.registry.keep_held(service, &record, &mut instance);
            let kept = self.keep_named(service, &record, &instance, named);
            let (of, writes, actor) = (service, self.writes.clone(), caller.actor());
            let service = service.clone();
            let id = record.text();
            let write = kept.then(move |kept| {
                let key = match kept.and_then(|()| read_key(&id)) {
                    Ok(key) => key.instance,
                    Err(error) => return Write::Done(Err(error)),
                };
                let actor = || actor.clone();
                if must_exist {
                    writes.update(&service, &key, instance, healthy, &actor)
                } else {
                    writes.register(&service, &key, instance, healthy, &actor)
                }
            });
            let write = begun(write);
            match record.is_persistent {
                true => write,
                false => self.telling_owner_of(caller, of, key, write),
            }
        })
    }

    pub(super) fn enter_to_write(
        &self,
        caller: &Caller<'_>,
        service: &ServiceKey,
    ) -> Result<(), NamingError> {
        self.enter(caller, Access::Write, &Need::Service(Action::Write, service))
    }

    /// Keeps what an operator named of an instance, if the instance is there and anything is kept.
    fn keep_named(
        &self,
        service: &ServiceKey,
        key: &RecordKey<'_>,
        instance: &Instance,
        named: impl FnOnce(&Instance) -> Named,
    ) -> Write<Result<(), RegistryError>> {
        let Some(known) = self.registry.known(service, &key.text()) else {
            return Write::Done(Ok(()));
        };
        if !self.registry.keeps_values_of(&known) {
            return Write::Done(Ok(()));
        }
        if let Err(full) = self.registry.check_kept_change(&known, instance) {
            return Write::Done(Err(full));
        }
        let named = named(instance);
        self.writes.change_operator_values(service, key, move |before| before.with(&named, &known))
    }
}

/// The key that was written down to be taken along.
pub(super) fn read_key(id: &str) -> Result<RecordKey<'_>, RegistryError> {
    RecordKey::parse(id).ok_or_else(|| RegistryError::Missing("instance not found".to_owned()))
}

/// Several writes as one, which goes on whatever its front does.
pub(super) fn all_begun<T: Send + 'static>(
    write: Write<Result<T, NamingError>>,
) -> Write<Result<T, NamingError>> {
    match write {
        Write::Done(outcome) => Write::Done(outcome),
        Write::Sent(later) => Write::Sent(finished(later)),
    }
}
