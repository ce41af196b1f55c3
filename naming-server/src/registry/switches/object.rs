//! The switches as one JSON object, as they are shown and set at once.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use super::versions::{PushVersions, Version};
use super::{CheckPace, ServerStatus, SwitchValues};
use crate::registry::RegistryError;
use crate::text::cut;

/// The name every Nacos server shows.
const NAME: &str = "00-00---000-NACOS_SWITCH_DOMAIN-000---00-00";
/// Characters of a value that an error shows.
const MAX_SHOWN: usize = 200;

/// The fields with their names on the wire. What is missing has its default.
#[derive(Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct SwitchObject {
    name: Option<String>,
    masters: Option<Vec<String>>,
    ad_weight_map: BTreeMap<String, i32>,
    default_push_cache_millis: i64,
    client_beat_interval: i64,
    default_cache_millis: i64,
    distro_threshold: f32,
    health_check_enabled: bool,
    auto_change_health_check_enabled: bool,
    distro_enabled: bool,
    enable_standalone: bool,
    push_enabled: bool,
    check_times: i64,
    http_health_params: Pace,
    tcp_health_params: Pace,
    mysql_health_params: Pace,
    incremental_list: Vec<String>,
    server_status_synchronization_period_millis: i64,
    service_status_synchronization_period_millis: i64,
    #[serde(rename = "disableAddIP")]
    disable_add_ip: bool,
    send_beat_only: bool,
    light_beat_enabled: bool,
    limited_url_map: InOrder,
    distro_server_expired_millis: i64,
    push_go_version: String,
    push_java_version: String,
    push_python_version: String,
    push_c_version: String,
    push_c_sharp_version: String,
    enable_authentication: bool,
    overridden_server_status: Option<String>,
    default_instance_ephemeral: bool,
    health_check_white_list: Vec<String>,
    checksum: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Pace {
    max: i64,
    min: i64,
    factor: f32,
}

/// A map whose order counts.
#[derive(Debug)]
struct InOrder(Vec<(String, u16)>);

impl Serialize for InOrder {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Of two with one name the first counts, and an object has room for one.
        let mut seen = BTreeSet::new();
        let first = self.0.iter().filter(|(prefix, _)| seen.insert(prefix));
        serializer.collect_map(first.map(|(prefix, status)| (prefix, status)))
    }
}

impl<'de> Deserialize<'de> for InOrder {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;

        impl<'de> Visitor<'de> for Pairs {
            type Value = InOrder;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object of statuses")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<InOrder, M::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(InOrder(pairs))
            }
        }

        deserializer.deserialize_map(Pairs)
    }
}

/// The fields of the object by name, each as JSON: what one can set.
pub(crate) type Fields = BTreeMap<String, Box<RawValue>>;

/// Fields of the object that say nothing, or keep what they have.
const FIXED: [&str; 3] = ["name", "checksum", "enableStandalone"];

impl Default for SwitchObject {
    fn default() -> Self {
        Self::of(&SwitchValues::default())
    }
}

impl SwitchObject {
    /// The object that shows these values.
    pub(crate) fn of(values: &SwitchValues) -> Self {
        let versions = &values.push_versions;
        Self {
            name: Some(NAME.to_owned()),
            masters: values.masters.clone(),
            ad_weight_map: values.address_weights.clone(),
            default_push_cache_millis: signed(values.push_cache_ms),
            client_beat_interval: signed(values.client_beat_interval_ms),
            default_cache_millis: signed(values.default_cache_ms),
            distro_threshold: values.distro_threshold,
            health_check_enabled: values.health_check_enabled,
            auto_change_health_check_enabled: values.auto_change_health_check_enabled,
            distro_enabled: values.distro_enabled,
            enable_standalone: values.enable_standalone,
            push_enabled: values.push_enabled,
            check_times: values.check_times.into(),
            http_health_params: values.http_check.into(),
            tcp_health_params: values.tcp_check.into(),
            mysql_health_params: values.mysql_check.into(),
            incremental_list: values.incremental_list.clone(),
            server_status_synchronization_period_millis: signed(values.server_status_period_ms),
            service_status_synchronization_period_millis: signed(values.service_status_period_ms),
            disable_add_ip: values.disable_add_ip,
            send_beat_only: values.send_beat_only,
            light_beat_enabled: values.light_beat_enabled,
            limited_url_map: InOrder(values.limited_urls.clone()),
            distro_server_expired_millis: signed(values.distro_server_expired_ms),
            push_go_version: versions.go.to_string(),
            push_java_version: versions.java.to_string(),
            push_python_version: versions.python.to_string(),
            push_c_version: versions.c.to_string(),
            push_c_sharp_version: versions.csharp.to_string(),
            enable_authentication: values.enable_authentication,
            overridden_server_status: match values.overridden_status {
                Some(status) => Some(status.name().to_owned()),
                None => values.status_taken_back.then(String::new),
            },
            default_instance_ephemeral: values.default_instance_ephemeral,
            health_check_white_list: values.health_check_white_list.clone(),
            checksum: None,
        }
    }

    /// The object as fields.
    pub(crate) fn fields(values: &SwitchValues) -> Fields {
        // Strings and finite numbers under fixed names: nothing that has no JSON form.
        let text = serde_json::to_string(&Self::of(values)).unwrap_or_default();
        let mut fields: Fields = serde_json::from_str(&text).unwrap_or_default();
        fields.retain(|name, _| !FIXED.contains(&name.as_str()));
        fields
    }

