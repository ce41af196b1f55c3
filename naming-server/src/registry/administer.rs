//! What operators do to whole services.

use std::sync::Arc;

use distro_core::{DATUM_KEY, Health, Key, Stamp, Tick};
use naming_model::{RecordKey, ServiceKey};

use super::writes::check_service;
use super::{Content, EventKind, Registry, RegistryError, ServiceSettings};

impl Registry {
    /// Writes the settings of a service. `change` sees the present ones, `None` if there is no
    /// such service, and gives the new ones.
    ///
    /// # Errors
    /// `Invalid` for a name against the rules, `Full` if there are too many services, and whatever `change`
    /// refuses; nothing is written then.
    pub(crate) fn change_settings(
        &self,
        now: Tick,
        service: &ServiceKey,
        change: impl FnOnce(Option<&ServiceSettings>) -> Result<ServiceSettings, RegistryError>,
    ) -> Result<(), RegistryError> {
        check_service(service)?;
        self.store.update(service.as_str(), now, |writer| {
            let known = match writer.find_visible(DATUM_KEY) {
                Some((_, content)) => match &**content {
                    Content::Service(settings) => Some(Arc::clone(settings)),
                    _ => None,
                },
                None => writer.is_open().then(Arc::default),
            };
            let content = self.plan_settings(service, known.as_deref(), change)?;
            // Issued under the lock, like all stamps: see `writes`.
            let stamp = self.store.clock().issue(now);
            writer.register(DATUM_KEY, stamp, content, Health::Healthy);
            Ok(())
        })
    }

    /// The settings of a service, `None` if there is no such service, and when they were written.
    pub(super) fn find_settings(
        &self,
        service: &ServiceKey,
    ) -> (Option<Arc<ServiceSettings>>, Stamp) {
        let Some(datum) = self.store.find(service.as_str()) else { return (None, Stamp::NEVER) };
        datum.read(|reader| match reader.find_visible(DATUM_KEY) {
            Some((record, content)) => match &**content {
                Content::Service(settings) => (Some(Arc::clone(settings)), record.registration),
                _ => (None, record.registration),
            },
            None => (reader.is_open().then(Arc::default), Stamp::NEVER),
        })
    }

    /// The instances of a service that is there.
    pub(super) fn instances_of(&self, service: &ServiceKey) -> Option<Vec<Key>> {
        self.find(service)?.read(|reader| {
            let keys = reader.visible().filter(|(key, ..)| RecordKey::parse(key).is_some());
            Some(keys.map(|(key, ..)| Arc::clone(key)).collect())
        })
    }

    /// # Errors
    /// `Full` if there is no room for one more service.
    pub(super) fn check_room_for_service(&self) -> Result<(), RegistryError> {
        if self.has_all_services() { Err(self.too_many_services()) } else { Ok(()) }
    }

    /// Deletes a service with all its instances. Returns whether there was one.
    pub(crate) fn delete_service(
        &self,
        now: Tick,
        service: &ServiceKey,
        actor: &dyn Fn() -> String,
    ) -> bool {
        let closed = self.store.update_existing(service.as_str(), now, |writer| {
            let instances: Vec<_> = writer
                .visible()
                .filter(|(key, ..)| RecordKey::parse(key).is_some())
                .map(|(key, ..)| Arc::clone(key))
                .collect();
            let was_open = writer.is_open();
            if was_open {
                writer.close(self.store.clock().issue(now));
            }
            (was_open, instances)
        });
        let Some((was_open, instances)) = closed else { return false };
        for id in &instances {
            self.note(service, id, EventKind::ServiceDeleted, actor);
        }
        was_open
    }
}
