//! Push packets and their acks, as bytes.
//!
//! ```text
//! server -> client  {"type":"dom","data":"<list as a JSON string>","lastRefTime":<id>}
//! client -> server  {"type":"push-ack","lastRefTime":"<id>" or <id>,"data":""}
//! ```
//!
//! Packets of 1,024 bytes and more are gzip-compressed as a whole. All subscribers of a kind get
//! the same list, which is encoded once as a [`Template`]; the number at the end is another one
//! for each socket. So a compressed packet ends with a block that is stored as it is, and only
//! its checksum is computed anew.

use std::fmt;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use flate2::{Compression, Crc, write::DeflateEncoder};
use naming_model::PUSH_GZIP_THRESHOLD;
use serde::{Deserialize, Deserializer, de};

/// Longest ack in bytes; real ones have less than 100.
pub(in crate::push) const MAX_ACK_BYTES: usize = 2_048;

/// Lists above this many bytes are not even compressed: none of them fits into a datagram, and
/// finding that out the slow way ten times a second would cost more than all pushes.
const MAX_LIST_BYTES: usize = 4 << 20;

/// Least level: four times faster than the usual one for packets half as long again.
const LEVEL: Compression = Compression::new(1);

/// How a gzip file begins: deflate, no name, no time, an unknown system.
const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
/// What a packet ends with, around its number.
const TAIL: (&[u8], &[u8]) = (br#","lastRefTime":"#, b"}");
/// Digits of every number: see [`PacketIds`](super::ids::PacketIds).
const ID_DIGITS: usize = 16;
/// Bytes of the end of a packet.
const TAIL_BYTES: usize = TAIL.0.len() + ID_DIGITS + TAIL.1.len();
/// Bytes around the end where it is a stored block: a flag, its length twice; checksum and length
/// of all.
const STORED_BYTES: usize = 5 + 8;

/// How long a packet is.
#[derive(Debug, Clone, Copy)]
pub(in crate::push) struct PacketSize {
    /// As it is sent.
    pub(in crate::push) datagram_bytes: usize,
    /// Unpacked.
    pub(in crate::push) plain_bytes: usize,
}

/// A packet without its number, for any number of subscribers.
#[derive(Debug)]
pub(in crate::push) struct Template {
    /// Tells it from all others of this server.
    pub(in crate::push) serial: u64,
    /// Whatever comes before the end, as it is sent.
    head: Vec<u8>,
    /// Of the part before the end, if the packet is compressed.
    crc: Option<Crc>,
    /// Bytes of the packet, unpacked.
    plain_bytes: usize,
    /// Whether the packet may be kept for a second send.
    keep: bool,
    budget: Arc<PacketBudget>,
}

impl Template {
    /// Encodes the list `data`, which must be UTF-8. `None` if that is hopeless.
    pub(in crate::push) fn encode(
        serial: u64,
        data: &[u8],
        budget: &Arc<PacketBudget>,
    ) -> Option<Self> {
        if data.len() > MAX_LIST_BYTES {
            return None;
        }
        Self::of_type("dom", serial, std::str::from_utf8(data).ok()?, budget)
    }

    /// A packet that says nothing and is acked all the same: clients of Java, Go, Node, C# and C++
    /// answer a type that they do not know by an ack, and do nothing else.
    pub(in crate::push) fn probe(serial: u64, budget: &Arc<PacketBudget>) -> Option<Self> {
        Self::of_type("probe", serial, "", budget)
    }

    fn of_type(kind: &str, serial: u64, text: &str, budget: &Arc<PacketBudget>) -> Option<Self> {
        let plain = envelope(kind, text)?;
        let plain_bytes = plain.len() + TAIL_BYTES;
        let (head, crc) = match plain_bytes >= PUSH_GZIP_THRESHOLD {
            true => compress(&plain)?,
            false => (plain, None),
        };
        let budget = Arc::clone(budget);
        let mut template = Self { serial, head, crc, plain_bytes, keep: false, budget };
        template.keep = template.budget.take(template.len());
        Some(template)
    }

    /// How long its packets are.
    pub(in crate::push) fn size(&self) -> PacketSize {
        PacketSize { datagram_bytes: self.len(), plain_bytes: self.plain_bytes }
    }

    /// Bytes of each datagram.
    pub(in crate::push) fn len(&self) -> usize {
        self.head.len() + TAIL_BYTES + if self.crc.is_some() { STORED_BYTES } else { 0 }
    }
}

impl Drop for Template {
    fn drop(&mut self) {
        self.budget.give_back(self.len());
    }
}

/// A packet to one socket.
#[derive(Debug, Clone)]
pub(in crate::push) struct Packet {
    /// What an ack must name.
    pub(in crate::push) id: i64,
    template: Arc<Template>,
}

impl Packet {
    pub(in crate::push) fn new(id: i64, template: &Arc<Template>) -> Self {
        Self { id, template: Arc::clone(template) }
    }

    /// Bytes of the datagram.
    pub(in crate::push) fn len(&self) -> usize {
        self.template.len()
    }

    /// Whether the packet may be kept for a second send.
    pub(in crate::push) fn keep(&self) -> bool {
        self.template.keep
    }

    /// Writes the datagram over whatever `out` has.
    pub(in crate::push) fn write(&self, out: &mut Vec<u8>) {
        let Template { head, crc, plain_bytes, .. } = &*self.template;
        let mut tail = Vec::with_capacity(TAIL_BYTES);
        tail.extend_from_slice(TAIL.0);
        tail.extend_from_slice(itoa::Buffer::new().format(self.id).as_bytes());
        tail.extend_from_slice(TAIL.1);
        out.clear();
        out.extend_from_slice(head);
        let Some(head_crc) = crc else {
            out.extend_from_slice(&tail);
            return;
        };
        // The last block, and not compressed.
        let length = u16::try_from(tail.len()).unwrap_or_default();
        out.push(1);
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&(!length).to_le_bytes());
        out.extend_from_slice(&tail);
        let mut crc = Crc::new();
        crc.combine(head_crc);
        crc.update(&tail);
        out.extend_from_slice(&crc.sum().to_le_bytes());
        let plain_bytes = u32::try_from(*plain_bytes).unwrap_or_default();
        out.extend_from_slice(&plain_bytes.to_le_bytes());
    }

    /// The JSON text of the packet, at most `limit` bytes of it.
    pub(in crate::push) fn text(&self, limit: usize) -> String {
        use std::io::Read;
        let (mut datagram, mut text) = (Vec::new(), Vec::new());
        self.write(&mut datagram);
        if self.template.crc.is_some() {
            let limit = u64::try_from(limit).unwrap_or(u64::MAX);
            // What was read before an error is kept, and the packet is our own work anyway.
            let _ = flate2::read::GzDecoder::new(&*datagram).take(limit).read_to_end(&mut text);
        } else {
            text.extend(datagram.iter().take(limit));
        }
        String::from_utf8_lossy(&text).into_owned()
    }
}

