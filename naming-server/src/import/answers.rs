//! What servers answer, as far as it is copied. Everything may be missing or null: Nacos leaves out
//! what is null, and its versions differ.

use std::collections::BTreeMap;

use naming_model::{DEFAULT_CLUSTER, GROUP_SEPARATOR};
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};

/// The list of namespaces.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Namespaces {
    #[serde(deserialize_with = "or_default")]
    pub(super) data: Vec<NamespaceEntry>,
}

/// A namespace, in the list or by itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct NamespaceEntry {
    #[serde(deserialize_with = "or_default")]
    pub(super) namespace: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) namespace_show_name: String,
    /// Only when it is asked for by itself.
    #[serde(deserialize_with = "or_default")]
    pub(super) namespace_desc: String,
}

/// Names of services by namespace.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Names {
    #[serde(deserialize_with = "or_default")]
    pub(super) services: BTreeMap<String, IgnoredAny>,
}

/// A page of the services of a namespace.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ServicePage {
    pub(super) service_list: Vec<ServiceEntry>,
    #[serde(default)]
    pub(super) count: usize,
}

/// A page of the names in a group.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct GroupPage {
    #[serde(deserialize_with = "or_default")]
    pub(super) doms: Vec<String>,
    pub(super) count: usize,
}

/// A service in the list.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct ServiceEntry {
    #[serde(deserialize_with = "or_default")]
    name: String,
    #[serde(deserialize_with = "or_default")]
    group_name: String,
}

impl ServiceEntry {
    /// `group@@service`.
    pub(super) fn grouped(&self) -> String {
        match self.name.contains(GROUP_SEPARATOR) {
            true => self.name.clone(),
            false => format!("{}{GROUP_SEPARATOR}{}", self.group_name, self.name),
        }
    }
}

/// A service in detail.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Service {
    pub(super) service: ServiceSettings,
    #[serde(deserialize_with = "or_default")]
    pub(super) clusters: Vec<Cluster>,
}

impl Service {
    /// The settings of a cluster; one that nobody configured has those by default.
    pub(super) fn cluster(&self, name: &str) -> Option<&Cluster> {
        self.clusters.iter().find(|cluster| cluster.name == name)
    }
}

/// Settings of a service.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct ServiceSettings {
    /// Servers keep and show it in this precision.
    #[serde(deserialize_with = "or_default")]
    pub(super) protect_threshold: f32,
    #[serde(deserialize_with = "texts")]
    pub(super) metadata: BTreeMap<String, String>,
    #[serde(deserialize_with = "or_default")]
    pub(super) selector: Selector,
}

/// Which consumers see which instances.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "Map<String, Value>")]
pub(super) struct Selector {
    kind: String,
    expression: String,
}

/// Servers of 2.x and 3.x say the type twice; in a map the last one counts.
impl From<Map<String, Value>> for Selector {
    fn from(fields: Map<String, Value>) -> Self {
        let text = |name: &str| fields.get(name).and_then(Value::as_str).map(str::to_owned);
        let kind = text("type").unwrap_or_else(|| Self::default().kind);
        Self { kind, expression: text("expression").unwrap_or_default() }
    }
}

impl Default for Selector {
    fn default() -> Self {
        Self { kind: "none".to_owned(), expression: String::new() }
    }
}

impl Selector {
    /// As it is sent. What follows from the expression is left out.
    pub(super) fn to_json(&self) -> Value {
        match self.expression.is_empty() {
            true => json!({"type": self.kind}),
            false => json!({"type": self.kind, "expression": self.expression}),
        }
    }
}

/// A cluster of a service.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Cluster {
    #[serde(deserialize_with = "or_default")]
    pub(super) name: String,
    #[serde(flatten)]
    pub(super) settings: ClusterSettings,
}

/// Settings of a cluster.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(from = "ClusterAnswer")]
pub(super) struct ClusterSettings {
    pub(super) check_port: i64,
    pub(super) use_instance_port: bool,
    pub(super) checker: Value,
    pub(super) metadata: BTreeMap<String, String>,
}

