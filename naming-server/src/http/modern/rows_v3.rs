//! The rows of 3.x: the client API, the admin API, and what the console port answers.

use super::table::{Audit, Row};
use super::{
    clients, clients_of_service, instance, list, members, namespaces, operator, probes, service,
    service_list,
};
use crate::http::v1::Right;
use crate::registry::Action::{Read, Write};

use Audit::As;

pub(super) static ROWS: &[Row] = &[
    Row::write(
        "POST",
        "/v3/client/ns/instance",
        Right::Service(Write),
        Audit::No,
        instance::register_or_beat,
    )
    .gated(),
    Row::write(
        "DELETE",
        "/v3/client/ns/instance",
        Right::Service(Write),
        Audit::No,
        instance::deregister,
    )
    .gated(),
    Row::read("GET", "/v3/client/ns/instance/list", Right::Service(Read), list::client_list)
        .gated(),
    Row::write(
        "POST",
        "/v3/admin/ns/instance",
        Right::Service(Write),
        Audit::No,
        instance::register,
    )
    .gated(),
    Row::write(
        "DELETE",
        "/v3/admin/ns/instance",
        Right::Service(Write),
        Audit::No,
        instance::deregister,
    )
    .gated(),
    Row::write(
        "PUT",
        "/v3/admin/ns/instance",
        Right::Service(Write),
        As("instance_update"),
        instance::update,
    )
    .gated(),
    Row::read("GET", "/v3/admin/ns/instance", Right::Service(Read), list::admin_detail).gated(),
    Row::read("GET", "/v3/admin/ns/instance/list", Right::Service(Read), list::admin_list).gated(),
    Row::write(
        "PUT",
        "/v3/admin/ns/instance/partial",
        Right::Service(Write),
        As("instance_patch"),
        instance::patch_partially,
    )
    .gated(),
    Row::write(
        "PUT",
        "/v3/admin/ns/instance/metadata/batch",
        Right::Service(Write),
        As("metadata_batch_update"),
        instance::merge_metadata,
    )
    .gated(),
    Row::write(
        "DELETE",
        "/v3/admin/ns/instance/metadata/batch",
        Right::Service(Write),
        As("metadata_batch_delete"),
        instance::remove_metadata,
    )
    .gated(),
    Row::read("GET", "/v3/admin/ns/service", Right::Service(Read), service::admin_detail).gated(),
    Row::write(
        "POST",
        "/v3/admin/ns/service",
        Right::Service(Write),
        As("service_create"),
        service::create,
    )
    .gated(),
    Row::write(
        "PUT",
        "/v3/admin/ns/service",
        Right::Service(Write),
        As("service_update"),
        service::update,
    )
    .gated(),
    Row::write(
        "DELETE",
        "/v3/admin/ns/service",
        Right::Service(Write),
        As("service_delete"),
        service::delete,
    )
    .gated(),
    Row::read("GET", "/v3/admin/ns/service/list", Right::Namespace(Read), service_list::page)
        .gated(),
    Row::read(
        "GET",
        "/v3/admin/ns/service/subscribers",
        Right::Service(Read),
        service_list::subscribers,
    )
    .gated(),
    Row::read(
        "GET",
        "/v3/admin/ns/service/selector/types",
        Right::AnyUser,
        service::selector_types,
    ),
    Row::write(
        "PUT",
        "/v3/admin/ns/cluster",
        Right::Service(Write),
        As("cluster_update"),
        service::update_cluster,
    )
    .gated(),
    Row::write(
        "PUT",
        "/v3/admin/ns/health/instance",
        Right::Service(Write),
        As("health_update"),
        instance::set_health,
    )
    .gated(),
    Row::read("GET", "/v3/admin/ns/health/checkers", Right::AnyUser, service::checkers),
    Row::read("GET", "/v3/admin/ns/client/list", Right::AllNamespaces, clients::list).gated(),
    Row::read("GET", "/v3/admin/ns/client", Right::AllNamespaces, clients::admin_detail).gated(),
    Row::read(
        "GET",
        "/v3/admin/ns/client/publish/list",
        Right::AllNamespaces,
        clients::admin_published,
    )
    .gated(),
    Row::read(
        "GET",
        "/v3/admin/ns/client/subscribe/list",
        Right::AllNamespaces,
        clients::admin_subscribed,
    )
    .gated(),
    Row::read(
        "GET",
        "/v3/admin/ns/client/service/publisher/list",
        Right::Service(Read),
        clients_of_service::admin_publishers,
    )
    .gated(),
    Row::read(
        "GET",
        "/v3/admin/ns/client/service/subscriber/list",
        Right::Service(Read),
        clients_of_service::admin_listeners,
    )
    .gated(),
    Row::read("GET", "/v3/admin/ns/client/distro", Right::AnyUser, clients_of_service::responsible)
        .gated_by_status(),
    Row::read("GET", "/v3/admin/ns/ops/metrics", Right::AnyUser, operator::admin_metrics),
    Row::read("GET", "/v3/admin/ns/ops/switches", Right::AnyUser, operator::switches),
    Row::write(
        "PUT",
        "/v3/admin/ns/ops/switches",
        Right::Switches,
        As("switches_update"),
        operator::set_switch,
    ),
    Row::write(
        "PUT",
        "/v3/admin/ns/ops/log",
        Right::Administrator,
        As("log_level"),
        members::set_log_level,
    ),
    Row::read("GET", "/v3/admin/core/cluster/node/self", Right::Administrator, members::own),
    Row::read("GET", "/v3/admin/core/cluster/node/list", Right::Administrator, members::list),
    Row::write(
        "PUT",
        "/v3/admin/core/cluster/node/list",
        Right::Administrator,
        As("member_admin"),
        members::set_list,
    ),
    Row::write(
        "PUT",
        "/v3/admin/core/cluster/lookup",
        Right::Administrator,
        As("member_admin"),
        members::set_lookup,
    ),
    Row::read("GET", "/v3/admin/core/namespace", Right::Administrator, namespaces::admin_detail),
    Row::read("GET", "/v3/admin/core/namespace/list", Right::Administrator, namespaces::admin_list),
    Row::read("GET", "/v3/admin/core/namespace/check", Right::Administrator, namespaces::check),
    Row::write(
        "POST",
        "/v3/admin/core/namespace",
        Right::Administrator,
        As("namespace_create"),
        namespaces::admin_create,
    ),
    Row::write(
        "PUT",
        "/v3/admin/core/namespace",
        Right::Administrator,
        As("namespace_update"),
        namespaces::update,
    ),
    Row::write(
        "DELETE",
        "/v3/admin/core/namespace",
        Right::Administrator,
        As("namespace_delete"),
        namespaces::delete,
    ),
    Row::open("GET", "/v3/admin/core/state", probes::state),
    Row::open("GET", "/v3/admin/core/state/liveness", probes::liveness),
    Row::open("GET", "/v3/admin/core/state/readiness", probes::readiness),
    Row::read(
        "GET",
        "/v3/admin/core/loader/current",
        Right::Administrator,
        members::admin_connections,
    ),
    Row::read("GET", "/v3/admin/core/loader/cluster", Right::Administrator, members::admin_load),
    Row::write(
        "POST",
        "/v3/admin/core/loader/reloadCurrent",
        Right::Administrator,
        As("connections_move"),
        members::move_connections,
    ),
    Row::write(
        "POST",
        "/v3/admin/core/loader/reloadClient",
        Right::Administrator,
        As("connections_move"),
        members::admin_send_client_away,
    ),
    Row::write(
        "POST",
        "/v3/admin/core/loader/smartReloadCluster",
        Right::Administrator,
        As("connections_move"),
        members::move_connections,
    ),
    Row::read("GET", "/v3/admin/core/ops/ids", Right::Administrator, members::no_raft),
    Row::write(
        "POST",
        "/v3/admin/core/ops/raft",
        Right::Administrator,
        As("raft"),
        members::no_raft,
    ),
    Row::write(
        "PUT",
        "/v3/admin/core/ops/log",
        Right::Administrator,
        As("log_level"),
        members::set_log_level,
    ),
    Row::open("*", "/v3/client/cs/*", probes::naming_only_no_path),
    Row::open("*", "/v3/client/ai/*", probes::naming_only_no_path),
    Row::open("*", "/v3/admin/cs/*", probes::naming_only_no_path),
    Row::open("*", "/v3/admin/ai/*", probes::naming_only_no_path),
    Row::open("*", "/v3/admin/core/plugin/*", probes::naming_only_no_path),
];

