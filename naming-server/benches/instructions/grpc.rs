//! The same over gRPC. The frames of HTTP/2 are written and read here, so that what is counted is
//! nearly all the server's.

use std::net::SocketAddr;

use bytes::Bytes;
use memchr::memmem;
use naming_model::payload::Payload;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The answer of a call that was carried out.
const DONE: &[u8] = b"\"resultCode\":200";
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// `INITIAL_WINDOW_SIZE`, so that nothing ever waits for the client.
const SETTINGS: [u8; 6] = [0, 4, 0x7f, 0xff, 0xff, 0xff];
const LARGEST_WINDOW: u32 = 0x7fff_ffff;
const WINDOW_AT_FIRST: u32 = 65_535;
const FRAME_HEAD: usize = 9;

/// Types of frames.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS_FRAME: u8 = 4;
const PING: u8 = 6;
const GO_AWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
/// Flags of frames.
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

/// A message of the wire with its prefix, and what the answer must hold.
pub(super) struct Step {
    message: Bytes,
    expected: &'static [u8],
}

pub(super) fn steps(name: &str, service: &str) -> Vec<Step> {
    let of = |kind, body: String, expected| Step { message: message(kind, &body), expected };
    let instance = |action| of("InstanceRequest", instance(action, service), DONE);
    match name {
        "grpc-query" => {
            vec![of("ServiceQueryRequest", query(service), b"\"hosts\":[{")]
        }
        "grpc-register-again" => vec![instance("registerInstance")],
        "grpc-register-and-deregister" => {
            vec![instance("registerInstance"), instance("deregisterInstance")]
        }
        "grpc-health-check" => vec![of("HealthCheckRequest", EMPTY.to_owned(), DONE)],
        _ => panic!("no such name: {name}"),
    }
}

/// A connection that was set up.
pub(super) struct Client {
    stream: TcpStream,
    input: Vec<u8>,
    filled: usize,
    next_stream: u32,
    /// Whether the names and values of a call stand in the table of the connection.
    is_primed: bool,
}

impl Client {
    pub(super) async fn set_up(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("the server listens");
        stream.set_nodelay(true).expect("the connection stands");
        let input = vec![0; 256 << 10];
        let mut client = Self { stream, input, filled: 0, next_stream: 1, is_primed: false };
        let mut begin = PREFACE.to_vec();
        frame(&mut begin, SETTINGS_FRAME, 0, 0, &SETTINGS);
        let more = LARGEST_WINDOW - WINDOW_AT_FIRST;
        frame(&mut begin, WINDOW_UPDATE, 0, 0, &more.to_be_bytes());
        client.send(&begin).await;
        client
            .exchange(&Step { message: message("ServerCheckRequest", EMPTY), expected: DONE })
            .await;
        client.open_stream().await;
        // Until the server knows the connection, a call is answered with another code.
        while !client.call(&message("HealthCheckRequest", EMPTY), DONE).await {
            tokio::task::yield_now().await;
        }
        client
    }

    /// One call and its answer.
    pub(super) async fn exchange(&mut self, step: &Step) {
        assert!(self.call(&step.message, step.expected).await, "an answer is not as expected");
    }

    async fn open_stream(&mut self) {
        let mut head = vec![0x83, 0x86];
        literal(&mut head, 0x04, None, "/BiRequestStream/requestBiStream");
        literal(&mut head, 0x01, None, "127.0.0.1");
        literal(&mut head, 0x00, Some("content-type"), "application/grpc");
        literal(&mut head, 0x00, Some("te"), "trailers");
        let mut frames = Vec::new();
        let id = self.take_stream();
        frame(&mut frames, HEADERS, END_HEADERS, id, &head);
        frame(&mut frames, DATA, 0, id, &message("ConnectionSetupRequest", SETUP));
        self.send(&frames).await;
    }

    fn take_stream(&mut self) -> u32 {
        let id = self.next_stream;
        self.next_stream += 2;
        id
    }

