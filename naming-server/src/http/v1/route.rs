//! The route table.

use distro_net::PATH_PREFIX;

use crate::http::Call;

macro_rules! routes {
    ($($name:ident = $label:literal,)*) => {
        /// What a request asks for.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Route {
            $($name,)*
        }

        impl Route {
            /// All routes.
            pub(crate) const ALL: &[Self] = &[$(Self::$name,)*];

            /// The name in metrics.
            pub(crate) fn label(self) -> &'static str {
                match self {
                    $(Self::$name => $label,)*
                }
            }
        }
    };
}

routes! {
    InstanceList = "instance_list",
    InstanceBeat = "instance_beat",
    InstanceRegister = "instance_register",
    InstanceDeregister = "instance_deregister",
    InstanceUpdate = "instance_update",
    InstancePatch = "instance_patch",
    InstanceDetail = "instance_detail",
    InstanceStatuses = "instance_statuses",
    MetadataBatchUpdate = "metadata_batch_update",
    MetadataBatchDelete = "metadata_batch_delete",
    LegacyList = "legacy_list",
    LegacyBeat = "legacy_beat",
    LegacyNames = "legacy_names",
    ServiceCreate = "service_create",
    ServiceDelete = "service_delete",
    ServiceUpdate = "service_update",
    ServiceDetail = "service_detail",
    ServiceList = "service_list",
    ServiceNames = "service_names",
    ServiceSubscribers = "service_subscribers",
    ServiceChecksum = "service_checksum",
    SelectorTypes = "selector_types",
    CatalogServices = "catalog_services",
    CatalogService = "catalog_service",
    CatalogInstances = "catalog_instances",
    CatalogResponseTimes = "catalog_response_times",
    HealthUpdate = "health_update",
    HealthServer = "health_server",
    ClusterUpdate = "cluster_update",
    OperatorMetrics = "operator_metrics",
    SwitchesRead = "switches_read",
    SwitchesUpdate = "switches_update",
    OperatorServers = "operator_servers",
    ResponsibleServer = "responsible_server",
    DistroStatus = "distro_status",
    PushState = "push_state",
    LogLevel = "log_level",
    EventsRead = "events",
    PeerProtocol = "peer_protocol",
    Peer = "peer",
    MemberSelf = "member_self",
    MemberNodes = "member_nodes",
    MemberSimpleNodes = "member_simple_nodes",
    MemberHealth = "member_health",
    MemberReport = "member_report",
    MemberAdmin = "member_admin",
    Liveness = "liveness",
    Readiness = "readiness",
    ActuatorHealth = "actuator_health",
    ServerState = "server_state",
    NamespacesRead = "namespaces_read",
    NamespaceCreate = "namespace_create",
    NamespaceUpdate = "namespace_update",
    NamespaceDelete = "namespace_delete",
    Login = "login",
    UserCreate = "user_create",
    UserDelete = "user_delete",
    UserPassword = "user_password",
    UserList = "user_list",
    UserSearch = "user_search",
    RoleList = "role_list",
    RoleSearch = "role_search",
    RoleAdd = "role_add",
    RoleDelete = "role_delete",
    PermissionList = "permission_list",
    PermissionAdd = "permission_add",
    PermissionDelete = "permission_delete",
    Auth = "auth",
    Configuration = "configuration",
    ServerList = "server_list",
    Metrics = "metrics",
    Page = "page",
}

/// The route of a request, if there is one. HEAD is GET, except in the naming API. Methods that Nacos does not offer on a path are no
/// route either.
pub(super) fn find_route(call: &Call<'_>) -> Option<Route> {
    let method = match call.method.as_str() {
        // Load balancers probe with HEAD. The answer is that to GET; the shell leaves its body out.
        "HEAD" if !call.is_naming() => "GET",
        method => method,
    };
    if !call.under_context {
        return outside_route(method, call.path);
    }
    let path = call.path;
    if let Some(path) = path.strip_prefix("/v1/ns/") {
        return instance_route(method, path).or_else(|| naming_route(method, path));
    }
    if let Some(path) = path.strip_prefix("/v1/auth/") {
        return Some(auth_route(method, path).unwrap_or(Route::Auth));
    }
    if path.starts_with("/v1/cs/") {
        return Some(Route::Configuration);
    }
    core_route(method, path).or_else(|| outside_route(method, path))
}

/// The instance API, which also answers below its old name `api`.
fn instance_route(method: &str, path: &str) -> Option<Route> {
    let rest = path.strip_prefix("instance").or_else(|| path.strip_prefix("api"))?;
    Some(match (method, rest) {
        ("GET", "/list") => Route::InstanceList,
        ("PUT", "/beat") => Route::InstanceBeat,
        ("POST", "") => Route::InstanceRegister,
        ("DELETE", "") => Route::InstanceDeregister,
        ("PUT", "") => Route::InstanceUpdate,
        ("PATCH", "") => Route::InstancePatch,
        ("GET", "") => Route::InstanceDetail,
        ("GET", "/statuses") => Route::InstanceStatuses,
        ("PUT", "/metadata/batch") => Route::MetadataBatchUpdate,
        ("DELETE", "/metadata/batch") => Route::MetadataBatchDelete,
        _ => return None,
    })
}

