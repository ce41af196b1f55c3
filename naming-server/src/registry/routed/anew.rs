//! Registering once more what has gone although its connection lives.

use std::sync::Arc;

use distro_core::{Health, Key, Operation, Stamp, apply};
use naming_model::ServiceKey;

use super::Writes;
use crate::registry::{Content, EventKind};

impl Writes {
    /// Registers once more what a living connection holds, and what readers do not see any more.
    /// The stamp of the registration; `None` if somebody else was faster, or this process was stopped.
    pub(crate) async fn register_anew(
        &self,
        tag: &str,
        key: &Key,
        value: Arc<Content>,
    ) -> Option<Stamp> {
        let registry = &self.registry;
        let now = self.moment().ok()?;
        let stamp = registry.store.clock().issue(now);
        let operation = Operation::register(tag, key.clone(), stamp, value, Health::Healthy)
            .expecting(Stamp::NEVER);
        let written = match self.at_owner_of(tag) {
            Some(owner) => owner.cluster.write(operation).await,
            None => apply(&registry.store, &operation, now),
        };
        let record = written.record.filter(|_| written.is_applied)?;
        if let Some(service) = ServiceKey::from_tag(tag) {
            let actor = || "its connection lives".to_owned();
            registry.note(&service, key, EventKind::Registered, &actor);
        }
        Some(record.registration)
    }
}