/// The same in the words of all generations.
#[derive(Default, Deserialize)]
#[serde(default)]
struct ClusterAnswer {
    /// Of 1.x. The other names of it say the same there, or what was before.
    #[serde(rename = "defCkport")]
    check_port: Option<i64>,
    /// Of 2.x.
    #[serde(rename = "defaultCheckPort")]
    default_check_port: Option<i64>,
    /// Of 3.x.
    #[serde(rename = "healthyCheckPort")]
    healthy_check_port: Option<i64>,
    /// Of 1.x and 2.x.
    #[serde(rename = "useIPPort4Check")]
    use_ip_port: Option<bool>,
    /// Of 3.x.
    #[serde(rename = "useInstancePortForCheck")]
    use_instance_port: Option<bool>,
    #[serde(rename = "healthChecker", deserialize_with = "checker")]
    checker: Value,
    #[serde(deserialize_with = "texts")]
    metadata: BTreeMap<String, String>,
}

impl From<ClusterAnswer> for ClusterSettings {
    fn from(answer: ClusterAnswer) -> Self {
        let default = Self::default();
        let check_port =
            answer.check_port.or(answer.default_check_port).or(answer.healthy_check_port);
        let use_instance_port = answer.use_ip_port.or(answer.use_instance_port);
        Self {
            check_port: check_port.unwrap_or(default.check_port),
            use_instance_port: use_instance_port.unwrap_or(default.use_instance_port),
            checker: if answer.checker.is_null() { default.checker } else { answer.checker },
            metadata: answer.metadata,
        }
    }
}

impl Default for ClusterSettings {
    fn default() -> Self {
        Self {
            check_port: 80,
            use_instance_port: true,
            checker: json!({"type": "TCP"}),
            metadata: BTreeMap::new(),
        }
    }
}

impl ClusterSettings {
    /// The type of the checker: the rest of it may be secret.
    pub(super) fn checker_kind(&self) -> &str {
        self.checker.get("type").and_then(Value::as_str).unwrap_or_default()
    }
}

/// A page of the instances of a cluster.
#[derive(Debug, Deserialize)]
pub(super) struct InstancePage {
    #[serde(deserialize_with = "or_default")]
    pub(super) list: Vec<Instance>,
    #[serde(default)]
    pub(super) count: usize,
}

/// An instance.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Instance {
    #[serde(deserialize_with = "or_default")]
    pub(super) ip: String,
    /// Nacos takes more than ports can be.
    pub(super) port: i64,
    /// A number, or the name of what is none.
    #[serde(deserialize_with = "number_text")]
    pub(super) weight: String,
    pub(super) healthy: bool,
    pub(super) enabled: bool,
    pub(super) ephemeral: bool,
    #[serde(deserialize_with = "or_default")]
    pub(super) cluster_name: String,
    #[serde(deserialize_with = "texts")]
    pub(super) metadata: BTreeMap<String, String>,
    #[serde(deserialize_with = "or_default")]
    pub(super) app: String,
}

impl Default for Instance {
    fn default() -> Self {
        Self {
            ip: String::new(),
            port: 0,
            weight: "1".to_owned(),
            healthy: true,
            enabled: true,
            ephemeral: true,
            cluster_name: DEFAULT_CLUSTER.to_owned(),
            metadata: BTreeMap::new(),
            app: String::new(),
        }
    }
}

/// What is null counts as missing.
fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    source: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(source)?.unwrap_or_default())
}

/// A map of texts. Nulls are left out, as servers do when they show it; other values become their
/// JSON.
fn texts<'de, D: Deserializer<'de>>(source: D) -> Result<BTreeMap<String, String>, D::Error> {
    let map: Map<String, Value> = or_default(source)?;
    let text = |(key, value)| match value {
        Value::Null => None,
        Value::String(text) => Some((key, text)),
        other => Some((key, other.to_string())),
    };
    Ok(map.into_iter().filter_map(text).collect())
}

fn number_text<'de, D: Deserializer<'de>>(source: D) -> Result<String, D::Error> {
    Ok(match Value::deserialize(source)? {
        Value::String(text) => text,
        other => other.to_string(),
    })
}

