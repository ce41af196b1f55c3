//! The bodies of requests: JSON objects, read as leniently as Nacos reads them. What is missing or
//! null has its default, what is not known is ignored. What would grow without a bound is counted
//! while it is read.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, de::DeserializeOwned};

/// Instances of one batch.
pub(super) const MOST_INSTANCES: usize = 10_000;
/// Characters of the metadata of one instance, keys and values together, as in Nacos.
pub(super) const MOST_METADATA: usize = 1_024;
/// Keys of services that a watcher says it knows.
pub(super) const MOST_KEYS: usize = 10_000;
/// Labels of a connection, and characters of all of them together.
pub(super) const MOST_LABELS: usize = 4_096;

/// Why a body cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BadBody {
    /// It is no JSON object, or a field has a value of a wrong type.
    Malformed,
    /// It is `null`.
    Null,
}

/// Reads a body.
///
/// # Errors
/// It is none.
pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, BadBody> {
    if body.trim_ascii() == b"null" {
        return Err(BadBody::Null);
    }
    // serde takes an array for a struct, too.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(BadBody::Malformed);
    }
    serde_json::from_slice(body).map_err(|_| BadBody::Malformed)
}

/// A request without anything of its own.
#[derive(Debug, Deserialize)]
pub(super) struct Empty {}

/// The names of the service that a request is about, as they were sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Names<'a> {
    pub(super) namespace: &'a str,
    pub(super) service: &'a str,
    pub(super) group: &'a str,
}

/// A request about a service: the fields that all of them have, and its own. (`serde(flatten)` would
/// keep everything that is not known.)
macro_rules! about_service {
    ($(#[$doc:meta])* $name:ident { $($(#[$attribute:meta])* $field:ident: $kind:ty,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Default, Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        pub(super) struct $name {
            #[serde(deserialize_with = "or_default")]
            namespace: String,
            #[serde(deserialize_with = "or_default")]
            service_name: String,
            #[serde(deserialize_with = "or_default")]
            group_name: String,
            $($(#[$attribute])* pub(super) $field: $kind,)*
        }

        impl $name {
            /// The service that it is about.
            pub(super) fn names(&self) -> Names<'_> {
                let Self { namespace, service_name: service, group_name: group, .. } = self;
                Names { namespace, service, group }
            }
        }
    };
}

/// What the first message on a stream says.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Setup {
    #[serde(deserialize_with = "or_default")]
    pub(super) client_version: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) tenant: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) labels: Texts<MOST_LABELS>,
    /// Whether it is there, whatever is in it, decides about the answer.
    pub(super) ability_table: Option<IgnoredAny>,
}

about_service!(
    InstanceRequest {
        #[serde(rename = "type", deserialize_with = "or_default")]
        action: String,
        instance: Option<InstanceBody>,
    }
);

about_service!(
    BatchRequest {
        #[serde(rename = "type", deserialize_with = "or_default")]
        action: String,
        instances: Option<Batch>,
    }
);

/// An instance as a client describes it. Its health is what the client says, and whether it is
/// ephemeral is decided by the request that it is in.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct InstanceBody {
    #[serde(deserialize_with = "or_default")]
    pub(super) instance_id: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) ip: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) port: i64,
    #[serde(deserialize_with = "or_one")]
    pub(super) weight: f64,
    #[serde(deserialize_with = "or_true")]
    pub(super) healthy: bool,
    #[serde(deserialize_with = "or_true")]
    pub(super) enabled: bool,
    #[serde(deserialize_with = "or_default")]
    pub(super) cluster_name: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) metadata: Texts<MOST_METADATA>,
}

impl Default for InstanceBody {
    fn default() -> Self {
        Self {
            instance_id: String::new(),
            ip: String::new(),
            port: 0,
            weight: 1.0,
            healthy: true,
            enabled: true,
            cluster_name: String::new(),
            metadata: Texts::default(),
        }
    }
}

about_service!(SubscribeRequest {
    #[serde(deserialize_with = "or_default")]
    subscribe: bool,
    #[serde(deserialize_with = "or_default")]
    clusters: String,
});

about_service!(QueryRequest {
    #[serde(deserialize_with = "or_default")]
    cluster: String,
    /// Python spells it without the `y`.
    #[serde(alias = "healthOnly", deserialize_with = "or_default")]
    healthy_only: bool,
});

