//! A whole member over real sockets, with a toy value.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use distro_core::{
    DistroConfig, Health, LeaseTerms, MemberId, Operation, SharedStatus, Stamp, StampClock, Store,
    StoreConfig, Value, Written,
};
use distro_net::{
    Address, BadValue, Clock, Codec, Connector, Control, Driver, Durability, Forwarder, Identity,
    InMemory, Io, Limits, Nudge, Peers, PeersConfig, Refusal, Response, Secret, Service,
    TcpConnector, ValueCodec,
};
use http_body_util::{BodyExt, Full, Limited};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

#[derive(Debug)]
pub(crate) struct Text(pub(crate) String);

impl Value for Text {
    fn lease(&self) -> Option<LeaseTerms> {
        None
    }
    fn shows_like(&self, other: &Self) -> bool {
        self.0 == other.0
    }
    fn class(&self) -> usize {
        0
    }
    fn weight(&self) -> usize {
        self.0.len()
    }
}

struct Texts {
    reader: MemberId,
}

/// A text that this member cannot read, as if it was of an earlier release.
pub(crate) fn not_for(member: MemberId) -> String {
    format!("not for {}", member.0)
}

impl ValueCodec<Text> for Texts {
    fn encode(&self, value: &Text, target: &mut Vec<u8>) {
        target.extend_from_slice(value.0.as_bytes());
    }
    fn decode(&self, source: &[u8]) -> Result<Text, BadValue> {
        let text = String::from_utf8(source.into()).map_err(|error| BadValue(error.to_string()))?;
        match text == not_for(self.reader) {
            true => Err(BadValue("of a later release".into())),
            false => Ok(Text(text)),
        }
    }
}

pub(crate) const SECRET: &[u8] = b"what only these members know and nobody else";

/// Start numbers differ between all starts of a test.
static STARTS: AtomicU32 = AtomicU32::new(1);

pub(crate) fn config() -> DistroConfig {
    // Nobody beats here, so a start without data need not wait for beats. Waits for what is dead
    // are shortened.
    DistroConfig {
        empty_start: Duration::from_millis(100),
        alone_after: Duration::from_millis(1_500),
        ..DistroConfig::default()
    }
}

pub(crate) fn identity(member: MemberId, secret: &[u8]) -> Identity {
    let incarnation = STARTS.fetch_add(1, Ordering::Relaxed);
    Identity { cluster: "test".into(), member, incarnation, secret: Secret::new(secret).unwrap() }
}

pub(crate) fn peers(identity: Identity, clock: Clock) -> Peers<Text> {
    peers_over(identity, clock, Arc::new(TcpConnector))
}

pub(crate) fn peers_over(
    identity: Identity,
    clock: Clock,
    connector: Arc<dyn Connector>,
) -> Peers<Text> {
    let codec = Codec::new(Arc::new(Texts { reader: identity.member }), Limits::default());
    Peers::new(identity, codec, connector, clock, PeersConfig::default())
}

pub(crate) struct Member {
    pub(crate) address: Address,
    pub(crate) store: Arc<Store<Text, ()>>,
    pub(crate) clock: Clock,
    pub(crate) shared_status: Arc<SharedStatus>,
    pub(crate) control: Control<Text>,
    pub(crate) peers: Peers<Text>,
    /// While set, requests of others wait for ever.
    pub(crate) is_mute: Arc<AtomicBool>,
    pub(crate) forwarder: Forwarder<Text, ()>,
    pub(crate) service: Arc<Service<Text, ()>>,
    shutdown: CancellationToken,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

/// Ports on which nobody listens a moment later, free for members.
pub(crate) async fn listeners(count: usize) -> Vec<TcpListener> {
    let mut listeners = Vec::new();
    for _ in 0..count {
        listeners.push(TcpListener::bind("127.0.0.1:0").await.unwrap());
    }
    listeners
}

pub(crate) fn addresses(listeners: &[TcpListener]) -> Vec<Address> {
    listeners.iter().map(|listener| listener.local_addr().unwrap().into()).collect()
}

/// Listens again where a member was that has stopped.
pub(crate) async fn listen_again(address: &Address) -> TcpListener {
    let address: SocketAddr = address.as_str().parse().unwrap();
    eventually_some(async || TcpListener::bind(address).await.ok()).await
}

impl Member {
    pub(crate) fn start(listener: TcpListener, members: &[Address], secret: &[u8]) -> Self {
        Self::start_on(listener, members, secret, Arc::new(InMemory))
    }

