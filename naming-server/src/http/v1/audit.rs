//! Which requests are administrative writes, and what is told of them.

use std::net::SocketAddr;
use std::sync::Arc;

use hyper::StatusCode;
use serde_json::{Map, Value};

use super::{Api, Route};
use crate::audit::{Audit, Change, Outcome, Parameters};
use crate::http::{Call, Reply};
use crate::text::cut;

/// Bytes of a text that are shown.
const MAX_TEXT: usize = 200;
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

impl Route {
    /// Whether it changes what operators are responsible for. Registrations, deregistrations and
    /// beats do not: the events tell of those.
    pub(super) fn is_administrative(self) -> bool {
        matches!(
            self,
            Self::ServiceCreate
                | Self::ServiceUpdate
                | Self::ServiceDelete
                | Self::ClusterUpdate
                | Self::HealthUpdate
                | Self::InstanceUpdate
                | Self::InstancePatch
                | Self::MetadataBatchUpdate
                | Self::MetadataBatchDelete
                | Self::SwitchesUpdate
                | Self::LogLevel
                | Self::NamespaceCreate
                | Self::NamespaceUpdate
                | Self::NamespaceDelete
                | Self::UserCreate
                | Self::UserDelete
                | Self::UserPassword
                | Self::RoleAdd
                | Self::RoleDelete
                | Self::PermissionAdd
                | Self::PermissionDelete
        )
    }
}

/// A change that has not been answered. It is taken down even if it never is.
pub(super) struct Pending {
    audit: Arc<Audit>,
    /// Apart, so that other requests do not carry the room for it along.
    change: Option<Box<Change>>,
    /// Whether it is known who asks, and that he may, or nobody has to be.
    is_admitted: bool,
}

impl Api {
    /// Begins to watch a request, if it is an administrative write.
    pub(super) fn watch_change(&self, route: Option<Route>, call: &Call<'_>) -> Option<Pending> {
        let route = route.filter(|route| route.is_administrative())?;
        let change = Change {
            action: route.label(),
            outcome: Outcome::Failed,
            status: None,
            // Not known yet.
            user: None,
            address: peer_text(call.peer),
            forwarded_for: header(call, "x-forwarded-for"),
            agent: cut(call.agent.text, MAX_TEXT).to_owned(),
            server: self.address.as_str().to_owned(),
            parameters: parameters(call),
            refusals_left_out: 0,
        };
        let (audit, change) = (Arc::clone(&self.audit), Some(Box::new(change)));
        Some(Pending { audit, change, is_admitted: false })
    }
}

impl Pending {
    /// This user asked for it.
    pub(super) fn by(&mut self, user: &str) {
        if let Some(change) = &mut self.change {
            change.user = Some(cut(user, MAX_TEXT).to_owned());
        }
    }

    /// Its sender may send it.
    pub(super) fn admitted(&mut self) {
        self.is_admitted = true;
    }

    /// It will be asked for again.
    pub(super) fn forget(mut self) {
        self.change = None;
    }

    /// The gate did not let it pass.
    pub(super) fn refused(self, reply: &Reply) {
        self.end(Outcome::Refused, reply.status);
    }

    /// It was answered.
    pub(super) fn answered(self, reply: &Reply) {
        self.end(outcome(reply), reply.status);
    }

    fn end(mut self, outcome: Outcome, status: StatusCode) {
        if let Some(change) = &mut self.change {
            (change.outcome, change.status) = (outcome, Some(status.as_u16()));
        }
        self.record();
    }

    /// What never got to its handler is a refusal, whatever became of it: else strangers would have
    /// a line for each request that they hang up on.
    fn record(&mut self) {
        let Some(mut change) = self.change.take() else { return };
        if !self.is_admitted {
            change.outcome = Outcome::Refused;
        }
        self.audit.record(*change);
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.record();
    }
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

fn peer_text(peer: SocketAddr) -> String {
    // An IPv4 client of an IPv6 socket is known by its IPv4 address.
    SocketAddr::new(peer.ip().to_canonical(), peer.port()).to_string()
}

fn header(call: &Call<'_>, name: &str) -> Option<String> {
    let value = call.headers.get(name)?;
    Some(cut(&String::from_utf8_lossy(value.as_bytes()), MAX_TEXT).to_owned())
}

fn parameters(call: &Call<'_>) -> Parameters {
    let mut left = MAX_VALUES;
    let shown = SHOWN.iter().filter_map(|name| {
        let value = call.params.raw(name)?;
        let value = cut(&value, MAX_TEXT.min(left)).to_owned();
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
    Some(("healthChecker", cut(kind, MAX_TEXT).to_owned()))
}