/// A health checker with exactly the fields that servers know, so that two can be compared.
fn checker<'de, D: Deserializer<'de>>(source: D) -> Result<Value, D::Error> {
    let given = match Value::deserialize(source)? {
        Value::Null => return Ok(ClusterSettings::default().checker),
        given => given,
    };
    let text = |name: &str| given.get(name).and_then(Value::as_str).unwrap_or_default();
    Ok(match text("type").to_ascii_uppercase().as_str() {
        kind @ ("TCP" | "NONE") => json!({"type": kind}),
        "HTTP" => json!({
            "type": "HTTP",
            "path": text("path"),
            "headers": text("headers"),
            "expectedResponseCode":
                given.get("expectedResponseCode").and_then(Value::as_i64).unwrap_or(200),
        }),
        "MYSQL" => json!({
            "type": "MYSQL", "user": text("user"), "pwd": text("pwd"), "cmd": text("cmd"),
        }),
        _ => given,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_of_nacos_is_read() {
        let text = r#"{"service":{"name":"demo","protectThreshold":0.3,"groupName":"g",
            "selector":{"type":"none"},"metadata":{"a":"b"}},"clusters":[{"serviceName":"g@@demo",
            "name":"c","healthChecker":{"type":"HTTP","path":"/x","headers":""},"defaultPort":80,
            "defaultCheckPort":81,"useIPPort4Check":false,"metadata":{},"sitegroup":"",
            "defCkport":81,"defIPPort":80,"empty":false},{"name":"DEFAULT"}]}"#;
        let service: Service = serde_json::from_str(text).unwrap();
        assert_eq!(service.service.protect_threshold, 0.3);
        let cluster = &service.cluster("c").unwrap().settings;
        assert_eq!((cluster.check_port, cluster.use_instance_port), (81, false));
        assert_eq!(cluster.checker["expectedResponseCode"], 200);
        assert_eq!(service.cluster("DEFAULT").unwrap().settings, ClusterSettings::default());
    }

    #[test]
    fn what_is_null_or_missing_is_the_default() {
        let text = r#"{"service":{"protectThreshold":null,"metadata":null,"selector":null},
            "clusters":[{"name":"c","healthChecker":null,"metadata":null}]}"#;
        let service: Service = serde_json::from_str(text).unwrap();
        assert_eq!(service.service, ServiceSettings::default());
        assert_eq!(service.clusters[0].settings, ClusterSettings::default());
        let page = r#"{"list":[{"ip":"a","port":-1,"weight":"NaN","metadata":{"k":1,"n":null}}]}"#;
        let page: InstancePage = serde_json::from_str(page).unwrap();
        let one = &page.list[0];
        assert_eq!((one.port, &*one.weight, one.ephemeral), (-1, "NaN", true));
        assert_eq!(one.metadata, BTreeMap::from([("k".to_owned(), "1".to_owned())]));
    }

    #[test]
    fn a_service_of_2_x_is_read() {
        // The type of a selector stands there twice: the class first.
        let text = r#"{"service":{"name":"demo","groupName":"g","protectThreshold":0.0,
            "selector":{"type":"LabelSelector","type":"label","expression":"x","labels":[],
            "contextType":"CMDB"},"metadata":{}},"clusters":[{"serviceName":"g@@demo","name":"c",
            "healthChecker":{"type":"NONE"},"defaultPort":80,"defaultCheckPort":81,
            "useIPPort4Check":false,"metadata":{"k":"v"}}]}"#;
        let service: Service = serde_json::from_str(text).unwrap();
        let selector = service.service.selector.to_json();
        assert_eq!(selector, json!({"type": "label", "expression": "x"}));
        let cluster = &service.cluster("c").unwrap().settings;
        assert_eq!((cluster.check_port, cluster.use_instance_port), (81, false));
        assert_eq!(cluster.checker_kind(), "NONE");
    }

    #[test]
    fn names_are_grouped_once() {
        let grouped = |text| serde_json::from_str::<ServiceEntry>(text).unwrap().grouped();
        assert_eq!(grouped(r#"{"name":"s","groupName":"g"}"#), "g@@s");
        assert_eq!(grouped(r#"{"name":"g@@s","groupName":null}"#), "g@@s");
        assert_eq!(grouped("{}"), "@@");
    }
}
