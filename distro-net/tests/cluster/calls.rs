//! Calls over sockets of a test's own making.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use distro_core::{DistroConfig, Phase, Request, StampClock, Store, StoreConfig};
use distro_net::{
    Address, Clock, Connecting, Connector, Driver, Identity, Io, MOST_TOLD_BYTES, Nudge, Outcome,
    Peers, Questions, Refusal, Service, Told,
};
use parking_lot::Mutex;
use tokio::io::DuplexStream;

use crate::member::{Text, answer_on, identity, peers_over};

const SECRET: &[u8] = b"a secret for calls alone, and a long one";

/// Another member whose answering side a test can exchange or take away under a connection.
#[derive(Default)]
struct Other {
    service: Mutex<Option<Arc<Service<Text, ()>>>>,
    connections: AtomicUsize,
    /// Everything that was sent to it.
    recorded: Mutex<Vec<(String, Bytes)>>,
}

struct To(Arc<Other>);

impl Connector for To {
    fn connect<'a>(&'a self, _: &'a str) -> Connecting<'a> {
        self.0.connections.fetch_add(1, Ordering::Relaxed);
        let (ours, theirs) = tokio::io::duplex(64 << 10);
        tokio::spawn(self.0.clone().serve(theirs));
        Box::pin(async move { Ok(Box::new(ours) as Box<dyn Io>) })
    }
}

impl Other {
    async fn serve(self: Arc<Self>, stream: DuplexStream) {
        answer_on(stream, move |path: String, body: Bytes| {
            self.recorded.lock().push((path.clone(), body.clone()));
            let service = self.service.lock().clone();
            async move {
                match service {
                    Some(service) => service.answer(&path, body).response().await,
                    // Frozen.
                    None => std::future::pending().await,
                }
            }
        })
        .await;
    }
}

fn address(port: u16) -> Address {
    format!("10.0.0.1:{port}").parse().unwrap()
}

/// A member that answers, started anew.
fn service(port: u16) -> (Arc<Service<Text, ()>>, Peers<Text>) {
    let (peers, driver) = member(port, Arc::new(Nobody));
    (Arc::new(Service::new(driver.answer(), peers.clone())), peers)
}

fn member(port: u16, connector: Arc<dyn Connector>) -> (Peers<Text>, Driver<Text, ()>) {
    member_by(Clock::of_runtime(), port, connector)
}

fn member_by(
    clock: Clock,
    port: u16,
    connector: Arc<dyn Connector>,
) -> (Peers<Text>, Driver<Text, ()>) {
    let peers = peers_over(identity(address(port).member(), SECRET), clock, connector);
    let Identity { member, incarnation, .. } = *peers.identity();
    let stamps = StampClock::new(member, incarnation, peers.clock().now());
    let store = Arc::new(Store::new(StoreConfig::default(), stamps, vec![]));
    let (config, list) = (DistroConfig::default(), [address(1), address(2)]);
    let (driver, _) = Driver::with_peers(config, store, peers.clone(), &list, Nudge::default(), 1);
    (peers, driver)
}

struct Nobody;

impl Connector for Nobody {
    fn connect<'a>(&'a self, _: &'a str) -> Connecting<'a> {
        Box::pin(async { Err(io::ErrorKind::ConnectionRefused.into()) })
    }
}

async fn probe(caller: &Peers<Text>) -> Outcome<Text> {
    let request = Request::Probe { phase: Phase::Up };
    caller.call(address(2).member(), &request, Duration::from_secs(1)).await
}

#[tokio::test(start_paused = true)]
async fn one_connection_and_one_session_serve_many_calls() {
    let other = Arc::new(Other::default());
    let (service, answering) = service(2);
    *other.service.lock() = Some(service);
    let (caller, _driver) = member(1, Arc::new(To(other.clone())));
    for _ in 0..20 {
        assert!(matches!(probe(&caller).await, Outcome::Answered(_)));
    }
    assert_eq!(other.connections.load(Ordering::Relaxed), 1);
    assert_eq!((answering.stats().sessions(), answering.stats().answered()), (1, 20));
}

