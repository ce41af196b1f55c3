//! Services and their clusters: `/v2/ns/service`, `/v3/admin/ns/service`, `/v3/console/ns/service`.

use std::collections::BTreeMap;

use hyper::StatusCode;
use naming_model::ServiceKey;
use serde_json::{Map, Value, json};

use super::envelope::{data, write_done};
use super::error::{Code, Fault};
use super::form;
use super::shape::{Selected, array};
use crate::http::v1::{Api, CHECKERS, cluster_form, threshold_json};
use crate::http::{Answer, Call, Reply};
use crate::naming::NamingError;
use crate::registry::{
    ClusterSettings, HealthChecker, NamingDatum, RegistryError, Selector, ServiceKind,
    ServiceSettings, hosts, kind_of, settings,
};

/// Makes a service, persistent unless the caller says otherwise; its first instance decides all the
/// same.
pub(super) fn create(api: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
    let service = form::service(call)?;
    let ephemeral = form::flag(call, "ephemeral")?.unwrap_or(false);
    let settings = read_settings(api, call, Some(ServiceKind::of_instance(!ephemeral)))?;
    let write = api.naming().create_service(&call.caller(), &service, settings);
    let write = write.map(|made| made.map_err(|error| found_otherwise(error, Code::ServiceExists)));
    Ok(write_done(write))
}

/// Replaces everything but the settings of the clusters and the kind; what is left out is cleared.
pub(super) fn update(api: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
    let service = form::service(call)?;
    form::flag(call, "ephemeral")?;
    // While it has instances they tell.
    let kind = api.registry.kind_of(&service);
    let settings = read_settings(api, call, kind)?;
    let write = api.naming().update_service(&call.caller(), &service, settings);
    let write = write.map(|made| made.map_err(|error| found_otherwise(error, Code::NoService)));
    Ok(write_done(write))
}

/// What a change to settings refuses since the service is there, or is not.
fn found_otherwise(error: NamingError, code: Code) -> Fault {
    match error {
        NamingError::Registry(RegistryError::Conflict(reason) | RegistryError::Missing(reason)) => {
            Fault::bad(code, reason)
        }
        error => error.into(),
    }
}

/// Deletes a service that has no instances.
pub(super) fn delete(api: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
    let service = form::service(call)?;
    let name = service.grouped().to_owned();
    let unknown = || Fault::bad(Code::NoService, format!("service {name} not found!"));
    let datum = api.registry.find(&service).ok_or_else(unknown)?;
    if datum.read(|reader| hosts(&reader).next().is_some()) {
        let name = service.grouped();
        let reason = format!(
            "service {name} is not empty, can't be delete. Please unregister instance first"
        );
        return Err(Fault::bad(Code::ServiceNotEmpty, reason));
    }
    let write = api.naming().delete_service(&call.caller(), &service);
    let write = write.map(|gone| gone.map_err(|error| found_otherwise(error, Code::NoService)));
    Ok(write_done(write))
}

fn read_settings(
    api: &Api,
    call: &Call<'_>,
    kind: Option<ServiceKind>,
) -> Result<ServiceSettings, Fault> {
    let metadata = api.limited_metadata(call.params);
    Ok(ServiceSettings {
        protect_threshold: threshold(call)?,
        metadata: metadata.map_err(|error| Fault::from(error).numbered(Code::Metadata))?,
        selector: Selector::parse(&call.params.or("selector", ""))?,
        clusters: BTreeMap::new(),
        explicit: true,
        kind,
    })
}

fn threshold(call: &Call<'_>) -> Result<f32, Fault> {
    let Some(text) = call.params.optional("protectThreshold") else { return Ok(0.0) };
    let threshold = call.params.double("protectThreshold", 0.0).ok();
    match threshold.filter(|threshold| (0.0..=1.0).contains(threshold)) {
        // A negative zero would show.
        Some(threshold) => Ok(threshold.abs() as f32),
        None => {
            let text = form::shown(&text);
            Err(Fault::illegal(
                "protectThreshold",
                format_args!("it is no share from 0 to 1: {text}"),
            ))
        }
    }
}

/// A service as 2.x shows it.
pub(super) fn detail(api: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
    let shape = Shape { namespace: "namespace", has_check_ports: false };
    show(api, call, shape, Fault::bad(Code::NoService, ""))
}

/// A service as 3.x shows it.
pub(super) fn admin_detail(api: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
    show(api, call, Shape::V3, Fault::bad(Code::NoService, ""))
}

