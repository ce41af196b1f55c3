//! Which right each request needs while authentication is on.
//!
//! There is one row for every route, so none can be forgotten, and what a request is about is read
//! as its handler reads it, so that no spelling of a name is checked as one thing and done to
//! another.

use std::borrow::Cow;

use naming_model::ServiceKey;

use super::redirect::is_redirected;
use super::{Api, Route};
use crate::http::{ApiError, Call};
use crate::naming::{Clearance, NamingError, Need};
use crate::registry::Action;

use Action::{Read, Write};

/// What its sender must be allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Right {
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
    /// To read the service whose events it asks for, or else everything.
    Events,
    /// Nothing to see the counts, everything to see subscribers or to set the counts to 0.
    PushState,
    /// To change the switches.
    Switches,
}

impl Right {
    /// The row of the table.
    pub(super) fn of(route: Route) -> Self {
        match route {
            Route::InstanceList
            | Route::InstanceDetail
            | Route::ServiceDetail
            | Route::ServiceSubscribers
            | Route::ServiceChecksum
            | Route::CatalogService
            | Route::CatalogInstances
            | Route::CatalogResponseTimes
            | Route::ResponsibleServer => Self::Service(Read),
            Route::InstanceBeat
            | Route::InstanceRegister
            | Route::InstanceDeregister
            | Route::InstanceUpdate
            | Route::InstancePatch
            | Route::MetadataBatchUpdate
            | Route::MetadataBatchDelete
            | Route::ServiceCreate
            | Route::ServiceDelete
            | Route::ServiceUpdate
            | Route::HealthUpdate
            | Route::ClusterUpdate => Self::Service(Write),
            Route::LegacyList => Self::Dom(Read),
            Route::LegacyBeat => Self::Dom(Write),
            Route::LegacyNames => Self::AllNamespaces,
            Route::InstanceStatuses => Self::Statuses,
            Route::ServiceList | Route::CatalogServices => Self::Namespace(Read),
            Route::ServiceNames => Self::NamespaceOrAll,
            Route::EventsRead => Self::Events,
            Route::PushState => Self::PushState,
            Route::SwitchesUpdate => Self::Switches,
            Route::LogLevel
            | Route::NamespaceCreate
            | Route::NamespaceUpdate
            | Route::NamespaceDelete
            | Route::UserCreate
            | Route::UserDelete
            | Route::UserList
            | Route::UserSearch
            | Route::RoleList
            | Route::RoleSearch
            | Route::RoleAdd
            | Route::RoleDelete
            | Route::PermissionList
            | Route::PermissionAdd
            | Route::PermissionDelete => Self::Administrator,
            Route::Login | Route::UserPassword => Self::AnyUser,
            Route::SelectorTypes
            | Route::HealthServer
            | Route::OperatorMetrics
            | Route::SwitchesRead
            | Route::OperatorServers
            | Route::DistroStatus
            | Route::PeerProtocol
            | Route::Peer
            | Route::MemberSelf
            | Route::MemberNodes
            | Route::MemberSimpleNodes
            | Route::MemberHealth
            | Route::MemberReport
            | Route::MemberAdmin
            | Route::Liveness
            | Route::Readiness
            | Route::ActuatorHealth
            | Route::ServerState
            | Route::NamespacesRead
            | Route::Auth
            | Route::Configuration
            | Route::ServerList
            | Route::Metrics
            | Route::Page => Self::Open,
        }
    }
}

impl Route {
    /// Whether servers of Nacos send this to each other: they ask for states and subscribers, and
    /// pass on writes of instances, whose senders they have checked. All else that they send each
    /// other needs no user and asks for proof itself.
    pub(super) fn is_among_members(self) -> bool {
        is_redirected(self) || matches!(self, Self::InstanceStatuses | Self::ServiceSubscribers)
    }
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
