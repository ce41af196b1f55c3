//! What the requests of the naming API have in common.

use std::borrow::Cow;

use naming_model::{DEFAULT_NAMESPACE, ServiceKey};

use crate::http::{ApiError, Call};
use crate::naming::{Caller, Front};

impl Call<'_> {
    /// The service the request is about: `serviceName`, or `dom` if that is blank, with the group
    /// of `groupName` or the default one put before it unless it has one.
    ///
    /// # Errors
    /// 400 if it is missing or no service name.
    pub(crate) fn service(&self) -> Result<ServiceKey, ApiError> {
        let name = match self.params.optional("serviceName") {
            Some(name) => name,
            None => match self.params.optional("dom") {
                Some(name) => name,
                // A blank name is not "missing", it is one without a service part.
                None => self.params.required("serviceName")?,
            },
        };
        let group = self.params.or("groupName", "");
        Ok(ServiceKey::grouping(&self.namespace(), &name, &group)?)
    }

    /// Whether the request is to the naming API.
    pub(crate) fn is_naming(&self) -> bool {
        let rest = self.path.strip_prefix("/v1/ns").filter(|_| self.under_context);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// The namespace the request is about.
    pub(crate) fn namespace(&self) -> Cow<'_, str> {
        self.params.or("namespaceId", DEFAULT_NAMESPACE)
    }

    /// Who calls, for the use cases.
    pub(in crate::http) fn caller(&self) -> Caller<'_> {
        Caller {
            user: self.user,
            peer: self.peer,
            agent: self.agent.text,
            front: Front::Http,
            clearance: self.clearance,
        }
    }
}
