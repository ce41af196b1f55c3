//! What parameters the requests of 1.x take.

use super::Kind::{Flag, Number, Port, Text, Whole};
use super::{
    ADDRESS, CATALOG_NAMES, CLIENT_ADDRESS, CLUSTER, LEVEL, NAMESPACE, OF_ADDRESS, OF_ROLE,
    OF_USER, PASSWORD, PERMISSION, Parameters, ROLE, Row, SWITCH, USER, WHOLE_PAGE, may, must,
};

/// The group may stand in the name, or beside it.
const SERVICE: Parameters = &[
    must("serviceName", Text, "DEFAULT_GROUP@@orders"),
    may("groupName", Text, "DEFAULT_GROUP"),
    may("namespaceId", Text, "public"),
];
const DOM: Parameters = &[must("dom", Text, "orders"), may("namespaceId", Text, "public")];
const VALUES: Parameters = &[
    may("weight", Number, "1.0"),
    may("enabled", Flag, "true"),
    may("healthy", Flag, "true"),
    may("ephemeral", Flag, "true"),
    may("metadata", Text, "{\"zone\":\"a\"}"),
    may("app", Text, "shop"),
];
const REMOVED: Parameters = &[may("weight", Number, "1.0"), may("ephemeral", Flag, "true")];
const LIST: Parameters = &[
    may("clusters", Text, "DEFAULT"),
    may("healthyOnly", Flag, "false"),
    may("udpPort", Port, "0"),
    may("clientIP", Text, "10.0.0.9"),
    may("app", Text, "shop"),
    may("tid", Text, "tenant"),
    may("env", Text, "test"),
    may("isCheck", Flag, "false"),
];
const BEAT: Parameters = &[
    may("beat", Text, "{\"ip\":\"10.0.0.1\",\"port\":8080}"),
    may("ip", Text, "10.0.0.1"),
    may("port", Port, "8080"),
    may("clusterName", Text, "DEFAULT"),
];
const BATCH: Parameters = &[
    must("metadata", Text, "{\"zone\":\"a\"}"),
    may("instances", Text, "[{\"ip\":\"10.0.0.1\",\"port\":8080}]"),
    may("consistencyType", Text, "ephemeral"),
];
const SETTINGS: Parameters = &[
    may("protectThreshold", Number, "0.5"),
    may("metadata", Text, "{\"team\":\"a\"}"),
    may("selector", Text, "{\"type\":\"none\"}"),
];
const CHANGED_SETTINGS: Parameters = &[
    must("protectThreshold", Number, "0.5"),
    may("metadata", Text, "{\"team\":\"a\"}"),
    may("selector", Text, "{\"type\":\"none\"}"),
];
const PAGE: Parameters = &[may("pageNo", Whole, "1"), may("pageSize", Whole, "10")];
const HEALTH: Parameters = &[
    must("ip", Text, "10.0.0.1"),
    must("port", Port, "8080"),
    may("clusterName", Text, "DEFAULT"),
    may("healthy", Flag, "true"),
    may("valid", Flag, "true"),
];
const OF_CLUSTER: Parameters = &[must("clusterName", Text, "DEFAULT")];
const NAMESPACE_TEXTS: Parameters =
    &[must("namespaceName", Text, "Development"), may("namespaceDesc", Text, "for developers")];

