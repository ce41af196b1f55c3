//! Where the instances of a service are, for fronts whose clients connect to what they are told and
//! know nothing else of this server.

use std::sync::Arc;

use naming_model::ServiceKey;

use super::{Access, Caller, Naming, NamingError, Need};
use crate::registry::{Action, Endpoints};

impl Naming {
    /// Where the instances of a service are that clients should use; `None` if there is no such
    /// service.
    ///
    /// # Errors
    /// The gate is closed; the caller may not read the service; its instances are not known yet.
    pub(crate) fn endpoints(
        &self,
        caller: &Caller<'_>,
        service: &ServiceKey,
    ) -> Result<Option<Arc<Endpoints>>, NamingError> {
        self.enter(caller, Access::Read, &Need::Service(Action::Read, service))?;
        self.check_recovered(service)?;
        Ok(self.registry.endpoints(service))
    }

    /// Whether a namespace has a service, or a group of it has, as far as the caller may know: who
    /// may not read the namespace is told that it has none.
    pub(crate) fn has_services(
        &self,
        caller: &Caller<'_>,
        namespace: &str,
        group: Option<&str>,
    ) -> bool {
        self.may_know(caller, &Need::Namespace(Action::Read, namespace))
            && self.registry.index.has_any(namespace, group)
    }
}
