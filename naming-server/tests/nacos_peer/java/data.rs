//! What a Java server keeps of a service, and how it says so.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use md5::{Digest, Md5};
use serde_json::{Value, json};

/// Before the name of a service in the keys of its list.
pub(crate) const KEY_PREFIX: &str = "com.alibaba.nacos.naming.iplist.ephemeral.";

/// An ephemeral instance.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Instance {
    pub(crate) ip: String,
    pub(crate) port: i64,
    pub(crate) weight: f64,
    pub(crate) healthy: bool,
    pub(crate) enabled: bool,
    pub(crate) cluster: String,
    pub(crate) metadata: BTreeMap<String, String>,
    /// Milliseconds since 1970. Others get it with the list, and not again with each beat.
    pub(crate) last_beat_ms: u64,
}

/// The namespace, and the name with its group.
pub(crate) fn split_key(key: &str) -> Option<(&str, &str)> {
    key.strip_prefix(KEY_PREFIX)?.split_once("##")
}

impl Instance {
    pub(crate) fn place(&self) -> String {
        format!("{}:{}", self.ip, self.port)
    }

    pub(crate) fn is_same_place(&self, other: &Self) -> bool {
        (&self.ip, self.port, &self.cluster) == (&other.ip, other.port, &other.cluster)
    }

    /// By which lists are sorted and changes are seen. Weights are written as Rust does it, which
    /// is as Java does it for all that the tests use.
    pub(crate) fn text(&self) -> String {
        let port = if self.port > 0 { format!(":{}", self.port) } else { String::new() };
        format!(
            "{}{port}:unknown:{}_{:?}_{}_false_{}",
            self.ip, self.cluster, self.weight, self.healthy, self.cluster
        )
    }

    pub(crate) fn timeout(&self, name: &str, default_ms: u64) -> Duration {
        let set = self.metadata.get(name).and_then(|text| text.parse().ok());
        Duration::from_millis(set.unwrap_or(default_ms))
    }

    fn to_json(&self, service: &str) -> Value {
        let (port, cluster) = (self.port, &self.cluster);
        json!({
            "instanceId": format!("{}#{port}#{cluster}#{service}", self.ip),
            "ip": self.ip, "port": port, "weight": self.weight, "healthy": self.healthy,
            "enabled": self.enabled, "ephemeral": true, "clusterName": cluster,
            "serviceName": service, "metadata": self.metadata, "lastBeat": self.last_beat_ms,
            "marked": false, "app": "unknown", "instanceHeartBeatInterval": 5_000,
            "instanceHeartBeatTimeOut": 15_000, "ipDeleteTimeout": 30_000,
        })
    }

    /// Every field must be there with its kind: Java would fill in what is missing, and differ.
    fn from_json(value: &Value, service: &str) -> Result<Self, String> {
        let bad = |field: &str| format!("{field} of an instance of {service}: {value}");
        let text = |field: &str| value[field].as_str().map(str::to_owned).ok_or_else(|| bad(field));
        let flag = |field: &str| value[field].as_bool().ok_or_else(|| bad(field));
        if !flag("ephemeral")? || flag("marked")? || text("serviceName")? != service {
            return Err(bad("ephemeral, marked or serviceName"));
        }
        text("instanceId")?;
        let metadata = value["metadata"].as_object().ok_or_else(|| bad("metadata"))?;
        let pair = |(name, value): (&String, &Value)| {
            Ok((name.clone(), value.as_str().ok_or_else(|| bad("metadata"))?.to_owned()))
        };
        Ok(Self {
            ip: text("ip")?,
            port: value["port"].as_i64().ok_or_else(|| bad("port"))?,
            weight: value["weight"].as_f64().ok_or_else(|| bad("weight"))?,
            healthy: flag("healthy")?,
            enabled: flag("enabled")?,
            cluster: text("clusterName")?,
            metadata: metadata.iter().map(pair).collect::<Result<_, String>>()?,
            last_beat_ms: value["lastBeat"].as_u64().ok_or_else(|| bad("lastBeat"))?,
        })
    }
}

/// The time by the clock on the wall, in milliseconds.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}

/// All lists with these keys.
pub(crate) fn render_datums<'a>(
    lists: impl Iterator<Item = (&'a String, &'a Vec<Instance>)>,
) -> String {
    let datum = |(key, list): (&String, &Vec<Instance>)| {
        let (_, service) = split_key(key).unwrap();
        let list: Vec<Value> = list.iter().map(|instance| instance.to_json(service)).collect();
        (key.clone(), json!({"key": key, "value": {"instanceList": list}, "timestamp": 1}))
    };
    Value::Object(lists.map(datum).collect()).to_string()
}

