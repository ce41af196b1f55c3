//! Writing instances to the registry. Callers hold the entry's turn.

use hyper::Method;
use naming_model::Instance;
use tokio::time::Instant;

use crate::beat::Entry;
use crate::call::{Call, Core, read_ok};
use crate::error::Error;
use crate::http::Params;
use crate::names::ServiceName;

/// Writes the entry's instance to the registry, whatever is there.
pub(crate) async fn register(core: &Core, entry: &Entry, patient: bool) -> Result<(), Error> {
    let instance = entry.instance.lock().clone();
    write(core, entry, &instance, patient).await
}

/// The same with another value of the instance. POST and not PUT: PUT is refused for instances
/// that a server does not know (yet), POST means "from now on it is like this" everywhere.
pub(crate) async fn write(
    core: &Core,
    entry: &Entry,
    instance: &Instance,
    patient: bool,
) -> Result<(), Error> {
    let metadata =
        serde_json::to_string(&instance.metadata).map_err(|e| Error::Request(e.to_string()))?;
    let params = place_params(core, &entry.service, instance)
        .with("weight", &instance.weight.to_string())
        .with("enabled", bool_text(instance.enabled))
        .with("enable", bool_text(instance.enabled))
        .with("healthy", bool_text(instance.healthy))
        .with("ephemeral", bool_text(instance.ephemeral))
        .with("metadata", &metadata);
    let mut call = Call::new(Method::POST, "/v1/ns/instance", params);
    call.patient = patient;
    core.call(&call, read_ok).await?;
    let mut state = entry.state.lock();
    state.registrations += 1;
    state.last_confirmed = Instant::now();
    Ok(())
}

/// Takes the entry's instance out of the registry.
pub(crate) async fn deregister(core: &Core, entry: &Entry) -> Result<(), Error> {
    let params = {
        let instance = entry.instance.lock();
        place_params(core, &entry.service, &instance)
            .with("ephemeral", bool_text(instance.ephemeral))
    };
    let call = Call::new(Method::DELETE, "/v1/ns/instance", params);
    core.call(&call, read_ok).await.map(|_| ())
}

/// The parameters that say which instance is meant.
pub(crate) fn place_params(core: &Core, service: &ServiceName, instance: &Instance) -> Params {
    core.params()
        .with("serviceName", service.grouped())
        .with("groupName", service.group())
        .with("clusterName", &instance.cluster)
        .with("ip", &instance.ip)
        .with("port", &instance.port.to_string())
}

fn bool_text(value: bool) -> &'static str {
    if value { "true" } else { "false" }
}
