//! The service checksum of Nacos 1.4.8: opaque to clients, compared between Java members.

use std::cmp::Ordering;
use std::ops::Range;

use md5::{Digest, Md5};
use naming_model::InstanceKey;

use super::instance::push_text_form;
use super::json::{push_bool, push_display, push_number, push_string};
use super::service::{ClusterSettings, HealthChecker};

/// One instance as it enters the checksum.
pub(crate) struct Summand<'a> {
    pub(crate) key: InstanceKey<'a>,
    pub(crate) weight: f64,
    pub(crate) healthy: bool,
}

/// The checksum of a service: the MD5, in lower-case hex, of a JSON head and a list of instances,
/// spelled the way Java's maps and doubles come out.
pub(crate) fn service_checksum(
    grouped: &str,
    protect_threshold: f32,
    clusters: &[(&str, &ClusterSettings)],
    instances: &[Summand<'_>],
) -> String {
    let unhealthy = instances.iter().filter(|instance| !instance.healthy).count();
    let mut text = String::with_capacity(256 + instances.len() * 48);
    text.push_str("{\"invalidIPCount\":");
    push_number(&mut text, unhealthy);
    text.push_str(",\"name\":");
    push_string(&mut text, grouped);
    text.push_str(",\"ipCount\":");
    push_number(&mut text, instances.len());
    push_display(
        &mut text,
        format_args!(",\"owners\":[],\"protectThreshold\":{protect_threshold:?}"),
    );
    text.push_str(",\"clusters\":[");
    for (n, (name, settings)) in in_java_order(clusters).into_iter().enumerate() {
        if n > 0 {
            text.push(',');
        }
        push_cluster(&mut text, name, settings);
    }
    text.push_str("]}");
    push_instances(&mut text, instances);
    hex(&Md5::digest(text.as_bytes()))
}

/// Appends the instances in the order of their text forms. These stand one behind the other in one
/// buffer: a list is rendered after each change, and a text of its own for each instance would be
/// most of the work.
fn push_instances(text: &mut String, instances: &[Summand<'_>]) {
    let mut forms = String::with_capacity(instances.len() * 64);
    let mut order = Vec::with_capacity(instances.len());
    for Summand { key, weight, healthy } in instances {
        let start = forms.len();
        let state = push_text_form(&mut forms, key, *weight, *healthy);
        order.push((start..forms.len(), state, key));
    }
    // Looked at once for all: the order of the bytes is that of Java where no text needs more.
    if forms.is_ascii() {
        order.sort_by(|(one, ..), (other, ..)| forms[one.clone()].cmp(&forms[other.clone()]));
    } else {
        let text = |range: &Range<usize>| &forms[range.clone()];
        order.sort_by(|(one, ..), (other, ..)| java_order(text(one), text(other)));
    }
    for (_, state, key) in order {
        text.push_str(key.ip);
        text.push(':');
        push_number(text, key.port);
        text.push('_');
        text.push_str(&forms[state]);
        text.push('_');
        text.push_str(key.cluster);
        text.push(',');
    }
}

/// Bytes as lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    let digits = |byte: &u8| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
    bytes.iter().flat_map(digits).collect()
}

fn push_cluster(text: &mut String, name: &str, settings: &ClusterSettings) {
    text.push_str("{\"healthChecker\":");
    // The type is not written: a live server leaves it out.
    match &settings.checker {
        HealthChecker::Tcp | HealthChecker::None => text.push_str("{}"),
        HealthChecker::Http { path, headers, expected_response_code } => {
            text.push_str("{\"path\":");
            push_string(text, path);
            text.push_str(",\"headers\":");
            push_string(text, headers);
            push_display(
                text,
                format_args!(",\"expectedResponseCode\":{expected_response_code}}}"),
            );
        }
        HealthChecker::Mysql { user, pwd, cmd } => {
            text.push_str("{\"user\":");
            push_string(text, user);
            text.push_str(",\"pwd\":");
            push_string(text, pwd);
            text.push_str(",\"cmd\":");
            push_string(text, cmd);
            text.push('}');
        }
    }
    let port = settings.check_port;
    push_display(text, format_args!(",\"defIPPort\":{port},\"defCkport\":{port},\"name\":"));
    push_string(text, name);
    text.push_str(",\"useIPPort4Check\":");
    push_bool(text, settings.use_instance_port);
    text.push_str(",\"sitegroup\":\"\"}");
}

/// The order in which a Java `HashMap` with these keys is walked: by bucket, and within a bucket
/// by insertion. The table has 16 buckets and doubles whenever it is three quarters full.
fn in_java_order<'a, T>(entries: &[(&'a str, &'a T)]) -> Vec<(&'a str, &'a T)> {
    let mut capacity = 16_usize;
    while entries.len() > capacity / 4 * 3 {
        capacity *= 2;
    }
    let bucket = |name: &str| {
        let hash = java_hash(name) as u32;
        (hash ^ (hash >> 16)) as usize & (capacity - 1)
    };
    let mut ordered = entries.to_vec();
    ordered.sort_by_key(|(name, _)| bucket(name));
    ordered
}

/// Java's `String.hashCode`, over UTF-16 code units.
pub(crate) fn java_hash(text: &str) -> i32 {
    text.encode_utf16()
        .fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
}

