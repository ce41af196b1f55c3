//! The checksum of a list of instances, and the message that compares many.

use std::collections::BTreeMap;

use md5::{Digest, Md5};
use naming_model::ServiceKey;
use serde_json::value::RawValue;

use super::instance::{PeerInstance, not_finite};
use super::{BadMessage, datum, parse_json, push_ascii_string, scalar};
use crate::registry::{hex, java_order, push_bool, push_double, push_number};

/// The checksum of the list of a service: the MD5, in lower-case hex, of its instances in the order
/// of their text forms. Covers what clients see, and the health.
pub(crate) fn list_checksum(instances: &[PeerInstance]) -> String {
    let mut sorted: Vec<(String, &PeerInstance)> =
        instances.iter().map(|instance| (text_form(instance), instance)).collect();
    sorted.sort_by(|(one, _), (other, _)| java_order(one, other));
    let mut text = String::with_capacity(instances.len() * 64);
    sorted.iter().for_each(|(_, instance)| push_instance(&mut text, instance));
    hex(&Md5::digest(text.as_bytes()))
}

/// The text by which Java sorts the instances of a list.
fn text_form(instance: &PeerInstance) -> String {
    let PeerInstance { ip, port, cluster, healthy, marked, .. } = instance;
    let mut text = String::with_capacity(64);
    text.push_str(ip);
    if *port > 0 {
        text.push(':');
        push_number(&mut text, *port);
    }
    text.push_str(":unknown:");
    text.push_str(cluster);
    text.push('_');
    push_java_double(&mut text, instance.weight);
    text.push('_');
    push_bool(&mut text, *healthy);
    text.push('_');
    push_bool(&mut text, *marked);
    text.push('_');
    text.push_str(cluster);
    text
}

fn push_instance(text: &mut String, instance: &PeerInstance) {
    text.push_str(&instance.ip);
    text.push(':');
    push_number(text, instance.port);
    text.push('_');
    push_java_double(text, instance.weight);
    text.push('_');
    push_bool(text, instance.healthy);
    text.push('_');
    push_bool(text, instance.enabled);
    text.push('_');
    text.push_str(&instance.cluster);
    text.push('_');
    let mut pairs: Vec<_> = instance.metadata.iter().flatten().collect();
    pairs.sort_by(|(one, _), (other, _)| java_order(one, other));
    for (key, value) in pairs {
        [key, ":", value, ","].iter().for_each(|part| text.push_str(part));
    }
    text.push(',');
}

fn push_java_double(text: &mut String, number: f64) {
    if number.is_finite() {
        push_double(text, number);
    } else {
        text.push_str(not_finite(number));
    }
}

/// Reads a checksum message: the services with the checksums of their lists, in the order of
/// their keys. Keys of anything but ephemeral lists are left out.
///
/// # Errors
/// What is no object of texts, or has a name that cannot be stored.
pub(crate) fn parse_checksums(body: &[u8]) -> Result<Vec<(ServiceKey, String)>, BadMessage> {
    let raw: BTreeMap<String, &RawValue> = parse_json("checksums", body)?;
    let mut checksums = Vec::with_capacity(raw.len());
    for (key, value) in raw {
        if let Some(service) = datum::parse_key(&key)? {
            checksums.push((service, scalar::text("a checksum", value)?.unwrap_or_default()));
        }
    }
    Ok(checksums)
}

/// A checksum message.
pub(crate) fn render_checksums<'a>(
    checksums: impl Iterator<Item = (&'a ServiceKey, &'a str)>,
) -> String {
    let mut out = String::from("{");
    for (service, checksum) in checksums {
        if out.len() > 1 {
            out.push(',');
        }
        push_ascii_string(&mut out, &datum::datum_key(service));
        out.push(':');
        push_ascii_string(&mut out, checksum);
    }
    out.push('}');
    out
}
