//! Tells subscribers of changed services, each through its sink: UDP packets, or a stream.
//!
//! - A thread that changes a service calls [`Pusher::changed`]: a look into the table, at most a
//!   mark on the service and a wake-up. The first change is pushed at once; those within the
//!   debounce window after it are pushed together at its end.
//! - Topics ([`topics`]) know who listens and when it is time to tell them. How they are told is the
//!   business of the sinks: [`udp`] sends packets, [`stream`] marks the service in the outbox of a
//!   connection.
//! - A client that has just polled gets the packet a second time a moment later: the first one may
//!   have overtaken the answer to the poll.
//! - The mark is taken away before the list is rendered, so a change during a push is never lost.
//! - The list is read at the moment of sending; the queue holds services, not lists. Every
//!   subscriber of a kind (clusters, flavour) gets the same bytes, encoded once.
//! - Subscribing to packets pushes nothing. The caller renders its reply *after* subscribing: then
//!   every change is in the reply or is pushed.
//! - No host that did not ask is flooded: packets go where the request came from, or into networks
//!   that the operator names, and few and short packets until the first ack ([`udp`]).
//! - Pushing is a courtesy: a client that it does not reach finds the change with its next poll.

mod settings;
mod stats;
mod stream;
mod subscriber;
#[cfg(test)]
mod tests;
mod topics;
mod udp;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use naming_model::ServiceKey;

use crate::networks::Networks;
use crate::registry::{Flavour, Page};

// The metrics page uses them all.
pub(crate) use settings::PushSettings;
pub(crate) use stats::{DELAY_BOUNDS_MS, DelayHistogram, PushStats, StreamStats};
pub(crate) use stream::{Outbox, RequestIds, StreamClient, StreamSink, StreamSubscription};
pub(crate) use subscriber::{AgentFamily, Listed, Place, SubscribeRefused, Subscriber};
pub(crate) use udp::PushSocket;

use stream::OutboxRules;
use topics::{Driver, Table, Topic};
use udp::{Targets, Udp};

/// How the tables of subscribers are hashed: in a way that nobody can foresee, and in tests always
/// in the same, so that a simulation can be repeated.
#[cfg(not(test))]
type HashState = foldhash::fast::RandomState;
#[cfg(test)]
type HashState = foldhash::fast::FixedState;

/// Most packets shown by [`Pusher::state`].
const MAX_SHOWN_PACKETS: usize = 100;
/// Most bytes of each of them.
const MAX_SHOWN_BYTES: usize = 16 << 10;

/// Where lists come from.
pub(crate) trait Source: Send + Sync {
    /// The list of a service as it is now, for subscribers that asked for `clusters`. Called by
    /// the pushing task, and for new subscriptions to long lists, which wait for it: it must
    /// neither block nor take long.
    fn render(&self, service: &ServiceKey, clusters: &str, flavour: Flavour) -> Rendered;

    /// Which state of the service that list shows, and its bytes; for each new subscription.
    fn length(&self, service: &ServiceKey, clusters: &str, flavour: Flavour) -> (u64, usize);
}

/// A list, ready to be put into a packet.
#[derive(Debug, Clone)]
pub(crate) struct Rendered {
    /// Which state of the service it shows.
    pub(crate) revision: u64,
    /// The JSON object, with the polling interval of those who are pushed to.
    pub(crate) data: Bytes,
}

/// How pushing went since the last [`Pusher::reset`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PushState {
    /// Packets and lists on streams acked.
    pub(crate) succeed: u64,
    /// Packets and lists on streams sent, without the second sends.
    pub(crate) total: u64,
    /// Texts of packets whose ack is waited for: at most 100, each cut at 16 KiB.
    pub(crate) outstanding: Vec<String>,
}

impl PushState {
    /// Share of the packets that were acked; 0 if there were none.
    pub(crate) fn ratio(&self) -> f64 {
        if self.total == 0 { 0.0 } else { self.succeed as f64 / self.total as f64 }
    }
}

/// Pushes changes of services to their subscribers. A clone is another handle to the same.
#[derive(Clone)]
pub(crate) struct Pusher {
    shared: Arc<Shared>,
}

