//! The gate before the naming API: limited paths and the server status.

use hyper::{Method, StatusCode};

use super::{Api, Route};
use crate::http::{Call, Reply};
use crate::registry::{ServerStatus, SwitchValues};

impl Api {
    /// The refusal of a request that may not pass. Only the naming API is gated, and never the
    /// switches: whoever closed the gate must be able to open it again.
    pub(super) fn gate(&self, route: Option<Route>, call: &Call<'_>) -> Option<Reply> {
        let is_switches = matches!(route, Some(Route::SwitchesRead | Route::SwitchesUpdate));
        if is_switches || !call.is_naming() {
            return None;
        }
        let switches = self.registry.switches.load();
        if let Some(status) = limited(&switches, call) {
            return Some(Reply::text("").with_status(status));
        }
        let status = switches.status();
        if passes(status, call) {
            return None;
        }
        let text = format!("server is {}now, please try again later!", status.name());
        Some(Reply::text(text).with_status(StatusCode::SERVICE_UNAVAILABLE))
    }
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