#[tokio::test(start_paused = true)]
async fn a_forgotten_session_is_begun_again_within_the_call() {
    let other = Arc::new(Other::default());
    *other.service.lock() = Some(service(2).0);
    let (caller, _driver) = member(1, Arc::new(To(other.clone())));
    assert!(matches!(probe(&caller).await, Outcome::Answered(_)));
    let (service, answering) = service(2);
    *other.service.lock() = Some(service);
    assert!(matches!(probe(&caller).await, Outcome::Answered(_)));
    assert_eq!(other.connections.load(Ordering::Relaxed), 1);
    let stats = answering.stats();
    assert_eq!((stats.refused(Refusal::UnknownSession), stats.sessions()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn what_was_put_together_long_ago_is_refused_also_in_a_new_session() {
    let other = Arc::new(Other::default());
    let (service, answering) = service(2);
    *other.service.lock() = Some(service);
    let (caller, _driver) = member(1, Arc::new(To(other.clone())));
    // The ages in it are from then: this process was stopped before it could send it.
    let as_of = caller.clock().tick();
    tokio::time::advance(Duration::from_secs(65)).await;
    let (to, request) = (address(2).member(), Request::Probe { phase: Phase::Up });
    let outcome = caller.call_as_of(as_of, to, &request, Duration::from_secs(1)).await;
    assert!(matches!(outcome, Outcome::NoAnswer));
    assert_eq!(answering.stats().refused(Refusal::Late), 2);
    assert_eq!(answering.stats().answered(), 0);
    assert!(matches!(probe(&caller).await, Outcome::Answered(_)));
}

#[tokio::test(start_paused = true)]
async fn a_member_whose_clock_stood_still_begins_another_session_within_the_call() {
    static AHEAD_MS: AtomicU64 = AtomicU64::new(0);
    let other = Arc::new(Other::default());
    let (answering, driver) = member_by(Clock::of_sleeper(&AHEAD_MS), 2, Arc::new(Nobody));
    *other.service.lock() = Some(Arc::new(Service::new(driver.answer(), answering.clone())));
    let (caller, _driver) = member(1, Arc::new(To(other.clone())));
    assert!(matches!(probe(&caller).await, Outcome::Answered(_)));
    AHEAD_MS.store(60_000, Ordering::Relaxed);
    assert!(matches!(probe(&caller).await, Outcome::Answered(_)));
    assert!(matches!(probe(&caller).await, Outcome::Answered(_)));
    let stats = answering.stats();
    assert_eq!((stats.refused(Refusal::Late), stats.sessions(), stats.answered()), (1, 2, 3));
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_missed_a_deadline_is_not_used_again() {
    let other = Arc::new(Other::default());
    let (service, _) = service(2);
    *other.service.lock() = Some(service.clone());
    let (caller, _driver) = member(1, Arc::new(To(other.clone())));
    assert!(matches!(probe(&caller).await, Outcome::Answered(_)));
    *other.service.lock() = None;
    assert!(matches!(probe(&caller).await, Outcome::NoAnswer));
    *other.service.lock() = Some(service);
    assert!(matches!(probe(&caller).await, Outcome::Answered(_)));
    assert_eq!(other.connections.load(Ordering::Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn what_was_recorded_on_the_way_is_worth_nothing() {
    let other = Arc::new(Other::default());
    let (service, answering) = service(2);
    *other.service.lock() = Some(service.clone());
    let (caller, _driver) = member(1, Arc::new(To(other.clone())));
    for _ in 0..3 {
        assert!(matches!(probe(&caller).await, Outcome::Answered(_)));
    }
    let recorded = other.recorded.lock().clone();
    let calls: Vec<_> = recorded.iter().filter(|(path, _)| path.ends_with("/call")).collect();
    assert_eq!(calls.len(), 3);
    for (path, body) in &calls {
        assert_eq!(service.answer(path, body.clone()).response().await.status, 403);
    }
    assert_eq!(answering.stats().refused(Refusal::Replayed), 3);
    assert_eq!(answering.stats().answered(), 3);
    let secret = SECRET.to_vec();
    let shows = |body: &Bytes| body.windows(secret.len()).any(|window| window == secret);
    assert!(!recorded.iter().any(|(_, body)| shows(body)), "the secret is never sent");
}

#[tokio::test(start_paused = true)]
async fn a_member_of_the_wrong_name_or_place_is_not_worked_with() {
    let other = Arc::new(Other::default());
    // The member at address 3 answers at the place of the one at address 2.
    let (service, answering) = service(3);
    *other.service.lock() = Some(service);
    let (caller, _driver) = member(1, Arc::new(To(other.clone())));
    assert!(matches!(probe(&caller).await, Outcome::NoAnswer));
    assert_eq!(answering.stats().refused(Refusal::OtherMember), 1);
    assert_eq!(caller.stats().calls().rejected, 1);
}

/// Says what it was asked, so many times.
struct Echo;

impl Questions for Echo {
    fn answer(&self, question: &[u8]) -> Option<Vec<u8>> {
        match question {
            b"nothing" => None,
            b"too much" => Some(vec![b'x'; MOST_TOLD_BYTES + 1]),
            _ => Some(question.repeat(2)),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn applications_ask_each_other() {
    let other = Arc::new(Other::default());
    let (service, _answering) = service(2);
    *other.service.lock() = Some(service.clone());
    let (caller, _driver) = member(1, Arc::new(To(other.clone())));
    let ask = async |question: &[u8]| {
        caller.ask(address(2).member(), question.into(), Duration::from_secs(1)).await
    };
    assert_eq!(ask(b"who? ").await, Told::Nothing, "nobody there answers yet");
    service.connect(Arc::new(Echo));
    assert_eq!(ask(b"who? ").await, Told::Answer(b"who? who? ".into()));
    assert_eq!(ask(b"nothing").await, Told::Nothing);
    assert_eq!(ask(b"too much").await, Told::Nothing);
    *other.service.lock() = None;
    assert_eq!(ask(b"who? ").await, Told::Silent);
    let stranger = caller.ask(address(3).member(), b"who?"[..].into(), Duration::from_secs(1));
    assert_eq!(stranger.await, Told::Silent);
}