    /// The values that fields stand for.
    ///
    /// # Errors
    /// `Invalid` for a field that is unknown or not within its range.
    pub(crate) fn read(fields: &Fields) -> Result<SwitchValues, RegistryError> {
        let bad = |error: serde_json::Error| RegistryError::invalid(error.to_string());
        let text = serde_json::to_string(fields).map_err(bad)?;
        let object: Self = serde_json::from_str(&text).map_err(bad)?;
        let values = object.into_values(&SwitchValues::default())?;
        values.check()?;
        Ok(values)
    }

    /// The values it stands for. Name and checksum say nothing, and `enableStandalone` is left
    /// as it is, as with Nacos. Ranges are not checked here.
    ///
    /// # Errors
    /// `Invalid` for what is no version or status.
    pub(crate) fn into_values(self, known: &SwitchValues) -> Result<SwitchValues, RegistryError> {
        let status = self.overridden_server_status.as_deref();
        Ok(SwitchValues {
            masters: self.masters,
            address_weights: self.ad_weight_map,
            push_cache_ms: unsigned(self.default_push_cache_millis),
            client_beat_interval_ms: unsigned(self.client_beat_interval),
            default_cache_ms: unsigned(self.default_cache_millis),
            distro_threshold: self.distro_threshold,
            health_check_enabled: self.health_check_enabled,
            auto_change_health_check_enabled: self.auto_change_health_check_enabled,
            distro_enabled: self.distro_enabled,
            enable_standalone: known.enable_standalone,
            push_enabled: self.push_enabled,
            check_times: u32::try_from(unsigned(self.check_times)).unwrap_or(u32::MAX),
            http_check: self.http_health_params.into(),
            tcp_check: self.tcp_health_params.into(),
            mysql_check: self.mysql_health_params.into(),
            incremental_list: self.incremental_list,
            server_status_period_ms: unsigned(self.server_status_synchronization_period_millis),
            service_status_period_ms: unsigned(self.service_status_synchronization_period_millis),
            disable_add_ip: self.disable_add_ip,
            send_beat_only: self.send_beat_only,
            light_beat_enabled: self.light_beat_enabled,
            limited_urls: self.limited_url_map.0,
            distro_server_expired_ms: unsigned(self.distro_server_expired_millis),
            push_versions: PushVersions {
                java: parse_version(&self.push_java_version)?,
                python: parse_version(&self.push_python_version)?,
                c: parse_version(&self.push_c_version)?,
                go: parse_version(&self.push_go_version)?,
                csharp: parse_version(&self.push_c_sharp_version)?,
            },
            enable_authentication: self.enable_authentication,
            status_taken_back: status.is_some_and(str::is_empty),
            overridden_status: status.map_or(Ok(None), parse_status)?,
            default_instance_ephemeral: self.default_instance_ephemeral,
            health_check_white_list: self.health_check_white_list,
        })
    }
}

impl From<CheckPace> for Pace {
    fn from(pace: CheckPace) -> Self {
        Self { max: signed(pace.max_ms), min: signed(pace.min_ms), factor: pace.factor }
    }
}

impl From<Pace> for CheckPace {
    fn from(pace: Pace) -> Self {
        Self { max_ms: unsigned(pace.max), min_ms: unsigned(pace.min), factor: pace.factor }
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Negative numbers are as far out of every range as 0 is.
pub(crate) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// Three numbers with dots between them.
pub(crate) fn parse_version(text: &str) -> Result<Version, RegistryError> {
    let number = |part: &str| {
        part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse().ok()).flatten()
    };
    let mut parts = text.split('.').map(number);
    match (parts.next().flatten(), parts.next().flatten(), parts.next().flatten(), parts.next()) {
        (Some(major), Some(minor), Some(patch), None) => Ok(Version(major, minor, patch)),
        _ => Err(RegistryError::invalid("illegal version, must match: [0-9]+\\.[0-9]+\\.[0-9]+")),
    }
}

/// A status name; `null` and nothing for none.
pub(crate) fn parse_status(text: &str) -> Result<Option<ServerStatus>, RegistryError> {
    if text.is_empty() || text == "null" {
        return Ok(None);
    }
    ServerStatus::named(text).map(Some).ok_or_else(|| {
        let names = ServerStatus::ALL.map(ServerStatus::name).join(", ");
        let text = cut(text, MAX_SHOWN);
        RegistryError::invalid(format!("illegal server status \"{text}\", must be one of {names}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_have_three_numbers() {
        assert_eq!(parse_version("1.20.3").unwrap(), Version(1, 20, 3));
        for bad in ["", "1", "1.2", "1.2.3.4", "a.b.c", "1..2", "+1.2.3", "99999999999.1.1"] {
            assert!(parse_version(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_shown_can_be_set() {
        let values = SwitchValues {
            limited_urls: vec![("/b".to_owned(), 403), ("/a".to_owned(), 503)],
            overridden_status: ServerStatus::named("READ_ONLY"),
            client_beat_interval_ms: 7_000,
            ..SwitchValues::default()
        };
        let text = serde_json::to_string(&SwitchObject::of(&values)).unwrap();
        let object: SwitchObject = serde_json::from_str(&text).unwrap();
        assert_eq!(object.into_values(&SwitchValues::default()).unwrap(), values);
        assert_eq!(SwitchObject::read(&SwitchObject::fields(&values)).unwrap(), values);
    }
}
