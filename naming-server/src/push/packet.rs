//! Push packets and their acks, as bytes.
//!
//! ```text
//! server -> client  {"type":"dom","data":"<list as a JSON string>","lastRefTime":<id>}
//! client -> server  {"type":"push-ack","lastRefTime":"<id>" or <id>,"data":""}
//! ```
//!
//! Packets of 1,024 bytes and more are gzip-compressed as a whole.

use std::fmt;
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use naming_model::PUSH_GZIP_THRESHOLD;
use serde::{Deserialize, Deserializer, de};

/// Longest ack in bytes; real ones have less than 100.
pub(super) const MAX_ACK_BYTES: usize = 2_048;

/// Lists above this many bytes are not even compressed: none of them fits into a datagram, and
/// finding that out the slow way ten times a second would cost more than all pushes.
const MAX_LIST_BYTES: usize = 4 << 20;

/// Least level: four times faster than the usual one for packets half as long again.
const LEVEL: Compression = Compression::new(1);

/// A datagram ready to be sent to any number of subscribers.
#[derive(Debug)]
pub(super) struct Packet {
    /// What an ack must name.
    pub(super) id: i64,
    /// The bytes to send.
    pub(super) datagram: Bytes,
    compressed: bool,
    /// Whether the packet may be kept for a second send.
    pub(super) keep: bool,
    budget: Arc<PacketBudget>,
}

impl Packet {
    /// Encodes the list `data`, which must be UTF-8, as the packet `id`. `None` if that is hopeless.
    pub(super) fn encode(id: i64, data: &[u8], budget: &Arc<PacketBudget>) -> Option<Self> {
        if data.len() > MAX_LIST_BYTES {
            return None;
        }
        let text = std::str::from_utf8(data).ok()?;
        let plain = envelope(id, text)?;
        let compressed = plain.len() >= PUSH_GZIP_THRESHOLD;
        let datagram = if compressed { compress(&plain)? } else { plain };
        let keep = budget.take(datagram.len());
        Some(Self { id, datagram: datagram.into(), compressed, keep, budget: Arc::clone(budget) })
    }

    /// The JSON text of the packet, at most `limit` bytes of it.
    pub(super) fn text(&self, limit: usize) -> String {
        let mut text = Vec::new();
        if self.compressed {
            let limit = u64::try_from(limit).unwrap_or(u64::MAX);
            // What was read before an error is kept, and the packet is our own work anyway.
            let _ = GzDecoder::new(&self.datagram[..]).take(limit).read_to_end(&mut text);
        } else {
            text.extend(self.datagram.iter().take(limit));
        }
        String::from_utf8_lossy(&text).into_owned()
    }
}

impl Drop for Packet {
    fn drop(&mut self) {
        self.budget.give_back(self.datagram.len());
    }
}

fn envelope(id: i64, text: &str) -> Option<Vec<u8>> {
    // Quotes are escaped: a list grows by about a sixth.
    let mut plain = Vec::with_capacity(text.len() + text.len() / 4 + 64);
    plain.extend_from_slice(br#"{"type":"dom","data":"#);
    serde_json::to_writer(&mut plain, text).ok()?;
    plain.extend_from_slice(br#","lastRefTime":"#);
    plain.extend_from_slice(itoa::Buffer::new().format(id).as_bytes());
    plain.push(b'}');
    Some(plain)
}

fn compress(plain: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(plain.len() / 4), LEVEL);
    encoder.write_all(plain).ok()?;
    encoder.finish().ok()
}

/// Bytes of packets that are alive, and how many may be kept for a second send.
#[derive(Debug)]
pub(super) struct PacketBudget {
    used: AtomicUsize,
    limit: usize,
}

impl PacketBudget {
    pub(super) fn new(limit: usize) -> Self {
        Self { used: AtomicUsize::new(0), limit }
    }

    /// Counts `bytes` as used; whether the limit still holds.
    fn take(&self, bytes: usize) -> bool {
        self.used.fetch_add(bytes, Relaxed).saturating_add(bytes) <= self.limit
    }

    fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Relaxed);
    }
}

