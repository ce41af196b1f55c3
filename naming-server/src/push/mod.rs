//! Tells subscribers of changed services, over UDP.
//!
//! - Whoever changes a service calls [`Pusher::changed`]: a look into the table, at most a mark
//!   on the service and a wake-up. The first change is pushed at once; those within the debounce
//!   window after it are pushed together at its end.
//! - Who has just polled gets the packet a second time a moment later: the first one may have
//!   overtaken the answer to the poll.
//! - The mark is taken away before the list is rendered, so a change during a push is never lost.
//! - The list is read at the moment of sending; the queue holds services, not lists. Every
//!   subscriber of a kind (clusters, flavour) gets the same bytes, encoded once.
//! - Subscribing pushes nothing. It is the caller's to render its reply *after* subscribing: then
//!   every change is in the reply or is pushed.
//! - Nobody is flooded who did not ask: packets go where the request came from, or into networks
//!   that the operator names, and few and short packets until the first ack ([`udp`]).
//! - Pushing is a courtesy: whoever it does not reach finds the change with the next poll.

mod stats;
mod subscriber;
#[cfg(test)]
mod tests;
mod topics;
mod udp;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

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
#[allow(unused_imports)]
pub(crate) use stats::{Counter, DELAY_BOUNDS_MS, DelayHistogram, PushStats};
pub(crate) use subscriber::{AgentFamily, Place, SubscribeRefused, Subscriber};
pub(crate) use udp::PushSocket;

use subscriber::Subscription;
use topics::{Driver, Table, Topic};
use udp::{PacketBudget, PacketIds, PacketSize, Rules, TargetRules, Targets, Template, Udp};

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
/// Most bytes that the SDK of C++ unpacks: its buffer has one more.
const MAX_CPP_PLAIN_BYTES: usize = 655_359;

/// What can be set about pushing.
#[derive(Debug, Clone)]
pub(crate) struct PushSettings {
    /// Least time between two packets about a service to a subscriber. Longer merges more
    /// changes and delays all but the first. Default 100 ms.
    pub(crate) debounce: Duration,
    /// Without ack for this long a packet is sent again, once. Default 10 s, as in Nacos.
    pub(crate) ack_timeout: Duration,
    /// How much longer than its polling interval a subscriber is remembered. Too short loses
    /// those who are a little late, too long sends to those who have gone. Default 10 s.
    pub(crate) lifetime_margin: Duration,
    /// Most subscriptions of this node. More are refused and poll. Default 200,000.
    pub(crate) max_subscribers: usize,
    /// Most subscriptions of one service. Default 20,000.
    pub(crate) max_subscribers_per_service: usize,
    /// Most bytes of the texts of all subscriptions. More are refused and poll. Default 256 MiB.
    pub(crate) max_subscriber_bytes: u64,
    /// Longest packet. Default 65,507 bytes, the most UDP over IPv4 can carry.
    pub(crate) max_packet_bytes: usize,
    /// Longest packet to an agent of Go or the DNS plugin, whose buffer cuts off the rest. Default
    /// 4,024 bytes.
    pub(crate) max_go_packet_bytes: usize,
    /// So many times in a row without ack (each 20 s of silence with the default time-out): the
    /// subscriber is parked. 0 never gives up. Default 3.
    pub(crate) park_after_misses: u32,
    /// A parked subscriber gets one packet in this time, to find out whether it acks again.
    /// Default 5 min.
    pub(crate) probe_interval: Duration,
    /// Networks into which packets go because a client names an address there. Default none: they
    /// go to the address that the client calls from.
    pub(crate) client_networks: Networks,
    /// Whether packets to this machine count as well; it needs no server to flood itself. Default
    /// false.
    pub(crate) limits_loopback: bool,
    /// Bytes to an address in a second. Default 8 MiB.
    pub(crate) max_bytes_per_second: u64,
    /// Most subscriptions from an address. Default 20,000.
    pub(crate) max_subscribers_per_address: usize,
    /// Time between two short packets to a socket that has acked nothing, at the address that the
    /// request came from. Default 250 ms.
    pub(crate) second_after: Duration,
    /// Longest packet to a socket that has acked nothing yet. Default 1,200 bytes: one datagram of
    /// the network, too.
    pub(crate) unproved_bytes: usize,
    /// Bytes of packets kept for a second send. Packets above are sent once only. Default 64 MiB.
    pub(crate) max_kept_bytes: usize,
}

impl Default for PushSettings {
    fn default() -> Self {
        Self {
            debounce: Duration::from_millis(100),
            ack_timeout: Duration::from_secs(10),
            lifetime_margin: Duration::from_secs(10),
            max_subscribers: 200_000,
            max_subscribers_per_service: 20_000,
            max_subscriber_bytes: 256 << 20,
            max_packet_bytes: 65_507,
            max_go_packet_bytes: 4_024,
            park_after_misses: 3,
            probe_interval: Duration::from_secs(300),
            client_networks: Networks::default(),
            limits_loopback: false,
            max_bytes_per_second: 8 << 20,
            max_subscribers_per_address: 20_000,
            second_after: Duration::from_millis(250),
            unproved_bytes: 1_200,
            max_kept_bytes: 64 << 20,
        }
    }
}

