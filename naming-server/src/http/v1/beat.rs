//! Beats, and their `beat` parameter: the whole instance as JSON.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use naming_model::{CODE_OK, CODE_UNKNOWN_INSTANCE, DEFAULT_CLUSTER, InstanceKey, ServiceKey};
use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};
use serde_json::value::RawValue;

use super::Api;
use crate::http::{Answer, ApiError, Call, Reply};
use crate::registry::{
    BeatAnswer, Instance, Metadata, Registry, check_address, check_kind, check_port,
};

/// What is read of a beat; other fields are ignored. Scalars may come as numbers or as text.
#[derive(Debug, Deserialize)]
pub(in crate::http) struct BeatForm<'a> {
    #[serde(default, borrow, deserialize_with = "text")]
    pub(in crate::http) ip: Option<Cow<'a, str>>,
    #[serde(default, deserialize_with = "whole_number")]
    pub(in crate::http) port: i32,
    #[serde(default, borrow, deserialize_with = "text")]
    cluster: Option<Cow<'a, str>>,
    /// Nacos counts a missing weight as 0, which makes an instance that nobody chooses.
    #[serde(default = "one", deserialize_with = "number")]
    pub(in crate::http) weight: f64,
    #[serde(default, borrow)]
    metadata: Option<&'a RawValue>,
    #[serde(default = "yes", deserialize_with = "flag")]
    pub(in crate::http) ephemeral: bool,
}

/// Reads a beat.
///
/// # Errors
/// 400 with the text of Nacos if it is no JSON object of the right types.
pub(in crate::http) fn parse_beat(text: &str) -> Result<BeatForm<'_>, ApiError> {
    // serde would read a list as the fields in order.
    if !text.trim_start().starts_with('{') {
        return Err(malformed("expected an object"));
    }
    serde_json::from_str(text).map_err(|error| malformed(&error.to_string()))
}

fn malformed(cause: &str) -> ApiError {
    ApiError::bad_request(format!(
        "errCode: 101, errMsg: Nacos deserialize for class \
         [com.alibaba.nacos.naming.healthcheck.RsInfo] failed. Param 'beat' is illegal: {cause}"
    ))
}

impl BeatForm<'_> {
    /// The cluster, if it names one.
    pub(in crate::http) fn cluster(&self) -> Option<&str> {
        self.cluster.as_deref().map(str::trim).filter(|cluster| !cluster.is_empty())
    }

    /// The metadata as JSON text, if it has any.
    pub(in crate::http) fn metadata(&self) -> Option<&str> {
        self.metadata.map(RawValue::get)
    }
}

fn one() -> f64 {
    1.0
}

fn yes() -> bool {
    true
}

/// A scalar as it stands in JSON.
enum Scalar<'a> {
    Null,
    Bool(bool),
    Integer(i64),
    Number(f64),
    Text(Cow<'a, str>),
}

struct ScalarVisitor;

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = Scalar<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a scalar")
    }
    fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(Scalar::Null)
    }
    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Scalar::Bool(value))
    }
    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Scalar::Integer(value))
    }
    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Self::Value, E> {
        Ok(Scalar::Integer(i64::try_from(value).unwrap_or(i64::MAX)))
    }
    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Self::Value, E> {
        Ok(Scalar::Number(value))
    }
    fn visit_borrowed_str<E: de::Error>(self, value: &'de str) -> Result<Self::Value, E> {
        Ok(Scalar::Text(Cow::Borrowed(value)))
    }
    fn visit_str<E: de::Error>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Scalar::Text(Cow::Owned(value.to_owned())))
    }
}

fn text<'de, D: Deserializer<'de>>(source: D) -> Result<Option<Cow<'de, str>>, D::Error> {
    Ok(match source.deserialize_any(ScalarVisitor)? {
        Scalar::Null => None,
        Scalar::Text(text) => Some(text),
        Scalar::Bool(value) => Some(value.to_string().into()),
        Scalar::Integer(value) => Some(value.to_string().into()),
        Scalar::Number(value) => Some(value.to_string().into()),
    })
}

fn whole_number<'de, D: Deserializer<'de>>(source: D) -> Result<i32, D::Error> {
    let bad = || de::Error::custom("port is no whole number");
    match source.deserialize_any(ScalarVisitor)? {
        Scalar::Null => Ok(0),
        Scalar::Integer(value) => i32::try_from(value).map_err(|_| bad()),
        Scalar::Text(text) => text.trim().parse().map_err(|_| bad()),
        Scalar::Bool(_) | Scalar::Number(_) => Err(bad()),
    }
}

fn number<'de, D: Deserializer<'de>>(source: D) -> Result<f64, D::Error> {
    let bad = || de::Error::custom("weight is no number");
    match source.deserialize_any(ScalarVisitor)? {
        Scalar::Null => Ok(one()),
        Scalar::Integer(value) => Ok(value as f64),
        Scalar::Number(value) => Ok(value),
        Scalar::Text(text) => text.trim().parse().map_err(|_| bad()),
        Scalar::Bool(_) => Err(bad()),
    }
}