/// Makes packet ids: microseconds since 1970, always growing.
///
/// Nacos takes nanoseconds, which pass 2^53: a client that keeps numbers as doubles (Node) then
/// acks a rounded id that fits no packet. Microseconds stay exact until the year 2255. Starting
/// at the wall clock keeps acks for an earlier run of the server from fitting a packet of this
/// one; afterwards only its own steps count, so a clock that jumps changes nothing.
#[derive(Debug)]
pub(super) struct PacketIds {
    next: AtomicI64,
}

impl PacketIds {
    pub(super) fn new() -> Self {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let next = i64::try_from(since_1970.as_micros()).unwrap_or(0);
        Self { next: AtomicI64::new(next) }
    }

    pub(super) fn next(&self) -> i64 {
        self.next.fetch_add(1, Relaxed)
    }
}

/// The packet id an ack names; `None` if `datagram` is no ack. Like Nacos it looks at nothing
/// but `lastRefTime`.
pub(super) fn parse_ack(datagram: &[u8]) -> Option<i64> {
    if datagram.len() > MAX_ACK_BYTES {
        return None;
    }
    let ack: Ack = serde_json::from_slice(datagram).ok()?;
    Some(ack.id.0)
}

#[derive(Deserialize)]
struct Ack {
    #[serde(rename = "lastRefTime")]
    id: AckId,
}

struct AckId(i64);

impl<'de> Deserialize<'de> for AckId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AckIdVisitor)
    }
}

struct AckIdVisitor;

