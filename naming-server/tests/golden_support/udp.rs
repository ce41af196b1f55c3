//! The subscriber's end of UDP push: receive packets, open them, acknowledge them.

use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use flate2::read::GzDecoder;
use serde::Serialize;
use serde_json::Value;

use super::json;
use super::scenario::ReferenceForm;

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
/// Longest packet after decompression, in bytes.
const PLAIN_LIMIT: u64 = 1 << 20;

/// A socket a scenario subscribes with.
#[derive(Debug)]
pub(crate) struct PushSocket {
    socket: UdpSocket,
}

/// What arrived, as it arrived.
#[derive(Debug)]
pub(crate) struct Datagram {
    bytes: Vec<u8>,
    source: SocketAddr,
}

/// A datagram opened.
#[derive(Debug)]
pub(crate) struct Packet {
    pub(crate) gzip: bool,
    pub(crate) plain: String,
    pub(crate) outer: Value,
    source: SocketAddr,
}

impl PushSocket {
    /// Binds to a free port of `address`.
    pub(crate) fn open(address: IpAddr) -> io::Result<Self> {
        Ok(Self { socket: UdpSocket::bind((address, 0))? })
    }

    pub(crate) fn port(&self) -> io::Result<u16> {
        Ok(self.socket.local_addr()?.port())
    }

    /// The next datagram, or nothing if none comes within `wait`. One that is already there is
    /// returned even if `wait` is zero.
    pub(crate) fn receive(&self, wait: Duration) -> io::Result<Option<Datagram>> {
        // A zero time-out would mean to wait for ever.
        self.socket.set_read_timeout(Some(wait.max(Duration::from_millis(1))))?;
        let mut bytes = vec![0; usize::from(u16::MAX)];
        match self.socket.recv_from(&mut bytes) {
            Ok((length, source)) => {
                bytes.truncate(length);
                Ok(Some(Datagram { bytes, source }))
            }
            Err(error)
                if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Acknowledges `packet` the way clients do.
    pub(crate) fn acknowledge(&self, packet: &Packet, form: ReferenceForm) -> Result<(), String> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Ack<'a> {
            r#type: &'a str,
            last_ref_time: Value,
            data: &'a str,
        }
        let reference = packet.outer.get("lastRefTime").ok_or("the packet has no lastRefTime")?;
        let last_ref_time = match (form, reference) {
            (ReferenceForm::String, Value::Number(number)) => number.to_string().into(),
            _ => reference.clone(),
        };
        let ack = Ack { r#type: "push-ack", last_ref_time, data: "" };
        let bytes = serde_json::to_vec(&ack).map_err(|error| error.to_string())?;
        self.socket.send_to(&bytes, packet.source).map_err(|error| error.to_string())?;
        Ok(())
    }
}

impl Datagram {
    /// Unpacks and parses the datagram.
    pub(crate) fn open(self) -> Result<Packet, String> {
        let gzip = self.bytes.starts_with(&GZIP_MAGIC);
        let bytes = if gzip { unzip(&self.bytes)? } else { self.bytes };
        let plain = String::from_utf8(bytes).map_err(|error| format!("not UTF-8: {error}"))?;
        let outer = json::parse(&plain).map_err(|error| format!("not JSON: {error}: {plain}"))?;
        Ok(Packet { gzip, plain, outer, source: self.source })
    }

    /// The datagram as text for a message, whatever it is.
    pub(crate) fn shown(self) -> String {
        let length = self.bytes.len();
        match self.open() {
            Ok(packet) => json::shown(&packet.outer),
            Err(error) => format!("{length} bytes, {error}"),
        }
    }
}

fn unzip(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let mut plain = Vec::new();
    let read = GzDecoder::new(bytes).take(PLAIN_LIMIT).read_to_end(&mut plain);
    read.map_err(|error| format!("not gzip: {error}"))?;
    Ok(plain)
}
