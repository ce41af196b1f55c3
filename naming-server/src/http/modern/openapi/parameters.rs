//! What parameters requests take: those of 2.x and 3.x here, those of 1.x in [`first`].

use Kind::{Flag, Number, Port, Text, Whole};

mod first;

/// What a parameter must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http::modern) enum Kind {
    Text,
    Whole,
    Port,
    Number,
    Flag,
}

/// One parameter.
#[derive(Debug, Clone, Copy)]
pub(in crate::http::modern) struct Parameter {
    pub(in crate::http::modern) name: &'static str,
    pub(in crate::http::modern) kind: Kind,
    pub(in crate::http::modern) is_required: bool,
    pub(in crate::http::modern) example: &'static str,
}

const fn must(name: &'static str, kind: Kind, example: &'static str) -> Parameter {
    Parameter { name, kind, is_required: true, example }
}

const fn may(name: &'static str, kind: Kind, example: &'static str) -> Parameter {
    Parameter { name, kind, is_required: false, example }
}

type Parameters = &'static [Parameter];

const NAMESPACE: Parameters = &[may("namespaceId", Text, "public")];
const SERVICE: Parameters = &[
    must("serviceName", Text, "orders"),
    may("groupName", Text, "DEFAULT_GROUP"),
    may("namespaceId", Text, "public"),
];
const GROUPED: Parameters = &[
    must("serviceName", Text, "DEFAULT_GROUP@@orders"),
    may("groupName", Text, "DEFAULT_GROUP"),
    may("namespaceId", Text, "public"),
];
const ADDRESS: Parameters = &[
    must("ip", Text, "10.0.0.1"),
    must("port", Port, "8080"),
    may("clusterName", Text, "DEFAULT"),
];
const OF_ADDRESS: Parameters = &[may("ip", Text, "10.0.0.1"), may("port", Port, "8080")];
const CLIENT_ADDRESS: Parameters = &[must("ip", Text, "10.0.0.1"), must("port", Port, "8080")];
const VALUES: Parameters = &[
    may("weight", Number, "1.0"),
    may("enabled", Flag, "true"),
    may("metadata", Text, "{\"zone\":\"a\"}"),
    may("ephemeral", Flag, "true"),
];
const HEALTHY: Parameters = &[may("healthy", Flag, "true")];
const KIND: Parameters = &[may("ephemeral", Flag, "true")];
const BATCH: Parameters = &[
    must("metadata", Text, "{\"zone\":\"a\"}"),
    may("instances", Text, "[{\"ip\":\"10.0.0.1\",\"port\":8080}]"),
];
const SETTINGS: Parameters = &[
    may("protectThreshold", Number, "0.5"),
    may("metadata", Text, "{\"team\":\"a\"}"),
    may("selector", Text, "{\"type\":\"none\"}"),
    may("ephemeral", Flag, "true"),
];
const CLUSTERS: Parameters = &[may("clusterName", Text, "DEFAULT")];
const CLUSTER: Parameters = &[
    must("clusterName", Text, "DEFAULT"),
    must("checkPort", Port, "80"),
    must("useInstancePort4Check", Flag, "true"),
    must("healthChecker", Text, "{\"type\":\"TCP\"}"),
    may("metadata", Text, "{\"zone\":\"a\"}"),
];
const PAGE: Parameters = &[may("pageNo", Whole, "1"), may("pageSize", Whole, "10")];
const WHOLE_PAGE: Parameters = &[must("pageNo", Whole, "1"), must("pageSize", Whole, "10")];
const CATALOG_NAMES: Parameters =
    &[may("groupNameParam", Text, "DEFAULT"), may("serviceNameParam", Text, "ord")];
const CATALOG: Parameters =
    &[may("ignoreEmptyService", Flag, "false"), may("withInstances", Flag, "false")];
const CLIENT: Parameters = &[must("clientId", Text, "10.0.0.1:8080#true")];
const COUNTS: Parameters = &[may("onlyStatus", Flag, "false")];
const SWITCH: Parameters = &[
    must("entry", Text, "clientBeatInterval"),
    must("value", Text, "5000"),
    may("debug", Flag, "false"),
];
const LEVEL: Parameters = &[must("logName", Text, "naming-main"), must("logLevel", Text, "INFO")];
const MEMBERS: Parameters = &[may("address", Text, "10."), may("state", Text, "UP")];
const LOOKUP: Parameters = &[must("type", Text, "file")];
const AWAY: Parameters = &[
    must("connectionId", Text, "1_127.0.0.1_1"),
    may("redirectAddress", Text, "registry-2.example.org:8848"),
];
const NAMESPACE_ID: Parameters = &[must("namespaceId", Text, "dev")];
const NAMESPACE_NAMES: Parameters =
    &[must("namespaceName", Text, "Development"), may("namespaceDesc", Text, "for developers")];
