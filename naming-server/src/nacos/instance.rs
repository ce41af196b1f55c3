//! One instance, as Java servers tell it to each other.

use std::collections::BTreeMap;

use naming_model::{
    DEFAULT_BEAT_INTERVAL_MS, DEFAULT_BEAT_TIMEOUT_MS, DEFAULT_CLUSTER, DEFAULT_DELETE_TIMEOUT_MS,
    MAX_WEIGHT, META_BEAT_INTERVAL, META_BEAT_TIMEOUT, META_DELETE_TIMEOUT, META_ID_GENERATOR,
    MIN_NONZERO_WEIGHT, ServiceKey,
};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::scalar::{Given, double, flag, given, text, whole};
use super::{BadMessage, push_ascii_string};
use crate::registry::{push_bool, push_double, push_number};

/// An instance in the list of a service. Has been read, not checked: address, port and cluster can
/// be anything that Java stores, which is more than this server does.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PeerInstance {
    /// Not blank.
    pub(crate) ip: String,
    /// Any number; Java checks none.
    pub(crate) port: i32,
    /// Not empty.
    pub(crate) cluster: String,
    /// As Java holds it: above 10,000 cut, tiny ones raised. May be negative or not a number.
    pub(crate) weight: f64,
    /// As the owner of the service judged.
    pub(crate) healthy: bool,
    /// Whether clients should use it.
    pub(crate) enabled: bool,
    /// Whether it lives by its beats.
    pub(crate) ephemeral: bool,
    /// Always false today; enters the order of checksums.
    pub(crate) marked: bool,
    /// `None` where there is `null` instead of a map. Entries that are `null` have been dropped:
    /// they count in Java's checksums but are not in its messages.
    pub(crate) metadata: Option<BTreeMap<String, String>>,
    /// When the owner last heard it, by the owner's clock, in milliseconds since the epoch; `None`
    /// if it does not say.
    pub(crate) last_beat_ms: Option<i64>,
    /// `None` if it has none, as some registered long ago.
    pub(crate) id: Option<String>,
    /// Name of the application.
    pub(crate) app: Option<String>,
    /// Tenant of the application.
    pub(crate) tenant: Option<String>,
}

/// The fields that count. Others are ignored, as those that Java derives when it writes.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields<'a> {
    #[serde(borrow, default, deserialize_with = "given")]
    ip: Given<'a>,
    #[serde(borrow, default, deserialize_with = "given")]
    port: Given<'a>,
    #[serde(borrow, default, deserialize_with = "given")]
    cluster_name: Given<'a>,
    #[serde(borrow, default, deserialize_with = "given")]
    weight: Given<'a>,
    #[serde(borrow, default, deserialize_with = "given")]
    healthy: Given<'a>,
    #[serde(borrow, default, deserialize_with = "given")]
    enabled: Given<'a>,
    #[serde(borrow, default, deserialize_with = "given")]
    ephemeral: Given<'a>,
    #[serde(borrow, default, deserialize_with = "given")]
    marked: Given<'a>,
    #[serde(borrow, default, deserialize_with = "given")]
    metadata: Given<'a>,
    #[serde(borrow, default, deserialize_with = "given")]
    last_beat: Given<'a>,
    #[serde(borrow, default, deserialize_with = "given")]
    instance_id: Given<'a>,
    #[serde(borrow, default, deserialize_with = "given")]
    app: Given<'a>,
    #[serde(borrow, default, deserialize_with = "given")]
    tenant: Given<'a>,
}

impl PeerInstance {
    /// Reads one element of a list.
    ///
    /// # Errors
    /// `null`, an element without address, a field of another kind.
    pub(super) fn parse(element: &RawValue) -> Result<Self, BadMessage> {
        if element.get() == "null" {
            return Err(BadMessage::new("an instance is null"));
        }
        let fields: Fields<'_> = serde_json::from_str(element.get())
            .map_err(|error| BadMessage::of_json("an instance", &error))?;
        let some_text = |name, value: Given<'_>| value.map(|value| text(name, value)).transpose();
        let some_flag =
            |name, value: Given<'_>, default| value.map_or(Ok(default), |value| flag(name, value));
        let ip = some_text("ip", fields.ip)?.flatten().filter(|ip| !ip.trim().is_empty());
        let cluster = some_text("clusterName", fields.cluster_name)?.flatten();
        let weight = fields.weight.map_or(Ok(1.0), |value| double("weight", value))?;
        Ok(Self {
            ip: ip.ok_or_else(|| BadMessage::new("an instance has no ip"))?,
            port: fields.port.map_or(Ok(0), |value| whole("port", value))?,
            cluster: cluster
                .filter(|cluster| !cluster.is_empty())
                .unwrap_or_else(|| DEFAULT_CLUSTER.to_owned()),
            weight: held_weight(weight),
            healthy: some_flag("healthy", fields.healthy, true)?,
            enabled: some_flag("enabled", fields.enabled, true)?,
            ephemeral: some_flag("ephemeral", fields.ephemeral, true)?,
            marked: some_flag("marked", fields.marked, false)?,
            metadata: fields.metadata.map_or_else(|| Ok(Some(BTreeMap::new())), metadata)?,
            last_beat_ms: fields.last_beat.map(|value| whole("lastBeat", value)).transpose()?,
            id: some_text("instanceId", fields.instance_id)?.flatten(),
            app: some_text("app", fields.app)?.flatten(),
            tenant: some_text("tenant", fields.tenant)?.flatten(),
        })
    }

