//! The UDP sink: sends datagrams, and matches the acks that come back.

mod batch;
mod delivery;
mod ids;
mod limits;
mod listeners;
mod pace;
mod packet;
mod sender;
mod socket;
mod subscription;
mod targets;
mod ticket;

use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, sleep, timeout};

use crate::push::HashState;
use crate::push::PushSettings;
use crate::push::stats::PushStats;

pub(crate) use socket::PushSocket;

pub(in crate::push) use batch::Batch;
pub(in crate::push) use delivery::{Delivery, Released, Rules, Verdict};
pub(in crate::push) use listeners::{Identity, UdpListeners};
pub(in crate::push) use pace::UdpPace;
pub(in crate::push) use packet::{Packet, PacketBudget, PacketSize, Template};
pub(in crate::push) use sender::Sender;
pub(in crate::push) use subscription::Subscription;
pub(in crate::push) use targets::{Admission, Target, TargetRules, Targets};
pub(in crate::push) use ticket::Ticket;

use ids::PacketIds;
use packet::{MAX_ACK_BYTES, parse_ack};

/// Pause after an error of the socket, so that a lasting one does not keep a core busy.
const ERROR_PAUSE: Duration = Duration::from_millis(5);

/// What became of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::push) enum Sent {
    /// The system has it. Errors count as lost on the way: what follows is the same.
    Away,
    /// The buffer of the socket was full for all the time there was.
    Blocked,
}

pub(in crate::push) struct Udp {
    socket: PushSocket,
    is_ipv6: bool,
    rules: Rules,
    ids: PacketIds,
    budget: Arc<PacketBudget>,
    /// Acks that may come. At most two for each subscription, see `delivery`, and one for each
    /// target.
    waiting: Mutex<HashMap<(SocketAddr, i64), Awaited, HashState>>,
    /// Subscriptions whose packets were put off until somebody acked, which has happened.
    opened: Mutex<Vec<Arc<Subscription>>>,
    stats: Arc<PushStats>,
}

/// Of what an ack is waited for.
#[derive(Debug)]
enum Awaited {
    Packet(Arc<Subscription>),
    Probe(Arc<Target>),
}

impl Udp {
    pub(in crate::push) fn new(
        socket: PushSocket,
        settings: &PushSettings,
        stats: Arc<PushStats>,
    ) -> Self {
        let is_ipv6 = socket.local_addr().is_ok_and(|address| address.is_ipv6());
        let rules = Rules {
            ack_timeout: settings.ack_timeout,
            park_after_misses: settings.park_after_misses,
            probe_interval: settings.probe_interval,
        };
        let (ids, budget) = (PacketIds::new(), PacketBudget::new(settings.max_kept_bytes));
        let (budget, waiting, opened) = (Arc::new(budget), Mutex::default(), Mutex::default());
        Self { socket, is_ipv6, rules, ids, budget, waiting, opened, stats }
    }

    /// The one form of an address, if packets can be sent there. Addresses of many receivers are
    /// refused: anybody may name them.
    pub(in crate::push) fn target(&self, address: SocketAddr) -> Option<SocketAddr> {
        let address = canonical(address);
        let ip = address.ip();
        let is_broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
        let is_one_host = !ip.is_unspecified() && !ip.is_multicast() && !is_broadcast;
        let is_our_family = self.is_ipv6 || ip.is_ipv4();
        (address.port() != 0 && is_one_host && is_our_family).then_some(address)
    }

    /// Prepares for the ack of packet `id`. `false` if the very same packet is on its way to the
    /// address already, for a subscription that differs in its agent only.
    pub(in crate::push) fn expect_ack(&self, subscription: &Arc<Subscription>, id: i64) -> bool {
        use std::collections::hash_map::Entry;
        let key = (subscription.subscriber.address, id);
        match self.waiting.lock().entry(key) {
            Entry::Occupied(_) => false,
            Entry::Vacant(vacant) => {
                vacant.insert(Awaited::Packet(Arc::clone(subscription)));
                true
            }
        }
    }

    /// Prepares for the ack of the probe `id`, and stops waiting for that of the one before.
    pub(in crate::push) fn expect_probe(&self, target: &Arc<Target>, id: i64) {
        let before = target.set_probe(id);
        self.waiting.lock().insert((target.address, id), Awaited::Probe(Arc::clone(target)));
        self.release(target.address, [before, None]);
    }

    /// Stops waiting for acks.
    pub(in crate::push) fn release(&self, address: SocketAddr, released: Released) {
        if released == [None, None] {
            return;
        }
        let mut waiting = self.waiting.lock();
        for id in released.into_iter().flatten() {
            waiting.remove(&(address, id));
        }
        if waiting.capacity() > 4 * waiting.len() + 4_096 {
            waiting.shrink_to_fit();
        }
    }