/// The same for the console, to which an unknown service is one that is not found.
pub(super) fn console_detail(api: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
    show(api, call, Shape::V3, Fault::new(StatusCode::NOT_FOUND, Code::NoService, ""))
}

fn show(api: &Api, call: &Call<'_>, shape: Shape, unknown: Fault) -> Result<Answer, Fault> {
    let service = form::service(call)?;
    let reason = format!("service {} not found!", service.grouped());
    let datum = api.registry.find(&service).ok_or_else(|| unknown.because(reason))?;
    Ok(data(&shape.service(&service, &datum, false)).into())
}

/// How a version shows services.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    namespace: &'static str,
    has_check_ports: bool,
}

impl Shape {
    pub(super) const V3: Self = Self { namespace: "namespaceId", has_check_ports: true };

    /// All settings of a service, if wanted with the instances of its clusters.
    pub(super) fn service(
        self,
        service: &ServiceKey,
        datum: &NamingDatum,
        with_hosts: bool,
    ) -> Value {
        let kind = kind_of(datum).unwrap_or(ServiceKind::Ephemeral);
        datum.read(|reader| {
            let settings = settings(&reader);
            let default = ClusterSettings::default();
            let mut names: Vec<&str> = hosts(&reader).map(|host| host.key.cluster).collect();
            names.extend(settings.clusters.keys().map(String::as_str));
            names.sort_unstable();
            names.dedup();
            let hosts_of = |cluster: &str| {
                let selected = Selected::of(&reader, cluster).hosts.into_iter();
                let json = array(service, selected.map(|host| (host, host.healthy)));
                // What is cut, since it is longer than any answer, is refused in whole.
                serde_json::from_str(&json).unwrap_or_default()
            };
            let cluster = |name: &str| {
                let known = settings.clusters.get(name).unwrap_or(&default);
                let hosts = if with_hosts { hosts_of(name) } else { Value::Null };
                (name.to_owned(), self.cluster(name, known, hosts))
            };
            let clusters: Map<String, Value> = names.into_iter().map(cluster).collect();
            json!({
                (self.namespace): service.namespace(),
                "serviceName": service.service(),
                "groupName": service.group(),
                "clusterMap": clusters,
                "metadata": settings.metadata.to_map(),
                "protectThreshold": threshold_json(settings.protect_threshold),
                "selector": selector(&settings.selector),
                "ephemeral": kind == ServiceKind::Ephemeral,
            })
        })
    }

    fn cluster(self, name: &str, cluster: &ClusterSettings, hosts: Value) -> Value {
        let mut shown = json!({
            "clusterName": name,
            "healthChecker": cluster.checker.to_json(),
            "metadata": cluster.metadata.to_map(),
            "hosts": hosts,
        });
        if self.has_check_ports {
            shown["healthyCheckPort"] = json!(cluster.check_port);
            shown["useInstancePortForCheck"] = json!(cluster.use_instance_port);
        }
        shown
    }
}

fn selector(selector: &Selector) -> Value {
    let mut shown = selector.to_json();
    let context = if matches!(selector, Selector::None) { "NONE" } else { "CMDB" };
    shown["contextType"] = json!(context);
    shown
}

/// Sets how the persistent instances of a cluster are checked.
pub(super) fn update_cluster(api: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
    let service = form::service(call)?;
    for name in ["clusterName", "checkPort", "useInstancePort4Check", "healthChecker"] {
        form::required(call, name)?;
    }
    form::flag(call, "useInstancePort4Check")?;
    form::optional_port(call, "checkPort")?;
    if api.registry.find(&service).is_none() {
        let reason = format!("service not found:{}", service.grouped());
        return Err(Fault::bad(Code::NoService, reason));
    }
    let (name, cluster) = cluster_form(api, call)?;
    let is_named = call.params.or("healthChecker", "").to_ascii_uppercase().contains("\"NONE\"");
    if cluster.checker == HealthChecker::None && !is_named {
        return Err(Fault::illegal("healthChecker", "it is of a type unknown here"));
    }
    let write = api.naming().set_cluster(&call.caller(), &service, name, cluster);
    Ok(write_done(write))
}

/// The kinds of health checkers.
pub(super) fn checkers(_: &Api, _: &Call<'_>) -> Result<Answer, Fault> {
    let json = format!("{{\"code\":0,\"message\":\"success\",\"data\":{CHECKERS}}}");
    Ok(Reply::json(json).into())
}

/// The types of selectors.
pub(super) fn selector_types(_: &Api, _: &Call<'_>) -> Result<Answer, Fault> {
    Ok(data(&json!(["none", "label"])).into())
}