    /// Appends it as a JSON object. `now_ms` stands in for a beat that is not told.
    pub(super) fn render(&self, out: &mut String, service: &ServiceKey, now_ms: i64) {
        out.push('{');
        if let Some(id) = &self.id {
            push_text(out, "\"instanceId\":", id);
            out.push(',');
        }
        push_text(out, "\"ip\":", &self.ip);
        out.push_str(",\"port\":");
        push_number(out, self.port);
        out.push_str(",\"weight\":");
        push_weight(out, self.weight);
        push_flag(out, ",\"healthy\":", self.healthy);
        push_flag(out, ",\"enabled\":", self.enabled);
        push_flag(out, ",\"ephemeral\":", self.ephemeral);
        push_text(out, ",\"clusterName\":", &self.cluster);
        push_text(out, ",\"serviceName\":", service.grouped());
        if let Some(metadata) = &self.metadata {
            out.push_str(",\"metadata\":");
            push_map(out, metadata);
        }
        out.push_str(",\"lastBeat\":");
        push_number(out, self.last_beat_ms.unwrap_or(now_ms));
        push_flag(out, ",\"marked\":", self.marked);
        for (name, value) in [(",\"tenant\":", &self.tenant), (",\"app\":", &self.app)] {
            if let Some(value) = value {
                push_text(out, name, value);
            }
        }
        self.push_derived(out);
        out.push('}');
    }

    /// Appends what Java works out of the metadata. Nobody reads it; tools of operators may.
    fn push_derived(&self, out: &mut String) {
        out.push_str(",\"instanceHeartBeatInterval\":");
        push_number(out, self.millis(META_BEAT_INTERVAL, DEFAULT_BEAT_INTERVAL_MS));
        let generator = match self.metadata.as_ref().filter(|metadata| !metadata.is_empty()) {
            None => Some("simple"),
            Some(metadata) => metadata.get(META_ID_GENERATOR).map(String::as_str),
        };
        if let Some(generator) = generator {
            push_text(out, ",\"instanceIdGenerator\":", generator);
        }
        out.push_str(",\"instanceHeartBeatTimeOut\":");
        push_number(out, self.millis(META_BEAT_TIMEOUT, DEFAULT_BEAT_TIMEOUT_MS));
        out.push_str(",\"ipDeleteTimeout\":");
        push_number(out, self.millis(META_DELETE_TIMEOUT, DEFAULT_DELETE_TIMEOUT_MS));
    }

    fn millis(&self, key: &str, default: u64) -> u64 {
        let value = self.metadata.as_ref().and_then(|metadata| metadata.get(key));
        let digits = |text: &&String| text.bytes().all(|byte| byte.is_ascii_digit());
        value.filter(digits).and_then(|text| text.parse().ok()).unwrap_or(default)
    }
}

/// The weight that Java holds of one that was sent.
fn held_weight(weight: f64) -> f64 {
    if weight > MAX_WEIGHT {
        MAX_WEIGHT
    } else if weight > 0.0 && weight < MIN_NONZERO_WEIGHT {
        MIN_NONZERO_WEIGHT
    } else {
        weight
    }
}

fn metadata(value: &RawValue) -> Result<Option<BTreeMap<String, String>>, BadMessage> {
    let raw: Option<BTreeMap<String, &RawValue>> = serde_json::from_str(value.get())
        .map_err(|error| BadMessage::of_json("metadata", &error))?;
    let Some(raw) = raw else { return Ok(None) };
    let mut map = BTreeMap::new();
    for (key, value) in raw {
        if let Some(value) = text("a value of the metadata", value)? {
            map.insert(key, value);
        }
    }
    Ok(Some(map))
}

fn push_text(out: &mut String, name: &str, value: &str) {
    out.push_str(name);
    push_ascii_string(out, value);
}

fn push_flag(out: &mut String, name: &str, value: bool) {
    out.push_str(name);
    push_bool(out, value);
}

/// Appends a weight; what is not finite comes as text, since JSON has no such number.
pub(super) fn push_weight(out: &mut String, weight: f64) {
    if weight.is_finite() {
        push_double(out, weight);
    } else {
        out.push('"');
        out.push_str(not_finite(weight));
        out.push('"');
    }
}

/// Java's text of a number that is not finite.
pub(super) fn not_finite(number: f64) -> &'static str {
    if number.is_nan() {
        "NaN"
    } else if number > 0.0 {
        "Infinity"
    } else {
        "-Infinity"
    }
}

fn push_map(out: &mut String, map: &BTreeMap<String, String>) {
    out.push('{');
    for (n, (key, value)) in map.iter().enumerate() {
        if n > 0 {
            out.push(',');
        }
        push_ascii_string(out, key);
        out.push(':');
        push_ascii_string(out, value);
    }
    out.push('}');
}
