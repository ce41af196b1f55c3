//! The pusher over real loopback sockets, with a source made up for the purpose.

mod flood;
mod load;
mod rules;

use std::io::Read;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

use naming_model::ServiceKey;

use super::*;

/// Nothing here takes that long unless it never comes.
const DEADLINE: Duration = Duration::from_secs(10);
const CACHE_TIME: Duration = Duration::from_secs(10);

type Hook = Box<dyn FnOnce() + Send>;

/// Shows its revision, and `padding` to reach a wanted length.
#[derive(Default)]
struct FakeSource {
    revision: AtomicU64,
    renders: AtomicU64,
    padding: Mutex<String>,
    /// Called once, after the revision was read.
    while_rendering: Mutex<Option<Hook>>,
}

impl Source for FakeSource {
    fn render(&self, service: &ServiceKey, clusters: &str, flavour: Flavour) -> Rendered {
        let revision = self.revision.load(SeqCst);
        self.renders.fetch_add(1, SeqCst);
        if let Some(hook) = self.while_rendering.lock().take() {
            hook();
        }
        let name = match flavour {
            Flavour::Grouped => service.grouped(),
            Flavour::Ungrouped | Flavour::Grpc => service.service(),
        };
        Rendered { revision, data: self.list(name, clusters, revision).into() }
    }

    fn length(&self, service: &ServiceKey, clusters: &str, _: Flavour) -> (u64, usize) {
        let revision = self.revision.load(SeqCst);
        (revision, self.list(service.grouped(), clusters, revision).len())
    }
}

impl FakeSource {
    fn list(&self, name: &str, clusters: &str, revision: u64) -> String {
        let list = json!({
            "dom": name,
            "clusters": clusters,
            "revision": revision,
            "padding": *self.padding.lock(),
        });
        list.to_string()
    }
}

struct World {
    pusher: Pusher,
    source: Arc<FakeSource>,
    stats: Arc<PushStats>,
    shutdown: DropGuard,
    running: JoinHandle<()>,
}

async fn world(settings: PushSettings) -> World {
    world_on(UdpSocket::bind("127.0.0.1:0").await.unwrap(), settings)
}

fn world_on(socket: UdpSocket, settings: PushSettings) -> World {
    let source = Arc::<FakeSource>::default();
    let stats = Arc::<PushStats>::default();
    let pusher =
        Pusher::new(settings, socket, Arc::clone(&source) as Arc<dyn Source>, Arc::clone(&stats));
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(pusher.clone().run(shutdown.clone()));
    World { pusher, source, stats, shutdown: shutdown.drop_guard(), running }
}

impl World {
    /// Subscribes a client that has acked something before.
    fn listen(&self, client: &Client, service: &str) {
        self.pusher.subscribe(client.subscriber(service), CACHE_TIME).unwrap();
        self.pusher.prove(client.address());
    }

    /// Changes a service; the revision it has from now on.
    fn change(&self, service: &str) -> u64 {
        let revision = self.source.revision.fetch_add(1, SeqCst) + 1;
        self.pusher.changed(key(service).as_str());
        revision
    }

    /// Waits until nothing about the service is queued, being sent, or in its window.
    async fn at_rest(&self, service: &str) {
        let topic = self.pusher.shared.table.find(key(service).as_str()).unwrap();
        self.wait_for("rest", |_| !topic.is_scheduled()).await;
    }

    async fn wait_for(&self, what: &str, condition: impl Fn(&PushStats) -> bool) {
        let end = Instant::now() + DEADLINE;
        while !condition(&self.stats) {
            assert!(Instant::now() < end, "never came: {what}; {:?}", self.stats);
            sleep(Duration::from_millis(2)).await;
        }
    }
}

/// Of the service `g@@s`.
fn subscribers(world: &World) -> Vec<Listed> {
    let service = ServiceKey::parse("public", "g@@s").unwrap();
    world.pusher.subscribers(&service, Page::new(1, 100)).0
}

fn key(service: &str) -> ServiceKey {
    ServiceKey::parse("public", service).unwrap()
}

fn subscriber(service: &str, address: SocketAddr) -> Subscriber {
    Subscriber {
        service: key(service),
        address,
        place: Place::Caller,
        clusters: "".into(),
        agent: "Nacos-Java-Client:v1.4.8".into(),
        flavour: Flavour::Grouped,
        family: AgentFamily::Other,
        app: "app".into(),
        tenant: "".into(),
    }
}

/// A subscriber's socket.
struct Client {
    socket: UdpSocket,
}

struct Push {
    source: SocketAddr,
    datagram: Vec<u8>,
    id: i64,
    list: Value,
}

impl Client {
    async fn new() -> Self {
        Self { socket: UdpSocket::bind("127.0.0.1:0").await.unwrap() }
    }

    fn address(&self) -> SocketAddr {
        self.socket.local_addr().unwrap()
    }

    fn subscriber(&self, service: &str) -> Subscriber {
        subscriber(service, self.address())
    }

    async fn push(&self) -> Push {
        let (datagram, source) = self.datagram().await;
        decode(source, datagram)
    }

    async fn datagram(&self) -> (Vec<u8>, SocketAddr) {
        let mut buffer = vec![0; 65_536];
        let received = timeout(DEADLINE, self.socket.recv_from(&mut buffer)).await;
        let (length, source) = received.expect("a packet has to come").unwrap();
        buffer.truncate(length);
        (buffer, source)
    }

    /// What is there already.
    fn has_push(&self) -> bool {
        self.socket.try_recv_from(&mut [0; 8]).is_ok()
    }

    /// Whether there is one to be read.
    fn has_datagram(&self) -> bool {
        let mut buffer = [std::mem::MaybeUninit::uninit(); 1];
        socket2::SockRef::from(&self.socket).peek(&mut buffer).is_ok()
    }

    async fn ack(&self, push: &Push) {
        let ack = json!({"type": "push-ack", "lastRefTime": push.id.to_string(), "data": ""});
        self.send(push.source, ack.to_string().as_bytes()).await;
    }

    async fn send(&self, target: SocketAddr, datagram: &[u8]) {
        self.socket.send_to(datagram, target).await.unwrap();
    }
}

/// Text of a random look, which does not compress to less than half.
fn noise(length: u64) -> String {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        char::from(b'0' + (state >> 33) as u8 % 75)
    };
    (0..length).map(|_| next()).collect()
}

fn decode(source: SocketAddr, datagram: Vec<u8>) -> Push {
    let mut plain = Vec::new();
    if datagram.starts_with(&[0x1f, 0x8b]) {
        flate2::read::GzDecoder::new(&datagram[..]).read_to_end(&mut plain).unwrap();
    } else {
        plain.clone_from(&datagram);
    }
    let outer: Value = serde_json::from_slice(&plain).unwrap();
    assert_eq!(outer["type"], "dom");
    let id = outer["lastRefTime"].as_i64().unwrap();
    let list = serde_json::from_str(outer["data"].as_str().unwrap()).unwrap();
    Push { source, datagram, id, list }
}
