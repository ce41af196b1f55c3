//! The route table: one row for each route, with all that is to be known of it.

use serde_json::Value;

use super::super::Api;
use super::super::console::said;
use super::super::health::CHECKERS;
use super::super::rights::Right::{
    Administrator, AllNamespaces, AnyUser, Dom, Events, Namespace, NamespaceOrAll, Open, PushState,
    Service, Statuses, Switches,
};
use super::super::users::V1;
use super::Audit::{Line, NoLine};
use super::Class::{Reads, Talks, Writes};
use super::Gate::{Nothing, Status, Whole};
use super::Servers::{Ask, Pass, Same};
use super::Verb::{Any, Delete, Get, Patch, Post, Put};
use super::{Entry, RouteSpec, now};
use crate::http::{Reply, no_such_api};
use crate::registry::Action::{Read, Write};

/// Where the other members of our make are heard.
pub(super) const PEER_PATH: &str = "~/distro/v1/*";

macro_rules! routes {
    ($($name:ident $label:literal [$($method:ident $path:expr),+]
        $class:ident $gate:ident $right:expr, $audit:ident $servers:ident => $handler:expr;)*) => {
        /// What a request asks for.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(in crate::http) enum Route {
            $($name,)*
        }

        impl Route {
            /// All routes.
            pub(in crate::http) const ALL: &[Self] = &[$(Self::$name,)*];

            /// Its row.
            pub(in crate::http::v1) fn spec(self) -> &'static RouteSpec {
                static ROWS: &[RouteSpec] = &[$(RouteSpec {
                    label: $label,
                    class: $class,
                    gate: $gate,
                    right: $right,
                    audit: $audit,
                    servers: $servers,
                    handler: $handler,
                }.checked(),)*];
                &ROWS[self as usize]
            }
        }

        /// All methods and paths, in the order of the table.
        pub(in crate::http::v1) static ENTRIES: &[Entry] = &[$($(Entry::new($method, $path, Route::$name),)+)*];
    };
}

