//! Receiving the servers' UDP pushes: one socket and one task per client.

use std::borrow::Cow;
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use flate2::read::GzDecoder;
use naming_model::{InstanceList, PushAck, PushPacket};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::sync::watch;

use crate::call::Core;
use crate::names::{ServiceName, ServiceQuery};
use crate::poll::Topics;
use crate::topic::{Source, Verdict};

const MAX_DATAGRAM: usize = 65_536;
/// A datagram of compressed zeros must not become a memory of gigabytes.
const MAX_UNPACKED: u64 = 16 * 1024 * 1024;
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
/// Room for bursts of large packets before the task gets to read them.
const RECEIVE_BUFFER: usize = 1024 * 1024;

/// Opens the socket: both address families if the system has both and no address is given.
pub(crate) fn bind(address: Option<IpAddr>, port: u16) -> io::Result<UdpSocket> {
    match address {
        Some(address) => open((address, port).into()),
        None => open((Ipv6Addr::UNSPECIFIED, port).into())
            .or_else(|_| open((Ipv4Addr::UNSPECIFIED, port).into())),
    }
}

fn open(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    // The kernel may give less; that costs pushes in bursts, and polling makes up for them.
    let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}

/// Receives until the client ends.
pub(crate) async fn run(
    core: Arc<Core>,
    topics: Arc<Topics>,
    socket: UdpSocket,
    mut stop: watch::Receiver<bool>,
) {
    let mut buffer = vec![0; MAX_DATAGRAM];
    loop {
        let received = tokio::select! {
            // The sender is dropped with the client's last handle.
            _ = stop.changed() => return,
            received = socket.recv_from(&mut buffer) => received,
        };
        match received {
            Ok((length, sender)) => {
                let datagram = buffer.get(..length).unwrap_or_default();
                if let Some(ack) = take(&core, &topics, datagram, sender) {
                    // A lost acknowledgement costs one repeated packet.
                    let _ = socket.send_to(&ack, sender).await;
                }
            }
            // Errors of earlier sends surface here (port unreachable); they end nothing.
            Err(error) => {
                tracing::debug!(%error, "receiving a push failed");
                tokio::task::yield_now().await;
            }
        }
    }
}

/// Uses one datagram; gives the acknowledgement to send. What cannot be read gets none.
fn take(core: &Core, topics: &Topics, datagram: &[u8], sender: SocketAddr) -> Option<Vec<u8>> {
    let text = unpack(datagram)?;
    let packet: PushPacket = serde_json::from_slice(&text).ok()?;
    if packet.carries_list() {
        use_list(core, topics, &packet.data, sender);
    }
    serde_json::to_vec(&PushAck::to(&packet)).ok()
}

fn unpack(datagram: &[u8]) -> Option<Cow<'_, [u8]>> {
    if !datagram.starts_with(&GZIP_MAGIC) {
        return Some(Cow::Borrowed(datagram));
    }
    let mut text = Vec::new();
    GzDecoder::new(datagram).take(MAX_UNPACKED).read_to_end(&mut text).ok()?;
    Some(Cow::Owned(text))
}

fn use_list(core: &Core, topics: &Topics, data: &str, sender: SocketAddr) {
    let Some(query) = read_query(data) else { return };
    let Some(topic) = topics.find(&query) else { return };
    let list: Option<InstanceList> = serde_json::from_str(data).ok();
    // Anyone can send datagrams. Only from a server's address are they taken at their word;
    // others (an interface we do not know of, a forger) are a reason to ask.
    let (Some(list), true) = (list, core.servers.knows(sender.ip().to_canonical())) else {
        topics.hint(&topic);
        return;
    };
    core.counters.note_push();
    match topics.apply(&topic, list.hosts, list.last_ref_time, Source::Push { sender }) {
        Verdict::AskAgain(pause) => topics.ask_again(&topic, pause),
        Verdict::Changed | Verdict::Unchanged | Verdict::Ignored => {}
    }
}

/// Which of our queries the list answers. The servers echo the clusters as we sent them.
fn read_query(data: &str) -> Option<ServiceQuery> {
    #[derive(serde::Deserialize)]
    struct Head<'a> {
        #[serde(borrow)]
        name: Cow<'a, str>,
        #[serde(borrow, default)]
        clusters: Cow<'a, str>,
    }
    let head: Head<'_> = serde_json::from_str(data).ok()?;
    let service: ServiceName = head.name.parse().ok()?;
    let clusters = head.clusters.split(',').filter(|name| !name.is_empty());
    ServiceQuery::new(service).clusters(clusters).ok()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn plain_and_gzip_packets_are_read_and_garbage_is_not() {
        let text = br#"{"type":"dom","data":"{}","lastRefTime":7}"#;
        assert_eq!(unpack(text).unwrap().as_ref(), text);
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text).unwrap();
        let packed = encoder.finish().unwrap();
        assert_eq!(unpack(&packed).unwrap().as_ref(), text);
        assert!(unpack(&packed[..packed.len() / 2]).is_none());
        assert!(unpack(&[0x1f, 0x8b, 1, 2, 3]).is_none());
    }

    proptest::proptest! {
        #[test]
        fn no_datagram_panics(bytes: Vec<u8>, name in "[a-z@,]{0,20}", clusters in "[a-z,]{0,20}") {
            let packed = [&GZIP_MAGIC[..], &bytes].concat();
            let _ = (unpack(&bytes), unpack(&packed));
            let _ = read_query(&String::from_utf8_lossy(&bytes));
            let list = serde_json::json!({"name": name, "clusters": clusters}).to_string();
            let _ = read_query(&list);
        }
    }

    #[test]
    fn a_bomb_is_unpacked_to_a_limit_only() {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        for _ in 0..32 {
            encoder.write_all(&vec![b' '; 1024 * 1024]).unwrap();
        }
        let packed = encoder.finish().unwrap();
        assert!(packed.len() < MAX_DATAGRAM);
        let unpacked = unpack(&packed).map_or(0, |text| text.len() as u64);
        assert!(unpacked <= MAX_UNPACKED);
    }

    #[test]
    fn the_query_of_a_push_is_found_whatever_the_order_of_clusters() {
        let query = read_query(r#"{"name":"g@@s","clusters":"b,a","hosts":[]}"#).unwrap();
        assert_eq!(query.to_string(), "g@@s[a,b]");
        assert_eq!(read_query(r#"{"name":"g@@s"}"#).unwrap().cluster_text(), "");
        assert!(read_query(r#"{"hosts":[]}"#).is_none());
        assert!(read_query("[]").is_none());
    }
}
