//! The kind of a service: in Nacos 2.x and later it has ephemeral instances or persistent
//! ones, never both. In 1.x it may have both, so this is a rule of the fronts of later versions.

use naming_model::ServiceKey;

use super::{NamingDatum, Registry, RegistryError, ServiceKind, hosts, settings};

impl Registry {
    /// The kind of a service: that of its instances, or while it has none, the one that it was
    /// made as. `None` if there is no such service, or nobody has said. Of a service of 1.x that
    /// has both kinds of instances it is the persistent one.
    pub(crate) fn kind_of(&self, service: &ServiceKey) -> Option<ServiceKind> {
        self.find(service).as_deref().and_then(kind_of)
    }

    /// Checks that a service may have an instance of this kind. One without instances takes the
    /// kind of its first one.
    ///
    /// # Errors
    /// [`RegistryError::Invalid`] if it has an instance of the other kind.
    pub(crate) fn check_same_kind(
        &self,
        service: &ServiceKey,
        is_persistent: bool,
    ) -> Result<(), RegistryError> {
        let Some(datum) = self.find(service) else { return Ok(()) };
        let other = datum
            .read(|reader| hosts(&reader).any(|host| host.instance.is_persistent != is_persistent));
        if !other {
            return Ok(());
        }
        let (kind, wanted) = match is_persistent {
            true => ("ephemeral", "a persistent"),
            false => ("persistent", "an ephemeral"),
        };
        let name = service.grouped();
        let reason =
            format!("current service {name} is {kind} service, can't register {wanted} instance");
        Err(RegistryError::illegal("ephemeral", reason))
    }
}

/// The kind of an existing service.
pub(crate) fn kind_of(datum: &NamingDatum) -> Option<ServiceKind> {
    datum.read(|reader| {
        // Persistent ones come first.
        let first = hosts(&reader).next().map(|host| host.instance.is_persistent);
        first.map(ServiceKind::of_instance).or_else(|| settings(&reader).kind)
    })
}