/// Reads what another member sent; whatever would harm a Java server is an error.
pub(crate) fn parse_datums(text: &str) -> Result<Vec<(String, Vec<Instance>)>, String> {
    let value: Value = serde_json::from_str(text).map_err(|error| format!("{error}: {text}"))?;
    let map = value.as_object().ok_or_else(|| format!("no map: {text}"))?;
    let mut lists = Vec::new();
    for (key, datum) in map {
        let (_, service) = split_key(key).ok_or_else(|| format!("no key of a list: {key}"))?;
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "@.:_-".contains(c);
        if !service.contains("@@") || !service.chars().all(is_plain) {
            return Err(format!("Java refuses this name and all behind it: {service}"));
        }
        if datum["key"] != *key || !datum["timestamp"].is_u64() {
            return Err(format!("Java needs key and timestamp: {datum}"));
        }
        let list = datum["value"]["instanceList"].as_array();
        let list = list.ok_or_else(|| format!("no list: {datum}"))?;
        let list = list.iter().map(|value| Instance::from_json(value, service));
        lists.push((key.clone(), list.collect::<Result<_, _>>()?));
    }
    Ok(lists)
}

/// The checksum of a list.
pub(crate) fn list_checksum(list: &[Instance]) -> String {
    let mut sorted: Vec<&Instance> = list.iter().collect();
    sorted.sort_by_key(|instance| instance.text());
    let line = |instance: &&Instance| {
        let metadata: String =
            instance.metadata.iter().map(|(name, value)| format!("{name}:{value},")).collect();
        let Instance { weight, healthy, enabled, cluster, .. } = instance;
        format!("{}_{weight:?}_{healthy}_{enabled}_{cluster}_{metadata},", instance.place())
    };
    md5_hex(&sorted.iter().map(line).collect::<String>())
}

/// The checksum of a service as status messages carry it; of services with one cluster.
pub(crate) fn service_checksum(service: &str, list: &[Instance]) -> String {
    let mut sorted: Vec<&Instance> = list.iter().collect();
    sorted.sort_by_key(|instance| instance.text());
    let line = |instance: &&Instance| {
        let Instance { weight, healthy, cluster, .. } = instance;
        format!("{}_{weight:?}_{healthy}_{cluster},", instance.place())
    };
    let lines: String = sorted.iter().map(line).collect();
    let unhealthy = list.iter().filter(|instance| !instance.healthy).count();
    let count = list.len();
    md5_hex(&format!(
        "{{\"invalidIPCount\":{unhealthy},\"name\":\"{service}\",\"ipCount\":{count},\
         \"owners\":[],\"protectThreshold\":0.0,\"clusters\":[{{\"healthChecker\":{{}},\
         \"defIPPort\":80,\"defCkport\":80,\"name\":\"DEFAULT\",\"useIPPort4Check\":true,\
         \"sitegroup\":\"\"}}]}}{lines}"
    ))
}

fn md5_hex(text: &str) -> String {
    Md5::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Which of so many owners a service has.
pub(crate) fn owner_index(service: &str, owners: usize) -> usize {
    let hash = service
        .encode_utf16()
        .fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    (hash % i32::MAX).unsigned_abs() as usize % owners
}

#[test]
fn the_stand_in_counts_as_java_does() {
    assert_eq!(owner_index("DEFAULT_GROUP@@nacos.test.1", 3), 0);
    assert_eq!(owner_index("DEFAULT_GROUP@@demo", 3), 1);
    assert_eq!(owner_index("polygenelubricants", 3), 1);
    let instance = Instance {
        ip: "1.1.1.1".into(),
        port: 8080,
        weight: 1.0,
        healthy: true,
        enabled: true,
        cluster: "DEFAULT".into(),
        metadata: BTreeMap::new(),
        last_beat_ms: 0,
    };
    assert_eq!(list_checksum(&[]), "d41d8cd98f00b204e9800998ecf8427e");
    let list = [instance];
    assert_eq!(list_checksum(&list), "7631f88e79d10bf2abf1da0b81748118");
    assert_eq!(service_checksum("DEFAULT_GROUP@@demo", &list), "0ee44c67cdaeec9a8027cedfd6e84741");
}
