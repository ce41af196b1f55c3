//! What connections hold, as the registry sees it.

use std::sync::Arc;

use distro_core::{Stamp, Tick};
use naming_model::{RecordKey, ServiceKey};

use super::{Content, EventKind, Instance, Registry};

impl Registry {
    /// Whether a connection holds an instance.
    pub(crate) fn is_held(&self, service: &ServiceKey, key: &RecordKey<'_>) -> bool {
        let known = self.find_instance(service, &key.text());
        known.is_some_and(|known| known.instance.held.is_some())
    }

    /// Whether what an operator sets of the instance with this key outlasts its registrations.
    pub(crate) fn keeps_values_at(&self, service: &ServiceKey, key: &RecordKey<'_>) -> bool {
        self.settings.keep_operator_values
            || self.is_held(service, key)
            // An older word over a later API would come back over this one.
            || self.find_operator_values(service, &key.text()).is_some()
    }

    /// An operator writes an instance anew: its holder goes on holding it.
    pub(crate) fn keep_held(
        &self,
        service: &ServiceKey,
        key: &RecordKey<'_>,
        instance: &mut Instance,
    ) {
        if let Some(known) = self.find_instance(service, &key.text()) {
            instance.keep_held(&known.instance);
        }
    }

    /// The registration of an instance that a connection holds, and which.
    pub(crate) fn mark_of(&self, tag: &str, key: &str) -> Option<(Stamp, u64)> {
        self.store.find(tag)?.read(|reader| {
            let (record, content) = reader.find_visible(key)?;
            let Content::Instance(instance) = &**content else { return None };
            Some((record.registration, instance.held.as_ref()?.by))
        })
    }

    /// Removes an instance for the client whose connection holds it, as of this registration, or of
    /// one that an operator has made of it since.
    pub(crate) fn retract(
        &self,
        service: &ServiceKey,
        key: &str,
        (registration, by): (Stamp, u64),
        now: Tick,
        actor: &dyn Fn() -> String,
    ) {
        let tag = service.as_str();
        let last = self.mark_of(tag, key).filter(|(_, mark)| *mark == by);
        let registration = last.map_or(registration, |(last, _)| last);
        if self.store.retract(tag, key, registration, now) {
            self.note(service, key, EventKind::Deregistered, actor);
        }
    }

    /// The same for a service that a Java server owns, which has no stamps: what another connection
    /// holds stays. Returns whether the instance was there.
    pub(crate) fn retract_for_owner(
        &self,
        service: &ServiceKey,
        key: &str,
        by: u64,
        actor: &dyn Fn() -> String,
    ) -> bool {
        let tag = service.as_str();
        let is_of_another = self.mark_of(tag, key).is_some_and(|(_, mark)| mark != by);
        let now = self.clock.tick();
        let was_there = !is_of_another && self.store.take_removal(tag, key, now);
        if was_there {
            self.note(service, key, EventKind::Deregistered, actor);
        }
        was_there
    }

    /// Notes that an instance has gone with its connection.
    pub(crate) fn note_lapse(&self, service: &ServiceKey, key: &str) {
        self.note(service, key, EventKind::Lapsed, &String::new);
    }

    /// The registration of an instance that this connection holds, and what was registered. `None`
    /// if it is not there, or somebody else has registered it since.
    pub(crate) fn held_registration(
        &self,
        tag: &str,
        key: &str,
        by: u64,
    ) -> Option<(Stamp, Arc<Content>)> {
        self.store.find(tag)?.read(|reader| {
            let (record, content) = reader.find_visible(key)?;
            let Content::Instance(instance) = &**content else { return None };
            let is_it = instance.held.as_ref().is_some_and(|held| held.by == by);
            // A Java owner keeps no such mark.
            (is_it || self.store.is_foreign(tag))
                .then(|| (record.registration, Arc::clone(content)))
        })
    }
}
