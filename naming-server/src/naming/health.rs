//! Health set by hand.

use naming_model::{InstanceKey, RecordKey, ServiceKey};

use super::begun::begun;
use super::watched::of_instance;
use super::{Caller, Naming, NamingError};
use crate::registry::{ClusterSettings, HealthChecker, RegistryError, Write, clusters, settings};

impl Naming {
    /// Sets the health of the instances with these names, of both kinds; one that is not there is
    /// no error. Refused unless the cluster has the health checker `NONE`, whatever its instances
    /// are: the next beat of an ephemeral one would set it right again.
    ///
    /// # Errors
    /// The gate is closed, the caller may not write the service, there is no such service or
    /// cluster, or its instances are checked.
    pub(crate) fn set_health(
        &self,
        caller: &Caller<'_>,
        service: &ServiceKey,
        key: &InstanceKey<'_>,
        healthy: bool,
    ) -> Write<Result<(), NamingError>> {
        self.watched(
            caller,
            "health_update",
            || of_instance(service, key),
            || {
                let entered = self.enter_to_write(caller, service);
                if let Err(refused) =
                    entered.and_then(|()| self.check_unchecked(service, key.cluster))
                {
                    return Write::Done(Err(refused));
                }
                let set = |is_persistent| {
                    let key = RecordKey { instance: *key, is_persistent };
                    self.writes.set_health(service, &key, healthy, &|| caller.actor())
                };
                let writes = Write::all(vec![set(false), set(true)]);
                let write = begun(writes.map(|results| results.into_iter().collect()));
                self.telling_owner_of(caller, service, key, write)
            },
        )
    }

    fn check_unchecked(&self, service: &ServiceKey, cluster: &str) -> Result<(), NamingError> {
        let is_checked = self.existing(service)?.read(|reader| {
            let settings = settings(&reader);
            let default = ClusterSettings::default();
            let clusters = clusters(&reader, &settings, &default);
            let known = clusters.iter().find(|(name, _)| *name == cluster);
            known.map(|(_, settings)| settings.checker != HealthChecker::None)
        });
        match is_checked {
            None => Err(NamingError::NotFound(format!("cluster {cluster} is not found!"))),
            Some(false) => Ok(()),
            Some(true) => {
                let name = service.grouped();
                let text = format!("health check is still working, service: {name}");
                Err(RegistryError::Conflict(text).into())
            }
        }
    }
}
