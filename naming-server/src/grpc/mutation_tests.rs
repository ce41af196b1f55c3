//! Messages that nobody would write: valid ones with bytes changed at random, from a seed, go all the
//! way from the bytes of a stream to the answer. Nothing panics, every call has an answer, and every
//! answer is JSON.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use distro_net::{Address, TcpConnector};
use fastrand::Rng;
use naming_model::payload::frame;
use tokio::net::UdpSocket;

use super::Front;
use super::answer::Answer;
use super::budget::Account;
use super::connections::Connection;
use super::dispatch::dispatch;
use super::flow::Flow;
use super::mailbox::Mailbox;
use super::messages::Messages;
use crate::app::{App, Resources, Sockets};
use crate::membership::Origin;

/// Messages of one run.
const CASES: usize = 20_000;

/// What clients send: kind and body. Calls, and what comes over the stream.
const CALLS: &[(&str, &str)] = &[
    ("ServerCheckRequest", r#"{"headers":{},"requestId":"1","module":"internal"}"#),
    ("HealthCheckRequest", r#"{"headers":{},"requestId":null}"#),
    (
        "InstanceRequest",
        r#"{"namespace":"public","serviceName":"s","groupName":"g","type":"registerInstance",
        "instance":{"instanceId":"i","ip":"10.0.0.1","port":8080,"weight":1.5,"healthy":true,
        "enabled":true,"ephemeral":true,"clusterName":"c","serviceName":"g@@s",
        "metadata":{"k":"v","preserved.heart.beat.interval":"1000"}}}"#,
    ),
    (
        "InstanceRequest",
        r#"{"serviceName":"g@@s","type":"deregisterInstance","instance":{"ip":"::1","port":1}}"#,
    ),
    (
        "BatchInstanceRequest",
        r#"{"namespace":"n","serviceName":"b","groupName":"g","type":"batchRegisterInstance",
        "instances":[{"ip":"10.0.0.1","port":1},{"ip":"10.0.0.2","port":2,"metadata":{"a":"b"}}]}"#,
    ),
    (
        "PersistentInstanceRequest",
        r#"{"serviceName":"p","type":"registerInstance","instance":{"ip":"10.0.0.9","port":9,
        "ephemeral":false,"weight":0,"healthy":false}}"#,
    ),
    (
        "SubscribeServiceRequest",
        r#"{"serviceName":"s","groupName":"g","clusters":"a,b","subscribe":true}"#,
    ),
    (
        "ServiceQueryRequest",
        r#"{"serviceName":"s","groupName":"g","cluster":"c","healthyOnly":true,"udpPort":0}"#,
    ),
    (
        "ServiceListRequest",
        r#"{"namespace":"public","groupName":"g","pageNo":1,"pageSize":10,"selector":""}"#,
    ),
    (
        "NamingFuzzyWatchRequest",
        r#"{"groupKeyPattern":"public>>g*>>s*","watchType":"WATCH","initializing":true,
        "receivedGroupKeys":["public@@g@@s"],"namespace":"public"}"#,
    ),
    ("ConfigQueryRequest", r#"{"dataId":"d","group":"g","tenant":"","tag":null}"#),
    ("ConfigBatchListenRequest", r#"{"listen":true,"configListenContexts":[{"dataId":"d"}]}"#),
    ("ConfigPublishRequest", r#"{"dataId":"d","content":"x","additionMap":{"a":"b"}}"#),
    ("ConfigRemoveRequest", r#"{"dataId":"d"}"#),
    ("ServerReloadRequest", r#"{"reloadCount":1,"reloadServer":"x"}"#),
    ("LockOperationRequest", r#"{"lockInstance":{}}"#),
];

const TOLD: &[(&str, &str)] = &[
    (
        "ConnectionSetupRequest",
        r#"{"clientVersion":"Nacos-Java-Client:v3.0.0","tenant":"","labels":{"module":"naming"},
        "abilityTable":{"fuzzyWatch":true},"headers":{}}"#,
    ),
    ("NotifySubscriberResponse", r#"{"resultCode":200,"errorCode":0,"requestId":"1"}"#),
    ("ClientDetectionResponse", r#"{"resultCode":500,"requestId":"2","message":null}"#),
    ("NamingFuzzyWatchSyncResponse", r#"{"resultCode":200,"requestId":"3"}"#),
];

/// What numbers and texts are replaced with.
const ODD: &[&str] = &[
    "null",
    "-1",
    "65536",
    "1e308",
    "-9223372036854775809",
    "18446744073709551616",
    "NaN",
    "\"\"",
    "[]",
    "{}",
    "true",
    "[[[[[[[[[[[[[[[[",
    "\"\\ud800\"",
    "\"\\u0000\"",
    "0.1e-400",
    "\"@@\"",
    "\"a@@b@@c\"",
    "\"##\"",
    "\">>\"",
    "{\"a\":{\"a\":{\"a\":{}}}}",
];

struct Server {
    front: Arc<Front>,
    _app: App,
}

impl Server {
    async fn start() -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let sockets = Sockets { push: socket.into(), checks: Arc::new(TcpConnector) };
        let origin = Origin::new("127.0.0.1:8848".parse::<Address>().unwrap());
        let app = App::new(&crate::Config::default(), origin, None, sockets, Resources::default());
        Self { front: Arc::clone(&app.grpc), _app: app }
    }

    fn connect(&self) -> Arc<Connection> {
        let front = &self.front;
        let (flow, peer) = (Arc::new(Flow::new()), SocketAddr::from(([127, 0, 0, 1], 5_000)));
        let most = front.settings.max_buffered_bytes_per_connection;
        let account = Account::new(most, Arc::clone(&front.budget), Arc::default());
        let (outbox, now) = (front.naming.pusher().outbox(), front.now());
        front.connections.open(peer, Arc::new(account), flow, outbox, now)
    }
}

/// Changes a text a little, or not at all.
fn mutate(random: &mut Rng, bytes: &mut Vec<u8>) {
    for _ in 0..random.usize(0..4) {
        if bytes.is_empty() {
            return;
        }
        let at = random.usize(0..bytes.len());
        match random.u8(0..7) {
            0 => bytes[at] = random.u8(..),
            1 => bytes[at] ^= 1 << random.u8(0..8),
            2 => _ = bytes.remove(at),
            3 => bytes.insert(at, b"\"{}[]:,\\0e-"[random.usize(0..11)]),
            4 => bytes.truncate(at),
            5 => {
                let end = (at + random.usize(0..40)).min(bytes.len());
                let again = bytes[at..end].to_vec();
                let _ = bytes.splice(at..at, again).count();
            }
            _ => replace_value(random, bytes, at),
        }
    }
}

/// Puts something odd in place of the value after the next colon.
fn replace_value(random: &mut Rng, bytes: &mut Vec<u8>, at: usize) {
    let Some(colon) = bytes[at..].iter().position(|byte| *byte == b':') else { return };
    let start = at + colon + 1;
    let length = bytes[start..].iter().position(|byte| b",}]".contains(byte));
    let end = start + length.unwrap_or(bytes.len() - start);
    let odd = ODD[random.usize(0..ODD.len())];
    let _ = bytes.splice(start..end, odd.bytes()).count();
}

/// A message as it comes: its body changed, or its frame, or its kind.
fn message(random: &mut Rng, (kind, body): (&str, &str)) -> Vec<u8> {
    let mut body = body.as_bytes().to_vec();
    mutate(random, &mut body);
    let mut kind = kind.to_owned();
    if random.u8(..) < 8 {
        kind.truncate(random.usize(0..kind.len()));
    }
    let mut framed = frame(&kind, "10.0.0.1", &[Bytes::from(body)]).concat();
    if random.u8(..) < 64 {
        mutate(random, &mut framed);
    }
    framed
}

fn check(answer: &Answer) {
    let json: serde_json::Value = answer.json();
    assert!(json["resultCode"].is_i64() && json["success"].is_boolean(), "{json}");
}

#[tokio::test]
async fn messages_with_bytes_changed_at_random_are_answered_and_panic_nowhere() {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(7);
    let (server, mut random) = (Server::start().await, Rng::with_seed(seed));
    let (began, mut answered, mut connection) = (Instant::now(), 0, server.connect());
    let mailbox = Arc::new(Mailbox::default());
    for n in 0..CASES {
        let is_call = connection.client().is_some() && random.u8(..) > 16;
        let told = if is_call { CALLS } else { TOLD };
        let told = if connection.client().is_none() { &told[..1] } else { told };
        let picked = told[random.usize(0..told.len())];
        let bytes = message(&mut random, picked);
        let mut messages = Messages::new(&connection.account, random.bool());
        if messages.push(Bytes::from(bytes)).is_ok() {
            while let Ok(Some((payload, _charge))) = messages.pop() {
                if is_call {
                    check(&dispatch(&server.front, &connection, payload).await);
                    answered += 1;
                } else {
                    let _ = server.front.hear(&connection, &mailbox, payload);
                }
            }
        }
        while mailbox.take().is_some() {}
        if n % 500 == 499 {
            server.front.end(&connection);
            connection = server.connect();
        }
    }
    assert!(answered > CASES / 4, "{answered} calls had an answer");
    assert!(began.elapsed() < Duration::from_secs(120), "{:?}", began.elapsed());
    // What is left of it is small: connections that are over keep nothing.
    server.front.end(&connection);
    assert_eq!(server.front.connections.len(), 0);
    assert_eq!(server.front.budget.taken(), 0);
}
