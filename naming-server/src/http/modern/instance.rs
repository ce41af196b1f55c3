//! Writes of instances: `/v2/ns/instance`, `/v3/client/ns/instance`, `/v3/admin/ns/instance`,
//! `/v3/console/ns/instance`.
//!
//! What an operator sets by PUT and PATCH is kept beside the instance and laid over what its client
//! registers later, whatever `registry.keep_operator_values` says: in 2.x and later it is so.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use naming_model::{
    CODE_OK, CODE_UNKNOWN_INSTANCE, DEFAULT_CLUSTER, InstanceKey, MAX_WEIGHT, RecordKey, ServiceKey,
};
use serde_json::json;
use serde_json::value::RawValue;

use super::envelope::{data, done, write_done, written};
use super::error::{Code, Fault, register_again};
use super::form;
use crate::http::v1::{
    Api, Batch, BeatForm, INSTANCES, MOST_TARGETS, Target, listed_target, names_of, parse_beat,
};
use crate::http::{Answer, Call, Reply, read_list};
use crate::naming::{Layer, NamingError};
use crate::registry::{
    BeatAnswer, Instance, Metadata, Patched, RegistryError, Timed, check_address, check_kind,
};

/// The parameters that name an instance.
struct Address<'a> {
    ip: Cow<'a, str>,
    port: u16,
    cluster: Cow<'a, str>,
}

impl<'a> Address<'a> {
    fn of(call: &Call<'a>) -> Result<Self, Fault> {
        let ip = form::required(call, "ip")?;
        let port = form::port(call)?;
        check_address(&ip)?;
        check_kind(&ip)?;
        Ok(Self { ip, port, cluster: form::cluster(call, &["clusterName", "cluster"])? })
    }

    fn key(&self) -> InstanceKey<'_> {
        InstanceKey { ip: &self.ip, port: self.port, cluster: &self.cluster }
    }
}

/// The weight of a request, if it has one.
fn weight(call: &Call<'_>) -> Result<Option<f64>, Fault> {
    let Some(text) = call.params.optional("weight") else { return Ok(None) };
    let weight = call.params.double("weight", 1.0).map_err(|_| {
        Fault::illegal("weight", format_args!("it is no number: {}", form::shown(&text)))
    })?;
    if !(0.0..=MAX_WEIGHT).contains(&weight) {
        let reason = "instance format invalid: The weights range from 0.0 to 10000.0";
        return Err(Fault::bad(Code::Weight, reason));
    }
    Ok(Some(weight))
}

/// The metadata of a request.
fn metadata(api: &Api, call: &Call<'_>) -> Result<Timed, Fault> {
    let metadata = api.registry.parse_metadata(&call.params.or("metadata", ""));
    metadata.map_err(|error| Fault::from(error).numbered(Code::Metadata))
}

fn pairs(api: &Api, text: &str) -> Result<BTreeMap<String, String>, Fault> {
    api.registry
        .parse_metadata_map(text)
        .map_err(|error| Fault::from(error).numbered(Code::Metadata))
}

/// Registers an instance.
pub(super) fn register(api: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
    let service = form::service(call)?;
    let address = Address::of(call)?;
    let weight = weight(call)?.unwrap_or(1.0);
    let enabled = form::flag(call, "enabled")?.unwrap_or(true);
    let healthy = form::flag(call, "healthy")?.unwrap_or(true);
    let default = api.registry.switches.load().default_instance_ephemeral;
    let ephemeral = form::flag(call, "ephemeral")?.unwrap_or(default);
    let mut instance = Instance::new(weight, metadata(api, call)?)?;
    instance.enabled = enabled;
    instance.is_persistent = !ephemeral;
    api.registry.check_same_kind(&service, instance.is_persistent)?;
    let key = address.key();
    let write = api.naming().register(&call.caller(), &service, &key, instance, healthy);
    Ok(write_done(write))
}

/// Registers an instance, or with `heartBeat=true` takes a beat of one.
pub(super) fn register_or_beat(api: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
    if !form::flag(call, "heartBeat")?.unwrap_or(false) {
        return register(api, call);
    }
    let service = form::service(call)?;
    let address = Address::of(call)?;
    // A persistent instance needs no beats, and registering it again does no harm.
    if form::flag(call, "ephemeral")? == Some(false) {
        return Ok(register_again().into());
    }
    let beat = api.naming().beat(&call.caller(), &service, &address.key(), NO_INSTANCE);
    Ok(written(beat, |answer| {
        Ok(match answer {
            BeatAnswer::Known { .. } => done(),
            BeatAnswer::Unknown => register_again(),
        })
    }))
}