struct Shared {
    settings: PushSettings,
    /// Networks whose addresses count if a client names them.
    client_networks: ArcSwap<Networks>,
    table: Table,
    udp: Udp,
    source: Arc<dyn Source>,
    stats: Arc<PushStats>,
    request_ids: Arc<RequestIds>,
    enabled: AtomicBool,
    /// Services that changed while at rest. Each is in it once at most.
    queue: Mutex<Vec<Arc<Topic>>>,
    wake: Notify,
    /// Sent and acked at the last reset.
    reset_at: Mutex<(u64, u64)>,
}

impl Shared {
    fn is_enabled(&self) -> bool {
        self.enabled.load(Relaxed)
    }
}

impl Pusher {
    /// A pusher that sends from `socket` and gets its acks there. An IPv6 socket has to take
    /// IPv4 as well (not `IPV6_V6ONLY`) to reach both. Buffers of the socket of 1 MiB and more
    /// are a good idea: acks of many subscribers come all at once.
    pub(crate) fn new(
        settings: PushSettings,
        socket: impl Into<PushSocket>,
        source: Arc<dyn Source>,
        stats: Arc<PushStats>,
    ) -> Self {
        let table = Table::new(
            settings.max_subscribers,
            settings.max_subscribers_per_service,
            settings.max_subscriber_bytes,
            Targets::new(settings.target_rules()),
            Arc::clone(&stats),
        );
        let shared = Shared {
            table,
            udp: Udp::new(socket.into(), &settings, Arc::clone(&stats)),
            source,
            stats,
            request_ids: Arc::new(RequestIds::new()),
            enabled: AtomicBool::new(true),
            queue: Mutex::default(),
            wake: Notify::new(),
            reset_at: Mutex::default(),
            client_networks: ArcSwap::from_pointee(settings.client_networks.clone()),
            settings,
        };
        Self { shared: Arc::new(shared) }
    }

    /// Where packets go for a client that calls from `peer` and may name another address. Anybody
    /// can name any address, so it counts only where the operator says so. A client of several
    /// addresses is reached at the one it calls from; one behind address translation is not, and
    /// finds out with its first packet.
    pub(crate) fn place(&self, peer: IpAddr, named: Option<IpAddr>) -> (IpAddr, Place) {
        let peer = peer.to_canonical();
        match named.map(|named| named.to_canonical()) {
            Some(named) if named == peer => (peer, Place::Caller),
            Some(named) if self.shared.client_networks.load().contain(named) => {
                (named, Place::Named)
            }
            Some(_) => (peer, Place::Guess),
            None => (peer, Place::Caller),
        }
    }

    /// Has the addresses of other networks count if clients name them, from now on.
    pub(crate) fn change_networks(&self, networks: Networks) {
        self.shared.client_networks.store(Arc::new(networks));
    }

    /// Adds a subscriber, or refreshes it. It is remembered for `cache_time`, its polling
    /// interval, and a margin after the last refresh or ack. Sends nothing.
    ///
    /// # Errors
    /// Whatever the reason, tell the client the polling interval of those without push.
    pub(crate) fn subscribe(
        &self,
        subscriber: Subscriber,
        cache_time: Duration,
    ) -> Result<(), SubscribeRefused> {
        let subscribed = self.try_subscribe(subscriber, cache_time);
        if subscribed.is_err_and(SubscribeRefused::is_turned_away) {
            self.shared.stats.refused.increment();
        }
        subscribed
    }

    fn try_subscribe(
        &self,
        mut subscriber: Subscriber,
        cache_time: Duration,
    ) -> Result<(), SubscribeRefused> {
        if !self.shared.is_enabled() {
            return Err(SubscribeRefused::Disabled);
        }
        let target = self.shared.udp.target(subscriber.address);
        subscriber.address = target.ok_or(SubscribeRefused::Address)?;
        let lifetime = cache_time.saturating_add(self.shared.settings.lifetime_margin);
        let now = Instant::now();
        match self.shared.table.subscribe(subscriber, now, lifetime)? {
            None => Ok(()),
            Some(new) => {
                // The answer to the first request must tell those to poll who get no packets.
                if !self.shared.fits(&new) {
                    new.state.lock().too_large = true;
                }
                new.standing(now)
            }
        }
    }

