//! The rows of 2.x, and of what Prometheus asks.

use super::table::{Audit, Row};
use super::{
    actuator, clients, clients_of_service, instance, list, members, namespaces, operator, probes,
    prometheus, service, service_list,
};
use crate::http::v1::Right;
use crate::registry::Action::{Read, Write};

use Audit::As;

pub(super) static ROWS: &[Row] = &[
    Row::read("GET", "/v2/ns/instance/list", Right::Service(Read), list::list).gated(),
    Row::read("GET", "/v2/ns/instance", Right::Service(Read), list::detail).gated(),
    Row::write("POST", "/v2/ns/instance", Right::Service(Write), Audit::No, instance::register)
        .gated(),
    Row::write("DELETE", "/v2/ns/instance", Right::Service(Write), Audit::No, instance::deregister)
        .gated(),
    Row::write(
        "PUT",
        "/v2/ns/instance",
        Right::Service(Write),
        As("instance_update"),
        instance::update,
    )
    .gated(),
    Row::write(
        "PATCH",
        "/v2/ns/instance",
        Right::Service(Write),
        As("instance_patch"),
        instance::patch,
    )
    .gated(),
    Row::write("PUT", "/v2/ns/instance/beat", Right::Service(Write), Audit::No, instance::beat)
        .gated(),
    Row::write(
        "PUT",
        "/v2/ns/instance/metadata/batch",
        Right::Service(Write),
        As("metadata_batch_update"),
        instance::merge_metadata,
    )
    .gated(),
    Row::write(
        "DELETE",
        "/v2/ns/instance/metadata/batch",
        Right::Service(Write),
        As("metadata_batch_delete"),
        instance::remove_metadata,
    )
    .gated(),
    Row::read("*", "/v2/ns/instance/statuses/*", Right::AllNamespaces, list::statuses).gated(),
    Row::read("GET", "/v2/ns/service", Right::Service(Read), service::detail).gated(),
    Row::write(
        "POST",
        "/v2/ns/service",
        Right::Service(Write),
        As("service_create"),
        service::create,
    )
    .gated(),
    Row::write(
        "PUT",
        "/v2/ns/service",
        Right::Service(Write),
        As("service_update"),
        service::update,
    )
    .gated(),
    Row::write(
        "DELETE",
        "/v2/ns/service",
        Right::Service(Write),
        As("service_delete"),
        service::delete,
    )
    .gated(),
    Row::read("GET", "/v2/ns/service/list", Right::Namespace(Read), service_list::names).gated(),
    Row::read("GET", "/v2/ns/catalog/instances", Right::Service(Read), list::catalog).gated(),
    Row::write(
        "PUT",
        "/v2/ns/health",
        Right::Service(Write),
        As("health_update"),
        instance::set_health,
    )
    .gated(),
    Row::write(
        "PUT",
        "/v2/ns/health/instance",
        Right::Service(Write),
        As("health_update"),
        instance::set_health,
    )
    .gated(),
    Row::open("GET", "/v2/ns/operator/metrics", operator::metrics),
    Row::open("GET", "/v2/ns/ops/metrics", operator::metrics),
    Row::open("GET", "/v2/ns/operator/switches", operator::switches),
    Row::open("GET", "/v2/ns/ops/switches", operator::switches),
    Row::write(
        "PUT",
        "/v2/ns/operator/switches",
        Right::Switches,
        As("switches_update"),
        operator::set_switch,
    ),
    Row::write(
        "PUT",
        "/v2/ns/ops/switches",
        Right::Switches,
        As("switches_update"),
        operator::set_switch,
    ),
    Row::read("GET", "/v2/ns/client/list", Right::AllNamespaces, clients::list).gated(),
    Row::read("GET", "/v2/ns/client", Right::AllNamespaces, clients::detail).gated(),
    Row::read("GET", "/v2/ns/client/publish/list", Right::AllNamespaces, clients::published)
        .gated(),
    Row::read("GET", "/v2/ns/client/subscribe/list", Right::AllNamespaces, clients::subscribed)
        .gated(),
    Row::read(
        "GET",
        "/v2/ns/client/service/publisher/list",
        Right::Service(Read),
        clients_of_service::publishers,
    )
    .gated(),
    Row::read(
        "GET",
        "/v2/ns/client/service/subscriber/list",
        Right::Service(Read),
        clients_of_service::listeners,
    )
    .gated(),
    Row::read("GET", "/v2/ns/client/distro", Right::AnyUser, clients_of_service::responsible)
        .gated_by_status(),
    Row::read("GET", "/v2/core/cluster/node/self", Right::Administrator, members::own),
    Row::read("GET", "/v2/core/cluster/node/list", Right::Administrator, members::list),
    Row::read(
        "GET",
        "/v2/core/cluster/node/self/health",
        Right::Administrator,
        members::own_health,
    ),
    Row::write(
        "PUT",
        "/v2/core/cluster/node/list",
        Right::Administrator,
        As("member_admin"),
        members::set_list,
    ),
    Row::write(
        "PUT",
        "/v2/core/cluster/lookup",
        Right::Administrator,
        As("member_admin"),
        members::set_lookup,
    ),
    Row::write(
        "DELETE",
        "/v2/core/cluster/nodes",
        Right::Administrator,
        As("member_admin"),
        members::leave,
    ),
    Row::read("GET", "/v2/core/loader/current", Right::Administrator, members::connections),
    Row::read("GET", "/v2/core/loader/cluster", Right::Administrator, members::load),
    Row::write(
        "GET",
        "/v2/core/loader/reloadCurrent",
        Right::Administrator,
        As("connections_move"),
        members::move_connections,
    ),
    Row::write(
        "GET",
        "/v2/core/loader/reloadClient",
        Right::Administrator,
        As("connections_move"),
        members::send_client_away,
    ),
    Row::write(
        "GET",
        "/v2/core/loader/smartReloadCluster",
        Right::Administrator,
        As("connections_move"),
        members::move_connections,
    ),
    Row::read("GET", "/v2/core/ops/ids", Right::Administrator, members::no_raft),
    Row::write("POST", "/v2/core/ops/raft", Right::Administrator, As("raft"), members::no_raft),
    Row::write(
        "PUT",
        "/v2/core/ops/log",
        Right::Administrator,
        As("log_level"),
        members::set_log_level,
    ),
    Row::open("GET", "/v2/console/namespace/list", namespaces::list),
    Row::read("GET", "/v2/console/namespace", Right::AnyUser, namespaces::detail),
    Row::write(
        "POST",
        "/v2/console/namespace",
        Right::Administrator,
        As("namespace_create"),
        namespaces::create,
    ),
    Row::write(
        "PUT",
        "/v2/console/namespace",
        Right::Administrator,
        As("namespace_update"),
        namespaces::update,
    ),
    Row::write(
        "DELETE",
        "/v2/console/namespace",
        Right::Administrator,
        As("namespace_delete"),
        namespaces::delete,
    ),
    Row::open("GET", "/v2/console/health/liveness", probes::liveness),
    Row::open("GET", "/v2/console/health/readiness", probes::readiness),
    Row::open("*", "/v2/cs/*", probes::naming_only_no_path),
    Row::open("GET", "/actuator/prometheus", actuator::page),
    Row::read("GET", "/prometheus", Right::AllNamespaces, prometheus::all).gated(),
    Row::read("GET", "/prometheus/namespaceId/*", Right::PathNamespace, prometheus::some).gated(),
];
