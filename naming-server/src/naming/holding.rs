//! What clients register over connections and hold by them.

use std::sync::Arc;

use distro_core::{Key, Stamp, Tick};
use naming_model::{InstanceKey, RecordKey, ServiceKey};

use super::{Caller, Naming, NamingError};
use crate::registry::{Content, Instance, Write};

/// A registration that a connection holds: its stamp, and what was registered.
pub(crate) type Registration = (Stamp, Arc<Content>);

impl Naming {
    /// Registers an ephemeral instance for the connection with the mark `by`, which the instance
    /// carries. The outcome is the registration, or `None` if another client has registered the
    /// instance since.
    ///
    /// # Errors
    /// As [`Self::register`].
    pub(crate) fn hold(
        &self,
        caller: &Caller<'_>,
        service: &ServiceKey,
        key: &InstanceKey<'_>,
        instance: Instance,
        by: u64,
    ) -> Write<Result<Option<Registration>, NamingError>> {
        let registry = Arc::clone(&self.registry);
        let (of, id) = (service.clone(), RecordKey::ephemeral(*key).text());
        let write = self.register(caller, service, key, instance, true);
        write.map(move |done| done.map(|()| registry.held_registration(of.as_str(), &id, by)))
    }

    /// Removes instances for the client whose connection has the mark `by`: each of this
    /// registration, or of one that an operator has made of it since. What others have registered
    /// meanwhile stays. `reason` is added to the caller in the events.
    ///
    /// # Errors
    /// The gate is closed, or the caller may not write the service.
    pub(crate) fn let_go(
        &self,
        caller: &Caller<'_>,
        service: &ServiceKey,
        (held, by): (Vec<(Key, Stamp)>, u64),
        reason: &str,
    ) -> Write<Result<(), NamingError>> {
        if let Err(refused) = self.enter_to_write(caller, service) {
            return Write::Done(Err(refused));
        }
        let actor = || format!("{}{reason}", caller.actor());
        let now = self.registry.clock.tick();
        let mut removed = Vec::new();
        for (key, registration) in held {
            if !self.registry.is_foreign(service) {
                self.registry.retract(service, &key, (registration, by), now, &actor);
            } else if self.registry.retract_for_owner(service, &key, by, &actor) {
                removed.push(key.to_string());
            }
        }
        self.telling_owner(caller, service, Write::Done(Ok(())), |()| removed)
    }

    /// Checks that the caller may change what its connection holds in a service, before anything
    /// is changed.
    ///
    /// # Errors
    /// The gate is closed, or the caller may not write the service.
    pub(crate) fn may_hold(
        &self,
        caller: &Caller<'_>,
        service: &ServiceKey,
    ) -> Result<(), NamingError> {
        self.enter_to_write(caller, service)
    }

    /// Ends a registration because the connection that held it has ended. Returns whether that
    /// changed anything. This member does that by itself: nobody asks for it. A Java server that
    /// owns the service is told to remove the instance: it has no stamps, so the caller makes sure
    /// that nobody else holds it.
    pub(crate) fn lapse(&self, tag: &str, key: &str, registration: Stamp, now: Tick) -> bool {
        let Some(service) = ServiceKey::from_tag(tag) else { return false };
        let is_foreign = self.registry.is_foreign(&service);
        let has_ended = match is_foreign {
            false => self.registry.store.lapse(tag, key, registration, now),
            true => self.registry.store.take_removal(tag, key, now),
        };
        if has_ended {
            self.registry.note_lapse(&service, key);
        }
        if has_ended && is_foreign {
            self.tell_owner(&service, key);
        }
        has_ended
    }

    /// Registers once more what a living connection holds and readers do not see any more. The
    /// stamp of the registration; `None` if somebody else was faster. This member does that by
    /// itself, too.
    pub(crate) async fn register_anew(
        &self,
        tag: &str,
        key: &Key,
        value: Arc<Content>,
    ) -> Option<Stamp> {
        match ServiceKey::from_tag(tag).filter(|service| self.registry.is_foreign(service)) {
            None => self.writes.register_anew(tag, key, value).await,
            Some(service) => {
                if self.registry.mark_of(tag, key).is_some() {
                    return None;
                }
                self.register_as_before(&service, key, &value).await
            }
        }
    }

    /// Registers once more what the connection with the mark `by` holds, now that the service has
    /// left the Java server that owned it: its list had no such mark. The stamp of the
    /// registration; `None` if another connection has registered the instance since.
    pub(crate) async fn reclaim(
        &self,
        tag: &str,
        key: &Key,
        value: Arc<Content>,
        by: u64,
    ) -> Option<Stamp> {
        if self.registry.mark_of(tag, key).is_some_and(|(_, mark)| mark != by) {
            return None;
        }
        self.register_as_before(&ServiceKey::from_tag(tag)?, key, &value).await
    }

    async fn register_as_before(
        &self,
        service: &ServiceKey,
        key: &Key,
        value: &Content,
    ) -> Option<Stamp> {
        let Content::Instance(instance) = value else { return None };
        let of = RecordKey::parse(key)?.instance;
        let actor = || "its connection lives".to_owned();
        let write = self.writes.register(service, &of, instance.clone(), true, &actor);
        write.outcome().await.ok()?;
        self.tell_owner(service, key);
        let by = instance.held.as_ref()?.by;
        let (registration, _) = self.registry.held_registration(service.as_str(), key, by)?;
        Some(registration)
    }
}
