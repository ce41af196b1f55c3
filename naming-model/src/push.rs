//! The UDP datagrams of push: packet and acknowledgement.

use serde::{Deserialize, Serialize};

/// What a server sends when a service changed. Packets of [`crate::PUSH_GZIP_THRESHOLD`] bytes
/// and more are gzip-compressed as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PushPacket {
    /// `dom` or `service` carries a list, `dump` asks for the client's own view.
    #[serde(rename = "type")]
    pub kind: String,
    /// An [`crate::InstanceList`] as JSON text.
    #[serde(default)]
    pub data: String,
    /// Ties the acknowledgement to the packet; not a wall clock.
    #[serde(default)]
    pub last_ref_time: u64,
}

impl PushPacket {
    /// Whether `data` is a list of instances.
    pub fn carries_list(&self) -> bool {
        self.kind == "dom" || self.kind == "service"
    }
}

/// What the receiver of a packet sends back, from the socket that received it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PushAck {
    /// `push-ack`, `dump-ack` or `unknown-ack`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The number of the packet. Java and Go send it as text, Node as a number.
    pub last_ref_time: String,
    /// Empty for lists.
    #[serde(default)]
    pub data: String,
}

impl PushAck {
    /// The answer to `packet`, as Java's client words it.
    pub fn to(packet: &PushPacket) -> Self {
        let kind = match packet.kind.as_str() {
            "dom" | "service" => "push-ack",
            "dump" => "dump-ack",
            _ => "unknown-ack",
        };
        Self {
            kind: kind.to_owned(),
            last_ref_time: packet.last_ref_time.to_string(),
            data: String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_read_and_acknowledged_with_its_number_as_text() {
        let text = r#"{"type":"dom","data":"{\"hosts\":[]}","lastRefTime":123456789012345}"#;
        let packet: PushPacket = serde_json::from_str(text).unwrap();
        assert!(packet.carries_list());
        let ack = serde_json::to_string(&PushAck::to(&packet)).unwrap();
        assert_eq!(ack, r#"{"type":"push-ack","lastRefTime":"123456789012345","data":""}"#);
    }

    #[test]
    fn an_unknown_kind_is_acknowledged_as_such() {
        let packet: PushPacket = serde_json::from_str(r#"{"type":"x"}"#).unwrap();
        assert!(!packet.carries_list());
        assert_eq!(PushAck::to(&packet).kind, "unknown-ack");
        let dump = PushPacket { kind: "dump".to_owned(), ..packet };
        assert_eq!(PushAck::to(&dump).kind, "dump-ack");
    }
}
