//! What operators do to services.

use std::sync::Arc;

use naming_model::ServiceKey;

use super::begun::begun;
use super::watched::of_service;
use super::{Caller, Naming, NamingError};
use crate::registry::{
    ClusterSettings, MAX_CLUSTERS, NamingDatum, RegistryError, ServiceSettings, Write,
};

impl Naming {
    /// The datum of a service that is there.
    ///
    /// # Errors
    /// `NotFound` if there is no such service.
    pub(crate) fn existing(&self, service: &ServiceKey) -> Result<Arc<NamingDatum>, NamingError> {
        let not_found =
            || NamingError::NotFound(format!("service {} is not found!", service.grouped()));
        self.registry.find(service).ok_or_else(not_found)
    }

    /// Makes a service.
    ///
    /// # Errors
    /// The gate is closed, the caller may not write the service, it is there already, or the
    /// registry refuses.
    pub(crate) fn create_service(
        &self,
        caller: &Caller<'_>,
        service: &ServiceKey,
        settings: ServiceSettings,
    ) -> Write<Result<(), NamingError>> {
        let name = service.grouped().to_owned();
        self.change_settings(caller, "service_create", service, move |known| match known {
            None => Ok(settings.clone()),
            Some(_) => Err(RegistryError::Conflict(format!(
                "specified service already exists, serviceName : {name}"
            ))),
        })
    }

    /// Replaces the settings of a service but those of its clusters, and its kind unless they have one.
    ///
    /// # Errors
    /// The gate is closed, the caller may not write the service, it is not there, or the registry
    /// refuses.
    pub(crate) fn update_service(
        &self,
        caller: &Caller<'_>,
        service: &ServiceKey,
        settings: ServiceSettings,
    ) -> Write<Result<(), NamingError>> {
        let name = service.grouped().to_owned();
        self.change_settings(caller, "service_update", service, move |known| {
            let missing = || RegistryError::Missing(format!("service {name} not found!"));
            let known = known.ok_or_else(missing)?;
            let (clusters, kind) = (known.clusters.clone(), settings.kind.or(known.kind));
            Ok(ServiceSettings { clusters, kind, ..settings.clone() })
        })
    }

    /// Replaces the settings of one cluster of a service.
    ///
    /// # Errors
    /// The gate is closed, the caller may not write the service, it is not there, or too many of
    /// its clusters have settings.
    pub(crate) fn set_cluster(
        &self,
        caller: &Caller<'_>,
        service: &ServiceKey,
        name: String,
        cluster: ClusterSettings,
    ) -> Write<Result<(), NamingError>> {
        let grouped = service.grouped().to_owned();
        self.change_settings(caller, "cluster_update", service, move |known| {
            let missing = || RegistryError::Missing(format!("service not found:{grouped}"));
            let mut settings = known.ok_or_else(missing)?.clone();
            settings.clusters.insert(name.clone(), cluster.clone());
            if settings.clusters.len() > MAX_CLUSTERS {
                let reason =
                    format!("more than {MAX_CLUSTERS} clusters of a service cannot have settings");
                return Err(RegistryError::illegal("clusterName", reason));
            }
            settings.explicit = true;
            Ok(settings)
        })
    }

    /// Deletes a service with all its instances.
    ///
    /// # Errors
    /// The gate is closed, the caller may not write the service, or it is not there.
    pub(crate) fn delete_service(
        &self,
        caller: &Caller<'_>,
        service: &ServiceKey,
    ) -> Write<Result<(), NamingError>> {
        self.watched(
            caller,
            "service_delete",
            || of_service(service),
            || {
                if let Err(refused) = self.enter_to_write(caller, service) {
                    return Write::Done(Err(refused));
                }
                let name = service.grouped().to_owned();
                let write = self.writes.delete_service(service, &|| caller.actor());
                begun(write.map(move |was_there| match was_there? {
                    true => Ok(()),
                    false => Err(RegistryError::Missing(format!(
                        "specified service not exist, serviceName : {name}"
                    ))),
                }))
            },
        )
    }

    fn change_settings(
        &self,
        caller: &Caller<'_>,
        action: &'static str,
        service: &ServiceKey,
        change: impl Fn(Option<&ServiceSettings>) -> Result<ServiceSettings, RegistryError>
        + Send
        + 'static,
    ) -> Write<Result<(), NamingError>> {
        self.watched(
            caller,
            action,
            || of_service(service),
            || match self.enter_to_write(caller, service) {
                Ok(()) => begun(self.writes.change_settings(service, change)),
                Err(refused) => Write::Done(Err(refused)),
            },
        )
    }
}
