//! Services that Java servers own: tells the owner what was written here for it.

use naming_model::{InstanceKey, RecordKey, ServiceKey};

use super::begun::finished;
use super::{Caller, Clearance, Naming, NamingError};
use crate::registry::{BeatAnswer, Later, Write};

/// The owners of services that do not speak the protocol of this make.
pub(crate) trait ForeignOwners: Send + Sync {
    /// Whether one of them owns a service.
    fn own(&self, service: &ServiceKey) -> bool;

    /// Tells the owner what there is of an instance, given by its record key; later, if the owner
    /// does not listen now.
    fn tell(&self, service: ServiceKey, id: String) -> Later<()>;

    /// Passes on a beat of an instance that is held here, given by its record key. An owner that
    /// does not know the instance takes it from the beat. A beat that is not answered is lost.
    fn beat(&self, service: ServiceKey, id: String) -> Later<()>;
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

    /// Tells the owner what there is of an instance, if a foreign one owns the service. Goes on in a
    /// task of its own: nobody waits for it.
    pub(super) fn tell_owner(&self, service: &ServiceKey, id: &str) {
        if let Some(owners) = self.owners.as_ref().filter(|owners| owners.own(service)) {
            tokio::spawn(owners.tell(service.clone(), id.to_owned()));
        }
    }

    /// Passes a beat of a held instance on to its foreign owner, if it has one.
    pub(crate) async fn beat_at_owner(&self, service: &ServiceKey, id: &str) {
        if let Some(owners) = self.owners.as_ref().filter(|owners| owners.own(service)) {
            owners.beat(service.clone(), id.to_owned()).await;
        }
    }

    /// The same answer to a beat, once a foreign owner has had it, too. A front that passes on the
    /// request as it came says so by its clearance.
    pub(super) fn passing_on(
        &self,
        caller: &Caller<'_>,
        service: &ServiceKey,
        key: &InstanceKey<'_>,
        beat: Write<Result<BeatAnswer, NamingError>>,
    ) -> Write<Result<BeatAnswer, NamingError>> {
        let Some(owners) = self.owners.as_ref().filter(|_| !caller.clearance.is_told()) else {
            return beat;
        };
        if matches!(beat, Write::Done(Err(_) | Ok(BeatAnswer::Unknown))) || !owners.own(service) {
            return beat;
        }
        let (owners, service) = (owners.clone(), service.clone());
        let id = RecordKey::ephemeral(*key).text();
        Write::Sent(finished(Box::pin(async move {
            let answer = beat.outcome().await?;
            owners.beat(service, id).await;
            Ok(answer)
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
