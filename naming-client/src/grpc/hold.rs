//! What the connection holds: the ephemeral instances of the client, service by service.
//!
//! A connection has one place in each service, and what is written to it replaces what was there.
//! So each write carries all instances that the client has in the service, one write of a service
//! is under way at a time, and changes that come meanwhile go together with the next. Lost
//! connections and lost answers need no rule of their own: the whole place is written again.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use naming_model::Instance;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::session::Problem;
use crate::beat::Entry;
use crate::call::PATIENT_ATTEMPTS;
use crate::error::{Attempt, Error};
use crate::names::ServiceName;
use crate::servers::backoff;

/// Pause before a write that failed is made again, doubled with each failure up to the second.
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(10);

/// What came of a change.
#[derive(Debug)]
pub(crate) enum Landing {
    Done(Result<(), Error>),
    /// The servers do not take it over gRPC: HTTP has to be asked.
    ByHttp,
}

/// A change that a caller waits for.
#[derive(Debug)]
struct Change {
    entry: Arc<Entry>,
    /// What the instance is to be; `None` to take it out.
    wish: Option<Instance>,
    attempts: Vec<Attempt>,
    reply: oneshot::Sender<Landing>,
}

#[derive(Debug, Default)]
struct Slot {
    held: BTreeMap<u64, Arc<Entry>>,
    waiting: Vec<Change>,
    /// Parts of a group that was refused as a whole, the next one last.
    split: Vec<Vec<Change>>,
    is_due: bool,
    is_flying: bool,
    /// Whether the server may have something else than `held`.
    redo: bool,
    failures: u32,
}

#[derive(Debug, Default)]
struct Slots {
    by_service: HashMap<ServiceName, Slot>,
    due: VecDeque<ServiceName>,
    /// Services whose write is made again later.
    later: Vec<(Instant, ServiceName)>,
    /// Counts connections: what was written over an earlier one has to be written again.
    connection: u64,
}

/// All places of the client's connection.
#[derive(Debug, Default)]
pub(crate) struct Holder {
    slots: Mutex<Slots>,
    pub(super) wake: Notify,
}

/// One write under way.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) service: ServiceName,
    pub(super) instances: Vec<Instance>,
    /// One that was there before, for a place that is left.
    pub(super) gone: Option<Instance>,
    group: Vec<Change>,
    is_redo: bool,
    connection: u64,
}

impl Holder {
    /// Asks for a change; what comes of it is told later.
    pub(crate) fn change(
        &self,
        entry: &Arc<Entry>,
        wish: Option<Instance>,
    ) -> oneshot::Receiver<Landing> {
        let (reply, landing) = oneshot::channel();
        let mut slots = self.slots.lock();
        let slot = slots.by_service.entry(entry.service.clone()).or_default();
        if wish.is_none() {
            // From now on no write brings it back, whatever becomes of this one.
            slot.held.remove(&entry.id);
        }
        slot.waiting.push(Change { entry: entry.clone(), wish, attempts: Vec::new(), reply });
        slots.mark(&entry.service);
        drop(slots);
        self.wake.notify_one();
        landing
    }

    /// Takes over instances that were registered over HTTP.
    pub(crate) fn adopt(&self, entries: impl IntoIterator<Item = Arc<Entry>>) {
        let mut slots = self.slots.lock();
        for entry in entries {
            let service = entry.service.clone();
            let slot = slots.by_service.entry(service.clone()).or_default();
            if slot.held.insert(entry.id, entry).is_none() {
                slot.redo = true;
                slots.mark(&service);
            }
        }
        drop(slots);
        self.wake.notify_one();
    }

    /// A new connection holds nothing yet.
    pub(super) fn begin_connection(&self) {
        let mut slots = self.slots.lock();
        slots.connection += 1;
        slots.later.clear();
        let services: Vec<ServiceName> = slots.by_service.keys().cloned().collect();
        for service in services {
            if let Some(slot) = slots.by_service.get_mut(&service) {
                slot.redo |= !slot.held.is_empty();
                slot.failures = 0;
            }
            slots.mark(&service);
        }
        drop(slots);
        self.wake.notify_one();
    }

