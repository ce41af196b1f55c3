//! Connections among the subscribers of a service.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use parking_lot::Mutex;
use tokio::net::UdpSocket;
use tokio::time::{sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::*;
use crate::push::{
    AgentFamily, Place, PushSettings, Pusher, Rendered, Source, SubscribeRefused, Subscriber,
};
use crate::registry::{Flavour, Page};

const DEADLINE: Duration = Duration::from_secs(10);

/// Renders nothing: connections render for themselves.
struct Nothing;

impl Source for Nothing {
    fn render(&self, _: &ServiceKey, _: &str, _: Flavour) -> Rendered {
        Rendered { revision: 0, data: "{}".into() }
    }

    fn length(&self, _: &ServiceKey, _: &str, _: Flavour) -> (u64, usize) {
        (0, 2)
    }
}

/// A connection that writes down what it is told.
struct Connection {
    number: u64,
    agent: Arc<str>,
    told: Mutex<Vec<(ServiceKey, Instant)>>,
}

impl Connection {
    fn new() -> Arc<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let agent = "Nacos-Java-Client:v2.5.1".into();
        Arc::new(Self { number: NEXT.fetch_add(1, SeqCst), agent, told: Mutex::default() })
    }

    fn told(&self) -> usize {
        self.told.lock().len()
    }
}

impl StreamSink for Connection {
    fn connection(&self) -> u64 {
        self.number
    }

    fn changed(&self, service: &ServiceKey, changed_at: Instant) {
        self.told.lock().push((service.clone(), changed_at));
    }

    fn client(&self) -> StreamClient {
        let address = ([10, 0, 0, 1], 5_000 + u16::try_from(self.number).unwrap()).into();
        let agent = Arc::clone(&self.agent);
        StreamClient { address, agent, app: "app".into(), tenant: "".into() }
    }
}

struct World {
    pusher: Pusher,
    stats: Arc<PushStats>,
    _running: DropGuard,
}

async fn world(settings: PushSettings) -> World {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let stats = Arc::<PushStats>::default();
    let pusher = Pusher::new(settings, socket, Arc::new(Nothing), Arc::clone(&stats));
    let shutdown = CancellationToken::new();
    tokio::spawn(pusher.clone().run(shutdown.clone()));
    World { pusher, stats, _running: shutdown.drop_guard() }
}

impl World {
    fn subscribe(
        &self,
        connection: &Arc<Connection>,
        service: &str,
        clusters: &str,
    ) -> Result<StreamSubscription, SubscribeRefused> {
        let sink = Arc::clone(connection) as Arc<dyn StreamSink>;
        self.pusher.subscribe_stream(&key(service), &clusters.into(), sink)
    }

    fn clusters(&self, service: &str) -> Vec<String> {
        let (found, count) = self.pusher.subscribers(&key(service), Page::new(1, 100));
        assert_eq!(found.len(), count);
        found.iter().map(|listed| listed.clusters.to_string()).collect()
    }

