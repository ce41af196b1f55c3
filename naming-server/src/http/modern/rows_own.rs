//! The rows that no server of Nacos has: what the console shows beside the API of 3.x. Both ports
//! answer them.

use super::table::{Audit, Row};
use super::{api_document, instance, namespaces, operator, own};
use crate::http::v1::Right;
use crate::registry::Action::{Read, Write};

use Audit::As;

pub(super) static ROWS: &[Row] = &[
    Row::open("GET", "/v3/openapi.json", api_document),
    Row::read("GET", "/v3/console/naming-server/overview", Right::AnyUser, own::overview),
    Row::read("GET", "/v3/console/naming-server/members", Right::AnyUser, own::members),
    Row::read(
        "GET",
        "/v3/console/naming-server/namespaces",
        Right::AnyUser,
        namespaces::admin_list,
    ),
    Row::read("GET", "/v3/console/naming-server/events", Right::Events, own::events),
    Row::read("GET", "/v3/console/naming-server/search", Right::NamespaceOrAll, own::search)
        .gated(),
    Row::read("GET", "/v3/console/naming-server/instances", Right::Service(Read), own::instances)
        .gated(),
    Row::write(
        "PUT",
        "/v3/console/naming-server/instance",
        Right::Service(Write),
        As("instance_patch"),
        instance::patch_partially,
    )
    .gated(),
    Row::write(
        "DELETE",
        "/v3/console/naming-server/instance/metadata",
        Right::Service(Write),
        As("metadata_batch_delete"),
        instance::remove_metadata,
    )
    .gated(),
    Row::write(
        "DELETE",
        "/v3/console/naming-server/instance",
        Right::Service(Write),
        As("instance_delete"),
        instance::deregister,
    )
    .gated(),
    Row::read("GET", "/v3/console/naming-server/clients", Right::AllNamespaces, own::connections)
        .gated(),
    Row::read("GET", "/v3/console/naming-server/addresses", Right::AllNamespaces, own::addresses)
        .gated(),
    Row::read("GET", "/v3/console/naming-server/client", Right::AllNamespaces, own::client).gated(),
    Row::read("GET", "/v3/console/naming-server/audit", Right::Administrator, own::audit),
    Row::read("GET", "/v3/console/naming-server/switches", Right::AnyUser, operator::switches),
    Row::write(
        "PUT",
        "/v3/console/naming-server/switches",
        Right::Switches,
        As("switches_update"),
        operator::set_switch,
    ),
    // Taken down although it changes nothing: password hashes are in it.
    Row::write(
        "GET",
        "/v3/console/naming-server/backup",
        Right::Administrator,
        As("backup_export"),
        own::backup,
    )
    .gated(),
    Row::write(
        "POST",
        "/v3/console/naming-server/backup",
        Right::Administrator,
        As("backup_restore"),
        own::restore,
    )
    .gated(),
];
