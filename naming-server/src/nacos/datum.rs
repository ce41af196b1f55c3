//! Maps of datums: whole lists of services, sent, asked for and answered.

use std::collections::{BTreeMap, BTreeSet};

use naming_model::{NAMESPACE_SEPARATOR, NameError, ServiceKey};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::instance::PeerInstance;
use super::scalar::{Given, given, text};
use super::{BadMessage, parse_json, push_ascii_string};

/// What the keys of lists of ephemeral instances begin with.
const PREFIX: &str = "com.alibaba.nacos.naming.iplist.ephemeral.";

/// The whole list of one service.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PeerDatum {
    /// Whose list. The name can be stored.
    pub(crate) service: ServiceKey,
    /// All its ephemeral instances, in the order of the message.
    pub(crate) instances: Vec<PeerInstance>,
}

/// The key of the list of a service.
pub(crate) fn datum_key(service: &ServiceKey) -> String {
    [PREFIX, service.as_str()].concat()
}

/// The service of a key; `None` if it is no key of a list of ephemeral instances.
///
/// # Errors
/// A name that cannot be stored. Java would refuse it, too, and everything that comes after it.
pub(super) fn parse_key(key: &str) -> Result<Option<ServiceKey>, BadMessage> {
    let Some(tag) = key.strip_prefix(PREFIX) else { return Ok(None) };
    let mut parts = tag.split(NAMESPACE_SEPARATOR);
    let (Some(namespace), Some(grouped), None) = (parts.next(), parts.next(), parts.next()) else {
        return Err(BadMessage::about("not the key of a service", key));
    };
    let service = ServiceKey::parse(namespace, grouped);
    let service = service.and_then(|service| service.check_characters().map(|()| service));
    // Java checks no namespace: whoever may register there must not stop everything else.
    if service == Err(NameError::NamespaceCharacters) {
        return Ok(None);
    }
    service.map(Some).map_err(|error| BadMessage::new(error.to_string()))
}

#[derive(Deserialize)]
struct DatumFields<'a> {
    #[serde(borrow, default, deserialize_with = "given")]
    key: Given<'a>,
    #[serde(borrow, default, deserialize_with = "given")]
    value: Given<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListFields<'a> {
    #[serde(borrow, default, deserialize_with = "given")]
    instance_list: Given<'a>,
}

/// Reads a map of datums in the order of its keys. Keys of anything but ephemeral lists are left
/// out, whatever stands there. An empty map is fine.
///
/// # Errors
/// Anything that Java would choke on, at once or later: nothing of the message counts then.
pub(crate) fn parse_datums(body: &[u8]) -> Result<Vec<PeerDatum>, BadMessage> {
    let raw: BTreeMap<String, &RawValue> = parse_json("a map of datums", body)?;
    let mut datums = Vec::with_capacity(raw.len());
    for (key, value) in raw {
        if let Some(service) = parse_key(&key)? {
            datums.push(PeerDatum { service, instances: parse_datum(&key, value)? });
        }
    }
    Ok(datums)
}

fn parse_datum(key: &str, value: &RawValue) -> Result<Vec<PeerInstance>, BadMessage> {
    let bad = |problem: &str| BadMessage::about(problem, key);
    let shape = |error: serde_json::Error| BadMessage::of_json(key, &error);
    let fields: Option<DatumFields<'_>> = serde_json::from_str(value.get()).map_err(shape)?;
    let fields = fields.ok_or_else(|| bad("a datum is null"))?;
    let inner = fields.key.map(|inner| text("key", inner)).transpose()?.flatten();
    // Java stores under this key and makes the service of the other one.
    if inner.ok_or_else(|| bad("a datum has no key"))? != key {
        return Err(bad("a datum stands under another key than its own"));
    }
    let value = fields.value.ok_or_else(|| bad("a datum has no value"))?;
    let list: Option<ListFields<'_>> = serde_json::from_str(value.get()).map_err(shape)?;
    let list = list.ok_or_else(|| bad("the value of a datum is null"))?;
    // Without the field Java has an empty list; with `null` in it nothing works any more.
    let Some(list) = list.instance_list else { return Ok(Vec::new()) };
    let elements: Option<Vec<&RawValue>> = serde_json::from_str(list.get()).map_err(shape)?;
    let elements = elements.ok_or_else(|| bad("a list of instances is null"))?;
    elements.into_iter().map(PeerInstance::parse).collect()
}

/// A map of datums. `now_ms` stands in for beats that are not told, in milliseconds since the
/// epoch.
pub(crate) fn render_datums<'a>(
    datums: impl Iterator<Item = &'a PeerDatum>,
    now_ms: i64,
) -> String {
    let mut out = String::from("{");
    for PeerDatum { service, instances } in datums {
        push_datum(&mut out, service, instances, now_ms);
    }
    out.push('}');
    out
}

/// Appends one datum to a map of datums, which begins with its bracket.
pub(super) fn push_datum(
    out: &mut String,
    service: &ServiceKey,
    instances: &[PeerInstance],
    now_ms: i64,
) {
    if out.len() > 1 {
        out.push(',');
    }
    let key = datum_key(service);
    push_ascii_string(out, &key);
    out.push_str(":{\"key\":");
    push_ascii_string(out, &key);
    out.push_str(",\"value\":{\"instanceList\":[");
    for (n, instance) in instances.iter().enumerate() {
        if n > 0 {
            out.push(',');
        }
        instance.render(out, service, now_ms);
    }
    out.push_str("]},\"timestamp\":1}");
}

/// Reads the keys that a member asks for: the services whose lists it wants. What is no key of a
/// list is left out, since no such list exists.
///
/// # Errors
/// Anything but an object with `keys`.
pub(crate) fn parse_keys(body: &[u8]) -> Result<Vec<ServiceKey>, BadMessage> {
    #[derive(Deserialize)]
    struct Asked<'a> {
        #[serde(borrow)]
        keys: &'a RawValue,
    }
    let asked: Asked<'_> = parse_json("keys", body)?;
    // A list or an object is no text for Java either: nothing is asked for then.
    let keys = text("keys", asked.keys).ok().flatten().unwrap_or_default();
    let known = |key: &str| parse_key(key.trim()).ok().flatten();
    // A list that is asked for twice is given once.
    let asked: BTreeSet<ServiceKey> = keys.split(',').filter_map(known).collect();
    Ok(asked.into_iter().collect())
}

/// The body that asks for the lists of these services.
pub(crate) fn render_keys<'a>(services: impl Iterator<Item = &'a ServiceKey>) -> String {
    let keys: Vec<String> = services.map(datum_key).collect();
    let mut out = String::from("{\"keys\":");
    push_ascii_string(&mut out, &keys.join(","));
    out.push('}');
    out
}
