//! The gate before the naming API: limited paths, the server status, and what a member of a cluster
//! does not know yet.

use hyper::{Method, StatusCode};

use super::{Api, Route};
use crate::http::{Call, Reply};
use crate::naming::{Access, Clearance};
use crate::registry::SwitchValues;

impl Api {
    /// What a request has once it has passed the gate, or its refusal. Only the naming API is
    /// gated, and never the switches: whoever closed the gate must be able to open it again.
    pub(super) fn gate(&self, route: Option<Route>, call: &Call<'_>) -> Result<Clearance, Reply> {
        let is_switches = matches!(route, Some(Route::SwitchesRead | Route::SwitchesUpdate));
        // What servers say to each other keeps the others going, whatever this one does.
        let is_of_servers = route == Some(Route::PeerProtocol);
        if is_switches || is_of_servers || !call.is_naming() {
            return Ok(call.clearance);
        }
        let switches = self.registry.switches.load();
        if let Some(status) = limited(&switches, call) {
            return Err(Reply::text("").with_status(status));
        }
        let access = if call.method == Method::GET { Access::Read } else { Access::Write };
        let asks_registry = !route.is_some_and(is_about_this_server);
        let passed = self.naming.pass(&switches, &call.caller(), access, asks_registry);
        passed.map_err(|closed| {
            Reply::text(closed.to_string()).with_status(StatusCode::SERVICE_UNAVAILABLE)
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

fn limited(switches: &SwitchValues, call: &Call<'_>) -> Option<StatusCode> {
    if switches.limited_urls.is_empty() {
        return None;
    }
    let target = format!("{}?{}", call.uri, call.query.unwrap_or("null"));
    let (_, status) =
        switches.limited_urls.iter().find(|(prefix, _)| target.starts_with(prefix))?;
    StatusCode::from_u16(*status).ok()
}