/// A packet up to its end.
fn envelope(kind: &str, text: &str) -> Option<Vec<u8>> {
    // Quotes are escaped: a list grows by about a sixth.
    let mut plain = Vec::with_capacity(text.len() + text.len() / 4 + 64);
    plain.extend_from_slice(br#"{"type":""#);
    plain.extend_from_slice(kind.as_bytes());
    plain.extend_from_slice(br#"","data":"#);
    serde_json::to_writer(&mut plain, text).ok()?;
    Some(plain)
}

/// The beginning of a gzip file, which ends where a block does.
fn compress(plain: &[u8]) -> Option<(Vec<u8>, Option<Crc>)> {
    let mut head = Vec::with_capacity(plain.len() / 4);
    head.extend_from_slice(&GZIP_HEADER);
    let mut encoder = DeflateEncoder::new(head, LEVEL);
    encoder.write_all(plain).ok()?;
    encoder.flush().ok()?;
    let head = std::mem::take(encoder.get_mut());
    let mut crc = Crc::new();
    crc.update(plain);
    Some((head, Some(crc)))
}

/// Bytes of packets that are alive, and how many may be kept for a second send.
#[derive(Debug)]
pub(in crate::push) struct PacketBudget {
    used: AtomicUsize,
    limit: usize,
}

impl PacketBudget {
    pub(in crate::push) fn new(limit: usize) -> Self {
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

/// The packet id an ack names; `None` if `datagram` is no ack. Like Nacos it looks at nothing
/// but `lastRefTime`.
pub(in crate::push) fn parse_ack(datagram: &[u8]) -> Option<i64> {
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

    /// Ids have 16 digits.
    const ID: i64 = 4_503_599_627_370_497;

    fn unlimited() -> Arc<PacketBudget> {
        Arc::new(PacketBudget::new(usize::MAX))
    }

    fn encode(id: i64, data: &str) -> Packet {
        let template = Template::encode(1, data.as_bytes(), &unlimited()).unwrap();
        Packet::new(id, &Arc::new(template))
    }

    fn datagram(packet: &Packet) -> Vec<u8> {
        let mut datagram = b"whatever was there".to_vec();
        packet.write(&mut datagram);
        assert_eq!(datagram.len(), packet.len());
        datagram
    }

    /// A packet whose plain form has exactly `length` bytes.
    fn packet_of(length: usize) -> Packet {
        let frame = envelope("dom", "").unwrap().len() + TAIL_BYTES;
        let packet = encode(ID, &"x".repeat(length - frame));
        assert_eq!(packet.template.plain_bytes, length);
        packet
    }

    #[test]
    fn the_list_travels_as_a_string_inside_the_packet() {
        let list = r#"{"name":"g@@s","metadata":{"k":"a\"b\\é\n"}}"#;
        let packet: Value = serde_json::from_slice(&datagram(&encode(ID, list))).unwrap();
        assert_eq!(packet, json!({"type": "dom", "data": list, "lastRefTime": ID}));
    }

    #[test]
    fn the_keys_stand_in_the_order_of_nacos() {
        let text = br#"{"type":"dom","data":"{}","lastRefTime":4503599627370497}"#;
        assert_eq!(datagram(&encode(ID, "{}")), text);
    }

    #[test]
    fn packets_of_1024_bytes_are_compressed_and_shorter_ones_are_not() {
        let short = packet_of(PUSH_GZIP_THRESHOLD - 1);
        assert_eq!((short.len(), datagram(&short)[0]), (1_023, b'{'));
        let long = packet_of(PUSH_GZIP_THRESHOLD);
        assert_eq!(&datagram(&long)[..2], &[0x1f, 0x8b]);
        assert!(long.len() < 200, "{}", long.len());
        assert_eq!(long.text(usize::MAX).len(), 1_024);
        assert_eq!(long.text(10), r#"{"type":"d"#);
        assert_eq!(short.text(10), r#"{"type":"d"#);
    }

    #[test]
    fn a_compressed_packet_is_one_whole_gzip_file_whatever_its_number() {
        let list = "some list ".repeat(1_000);
        let template = Arc::new(Template::encode(1, list.as_bytes(), &unlimited()).unwrap());
        for id in [ID, 9_007_199_254_740_991] {
            let datagram = datagram(&Packet::new(id, &template));
            // Fails unless checksum and length are right.
            let mut decoder = flate2::bufread::GzDecoder::new(&*datagram);
            let outer: Value = serde_json::from_reader(&mut decoder).unwrap();
            assert_eq!(std::io::copy(&mut decoder, &mut std::io::sink()).unwrap(), 0);
            assert_eq!(decoder.into_inner(), b"", "nothing after it");
            assert_eq!((&outer["data"], &outer["lastRefTime"]), (&json!(list), &json!(id)));
        }
    }

    #[test]
    fn a_probe_has_no_list_and_is_short() {
        let probe = Packet::new(ID, &Arc::new(Template::probe(1, &unlimited()).unwrap()));
        let outer: Value = serde_json::from_slice(&datagram(&probe)).unwrap();
        assert_eq!(outer, json!({"type": "probe", "data": "", "lastRefTime": ID}));
    }

    #[test]
    fn a_hopelessly_long_list_is_not_compressed_at_all() {
        assert!(Template::encode(1, &vec![b'x'; MAX_LIST_BYTES + 1], &unlimited()).is_none());
        assert!(Template::encode(1, b"\xff", &unlimited()).is_none());
    }

    #[test]
    fn packets_above_the_budget_are_not_kept() {
        let budget = Arc::new(PacketBudget::new(100));
        let first = Template::encode(1, b"{}", &budget).unwrap();
        let second = Template::encode(2, &[b'x'; 100], &budget).unwrap();
        assert!(first.keep && !second.keep);
        drop((first, second));
        assert_eq!(budget.used.load(Relaxed), 0);
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
            let packet = encode(ID, &list);
            let outer: Value = serde_json::from_str(&packet.text(usize::MAX)).unwrap();
            prop_assert_eq!(outer["data"].as_str(), Some(list.as_str()));
        }
    }
}
