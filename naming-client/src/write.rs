//! Writing instances to the registry. Callers hold the entry's turn.

use std::sync::Arc;

use hyper::Method;
use naming_http::Form;
use naming_model::Instance;

use crate::beat::Entry;
use crate::call::{Call, Core, read_ok};
use crate::error::Error;
use crate::names::ServiceName;

/// Writes the entry's instance to the registry, whatever is there.
pub(crate) async fn register(core: &Core, entry: &Arc<Entry>, patient: bool) -> Result<(), Error> {
    let instance = entry.instance.lock().clone();
    write(core, entry, &instance, patient).await
}

/// The same with another value of the instance. POST and not PUT: PUT is refused for instances
/// that a server does not know (yet), POST means "from now on it is like this" everywhere.
pub(crate) async fn write(
    core: &Core,
    entry: &Arc<Entry>,
    instance: &Instance,
    patient: bool,
) -> Result<(), Error> {
    #[cfg(feature = "grpc")]
    if by_grpc(core, entry, Some(instance)).await? {
        return Ok(());
    }
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
    entry.note_written();
    Ok(())
}

/// Takes the entry's instance out of the registry.
pub(crate) async fn deregister(core: &Core, entry: &Arc<Entry>) -> Result<(), Error> {
    #[cfg(feature = "grpc")]
    if by_grpc(core, entry, None).await? {
        return Ok(());
    }
    let params = {
        let instance = entry.instance.lock();
        place_params(core, &entry.service, &instance)
            .with("ephemeral", bool_text(instance.ephemeral))
    };
    let call = Call::new(Method::DELETE, "/v1/ns/instance", params);
    core.call(&call, read_ok).await.map(|_| ())
}

/// Writes over gRPC, or takes the instance out if it is `None`. `false` if HTTP has to do it.
#[cfg(feature = "grpc")]
async fn by_grpc(
    core: &Core,
    entry: &Arc<Entry>,
    instance: Option<&Instance>,
) -> Result<bool, Error> {
    use crate::grpc::{self, Ask, Request};

    if core.link.is_none() {
        return Ok(false);
    }
    let known = entry.instance.lock().clone();
    if known.ephemeral {
        return match instance {
            Some(instance) => grpc::hold(core, entry, instance).await,
            None => grpc::let_go(core, entry).await,
        };
    }
    let (wanted, is_there) = (instance.unwrap_or(&known), instance.is_some());
    let build = |session: &grpc::Session| {
        let request = || Request::persistent(&core.namespace, &entry.service, wanted, is_there);
        session.abilities.persistent.then(request).transpose()
    };
    match grpc::ask(core, true, build, |_| Ok(())).await? {
        Ask::Answered((), _) if is_there => entry.note_written(),
        Ask::Answered((), _) => {}
        Ask::ByHttp => return Ok(false),
    }
    Ok(true)
}

/// The parameters that say which instance is meant.
pub(crate) fn place_params(core: &Core, service: &ServiceName, instance: &Instance) -> Form {
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
