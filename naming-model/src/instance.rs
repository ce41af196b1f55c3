//! Instances, lists and beats as they travel in JSON.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use crate::code::{CODE_OK, CODE_UNKNOWN_INSTANCE, DEFAULT_CLUSTER, MAX_WEIGHT};
use crate::key::{InstanceKey, NameError, check_cluster_name};
use crate::record_key::RecordKey;

/// Why an instance was refused before it was sent.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum InstanceError {
    /// The address is empty, holds `#` or white space, begins with `!`, or is longer than 253
    /// bytes.
    #[error("the address {0:?} of the instance is not an IP address or host name")]
    Address(String),
    /// The weight is not a number from 0 to [`MAX_WEIGHT`].
    #[error("the weight {0} of the instance is not in the range 0 to 10000")]
    Weight(f64),
    /// The cluster name has characters that Nacos refuses.
    #[error(transparent)]
    Cluster(#[from] NameError),
}

/// One instance of a service: where it listens and what is known about it.
///
/// Any value of the fields can be shown and compared; [`Self::check`] says whether a registry
/// would take it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Instance {
    /// IPv4 or IPv6 address or host name.
    pub ip: String,
    /// Port, 0 for "none".
    pub port: u16,
    /// Share of the calls this instance should get, 0 (none) to 10,000. Default 1.
    pub weight: f64,
    /// Whether the registry hears it. A registration starts healthy.
    pub healthy: bool,
    /// Whether it should get calls at all. Default true.
    pub enabled: bool,
    /// Kept alive by beats (true, the default) or kept until it is deregistered (false).
    pub ephemeral: bool,
    /// Cluster within the service. Default `DEFAULT`.
    #[serde(rename = "clusterName", deserialize_with = "cluster_or_default")]
    pub cluster: String,
    /// Free labels. Keys that begin with `preserved.` steer the registry.
    #[serde(deserialize_with = "text_map")]
    pub metadata: BTreeMap<String, String>,
}

impl Default for Instance {
    fn default() -> Self {
        Self {
            ip: String::new(),
            port: 0,
            weight: 1.0,
            healthy: true,
            enabled: true,
            ephemeral: true,
            cluster: DEFAULT_CLUSTER.to_owned(),
            metadata: BTreeMap::new(),
        }
    }
}

impl Instance {
    /// An enabled, ephemeral instance of weight 1 in cluster `DEFAULT`, without metadata.
    pub fn new(ip: impl ToString, port: u16) -> Self {
        Self { ip: ip.to_string(), port, ..Self::default() }
    }

    /// The same with another weight.
    #[must_use]
    pub fn weight(mut self, weight: f64) -> Self {
        self.weight = weight;
        self
    }

    /// The same in another cluster.
    #[must_use]
    pub fn cluster(mut self, cluster: impl Into<String>) -> Self {
        self.cluster = cluster.into();
        self
    }

    /// The same with one more metadata entry.
    #[must_use]
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.insert(key.into(), value.into());
        self
    }

    /// The same, open for calls or not.
    #[must_use]
    pub fn enabled(mut self, enabled: bool) -> Self {
        self.enabled = enabled;
        self
    }

    /// The same, kept alive by beats (true) or kept until deregistered (false).
    #[must_use]
    pub fn ephemeral(mut self, ephemeral: bool) -> Self {
        self.ephemeral = ephemeral;
        self
    }

    /// What tells it from the other instances of its service.
    pub fn key(&self) -> InstanceKey<'_> {
        InstanceKey { ip: &self.ip, port: self.port, cluster: &self.cluster }
    }

    /// `host:port`, with brackets around an IPv6 address, be it registered with them or without:
    /// what goes into a URL.
    pub fn authority(&self) -> String {
        match self.ip.contains(':') && !self.ip.starts_with('[') {
            true => format!("[{}]:{}", self.ip, self.port),
            false => format!("{}:{}", self.ip, self.port),
        }
    }

    /// Whether it should get calls: healthy, enabled, and of a weight above 0.
    pub fn is_usable(&self) -> bool {
        self.healthy && self.enabled && self.weight > 0.0
    }

    /// Checks what a registry checks, so that a mistake shows before the network does.
    ///
    /// # Errors
    /// [`InstanceError`] for the first fault found.
    pub fn check(&self) -> Result<(), InstanceError> {
        let bad = |c: char| c == '#' || c.is_whitespace() || c.is_control();
        let is_address = RecordKey::is_address(&self.ip) && !self.ip.contains(bad);
        if self.ip.is_empty() || self.ip.len() > 253 || !is_address {
            return Err(InstanceError::Address(self.ip.clone()));
        }
        if !(0.0..=MAX_WEIGHT).contains(&self.weight) {
            return Err(InstanceError::Weight(self.weight));
        }
        check_cluster_name(&self.cluster)?;
        Ok(())
    }
}

