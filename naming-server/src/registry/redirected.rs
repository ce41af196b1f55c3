//! Writes to services that a Java server owns, as they are made here: after it has carried them
//! out, so that their clients find them, or in its place while it cannot be asked.

use naming_model::{InstanceKey, RecordKey, ServiceKey, check_cluster_name};

use super::content_codec::instance_weight;
use super::writes::initial_health;
use super::{Instance, Patched, Registry, RegistryError};

impl Registry {
    /// As [`Self::register`], in the name of the owner.
    pub(super) fn register_for_owner(
        &self,
        service: &ServiceKey,
        key: &InstanceKey<'_>,
        mut instance: Instance,
        healthy: bool,
        actor: &dyn Fn() -> String,
    ) -> Result<(), RegistryError> {
        service.check_characters()?;
        check_cluster_name(key.cluster)?;
        let id = RecordKey::ephemeral(*key).text();
        if let Some(kept) = self.kept_values(service, &id) {
            kept.lay_over(&mut instance)?;
        }
        let known = self.find_instance(service, &id);
        match &known {
            Some(known) => instance.id.clone_from(&known.instance.id),
            None => self.check_room(service)?,
        }
        let known = known.map(|known| instance_weight(&known.instance));
        self.check_bytes((service.as_str(), &id), known, instance_weight(&instance))?;
        self.foreign_registered(service, key, instance, healthy, actor);
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
        let Some(known) = self.find_instance(service, &key.text()) else {
            return Ok(Patched::NotFound);
        };
        let (instance, healthy) = change(&known.instance)?;
        let (was, is) = (instance_weight(&known.instance), instance_weight(&instance));
        self.check_growth(is.saturating_sub(was))?;
        let was_healthy = known.health == initial_health(true);
        let healthy = healthy.unwrap_or(was_healthy);
        self.foreign_registered(service, &key.instance, instance, healthy, actor);
        Ok(Patched::Done)
    }
}