fn flag<'de, D: Deserializer<'de>>(source: D) -> Result<bool, D::Error> {
    match source.deserialize_any(ScalarVisitor)? {
        Scalar::Null => Ok(yes()),
        Scalar::Bool(value) => Ok(value),
        Scalar::Text(text) => Ok(text.trim().eq_ignore_ascii_case("true")),
        Scalar::Integer(value) => Ok(value != 0),
        Scalar::Number(_) => Err(de::Error::custom("ephemeral is neither true nor false")),
    }
}

impl Api {
    pub(super) fn beat(&self, call: &Call<'_>) -> Result<Answer, ApiError> {
        let service = call.service()?;
        self.take_beat(call, &service)
    }

    pub(super) fn legacy_beat(&self, call: &Call<'_>) -> Result<Answer, ApiError> {
        let service = self.legacy_service(call)?;
        self.take_beat(call, &service)
    }

    fn take_beat(&self, call: &Call<'_>, service: &ServiceKey) -> Result<Answer, ApiError> {
        let params = call.params;
        let text = params.optional("beat");
        let form = text.as_deref().map(parse_beat).transpose()?;
        let ip = match form.as_ref().and_then(|form| form.ip.as_deref()) {
            Some(ip) => Cow::Borrowed(ip),
            None => params.or("ip", ""),
        };
        let port = match &form {
            Some(form) => form.port,
            None => params.int("port", 0)?,
        };
        let cluster = match form.as_ref().and_then(BeatForm::cluster) {
            Some(cluster) => Cow::Borrowed(cluster),
            None => params.or("clusterName", DEFAULT_CLUSTER),
        };
        check_kind(&ip)?;
        let port = check_port(port)?;
        let key = InstanceKey { ip: &ip, port, cluster: &cluster };
        let whole = form.as_ref().map(|form| {
            || {
                service.check_characters()?;
                check_address(&ip)?;
                let metadata = form.metadata().map_or_else(
                    || Ok(Metadata::absent().into()),
                    |text| self.registry.parse_metadata(text),
                );
                let mut instance = Instance::new(form.weight, metadata?)?;
                instance.is_persistent = !form.ephemeral;
                Ok(instance)
            }
        });
        let registry = Arc::clone(&self.registry);
        let write = self.naming.beat(&call.caller(), service, &key, whole);
        Ok(write
            .map(move |answer| answer.map(|answer| beat_reply(&registry, answer)).into())
            .into())
    }
}

fn beat_reply(registry: &Registry, answer: BeatAnswer) -> Reply {
    /// What nearly every beat is answered with.
    const USUAL: &str = "{\"clientBeatInterval\":5000,\"code\":10200,\"lightBeatEnabled\":true}";
    let switches = registry.switches.load();
    let default = switches.client_beat_interval_ms;
    match answer {
        BeatAnswer::Known { interval_ms } => {
            let interval_ms = interval_ms.unwrap_or(default);
            match (interval_ms, switches.light_beat_enabled) {
                (5_000, true) => Reply::json(USUAL),
                (_, light) => Reply::json(format!(
                    "{{\"clientBeatInterval\":{interval_ms},\"code\":{CODE_OK},\
                     \"lightBeatEnabled\":{light}}}"
                )),
            }
        }
        BeatAnswer::Unknown => Reply::json(format!(
            "{{\"clientBeatInterval\":{default},\"code\":{CODE_UNKNOWN_INSTANCE}}}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_beat_of_the_java_client_is_read() {
        let text = r#"{"port":8080,"ip":"10.0.0.1","weight":2.5,"serviceName":"g@@s",
            "cluster":"c1","metadata":{"k":"v"},"scheduled":false,"period":5000,"stopped":false}"#;
        let beat = parse_beat(text).unwrap();
        assert_eq!((beat.ip.as_deref(), beat.port), (Some("10.0.0.1"), 8080));
        assert_eq!((beat.cluster(), beat.weight), (Some("c1"), 2.5));
        assert_eq!((beat.metadata(), beat.ephemeral), (Some(r#"{"k":"v"}"#), true));
    }

    #[test]
    fn what_is_missing_has_a_usable_default() {
        let beat = parse_beat(r#"{"ip":"10.0.0.1","port":"81","cluster":" "}"#).unwrap();
        assert_eq!((beat.port, beat.cluster(), beat.weight), (81, None, 1.0));
        assert_eq!((beat.metadata(), beat.ephemeral), (None, true));
    }

    #[test]
    fn what_is_no_beat_is_refused_by_name() {
        for bad in ["{", "not json", "[]", r#"{"ip":1,"port":"x"}"#, r#"{"port":{}}"#, "1", ""] {
            let error = parse_beat(bad).unwrap_err();
            assert_eq!(error.status.as_u16(), 400);
            assert!(error.message.contains("'beat'"), "{bad}: {}", error.message);
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in r#"\{("(ip|port|cluster|weight|metadata|ephemeral)":[-0-9a-z"{}\[\].,]{0,8},?){0,4}\}?"#) {
            let _ = parse_beat(&text);
        }
    }
}
