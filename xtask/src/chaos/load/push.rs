//! Receives what a node pushes and acknowledges it, as the Java client does.

use std::collections::HashMap;
use std::io::Read;
use std::rc::Rc;

use flate2::read::GzDecoder;
use serde::Deserialize;
use tokio::net::UdpSocket;

use super::Shared;
use super::hosts::List;
use crate::chaos::judge::{Channel, Seen};

const LARGEST_DATAGRAM: usize = 65_536;
const LARGEST_PACKET: u64 = 4 * 1024 * 1024;

#[derive(Deserialize)]
struct Packet {
    data: String,
    #[serde(rename = "lastRefTime")]
    number: u64,
}

/// Listens until the task is aborted. Only subscriptions at `node` name this socket.
pub(super) async fn listen(shared: Rc<Shared>, node: usize, socket: UdpSocket) {
    let mut buffer = vec![0; LARGEST_DATAGRAM];
    let mut newest = HashMap::new();
    loop {
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else { continue };
        let at = shared.now();
        let Some(packet) = buffer.get(..length).and_then(decode) else { continue };
        let ack =
            format!(r#"{{"type": "push-ack", "lastRefTime":"{}", "data":""}}"#, packet.number);
        // One that gets lost is asked for again.
        let _ = socket.send_to(ack.as_bytes(), from).await;
        let Some(list) = List::parse(packet.data.as_bytes()) else { continue };
        // Clients ignore what is older than what they have.
        let known = newest.entry(list.service).or_insert(0);
        if list.made_ms < *known {
            continue;
        }
        *known = list.made_ms;
        let (channel, service, hosts) = (Channel::Push, list.service, &list.hosts);
        let seen = Seen { node, channel, service, begun: at, received: at, hosts };
        shared.judge.borrow_mut().seen(&seen);
    }
}

fn decode(datagram: &[u8]) -> Option<Packet> {
    if !datagram.starts_with(&[0x1f, 0x8b]) {
        return serde_json::from_slice(datagram).ok();
    }
    let mut text = Vec::new();
    GzDecoder::new(datagram).take(LARGEST_PACKET).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const PACKET: &[u8] = br#"{"type":"dom","data":"{\"name\":\"x\"}","lastRefTime":123}"#;

    #[test]
    fn packets_are_read_with_and_without_compression() {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(PACKET).unwrap();
        for datagram in [PACKET, &encoder.finish().unwrap()] {
            let packet = decode(datagram).unwrap();
            assert_eq!((packet.data.as_str(), packet.number), (r#"{"name":"x"}"#, 123));
        }
        assert!(decode(&PACKET[..20]).is_none());
        assert!(decode(&[0x1f, 0x8b, 1, 2]).is_none());
    }
}
