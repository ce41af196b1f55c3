//! What audit lines tell of requests. Which requests have one, the route table says.

use serde_json::{Map, Value};

use super::Api;
use super::route::{Audit, Route};
use crate::audit::{Outcome, Parameters};
use crate::http::{Call, Reply};
use crate::naming::{Watched, short};
use crate::text::cut;

/// Bytes of all values that are shown.
const MAX_VALUES: usize = 2_000;

/// The parameters that are shown, in this order. No other ever is: what is a secret, or is given
/// to the wrong parameter, must not be in a log.
const SHOWN: &[&str] = &[
    "namespaceId",
    "serviceName",
    "dom",
    "groupName",
    "clusterName",
    "cluster",
    "ip",
    "port",
    "ephemeral",
    "entry",
    "value",
    "debug",
    "logName",
    "logLevel",
    "customNamespaceId",
    "namespace",
    "namespaceName",
    "namespaceShowName",
    "namespaceDesc",
    "username",
    "admin",
    "role",
    "resource",
    "action",
    "healthy",
    "valid",
    "enabled",
    "enable",
    "weight",
    "operatorValues",
    "app",
    "protectThreshold",
    "checkPort",
    "useInstancePort4Check",
    "consistencyType",
    "selector",
    "metadata",
    "instances",
];

impl Api {
    /// Begins to watch a request to the 1.x API, if it is an administrative write.
    pub(super) fn watch_change(&self, route: Option<Route>, call: &Call<'_>) -> Option<Watched> {
        let row = route?.spec();
        (row.audit == Audit::Line).then(|| self.watch(row.label, call))
    }

    /// Begins to watch an administrative write.
    pub(in crate::http) fn watch(&self, action: &'static str, call: &Call<'_>) -> Watched {
        let forwarded_for = header(call, "x-forwarded-for");
        self.naming.watch(action, &call.caller(), forwarded_for, parameters(call))
    }
}

/// A request that is watched was answered.
pub(super) fn answered(change: Watched, reply: &Reply) {
    change.end(outcome(reply), Some(reply.status.as_u16()));
}

/// The gate did not let a request pass that is watched.
pub(in crate::http) fn refused(change: Watched, reply: &Reply) {
    change.end(Outcome::Refused, Some(reply.status.as_u16()));
}

/// Namespaces are refused with a `false` that is no error.
fn outcome(reply: &Reply) -> Outcome {
    let status = reply.status;
    if status.is_success() && reply.body != "false" {
        Outcome::Ok
    } else if status.is_success() || status.is_client_error() {
        Outcome::Refused
    } else {
        Outcome::Failed
    }
}

fn header(call: &Call<'_>, name: &str) -> Option<String> {
    let value = call.headers.get(name)?;
    Some(short(&String::from_utf8_lossy(value.as_bytes())).to_owned())
}

fn parameters(call: &Call<'_>) -> Parameters {
    let mut left = MAX_VALUES;
    let shown = SHOWN.iter().filter_map(|name| {
        let value = call.params.raw(name)?;
        let value = cut(short(&value), left).to_owned();
        left -= value.len();
        Some((*name, value))
    });
    Parameters(shown.chain(checker_type(call)).collect())
}

/// Of a health checker only the kind: the rest may hold a password.
fn checker_type(call: &Call<'_>) -> Option<(&'static str, String)> {
    let text = call.params.raw("healthChecker")?;
    let fields: Map<String, Value> = serde_json::from_str(&text).unwrap_or_default();
    let kind = fields.get("type").and_then(Value::as_str).unwrap_or("unreadable");
    Some(("healthChecker", short(kind).to_owned()))
}