/// Without context path.
pub(super) static CONSOLE_ROWS: &[Row] = &[
    Row::open("GET", "/", probes::page),
    Row::open("GET", "/index.html", probes::page),
    Row::open("GET", "/console/*", probes::page),
    Row::read("GET", "/v3/console/ns/service", Right::Service(Read), service::console_detail)
        .gated(),
    Row::write(
        "POST",
        "/v3/console/ns/service",
        Right::Service(Write),
        As("service_create"),
        service::create,
    )
    .gated(),
    Row::write(
        "PUT",
        "/v3/console/ns/service",
        Right::Service(Write),
        As("service_update"),
        service::update,
    )
    .gated(),
    Row::write(
        "DELETE",
        "/v3/console/ns/service",
        Right::Service(Write),
        As("service_delete"),
        service::delete,
    )
    .gated(),
    Row::read("GET", "/v3/console/ns/service/list", Right::Namespace(Read), service_list::page)
        .gated(),
    Row::read(
        "GET",
        "/v3/console/ns/service/subscribers",
        Right::Service(Read),
        service_list::subscribers,
    )
    .gated(),
    Row::read(
        "GET",
        "/v3/console/ns/service/selector/types",
        Right::AnyUser,
        service::selector_types,
    ),
    Row::write(
        "PUT",
        "/v3/console/ns/service/cluster",
        Right::Service(Write),
        As("cluster_update"),
        service::update_cluster,
    )
    .gated(),
    Row::read("GET", "/v3/console/ns/instance/list", Right::Service(Read), list::console_list)
        .gated(),
    Row::write(
        "PUT",
        "/v3/console/ns/instance",
        Right::Service(Write),
        As("instance_update"),
        instance::update,
    )
    .gated(),
    Row::write(
        "DELETE",
        "/v3/console/ns/instance",
        Right::Service(Write),
        As("instance_delete"),
        instance::deregister,
    )
    .gated(),
    Row::read("GET", "/v3/console/core/namespace", Right::AnyUser, namespaces::admin_detail),
    Row::read("GET", "/v3/console/core/namespace/list", Right::AnyUser, namespaces::admin_list),
    Row::read("GET", "/v3/console/core/namespace/exist", Right::AnyUser, namespaces::exists),
    Row::write(
        "POST",
        "/v3/console/core/namespace",
        Right::Administrator,
        As("namespace_create"),
        namespaces::console_create,
    ),
    Row::write(
        "PUT",
        "/v3/console/core/namespace",
        Right::Administrator,
        As("namespace_update"),
        namespaces::update,
    ),
    Row::write(
        "DELETE",
        "/v3/console/core/namespace",
        Right::Administrator,
        As("namespace_delete"),
        namespaces::delete,
    ),
    Row::read("GET", "/v3/console/core/cluster/nodes", Right::Administrator, members::console_list),
    Row::write(
        "POST",
        "/v3/console/core/cluster/server/leave",
        Right::Administrator,
        As("member_admin"),
        members::leave,
    ),
    Row::open("GET", "/v3/console/server/state", probes::console_state),
    Row::open("GET", "/v3/console/server/announcement", probes::announcement),
    Row::open("GET", "/v3/console/server/guide", probes::guide),
    Row::open("GET", "/v3/console/health/liveness", probes::liveness),
    Row::open("GET", "/v3/console/health/readiness", probes::readiness),
    Row::open("*", "/v3/console/cs/*", probes::naming_only),
    Row::open("*", "/v3/console/ai/*", probes::naming_only),
];