    fn counts(&self) -> (u64, u64) {
        (self.stats.subscribers.value(), self.stats.subscriber_bytes.value())
    }
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let met = async {
        while !condition() {
            sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(DEADLINE, met).await.unwrap_or_else(|_| panic!("never came: {what}"));
}

#[tokio::test]
async fn a_connection_is_told_of_the_first_change_at_once_and_of_later_ones_after_the_window() {
    let debounce = Duration::from_millis(300);
    let world = world(PushSettings { debounce, ..PushSettings::default() }).await;
    let (listening, other) = (Connection::new(), Connection::new());
    let _subscription = world.subscribe(&listening, "g@@s", "").unwrap();
    let _other = world.subscribe(&other, "g@@t", "").unwrap();
    let start = Instant::now();
    world.pusher.changed(key("g@@s").as_str());
    until("the first change", || listening.told() == 1).await;
    for _ in 0..10 {
        world.pusher.changed(key("g@@s").as_str());
    }
    until("the later ones", || listening.told() == 2).await;
    assert!(start.elapsed() >= debounce);
    let told = listening.told.lock().clone();
    assert!(told.iter().all(|(service, at)| *service == key("g@@s") && *at >= start));
    assert_eq!(other.told(), 0);
}

#[tokio::test]
async fn sockets_and_connections_are_listed_alike_and_told_of_the_same_change() {
    let world = world(PushSettings::default()).await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let subscriber = Subscriber {
        service: key("g@@s"),
        address: socket.local_addr().unwrap(),
        place: Place::Caller,
        clusters: "udp".into(),
        agent: "Nacos-Java-Client:v1.4.8".into(),
        flavour: Flavour::Grouped,
        family: AgentFamily::Other,
        app: "old".into(),
        tenant: "".into(),
    };
    world.pusher.subscribe(subscriber, Duration::from_secs(10)).unwrap();
    let connection = Connection::new();
    let _subscription = world.subscribe(&connection, "g@@s", "stream").unwrap();
    assert_eq!(world.clusters("g@@s"), ["stream", "udp"]);
    let (page, count) = world.pusher.subscribers(&key("g@@s"), Page::new(1, 1));
    assert_eq!((&*page[0].agent, &*page[0].app, count), ("Nacos-Java-Client:v2.5.1", "app", 2));
    world.pusher.changed(key("g@@s").as_str());
    until("the change", || connection.told() == 1).await;
    let datagram = timeout(DEADLINE, socket.recv(&mut [0; 2_048])).await;
    assert!(datagram.expect("a packet has to come").is_ok());
}

#[tokio::test]
async fn a_dropped_subscription_ends_and_a_replaced_one_does_not_end_the_newer_one() {
    let world = world(PushSettings::default()).await;
    let connection = Connection::new();
    let first = world.subscribe(&connection, "g@@s", "").unwrap();
    let before = world.counts();
    let second = world.subscribe(&connection, "g@@s", "c1").unwrap();
    assert_eq!(world.clusters("g@@s"), ["c1"]);
    assert_eq!(world.counts(), (before.0, before.1 + 2));
    drop(first);
    assert_eq!(world.clusters("g@@s"), ["c1"]);
    drop(second);
    assert!(world.clusters("g@@s").is_empty());
    assert_eq!(world.counts(), (0, 0));
    assert!(world.pusher.shared.table.find(key("g@@s").as_str()).is_none());
    world.pusher.changed(key("g@@s").as_str());
    assert_eq!(connection.told(), 0);
}

#[tokio::test]
async fn connections_count_against_every_limit_of_subscribers() {
    let text_bytes = 3 * (24 + 3 + 12) + 2;
    let world = world(PushSettings {
        max_subscribers: 3,
        max_subscribers_per_service: 2,
        max_subscriber_bytes: text_bytes,
        ..PushSettings::default()
    })
    .await;
    let all: Vec<_> = (0..4).map(|_| Connection::new()).collect();
    let refused = |at: usize, service: &str, clusters: &str| {
        world.subscribe(&all[at], service, clusters).err()
    };
    let first = world.subscribe(&all[0], "g@@s", "").unwrap();
    let _second = world.subscribe(&all[1], "g@@s", "").unwrap();
    assert_eq!(refused(2, "g@@s", ""), Some(SubscribeRefused::ServiceFull));
    assert_eq!(refused(2, "g@@t", "1234"), Some(SubscribeRefused::TextsFull));
    assert_eq!(refused(2, "g@@t", &"x".repeat(1_025)), Some(SubscribeRefused::TooLong));
    let _third = world.subscribe(&all[2], "g@@t", "").unwrap();
    for service in ["g@@t", "g@@u"] {
        assert_eq!(refused(3, service, ""), Some(SubscribeRefused::TableFull));
    }
    // A known one may change its clusters, within the bytes, and keeps them if it may not.
    assert_eq!(refused(2, "g@@t", "123"), Some(SubscribeRefused::TextsFull));
    assert_eq!(world.clusters("g@@t"), [""]);
    let _replaced = world.subscribe(&all[2], "g@@t", "12").unwrap();
    assert_eq!(world.counts(), (3, text_bytes));
    drop(first);
    let _fourth = world.subscribe(&all[3], "g@@u", "").unwrap();
    assert!(world.stats.refused.value() >= 6);
}

#[tokio::test]
async fn nobody_is_told_while_pushing_is_switched_off() {
    let world = world(PushSettings::default()).await;
    let connection = Connection::new();
    let _subscription = world.subscribe(&connection, "g@@s", "").unwrap();
    world.pusher.set_enabled(false);
    world.pusher.changed(key("g@@s").as_str());
    let topic = world.pusher.shared.table.find(key("g@@s").as_str()).unwrap();
    until("rest", || !topic.is_scheduled()).await;
    assert_eq!(connection.told(), 0);
    world.pusher.set_enabled(true);
    world.pusher.changed(key("g@@s").as_str());
    until("the change", || connection.told() == 1).await;
}
