//! Whether a request has the right that its row asks for, while authentication is on.
//!
//! What a request is about is read as its handler reads it, so that no spelling of a name is checked
//! as one thing and done to another.

use std::borrow::Cow;

use naming_model::ServiceKey;

use super::Api;
use crate::http::{ApiError, Call, Wanted};
use crate::naming::{Clearance, NamingError, Need};
use crate::registry::Action;

use Action::Read;

/// What its sender must be allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) enum Right {
    /// Nothing: it tells of this server and not of services, or it is refused anyway, or it proves
    /// itself otherwise.
    Open,
    /// To be a user.
    AnyUser,
    /// Everything.
    Administrator,
    /// This, on the service of the request; on all of its namespace if it names none.
    Service(Action),
    /// The same for the old API, which calls it `dom`.
    Dom(Action),
    /// To read the service that the parameter `key` names.
    Statuses,
    /// This, on all services of the namespace of the request.
    Namespace(Action),
    /// To read all services of the namespace of the request, or of all if it names none.
    NamespaceOrAll,
    /// To read all services of all namespaces.
    AllNamespaces,
    /// To read all services of the namespace that stands in the path.
    PathNamespace,
    /// To read the service whose events it asks for, or else everything.
    Events,
    /// Nothing to see the counts, everything to see subscribers or to set the counts to 0.
    PushState,
    /// To change the switches.
    Switches,
}

impl Api {
    /// What a request has whose caller has the right that it needs.
    ///
    /// # Errors
    /// The caller lacks the right.
    pub(super) fn check(&self, right: Right, call: &Call<'_>) -> Result<Clearance, NamingError> {
        let admit = |need: Need<'_>| self.naming.admit(&call.caller(), &need);
        let namespace = call.namespace();
        let on_service = |action, service: Result<ServiceKey, ApiError>| match &service {
            Ok(service) => admit(Need::Service(action, service)),
            // It will be refused; who may not see the rest learns nothing from that.
            Err(_) => admit(Need::Namespace(action, &namespace)),
        };
        match right {
            Right::Open => admit(Need::Nothing),
            Right::AnyUser => admit(Need::AnyUser),
            Right::Administrator => admit(Need::Administrator),
            Right::Service(action) => on_service(action, call.service()),
            Right::Dom(action) => on_service(action, self.legacy_service(call)),
            Right::Statuses => on_service(Read, self.service_of_key(call)),
            Right::Namespace(action) => admit(Need::Namespace(action, &namespace)),
            Right::NamespaceOrAll => match call.params.optional("namespaceId") {
                Some(namespace) => admit(Need::Namespace(Read, &namespace)),
                None => admit(Need::AllNamespaces(Read)),
            },
            Right::AllNamespaces => admit(Need::AllNamespaces(Read)),
            Right::PathNamespace => {
                let wanted = Wanted::of(call.path).map(|wanted| wanted.namespace);
                admit(Need::Namespace(Read, &wanted.unwrap_or_default()))
            }
            Right::Events if names_service(call) => on_service(Read, call.service()),
            Right::Events => admit(Need::Administrator),
            Right::PushState if touches_subscribers(call) => admit(Need::Administrator),
            Right::PushState => admit(Need::Nothing),
            Right::Switches => admit(Need::Switches),
        }
    }

    /// Whether a request may be answered without knowing who sent it.
    pub(super) fn is_open(right: Right, call: &Call<'_>) -> bool {
        right == Right::Open || right == Right::PushState && !touches_subscribers(call)
    }
}

fn names_service(call: &Call<'_>) -> bool {
    let given = |name| -> Option<Cow<'_, str>> { call.params.optional(name) };
    given("serviceName").or_else(|| given("dom")).is_some()
}

fn touches_subscribers(call: &Call<'_>) -> bool {
    call.params.flag_strict("detail", false) || call.params.flag_strict("reset", false)
}