about_service!(ListRequest {
    #[serde(deserialize_with = "or_default")]
    page_no: i64,
    #[serde(deserialize_with = "or_default")]
    page_size: i64,
});

/// A pattern of services to be watched, or to be watched no more.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct FuzzyRequest {
    #[serde(deserialize_with = "or_default")]
    pub(super) group_key_pattern: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) watch_type: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) initializing: bool,
    #[serde(deserialize_with = "or_default")]
    pub(super) received_group_keys: Several<String, MOST_KEYS>,
}

/// The answer of a client to a request of this server.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Ack {
    #[serde(deserialize_with = "or_default")]
    pub(super) request_id: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) result_code: i64,
}

/// What a request carries besides, where a client may put its token.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct WithHeaders {
    #[serde(deserialize_with = "or_default")]
    pub(super) headers: Texts<{ 16 << 10 }>,
}

/// Texts by name, of so many characters together. A number or a truth value becomes a text, null is
/// left out.
#[derive(Debug, Default)]
pub(super) struct Texts<const MOST: usize> {
    /// What was read before there was too much.
    pub(super) map: BTreeMap<String, String>,
    /// Whether there was more than that.
    pub(super) is_too_long: bool,
}

impl<'de, const MOST: usize> Deserialize<'de> for Texts<MOST> {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        struct Reader<const MOST: usize>;
        impl<'de, const MOST: usize> Visitor<'de> for Reader<MOST> {
            type Value = Texts<MOST>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object of texts")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut source: A) -> Result<Texts<MOST>, A::Error> {
                let mut texts = Texts::default();
                let mut characters = 0;
                while let Some((key, value)) = source.next_entry::<String, Option<Scalar>>()? {
                    let Some(Scalar(value)) = value else { continue };
                    characters += key.encode_utf16().count() + value.encode_utf16().count();
                    if characters > MOST {
                        texts.is_too_long = true;
                        continue;
                    }
                    texts.map.insert(key, value);
                }
                Ok(texts)
            }
        }
        source.deserialize_map(Reader::<MOST>)
    }
}

/// A text, or what becomes one.
struct Scalar(String);

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        struct Reader;
        impl Visitor<'_> for Reader {
            type Value = Scalar;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a text, a number or a truth value")
            }

            fn visit_str<E>(self, text: &str) -> Result<Scalar, E> {
                Ok(Scalar(text.to_owned()))
            }

            fn visit_string<E>(self, text: String) -> Result<Scalar, E> {
                Ok(Scalar(text))
            }

            fn visit_bool<E>(self, value: bool) -> Result<Scalar, E> {
                Ok(Scalar(value.to_string()))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Scalar, E> {
                Ok(Scalar(value.to_string()))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Scalar, E> {
                Ok(Scalar(value.to_string()))
            }

            fn visit_f64<E>(self, value: f64) -> Result<Scalar, E> {
                Ok(Scalar(ryu::Buffer::new().format(value).to_owned()))
            }
        }
        source.deserialize_any(Reader)
    }
}

/// The elements of an array, up to a number.
#[derive(Debug)]
pub(super) struct Several<T, const MOST: usize> {
    /// What was read before there were too many.
    pub(super) items: Vec<T>,
    /// Whether there were more than that.
    pub(super) is_too_long: bool,
}

/// The instances of a batch.
pub(super) type Batch = Several<InstanceBody, MOST_INSTANCES>;

impl<T, const MOST: usize> Default for Several<T, MOST> {
    fn default() -> Self {
        Self { items: Vec::new(), is_too_long: false }
    }
}

impl<'de, T: Deserialize<'de>, const MOST: usize> Deserialize<'de> for Several<T, MOST> {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        struct Reader<T, const MOST: usize>(std::marker::PhantomData<T>);
        impl<'de, T: Deserialize<'de>, const MOST: usize> Visitor<'de> for Reader<T, MOST> {
            type Value = Several<T, MOST>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut source: A) -> Result<Self::Value, A::Error> {
                let mut found = Several { items: Vec::new(), is_too_long: false };
                while found.items.len() < MOST {
                    let Some(item) = source.next_element()? else { return Ok(found) };
                    found.items.push(item);
                }
                while source.next_element::<IgnoredAny>()?.is_some() {
                    found.is_too_long = true;
                }
                Ok(found)
            }
        }
        source.deserialize_seq(Reader(std::marker::PhantomData))
    }
}

fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    source: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(source)?.unwrap_or_default())
}