    /// One that keeps its durable records on this disk.
    pub(crate) fn start_on(
        listener: TcpListener,
        members: &[Address],
        secret: &[u8],
        disk: Arc<dyn Durability>,
    ) -> Self {
        let address = Address::from(listener.local_addr().unwrap());
        let clock = Clock::of_runtime();
        let identity = identity(address.member(), secret);
        let stamps = StampClock::new(identity.member, identity.incarnation, clock.now());
        let nudge = Nudge::default();
        let store =
            Store::new(StoreConfig::default(), stamps, vec![Arc::new(nudge.clone()) as Arc<_>]);
        let store = Arc::new(store);
        let peers = peers(identity, clock);
        let (config, seed) = (config(), u64::from(address.member().0));
        let deadline = config.forward_deadline;
        let (driver, control) =
            Driver::with_peers(config, store.clone(), peers.clone(), members, nudge, seed);
        let shared_status = driver.shared_status().clone();
        let service = Service::new(driver.answer(), peers.clone()).with_durability(disk.clone());
        let service = Arc::new(service);
        let forwarder =
            Forwarder::new(store.clone(), shared_status.clone(), peers.clone(), deadline);
        let forwarder = forwarder.with_durability(disk);
        let shutdown = CancellationToken::new();
        let is_mute = Arc::new(AtomicBool::new(false));
        let tasks = vec![
            tokio::spawn(driver.run(shutdown.clone())),
            tokio::spawn(serve(listener, service.clone(), is_mute.clone(), shutdown.clone())),
        ];
        Self {
            address,
            store,
            clock,
            shared_status,
            control,
            peers,
            is_mute,
            forwarder,
            service,
            shutdown,
            tasks,
        }
    }

    /// Ends without a word to the others, with all connections.
    pub(crate) async fn kill(self) {
        self.shutdown.cancel();
        for task in self.tasks {
            task.await.unwrap();
        }
    }

    pub(crate) async fn register(&self, tag: &str, key: &str, text: &str) {
        let (stamp, value) = (self.stamp(), Arc::new(Text(text.into())));
        let written =
            self.write(Operation::register(tag, key, stamp, value, Health::Healthy)).await;
        assert!(written.is_applied);
        let record = written.record.expect("a record");
        assert_eq!(record.value.map(|text| text.0.clone()).as_deref(), Some(text));
    }

    pub(crate) async fn deregister(&self, tag: &str, key: &str) {
        self.write(Operation::deregister(tag, key, self.stamp())).await;
    }

    pub(crate) async fn write(&self, operation: Operation<Text>) -> Written<Text> {
        self.forwarder.write(operation).await
    }

    pub(crate) fn stamp(&self) -> Stamp {
        self.store.clock().issue(self.clock.tick())
    }

    pub(crate) fn read(&self, tag: &str, key: &str) -> Option<String> {
        self.store.find(tag)?.read(|reader| {
            let record = reader.find(key).filter(|record| record.is_visible())?;
            record.value.as_ref().map(|text| text.0.clone())
        })
    }

    pub(crate) fn may_read(&self) -> bool {
        self.shared_status.may_read(self.clock.tick())
    }
}

async fn serve(
    listener: TcpListener,
    service: Arc<Service<Text, ()>>,
    is_mute: Arc<AtomicBool>,
    shutdown: CancellationToken,
) {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let stream = tokio::select! {
            () = shutdown.cancelled() => return,
            accepted = listener.accept() => accepted.unwrap().0,
        };
        let (service, is_mute) = (service.clone(), is_mute.clone());
        connections.spawn(answer_on(stream, move |path: String, body: Bytes| {
            let (service, is_mute) = (service.clone(), is_mute.clone());
            async move {
                if is_mute.load(Ordering::Relaxed) {
                    std::future::pending::<()>().await;
                }
                match body.len() > service.most_body_bytes() {
                    true => service.refuse(Refusal::TooLarge),
                    false => service.answer(&path, body).response().await,
                }
            }
        }));
    }
}

/// Serves one connection.
pub(crate) async fn answer_on<F: Future<Output = Response>>(
    stream: impl Io + 'static,
    answer: impl Fn(String, Bytes) -> F,
) {
    let respond = service_fn(|request: hyper::Request<hyper::body::Incoming>| {
        let path = request.uri().path().to_owned();
        let answer = &answer;
        async move {
            // A little more than any message, so that what is too long is seen as such.
            let most_bytes = Limits::default().message_bytes + 1_000;
            let body = Limited::new(request.into_body(), most_bytes);
            let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
            let response = answer(path, body).await;
            let builder = hyper::Response::builder().status(response.status);
            Ok::<_, io::Error>(builder.body(Full::<Bytes>::from(response.body)).unwrap())
        }
    });
    let http = hyper::server::conn::http1::Builder::new();
    // How it ends is up to the other side.
    let _ = http.serve_connection(TokioIo::new(stream), respond).await;
}

/// Waits until a condition holds, and fails after a time in which it always should.
pub(crate) async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(30), "not within 30 s: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn eventually_some<T>(mut find: impl AsyncFnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = find().await {
            return found;
        }
        assert!(start.elapsed() < Duration::from_secs(30), "not within 30 s");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
