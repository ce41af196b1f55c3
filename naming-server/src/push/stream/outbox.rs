//! What one connection is to be sent next: a state machine without IO.
//!
//! ```text
//!            changed                 next                      acked
//!  at rest ──────────► marked ─────────────────► in flight ───────────► at rest
//!     ▲                   ▲                        │ │ │
//!     │ FIRST_PUSH        ├── changed, a while ────┘ │ │
//!  subscribed             ├── no ack in time ────────┘ │     silent for too long:
//!                         └── error ack, RETRY ────────┘     the connection is closed
//! ```
//!
//! - It holds marks, never lists: a list is rendered when [`Outbox::next`] names it, so a client
//!   gets the state of that moment, and a service that changes a hundred times costs one mark.
//! - The mark is taken away before the list is rendered: a change from then on marks again.
//! - A service has one list in flight. A newer one takes its place only once the ack has had a
//!   moment to come: a client behind a slow line gets as many lists as it can take.
//! - Two clocks run, as for packets: that of the list (send it again) and that of the silence, which
//!   a newer list does not restart.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use naming_model::ServiceKey;
use tokio::time::Instant;

use super::RequestIds;
use super::entry::Entry;
use super::rules::{Heard, OutboxRules};
use crate::push::HashState;
use crate::push::stats::PushStats;

/// A list to be rendered and sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Due {
    pub(crate) service: ServiceKey,
    /// The clusters asked for, to be echoed as they are.
    pub(crate) clusters: Arc<str>,
    /// Its digits are the `requestId`.
    pub(crate) request_id: u64,
}

/// The service about which a connection has acked nothing for too long: it is to be closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Silent(pub(crate) ServiceKey);

/// The subscriptions of one connection, and what each of them is to be sent. As large as what is
/// subscribed: a mark, a deadline and at most five numbers each.
#[derive(Debug)]
pub(crate) struct Outbox {
    rules: OutboxRules,
    ids: Arc<RequestIds>,
    stats: Arc<PushStats>,
    pub(super) entries: HashMap<ServiceKey, Entry, HashState>,
    /// Services whose list may be sent now, in the order in which that was found out.
    pub(super) ready: BTreeMap<u64, ServiceKey>,
    /// When to look at a service next.
    pub(super) timers: BTreeMap<(Instant, u64), ServiceKey>,
    /// Lists whose ack is waited for.
    pub(super) awaited: HashMap<u64, ServiceKey, HashState>,
    /// Tells entries of `ready` and `timers` apart.
    next_place: u64,
    /// When a list was last sent, and when one was last acked.
    last_sent: Option<Instant>,
    last_acked: Option<Instant>,
}

impl Outbox {
    pub(crate) fn new(rules: OutboxRules, ids: Arc<RequestIds>, stats: Arc<PushStats>) -> Self {
        Self {
            rules,
            ids,
            stats,
            entries: HashMap::default(),
            ready: BTreeMap::new(),
            timers: BTreeMap::new(),
            awaited: HashMap::default(),
            next_place: 0,
            last_sent: None,
            last_acked: None,
        }
    }

    /// When a list was last sent, and when one was last acked.
    pub(crate) fn last(&self) -> (Option<Instant>, Option<Instant>) {
        (self.last_sent, self.last_acked)
    }

    /// Notes a subscription, or other clusters for one that is known; whether it is a new one. A new
    /// one is pushed to soon, a known one is not.
    pub(crate) fn subscribe(
        &mut self,
        service: &ServiceKey,
        clusters: Arc<str>,
        now: Instant,
    ) -> bool {
        if let Some(known) = self.entries.get_mut(service) {
            known.clusters = clusters;
            return false;
        }
        let entry = Entry::new(clusters, now + self.rules.first_push);
        self.entries.insert(service.clone(), entry);
        self.follow(service);
        true
    }

    /// Forgets a subscription with all that is due to it; whether there was one.
    pub(crate) fn unsubscribe(&mut self, service: &ServiceKey) -> bool {
        let Some(entry) = self.entries.remove(service) else { return false };
        for id in entry.ids() {
            self.awaited.remove(&id);
        }
        if let Some(place) = entry.ready {
            self.ready.remove(&place);
        }
        if let Some(timer) = entry.timer {
            self.timers.remove(&timer);
        }
        true
    }

