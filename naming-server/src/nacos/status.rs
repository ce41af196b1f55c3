//! Health between members: checksums of services, and the health of their instances.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::scalar::{Given, given, text};
use super::{BadMessage, parse_json, push_ascii_string, text_of};
use crate::text::decode;

/// What a member says about the services it owns in one namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StatusMessage {
    /// The address of the sender. Not blank.
    pub(crate) source: String,
    /// `None` if it says nothing, which is fine.
    pub(crate) statuses: Option<ServiceStatuses>,
}

/// Checksums of the services of a namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServiceStatuses {
    /// The namespace.
    pub(crate) namespace: String,
    /// Grouped name to checksum.
    pub(crate) checksums: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct MessageFields<'a> {
    #[serde(borrow, default, deserialize_with = "given", rename = "clientIP")]
    source: Given<'a>,
    #[serde(borrow, default, deserialize_with = "given")]
    statuses: Given<'a>,
}

#[derive(Deserialize)]
struct StatusFields<'a> {
    #[serde(borrow, default, deserialize_with = "given", rename = "namespaceId")]
    namespace: Given<'a>,
    #[serde(borrow, default, rename = "serviceName2Checksum")]
    checksums: Option<BTreeMap<String, &'a RawValue>>,
}

/// Reads a status message. Like Java it undoes percent-encoding first.
///
/// # Errors
/// No sender, or what is no message.
pub(crate) fn parse_statuses(body: &[u8]) -> Result<StatusMessage, BadMessage> {
    const WHAT: &str = "service statuses";
    text_of(WHAT, body)?;
    let decoded: Cow<'_, str> = decode(body);
    let fields: MessageFields<'_> = parse_json(WHAT, decoded.as_bytes())?;
    let source = fields.source.map(|source| text("clientIP", source)).transpose()?.flatten();
    let source = source.filter(|source| !source.trim().is_empty());
    let source = source.ok_or_else(|| BadMessage::new("Param 'clientIP' is required."))?;
    // What is no text says nothing.
    let statuses = fields.statuses.filter(|statuses| statuses.get().starts_with('"'));
    let statuses = statuses.map(|statuses| text("statuses", statuses)).transpose()?.flatten();
    let statuses = statuses.map(|statuses| parse_inner(&statuses)).transpose()?.flatten();
    Ok(StatusMessage { source, statuses })
}

fn parse_inner(inner: &str) -> Result<Option<ServiceStatuses>, BadMessage> {
    let fields: Option<StatusFields<'_>> = parse_json("statuses", inner.as_bytes())?;
    let Some(fields) = fields else { return Ok(None) };
    let namespace = fields.namespace.map(|value| text("namespaceId", value)).transpose()?.flatten();
    let Some(namespace) = namespace else { return Ok(None) };
    let mut checksums = BTreeMap::new();
    for (service, checksum) in fields.checksums.unwrap_or_default() {
        checksums.insert(service, text("a checksum", checksum)?.unwrap_or_default());
    }
    Ok(Some(ServiceStatuses { namespace, checksums }))
}

/// A status message of this server.
pub(crate) fn render_statuses<'a>(
    source: &str,
    namespace: &str,
    checksums: impl Iterator<Item = (&'a str, &'a str)>,
) -> String {
    let mut inner = String::from("{\"namespaceId\":");
    push_ascii_string(&mut inner, namespace);
    inner.push_str(",\"serviceName2Checksum\":{");
    for (n, (service, checksum)) in checksums.enumerate() {
        if n > 0 {
            inner.push(',');
        }
        push_ascii_string(&mut inner, service);
        inner.push(':');
        push_ascii_string(&mut inner, checksum);
    }
    inner.push_str("}}");
    let mut out = String::from("{\"clientIP\":");
    push_ascii_string(&mut out, source);
    out.push_str(",\"statuses\":");
    push_ascii_string(&mut out, &inner);
    out.push('}');
    // Who receives it undoes percent-encoding.
    out.replace('%', "%25").replace('+', "%2B")
}

/// The health of one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InstanceStatus {
    /// Its address.
    pub(crate) ip: String,
    /// Its port.
    pub(crate) port: i32,
    /// Whether it is healthy.
    pub(crate) healthy: bool,
}

/// Reads the health of the instances of a service. Entries that are no status are left out: an
/// instance that is not listed keeps its health.
///
/// # Errors
/// What is no list of statuses.
pub(crate) fn parse_instance_statuses(body: &[u8]) -> Result<Vec<InstanceStatus>, BadMessage> {
    #[derive(Deserialize)]
    struct Statuses {
        ips: Vec<String>,
    }
    let statuses: Statuses = parse_json("instance statuses", body)?;
    let parsed = |text: &String| {
        // From the end: host names may have underscores, addresses colons.
        let (place, healthy) = text.rsplit_once('_')?;
        let (ip, port) = place.rsplit_once(':')?;
        let healthy = healthy.eq_ignore_ascii_case("true");
        Some(InstanceStatus { ip: ip.to_owned(), port: port.parse().ok()?, healthy })
    };
    Ok(statuses.ips.iter().filter_map(parsed).collect())
}

/// The answer that tells the health of the instances of a service.
pub(crate) fn render_instance_statuses<'a>(
    statuses: impl Iterator<Item = &'a InstanceStatus>,
) -> String {
    let mut out = String::from("{\"ips\":[");
    for (n, InstanceStatus { ip, port, healthy }) in statuses.enumerate() {
        if n > 0 {
            out.push(',');
        }
        push_ascii_string(&mut out, &format!("{ip}:{port}_{healthy}"));
    }
    out.push_str("]}");
    out
}