impl PushSettings {
    /// What an agent of this family can read.
    fn limits(&self, family: AgentFamily) -> Limits {
        let (datagram_bytes, plain_bytes) = match family {
            AgentFamily::Go | AgentFamily::Dns => (self.max_go_packet_bytes, usize::MAX),
            AgentFamily::Cpp => (self.max_packet_bytes, MAX_CPP_PLAIN_BYTES),
            AgentFamily::Other => (self.max_packet_bytes, usize::MAX),
        };
        Limits(PacketSize { datagram_bytes, plain_bytes })
    }

    fn target_rules(&self) -> TargetRules {
        TargetRules {
            limits_loopback: self.limits_loopback,
            bytes_per_second: self.max_bytes_per_second,
            second_after: self.second_after,
            unproved_bytes: self.unproved_bytes,
            ack_timeout: self.ack_timeout,
            probe_interval: self.probe_interval,
            max_subscriptions: self.max_subscribers_per_address,
        }
    }
}

/// The longest packet that somebody can read.
#[derive(Debug, Clone, Copy)]
struct Limits(PacketSize);

impl Limits {
    fn allow(self, size: PacketSize) -> bool {
        let Self(most) = self;
        size.datagram_bytes <= most.datagram_bytes && size.plain_bytes <= most.plain_bytes
    }
}

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
    /// Packets acked.
    pub(crate) succeed: u64,
    /// Packets sent, without the second sends.
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
    rules: Rules,
    table: Table,
    udp: Udp,
    source: Arc<dyn Source>,
    stats: Arc<PushStats>,
    ids: PacketIds,
    budget: Arc<PacketBudget>,
    enabled: AtomicBool,
    /// Services that changed while at rest. Each is in it once at most.
    queue: Mutex<Vec<Arc<Topic>>>,
    /// Subscriptions whose packets were put off until somebody acked, which has happened.
    opened: Mutex<Vec<Arc<Subscription>>>,
    wake: Notify,
    /// Sent and acked at the last reset.
    reset_at: Mutex<(u64, u64)>,
}

impl Shared {
    fn is_enabled(&self) -> bool {
        self.enabled.load(Relaxed)
    }

    /// Whether the list is short enough by now for a packet to this subscriber.
    fn fits(&self, subscription: &Subscription) -> bool {
        let service = &subscription.subscriber.service;
        let limits = self.settings.limits(subscription.subscriber.family);
        let (clusters, flavour) = subscription.kind();
        let (revision, bytes) = self.source.length(service, clusters, flavour);
        // Packing never makes it twice as long.
        if bytes <= limits.0.datagram_bytes / 2 {
            return true;
        }
        let Some(topic) = self.table.find(service.as_str()) else { return true };
        let measure = || {
            let data = self.source.render(service, clusters, flavour).data;
            Template::encode(0, &data, &self.budget).map(|template| template.size())
        };
        let size = topic.packet_size(subscription, revision, measure);
        size.is_some_and(|size| limits.allow(size))
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
        let rules = Rules {
            ack_timeout: settings.ack_timeout,
            park_after_misses: settings.park_after_misses,
            probe_interval: settings.probe_interval,
        };
        let table = Table::new(
            settings.max_subscribers,
            settings.max_subscribers_per_service,
            settings.max_subscriber_bytes,
            Targets::new(settings.target_rules()),
            Arc::clone(&stats),
        );
        let shared = Shared {
            rules,
            table,
            udp: Udp::new(socket.into(), Arc::clone(&stats)),
            source,
            stats,
            ids: PacketIds::new(),
            budget: Arc::new(PacketBudget::new(settings.max_kept_bytes)),
            enabled: AtomicBool::new(true),
            queue: Mutex::default(),
            opened: Mutex::default(),
            wake: Notify::new(),
            reset_at: Mutex::default(),
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
            Some(named) if self.shared.settings.client_networks.contain(named) => {
                (named, Place::Named)
            }
            Some(_) => (peer, Place::Guess),
            None => (peer, Place::Caller),
        }
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

    /// Notes that a read of the service with this tag now shows something else. Never waits, and
    /// costs next to nothing if nobody listens.
    pub(crate) fn changed(&self, tag: &str) {
        let Some(topic) = self.shared.table.find(tag) else { return };
        if topic.mark(Instant::now()) {
            self.shared.queue.lock().push(topic);
            self.shared.wake.notify_one();
        }
    }

    /// The subscribers of a service: those on a page, in an order that stays the same from page to
    /// page, and how many there are on all pages.
    pub(crate) fn subscribers(&self, service: &ServiceKey, page: Page) -> (Vec<Subscriber>, usize) {
        let (found, count) = self.shared.table.listening(service, page, Instant::now());
        (found.iter().map(|subscription| subscription.subscriber.clone()).collect(), count)
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
        let total = self.shared.stats.sent.value().saturating_sub(sent);
        let succeed = self.shared.stats.acked.value().saturating_sub(acked).min(total);
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
        let stats = &self.shared.stats;
        *self.shared.reset_at.lock() = (stats.sent.value(), stats.acked.value());
    }

    /// Sends and listens until `shutdown`. To be run once; without it nothing is pushed.
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        // A task of its own, so that acks are read while packets are being sent.
        let mut receiver = JoinSet::new();
        let shared = Arc::clone(&self.shared);
        receiver.spawn(async move {
            let opened = |subscriptions| {
                shared.opened.lock().extend::<Vec<_>>(subscriptions);
                shared.wake.notify_one();
            };
            shared.udp.receive(opened).await;
        });
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = Driver::new(self.shared).run() => {}
        }
    }
}
