//! Writes to services that a Java server owns, as they are made here: after it has carried them
//! out, so that their clients find them, or in its place while it cannot be asked.
//!
//! Such a write looks, plans and writes in three steps, without the lock of the service over them:
//! the core alone stamps what a Java server owns. So there is one at a time, or a patch would be
//! made from what another one is about to replace.

use naming_model::{InstanceKey, RecordKey, ServiceKey};

use super::plan::{Known, initial_health};
use super::writes::{check_names, number_of};
use super::{EventKind, Instance, Patched, Registry, RegistryError};

impl Registry {
    /// As [`Self::register`], in the name of the owner.
    pub(super) fn register_for_owner(
        &self,
        service: &ServiceKey,
        key: &InstanceKey<'_>,
        instance: Instance,
        healthy: bool,
        actor: &dyn Fn() -> String,
    ) -> Result<(), RegistryError> {
        check_names(service, key)?;
        let id = RecordKey::ephemeral(*key).text();
        let _one_at_a_time = self.writes_for_owners.lock();
        let kept = self.kept_values(service, &id, &instance);
        let known = self.find_instance(service, &id);
        let known = Known {
            instance: known.as_ref().map(|known| (&known.instance, known.health)),
            kept: kept.as_ref(),
            has_service: self.find(service).is_some(),
            is_removable: self.has_room_to_remove_at(service, &id),
        };
        let number = || number_of(self.store.clock().issue(self.clock.tick()));
        let place = (service.as_str(), &*id);
        let planned = self.plan_registration(place, &known, instance, healthy, number)?;
        self.foreign_registered(service, key, planned.instance, healthy, actor);
        Ok(())
    }

    /// As [`Self::patch`], in the name of the owner.
    pub(super) fn patch_for_owner(
        &self,
        service: &ServiceKey,
        key: &RecordKey<'_>,
        actor: &dyn Fn() -> String,
        change: impl Fn(&Instance) -> Result<(Instance, Option<bool>), RegistryError>,
    ) -> Result<Patched, RegistryError> {
        let _one_at_a_time = self.writes_for_owners.lock();
        let Some(known) = self.find_instance(service, &key.text()) else {
            return Ok(Patched::NotFound);
        };
        let known = (&known.instance, known.health);
        let planned = self.plan_patch(known, EventKind::Updated, change)?;
        let is_healthy = planned.health == initial_health(true);
        self.foreign_registered(service, &key.instance, planned.instance, is_healthy, actor);
        Ok(Patched::Done)
    }
}
