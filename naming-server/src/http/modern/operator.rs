//! Counts and switches: `/v2/ns/operator`, `/v2/ns/ops`, `/v3/admin/ns/ops`.

use serde_json::{Value, json};

use super::envelope::{data, write_done};
use super::error::Fault;
use super::form;
use crate::http::v1::Api;
use crate::http::{Answer, Call, Reply};
use crate::registry::CLASS_INSTANCE;

/// The status alone, which is what probes want, or with `onlyStatus=false` the counts of 2.x, too.
pub(super) fn metrics(api: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
    let Some(mut shown) = counts(api, call)? else { return Ok(data(&status(api)).into()) };
    let usage = api.usage();
    shown["cpu"] = json!(usage.cpu);
    shown["load"] = json!(usage.load);
    shown["mem"] = json!(usage.memory);
    Ok(data(&shown).into())
}

/// The same of 3.x, which does not tell how busy the machine is.
pub(super) fn admin_metrics(api: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
    let shown = counts(api, call)?.unwrap_or_else(|| status(api));
    Ok(data(&shown).into())
}

fn status(api: &Api) -> Value {
    json!({ "status": api.status().name() })
}

fn counts(api: &Api, call: &Call<'_>) -> Result<Option<Value>, Fault> {
    if form::flag(call, "onlyStatus")?.unwrap_or(true) {
        return Ok(None);
    }
    let clients = api.client_counts();
    let connections = api.connected().len();
    let by_address = clients.ephemeral + clients.persistent;
    Ok(Some(json!({
        "status": api.status().name(),
        "serviceCount": api.registry.service_count(),
        "instanceCount": api.registry.store.visible_count(CLASS_INSTANCE),
        "subscribeCount": api.subscriber_count(),
        "clientCount": connections + by_address,
        "connectionBasedClientCount": connections,
        "ephemeralIpPortClientCount": clients.ephemeral,
        "persistentIpPortClientCount": clients.persistent,
        // Every member takes the writes of every client; these come to this one.
        "responsibleClientCount": connections + by_address,
    })))
}

/// The switches.
pub(super) fn switches(api: &Api, _: &Call<'_>) -> Result<Answer, Fault> {
    let shown = api.switches_json();
    Ok(Reply::json(format!("{{\"code\":0,\"message\":\"success\",\"data\":{shown}}}")).into())
}

/// Sets one switch: for all members, or with `debug` for this one alone.
pub(super) fn set_switch(api: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
    form::required(call, "entry")?;
    call.params.raw("value").ok_or_else(|| Fault::missing("value"))?;
    form::flag(call, "debug")?;
    Ok(write_done(api.set_switch(call)?))
}
