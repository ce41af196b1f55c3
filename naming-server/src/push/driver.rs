//! The one task that sends: rounds of dirty services, second sends, expiry.
//!
//! ```text
//! change ──► queue ──► round ──► window ──► at rest
//!                        ▲          │ changed meanwhile
//!                        └──────────┘
//! ```
//!
//! A service is in one of these places at most once, so nothing here outgrows the table. Rounds
//! go on in turns, a hundred packets each: a service with many subscribers does not hold up
//! one with few.

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::delivery::Verdict;
use super::packet::Packet;
use super::subscriber::{AgentFamily, Subscription};
use super::table::Topic;
use super::udp::Sent;
use super::{Shared, Source};
use crate::registry::Flavour;

/// Packets sent in one turn of a round: less than a millisecond.
const TURN: usize = 128;
/// What rendering and compressing a list counts for in a turn.
const RENDER_COST: usize = 16;
/// How long a turn may wait in all for room in the buffer of the socket. Neighbours that do not
/// answer to ARP keep their packets in it for seconds.
const TURN_PATIENCE: Duration = Duration::from_millis(20);
/// Longest time between two looks at what is due and what has expired.
const MAX_TICK: Duration = Duration::from_millis(250);
/// Due deliveries looked at in one go.
const TICKETS_PER_TICK: usize = 128;
/// Shards swept for expired subscribers at each tick: all of them in 8 s.
const SHARDS_PER_TICK: usize = 2;

pub(super) struct Driver {
    shared: Arc<Shared>,
    rounds: VecDeque<Round>,
    /// Services pushed a short while ago, by the end of their window.
    windows: BTreeMap<(Instant, u64), Arc<Topic>>,
    windows_opened: u64,
    tickets: BinaryHeap<Ticket>,
    tick: Duration,
    tick_at: Instant,
    sweep_at: Instant,
}