    /// Notes that a service has changed.
    pub(crate) fn changed(&mut self, service: &ServiceKey, changed_at: Instant, now: Instant) {
        let Some(entry) = self.entries.get_mut(service) else { return };
        entry.mark(changed_at);
        self.look(service, now);
    }

    /// The list to be sent now, if there is one. Its mark is taken away: render it afterwards, and
    /// send it, or end the connection. Call it only while the stream has room: what waits here is
    /// a mark, what waits there is a list.
    pub(crate) fn next(&mut self, now: Instant) -> Option<Due> {
        let (_, service) = self.ready.pop_first()?;
        let entry = self.entries.get_mut(&service)?;
        entry.ready = None;
        self.last_sent = Some(now);
        let request_id = self.ids.next();
        let sent = entry.send(request_id, now, &self.rules);
        let clusters = Arc::clone(&entry.clusters);
        for id in sent.released {
            self.awaited.remove(&id);
        }
        self.awaited.insert(request_id, service.clone());
        let streams = &self.stats.streams;
        if sent.is_again {
            streams.resent.increment()
        } else {
            streams.sent.increment()
        }
        if let Some(changed_at) = sent.changed_at {
            streams.delay.observe(now.saturating_duration_since(changed_at));
        }
        self.follow(&service);
        Some(Due { service, clusters, request_id })
    }

    /// Notes an ack, or with `ok` false that the client could not take the list.
    pub(crate) fn acked(&mut self, request_id: u64, ok: bool, now: Instant) -> Heard {
        let Some(service) = self.awaited.remove(&request_id) else { return Heard::Unknown };
        let Some(entry) = self.entries.get_mut(&service) else { return Heard::Unknown };
        let answer = match ok {
            true => entry.acked(request_id, now),
            false => entry.failed(request_id, now, &self.rules),
        };
        for id in answer.released {
            self.awaited.remove(&id);
        }
        let streams = &self.stats.streams;
        match answer.meaning {
            Heard::Acked => {
                streams.acked.increment();
                self.last_acked = Some(now);
            }
            Heard::Failed => streams.failed.increment(),
            Heard::Lives | Heard::Unknown => {}
        }
        if let Some(ack_delay) = answer.ack_delay {
            streams.ack_delay.observe(ack_delay);
        }
        self.look(&service, now);
        answer.meaning
    }

    /// When [`Self::timed_out`] is to be called next.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.timers.keys().next().map(|(at, _)| *at)
    }

    /// Does what time demands; [`Self::next`] may have more to send afterwards.
    ///
    /// # Errors
    /// The client has been silent for too long: close the connection.
    pub(crate) fn timed_out(&mut self, now: Instant) -> Result<(), Silent> {
        while let Some(first) = self.timers.first_entry()
            && first.key().0 <= now
        {
            let service = first.get().clone();
            let silence_ends =
                self.entries.get(&service).and_then(|entry| entry.silence_ends(&self.rules));
            if silence_ends.is_some_and(|end| end <= now) {
                self.stats.streams.closed.increment();
                return Err(Silent(service));
            }
            self.look(&service, now);
        }
        Ok(())
    }

    /// Puts a service among those to be sent if it is time, or takes it away if an ack has come
    /// meanwhile, and notes when to look again.
    fn look(&mut self, service: &ServiceKey, now: Instant) {
        let Some(entry) = self.entries.get_mut(service) else { return };
        let is_due = entry.send_at(&self.rules).is_some_and(|at| at <= now);
        match entry.ready {
            None if is_due => {
                entry.ready = Some(self.next_place);
                self.ready.insert(self.next_place, service.clone());
                self.next_place += 1;
            }
            Some(place) if !is_due => {
                entry.ready = None;
                self.ready.remove(&place);
            }
            _ => {}
        }
        self.follow(service);
    }

    /// Keeps the timer of a service true.
    fn follow(&mut self, service: &ServiceKey) {
        let Some(entry) = self.entries.get_mut(service) else { return };
        let due = entry.due(&self.rules);
        if entry.timer.map(|(at, _)| at) == due {
            return;
        }
        if let Some(timer) = entry.timer.take() {
            self.timers.remove(&timer);
        }
        if let Some(due) = due {
            let timer = (due, self.next_place);
            self.next_place += 1;
            entry.timer = Some(timer);
            self.timers.insert(timer, service.clone());
        }
    }
}