    /// Gives everything back: HTTP has to keep it from now on.
    pub(super) fn give_back(&self) -> Vec<Arc<Entry>> {
        let slots = std::mem::take(&mut *self.slots.lock());
        self.slots.lock().connection = slots.connection + 1;
        let mut entries = Vec::new();
        for (_, slot) in slots.by_service {
            entries.extend(slot.held.into_values());
            for change in slot.waiting.into_iter().chain(slot.split.into_iter().flatten()) {
                // A caller that is gone needs no answer.
                let _ = change.reply.send(Landing::ByHttp);
            }
        }
        entries
    }

    /// Writes the place of a service again.
    pub(super) fn write_again(&self, service: &ServiceName) {
        let mut slots = self.slots.lock();
        if let Some(slot) = slots.by_service.get_mut(service) {
            slot.redo = true;
            slots.mark(service);
        }
        drop(slots);
        self.wake.notify_one();
    }

    /// The services that have instances, and how many.
    pub(super) fn places(&self) -> Vec<(ServiceName, usize)> {
        let slots = self.slots.lock();
        let count = |(service, slot): (&ServiceName, &Slot)| (service.clone(), slot.held.len());
        slots.by_service.iter().map(count).filter(|(_, count)| *count > 0).collect()
    }

    /// The instances of a service as they should be there, unless a write is under way.
    pub(super) fn settled(&self, service: &ServiceName) -> Option<Vec<Instance>> {
        let slots = self.slots.lock();
        let slot = slots.by_service.get(service)?;
        let is_settled = !slot.is_flying && !slot.is_due && !slot.redo;
        is_settled.then(|| slot.held.values().map(|entry| entry.instance.lock().clone()).collect())
    }

    /// How many services have a write under way or ahead.
    pub(crate) fn pending(&self) -> usize {
        let slots = self.slots.lock();
        let waits = |slot: &&Slot| slot.is_due || slot.is_flying || slot.redo;
        slots.by_service.values().filter(waits).count()
    }

    /// When a write is to be made again.
    pub(super) fn next_retry(&self) -> Option<Instant> {
        self.slots.lock().later.iter().map(|(at, _)| *at).min()
    }

    /// The next write to be made.
    pub(super) fn take(&self) -> Option<Flight> {
        let mut slots = self.slots.lock();
        slots.bring_later();
        let connection = slots.connection;
        while let Some(service) = slots.due.pop_front() {
            if let Some(slot) = slots.by_service.get_mut(&service) {
                slot.is_due = false;
                if let Some(flight) = slot.depart(&service, connection) {
                    return Some(flight);
                }
            }
            slots.tidy(&service);
        }
        None
    }

    /// Notes what came of a write. `place` is where it was made.
    pub(super) fn land(&self, flight: Flight, outcome: Result<(), Problem>, place: &str) {
        let mut slots = self.slots.lock();
        let is_current = slots.connection == flight.connection;
        let service = flight.service.clone();
        let slot = slots.by_service.get_mut(&service).filter(|slot| slot.is_flying);
        let Some(slot) = slot else {
            // Everything was given back to HTTP meanwhile.
            drop(slots);
            flight.group.into_iter().for_each(|change| drop(change.reply.send(Landing::ByHttp)));
            return;
        };
        slot.is_flying = false;
        let pause = match outcome {
            Ok(()) => {
                slot.arrive(flight.group, flight.is_redo, is_current);
                None
            }
            Err(Problem::Final(error)) => slot.refuse(flight.group, &error),
            Err(Problem::Failed(failure)) => {
                let attempt = Attempt { server: place.to_owned(), failure };
                slot.fail(flight.group, &attempt)
            }
        };
        match pause {
            Some(pause) => slots.later.push((Instant::now() + pause, service)),
            None => {
                slots.mark(&service);
                slots.tidy(&service);
            }
        }
        drop(slots);
        self.wake.notify_one();
    }
}

impl Slots {
    fn mark(&mut self, service: &ServiceName) {
        let Some(slot) = self.by_service.get_mut(service) else { return };
        let has_work = slot.redo || !slot.waiting.is_empty() || !slot.split.is_empty();
        if has_work && !slot.is_due && !slot.is_flying {
            slot.is_due = true;
            self.due.push_back(service.clone());
        }
    }

