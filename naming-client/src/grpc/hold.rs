//! What the connection holds: the ephemeral instances of the client, service by service.
//!
//! A connection has one place in each service, and what is written to it replaces what was there.
//! So each write carries all instances that the client has in the service, one write of a service
//! is under way at a time, and changes that come meanwhile go together with the next. Lost
//! connections and lost answers need no rule of their own: the whole place is written again.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use naming_model::Instance;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

mod place;

use super::session::Problem;
use crate::beat::Entry;
use crate::error::{Attempt, Error};
use crate::names::ServiceName;

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
    /// `None` for an instance that was held before, and is looked at by itself.
    reply: Option<oneshot::Sender<Landing>>,
}

impl Change {
    fn is_given_up(&self) -> bool {
        self.reply.as_ref().is_some_and(oneshot::Sender::is_closed)
    }

    /// Tells the caller, unless that has gone.
    fn tell(self, landing: Landing) {
        if let Some(reply) = self.reply {
            let _ = reply.send(landing);
        }
    }
}

#[derive(Debug, Default)]
struct Slot {
    held: BTreeMap<u64, Arc<Entry>>,
    /// Instances that were held, and that this server refuses: the next one is asked again.
    refused: BTreeMap<u64, Arc<Entry>>,
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
            slot.refused.remove(&entry.id);
            slot.split.iter_mut().flatten().for_each(|change| {
                if change.entry.id == entry.id {
                    change.wish = None;
                }
            });
        }
        let reply = Some(reply);
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
            if slot.refused.contains_key(&entry.id) {
                continue;
            }
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
                slot.held.append(&mut slot.refused);
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
            entries.extend(slot.held.into_values().chain(slot.refused.into_values()));
            for change in slot.waiting.into_iter().chain(slot.split.into_iter().flatten()) {
                if change.reply.is_none() && change.wish.is_some() {
                    entries.push(change.entry.clone());
                }
                change.tell(Landing::ByHttp);
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
            // A group whose callers have all gone may have had others behind it.
            slots.mark(&service);
            slots.tidy(&service);
        }
        None
    }

    /// Notes what came of a write. `place` is where it was made. Gives the instances that were held
    /// and that the server does not take over gRPC at all, if HTTP may be used for them.
    pub(super) fn land(
        &self,
        flight: Flight,
        outcome: Result<(), Problem>,
        (place, may_use_http): (&str, bool),
    ) -> Vec<Arc<Entry>> {
        let mut slots = self.slots.lock();
        let is_current = slots.connection == flight.connection;
        let service = flight.service.clone();
        let slot = slots.by_service.get_mut(&service).filter(|slot| slot.is_flying);
        let Some(slot) = slot else {
            // Everything was given back to HTTP meanwhile.
            drop(slots);
            flight.group.into_iter().for_each(|change| change.tell(Landing::ByHttp));
            return Vec::new();
        };
        slot.is_flying = false;
        let mut homeless = Vec::new();
        let pause = match outcome {
            Ok(()) => {
                slot.arrive(flight.group, flight.is_redo, is_current);
                None
            }
            Err(Problem::Final(error)) => {
                // What was to be written again is not written yet.
                slot.redo |= flight.is_redo;
                let homes = may_use_http.then_some(&mut homeless);
                slot.refuse(flight.group, &error, homes)
            }
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
        homeless
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
        let is_empty = slot.held.is_empty() && slot.refused.is_empty();
        if !has_work && is_empty && slot.waiting.is_empty() && slot.split.is_empty() {
            self.by_service.remove(service);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::place::LAST_RETRY;
    use super::*;
    use crate::beat::Beats;
    use crate::call::PATIENT_ATTEMPTS;

    const PLACE: (&str, bool) = ("a:1", true);

    fn refusal(status: u16) -> Result<(), Problem> {
        Err(Problem::Final(Error::Refused {
            server: "a:1".to_owned(),
            status,
            message: String::new(),
            after_lost_attempt: false,
        }))
    }

    async fn entry(beats: &Beats, port: u16) -> Arc<Entry> {
        let service = "s".parse().unwrap();
        beats.reserve(&service, &Instance::new("10.0.0.1", port)).await.unwrap()
    }

    fn wish(entry: &Entry) -> Option<Instance> {
        Some(entry.instance.lock().clone())
    }

    fn ports(flight: &Flight) -> Vec<u16> {
        flight.instances.iter().map(|instance| instance.port).collect()
    }

    /// A holder with these instances in one place.
    async fn holder(beats: &Beats, instances: &[u16]) -> Holder {
        let holder = Holder::default();
        let mut landings = Vec::new();
        for port in instances {
            let entry = entry(beats, *port).await;
            landings.push(holder.change(&entry, wish(&entry)));
        }
        let flight = holder.take().unwrap();
        assert_eq!(ports(&flight), instances);
        holder.land(flight, Ok(()), PLACE);
        holder
    }

    #[tokio::test]
    async fn a_refused_change_does_not_keep_the_place_from_being_written_again() {
        let beats = Beats::default();
        let holder = holder(&beats, &[1]).await;
        holder.begin_connection();
        let bad = entry(&beats, 2).await;
        let landing = holder.change(&bad, wish(&bad));
        let flight = holder.take().unwrap();
        assert_eq!(ports(&flight), [1, 2]);
        holder.land(flight, refusal(400), PLACE);
        assert!(matches!(landing.await.unwrap(), Landing::Done(Err(_))));
        assert_eq!(ports(&holder.take().expect("the rest is written")), [1]);
    }

    #[tokio::test]
    async fn one_instance_that_a_server_refuses_does_not_take_the_others_with_it() {
        let beats = Beats::default();
        let holder = holder(&beats, &[1, 2, 3, 4, 5]).await;
        let mut there = Vec::new();
        let write_all = |there: &mut Vec<u16>, bad: u16, status: u16| {
            let mut homeless = Vec::new();
            while let Some(flight) = holder.take() {
                let found = ports(&flight);
                let outcome = match found.contains(&bad) {
                    true => refusal(status),
                    false => {
                        *there = found;
                        Ok(())
                    }
                };
                homeless.extend(holder.land(flight, outcome, PLACE));
            }
            homeless
        };
        holder.begin_connection();
        assert!(write_all(&mut there, 3, 400).is_empty());
        assert_eq!(there, [1, 2, 4, 5]);
        // The next server is asked for it again, and takes it.
        holder.begin_connection();
        write_all(&mut there, 0, 400);
        assert_eq!(there, [1, 2, 3, 4, 5]);
        // What a server does not take over gRPC at all finds another home.
        holder.begin_connection();
        let homeless = write_all(&mut there, 2, 501);
        assert_eq!(homeless.iter().map(|one| one.instance.lock().port).collect::<Vec<_>>(), [2]);
        assert_eq!(there, [1, 3, 4, 5]);
        assert_eq!(holder.pending(), 0);
    }

    #[tokio::test]
    async fn a_group_whose_callers_have_gone_holds_nobody_up() {
        let beats = Beats::default();
        let holder = holder(&beats, &[1]).await;
        let (gone, also, kept) =
            (entry(&beats, 2).await, entry(&beats, 3).await, entry(&beats, 4).await);
        let first = (holder.change(&gone, wish(&gone)), holder.change(&also, wish(&also)));
        let flight = holder.take().unwrap();
        let landing = holder.change(&kept, wish(&kept));
        holder.land(flight, refusal(400), PLACE);
        drop(first);
        let mut there = Vec::new();
        while let Some(flight) = holder.take() {
            there = ports(&flight);
            holder.land(flight, Ok(()), PLACE);
        }
        assert_eq!(there, [1, 4]);
        assert!(matches!(landing.await.unwrap(), Landing::Done(Ok(()))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_answer_means_writing_the_place_again() {
        let beats = Beats::default();
        let holder = holder(&beats, &[1]).await;
        let new = entry(&beats, 2).await;
        let landing = holder.change(&new, wish(&new));
        let lost = || Err(Problem::Failed(crate::Failure::Cut(String::new())));
        for _ in 0..PATIENT_ATTEMPTS {
            tokio::time::advance(LAST_RETRY).await;
            let flight = holder.take().expect("an attempt");
            assert_eq!(ports(&flight), [1, 2]);
            holder.land(flight, lost(), PLACE);
        }
        let Landing::Done(Err(error)) = landing.await.unwrap() else { panic!("it went well") };
        assert!(error.may_have_had_effect());
        tokio::time::advance(LAST_RETRY).await;
        assert_eq!(ports(&holder.take().expect("nobody knows what is there")), [1]);
    }
}
