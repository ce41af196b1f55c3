//! What a write changes: one rule for each kind, wherever it is carried out.
//!
//! ```text
//! wish, what is known ──► plan ──► here, under the lock of the service   (writes, administer)
//!                              ──► an operation for the owner            (at_owner)
//!                              ──► beside a Java owner                   (redirected)
//! ```

use std::sync::Arc;

use distro_core::{DATUM_KEY, Health};
use naming_model::ServiceKey;

use super::content_codec::instance_weight;
use super::{
    Content, EventKind, Instance, OperatorValues, Registry, RegistryError, ServiceSettings,
};

/// What is known where an instance is about to be registered.
pub(super) struct Known<'a> {
    /// The instance as it is there.
    pub(super) instance: Option<(&'a Instance, Health)>,
    /// What an operator set of it, if that is kept.
    pub(super) kept: Option<&'a OperatorValues>,
    /// Whether its service is there.
    pub(super) has_service: bool,
    /// Whether its removal would find room: see [`Registry::has_room_to_remove`].
    pub(super) is_removable: bool,
}

/// What is to be written of an instance.
pub(super) struct Planned {
    pub(super) instance: Instance,
    pub(super) health: Health,
    /// What the event says; `None` if nothing changes that anybody sees.
    pub(super) kind: Option<EventKind>,
}

impl Registry {
    /// A registration. It replaces the whole entry but keeps its id and its health, and what an
    /// operator set is laid over it. `number` gives a new instance its id, if it wants one.
    ///
    /// # Errors
    /// `Invalid` if it does not fit with what an operator set, `Full` if there is no room.
    #[inline]
    pub(super) fn plan_registration(
        &self,
        place: (&str, &str),
        known: &Known<'_>,
        mut instance: Instance,
        healthy: bool,
        number: impl FnOnce() -> u64,
    ) -> Result<Planned, RegistryError> {
        if let Some(kept) = known.kept {
            kept.lay_over(&mut instance)?;
        }
        let (kind, health) = match known.instance {
            Some((before, health)) => {
                instance.id.clone_from(&before.id);
                let differs = !before.shows_like(&instance);
                (differs.then_some(EventKind::Replaced), health_of(&instance, health))
            }
            None => {
                self.check_room(known)?;
                if instance.wants_snowflake_id() {
                    instance.id = Some(number().to_string().into());
                }
                let health = health_of(&instance, initial_health(healthy));
                (Some(EventKind::Registered), health)
            }
        };
        let before = known.instance.map(|(before, _)| instance_weight(before));
        self.check_bytes(place, before, instance_weight(&instance))?;
        Ok(Planned { instance, health, kind })
    }

    /// A change of parts of an instance, which the events call `kind`.
    ///
    /// # Errors
    /// What `change` refuses, `Full` if there is no room.
    pub(super) fn plan_patch(
        &self,
        (known, health): (&Instance, Health),
        kind: EventKind,
        change: impl FnOnce(&Instance) -> Result<(Instance, Option<bool>), RegistryError>,
    ) -> Result<Planned, RegistryError> {
        let (instance, healthy) = change(known)?;
        let grown = instance_weight(&instance).saturating_sub(instance_weight(known));
        self.check_growth(grown)?;
        Ok(Planned { instance, health: healthy.map_or(health, initial_health), kind: Some(kind) })
    }

    /// A change of the settings of a service.
    ///
    /// # Errors
    /// What `change` refuses, `Invalid` if they are too large, `Full` if there is no room.
    pub(super) fn plan_settings(
        &self,
        service: &ServiceKey,
        known: Option<&ServiceSettings>,
        change: impl FnOnce(Option<&ServiceSettings>) -> Result<ServiceSettings, RegistryError>,
    ) -> Result<Arc<Content>, RegistryError> {
        let settings = change(known)?;
        settings.check_size()?;
        if known.is_none() {
            self.check_room_for_service()?;
            if self.store.is_out_of_memory() {
                return Err(out_of_memory());
            }
        }
        let before = known.map(ServiceSettings::weight);
        self.check_bytes((service.as_str(), DATUM_KEY), before, settings.weight())?;
        Ok(Arc::new(Content::Service(Arc::new(settings))))
    }

    /// # Errors
    /// `Full` if there is no room for one more instance, or for its service.
    fn check_room(&self, known: &Known<'_>) -> Result<(), RegistryError> {
        if self.is_full() {
            return Err(self.full());
        }
        if !known.is_removable {
            return Err(out_of_memory());
        }
        if known.has_service { Ok(()) } else { self.check_room_for_service() }
    }

    /// Whether the removal of one more instance would find room in the memory of removals. What is
    /// remembered has its room there already, and gives it back when it is registered again.
    pub(super) fn has_room_to_remove(&self, is_remembered: impl FnOnce() -> bool) -> bool {
        !self.store.is_out_of_memory() || is_remembered()
    }

    /// The same for an instance that is looked for.
    pub(super) fn has_room_to_remove_at(&self, service: &ServiceKey, id: &str) -> bool {
        self.has_room_to_remove(|| {
            let datum = self.store.find(service.as_str());
            datum.is_some_and(|datum| datum.read(|reader| reader.find(id).is_some()))
        })
    }
}

fn out_of_memory() -> RegistryError {
    RegistryError::Full(
        "so many instances were removed a moment ago that their removals take all of \
         store.tombstone_bytes; try again in some seconds"
            .to_owned(),
    )
}

/// The health of an instance that is registered, which would be `judged` if its client sent beats.
/// A connection is a sign of life.
fn health_of(instance: &Instance, judged: Health) -> Health {
    if instance.held.is_some() { Health::Healthy } else { judged }
}

pub(super) fn initial_health(healthy: bool) -> Health {
    if healthy { Health::Healthy } else { Health::Unhealthy }
}