impl de::Visitor<'_> for AckIdVisitor {
    type Value = AckId;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a packet id as a number or as text")
    }

    fn visit_i64<E: de::Error>(self, id: i64) -> Result<AckId, E> {
        Ok(AckId(id))
    }

    fn visit_u64<E: de::Error>(self, id: u64) -> Result<AckId, E> {
        i64::try_from(id).map(AckId).map_err(E::custom)
    }

    fn visit_f64<E: de::Error>(self, id: f64) -> Result<AckId, E> {
        // A double is exact up to here, and our own ids are below.
        const EXACT: f64 = 9_007_199_254_740_992.0;
        if id.fract() != 0.0 || id.abs() > EXACT {
            return Err(E::custom("no whole number"));
        }
        Ok(AckId(id as i64))
    }

    fn visit_str<E: de::Error>(self, id: &str) -> Result<AckId, E> {
        id.trim().parse().map(AckId).map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn encode(id: i64, data: &str) -> Packet {
        Packet::encode(id, data.as_bytes(), &Arc::new(PacketBudget::new(usize::MAX))).unwrap()
    }

    /// A packet whose plain form has exactly `length` bytes.
    fn packet_of(length: usize) -> Packet {
        let frame = envelope(1, "").unwrap().len();
        encode(1, &"x".repeat(length - frame))
    }

    #[test]
    fn the_list_travels_as_a_string_inside_the_packet() {
        let list = r#"{"name":"g@@s","metadata":{"k":"a\"b\\é\n"}}"#;
        let packet: Value = serde_json::from_slice(&encode(7, list).datagram).unwrap();
        assert_eq!(packet, json!({"type": "dom", "data": list, "lastRefTime": 7}));
    }

    #[test]
    fn the_keys_stand_in_the_order_of_nacos() {
        assert_eq!(&encode(7, "{}").datagram[..], br#"{"type":"dom","data":"{}","lastRefTime":7}"#);
    }

    #[test]
    fn packets_of_1024_bytes_are_compressed_and_shorter_ones_are_not() {
        let short = packet_of(PUSH_GZIP_THRESHOLD - 1);
        assert_eq!((short.datagram.len(), short.datagram[0]), (1_023, b'{'));
        let long = packet_of(PUSH_GZIP_THRESHOLD);
        assert_eq!(&long.datagram[..2], &[0x1f, 0x8b]);
        assert_eq!(long.text(usize::MAX).len(), 1_024);
        assert_eq!(long.text(10), r#"{"type":"d"#);
        assert_eq!(short.text(10), r#"{"type":"d"#);
    }

    #[test]
    fn a_hopelessly_long_list_is_not_compressed_at_all() {
        let budget = Arc::new(PacketBudget::new(usize::MAX));
        assert!(Packet::encode(1, &vec![b'x'; MAX_LIST_BYTES + 1], &budget).is_none());
        assert!(Packet::encode(1, b"\xff", &budget).is_none());
    }

    #[test]
    fn packets_above_the_budget_are_not_kept() {
        let budget = Arc::new(PacketBudget::new(100));
        let first = Packet::encode(1, b"{}", &budget).unwrap();
        let second = Packet::encode(2, &[b'x'; 100], &budget).unwrap();
        assert!(first.keep && !second.keep);
        drop((first, second));
        assert_eq!(budget.used.load(Relaxed), 0);
    }

    #[test]
    fn ids_grow_and_stay_exact_as_doubles() {
        let ids = PacketIds::new();
        let (first, second) = (ids.next(), ids.next());
        assert!(first < second && second < 1 << 53);
        assert_eq!(first as f64 as i64, first);
    }

    #[test]
    fn an_ack_names_its_packet_by_number_or_text() {
        let ack = |text: &str| parse_ack(text.as_bytes());
        assert_eq!(ack(r#"{"type": "push-ack", "lastRefTime":"123", "data":""}"#), Some(123));
        assert_eq!(ack(r#"{"type":"push-ack","lastRefTime":123,"data":""}"#), Some(123));
        assert_eq!(ack(r#"{"lastRefTime":1.23e2}"#), Some(123));
        assert_eq!(ack(r#"{"type":"unknow-ack","lastRefTime":" -5 "}"#), Some(-5));
        assert_eq!(ack(r#"{"type":"push-ack"}"#), None);
        assert_eq!(ack(r#"{"lastRefTime":1.5}"#), None);
        assert_eq!(ack(r#"{"lastRefTime":1e300}"#), None);
        assert_eq!(ack(r#"{"lastRefTime":18446744073709551615}"#), None);
        assert_eq!(ack(r#"{"lastRefTime":null}"#), None);
        assert_eq!(ack(r#"{"lastRefTime":[]}"#), None);
        assert_eq!(ack(r#"{"lastRefTime":""}"#), None);
        assert_eq!(ack(""), None);
        let long = format!(r#"{{"lastRefTime":1,"data":"{}"}}"#, "x".repeat(MAX_ACK_BYTES));
        assert_eq!(ack(&long), None);
    }

    proptest! {
        #[test]
        fn no_datagram_makes_the_ack_parser_panic(datagram: Vec<u8>) {
            let _ = parse_ack(&datagram);
        }

        #[test]
        fn no_text_around_the_field_makes_the_ack_parser_panic(value in ".{0,40}") {
            let _ = parse_ack(format!(r#"{{"lastRefTime":{value}}}"#).as_bytes());
            let _ = parse_ack(format!(r#"{{"lastRefTime":"{value}"}}"#).as_bytes());
        }

        #[test]
        fn every_id_comes_back_in_both_forms(id: i64) {
            let number = json!({"type": "push-ack", "lastRefTime": id, "data": ""});
            prop_assert_eq!(parse_ack(number.to_string().as_bytes()), Some(id));
            let text = json!({"type": "push-ack", "lastRefTime": id.to_string(), "data": ""});
            prop_assert_eq!(parse_ack(text.to_string().as_bytes()), Some(id));
        }

        #[test]
        fn every_list_survives_the_packet(list in ".{0,2000}") {
            let packet = encode(3, &list);
            let outer: Value = serde_json::from_str(&packet.text(usize::MAX)).unwrap();
            prop_assert_eq!(outer["data"].as_str(), Some(list.as_str()));
        }
    }
}