    /// Adds a connection to the subscribers of a service, or replaces the clusters it has asked for.
    /// It counts like every other subscriber. Sends nothing: its [`Outbox`] is told by its owner.
    /// Subscribe first and render the reply afterwards: then every change is in the reply or is
    /// pushed.
    ///
    /// # Errors
    /// A limit is reached; the client has to poll.
    pub(crate) fn subscribe_stream(
        &self,
        service: &ServiceKey,
        clusters: &Arc<str>,
        sink: Arc<dyn StreamSink>,
    ) -> Result<StreamSubscription, SubscribeRefused> {
        let connection = sink.connection();
        match self.shared.table.subscribe_stream(service, clusters, sink) {
            Ok(serial) => {
                let (shared, service) = (Arc::downgrade(&self.shared), service.clone());
                Ok(StreamSubscription { shared, service, connection, serial })
            }
            Err(refused) => {
                self.shared.stats.refused.increment();
                Err(refused)
            }
        }
    }

    /// What is to be sent on a new connection, to which nothing is subscribed yet.
    pub(crate) fn outbox(&self) -> Outbox {
        let ids = Arc::clone(&self.shared.request_ids);
        Outbox::new(OutboxRules::default(), ids, Arc::clone(&self.shared.stats))
    }

    /// The numbers of requests to clients, for those that are not pushes.
    pub(crate) fn request_ids(&self) -> &RequestIds {
        &self.shared.request_ids
    }

    /// Notes that a read of the service with this tag now shows something else. Never waits, and
    /// costs next to nothing if nobody listens.
    pub(crate) fn changed(&self, tag: &str) {
        let Some(topic) = self.shared.table.find(tag) else { return };
        if topic.mark(Instant::now()) {
            self.shared.queue.lock().push(topic);
            self.shared.wake.notify_one();
        }
    }

    /// The subscribers of a service, whatever they are told by: those on a page, in an order that stays the same from page to
    /// page, and how many there are on all pages.
    pub(crate) fn subscribers(&self, service: &ServiceKey, page: Page) -> (Vec<Listed>, usize) {
        self.shared.table.listening(service, page, Instant::now())
    }

    /// Services whose change waits to be pushed.
    pub(crate) fn pending(&self) -> usize {
        self.shared.queue.lock().len()
    }

    /// Switches pushing on or off. Changes made while it is off are not pushed later.
    pub(crate) fn set_enabled(&self, enabled: bool) {
        self.shared.enabled.store(enabled, Relaxed);
    }

    /// As if somebody at this address had acked a packet.
    #[cfg(test)]
    pub(crate) fn prove(&self, address: std::net::SocketAddr) {
        let target = self.shared.table.targets.acquire(address, true).expect("room");
        target.prove();
        self.shared.table.targets.release(&target);
    }

    /// Whether changes are pushed.
    #[cfg(test)]
    pub(crate) fn is_enabled(&self) -> bool {
        self.shared.enabled.load(Relaxed)
    }

    /// How pushing went; with `detail` also what is on its way.
    pub(crate) fn state(&self, detail: bool) -> PushState {
        let (sent, acked) = *self.shared.reset_at.lock();
        let (sent_now, acked_now) = self.shared.stats.sent_and_acked();
        let total = sent_now.saturating_sub(sent);
        let succeed = acked_now.saturating_sub(acked).min(total);
        let outstanding = if detail {
            let packets = self.shared.udp.outstanding(MAX_SHOWN_PACKETS);
            packets.iter().map(|packet| packet.text(MAX_SHOWN_BYTES)).collect()
        } else {
            Vec::new()
        };
        PushState { succeed, total, outstanding }
    }

    /// Makes [`Self::state`] count from here. The counters of the metrics go on.
    pub(crate) fn reset(&self) {
        *self.shared.reset_at.lock() = self.shared.stats.sent_and_acked();
    }

    /// Sends and listens until `shutdown`. To be run once; without it nothing is pushed.
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        // A task of its own, so that acks are read while packets are being sent.
        let mut receiver = JoinSet::new();
        let shared = Arc::clone(&self.shared);
        receiver.spawn(async move {
            shared.udp.receive(|| shared.wake.notify_one()).await;
        });
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = Driver::new(self.shared).run() => {}
        }
    }
}
