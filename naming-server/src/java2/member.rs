//! What members tell of themselves over gRPC.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// In the open part of a report: that a member is of our make, and needs no data from us by this
/// dialect. Java keeps it and does not look at it.
const OWN_MAKE: &str = "distroProtocol";
/// The Raft port of a Java server lies so far below its HTTP port. Nobody listens there here.
const RAFT_OFFSET: i64 = 1_000;

/// A member as it is told of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Member {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ip: Option<String>,
    #[serde(default = "no_port")]
    pub(crate) port: i64,
    #[serde(default)]
    pub(crate) state: State,
    /// Java fails on a `null`.
    #[serde(default)]
    pub(crate) extend_info: Map<String, Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) address: Option<String>,
    #[serde(default)]
    fail_access_cnt: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    abilities: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) grpc_report_enabled: Option<bool>,
}

/// What Java calls the states of a member.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum State {
    Starting,
    #[default]
    Up,
    Suspicious,
    Down,
    Isolation,
}

impl State {
    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Starting => "STARTING",
            Self::Up => "UP",
            Self::Suspicious => "SUSPICIOUS",
            Self::Down => "DOWN",
            Self::Isolation => "ISOLATION",
        }
    }
}

fn no_port() -> i64 {
    -1
}

impl Member {
    /// This member, at this address, of the version that it claims.
    pub(crate) fn own(address: &str, version: &str, now_ms: u64) -> Self {
        let (ip, port) = address.rsplit_once(':').unwrap_or((address, ""));
        let port = port.parse().unwrap_or_else(|_| i64::from(distro_net::DEFAULT_PORT));
        let extend_info = json!({
            "lastRefreshTime": now_ms,
            "raftPort": (port - RAFT_OFFSET).to_string(),
            "readyToUpgrade": true,
            "supportGrayModel": true,
            "site": "unknow",
            "adWeight": "0",
            "weight": "1",
            "version": version,
            OWN_MAKE: distro_net::MAJOR.to_string(),
        });
        let abilities = json!({
            "remoteAbility": { "supportRemoteConnection": true, "grpcReportEnabled": true },
            "configAbility": { "supportRemoteMetrics": false },
            "namingAbility": { "supportJraft": false },
        });
        let Value::Object(extend_info) = extend_info else { unreachable!("it is written above") };
        Self {
            ip: Some(ip.to_owned()),
            port,
            state: State::Up,
            extend_info,
            address: Some(address.to_owned()),
            fail_access_cnt: 0,
            abilities: Some(abilities),
            grpc_report_enabled: Some(true),
        }
    }

    /// Its address, unless it leaves out who it is.
    pub(crate) fn whole_address(&self) -> Option<&str> {
        let given = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
        let is_whole = given(&self.ip) && given(&self.address) && self.port != -1;
        self.address.as_deref().filter(|_| is_whole)
    }

    /// Whether it is of our make.
    pub(crate) fn is_ours(&self) -> bool {
        self.extend_info.contains_key(OWN_MAKE)
    }

    /// The version that it claims.
    pub(crate) fn version(&self) -> &str {
        self.extend_info.get("version").and_then(Value::as_str).unwrap_or_default()
    }
}
