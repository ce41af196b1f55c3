//! Sending packets: first sends, second sends, packets that are put off, expiry.
//!
//! Packets that may not leave yet are put off: their subscriptions are pushed to in an extra round,
//! with the list as it is by then, when an ack or time has made room.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;
use std::time::Duration;

use naming_model::ServiceKey;
use tokio::time::Instant;

use super::{Admission, Batch, Packet, Sent, Subscription, Template, Ticket, Udp, Verdict};
use crate::push::Shared;
use crate::push::topics::Topic;

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

/// The sending half of the UDP sink.
pub(in crate::push) struct Sender {
    shared: Arc<Shared>,
    tickets: BinaryHeap<Ticket>,
    /// Subscriptions whose packet was put off, by the moment when it may leave.
    put_off: BTreeMap<(Instant, u64), Arc<Subscription>>,
    puts_off: u64,
    /// The datagram being sent.
    datagram: Vec<u8>,
    tick: Duration,
    tick_at: Instant,
    sweep_at: Instant,
}

impl Sender {
    pub(in crate::push) fn new(shared: Arc<Shared>) -> Self {
        let tick = (shared.settings.ack_timeout / 8).clamp(Duration::from_millis(5), MAX_TICK);
        Self {
            shared,
            tickets: BinaryHeap::new(),
            put_off: BTreeMap::new(),
            puts_off: 0,
            datagram: Vec::new(),
            tick,
            tick_at: Instant::now() + tick,
            sweep_at: Instant::now() + tick,
        }
    }

    /// When there is something to do, if nothing else happens.
    pub(in crate::push) fn wake_at(&self) -> Instant {
        let put_off = self.put_off.keys().next();
        put_off.map_or(self.tick_at, |(at, _)| self.tick_at.min(*at))
    }

    /// What those get whose packets were put off and may leave now. A list is rendered for them
    /// once in a window at most.
    pub(in crate::push) fn extra_batches(&mut self) -> Vec<(Arc<Topic>, Batch)> {
        let now = Instant::now();
        let mut ready = std::mem::take(&mut *self.shared.udp.opened.lock());
        while let Some(first) = self.put_off.first_entry()
            && first.key().0 <= now
        {
            ready.push(first.remove());
        }
        // Those that were pushed to meanwhile have the news.
        ready.retain(|subscription| std::mem::take(&mut subscription.state.lock().waiting));
        ready.sort_by(|left, right| left.subscriber.service.cmp(&right.subscriber.service));
        let mut batches = Vec::new();
        for subscriptions in
            ready.chunk_by(|left, right| left.subscriber.service == right.subscriber.service)
        {
            let Some(first) = subscriptions.first() else { continue };
            let service = &first.subscriber.service;
            let Some(topic) = self.shared.table.find(service.as_str()) else { continue };
            match topic.pace.begin_extra(now, self.shared.settings.debounce) {
                Ok(()) => batches.push((topic, Batch::put_off(subscriptions.to_vec()))),
                Err(at) => subscriptions.iter().for_each(|one| self.put_off(one, at)),
            }
        }
        batches
    }

    /// Sends to the subscriptions of a batch until that has cost `most`; whether any are left.
    pub(in crate::push) async fn advance(
        &mut self,
        service: &ServiceKey,
        batch: &mut Batch,
        most: usize,
    ) -> bool {
        let mut patience = TURN_PATIENCE;
        let mut cost = 0;
        while cost < most {
            let Some(subscription) = batch.next().filter(|_| self.shared.is_enabled()) else {
                return false;
            };
            cost += self.push(service, batch, &subscription, &mut patience).await;
        }
        true
    }

    fn put_off(&mut self, subscription: &Arc<Subscription>, at: Instant) {
        if !std::mem::replace(&mut subscription.state.lock().waiting, true) {
            self.remember(subscription, at);
        }
    }

    fn remember(&mut self, subscription: &Arc<Subscription>, at: Instant) {
        self.puts_off += 1;
        self.put_off.insert((at, self.puts_off), Arc::clone(subscription));
    }

    /// Sends the list to one subscriber; what that cost.
    async fn push(
        &mut self,
        service: &ServiceKey,
        batch: &mut Batch,
        subscription: &Arc<Subscription>,
        patience: &mut Duration,
    ) -> usize {
        let now = Instant::now();
        if !subscription.state.lock().is_ready(now) {
            return 1;
        }
        let cost = if batch.is_rendered_for(subscription) { 1 } else { RENDER_COST };
        let Some(template) = batch.template_for(service, subscription, &self.shared) else {
            self.note_too_large(subscription);
            return cost;
        };
        let address = subscription.target.address;
        let packet = Packet::new(self.shared.udp.ids.of(template.serial, address), &template);
        if !self.shared.udp.expect_ack(subscription, packet.id) {
            subscription.state.lock().too_large = false;
            return cost;
        }
        let may_probe = subscription.subscriber.family.acks_probes();
        let admission = subscription.target.admit(packet.len(), may_probe, now);
        if admission != Admission::Send {
            self.shared.udp.release(address, [Some(packet.id), None]);
            self.hold_back(subscription, admission, patience).await;
            return cost;
        }
        let released = {
            let mut state = subscription.state.lock();
            (state.too_large, state.waiting) = (false, false);
            let released = state.delivery.begin(&packet, now, &self.shared.udp.rules);
            if let Some(due) = state.repeat_at(now) {
                state.delivery.repeat(&packet, due);
            }
            released
        };
        self.shared.udp.release(address, released);
        if self.send(subscription, &packet, patience).await == Sent::Away {
            self.shared.stats.sent.increment();
            if let Some(changed_at) = batch.changed_at.take() {
                self.shared.stats.observe_delay(changed_at.elapsed());
            }
        }
        self.look_again(subscription);
        cost
    }

