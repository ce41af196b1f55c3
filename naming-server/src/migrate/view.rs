//! What one server says of itself and of the others.

use std::collections::BTreeMap;
use std::fmt;

use hyper::StatusCode;

use super::answers::{Counts, Member, Switches, Wrapped};
use crate::remote::{CallError, Place, Remote};

/// Servers of 2.x tell their counts only if they are asked for more than their status.
const ALL_COUNTS: &[(&str, &str)] = &[("onlyStatus", "false")];
/// Where servers of 3.x say whether they are ready.
const READINESS_3X: &str = "/v3/admin/core/state/readiness";
/// Bytes kept of an address or a state that a server tells.
const MAX_TEXT: usize = 100;

/// What came of asking one server.
#[derive(Debug)]
pub(super) struct View {
    pub(super) place: Place,
    /// What the server says, or why it says nothing.
    pub(super) seen: Result<Seen, String>,
}

/// What one server says.
#[derive(Debug)]
pub(super) struct Seen {
    /// Its own address, as it believes the lists to write it.
    pub(super) address: String,
    pub(super) kind: Kind,
    /// Members by address, with the state in which this server sees them. Itself is among them.
    pub(super) members: BTreeMap<String, String>,
    /// Why it is not ready, if it is not.
    pub(super) unready: Option<String>,
    /// The switch `check`.
    pub(super) judges_beats: bool,
    pub(super) services: u64,
    pub(super) instances: u64,
}

/// Which program a server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Nacos,
    Ours,
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Nacos => "Nacos",
            Self::Ours => "ours",
        })
    }
}

/// Asks a server for all that is compared.
///
/// # Errors
/// A text for the operator: the server does not answer, or not as a member of a cluster does.
pub(super) async fn ask(server: &Remote) -> Result<Seen, String> {
    read(server).await.map_err(|error| error.to_string())
}

async fn read(server: &Remote) -> Result<Seen, CallError> {
    let own = match server.read::<Wrapped<Member>>("/v1/core/cluster/self", &[]).await {
        Err(error) if is_of_3x(&error) => return read_3x(server).await,
        own => own?,
    };
    let nodes: Wrapped<Vec<Member>> = server.read("/v1/core/cluster/nodes", &[]).await?;
    let switches: Switches = server.read("/v1/ns/operator/switches", &[]).await?;
    let unready = match readiness(server, "/v1/console/health/readiness").await {
        // A server of 3.x has its console apart.
        Err(error) if is_of_3x(&error) => readiness(server, READINESS_3X).await?,
        unready => unready?,
    };
    let kind = kind(server).await?;
    let entry = |member: Member| (shown(&member.address), shown(&member.state));
    let seen = Seen {
        address: shown(&own.data.address),
        kind,
        members: nodes.data.into_iter().map(entry).collect(),
        unready,
        judges_beats: switches.health_check_enabled,
        services: 0,
        instances: 0,
    };
    // The counts last: those of all servers are then taken as close together as can be.
    match server.read::<Counts>("/v1/ns/operator/metrics", ALL_COUNTS).await {
        Ok(Counts { status, service_count, instance_count }) => Ok(Seen {
            unready: seen.unready.or_else(|| unless_up(&status)),
            services: service_count,
            instances: instance_count,
            ..seen
        }),
        // A server that is not ready says nothing about instances.
        Err(CallError::Refused { .. }) if seen.unready.is_some() => Ok(seen),
        Err(error) => Err(error),
    }
}

/// Servers of 3.x answer the calls of operators at other paths, and those of 1.x and 2.x with 410
/// unless they are told to.
async fn read_3x(server: &Remote) -> Result<Seen, CallError> {
    let own: Wrapped<Member> = server.read("/v3/admin/core/cluster/node/self", &[]).await?;
    let nodes: Wrapped<Vec<Member>> = server.read("/v3/admin/core/cluster/node/list", &[]).await?;
    let switches: Wrapped<Switches> = server.read("/v3/admin/ns/ops/switches", &[]).await?;
    let unready = readiness(server, READINESS_3X).await?;
    let counts: Wrapped<Counts> = server.read("/v3/admin/ns/ops/metrics", ALL_COUNTS).await?;
    let entry = |member: Member| (shown(&member.address), shown(&member.state));
    Ok(Seen {
        address: shown(&own.data.address),
        kind: Kind::Nacos,
        members: nodes.data.into_iter().map(entry).collect(),
        unready: unready.or_else(|| unless_up(&counts.data.status)),
        judges_beats: switches.data.health_check_enabled,
        services: counts.data.service_count,
        instances: counts.data.instance_count,
    })
}

/// Whether a call is answered as servers of 3.x answer those of 1.x and 2.x.
pub(super) fn is_of_3x(error: &CallError) -> bool {
    let is_no_path =
        |status: &StatusCode| matches!(*status, StatusCode::NOT_FOUND | StatusCode::GONE);
    matches!(error, CallError::Refused { status, .. } if is_no_path(status))
}

async fn readiness(server: &Remote, path: &str) -> Result<Option<String>, CallError> {
    match server.read_text(path).await {
        Ok(_) => Ok(None),
        Err(CallError::Refused { status, text }) if status.is_server_error() => Ok(Some(text)),
        Err(error) => Err(error),
    }
}

/// Nacos 1.4 has no list of servers at this path.
async fn kind(server: &Remote) -> Result<Kind, CallError> {
    match server.read_text("/serverlist").await {
        Ok(_) => Ok(Kind::Ours),
        Err(CallError::Refused { status: StatusCode::NOT_FOUND, .. }) => Ok(Kind::Nacos),
        Err(error) => Err(error),
    }
}

fn unless_up(status: &str) -> Option<String> {
    (status != "UP").then(|| format!("its status is {}", shown(status)))
}

/// What is printed of a text from elsewhere: a terminal obeys control characters.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_TEXT).collect()
}