/// A beat that cannot register what is unknown.
const NO_INSTANCE: Option<fn() -> Result<Instance, RegistryError>> = None;

/// Deregisters an instance; one that is not there is as good as gone.
pub(super) fn deregister(api: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
    let service = form::service(call)?;
    let address = Address::of(call)?;
    let key = match form::flag(call, "ephemeral")? {
        None => api.registry.choose_kind_to_remove(&service, &address.key()),
        Some(ephemeral) => RecordKey { instance: address.key(), is_persistent: !ephemeral },
    };
    let write = api.naming().deregister(&call.caller(), &service, &key);
    Ok(write_done(write))
}

/// Sets weight, enabled and metadata of an instance: in place of what an operator set before, over
/// what its client says. One that is not there is passed over, if its service is.
pub(super) fn update(api: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
    let service = form::service(call)?;
    let address = Address::of(call)?;
    let weight = weight(call)?.unwrap_or(1.0);
    let enabled = form::flag(call, "enabled")?.unwrap_or(true);
    form::flag(call, "healthy")?;
    let ephemeral = form::flag(call, "ephemeral")?;
    let given = Metadata::from(metadata(api, call)?).to_map();
    if api.registry.find(&service).is_none() {
        let reason = format!(
            "service not found, namespace: {}, service: {}",
            service.namespace(),
            service.grouped()
        );
        return Err(Fault::bad(Code::Instance, reason));
    }
    let key = api.registry.choose_kind(&service, &address.key(), ephemeral);
    // Of one that is not there nothing is set, and nothing that was set is forgotten.
    let replaces = api.registry.known(&service, &key.text()).is_some();
    let layer = Layer { weight, enabled, metadata: Arc::new(given), replaces };
    let write = api.naming().set_layer(&call.caller(), &service, &key, layer);
    Ok(write_done(write))
}

/// PATCH of 2.x: weight, enabled and metadata must be given, blank metadata changes none.
pub(super) fn patch(api: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
    let service = form::grouped_service(call)?;
    let address = Address::of(call)?;
    for name in ["metadata", "weight", "enabled"] {
        let is_given =
            call.params.raw(name).is_some_and(|text| name == "metadata" || !text.is_empty());
        if !is_given {
            return Err(Fault::missing(name));
        }
    }
    let layer = merging(api, call)?;
    let name = service.grouped().to_owned();
    let is_service = api.registry.find(&service).is_some();
    let ephemeral = form::flag(call, "ephemeral")?;
    let key = api.registry.choose_kind(&service, &address.key(), ephemeral);
    let write = api.naming().set_layer(&call.caller(), &service, &key, layer);
    Ok(written(write, move |patched| match patched {
        Patched::Done => Ok(Reply::ok()),
        Patched::NotFound => Err(nothing_there(is_service, &name)),
    }))
}

/// The same of 3.x: what is not given gets its default, but for the metadata.
pub(super) fn patch_partially(api: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
    let service = form::service(call)?;
    let address = Address::of(call)?;
    let layer = merging(api, call)?;
    let name = service.grouped().to_owned();
    let is_service = api.registry.find(&service).is_some();
    let ephemeral = form::flag(call, "ephemeral")?;
    let key = api.registry.choose_kind(&service, &address.key(), ephemeral);
    let write = api.naming().set_layer(&call.caller(), &service, &key, layer);
    Ok(written(write, move |patched| match patched {
        Patched::Done => Ok(done()),
        Patched::NotFound => Err(nothing_there(is_service, &name)),
    }))
}

/// The refusal of what is about an instance that is not there.
pub(super) fn nothing_there(is_service: bool, name: &str) -> Fault {
    match is_service {
        true => Fault::not_found(format!("no matched ip found in service {name}!")),
        false => Fault::not_found(format!("no service {name} found!")),
    }
}

/// What a request lays over an instance besides what lies there.
fn merging(api: &Api, call: &Call<'_>) -> Result<Layer, Fault> {
    Ok(Layer {
        weight: weight(call)?.unwrap_or(1.0),
        enabled: form::flag(call, "enabled")?.unwrap_or(true),
        metadata: Arc::new(pairs(api, &call.params.or("metadata", ""))?),
        replaces: false,
    })
}

