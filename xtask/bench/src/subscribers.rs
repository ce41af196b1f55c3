//! Many UDP subscribers of one service, each with a socket of its own.

use std::cell::RefCell;
use std::io::Read;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use memchr::memmem;
use tokio::net::UdpSocket;
use tokio::task::LocalSet;

use super::wire::{Connection, is_expected, unexpected};

/// Requests sent at once while subscribing.
const PIPELINE: usize = 64;
const LARGEST_PACKET_BYTES: usize = 1 << 16;

/// What subscribers do with what they are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// Acknowledge everything.
    Acknowledge,
    /// Keep the socket open and never look at it.
    Stall,
}

/// Sockets that are subscribed; read by a thread that ends with this handle.
pub(super) struct Crowd {
    service: String,
    ports: Vec<u16>,
    seen: Arc<Seen>,
    /// Stalled ones are kept here, unread.
    _idle: Vec<UdpSocket>,
}

#[derive(Default)]
struct Seen {
    packets: AtomicU64,
    stopped: AtomicBool,
}

impl Crowd {
    /// Opens sockets and subscribes each to `service`, a name with its group.
    pub(super) async fn open(
        server: SocketAddr,
        service: &str,
        count: usize,
        manner: Manner,
    ) -> Result<Self> {
        let mut sockets = Vec::with_capacity(count);
        for _ in 0..count {
            sockets.push(std::net::UdpSocket::bind(("127.0.0.1", 0))?);
        }
        let ports: std::io::Result<_> =
            sockets.iter().map(|socket| Ok(socket.local_addr()?.port())).collect();
        let ports = ports?;
        for socket in &sockets {
            socket.set_nonblocking(true)?;
        }
        let seen = Arc::new(Seen::default());
        let mut idle = Vec::new();
        if manner == Manner::Acknowledge {
            let seen = Arc::clone(&seen);
            std::thread::spawn(move || listen(sockets, &seen));
        } else {
            for socket in sockets {
                idle.push(UdpSocket::from_std(socket)?);
            }
        }
        let crowd = Self { service: service.to_owned(), ports, seen, _idle: idle };
        crowd.renew(server).await?;
        Ok(crowd)
    }

    /// Subscribes all of them again: that lasts for 10 s.
    pub(super) async fn renew(&self, server: SocketAddr) -> Result<()> {
        let mut connection = Connection::open(server).await?;
        for ports in self.ports.chunks(PIPELINE) {
            let requests: String = ports
                .iter()
                .map(|port| {
                    format!(
                        "GET /nacos/v1/ns/instance/list?serviceName={}&namespaceId=public\
                         &clusters=&udpPort={port}&clientIP=127.0.0.1&healthyOnly=false HTTP/1.1\
                         \r\nHost: bench\r\nUser-Agent: Nacos-Java-Client:v1.4.8\r\n\r\n",
                        self.service
                    )
                })
                .collect();
            connection.send(requests.as_bytes()).await?;
            for _ in ports {
                let judge = |status, _: &[u8], body: &[u8]| {
                    ensure!(is_expected(status, body, b"\"hosts\":"), unexpected(status, body));
                    Ok(())
                };
                connection.receive(judge).await??;
            }
        }
        Ok(())
    }

    /// Packets received by all so far.
    pub(super) fn packets(&self) -> u64 {
        self.seen.packets.load(Ordering::Acquire)
    }

    /// The moment when all together have received `wanted` packets; `None` if they do not within
    /// `patience`.
    pub(super) async fn wait_for(&self, wanted: u64, patience: Duration) -> Option<Instant> {
        let deadline = Instant::now() + patience;
        while self.packets() < wanted {
            if Instant::now() > deadline {
                return None;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Some(Instant::now())
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.seen.stopped.store(true, Ordering::Relaxed);
    }
}

/// A thread of its own: what it costs is no time of whoever measures.
fn listen(sockets: Vec<std::net::UdpSocket>, seen: &Arc<Seen>) {
    const LOOK: Duration = Duration::from_millis(50);
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return;
    };
    LocalSet::new().block_on(&runtime, async {
        let reader = Rc::new(RefCell::new(Reader::default()));
        for socket in sockets {
            let (seen, reader) = (Arc::clone(seen), Rc::clone(&reader));
            tokio::task::spawn_local(async move {
                // Without its socket a subscriber is stalled, and its packets are missed.
                let _ = acknowledge_all(socket, &seen, &reader).await;
            });
        }
        while !seen.stopped.load(Ordering::Relaxed) {
            tokio::time::sleep(LOOK).await;
        }
    });
}

async fn acknowledge_all(
    socket: std::net::UdpSocket,
    seen: &Seen,
    reader: &RefCell<Reader>,
) -> Result<()> {
    let socket = UdpSocket::from_std(socket)?;
    loop {
        socket.readable().await?;
        let Some((reference, source)) = reader.borrow_mut().read(&socket)? else { continue };
        seen.packets.fetch_add(1, Ordering::Release);
        let ack = format!(r#"{{"type":"push-ack","lastRefTime":"{reference}","data":""}}"#);
        socket.send_to(ack.as_bytes(), source).await?;
    }
}

/// One buffer for all sockets, and the last packet: many subscribers are sent the same one, which
/// need not be inflated again.
#[derive(Default)]
struct Reader {
    buffer: Vec<u8>,
    last: Vec<u8>,
    reference: u64,
}

impl Reader {
    fn read(&mut self, socket: &UdpSocket) -> Result<Option<(u64, SocketAddr)>> {
        self.buffer.resize(LARGEST_PACKET_BYTES, 0);
        let (length, source) = match socket.try_recv_from(&mut self.buffer) {
            Ok(received) => received,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let packet = &self.buffer[..length];
        if packet != self.last {
            self.reference = reference_in(packet).context("a packet without reference")?;
            self.last.clear();
            self.last.extend_from_slice(packet);
        }
        Ok(Some((self.reference, source)))
    }
}

/// The number that an ack repeats.
fn reference_in(packet: &[u8]) -> Option<u64> {
    // Within the data, which is a string itself, quotes have backslashes.
    const NAME: &[u8] = b"\"lastRefTime\":";
    const GZIP: [u8; 2] = [0x1f, 0x8b];
    /// Our server stores the end of a packet as it is, with the number and two numbers of gzip.
    const END: usize = 64;
    let end = packet.get(packet.len().saturating_sub(END)..).unwrap_or_default();
    if let Some(at) = memmem::rfind(end, NAME) {
        return number_in(&end[at + NAME.len()..]);
    }
    let mut inflated = Vec::new();
    let plain = if packet.starts_with(&GZIP) {
        flate2::read::GzDecoder::new(packet).read_to_end(&mut inflated).ok()?;
        &inflated
    } else {
        packet
    };
    number_in(&plain[memmem::find(plain, NAME)? + NAME.len()..])
}

fn number_in(rest: &[u8]) -> Option<u64> {
    let digits = rest.iter().skip_while(|byte| **byte == b'"').take_while(|b| b.is_ascii_digit());
    digits.map(|byte| char::from(*byte)).collect::<String>().parse().ok()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn the_reference_is_found_in_plain_and_compressed_packets() {
        let packet = br#"{"type":"dom","data":"{\"lastRefTime\":1}","lastRefTime":42}"#;
        assert_eq!(reference_in(packet), Some(42));
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(packet).unwrap();
        assert_eq!(reference_in(&encoder.finish().unwrap()), Some(42));
        assert_eq!(reference_in(b"{}"), None);
    }
}
