//! The bodies of requests and answers.

use std::collections::BTreeMap;

use bytes::Bytes;
use naming_model::{Instance, InstanceList};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::error::Error;
use crate::names::{Namespace, ServiceName};

/// A request: its kind, its body, and the kind of its answer.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(super) kind: &'static str,
    pub(super) answer: &'static str,
    pub(super) body: Bytes,
    /// Whether a token goes with it.
    pub(super) guarded: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct About<'a, T> {
    namespace: &'a str,
    service_name: &'a str,
    group_name: &'a str,
    #[serde(flatten)]
    rest: T,
}

#[derive(Serialize)]
struct Write<'a> {
    #[serde(rename = "type")]
    action: &'a str,
    instance: &'a Instance,
}

#[derive(Serialize)]
struct Batch<'a> {
    #[serde(rename = "type")]
    action: &'a str,
    instances: &'a [Instance],
}

#[derive(Serialize)]
struct Subscribe {
    subscribe: bool,
    clusters: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Query<'a> {
    cluster: &'a str,
    healthy_only: bool,
    udp_port: u16,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Watch<'a> {
    initializing: bool,
    namespace: &'a str,
    group_key_pattern: &'a str,
    received_group_keys: Vec<String>,
    watch_type: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Setup<'a> {
    client_version: &'a str,
    tenant: &'a str,
    labels: BTreeMap<&'a str, &'a str>,
    ability_table: BTreeMap<&'a str, bool>,
}

fn json<T: Serialize>(value: &T) -> Result<Bytes, Error> {
    serde_json::to_vec(value).map(Bytes::from).map_err(|e| Error::Request(e.to_string()))
}

fn about<T: Serialize>(
    (kind, answer): (&'static str, &'static str),
    namespace: &Namespace,
    service: &ServiceName,
    rest: T,
) -> Result<Request, Error> {
    let body = json(&About {
        namespace: namespace.as_str(),
        service_name: service.service(),
        group_name: service.group(),
        rest,
    })?;
    Ok(Request { kind, answer, body, guarded: true })
}

impl Request {
    fn bare(kind: &'static str, answer: &'static str) -> Self {
        Self { kind, answer, body: Bytes::from_static(b"{}"), guarded: false }
    }

    /// Asks for the id of the connection.
    pub(super) fn server_check() -> Self {
        Self::bare("ServerCheckRequest", "ServerCheckResponse")
    }

    /// Tells that the client is there.
    pub(super) fn health_check() -> Self {
        Self::bare("HealthCheckRequest", "HealthCheckResponse")
    }

    /// These instances take the place of all that the connection has in the service. `gone` is one
    /// of those that were there, for the case that none is left.
    pub(super) fn hold(
        namespace: &Namespace,
        service: &ServiceName,
        instances: &[Instance],
        gone: Option<&Instance>,
    ) -> Result<Self, Error> {
        const ONE: (&str, &str) = ("InstanceRequest", "InstanceResponse");
        match (instances, gone) {
            ([instance], _) => {
                about(ONE, namespace, service, Write { action: "registerInstance", instance })
            }
            ([], Some(instance)) => {
                about(ONE, namespace, service, Write { action: "deregisterInstance", instance })
            }
            _ => {
                let batch = Batch { action: "batchRegisterInstance", instances };
                about(("BatchInstanceRequest", "BatchInstanceResponse"), namespace, service, batch)
            }
        }
    }

    /// Registers or removes an instance that does not depend on the connection.
    pub(crate) fn persistent(
        namespace: &Namespace,
        service: &ServiceName,
        instance: &Instance,
        is_there: bool,
    ) -> Result<Self, Error> {
        let action = if is_there { "registerInstance" } else { "deregisterInstance" };
        let kind = ("PersistentInstanceRequest", "InstanceResponse");
        about(kind, namespace, service, Write { action, instance })
    }

    /// Subscribes to all clusters of a service, or ends that.
    pub(crate) fn subscribe(
        namespace: &Namespace,
        service: &ServiceName,
        subscribe: bool,
    ) -> Result<Self, Error> {
        let kind = ("SubscribeServiceRequest", "SubscribeServiceResponse");
        about(kind, namespace, service, Subscribe { subscribe, clusters: "" })
    }

    /// Asks for the instances of a service.
    pub(crate) fn query(
        namespace: &Namespace,
        service: &ServiceName,
        cluster: &str,
    ) -> Result<Self, Error> {
        let kind = ("ServiceQueryRequest", "QueryServiceResponse");
        about(kind, namespace, service, Query { cluster, healthy_only: false, udp_port: 0 })
    }

    /// Watches the services that match a pattern, or ends that. `known` are those that the client
    /// knows of already.
    pub(super) fn fuzzy_watch(
        namespace: &Namespace,
        pattern: &str,
        known: Vec<String>,
        is_first: bool,
        watch: bool,
    ) -> Result<Self, Error> {
        let body = json(&Watch {
            initializing: is_first,
            namespace: namespace.as_str(),
            group_key_pattern: pattern,
            received_group_keys: known,
            watch_type: if watch { "WATCH" } else { "CANCEL_WATCH" },
        })?;
        let (kind, answer) = ("NamingFuzzyWatchRequest", "NamingFuzzyWatchResponse");
        Ok(Self { kind, answer, body, guarded: true })
    }
}