/// A beat of 2.x, which is answered without an envelope.
pub(super) fn beat(api: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
    let service = form::grouped_service(call)?;
    let text = call.params.optional("beat");
    let beat = text.as_deref().map(parse_beat).transpose()?;
    let ip = match beat.as_ref().and_then(|beat| beat.ip.as_deref()) {
        Some(ip) => Cow::Borrowed(ip),
        None => call.params.or("ip", ""),
    };
    let port = match &beat {
        Some(beat) => crate::registry::check_port(beat.port)?,
        None => form::optional_port(call, "port")?.unwrap_or(0),
    };
    let cluster = match beat.as_ref().and_then(BeatForm::cluster) {
        Some(cluster) => Cow::Borrowed(cluster),
        None => call.params.or("clusterName", DEFAULT_CLUSTER),
    };
    check_kind(&ip)?;
    let key = InstanceKey { ip: &ip, port, cluster: &cluster };
    let whole = beat.as_ref().map(|beat| {
        || {
            check_address(&ip)?;
            let metadata = beat.metadata().map_or_else(
                || Ok(Metadata::default().into()),
                |text| api.registry.parse_metadata(text),
            );
            let mut instance = Instance::new(beat.weight, metadata?)?;
            instance.is_persistent = !beat.ephemeral;
            api.registry.check_same_kind(&service, instance.is_persistent)?;
            Ok(instance)
        }
    });
    let registry = Arc::clone(&api.registry);
    let write = api.naming().beat(&call.caller(), &service, &key, whole);
    Ok(written(write, move |answer| {
        let switches = registry.switches.load();
        let default = switches.client_beat_interval_ms;
        let (code, interval_ms) = match answer {
            BeatAnswer::Known { interval_ms } => (CODE_OK, interval_ms.unwrap_or(default)),
            BeatAnswer::Unknown => (CODE_UNKNOWN_INSTANCE, default),
        };
        let light = switches.light_beat_enabled;
        Ok(Reply::json(format!(
            "{{\"clientBeatInterval\":{interval_ms},\"code\":{code},\"lightBeatEnabled\":{light}}}"
        )))
    }))
}

/// Sets keys of the metadata of several instances.
pub(super) fn merge_metadata(api: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
    change_metadata(api, call, true)
}

/// Removes keys of the metadata of several instances.
pub(super) fn remove_metadata(api: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
    change_metadata(api, call, false)
}

/// Those that are named, of whichever kind; all if none is. What is not there is passed over.
fn change_metadata(api: &Api, call: &Call<'_>, merge: bool) -> Result<Answer, Fault> {
    let service = form::service(call)?;
    let given = pairs(api, &form::required(call, "metadata")?)?;
    let targets = match call.params.optional(INSTANCES) {
        None => {
            let mut all = api.targets_of_kind(&service, false)?;
            all.extend(api.targets_of_kind(&service, true)?);
            all
        }
        Some(list) => named_targets(api, &service, &list)?,
    };
    let batch = Batch { service, given, merge, is_kept: true };
    let changed = api.write_metadata(call, batch, (INSTANCES, targets))?;
    Ok(written(changed, |changed| Ok(data(&json!({ "updated": names_of(&changed) })))))
}

fn named_targets(api: &Api, service: &ServiceKey, list: &str) -> Result<Vec<Target>, Fault> {
    let items = read_list::<&RawValue>(list.as_bytes(), MOST_TARGETS);
    let items = items.map_err(|error| Fault::illegal(INSTANCES, error))?;
    let target = |item: &&RawValue| {
        let target = listed_target(item.get())
            .ok_or_else(|| Fault::illegal(INSTANCES, "it has an item without ip and port"))?;
        let key = api.registry.choose_kind(service, &target.key().instance, None);
        let is_persistent = key.is_persistent;
        Ok(Target { is_persistent, ..target })
    };
    items.iter().map(target).collect()
}

/// Sets the health of an instance in a cluster that nobody checks.
pub(super) fn set_health(api: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
    let service = form::service(call)?;
    if api.is_of_java(&service) {
        return Err(Fault::not_offered(
            "a server of Nacos 1.x owns this service and judges its health; set it over /v1/ns",
        ));
    }
    let address = Address::of(call)?;
    let healthy = form::required(call, "healthy").and_then(|_| form::flag(call, "healthy"))?;
    let healthy = healthy.ok_or_else(|| Fault::missing("healthy"))?;
    let write = api.naming().set_health(&call.caller(), &service, &address.key(), healthy);
    let reason = format!("health check is still working, service: {}", service.grouped());
    let refused = move |error| match error {
        // Nobody tells a cluster that is not there from one that is checked.
        NamingError::NotFound(_) | NamingError::Registry(RegistryError::Conflict(_)) => {
            Fault::bad(Code::HealthChecked, reason)
        }
        error => error.into(),
    };
    Ok(write_done(write.map(|set| set.map_err(refused))))
}