/// The answer to a list request and the `data` of a push.
///
/// `hosts` must be there: servers send objects without it when they could not work out a list,
/// and such an answer must not be taken for an empty one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InstanceList {
    /// `group@@service`; absent in answers that are no lists.
    #[serde(default)]
    pub name: String,
    /// The clusters that were asked for, joined by commas.
    #[serde(default)]
    pub clusters: String,
    /// Milliseconds after which the caller should ask again.
    #[serde(default = "default_cache_millis")]
    pub cache_millis: u64,
    /// Clock of the server when it answered, in milliseconds since 1970; 0 if it does not say.
    #[serde(default)]
    pub last_ref_time: i64,
    /// The instances. Entries that no client could call (a port outside of 0 to 65,535, no
    /// address) are left out: one odd entry must not hide the others.
    #[serde(deserialize_with = "callable_hosts")]
    pub hosts: Vec<Instance>,
}

fn default_cache_millis() -> u64 {
    3_000
}

/// The JSON of a full beat.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Beat {
    /// `group@@service`.
    pub service_name: String,
    /// Address of the instance.
    pub ip: String,
    /// Port of the instance.
    pub port: u16,
    /// Cluster of the instance.
    pub cluster: String,
    /// Weight the instance gets if the beat has to register it.
    pub weight: f64,
    /// Whether the instance is ephemeral; missing means yes.
    pub ephemeral: bool,
    /// Metadata the instance gets if the beat has to register it.
    #[serde(deserialize_with = "text_map")]
    pub metadata: BTreeMap<String, String>,
    /// Milliseconds between beats, informational.
    pub period: u64,
    /// Informational, false.
    pub scheduled: bool,
    /// Informational, false.
    pub stopped: bool,
}

impl Default for Beat {
    fn default() -> Self {
        Self {
            service_name: String::new(),
            ip: String::new(),
            port: 0,
            cluster: String::new(),
            weight: 0.0,
            ephemeral: true,
            metadata: BTreeMap::new(),
            period: crate::code::DEFAULT_BEAT_INTERVAL_MS,
            scheduled: false,
            stopped: false,
        }
    }
}

impl Beat {
    /// The beat of `instance` of the service `grouped` (`group@@service`).
    pub fn of(grouped: &str, instance: &Instance, period_ms: u64) -> Self {
        Self {
            service_name: grouped.to_owned(),
            ip: instance.ip.clone(),
            port: instance.port,
            cluster: instance.cluster.clone(),
            weight: instance.weight,
            ephemeral: instance.ephemeral,
            metadata: instance.metadata.clone(),
            period: period_ms,
            ..Self::default()
        }
    }
}

/// The answer to a beat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BeatReply {
    /// Milliseconds until the next beat.
    pub client_beat_interval: u64,
    /// [`CODE_OK`] or [`CODE_UNKNOWN_INSTANCE`].
    #[serde(default = "code_ok")]
    pub code: u32,
    /// Whether beats without the JSON are enough from now on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub light_beat_enabled: bool,
}

impl BeatReply {
    /// Whether the server does not know the instance, so that it has to be registered again.
    pub fn is_unknown_instance(&self) -> bool {
        self.code == CODE_UNKNOWN_INSTANCE
    }
}

fn code_ok() -> u32 {
    CODE_OK
}

fn cluster_or_default<'de, D: Deserializer<'de>>(source: D) -> Result<String, D::Error> {
    let text = Option::<String>::deserialize(source)?.unwrap_or_default();
    Ok(if text.is_empty() { DEFAULT_CLUSTER.to_owned() } else { text })
}

/// Metadata is a map of texts, but servers show `null` for maps and values, and other writers
/// leave numbers in it.
fn text_map<'de, D: Deserializer<'de>>(source: D) -> Result<BTreeMap<String, String>, D::Error> {
    let map = Option::<BTreeMap<String, serde_json::Value>>::deserialize(source)?;
    let text = |value| match value {
        serde_json::Value::Null => None,
        serde_json::Value::String(text) => Some(text),
        other => Some(other.to_string()),
    };
    let entries = map.unwrap_or_default().into_iter();
    Ok(entries.filter_map(|(key, value)| Some((key, text(value)?))).collect())
}