fn naming_route(method: &str, path: &str) -> Option<Route> {
    Some(match (method, path) {
        ("GET", "api/srvIPXT") => Route::LegacyList,
        ("GET", "api/clientBeat") => Route::LegacyBeat,
        ("GET", "api/allDomNames") => Route::LegacyNames,
        ("POST", "service") => Route::ServiceCreate,
        ("DELETE", "service") => Route::ServiceDelete,
        ("PUT", "service") => Route::ServiceUpdate,
        ("GET", "service") => Route::ServiceDetail,
        ("GET", "service/list") => Route::ServiceList,
        ("GET", "service/names") => Route::ServiceNames,
        ("GET", "service/subscribers") => Route::ServiceSubscribers,
        ("PUT", "service/checksum") => Route::ServiceChecksum,
        ("GET", "service/selector/types") => Route::SelectorTypes,
        ("GET", "catalog/services") => Route::CatalogServices,
        ("GET", "catalog/service") => Route::CatalogService,
        ("GET", "catalog/instances") => Route::CatalogInstances,
        ("GET", "catalog/rt/service") => Route::CatalogResponseTimes,
        ("PUT", "health" | "health/instance") => Route::HealthUpdate,
        ("GET", "health/server") => Route::HealthServer,
        ("PUT", "cluster") => Route::ClusterUpdate,
        ("POST", "service/status") => Route::PeerProtocol,
        (_, path) if path.starts_with("distro/") || path.starts_with("raft/") => {
            Route::PeerProtocol
        }
        (method, path) => {
            let path = path.strip_prefix("operator/").or_else(|| path.strip_prefix("ops/"))?;
            return operator_route(method, path);
        }
    })
}

fn operator_route(method: &str, path: &str) -> Option<Route> {
    Some(match (method, path) {
        ("GET", "metrics") => Route::OperatorMetrics,
        ("GET", "switches") => Route::SwitchesRead,
        ("PUT", "switches") => Route::SwitchesUpdate,
        ("GET", "servers") => Route::OperatorServers,
        ("GET", "distro/server") => Route::ResponsibleServer,
        ("GET", "distro/status") => Route::DistroStatus,
        ("GET", "push/state") => Route::PushState,
        ("GET", "events") => Route::EventsRead,
        ("PUT", "log") => Route::LogLevel,
        ("GET", "server/status" | "cluster/state") => Route::PeerProtocol,
        _ => return None,
    })
}

fn auth_route(method: &str, path: &str) -> Option<Route> {
    Some(match (method, path) {
        ("POST", "login" | "users/login") => Route::Login,
        ("POST", "users") => Route::UserCreate,
        ("DELETE", "users") => Route::UserDelete,
        ("PUT", "users") => Route::UserPassword,
        ("GET", "users") => Route::UserList,
        ("GET", "users/search") => Route::UserSearch,
        ("GET", "roles") => Route::RoleList,
        ("GET", "roles/search") => Route::RoleSearch,
        ("POST", "roles") => Route::RoleAdd,
        ("DELETE", "roles") => Route::RoleDelete,
        ("GET", "permissions") => Route::PermissionList,
        ("POST", "permissions") => Route::PermissionAdd,
        ("DELETE", "permissions") => Route::PermissionDelete,
        _ => return None,
    })
}

fn core_route(method: &str, path: &str) -> Option<Route> {
    Some(match (method, path) {
        ("GET", "/v1/core/cluster/self") => Route::MemberSelf,
        ("GET", "/v1/core/cluster/nodes") => Route::MemberNodes,
        ("GET", "/v1/core/cluster/simple/nodes") => Route::MemberSimpleNodes,
        ("GET", "/v1/core/cluster/health") => Route::MemberHealth,
        ("POST", "/v1/core/cluster/report") => Route::MemberReport,
        ("POST", "/v1/core/cluster/switch/lookup" | "/v1/core/cluster/server/leave") => {
            Route::MemberAdmin
        }
        ("GET", "/v1/console/health/liveness") => Route::Liveness,
        ("GET", "/v1/console/health/readiness") => Route::Readiness,
        ("GET", "/actuator/health") => Route::ActuatorHealth,
        ("GET", "/v1/console/server/state") => Route::ServerState,
        ("GET", "/v1/console/namespaces") => Route::NamespacesRead,
        ("POST", "/v1/console/namespaces") => Route::NamespaceCreate,
        ("PUT", "/v1/console/namespaces") => Route::NamespaceUpdate,
        ("DELETE", "/v1/console/namespaces") => Route::NamespaceDelete,
        ("GET", "/serverlist") => Route::ServerList,
        _ => return None,
    })
}

/// What answers with and without the context path.
fn outside_route(method: &str, path: &str) -> Option<Route> {
    Some(match (method, path) {
        ("GET", "/metrics") => Route::Metrics,
        ("GET", "/" | "/index.html") => Route::Page,
        ("POST", path) if path.starts_with(PATH_PREFIX) => Route::Peer,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_unique() {
        let mut labels: Vec<_> = Route::ALL.iter().map(|route| route.label()).collect();
        labels.sort_unstable();
        labels.dedup();
        assert_eq!(labels.len(), Route::ALL.len());
    }

    #[test]
    fn methods_that_nacos_does_not_offer_are_no_route() {
        assert_eq!(instance_route("GET", "instance/beat"), None);
        assert_eq!(instance_route("POST", "api/list"), None);
        assert_eq!(instance_route("GET", "api/list"), Some(Route::InstanceList));
        assert_eq!(naming_route("POST", "service/names"), None);
        assert_eq!(naming_route("GET", "ops/metrics"), Some(Route::OperatorMetrics));
        assert_eq!(naming_route("GET", "health/checkers"), None);
    }
}