// Name, label, methods and paths; class, gate, right; audit line, servers; handler.
routes! {
    InstanceList "instance_list" [Get "/v1/ns/instance/list", Get "/v1/ns/api/list"]
        Reads Whole Service(Read), NoLine Same => |api, call| now(api.list_instances(call));
    InstanceBeat "instance_beat" [Put "/v1/ns/instance/beat", Put "/v1/ns/api/beat"]
        Writes Whole Service(Write), NoLine Pass => Api::beat;
    InstanceRegister "instance_register" [Post "/v1/ns/instance", Post "/v1/ns/api"]
        Writes Whole Service(Write), NoLine Pass => Api::register_instance;
    InstanceDeregister "instance_deregister" [Delete "/v1/ns/instance", Delete "/v1/ns/api"]
        Writes Whole Service(Write), NoLine Pass => Api::deregister_instance;
    InstanceUpdate "instance_update" [Put "/v1/ns/instance", Put "/v1/ns/api"]
        Writes Whole Service(Write), Line Pass => Api::update_instance;
    InstancePatch "instance_patch" [Patch "/v1/ns/instance", Patch "/v1/ns/api"]
        Writes Whole Service(Write), Line Pass => Api::patch_instance;
    InstanceDetail "instance_detail" [Get "/v1/ns/instance", Get "/v1/ns/api"]
        Reads Whole Service(Read), NoLine Same => |api, call| now(api.instance_detail(call));
    InstanceStatuses "instance_statuses" [Get "/v1/ns/instance/statuses", Get "/v1/ns/api/statuses"]
        Reads Whole Statuses, NoLine Ask => |api, call| now(api.instance_statuses(call));
    MetadataBatchUpdate "metadata_batch_update"
        [Put "/v1/ns/instance/metadata/batch", Put "/v1/ns/api/metadata/batch"]
        Writes Whole Service(Write), Line Pass => |api, call| api.change_metadata_batch(call, true);
    MetadataBatchDelete "metadata_batch_delete"
        [Delete "/v1/ns/instance/metadata/batch", Delete "/v1/ns/api/metadata/batch"]
        Writes Whole Service(Write), Line Pass => |api, call| api.change_metadata_batch(call, false);
    LegacyList "legacy_list" [Get "/v1/ns/api/srvIPXT"]
        Reads Whole Dom(Read), NoLine Same => |api, call| now(api.legacy_list(call));
    LegacyBeat "legacy_beat" [Get "/v1/ns/api/clientBeat"]
        Writes Whole Dom(Write), NoLine Pass => Api::legacy_beat;
    LegacyNames "legacy_names" [Get "/v1/ns/api/allDomNames"]
        Reads Whole AllNamespaces, NoLine Same => |api, call| now(api.legacy_names(call));
    ServiceCreate "service_create" [Post "/v1/ns/service"]
        Writes Whole Service(Write), Line Same => Api::create_service;
    ServiceDelete "service_delete" [Delete "/v1/ns/service"]
        Writes Whole Service(Write), Line Same => Api::delete_service;
    ServiceUpdate "service_update" [Put "/v1/ns/service"]
        Writes Whole Service(Write), Line Same => Api::update_service;
    ServiceDetail "service_detail" [Get "/v1/ns/service"]
        Reads Whole Service(Read), NoLine Same => |api, call| now(api.service_detail(call));
    ServiceList "service_list" [Get "/v1/ns/service/list"]
        Reads Whole Namespace(Read), NoLine Same => |api, call| now(api.list_services(call));
    ServiceNames "service_names" [Get "/v1/ns/service/names"]
        Reads Whole NamespaceOrAll, NoLine Same => |api, call| now(api.service_names(call));
    ServiceSubscribers "service_subscribers" [Get "/v1/ns/service/subscribers"]
        Reads Whole Service(Read), NoLine Ask => Api::subscribers;
    ServiceChecksum "service_checksum" [Put "/v1/ns/service/checksum"]
        Reads Whole Service(Read), NoLine Same => |api, call| now(api.service_checksum(call));
    SelectorTypes "selector_types" [Get "/v1/ns/service/selector/types"]
        Reads Whole Open, NoLine Same => |api, _| Ok(api.selector_types().into());
    CatalogServices "catalog_services" [Get "/v1/ns/catalog/services"]
        Reads Whole Namespace(Read), NoLine Same => |api, call| now(api.catalog_services(call));
    CatalogService "catalog_service" [Get "/v1/ns/catalog/service"]
        Reads Whole Service(Read), NoLine Same => |api, call| now(api.catalog_service(call));
    CatalogInstances "catalog_instances" [Get "/v1/ns/catalog/instances"]
        Reads Whole Service(Read), NoLine Same => |api, call| now(api.catalog_instances(call));
    CatalogResponseTimes "catalog_response_times" [Get "/v1/ns/catalog/rt/service"]
        Reads Whole Service(Read), NoLine Same => |api, call| now(api.catalog_response_times(call));
    HealthUpdate "health_update" [Put "/v1/ns/health", Put "/v1/ns/health/instance"]
        Writes Whole Service(Write), Line Pass => Api::update_health;
    HealthServer "health_server" [Get "/v1/ns/health/server"]
        Reads Status Open, NoLine Same => |api, _| Ok(api.health_server().into());
    HealthCheckers "health_checkers" [Get "/v1/ns/health/checkers"]
        Reads Status Open, NoLine Same => |_, _| Ok(Reply::json(CHECKERS).into());
    ClusterUpdate "cluster_update" [Put "/v1/ns/cluster"]
        Writes Whole Service(Write), Line Same => Api::update_cluster;
    OperatorMetrics "operator_metrics" [Get "/v1/ns/operator/metrics", Get "/v1/ns/ops/metrics"]
        Reads Status Open, NoLine Same => |api, _| now(api.operator_metrics());
    SwitchesRead "switches_read" [Get "/v1/ns/operator/switches", Get "/v1/ns/ops/switches"]
        Reads Nothing Open, NoLine Same => |api, _| now(api.read_switches());
    SwitchesUpdate "switches_update" [Put "/v1/ns/operator/switches", Put "/v1/ns/ops/switches"]
        Writes Nothing Switches, Line Same => Api::update_switches;
    OperatorServers "operator_servers" [Get "/v1/ns/operator/servers", Get "/v1/ns/ops/servers"]
        Reads Status Open, NoLine Same => |api, call| now(api.operator_servers(call));
    ResponsibleServer "responsible_server"
        [Get "/v1/ns/operator/distro/server", Get "/v1/ns/ops/distro/server"]
        Reads Whole Service(Read), NoLine Same => |api, call| now(api.responsible_server(call));
    ClientServer "client_server"
        [Get "/v1/ns/operator/distro/client", Get "/v1/ns/ops/distro/client"]
        Reads Status Open, NoLine Same => |api, call| now(api.client_server(call));
    DistroStatus "distro_status"
        [Get "/v1/ns/operator/distro/status", Get "/v1/ns/ops/distro/status"]
        Reads Status Open, NoLine Same => |api, call| now(api.distro_status(call));
    // It counts anew if it is asked to: see its right.
    PushStateRead "push_state" [Get "/v1/ns/operator/push/state", Get "/v1/ns/ops/push/state"]
        Reads Status PushState, NoLine Same => |api, call| Ok(api.push_state(call).into());
    LogLevel "log_level" [Put "/v1/ns/operator/log", Put "/v1/ns/ops/log"]
        Writes Status Administrator, Line Same => |api, call| now(api.set_log_level(call));
    EventsRead "events" [Get "/v1/ns/operator/events", Get "/v1/ns/ops/events"]
        Reads Status Events, NoLine Same => |api, call| now(api.events(call));
    PeerProtocol "peer_protocol"
        [Post "/v1/ns/service/status", Any "/v1/ns/distro/*", Any "/v1/ns/raft/*",
            Get "/v1/ns/operator/server/status", Get "/v1/ns/ops/server/status",
            Get "/v1/ns/operator/cluster/state", Get "/v1/ns/ops/cluster/state"]
        Talks Nothing Open, NoLine Same => Api::answer_server;
    Peer "peer" [Post PEER_PATH]
        Talks Nothing Open, NoLine Same => |api, call| Ok(api.answer_peer(call));
    MemberSelf "member_self" [Get "/v1/core/cluster/self"]
        Reads Nothing Open, NoLine Same => |api, _| now(api.member_self());
    MemberNodes "member_nodes" [Get "/v1/core/cluster/nodes"]
        Reads Nothing Open, NoLine Same => |api, call| now(api.member_nodes(call));
    MemberSimpleNodes "member_simple_nodes" [Get "/v1/core/cluster/simple/nodes"]
        Reads Nothing Open, NoLine Same => |api, _| now(api.member_simple_nodes());
    MemberHealth "member_health" [Get "/v1/core/cluster/health"]
        Reads Nothing Open, NoLine Same => |api, _| now(api.member_health());
    MemberReport "member_report" [Post "/v1/core/cluster/report"]
        Talks Nothing Open, NoLine Same => |api, call| now(api.hear_report(call));
    MemberAdmin "member_admin"
        [Post "/v1/core/cluster/switch/lookup", Post "/v1/core/cluster/server/leave"]
        Talks Nothing Open, NoLine Same => Api::administer_members;
    Liveness "liveness" [Get "/v1/console/health/liveness"]
        Reads Nothing Open, NoLine Same => |api, _| now(api.alive());
    Readiness "readiness" [Get "/v1/console/health/readiness"]
        Reads Nothing Open, NoLine Same => |api, _| now(api.ready());
    ActuatorHealth "actuator_health" [Get "/actuator/health"]
        Reads Nothing Open, NoLine Same => |api, _| now(api.actuator_health());
    ServerState "server_state" [Get "/v1/console/server/state"]
        Reads Nothing Open, NoLine Same => |api, _| now(api.server_state());
    Announcement "announcement" [Get "/v1/console/server/announcement"]
        Reads Nothing Open, NoLine Same => |_, _| Ok(said(&Value::Null).into());
    Guide "guide" [Get "/v1/console/server/guide"]
        Reads Nothing Open, NoLine Same => |_, _| Ok(said(&Value::Null).into());
    NamespacesRead "namespaces_read" [Get "/v1/console/namespaces"]
        Reads Nothing Open, NoLine Same => |api, call| now(api.read_namespaces(call));
    NamespaceCreate "namespace_create" [Post "/v1/console/namespaces"]
        Writes Nothing Administrator, Line Same => Api::create_namespace;
    NamespaceUpdate "namespace_update" [Put "/v1/console/namespaces"]
        Writes Nothing Administrator, Line Same => Api::update_namespace;
    NamespaceDelete "namespace_delete" [Delete "/v1/console/namespaces"]
        Writes Nothing Administrator, Line Same => Api::delete_namespace;
    Login "login" [Post "/v1/auth/login", Post "/v1/auth/users/login"]
        Reads Nothing AnyUser, NoLine Same => |api, call| now(api.log_in(call));
    // Its sender need not be a user, but sits at this machine.
    FirstAdmin "first_admin" [Post "/v1/auth/users/admin"]
        Talks Nothing Open, Line Same => Api::make_first_admin_bare;
    UserCreate "user_create" [Post "/v1/auth/users"]
        Writes Nothing Administrator, Line Same => |api, call| api.create_user(call, &V1);
    UserDelete "user_delete" [Delete "/v1/auth/users"]
        Writes Nothing Administrator, Line Same => |api, call| api.delete_user(call, &V1);
    UserPassword "user_password" [Put "/v1/auth/users"]
        Writes Nothing AnyUser, Line Same => |api, call| api.change_password(call, &V1);
    UserList "user_list" [Get "/v1/auth/users"]
        Reads Nothing Administrator, NoLine Same => |api, call| now(api.list_users(call));
    UserSearch "user_search" [Get "/v1/auth/users/search"]
        Reads Nothing Administrator, NoLine Same => |api, call| now(api.search_users(call));
    RoleList "role_list" [Get "/v1/auth/roles"]
        Reads Nothing Administrator, NoLine Same => |api, call| now(api.list_roles(call));
    RoleSearch "role_search" [Get "/v1/auth/roles/search"]
        Reads Nothing Administrator, NoLine Same => |api, call| now(api.search_roles(call));
    RoleAdd "role_add" [Post "/v1/auth/roles"]
        Writes Nothing Administrator, Line Same => |api, call| api.add_role(call, &V1);
    RoleDelete "role_delete" [Delete "/v1/auth/roles"]
        Writes Nothing Administrator, Line Same => |api, call| api.delete_role(call, &V1);
    PermissionList "permission_list" [Get "/v1/auth/permissions"]
        Reads Nothing Administrator, NoLine Same => |api, call| now(api.list_permissions(call));
    PermissionAdd "permission_add" [Post "/v1/auth/permissions"]
        Writes Nothing Administrator, Line Same => |api, call| api.add_permission(call, &V1);
    PermissionDelete "permission_delete" [Delete "/v1/auth/permissions"]
        Writes Nothing Administrator, Line Same => |api, call| api.delete_permission(call, &V1);
    Auth "auth" [Any "/v1/auth/*"]
        Reads Nothing Open, NoLine Same => |api, call| now(api.administration(call).map(|_| no_such_api(call)));
    Configuration "configuration" [Any "/v1/cs/*"]
        Reads Nothing Open, NoLine Same => |api, call| now(api.answer_configuration(call));
    ServerList "server_list" [Get "/serverlist"]
        Reads Nothing Open, NoLine Same => |api, _| now(api.server_list());
    Metrics "metrics" [Get "~/metrics"]
        Reads Nothing Open, NoLine Same => |api, _| now(api.metrics_page());
    Page "page" [Get "~/", Get "~/index.html", Get "/console/*"]
        Reads Nothing Open, NoLine Same => |api, call| Ok(api.page(call).into());
}