/// The order of Java's strings: by UTF-16 code units. It differs from that of the bytes beyond the
/// basic plane only.
pub(crate) fn java_order(one: &str, other: &str) -> Ordering {
    if one.is_ascii() && other.is_ascii() {
        return one.cmp(other);
    }
    one.encode_utf16().cmp(other.encode_utf16())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Instances by their plainest description: formatted texts, sorted.
    fn formatted(instances: &[Summand<'_>]) -> String {
        let mut forms: Vec<_> = instances
            .iter()
            .map(|Summand { key, weight, healthy }| {
                let InstanceKey { ip, port, cluster } = key;
                (
                    format!("{}_{weight:?}_{healthy}_false_{cluster}", key.datum_key()),
                    format!("{ip}:{port}_{weight:?}_{healthy}_{cluster},"),
                )
            })
            .collect();
        forms.sort_by(|one, other| one.0.cmp(&other.0));
        forms.into_iter().map(|(_, shown)| shown).collect()
    }

    proptest! {
        #[test]
        fn instances_come_as_if_each_were_formatted(
            given in proptest::collection::vec(
                ("[1:.a]{1,3}", 0..12_u16, "[a_]{0,2}", 0.01..=10_000.0_f64, any::<bool>()), 0..40,
            ),
        ) {
            let instances: Vec<_> = given
                .iter()
                .map(|(ip, port, cluster, weight, healthy)| {
                    let key = InstanceKey { ip, port: *port, cluster };
                    let weight = if *healthy { *weight } else { weight.round() };
                    Summand { key, weight, healthy: *healthy }
                })
                .collect();
            let mut text = String::new();
            push_instances(&mut text, &instances);
            prop_assert_eq!(text, formatted(&instances));
        }
    }

    #[test]
    fn bytes_are_written_as_two_digits_each() {
        let bytes: Vec<u8> = (0..=255).collect();
        let expected: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex(&bytes), expected);
    }

    #[test]
    fn the_hash_is_that_of_java() {
        assert_eq!(java_hash("polygenelubricants"), i32::MIN);
        assert_eq!(java_hash("DEFAULT_GROUP@@nacos.test.1"), -301_437_168);
        assert_eq!(java_hash("DEFAULT_GROUP@@测试"), 1_863_282_219);
    }

    #[test]
    fn clusters_come_in_the_order_of_a_java_map() {
        let entries = ["DEFAULT", "c1", "c2", "zone-a"].map(|name| (name, &()));
        let names: Vec<_> = in_java_order(&entries).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["DEFAULT", "c1", "zone-a", "c2"]);
    }

    #[test]
    fn every_recorded_checksum_of_a_service_comes_out() {
        #[derive(serde::Deserialize)]
        struct Recorded {
            vectors: Vec<Vector>,
        }
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Vector {
            title: String,
            service: String,
            instance_list: Vec<Listed>,
            checksum: String,
        }
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Listed {
            ip: String,
            port: u16,
            weight: f64,
            healthy: bool,
            cluster_name: String,
        }
        let text = include_str!("../../tests/peer/service-checksums.json");
        let recorded: Recorded = serde_json::from_str(text).unwrap();
        assert!(!recorded.vectors.is_empty());
        let default = ClusterSettings::default();
        for Vector { title, service, instance_list, checksum } in &recorded.vectors {
            let mut clusters: Vec<(&str, &ClusterSettings)> = Vec::new();
            for Listed { cluster_name, .. } in instance_list {
                if !clusters.iter().any(|(name, _)| name == cluster_name) {
                    clusters.push((cluster_name, &default));
                }
            }
            let instances: Vec<Summand<'_>> = instance_list
                .iter()
                .map(|Listed { ip, port, weight, healthy, cluster_name }| {
                    let key = InstanceKey { ip, port: *port, cluster: cluster_name };
                    Summand { key, weight: *weight, healthy: *healthy }
                })
                .collect();
            assert_eq!(&service_checksum(service, 0.0, &clusters, &instances), checksum, "{title}");
        }
    }

    #[test]
    fn texts_are_ordered_as_java_does() {
        // The second is beyond the basic plane: two units, the first of them below the other's one.
        assert_eq!(java_order("\u{ff5e}", "\u{1f600}"), Ordering::Greater);
        assert_eq!(java_order("a", "b"), Ordering::Less);
        assert_eq!(java_order("a", "é"), Ordering::Less);
        assert_eq!(java_order("é", "é"), Ordering::Equal);
    }

    #[test]
    fn the_checksum_of_a_recorded_service_comes_out() {
        let default = ClusterSettings::default();
        let clusters = [("DEFAULT", &default)];
        let key = InstanceKey { ip: "1.1.1.1", port: 8080, cluster: "DEFAULT" };
        let one = [Summand { key, weight: 1.0, healthy: true }];
        let checksum =
            |instances: &[_]| service_checksum("DEFAULT_GROUP@@demo", 0.0, &clusters, instances);
        assert_eq!(checksum(&one), "0ee44c67cdaeec9a8027cedfd6e84741");
        assert_eq!(checksum(&[]), "df33f9cdf28e7e73741174a4806d7b9a");
    }
}
