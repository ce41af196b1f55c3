//! What probes and consoles ask about this server: `/v2/console/health`, `/v3/admin/core/state`,
//! `/v3/console/server`, `/v3/console/health`.

use hyper::StatusCode;
use serde_json::json;

use super::envelope::data;
use super::error::{Code, Fault};
use crate::http::v1::Api;
use crate::http::{Answer, Call, Reply, console};

/// The version of Nacos whose answers those of `/v3` are.
pub(super) const VERSION: &str = "3.0.3";
/// Why there is no configuration here.
const NAMING_ONLY: &str = "this is a naming server (function mode naming): it offers neither \
                           configuration nor AI nor locks";
/// What the console shows beside its pages.
const GUIDE: &str = "This server registers and discovers services. It keeps no configuration.";

/// The process answers.
pub(super) fn liveness(_: &Api, _: &Call<'_>) -> Result<Answer, Fault> {
    Ok(super::envelope::done().into())
}

/// Whether clients should be sent here.
pub(super) fn readiness(api: &Api, _: &Call<'_>) -> Result<Answer, Fault> {
    match api.why_no_clients() {
        None => Ok(super::envelope::done().into()),
        Some(reason) => Err(Fault::new(StatusCode::SERVICE_UNAVAILABLE, Code::ServerError, reason)),
    }
}

/// What kind of server this is.
pub(super) fn state(api: &Api, _: &Call<'_>) -> Result<Answer, Fault> {
    Ok(data(&api.state(VERSION)).into())
}

/// The same for the console, without envelope.
pub(super) fn console_state(api: &Api, _: &Call<'_>) -> Result<Answer, Fault> {
    Ok(Reply::json(api.state(VERSION).to_string()).into())
}

/// News for those who look at the console: there are none.
pub(super) fn announcement(_: &Api, _: &Call<'_>) -> Result<Answer, Fault> {
    Ok(data(&json!(null)).into())
}

/// What the console shows beside its pages.
pub(super) fn guide(_: &Api, _: &Call<'_>) -> Result<Answer, Fault> {
    Ok(data(&json!(GUIDE)).into())
}

/// The console itself.
pub(super) fn page(_: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
    Ok(console::answer_on_console(call))
}

/// Something is asked that only a server with configuration, AI or locks has.
pub(super) fn naming_only(_: &Api, _: &Call<'_>) -> Result<Answer, Fault> {
    Err(Fault::not_offered(NAMING_ONLY))
}

/// The same where Nacos in this mode has no such path.
pub(super) fn naming_only_no_path(_: &Api, _: &Call<'_>) -> Result<Answer, Fault> {
    Err(Fault::not_found(NAMING_ONLY))
}
