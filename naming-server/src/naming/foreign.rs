//! Services that servers of another make own: their owner is told of what is written here for it.

use naming_model::{InstanceKey, RecordKey, ServiceKey};

use super::begun::finished;
use super::{Caller, Clearance, Naming, NamingError};
use crate::registry::{Later, Write};

/// The owners of services that do not speak the protocol of this make.
pub(crate) trait ForeignOwners: Send + Sync {
    /// Whether one of them owns a service.
    fn own(&self, service: &ServiceKey) -> bool;

    /// Tells the owner what there is of an instance, given by its record key; later, if the owner
    /// does not listen now.
    fn tell(&self, service: ServiceKey, id: String) -> Later<()>;
}

impl Naming {
    /// The clearance of a request that its front passes on to the owner as it came.
    pub(crate) fn told(&self, clearance: Clearance) -> Clearance {
        clearance.told()
    }

    /// The same write, which is done when a foreign owner has been told of it, too.
    pub(super) fn telling_owner<T: Send + 'static>(
        &self,
        caller: &Caller<'_>,
        service: &ServiceKey,
        write: Write<Result<T, NamingError>>,
        ids: impl FnOnce(&T) -> Vec<String> + Send + 'static,
    ) -> Write<Result<T, NamingError>> {
        let Some(owners) = self.owners.as_ref().filter(|_| !caller.clearance.is_told()) else {
            return write;
        };
        if matches!(write, Write::Done(Err(_))) || !owners.own(service) {
            return write;
        }
        let (owners, service) = (owners.clone(), service.clone());
        Write::Sent(finished(Box::pin(async move {
            let outcome = write.outcome().await?;
            for id in ids(&outcome) {
                owners.tell(service.clone(), id).await;
            }
            Ok(outcome)
        })))
    }

    /// The same for a write of the ephemeral instance with these names. Persistent ones are kept by
    /// members of this make alone.
    pub(super) fn telling_owner_of<T: Send + 'static>(
        &self,
        caller: &Caller<'_>,
        service: &ServiceKey,
        key: &InstanceKey<'_>,
        write: Write<Result<T, NamingError>>,
    ) -> Write<Result<T, NamingError>> {
        if self.owners.is_none() {
            return write;
        }
        let id = RecordKey::ephemeral(*key).text();
        self.telling_owner(caller, service, write, |_| vec![id])
    }
}
