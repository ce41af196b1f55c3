//! The gate before the naming API: limited paths, the server status, and what a member of a cluster
//! does not know yet.

use hyper::{Method, StatusCode};

use super::{Api, ApiCluster, Route};
use crate::http::{Call, Reply};
use crate::registry::{ServerStatus, SwitchValues};

impl Api {
    /// The refusal of a request that may not pass. Only the naming API is gated, and never the
    /// switches: whoever closed the gate must be able to open it again.
    pub(super) fn gate(&self, route: Option<Route>, call: &Call<'_>) -> Option<Reply> {
        let is_switches = matches!(route, Some(Route::SwitchesRead | Route::SwitchesUpdate));
        // What servers say to each other keeps the others going, whatever this one does.
        let is_of_servers = route == Some(Route::PeerProtocol);
        if is_switches || is_of_servers || !call.is_naming() {
            return None;
        }
        let switches = self.registry.switches.load();
        if let Some(status) = limited(&switches, call) {
            return Some(Reply::text("").with_status(status));
        }
        let status = switches.status();
        if !passes(status, call) {
            return Some(refusal(status));
        }
        let is_about_instances = !route.is_some_and(is_about_this_server);
        (is_about_instances && !self.knows_enough(call)).then(|| refusal(ServerStatus::Starting))
    }

    /// Whether a member of a cluster has loaded what there is, and has compared it since it was
    /// last stopped. Writes need the latter only: one that waited in a socket meanwhile is late.
    fn knows_enough(&self, call: &Call<'_>) -> bool {
        self.cluster.as_ref().is_none_or(|ApiCluster { writes, .. }| {
            let now = self.registry.clock.tick();
            if call.method == Method::GET { writes.may_read(now) } else { writes.may_write(now) }
        })
    }
}

/// What operators and health checks ask a server that is not ready, too.
fn is_about_this_server(route: Route) -> bool {
    matches!(
        route,
        Route::OperatorMetrics
            | Route::OperatorServers
            | Route::DistroStatus
            | Route::LogLevel
            | Route::EventsRead
            | Route::HealthServer
            | Route::PushState
    )
}

fn refusal(status: ServerStatus) -> Reply {
    let text = format!("server is {}now, please try again later!", status.name());
    Reply::text(text).with_status(StatusCode::SERVICE_UNAVAILABLE)
}

fn limited(switches: &SwitchValues, call: &Call<'_>) -> Option<StatusCode> {
    if switches.limited_urls.is_empty() {
        return None;
    }
    let target = format!("{}?{}", call.uri, call.query.unwrap_or("null"));
    let (_, status) =
        switches.limited_urls.iter().find(|(prefix, _)| target.starts_with(prefix))?;
    StatusCode::from_u16(*status).ok()
}

fn passes(status: ServerStatus, call: &Call<'_>) -> bool {
    match status {
        ServerStatus::Up => true,
        _ if call.agent.is_server() => true,
        ServerStatus::WriteOnly => call.method != Method::GET,
        ServerStatus::ReadOnly => call.method == Method::GET,
        ServerStatus::Starting | ServerStatus::Down | ServerStatus::Paused => false,
    }
}