fn callable_hosts<'de, D: Deserializer<'de>>(source: D) -> Result<Vec<Instance>, D::Error> {
    let hosts = Vec::<serde_json::Value>::deserialize(source)?;
    let callable = |host: serde_json::Value| {
        serde_json::from_value::<Instance>(host).ok().filter(|instance| !instance.ip.is_empty())
    };
    Ok(hosts.into_iter().filter_map(callable).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: &str = r#"{"hosts":[{"ip":"10.0.0.1","port":8080,"valid":true,"healthy":true,
        "marked":false,"instanceId":"x","metadata":{"k":"v"},"enabled":true,"weight":2.5,
        "clusterName":"c1","serviceName":"g@@s","ephemeral":true}],"dom":"g@@s","name":"g@@s",
        "cacheMillis":10000,"lastRefTime":1700000000000,"checksum":"y","useSpecifiedURL":false,
        "clusters":"c1","env":"","metadata":{}}"#;

    #[test]
    fn a_list_of_a_real_server_is_read() {
        let list: InstanceList = serde_json::from_str(FULL).unwrap();
        assert_eq!(list.cache_millis, 10_000);
        assert_eq!(list.last_ref_time, 1_700_000_000_000);
        let expected = Instance::new("10.0.0.1", 8080).weight(2.5).cluster("c1").metadata("k", "v");
        assert_eq!(list.hosts, [expected]);
    }

    #[test]
    fn the_short_list_of_an_unknown_service_is_read() {
        let short = r#"{"name":"g@@s","clusters":"","cacheMillis":3000,"hosts":[]}"#;
        let list: InstanceList = serde_json::from_str(short).unwrap();
        assert_eq!((list.last_ref_time, list.hosts.len()), (0, 0));
    }

    #[test]
    fn an_answer_without_hosts_is_no_empty_list() {
        let failed = r#"{"name":"g@@s","lastRefTime":5,"cacheMillis":10000}"#;
        assert!(serde_json::from_str::<InstanceList>(failed).is_err());
        assert!(serde_json::from_str::<InstanceList>("{}").is_err());
    }

    #[test]
    fn one_odd_host_does_not_hide_the_others() {
        let text = r#"{"name":"g@@s","hosts":[{"ip":"a","port":-1},{"port":80},
            {"ip":"b","port":1,"metadata":null},{"ip":"c","port":2,"metadata":{"n":7,"z":null}},7]}"#;
        let list: InstanceList = serde_json::from_str(text).unwrap();
        let names: Vec<_> = list.hosts.iter().map(|host| host.ip.as_str()).collect();
        assert_eq!(names, ["b", "c"]);
        assert_eq!(list.hosts[1].metadata, BTreeMap::from([("n".to_owned(), "7".to_owned())]));
    }

    #[test]
    fn an_instance_survives_its_json() {
        let instance = Instance::new("::1", 9).weight(0.5).metadata("a", "b").enabled(false);
        let text = serde_json::to_string(&instance).unwrap();
        assert_eq!(serde_json::from_str::<Instance>(&text).unwrap(), instance);
        assert_eq!(instance.authority(), "[::1]:9");
        assert_eq!(Instance::new("[::1]", 9).authority(), "[::1]:9");
    }

    #[test]
    fn a_bad_instance_is_refused_before_it_is_sent() {
        let good = Instance::new("10.0.0.1", 80);
        assert_eq!(good.check(), Ok(()));
        let weight = |weight| good.clone().weight(weight).check();
        assert!(weight(f64::NAN).is_err() && weight(-1.0).is_err() && weight(10_000.5).is_err());
        assert!(Instance::new("", 80).check().is_err());
        assert!(Instance::new("a b", 80).check().is_err());
        assert!(Instance::new("!a", 80).check().is_err());
        assert!(good.clone().cluster("a_b").check().is_err());
    }

    #[test]
    fn beat_replies_are_read_in_both_forms() {
        let known = r#"{"clientBeatInterval":5000,"code":10200,"lightBeatEnabled":true}"#;
        let reply: BeatReply = serde_json::from_str(known).unwrap();
        assert!(reply.light_beat_enabled && !reply.is_unknown_instance());
        assert_eq!(serde_json::to_string(&reply).unwrap(), known);
        let unknown = r#"{"clientBeatInterval":5000,"code":20404}"#;
        let reply: BeatReply = serde_json::from_str(unknown).unwrap();
        assert!(!reply.light_beat_enabled && reply.is_unknown_instance());
        assert_eq!(serde_json::to_string(&reply).unwrap(), unknown);
        assert!(serde_json::from_str::<BeatReply>("{}").is_err());
    }
}