    fn note_too_large(&self, subscription: &Subscription) {
        self.shared.stats.too_large.increment();
        subscription.state.lock().too_large = true;
    }

    /// Does what is to be done instead of sending a packet.
    async fn hold_back(
        &mut self,
        subscription: &Arc<Subscription>,
        admission: Admission,
        patience: &mut Duration,
    ) {
        match admission {
            Admission::Send => {}
            Admission::TooLong => self.note_too_large(subscription),
            Admission::Later(at) => {
                self.shared.stats.over_budget.increment();
                self.put_off(subscription, at);
            }
            Admission::AwaitAck(until) => self.await_ack(subscription, until),
            Admission::Probe => {
                self.await_ack(subscription, None);
                self.probe(subscription, patience).await;
            }
        }
    }

    /// Puts a packet off until an ack, or until `until`.
    fn await_ack(&mut self, subscription: &Arc<Subscription>, until: Option<Instant>) {
        if std::mem::replace(&mut subscription.state.lock().waiting, true) {
            return;
        }
        let is_awaited = subscription.target.await_ack(subscription);
        // Unless the ack has come meanwhile.
        let until = if is_awaited { until } else { Some(Instant::now()) };
        if let Some(until) = until {
            self.remember(subscription, until);
        }
    }

    /// Asks whether somebody at an address wants packets.
    async fn probe(&mut self, subscription: &Subscription, patience: &mut Duration) {
        let Shared { udp, stats, .. } = &*self.shared;
        let Udp { ids, budget, .. } = udp;
        let target = &subscription.target;
        let Some(template) = Template::probe(ids.next_serial(), budget) else { return };
        let packet = Packet::new(ids.of(template.serial, target.address), &Arc::new(template));
        udp.expect_probe(target, packet.id);
        packet.write(&mut self.datagram);
        if udp.send(target.address, &self.datagram, patience).await == Sent::Away {
            stats.probes.increment();
        }
    }

    async fn send(
        &mut self,
        subscription: &Subscription,
        packet: &Packet,
        patience: &mut Duration,
    ) -> Sent {
        packet.write(&mut self.datagram);
        let address = subscription.target.address;
        let sent = self.shared.udp.send(address, &self.datagram, patience).await;
        if sent == Sent::Blocked {
            subscription.state.lock().delivery.blocked(Instant::now());
        }
        sent
    }

    /// Writes a ticket for when the delivery needs the next look, unless there is an earlier one.
    fn look_again(&mut self, subscription: &Arc<Subscription>) {
        let mut state = subscription.state.lock();
        let Some(due) = state.delivery.due(&self.shared.udp.rules) else { return };
        if state.ticket_at.is_none_or(|at| due < at) {
            state.ticket_at = Some(due);
            self.tickets.push(Ticket { at: Reverse(due), subscription: Arc::clone(subscription) });
        }
    }

    /// Looks at what is due and at what has expired, if it is time for that.
    pub(in crate::push) async fn tick(&mut self) {
        let now = Instant::now();
        if now < self.tick_at {
            return;
        }
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
            state.delivery.check(now, &self.shared.udp.rules)
        };
        let stats = Arc::clone(&self.shared.stats);
        match verdict {
            Verdict::Idle | Verdict::Wait => {}
            // As if it were lost on the way.
            Verdict::Send { packet, .. }
                if self.shared.is_enabled()
                    && !subscription.target.may_repeat(packet.len(), now) =>
            {
                stats.over_budget.increment();
            }
            Verdict::Send { packet, again } if self.shared.is_enabled() => {
                if self.send(&subscription, &packet, patience).await == Sent::Away {
                    if again { stats.resent.increment() } else { stats.sent.increment() }
                }
            }
            // Switched off meanwhile: that is not the fault of the subscriber.
            Verdict::Send { .. } => {
                let released = subscription.state.lock().delivery.give_up();
                self.shared.udp.release(subscription.target.address, released);
            }
            Verdict::GaveUp { released, parked } => {
                stats.failed.increment();
                stats.parked.add(u64::from(parked));
                self.shared.udp.release(subscription.target.address, released);
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
            let target = &subscription.target;
            self.shared.udp.release(target.address, released);
            if self.shared.table.targets.release(target) {
                self.shared.udp.release(target.address, [target.take_probe(), None]);
            }
        }
    }
}
