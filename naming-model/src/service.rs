//! Services as the administration calls show them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Which instances a consumer gets to see.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Selector {
    /// All of them.
    #[default]
    None,
    /// Those whose labels match the consumer's.
    Label {
        /// `CONSUMER.label.x = PROVIDER.label.x`, several joined by `&`.
        #[serde(default)]
        expression: String,
    },
    /// A kind this version does not know; it is shown but cannot be sent.
    #[serde(other)]
    Unknown,
}

/// One service in detail.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceDetail {
    /// Name without its group.
    pub name: String,
    /// Group.
    #[serde(default)]
    pub group_name: String,
    /// Namespace id.
    #[serde(default)]
    pub namespace_id: String,
    /// Share of healthy instances, 0 to 1, at or below which all are reported healthy.
    #[serde(default)]
    pub protect_threshold: f64,
    /// Free labels of the service.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
    /// Which instances a consumer sees.
    #[serde(default)]
    pub selector: Selector,
    /// The clusters known so far.
    #[serde(default)]
    pub clusters: Vec<ClusterDetail>,
}

/// One cluster of a service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterDetail {
    /// Name of the cluster.
    pub name: String,
    /// How persistent instances are checked, as the server words it.
    pub health_checker: serde_json::Value,
    /// Free labels of the cluster.
    pub metadata: BTreeMap<String, String>,
}

/// One page of service names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServicePage {
    /// The names: bare if one group was asked for, grouped if all were.
    pub doms: Vec<String>,
    /// How many there are on all pages together.
    pub count: u64,
}

/// Something that happened to an instance, as `GET /v1/ns/operator/events` tells it. Nacos has no
/// such call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InstanceEvent {
    /// When, in milliseconds since 1970 by the server's clock.
    pub time: u64,
    /// Namespace id.
    #[serde(default)]
    pub namespace_id: String,
    /// `group@@service`.
    pub service: String,
    /// Address of the instance.
    pub ip: String,
    /// Port of the instance.
    pub port: u16,
    /// Cluster of the instance.
    #[serde(default)]
    pub cluster: String,
    /// Whether it lives by its beats; a persistent one does not.
    #[serde(default = "yes")]
    pub ephemeral: bool,
    /// What happened, in one or two words, such as `registered` or `expired`.
    pub event: String,
    /// Who did it: address and agent.
    #[serde(default)]
    pub by: String,
    /// Milliseconds since the last beat, where silence was the reason.
    #[serde(default)]
    pub silent_millis: u64,
}

fn yes() -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_detail_of_a_real_server_is_read() {
        let text = r#"{"name":"demo","namespaceId":"public","protectThreshold":0.5,
            "metadata":{"a":"b"},"selector":{"type":"none"},"groupName":"DEFAULT_GROUP",
            "clusters":[{"name":"DEFAULT","healthChecker":{"type":"TCP"},"metadata":{}}]}"#;
        let detail: ServiceDetail = serde_json::from_str(text).unwrap();
        assert_eq!((detail.protect_threshold, detail.clusters.len()), (0.5, 1));
        assert_eq!(detail.selector, Selector::None);
    }

    #[test]
    fn selectors_keep_their_words() {
        let label = Selector::Label { expression: "CONSUMER.label.a=PROVIDER.label.a".to_owned() };
        let text = serde_json::to_string(&label).unwrap();
        assert_eq!(text, r#"{"type":"label","expression":"CONSUMER.label.a=PROVIDER.label.a"}"#);
        let with_labels = r#"{"type":"label","expression":"x","labels":["a"]}"#;
        assert!(serde_json::from_str::<Selector>(with_labels).is_ok());
        let other: Selector = serde_json::from_str(r#"{"type":"odd","more":1}"#).unwrap();
        assert_eq!(other, Selector::Unknown);
    }
}