impl Driver {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let tick = (shared.settings.ack_timeout / 8).clamp(Duration::from_millis(5), MAX_TICK);
        Self {
            shared,
            rounds: VecDeque::new(),
            windows: BTreeMap::new(),
            windows_opened: 0,
            tickets: BinaryHeap::new(),
            tick,
            tick_at: Instant::now() + tick,
            sweep_at: Instant::now() + tick,
        }
    }

    /// Sends, for ever. Cancelling it loses no more than packets lost on the way.
    pub(super) async fn run(mut self) {
        loop {
            self.start_rounds();
            if self.tick_at <= Instant::now() {
                self.tick().await;
            }
            if let Some(round) = self.rounds.pop_front() {
                self.advance(round).await;
                tokio::task::yield_now().await;
                continue;
            }
            let window_ends = self.windows.keys().next().map(|(end, _)| *end);
            let wake_at = window_ends.map_or(self.tick_at, |end| end.min(self.tick_at));
            tokio::select! {
                () = self.shared.wake.notified() => {}
                () = sleep_until(wake_at) => {}
            }
        }
    }

    /// Starts the rounds of what changed at rest, and of what changed in a window now over.
    fn start_rounds(&mut self) {
        let queued = std::mem::take(&mut *self.shared.queue.lock());
        for topic in queued {
            self.start_round(topic);
        }
        let now = Instant::now();
        while let Some(window) = self.windows.first_entry()
            && window.key().0 <= now
        {
            let topic = window.remove();
            self.start_round(topic);
        }
    }

    fn start_round(&mut self, topic: Arc<Topic>) {
        let Some(changed_at) = topic.take_mark() else { return };
        let round = Round::new(topic, changed_at);
        if self.shared.is_enabled() && !round.subscriptions.is_empty() {
            self.rounds.push_back(round);
        } else {
            self.open_window(round);
        }
    }

    fn open_window(&mut self, round: Round) {
        self.windows_opened += 1;
        let end = round.started + self.shared.settings.debounce;
        self.windows.insert((end, self.windows_opened), round.topic);
    }

    /// One turn of a round.
    async fn advance(&mut self, mut round: Round) {
        let mut patience = TURN_PATIENCE;
        let mut cost = 0;
        while cost < TURN {
            let subscription = round.subscriptions.get(round.position).map(Arc::clone);
            let Some(subscription) = subscription.filter(|_| self.shared.is_enabled()) else {
                self.open_window(round);
                return;
            };
            round.position += 1;
            cost += self.push(&mut round, &subscription, &mut patience).await;
        }
        self.rounds.push_back(round);
    }

    /// Sends the list to one subscriber; what that cost.
    async fn push(
        &mut self,
        round: &mut Round,
        subscription: &Arc<Subscription>,
        patience: &mut Duration,
    ) -> usize {
        let now = Instant::now();
        if !subscription.state.lock().is_ready(now) {
            return 1;
        }
        let cost = if round.is_rendered_for(subscription) { 1 } else { RENDER_COST };
        let Some(packet) = round.packet_for(subscription, &self.shared) else {
            self.shared.stats.too_large.increment();
            subscription.state.lock().too_large = true;
            return cost;
        };
        if !self.shared.udp.expect_ack(subscription, packet.id) {
            return cost;
        }
        let released = {
            let mut state = subscription.state.lock();
            state.too_large = false;
            let released = state.delivery.begin(&packet, now, &self.shared.rules);
            if let Some(due) = state.repeat_at(now) {
                state.delivery.repeat(&packet, due);
            }
            released
        };
        self.shared.udp.release(subscription.subscriber.address, released);
        if self.send(subscription, &packet, patience).await == Sent::Away {
            self.shared.stats.sent.increment();
            if let Some(changed_at) = round.changed_at.take() {
                self.shared.stats.observe_delay(changed_at.elapsed());
            }
        }
        self.look_again(subscription);
        cost
    }

    async fn send(
        &self,
        subscription: &Subscription,
        packet: &Packet,
        patience: &mut Duration,
    ) -> Sent {
        let address = subscription.subscriber.address;
        let sent = self.shared.udp.send(address, &packet.datagram, patience).await;
        if sent == Sent::Blocked {
            subscription.state.lock().delivery.blocked(Instant::now());
        }
        sent
    }

    /// Writes a ticket for when the delivery needs the next look, unless there is an earlier one.
    fn look_again(&mut self, subscription: &Arc<Subscription>) {
        let mut state = subscription.state.lock();
        let Some(due) = state.delivery.due(&self.shared.rules) else { return };
        if state.ticket_at.is_none_or(|at| due < at) {
            state.ticket_at = Some(due);
            self.tickets.push(Ticket { at: Reverse(due), subscription: Arc::clone(subscription) });
        }
    }

    async fn tick(&mut self) {
        let now = Instant::now();
        self.tick_at = now + self.tick;
        let mut patience = TURN_PATIENCE;
        let mut looks = 0;
        while let Some(ticket) = self.tickets.peek()
            && ticket.at.0 <= now
        {
            if looks == TICKETS_PER_TICK {
                // The rest follows as soon as the rounds have had their turn.
                self.tick_at = now;
                break;
            }
            looks += 1;
            if let Some(ticket) = self.tickets.pop() {
                self.look(ticket, &mut patience).await;
            }
        }
        if self.sweep_at <= now {
            self.sweep_at = now + self.tick;
            self.expire(now);
        }
    }

    async fn look(&mut self, ticket: Ticket, patience: &mut Duration) {
        let Ticket { at: Reverse(at), subscription } = ticket;
        let now = Instant::now();
        let verdict = {
            let mut state = subscription.state.lock();
            if state.ticket_at != Some(at) {
                return;
            }
            state.ticket_at = None;
            state.delivery.check(now, &self.shared.rules)
        };
        let stats = &self.shared.stats;
        match verdict {
            Verdict::Idle | Verdict::Wait => {}
            Verdict::Send { packet, again } if self.shared.is_enabled() => {
                if self.send(&subscription, &packet, patience).await == Sent::Away {
                    if again { stats.resent.increment() } else { stats.sent.increment() }
                }
            }
            // Switched off meanwhile: that is not the fault of the subscriber.
            Verdict::Send { .. } => {
                let released = subscription.state.lock().delivery.give_up();
                self.shared.udp.release(subscription.subscriber.address, released);
            }
            Verdict::GaveUp { released, parked } => {
                stats.failed.increment();
                stats.parked.add(u64::from(parked));
                self.shared.udp.release(subscription.subscriber.address, released);
            }
        }
        self.look_again(&subscription);
    }

    fn expire(&self, now: Instant) {
        for subscription in self.shared.table.sweep(SHARDS_PER_TICK, now) {
            let (released, parked) = {
                let mut state = subscription.state.lock();
                (state.delivery.give_up(), state.delivery.is_parked())
            };
            self.shared.stats.parked.subtract(u64::from(parked));
            self.shared.udp.release(subscription.subscriber.address, released);
        }
    }
}