/// The first message on the stream.
pub(super) fn setup(
    version: &str,
    namespace: &Namespace,
    application: &str,
) -> Result<Bytes, Error> {
    let labels = [("source", "sdk"), ("module", "naming"), ("AppName", application)];
    json(&Setup {
        client_version: version,
        tenant: namespace.as_str(),
        labels: labels.into(),
        ability_table: [("fuzzyWatch", true)].into(),
    })
}

/// What all answers say.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Outcome {
    pub(super) result_code: i64,
    pub(super) error_code: i64,
    pub(super) message: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ServerCheck {
    pub(super) connection_id: Option<String>,
    pub(super) support_ability_negotiation: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct SetupAck {
    pub(super) ability_table: Option<BTreeMap<String, bool>>,
}

/// What a request of a server is about, whatever kind it is.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Asked {
    pub(super) request_id: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Reset {
    pub(super) server_ip: Option<String>,
    /// Text from Nacos.
    pub(super) server_port: Option<serde_json::Value>,
}

/// A notice about services that match a pattern.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct FuzzyNotice {
    pub(super) sync_type: String,
    pub(super) group_key_pattern: String,
    pub(super) contexts: Vec<FuzzyChange>,
    pub(super) service_key: String,
    pub(super) changed_type: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct FuzzyChange {
    pub(super) service_key: String,
    pub(super) changed_type: String,
}

/// The list in an answer or a push, with the service it is about.
///
/// # Errors
/// What is wrong with it, in words.
pub(crate) fn read_list(body: &[u8]) -> Result<(ServiceName, InstanceList), String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Carrier<'a> {
        #[serde(borrow)]
        service_info: &'a RawValue,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Head {
        name: String,
        #[serde(default)]
        group_name: Option<String>,
    }
    let text = |error: serde_json::Error| error.to_string();
    let info = serde_json::from_slice::<Carrier<'_>>(body).map_err(text)?.service_info.get();
    let head: Head = serde_json::from_str(info).map_err(text)?;
    let group = head.group_name.unwrap_or_default();
    let service = ServiceName::new(&group, &head.name).map_err(|error| error.to_string())?;
    Ok((service, serde_json::from_str(info).map_err(text)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_as_servers_read_them() {
        let (namespace, service) = (Namespace::default(), "g@@s".parse().unwrap());
        let one = Instance::new("10.0.0.2", 80).metadata("zone", "a");
        let value = |request: Request| -> serde_json::Value {
            serde_json::from_slice(&request.body).unwrap()
        };
        let hold =
            |list: &[Instance]| Request::hold(&namespace, &service, list, Some(&one)).unwrap();
        let register = hold(std::slice::from_ref(&one));
        assert_eq!((register.kind, register.answer), ("InstanceRequest", "InstanceResponse"));
        assert_eq!(
            value(register),
            serde_json::json!({
                "namespace": "public", "groupName": "g", "serviceName": "s",
                "type": "registerInstance",
                "instance": {"ip": "10.0.0.2", "port": 80, "weight": 1.0, "healthy": true,
                    "enabled": true, "ephemeral": true, "clusterName": "DEFAULT",
                    "metadata": {"zone": "a"}},
            })
        );
        let batch = hold(&[one.clone(), Instance::new("10.0.0.3", 80)]);
        assert_eq!(batch.kind, "BatchInstanceRequest");
        assert_eq!(value(batch)["instances"].as_array().unwrap().len(), 2);
        assert_eq!(value(hold(&[]))["type"], "deregisterInstance");
    }

    #[test]
    fn a_list_names_its_service_in_all_forms() {
        let list = |name: &str, group: &str| {
            let body = format!(
                r#"{{"serviceInfo":{{"name":"{name}","groupName":{group},"clusters":"",
                "cacheMillis":10000,"hosts":[],"lastRefTime":7}},"module":"naming"}}"#
            );
            read_list(body.as_bytes()).map(|(service, _)| service.to_string())
        };
        assert_eq!(list("s", r#""g""#).unwrap(), "g@@s");
        assert_eq!(list("g@@s", r#""g""#).unwrap(), "g@@s");
        assert_eq!(list("s", "null").unwrap(), "DEFAULT_GROUP@@s");
        assert!(read_list(b"{}").is_err() && read_list(b"").is_err());
        assert!(read_list(br#"{"serviceInfo":{"name":"s","groupName":"g"}}"#).is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_body_panics(bytes: Vec<u8>, name in "[a-z@ ]{0,9}") {
            let _ = read_list(&bytes);
            let list = serde_json::json!({"serviceInfo": {"name": name, "hosts": [{}]}});
            let _ = read_list(list.to_string().as_bytes());
        }
    }
}
