//! `/v1/ns/operator/*` but for the switches: counts, events, log level.

use naming_model::{InstanceKey, RecordKey, ServiceKey};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Api;
use crate::http::{ApiError, Call, Reply};
use crate::logging;
use crate::registry::{CLASS_INSTANCE, Event};

/// Events in one answer, unless the caller says how many.
const DEFAULT_EVENTS: i32 = 100;
/// Events in one answer at most.
const MAX_EVENTS: i32 = 1_000;

impl Api {
    /// What SDKs ask to learn whether the server is healthy.
    pub(super) fn operator_metrics(&self) -> Result<Reply, ApiError> {
        let services = self.registry.service_count();
        let instances = self.registry.store.visible_count(CLASS_INSTANCE);
        let usage = self.system.usage();
        let status = self.status();
        let (own_services, own_instances) = self.responsible.counts(&self.registry);
        let metrics = json!({
            "status": status.name(),
            "serviceCount": services,
            "instanceCount": instances,
            "raftNotifyTaskCount": 0,
            "responsibleServiceCount": own_services,
            "responsibleInstanceCount": own_instances,
            "cpu": usage.cpu,
            "load": usage.load,
            "mem": usage.memory,
        });
        Ok(Reply::json(metrics.to_string()))
    }

    pub(in crate::http) fn set_log_level(&self, call: &Call<'_>) -> Result<Reply, ApiError> {
        let name = call.params.required("logName")?;
        let level = call.params.required("logLevel")?;
        logging::set_level(&name, &level).map_err(|error| match error {
            logging::LevelError::NotOurs => ApiError::not_implemented(error.to_string()),
            _ => ApiError::bad_request(error.to_string()),
        })?;
        Ok(Reply::ok())
    }

    /// Why instances came and went, newest first.
    pub(super) fn events(&self, call: &Call<'_>) -> Result<Reply, ApiError> {
        let (filter, limit) = (EventFilter::from_call(call)?, event_limit(call)?);
        let events = self.events_seen(&filter, limit);
        let count = events.len();
        Ok(Reply::json(json!({ "events": events, "count": count }).to_string()))
    }

    /// The latest events of this member that are meant, newest first.
    pub(in crate::http) fn events_seen(&self, filter: &EventFilter, most: usize) -> Vec<Value> {
        let most = most.min(MAX_EVENTS as usize);
        let found = self.registry.events.latest(most, |event| filter.matches(event));
        found.events().filter_map(shown).collect()
    }
}

/// How many events a request asks for.
///
/// # Errors
/// 400 for what is not from 1 to 1,000.
pub(in crate::http) fn event_limit(call: &Call<'_>) -> Result<usize, ApiError> {
    let limit = call.params.int("limit", DEFAULT_EVENTS)?;
    let limit = usize::try_from(limit).ok().filter(|_| (1..=MAX_EVENTS).contains(&limit));
    limit.ok_or_else(|| {
        ApiError::bad_request(format!("Param 'limit' must be from 1 to {MAX_EVENTS}"))
    })
}

/// Which events are wanted. What is not given does not matter.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::http) struct EventFilter {
    /// The full service key.
    service: Option<String>,
    namespace: Option<String>,
    ip: Option<String>,
    port: Option<u16>,
}

impl EventFilter {
    /// # Errors
    /// 400 for what is no service, address or port.
    pub(in crate::http) fn from_call(call: &Call<'_>) -> Result<Self, ApiError> {
        let params = call.params;
        let has_service = ["serviceName", "dom"].iter().any(|name| params.optional(name).is_some());
        let port = params.optional("port").map(|_| params.required_int("port")).transpose()?;
        let port = port.map(crate::registry::check_port).transpose()?;
        Ok(Self {
            service: has_service
                .then(|| call.service())
                .transpose()?
                .map(|key| key.as_str().into()),
            namespace: params.optional("namespaceId").map(|id| id.into_owned()),
            ip: params.optional("ip").map(|ip| ip.into_owned()),
            port,
        })
    }

    fn matches(&self, event: &Event<'_>) -> bool {
        self.matches_service(event.service) && self.matches_instance(event.instance)
    }

    fn matches_service(&self, tag: &str) -> bool {
        match (&self.service, &self.namespace) {
            (Some(service), _) => *service == *tag,
            (None, Some(namespace)) => tag
                .strip_prefix(namespace.as_str())
                .is_some_and(|rest| rest.starts_with(naming_model::NAMESPACE_SEPARATOR)),
            (None, None) => true,
        }
    }

    fn matches_instance(&self, instance: &str) -> bool {
        if self.ip.is_none() && self.port.is_none() {
            return true;
        }
        RecordKey::parse(instance).is_some_and(|RecordKey { instance, .. }| {
            self.ip.as_deref().is_none_or(|ip| ip == instance.ip)
                && self.port.is_none_or(|port| port == instance.port)
        })
    }
}

fn shown(event: Event<'_>) -> Option<Value> {
    let service = ServiceKey::from_tag(event.service)?;
    let RecordKey { instance, is_persistent } = RecordKey::parse(event.instance)?;
    let InstanceKey { ip, port, cluster } = instance;
    Some(json!({
        "time": event.wall_ms,
        "namespaceId": service.namespace(),
        "service": service.grouped(),
        "ip": ip,
        "port": port,
        "cluster": cluster,
        "ephemeral": !is_persistent,
        "event": event.kind.name(),
        "by": event.by,
        "silentMillis": event.silent_ms,
    }))
}