/// One state of a service on its way to all subscribers.
struct Round {
    topic: Arc<Topic>,
    started: Instant,
    /// The change the round is about, until the first packet has left.
    changed_at: Option<Instant>,
    /// Those who owe an ack come last: who answers is served first. In both parts ordered by
    /// kind, so that keeping one packet is enough.
    subscriptions: Vec<Arc<Subscription>>,
    position: usize,
    rendered: Option<RenderedKind>,
}

struct RenderedKind {
    clusters: Arc<str>,
    flavour: Flavour,
    packet: Option<Arc<Packet>>,
}

impl Round {
    fn new(topic: Arc<Topic>, changed_at: Instant) -> Self {
        let started = Instant::now();
        let (mut subscriptions, silent) = topic.ready(started);
        sort_by_kind(&mut subscriptions);
        let first_silent = subscriptions.len();
        subscriptions.extend(silent);
        sort_by_kind(&mut subscriptions[first_silent..]);
        let changed_at = Some(changed_at);
        Self { topic, started, changed_at, subscriptions, position: 0, rendered: None }
    }

    fn is_rendered_for(&self, subscription: &Subscription) -> bool {
        let kind = self.rendered.as_ref().map(|rendered| (&*rendered.clusters, rendered.flavour));
        kind == Some(subscription.kind())
    }

    /// The packet for a subscriber; `None` if it could not read it.
    fn packet_for(&mut self, subscription: &Subscription, shared: &Shared) -> Option<Arc<Packet>> {
        if !self.is_rendered_for(subscription) {
            let subscriber = &subscription.subscriber;
            self.rendered = Some(RenderedKind {
                clusters: Arc::clone(&subscriber.clusters),
                flavour: subscriber.flavour,
                packet: render(&self.topic, subscription, shared),
            });
        }
        let packet = self.rendered.as_ref()?.packet.as_ref()?;
        let limit = match subscription.subscriber.family {
            AgentFamily::Go => shared.settings.max_go_packet_bytes,
            AgentFamily::Other => shared.settings.max_packet_bytes,
        };
        (packet.datagram.len() <= limit).then(|| Arc::clone(packet))
    }
}

fn sort_by_kind(subscriptions: &mut [Arc<Subscription>]) {
    // Mostly there is one kind only, and looking costs less than sorting.
    if !subscriptions.is_sorted_by(|left, right| left.kind() == right.kind()) {
        subscriptions.sort_by(|left, right| left.kind().cmp(&right.kind()));
    }
}

fn render(topic: &Topic, subscription: &Subscription, shared: &Shared) -> Option<Arc<Packet>> {
    let (clusters, flavour) = subscription.kind();
    let source: &dyn Source = &*shared.source;
    let rendered = source.render(&topic.service, clusters, flavour);
    let packet = Packet::encode(shared.ids.next(), &rendered.data, &shared.budget)?;
    tracing::trace!(
        service = topic.service.as_str(),
        revision = rendered.revision,
        id = packet.id,
        bytes = packet.datagram.len(),
        "push"
    );
    Some(Arc::new(packet))
}

/// Says when to look at a delivery. The one whose time does not match `ticket_at` is void.
struct Ticket {
    at: Reverse<Instant>,
    subscription: Arc<Subscription>,
}

impl Ord for Ticket {
    fn cmp(&self, other: &Self) -> Ordering {
        self.at.cmp(&other.at)
    }
}

impl PartialOrd for Ticket {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ticket {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl Eq for Ticket {}