    async fn call(&mut self, message: &[u8], expected: &[u8]) -> bool {
        let mut frames = Vec::with_capacity(message.len() + 256);
        let id = self.take_stream();
        let head = if self.is_primed { primed_head() } else { first_head() };
        self.is_primed = true;
        frame(&mut frames, HEADERS, END_HEADERS, id, &head);
        frame(&mut frames, DATA, END_STREAM, id, message);
        self.send(&frames).await;
        let (mut holds, mut ended) = (false, false);
        while !ended {
            let mut replies = Vec::new();
            let mut at = 0;
            while let Some((kind, flags, stream, payload)) =
                next_frame(&self.input[at..self.filled])
            {
                at += FRAME_HEAD + payload.len();
                let is_ours = stream == id;
                match kind {
                    // What is looked for comes early, also in a list.
                    DATA if is_ours => {
                        let early = &payload[..payload.len().min(900)];
                        holds |= memmem::find(early, expected).is_some();
                    }
                    HEADERS if is_ours => ended |= flags & END_STREAM != 0,
                    SETTINGS_FRAME if flags & ACK == 0 => {
                        frame(&mut replies, SETTINGS_FRAME, ACK, 0, &[]);
                    }
                    PING if flags & ACK == 0 => frame(&mut replies, PING, ACK, 0, payload),
                    RESET | GO_AWAY => panic!("the server ended a stream or the connection"),
                    _ => {}
                }
            }
            self.input.copy_within(at..self.filled, 0);
            self.filled -= at;
            if !replies.is_empty() {
                self.send(&replies).await;
            }
            if !ended {
                let read = self.stream.read(&mut self.input[self.filled..]).await;
                let read = read.expect("the connection stands");
                assert_ne!(read, 0, "the server closed the connection");
                self.filled += read;
            }
        }
        holds
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("the connection stands");
    }
}

/// Type, flags, stream and payload of the first frame, once it is whole.
fn next_frame(input: &[u8]) -> Option<(u8, u8, u32, &[u8])> {
    let head = input.get(..FRAME_HEAD)?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
    let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & LARGEST_WINDOW;
    let payload = input.get(FRAME_HEAD..FRAME_HEAD + length)?;
    Some((head[3], head[4], stream, payload))
}

fn frame(target: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let length = u32::try_from(payload.len()).expect("frames are short").to_be_bytes();
    target.extend_from_slice(&length[1..]);
    target.extend_from_slice(&[kind, flags]);
    target.extend_from_slice(&stream.to_be_bytes());
    target.extend_from_slice(payload);
}

/// The head of the first call: what does not stand in the table of HPACK goes into it.
fn first_head() -> Vec<u8> {
    let mut head = vec![0x83, 0x86];
    literal(&mut head, 0x44, None, "/Request/request");
    literal(&mut head, 0x41, None, "127.0.0.1:9848");
    literal(&mut head, 0x40, Some("content-type"), "application/grpc");
    literal(&mut head, 0x40, Some("te"), "trailers");
    literal(&mut head, 0x40, Some("user-agent"), "grpc-java-netty/1.57.2");
    head
}

/// That of all others: the five are the newest of the table, the last one first.
fn primed_head() -> Vec<u8> {
    vec![0x83, 0x86, 0x80 | 66, 0x80 | 65, 0x80 | 64, 0x80 | 63, 0x80 | 62]
}

fn literal(head: &mut Vec<u8>, first: u8, name: Option<&str>, value: &str) {
    head.push(first);
    for text in name.into_iter().chain([value]) {
        // Lengths below 127 take one byte.
        head.push(u8::try_from(text.len()).expect("texts are short"));
        head.extend_from_slice(text.as_bytes());
    }
}

/// A message of the wire, with the prefix of gRPC.
fn message(kind: &str, body: &str) -> Bytes {
    Payload::new(kind, body.to_owned()).with_client_ip("127.0.0.1").framed()
}

const EMPTY: &str = "{\"headers\":{},\"module\":\"internal\"}";
const SETUP: &str = "{\"headers\":{},\"clientVersion\":\"Nacos-Java-Client:v2.5.1\",\"tenant\":\"\",\
    \"labels\":{\"source\":\"sdk\",\"module\":\"naming\"},\"abilityTable\":{},\
    \"module\":\"internal\"}";

fn query(service: &str) -> String {
    format!(
        "{{\"headers\":{{\"app\":\"unknown\"}},\"namespace\":\"public\",\
         \"serviceName\":\"{service}\",\"groupName\":\"DEFAULT_GROUP\",\"cluster\":\"\",\
         \"healthyOnly\":false,\"udpPort\":0,\"module\":\"naming\"}}"
    )
}

fn instance(action: &str, service: &str) -> String {
    format!(
        "{{\"headers\":{{\"app\":\"unknown\"}},\"namespace\":\"public\",\
         \"serviceName\":\"{service}\",\"groupName\":\"DEFAULT_GROUP\",\"type\":\"{action}\",\
         \"instance\":{{\"ip\":\"10.200.0.1\",\"port\":8080,\"weight\":1.0,\"healthy\":true,\
         \"enabled\":true,\"ephemeral\":true,\"clusterName\":\"DEFAULT\",\
         \"serviceName\":\"DEFAULT_GROUP@@{service}\",\"metadata\":{{\"version\":\"1.0.0\"}},\
         \"instanceHeartBeatInterval\":5000,\"instanceHeartBeatTimeOut\":15000,\
         \"ipDeleteTimeout\":30000,\"instanceIdGenerator\":\"simple\"}},\"module\":\"naming\"}}"
    )
}