const OWN_NAMESPACE_ID: Parameters = &[may("customNamespaceId", Text, "dev")];
const USER: Parameters = &[must("username", Text, "reader")];
const OF_USER: Parameters = &[may("username", Text, "reader")];
const ROLE: Parameters = &[must("role", Text, "readers")];
const OF_ROLE: Parameters = &[may("role", Text, "readers")];
const PASSWORD: Parameters = &[must("password", Text, "a good password")];
const NEW_PASSWORD: Parameters = &[must("newPassword", Text, "a better password")];
const PERMISSION: Parameters = &[must("resource", Text, "public:*:*"), must("action", Text, "r")];
/// The member whose part alone is asked for.
const MEMBER: Parameters = &[may("member", Text, "127.0.0.1:8848")];
const SEARCH: Parameters = &[may("search", Text, "accurate")];

/// Of one kind of request: method, path, parameters.
type Row = (&'static str, &'static str, &'static [Parameters]);

/// Requests below `/v3/admin` and `/v3/console` that take the same stand once, with a `~` for what
/// comes before.
const ROWS: &[Row] = &[
    ("POST", "/v2/ns/instance", &[SERVICE, ADDRESS, VALUES, HEALTHY]),
    ("DELETE", "/v2/ns/instance", &[SERVICE, ADDRESS, KIND]),
    ("PUT", "/v2/ns/instance", &[SERVICE, ADDRESS, VALUES, HEALTHY]),
    (
        "PATCH",
        "/v2/ns/instance",
        &[
            GROUPED,
            ADDRESS,
            KIND,
            &[
                must("weight", Number, "1.0"),
                must("enabled", Flag, "true"),
                must("metadata", Text, "{\"zone\":\"a\"}"),
            ],
        ],
    ),
    ("GET", "/v2/ns/instance", &[SERVICE, ADDRESS]),
    (
        "GET",
        "/v2/ns/instance/list",
        &[SERVICE, CLUSTERS, OF_ADDRESS, &[may("healthyOnly", Flag, "false")]],
    ),
    (
        "PUT",
        "/v2/ns/instance/beat",
        &[
            GROUPED,
            OF_ADDRESS,
            CLUSTERS,
            &[may("beat", Text, "{\"ip\":\"10.0.0.1\",\"port\":8080}")],
        ],
    ),
    ("PUT", "/v2/ns/instance/metadata/batch", &[SERVICE, BATCH]),
    ("DELETE", "/v2/ns/instance/metadata/batch", &[SERVICE, BATCH]),
    ("POST", "/v2/ns/service", &[SERVICE, SETTINGS]),
    ("PUT", "/v2/ns/service", &[SERVICE, SETTINGS]),
    ("GET", "/v2/ns/service", &[SERVICE]),
    ("DELETE", "/v2/ns/service", &[SERVICE]),
    ("GET", "/v2/ns/service/list", &[NAMESPACE, PAGE, &[may("groupName", Text, "DEFAULT_GROUP")]]),
    (
        "GET",
        "/v2/ns/catalog/instances",
        &[
            SERVICE,
            CLUSTERS,
            WHOLE_PAGE,
            &[may("healthyOnly", Flag, "false"), may("enabledOnly", Flag, "false")],
        ],
    ),
    ("PUT", "/v2/ns/health", &[SERVICE, ADDRESS, &[must("healthy", Flag, "true")]]),
    ("PUT", "/v2/ns/health/instance", &[SERVICE, ADDRESS, &[must("healthy", Flag, "true")]]),
    ("GET", "/v2/ns/operator/metrics", &[COUNTS]),
    ("GET", "/v2/ns/ops/metrics", &[COUNTS]),
    ("PUT", "/v2/ns/operator/switches", &[SWITCH]),
    ("PUT", "/v2/ns/ops/switches", &[SWITCH]),
    ("GET", "/v2/ns/client", &[CLIENT]),
    ("GET", "/v2/ns/client/publish/list", &[CLIENT]),
    ("GET", "/v2/ns/client/subscribe/list", &[CLIENT]),
    ("GET", "/v2/ns/client/service/publisher/list", &[SERVICE, OF_ADDRESS, KIND]),
    ("GET", "/v2/ns/client/service/subscriber/list", &[SERVICE, OF_ADDRESS, KIND]),
    ("GET", "/v2/ns/client/distro", &[CLIENT_ADDRESS]),
    ("GET", "/v2/core/cluster/node/list", &[MEMBERS]),
    ("PUT", "/v2/core/cluster/lookup", &[LOOKUP]),
    ("GET", "/v2/core/loader/reloadClient", &[AWAY]),
    ("PUT", "/v2/core/ops/log", &[LEVEL]),
    ("GET", "/v2/console/namespace", &[NAMESPACE_ID]),
    ("POST", "/v2/console/namespace", &[NAMESPACE_ID, NAMESPACE_NAMES]),
    ("PUT", "/v2/console/namespace", &[NAMESPACE_ID, NAMESPACE_NAMES]),
    ("DELETE", "/v2/console/namespace", &[NAMESPACE_ID]),
    (
        "POST",
        "/v3/client/ns/instance",
        &[SERVICE, ADDRESS, VALUES, HEALTHY, &[may("heartBeat", Flag, "false")]],
    ),
    ("DELETE", "/v3/client/ns/instance", &[SERVICE, ADDRESS, KIND]),
    ("GET", "/v3/client/ns/instance/list", &[SERVICE, CLUSTERS]),
    ("POST", "/v3/admin/ns/instance", &[SERVICE, ADDRESS, VALUES, HEALTHY]),
    ("DELETE", "~/ns/instance", &[SERVICE, ADDRESS, KIND]),
    ("PUT", "~/ns/instance", &[SERVICE, ADDRESS, VALUES, HEALTHY]),
    ("GET", "/v3/admin/ns/instance", &[SERVICE, ADDRESS]),
    (
        "GET",
        "/v3/admin/ns/instance/list",
        &[SERVICE, CLUSTERS, &[may("healthyOnly", Flag, "false")]],
    ),
    ("GET", "/v3/console/ns/instance/list", &[SERVICE, CLUSTERS, PAGE]),
    ("PUT", "/v3/admin/ns/instance/partial", &[SERVICE, ADDRESS, VALUES]),
    ("PUT", "/v3/admin/ns/instance/metadata/batch", &[SERVICE, BATCH]),
    ("DELETE", "/v3/admin/ns/instance/metadata/batch", &[SERVICE, BATCH]),
    ("GET", "~/ns/service", &[SERVICE]),
    ("POST", "~/ns/service", &[SERVICE, SETTINGS]),
    ("PUT", "~/ns/service", &[SERVICE, SETTINGS]),
    ("DELETE", "~/ns/service", &[SERVICE]),
    ("GET", "~/ns/service/list", &[NAMESPACE, PAGE, CATALOG_NAMES, CATALOG]),
    ("GET", "~/ns/service/subscribers", &[SERVICE, PAGE, &[may("aggregation", Flag, "true")]]),
    ("PUT", "/v3/admin/ns/cluster", &[SERVICE, CLUSTER]),
    ("PUT", "/v3/console/ns/service/cluster", &[SERVICE, CLUSTER]),
    ("PUT", "/v3/admin/ns/health/instance", &[SERVICE, ADDRESS, &[must("healthy", Flag, "true")]]),
    ("GET", "/v3/admin/ns/client", &[CLIENT]),
    ("GET", "/v3/admin/ns/client/publish/list", &[CLIENT]),
    ("GET", "/v3/admin/ns/client/subscribe/list", &[CLIENT]),
    ("GET", "/v3/admin/ns/client/service/publisher/list", &[SERVICE, OF_ADDRESS, KIND]),
    ("GET", "/v3/admin/ns/client/service/subscriber/list", &[SERVICE, OF_ADDRESS, KIND]),
    ("GET", "/v3/admin/ns/client/distro", &[CLIENT_ADDRESS]),
    ("GET", "/v3/admin/ns/ops/metrics", &[COUNTS]),
    ("PUT", "/v3/admin/ns/ops/switches", &[SWITCH]),
    ("PUT", "/v3/admin/ns/ops/log", &[LEVEL]),
    ("GET", "/v3/admin/core/cluster/node/list", &[MEMBERS]),
    ("PUT", "/v3/admin/core/cluster/lookup", &[LOOKUP]),
    ("GET", "/v3/console/core/cluster/nodes", &[&[may("keyword", Text, "10.")]]),
    ("GET", "~/core/namespace", &[NAMESPACE_ID]),
    ("GET", "/v3/admin/core/namespace/check", &[NAMESPACE_ID]),
    ("GET", "/v3/console/core/namespace/exist", &[OWN_NAMESPACE_ID]),
    ("POST", "/v3/admin/core/namespace", &[NAMESPACE_ID, NAMESPACE_NAMES]),
    ("POST", "/v3/console/core/namespace", &[OWN_NAMESPACE_ID, NAMESPACE_NAMES]),
    ("PUT", "~/core/namespace", &[NAMESPACE_ID, NAMESPACE_NAMES]),
    ("DELETE", "~/core/namespace", &[NAMESPACE_ID]),
    ("POST", "/v3/admin/core/loader/reloadClient", &[AWAY]),
    ("PUT", "/v3/admin/core/ops/log", &[LEVEL]),
    ("POST", "/v3/auth/user/login", &[USER, PASSWORD]),
    ("POST", "/v3/auth/user/admin", &[OF_USER, PASSWORD]),
    ("POST", "/v3/auth/user", &[USER, PASSWORD, &[may("admin", Flag, "false")]]),
    ("PUT", "/v3/auth/user", &[USER, NEW_PASSWORD]),
    ("DELETE", "/v3/auth/user", &[USER]),
    ("GET", "/v3/auth/user/list", &[WHOLE_PAGE, OF_USER, SEARCH]),
    ("GET", "/v3/auth/user/search", &[OF_USER]),
    ("POST", "/v3/auth/role", &[ROLE, USER]),
    ("DELETE", "/v3/auth/role", &[ROLE, OF_USER]),
    ("GET", "/v3/auth/role/list", &[WHOLE_PAGE, OF_ROLE, OF_USER, SEARCH]),
    ("GET", "/v3/auth/role/search", &[OF_ROLE]),
    ("POST", "/v3/auth/permission", &[ROLE, PERMISSION]),
    ("DELETE", "/v3/auth/permission", &[ROLE, PERMISSION]),
    ("GET", "/v3/auth/permission", &[ROLE, PERMISSION]),
    ("GET", "/v3/auth/permission/list", &[WHOLE_PAGE, OF_ROLE, SEARCH]),
    (
        "GET",
        "/v3/console/naming-server/events",
        &[
            OF_ADDRESS,
            NAMESPACE,
            &[
                may("serviceName", Text, "orders"),
                may("groupName", Text, "DEFAULT_GROUP"),
                may("limit", Whole, "10"),
            ],
            MEMBER,
        ],
    ),
    (
        "GET",
        "/v3/console/naming-server/search",
        &[NAMESPACE, &[must("address", Text, "10.0.0.1:8080")]],
    ),
    (
        "GET",
        "/v3/console/naming-server/instances",
        &[
            SERVICE,
            PAGE,
            CLUSTERS,
            HEALTHY,
            &[
                may("address", Text, "10.0."),
                may("enabled", Flag, "true"),
                may("metadata", Text, "zone=a"),
            ],
        ],
    ),
    ("PUT", "/v3/console/naming-server/instance", &[SERVICE, ADDRESS, VALUES]),
    ("DELETE", "/v3/console/naming-server/instance", &[SERVICE, ADDRESS, KIND]),
    ("DELETE", "/v3/console/naming-server/instance/metadata", &[SERVICE, BATCH]),
    ("GET", "/v3/console/naming-server/clients", &[PAGE, MEMBER, &[may("search", Text, "Java")]]),
    (
        "GET",
        "/v3/console/naming-server/addresses",
        &[
            MEMBER,
            &[
                may("pageSize", Whole, "10"),
                may("search", Text, "10."),
                may("after", Text, "10.0.0.1:8080#true"),
            ],
        ],
    ),
    ("GET", "/v3/console/naming-server/client", &[CLIENT]),
    ("GET", "/v3/console/naming-server/audit", &[MEMBER, &[may("limit", Whole, "10")]]),
    ("PUT", "/v3/console/naming-server/switches", &[SWITCH]),
    (
        "GET",
        "/v3/console/naming-server/backup",
        &[&[may("accounts", Flag, "true"), may("after", Text, "WzAsImEiLG51bGxd")]],
    ),
];

/// The parameters of a kind of request.
pub(in crate::http::modern) fn of(method: &str, path: &str) -> Vec<&'static Parameter> {
    let both = ["/v3/admin", "/v3/console"].iter().find_map(|begin| path.strip_prefix(begin));
    let is_it = |row: &&Row| {
        let (row_method, row_path, _) = row;
        *row_method == method
            && (*row_path == path
                || row_path.strip_prefix('~').is_some_and(|end| Some(end) == both))
    };
    let first = path.starts_with("/v1/").then(|| first::listed(path));
    let is_first = |row: &&Row| row.0 == method && first.as_deref() == Some(row.1);
    let found = ROWS.iter().find(is_it).or_else(|| first::ROWS.iter().find(is_first));
    let (.., lists) = found.copied().unwrap_or(("", "", &[]));
    lists.iter().copied().flatten().collect()
}
