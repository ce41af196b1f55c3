//! What members tell of themselves: the report and its answer.

use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::scalar::{Given, given, text, whole};
use super::{BadMessage, parse_json};
use crate::text::cut;

/// In the open part of a report: the version of the protocol that members of our make speak among
/// themselves. Java servers keep it and do not look at it.
const OWN_PROTOCOL: &str = "distroProtocol";

/// Bytes that are kept of a version.
const MOST_VERSION: usize = 64;

/// The Raft port of a Java server lies so far below its HTTP port.
const RAFT_OFFSET: i32 = 1_000;

/// State of a member, as Java servers name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum PeerState {
    /// Not ready yet.
    Starting,
    /// Answers.
    #[default]
    Up,
    /// Has failed to answer; owns its share still.
    Suspicious,
    /// Does not answer; owns nothing.
    Down,
    /// Set apart.
    Isolation,
}

impl PeerState {
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

/// What a member says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PeerMember {
    /// What identifies it, byte by byte. Not blank.
    pub(crate) address: String,
    /// What it says it is; who is told takes it for up whatever it says.
    pub(crate) state: PeerState,
    /// `None` if it does not say: Java servers then speak an older protocol, too.
    pub(crate) version: Option<String>,
    /// The version of our own protocol, if it is of our make.
    pub(crate) own_protocol: Option<u32>,
}

/// A report that cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadReport {
    /// An address is missing. Answered with status 200 and code 400, as [`report_answer`] does for
    /// `None`.
    #[error("Node information is illegal")]
    Illegal,
    /// No report at all.
    #[error(transparent)]
    Unreadable(#[from] BadMessage),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MemberFields<'a> {
    #[serde(borrow, default, deserialize_with = "given")]
    ip: Given<'a>,
    #[serde(borrow, default, deserialize_with = "given")]
    port: Given<'a>,
    #[serde(borrow, default, deserialize_with = "given")]
    address: Given<'a>,
    #[serde(default)]
    state: Option<PeerState>,
    #[serde(default)]
    extend_info: Option<serde_json::Map<String, serde_json::Value>>,
}

/// Reads a report.
///
/// # Errors
/// [`BadReport::Illegal`] if `ip`, `port` or `address` is missing; a state that there is not.
pub(crate) fn parse_report(body: &[u8]) -> Result<PeerMember, BadReport> {
    let fields: MemberFields<'_> = parse_json("a report", body)?;
    let some_text = |name, value: Given<'_>| -> Result<Option<String>, BadReport> {
        let text = value.map(|value: &RawValue| text(name, value)).transpose()?.flatten();
        Ok(text.filter(|text| !text.trim().is_empty()))
    };
    let port: i32 = fields.port.map_or(Ok(-1), |port| whole("port", port))?;
    let ip = some_text("ip", fields.ip)?;
    let address = some_text("address", fields.address)?;
    let (Some(address), true) = (address, ip.is_some() && port != -1) else {
        return Err(BadReport::Illegal);
    };
    let extend = fields.extend_info.unwrap_or_default();
    let version = extend.get("version").and_then(|version| version.as_str());
    let own_protocol = extend.get(OWN_PROTOCOL).and_then(|version| version.as_str());
    Ok(PeerMember {
        address,
        state: fields.state.unwrap_or_default(),
        version: version.map(|version| cut(version, MOST_VERSION).to_owned()),
        own_protocol: own_protocol.and_then(|version| version.parse().ok()),
    })
}

/// What this server says of itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OwnReport<'a> {
    /// Its address, as it stands in everybody's list.
    pub(crate) address: &'a str,
    /// The version it pretends to have; Java servers choose what to send by it.
    pub(crate) version: &'a str,
    /// The version of our own protocol, if it is spoken.
    pub(crate) own_protocol: Option<u32>,
    /// Milliseconds since the epoch.
    pub(crate) now_ms: i64,
}

/// A report of this server. A member that reports is ready: its state is `UP`.
pub(crate) fn render_report(own: &OwnReport<'_>) -> String {
    let (ip, port) = own.address.rsplit_once(':').unwrap_or((own.address, ""));
    let port: i32 = port.parse().unwrap_or_else(|_| i32::from(distro_net::DEFAULT_PORT));
    let mut extend = json!({
        "lastRefreshTime": own.now_ms,
        // A text, or Java's comparison of members fails.
        "raftPort": (port - RAFT_OFFSET).to_string(),
        "version": own.version,
    });
    if let (Some(version), Some(extend)) = (own.own_protocol, extend.as_object_mut()) {
        extend.insert(OWN_PROTOCOL.to_owned(), version.to_string().into());
    }
    json!({
        "ip": ip,
        "port": port,
        "state": "UP",
        "extendInfo": extend,
        "address": own.address,
        "failAccessCnt": 0,
    })
    .to_string()
}

/// The answer to a report, sent with status 200: whether the sender is a member; `None` if it did
/// not say who it is.
pub(crate) fn report_answer(is_member: Option<bool>) -> &'static str {
    match is_member {
        // The data is a text.
        Some(true) => r#"{"code":200,"message":null,"data":"true"}"#,
        Some(false) => r#"{"code":200,"message":null,"data":"false"}"#,
        None => r#"{"code":400,"message":"Node information is illegal","data":null}"#,
    }
}