/// As those of the later APIs. What is below `/v1/ns/ops` is below `/v1/ns/operator`, too, and what is
/// at `/v1/ns/instance` at `/v1/ns/api`.
pub(super) const ROWS: &[Row] = &[
    ("GET", "/v1/ns/instance/list", &[SERVICE, LIST]),
    ("PUT", "/v1/ns/instance/beat", &[SERVICE, BEAT]),
    ("POST", "/v1/ns/instance", &[SERVICE, ADDRESS, VALUES]),
    ("DELETE", "/v1/ns/instance", &[SERVICE, ADDRESS, REMOVED]),
    ("PUT", "/v1/ns/instance", &[SERVICE, ADDRESS, VALUES]),
    (
        "PATCH",
        "/v1/ns/instance",
        &[SERVICE, ADDRESS, VALUES, &[may("operatorValues", Text, "clear")]],
    ),
    ("GET", "/v1/ns/instance", &[SERVICE, ADDRESS]),
    ("GET", "/v1/ns/instance/statuses", &[&[must("key", Text, "public##DEFAULT_GROUP@@orders")]]),
    ("PUT", "/v1/ns/instance/metadata/batch", &[SERVICE, BATCH]),
    ("DELETE", "/v1/ns/instance/metadata/batch", &[SERVICE, BATCH]),
    ("GET", "/v1/ns/api/srvIPXT", &[DOM, LIST]),
    (
        "GET",
        "/v1/ns/api/clientBeat",
        &[
            DOM,
            &[
                must("beat", Text, "{\"ip\":\"10.0.0.1\",\"port\":8080}"),
                may("clusterName", Text, "DEFAULT"),
            ],
        ],
    ),
    ("POST", "/v1/ns/service", &[SERVICE, SETTINGS]),
    ("DELETE", "/v1/ns/service", &[SERVICE]),
    ("PUT", "/v1/ns/service", &[SERVICE, CHANGED_SETTINGS]),
    ("GET", "/v1/ns/service", &[SERVICE]),
    (
        "GET",
        "/v1/ns/service/list",
        &[
            WHOLE_PAGE,
            NAMESPACE,
            &[
                may("groupName", Text, "DEFAULT_GROUP"),
                may("selector", Text, "{\"type\":\"none\"}"),
            ],
        ],
    ),
    ("GET", "/v1/ns/service/names", &[NAMESPACE, &[may("expr", Text, "ord")]]),
    ("GET", "/v1/ns/service/subscribers", &[SERVICE, PAGE, &[may("aggregation", Flag, "true")]]),
    ("PUT", "/v1/ns/service/checksum", &[SERVICE]),
    (
        "GET",
        "/v1/ns/catalog/services",
        &[
            WHOLE_PAGE,
            NAMESPACE,
            CATALOG_NAMES,
            &[
                may("withInstances", Flag, "false"),
                may("hasIpCount", Flag, "false"),
                may("instance", Text, "10.0.0.1:8080"),
            ],
        ],
    ),
    ("GET", "/v1/ns/catalog/service", &[SERVICE]),
    ("GET", "/v1/ns/catalog/instances", &[SERVICE, OF_CLUSTER, WHOLE_PAGE]),
    ("GET", "/v1/ns/catalog/rt/service", &[SERVICE]),
    ("PUT", "/v1/ns/health", &[SERVICE, HEALTH]),
    ("PUT", "/v1/ns/health/instance", &[SERVICE, HEALTH]),
    ("PUT", "/v1/ns/cluster", &[SERVICE, CLUSTER]),
    ("PUT", "/v1/ns/operator/switches", &[SWITCH]),
    ("GET", "/v1/ns/operator/servers", &[&[may("healthy", Flag, "true")]]),
    ("GET", "/v1/ns/operator/distro/server", &[SERVICE]),
    ("GET", "/v1/ns/operator/distro/client", &[CLIENT_ADDRESS]),
    ("GET", "/v1/ns/operator/distro/status", &[&[may("action", Text, "view")]]),
    (
        "GET",
        "/v1/ns/operator/push/state",
        &[&[may("detail", Flag, "false"), may("reset", Flag, "false")]],
    ),
    ("PUT", "/v1/ns/operator/log", &[LEVEL]),
    (
        "GET",
        "/v1/ns/operator/events",
        &[
            OF_ADDRESS,
            NAMESPACE,
            &[
                may("serviceName", Text, "DEFAULT_GROUP@@orders"),
                may("groupName", Text, "DEFAULT_GROUP"),
                may("limit", Whole, "10"),
            ],
        ],
    ),
    ("GET", "/v1/core/cluster/nodes", &[&[may("keyword", Text, "10.")]]),
    (
        "GET",
        "/v1/console/namespaces",
        &[&[
            may("checkNamespaceIdExist", Flag, "false"),
            may("customNamespaceId", Text, "dev"),
            may("show", Text, "all"),
            may("namespaceId", Text, "dev"),
        ]],
    ),
    (
        "POST",
        "/v1/console/namespaces",
        &[NAMESPACE_TEXTS, &[may("customNamespaceId", Text, "dev")]],
    ),
    (
        "PUT",
        "/v1/console/namespaces",
        &[
            &[must("namespace", Text, "dev"), must("namespaceShowName", Text, "Development")],
            &[may("namespaceDesc", Text, "for developers")],
        ],
    ),
    ("DELETE", "/v1/console/namespaces", &[&[must("namespaceId", Text, "dev")]]),
    ("POST", "/v1/auth/login", &[USER, PASSWORD]),
    ("POST", "/v1/auth/users/login", &[USER, PASSWORD]),
    ("POST", "/v1/auth/users/admin", &[OF_USER, PASSWORD]),
    ("POST", "/v1/auth/users", &[USER, PASSWORD, &[may("admin", Flag, "false")]]),
    ("DELETE", "/v1/auth/users", &[USER]),
    ("PUT", "/v1/auth/users", &[USER, &[must("newPassword", Text, "a better password")]]),
    ("GET", "/v1/auth/users", &[WHOLE_PAGE]),
    ("GET", "/v1/auth/users/search", &[USER]),
    ("GET", "/v1/auth/roles", &[WHOLE_PAGE, OF_USER]),
    ("GET", "/v1/auth/roles/search", &[ROLE]),
    ("POST", "/v1/auth/roles", &[ROLE, USER]),
    ("DELETE", "/v1/auth/roles", &[ROLE, OF_USER]),
    ("GET", "/v1/auth/permissions", &[WHOLE_PAGE, OF_ROLE]),
    ("POST", "/v1/auth/permissions", &[ROLE, PERMISSION]),
    ("DELETE", "/v1/auth/permissions", &[ROLE, PERMISSION]),
];

/// The path under which the parameters of a path of 1.x stand.
pub(super) fn listed(path: &str) -> String {
    let below = |begin: &str| path.strip_prefix(begin).filter(|rest| rest.starts_with('/'));
    if let Some(rest) = below("/v1/ns/ops") {
        return format!("/v1/ns/operator{rest}");
    }
    let is_own = |path: &str| ROWS.iter().any(|(_, known, _)| *known == path);
    match path.strip_prefix("/v1/ns/api") {
        Some(rest) if !is_own(path) => format!("/v1/ns/instance{rest}"),
        _ => path.to_owned(),
    }
}