    /// Sends a datagram. While the buffer of the socket is full it waits, as long as `patience`
    /// lasts, which it uses up.
    pub(in crate::push) async fn send(
        &self,
        address: SocketAddr,
        datagram: &[u8],
        patience: &mut Duration,
    ) -> Sent {
        let target = self.wire(address);
        loop {
            match self.socket.try_send_to(datagram, target) {
                Ok(_) => return Sent::Away,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let start = Instant::now();
                    let writable = timeout(*patience, self.socket.writable()).await;
                    *patience = patience.saturating_sub(start.elapsed());
                    if writable.is_err() {
                        self.stats.blocked.increment();
                        return Sent::Blocked;
                    }
                }
                Err(error) => {
                    tracing::debug!(%address, %error, "push packet not sent");
                    self.stats.send_errors.increment();
                    return Sent::Away;
                }
            }
        }
    }

    /// Takes acks, for ever, and calls `opened` when subscriptions may be pushed to from now on
    /// because somebody has acked. Cancelling it loses at most the datagram being read.
    pub(in crate::push) async fn receive(&self, opened: impl Fn()) {
        // One byte more than allowed shows that a datagram was longer.
        let mut buffer = [0; MAX_ACK_BYTES + 1];
        loop {
            match self.socket.recv_from(&mut buffer).await {
                Ok((length, source)) => {
                    let datagram = buffer.get(..length).unwrap_or_default();
                    let waiting = self.hear(canonical(source), datagram);
                    if !waiting.is_empty() {
                        self.opened.lock().extend(waiting);
                        opened();
                    }
                }
                Err(error) => {
                    // ICMP errors of earlier sends may surface here; they say nothing about
                    // the socket.
                    tracing::debug!(%error, "push socket");
                    sleep(ERROR_PAUSE).await;
                }
            }
        }
    }

    /// Takes one ack; the subscriptions that waited for it.
    fn hear(&self, source: SocketAddr, datagram: &[u8]) -> Vec<Arc<Subscription>> {
        let Some(id) = parse_ack(datagram) else {
            self.stats.garbage.increment();
            return Vec::new();
        };
        let awaited = self.waiting.lock().remove(&(source, id));
        match awaited {
            None => {
                self.stats.unknown_acks.increment();
                Vec::new()
            }
            Some(Awaited::Probe(target)) => {
                target.take_probe();
                target.prove()
            }
            Some(Awaited::Packet(subscription)) => {
                self.acked(&subscription, source, id);
                subscription.target.prove()
            }
        }
    }

    fn acked(&self, subscription: &Subscription, source: SocketAddr, id: i64) {
        let now = Instant::now();
        let heard = {
            let mut state = subscription.state.lock();
            // Go's client puts its next poll off whenever a push arrives.
            state.renew(now);
            state.delivery.acked(id, now)
        };
        let Some(heard) = heard else {
            self.stats.unknown_acks.increment();
            return;
        };
        self.stats.acked.increment();
        if heard.unparked {
            self.stats.parked.subtract(1);
        }
        self.release(source, heard.released);
    }

    /// Up to `limit` packets whose ack is waited for.
    pub(in crate::push) fn outstanding(&self, limit: usize) -> Vec<Packet> {
        let subscription = |awaited: &Awaited| match awaited {
            Awaited::Packet(subscription) => Some(Arc::clone(subscription)),
            Awaited::Probe(_) => None,
        };
        let subscriptions: Vec<_> =
            self.waiting.lock().values().filter_map(subscription).take(limit).collect();
        subscriptions
            .iter()
            .filter_map(|subscription| subscription.state.lock().delivery.outstanding().cloned())
            .collect()
    }

    fn wire(&self, address: SocketAddr) -> SocketAddr {
        match address {
            SocketAddr::V4(v4) if self.is_ipv6 => (v4.ip().to_ipv6_mapped(), v4.port()).into(),
            address => address,
        }
    }
}

/// IPv4 addresses in IPv6 form become plain ones; what does not belong to an address goes.
fn canonical(address: SocketAddr) -> SocketAddr {
    match (address.ip().to_canonical(), address) {
        (IpAddr::V6(ip), SocketAddr::V6(v6)) => {
            SocketAddrV6::new(ip, v6.port(), 0, v6.scope_id()).into()
        }
        (ip, address) => (ip, address.port()).into(),
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::UdpSocket;

    use super::*;

    #[tokio::test]
    async fn addresses_have_one_form_and_name_one_host() {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let udp = Udp::new(socket.into(), &PushSettings::default(), Arc::default());
        let target = |text: &str| udp.target(text.parse().unwrap()).map(|found| found.to_string());
        assert_eq!(target("10.0.0.1:5000").as_deref(), Some("10.0.0.1:5000"));
        assert_eq!(target("[::ffff:10.0.0.1]:5000").as_deref(), Some("10.0.0.1:5000"));
        for bad in ["10.0.0.1:0", "0.0.0.0:1", "255.255.255.255:1", "224.0.0.1:1", "[2001::1]:1"] {
            assert_eq!(target(bad), None, "{bad}");
        }
    }
}