fn or_true<'de, D: Deserializer<'de>>(source: D) -> Result<bool, D::Error> {
    Ok(Option::deserialize(source)?.unwrap_or(true))
}

fn or_one<'de, D: Deserializer<'de>>(source: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(source)?.unwrap_or(1.0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_null_or_missing_has_its_default() {
        let body = br#"{"namespace":null,"groupName":null,"requestId":null,"type":null,"module":[1],
            "instance":{"ip":"10.0.0.1","port":null,"weight":null,"healthy":null,"metadata":null}}"#;
        let request: InstanceRequest = read(body).unwrap();
        assert_eq!((request.names().namespace, &*request.action), ("", ""));
        let instance = request.instance.unwrap();
        assert_eq!((instance.port, instance.weight, instance.healthy), (0, 1.0, true));
        assert!(instance.enabled && instance.metadata.map.is_empty());
    }

    #[test]
    fn what_is_no_object_is_no_body() {
        for body in ["", "{broken", "[]", "\"x\"", "7", "[\"a\"]", "{} trailing"] {
            assert_eq!(read::<QueryRequest>(body.as_bytes()).unwrap_err(), BadBody::Malformed);
        }
        assert_eq!(read::<QueryRequest>(b" null ").unwrap_err(), BadBody::Null);
    }

    #[test]
    fn numbers_and_truth_values_are_metadata_as_texts() {
        let body = br#"{"metadata":{"n":1,"b":true,"f":1.5,"z":null,"s":"x"}}"#;
        let instance: InstanceBody = read(body).unwrap();
        let pairs: Vec<_> = instance.metadata.map.iter().map(|(k, v)| (&**k, &**v)).collect();
        assert_eq!(pairs, [("b", "true"), ("f", "1.5"), ("n", "1"), ("s", "x")]);
        for body in [r#"{"metadata":"k=v"}"#, r#"{"metadata":{"k":{}}}"#, r#"{"port":"eighty"}"#] {
            assert_eq!(read::<InstanceBody>(body.as_bytes()).unwrap_err(), BadBody::Malformed);
        }
    }

    #[test]
    fn what_grows_is_counted_while_it_is_read() {
        let many = vec!["{}"; MOST_INSTANCES + 1].join(",");
        let request: BatchRequest =
            read(format!(r#"{{"instances":[{many}]}}"#).as_bytes()).unwrap();
        let instances = request.instances.unwrap();
        assert!(instances.is_too_long && instances.items.len() == MOST_INSTANCES);
        let value = "x".repeat(MOST_METADATA - 1);
        let read = |text: String| read::<InstanceBody>(text.as_bytes()).unwrap().metadata;
        assert!(!read(format!(r#"{{"metadata":{{"k":"{value}"}}}}"#)).is_too_long);
        assert!(read(format!(r#"{{"metadata":{{"k":"{value}y"}}}}"#)).is_too_long);
    }

    proptest! {
        #[test]
        fn no_body_makes_a_reader_panic(text in r#"[\{\}\[\]":,a-z0-9\\. -]{0,120}"#) {
            let text = text.as_bytes();
            let _ = (read::<InstanceRequest>(text), read::<BatchRequest>(text), read::<Setup>(text));
            let _ = (read::<SubscribeRequest>(text), read::<ListRequest>(text), read::<Ack>(text));
        }

        #[test]
        fn any_value_anywhere_is_read_or_refused(
            key in prop::sample::select(vec![
                "type", "instance", "instances", "labels", "clusters", "pageNo", "requestId",
                "metadata", "port", "weight", "abilityTable", "headers",
            ]),
            value in prop::sample::select(vec![
                "null", "1", "-1", "1e400", "99999999999999999999", "true", "\"\"", "[]", "{}",
                "[null]", "[{}]", "{\"a\":null}", "{\"a\":[1]}", "\"\\ud800\"",
            ]),
        ) {
            let text = format!("{{\"{key}\":{value}}}");
            let text = text.as_bytes();
            let _ = (read::<InstanceRequest>(text), read::<BatchRequest>(text), read::<Setup>(text));
            let _ = (read::<SubscribeRequest>(text), read::<ListRequest>(text), read::<Ack>(text));
            let _ = (read::<InstanceBody>(text), read::<WithHeaders>(text), read::<Empty>(text));
            let _ = (read::<QueryRequest>(text), read::<FuzzyRequest>(text));
        }
    }
}
