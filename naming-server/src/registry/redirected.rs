//! Writes to services that a Java server owns, as they are made here: after it has carried them
//! out, so that their clients find them, or in its place while it cannot be asked.

use naming_model::{InstanceKey, RecordKey, ServiceKey, check_cluster_name};

use super::view::{checksum, settings};
use super::writes::initial_health;
use super::{BeatAnswer, BeatOutcome, Instance, Patched, Registry};
use crate::http::ApiError;

impl Registry {
    /// As [`Self::register`], in the name of the owner.
    pub(super) fn register_for_owner(
        &self,
        service: &ServiceKey,
        key: &InstanceKey<'_>,
        mut instance: Instance,
        healthy: bool,
        actor: &dyn Fn() -> String,
    ) -> Result<(), ApiError> {
        service.check_characters()?;
        check_cluster_name(key.cluster)?;
        let id = RecordKey::ephemeral(*key).text();
        if let Some(kept) = self.kept_values(service, &id) {
            kept.lay_over(&mut instance)?;
        }
        match self.find_instance(service, &id) {
            Some(known) => instance.id.clone_from(&known.instance.id),
            None => self.check_room(service)?,
        }
        self.foreign_registered(service, key, instance, healthy, actor);
        Ok(())
    }

    /// As [`Self::patch`], in the name of the owner.
    pub(super) fn patch_for_owner(
        &self,
        service: &ServiceKey,
        key: &RecordKey<'_>,
        actor: &dyn Fn() -> String,
        change: impl Fn(&Instance) -> Result<(Instance, Option<bool>), ApiError>,
    ) -> Result<Patched, ApiError> {
        let Some(known) = self.find_instance(service, &key.text()) else {
            return Ok(Patched::NotFound);
        };
        let (instance, healthy) = change(&known.instance)?;
        let was_healthy = known.health == initial_health(true);
        let healthy = healthy.unwrap_or(was_healthy);
        self.foreign_registered(service, &key.instance, instance, healthy, actor);
        Ok(Patched::Done)
    }

    /// As [`Self::beat_of_unknown`], in the name of the owner.
    pub(super) fn beat_of_unknown_for_owner(
        &self,
        service: &ServiceKey,
        key: &InstanceKey<'_>,
        whole: Option<impl FnOnce() -> Result<Instance, ApiError>>,
        actor: &dyn Fn() -> String,
    ) -> Result<BeatAnswer, ApiError> {
        let Some(whole) = whole else {
            self.beats.count(BeatOutcome::Unknown);
            return Ok(BeatAnswer::Unknown);
        };
        let instance = whole()?;
        let interval_ms = instance.beat_interval_ms();
        self.register_for_owner(service, key, instance, true, actor)?;
        self.beats.count(BeatOutcome::Registered);
        Ok(BeatAnswer::Known { interval_ms })
    }

    /// The checksum of a service as Java members compute it; `None` if there is no such service.
    pub(crate) fn service_checksum(&self, service: &ServiceKey) -> Option<String> {
        let datum = self.find(service)?;
        Some(datum.read(|reader| checksum(&reader, service, &settings(&reader))))
    }
}