    fn bring_later(&mut self) {
        let now = Instant::now();
        let (due, later) =
            std::mem::take(&mut self.later).into_iter().partition(|(at, _)| *at <= now);
        self.later = later;
        let due: Vec<(Instant, ServiceName)> = due;
        due.iter().for_each(|(_, service)| self.mark(service));
    }

    /// Forgets a service that the client has nothing to do with any more.
    fn tidy(&mut self, service: &ServiceName) {
        let Some(slot) = self.by_service.get(service) else { return };
        let has_work = slot.is_due || slot.is_flying || slot.redo;
        if !has_work && slot.held.is_empty() && slot.waiting.is_empty() && slot.split.is_empty() {
            self.by_service.remove(service);
        }
    }
}

impl Slot {
    /// Puts together what the place is to be.
    fn depart(&mut self, service: &ServiceName, connection: u64) -> Option<Flight> {
        let mut group = self.split.pop().unwrap_or_else(|| std::mem::take(&mut self.waiting));
        // A caller that is gone has no wish; what it wanted to take out goes all the same.
        group.retain(|change| change.wish.is_none() || !change.reply.is_closed());
        if group.is_empty() && !self.redo {
            return None;
        }
        let mut wanted: BTreeMap<u64, Instance> = BTreeMap::new();
        for (id, entry) in &self.held {
            wanted.insert(*id, entry.instance.lock().clone());
        }
        let mut gone = None;
        for change in &group {
            match &change.wish {
                Some(instance) => drop(wanted.insert(change.entry.id, instance.clone())),
                None => gone = Some(change.entry.instance.lock().clone()),
            }
        }
        let is_redo = std::mem::take(&mut self.redo);
        self.is_flying = true;
        let instances = wanted.into_values().collect();
        Some(Flight { service: service.clone(), instances, gone, group, is_redo, connection })
    }

    fn arrive(&mut self, group: Vec<Change>, is_redo: bool, is_current: bool) {
        self.failures = 0;
        for entry in self.held.values() {
            entry.note_confirmed();
            if is_redo {
                entry.note_written();
            }
        }
        for change in group {
            if let Some(instance) = change.wish {
                if change.reply.is_closed() {
                    // The caller has given up: the old values count, and have to be written again.
                    self.redo = true;
                    continue;
                }
                *change.entry.instance.lock() = instance;
                change.entry.note_written();
                self.held.insert(change.entry.id, change.entry);
            }
            // Who has gone meanwhile deregisters.
            let _ = change.reply.send(Landing::Done(Ok(())));
        }
        // Over an earlier connection it was worth nothing.
        self.redo |= !is_current;
    }

    /// One change that is refused is told so; of several the guilty ones are found by halves.
    fn refuse(&mut self, mut group: Vec<Change>, error: &Error) -> Option<Duration> {
        if group.len() > 1 {
            let rest = group.split_off(group.len() / 2);
            self.split.push(rest);
            self.split.push(group);
            return None;
        }
        let by_http = matches!(error, Error::Refused { status: 302 | 501, .. });
        if let Some(change) = group.pop() {
            let landing = match by_http && change.wish.is_some() {
                true => Landing::ByHttp,
                false => {
                    let error = crate::call::after_attempts(error.clone(), &change.attempts);
                    Landing::Done(Err(error))
                }
            };
            let _ = change.reply.send(landing);
            return None;
        }
        Some(self.note_failure(error))
    }

    /// Puts the changes back for another attempt, unless they have had enough.
    fn fail(&mut self, group: Vec<Change>, attempt: &Attempt) -> Option<Duration> {
        let mut again = Vec::new();
        for mut change in group {
            change.attempts.push(attempt.clone());
            if change.attempts.len() < PATIENT_ATTEMPTS {
                again.push(change);
                continue;
            }
            let error = Error::NoServer { attempts: change.attempts };
            let _ = change.reply.send(Landing::Done(Err(error)));
        }
        if !again.is_empty() {
            self.split.push(again);
        }
        let error = Error::NoServer { attempts: vec![attempt.clone()] };
        Some(self.note_failure(&error))
    }

    fn note_failure(&mut self, error: &Error) -> Duration {
        // Nobody knows what the server has now.
        self.redo = true;
        self.failures = self.failures.saturating_add(1);
        for entry in self.held.values() {
            entry.note_failure(error);
        }
        backoff(FIRST_RETRY, LAST_RETRY, self.failures)
    }
}
