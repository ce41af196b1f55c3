//! The gate before the naming API: limited paths, the server status, and what a member of a cluster
//! does not know yet.

use hyper::{Method, StatusCode};

use super::Api;
use super::route::{Gate, Route};
use crate::http::{Call, Reply};
use crate::naming::{Access, CallKind, Clearance};
use crate::registry::SwitchValues;

impl Api {
    /// What a request has once it has passed the gate, or its refusal. Only the naming API is
    /// gated, and never the switches: whoever closed the gate must be able to open it again.
    pub(super) fn gate(&self, route: Option<Route>, call: &Call<'_>) -> Result<Clearance, Reply> {
        let gate = match route {
            Some(route) => route.spec().gate,
            None if call.is_naming() => Gate::Whole,
            None => Gate::Nothing,
        };
        if gate == Gate::Nothing {
            return Ok(call.clearance);
        }
        let passed = self.pass(gate == Gate::Whole, call);
        passed.map_err(|(status, text)| Reply::text(text).with_status(status))
    }

    /// What a request about the registry has once it has passed the gate, whichever API it is to; or
    /// the status and the text of its refusal. `asks_registry` is false for what operators and
    /// health checks ask a server that is not ready, too.
    pub(in crate::http) fn pass(
        &self,
        asks_registry: bool,
        call: &Call<'_>,
    ) -> Result<Clearance, (StatusCode, String)> {
        let switches = self.registry.switches.load();
        if let Some(status) = limited(&switches, call) {
            return Err((status, String::new()));
        }
        if asks_registry && let Err(often) = self.naming.count_call(&call.caller(), || kind(call)) {
            return Err((StatusCode::SERVICE_UNAVAILABLE, often.to_string()));
        }
        // By method, as in Nacos: a beat by GET is a read to the gate.
        let access = if call.method == Method::GET { Access::Read } else { Access::Write };
        let passed = self.naming.pass(&switches, &call.caller(), access, asks_registry);
        passed.map_err(|closed| (StatusCode::SERVICE_UNAVAILABLE, closed.to_string()))
    }
}

/// What a call counts among: beats are told apart, since who misses them expires.
fn kind(call: &Call<'_>) -> CallKind {
    let is_beat = call.path.ends_with("/beat")
        || call.path.ends_with("/clientBeat")
        || call.path == "/v3/client/ns/instance" && call.params.flag_strict("heartBeat", false);
    match call.method {
        _ if is_beat => CallKind::Beat,
        &Method::GET | &Method::HEAD => CallKind::Read,
        _ => CallKind::Write,
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
