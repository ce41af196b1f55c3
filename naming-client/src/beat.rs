//! Keeping registrations alive: one task sends the beats of all of them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use hyper::Method;
use naming_http::Form;
use naming_model::{Beat, BeatReply, DEFAULT_BEAT_INTERVAL_MS, Instance, META_BEAT_INTERVAL};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::call::{Answer, Call, Core, read_json};
use crate::error::Error;
use crate::names::ServiceName;
use crate::schedule::{Schedule, sleep_until};
use crate::servers::{Preference, backoff};
use crate::write;

/// Beats in flight at once, over all registrations of a client.
const MAX_BEATS_IN_FLIGHT: usize = 64;
/// What a server may ask for; anything else is moved to the nearer end.
const MIN_INTERVAL: Duration = Duration::from_millis(100);
const MAX_INTERVAL: Duration = Duration::from_secs(600);
/// First pause after a beat that no server took; doubled with each failure up to the interval.
const FIRST_RETRY: Duration = Duration::from_millis(250);
/// Least time given to one attempt of a beat.
const MIN_ATTEMPT: Duration = Duration::from_millis(250);

/// One registration as the client keeps it.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) id: u64,
    pub(crate) service: ServiceName,
    /// What the registry should hold.
    pub(crate) instance: Mutex<Instance>,
    pub(crate) state: Mutex<BeatState>,
    /// Held over every call for this entry. Calls for one instance must arrive in the order they
    /// were decided in: a beat that overtakes the deregistration would bring the instance back.
    pub(crate) turn: tokio::sync::Mutex<()>,
    closed: AtomicBool,
    /// Whether the registration has succeeded, and has to be kept from now on.
    kept: AtomicBool,
    /// Whether HTTP keeps it although the client speaks gRPC: the servers want it so.
    by_http: AtomicBool,
}

#[derive(Debug)]
pub(crate) struct BeatState {
    pub(crate) interval: Duration,
    /// Whether the server takes beats without the instance's JSON.
    light: bool,
    pub(crate) last_confirmed: Instant,
    pub(crate) failures: u32,
    pub(crate) last_error: Option<Error>,
    pub(crate) registrations: u64,
}

type Key = (ServiceName, String);

fn key_of(service: &ServiceName, instance: &Instance) -> Key {
    (service.clone(), instance.key().to_string())
}

impl Entry {
    /// A server has taken the instance.
    pub(crate) fn note_written(&self) {
        let mut state = self.state.lock();
        state.registrations += 1;
        state.last_confirmed = Instant::now();
    }

    /// A server has what it should have.
    #[cfg(feature = "grpc")]
    pub(crate) fn note_confirmed(&self) {
        let mut state = self.state.lock();
        state.last_confirmed = Instant::now();
        state.failures = 0;
        state.last_error = None;
    }

    /// Nobody knows whether a server has it.
    #[cfg(feature = "grpc")]
    pub(crate) fn note_failure(&self, error: &Error) {
        let mut state = self.state.lock();
        state.failures = state.failures.saturating_add(1);
        state.last_error = Some(error.clone());
    }

    #[cfg(feature = "grpc")]
    pub(crate) fn is_by_http(&self) -> bool {
        self.by_http.load(Ordering::Acquire)
    }

    /// From now on HTTP and its beats keep it.
    #[cfg(feature = "grpc")]
    pub(crate) fn keep_by_http(&self) {
        self.by_http.store(true, Ordering::Release);
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }
}

/// All registrations of a client.
#[derive(Debug, Default)]
pub(crate) struct Beats {
    table: Mutex<Table>,
    next_id: AtomicU64,
    /// Told when the schedule changed.
    wake: Notify,
    /// Told when an entry is gone.
    gone: Notify,
}

#[derive(Debug, Default)]
struct Table {
    entries: HashMap<u64, Arc<Entry>>,
    ids: HashMap<Key, u64>,
    schedule: Schedule,
}

impl Beats {
    /// Reserves the instance's place. If the same instance is just being deregistered, this
    /// waits for the end of that, so that the old deregistration cannot hit the new registration.
    pub(crate) async fn reserve(
        &self,
        service: &ServiceName,
        instance: &Instance,
    ) -> Result<Arc<Entry>, Error> {
        let key = key_of(service, instance);
        loop {
            let gone = self.gone.notified();
            tokio::pin!(gone);
            gone.as_mut().enable();
            {
                let mut table = self.table.lock();
                let known = table.ids.get(&key).and_then(|id| table.entries.get(id));
                match known {
                    None => return Ok(self.insert(&mut table, key, service, instance)),
                    Some(entry) if !entry.is_closed() => {
                        return Err(Error::AlreadyRegistered {
                            service: service.to_string(),
                            instance: key.1,
                        });
                    }
                    Some(_) => {}
                }
            }
            gone.await;
        }
    }

    fn insert(
        &self,
        table: &mut Table,
        key: Key,
        service: &ServiceName,
        instance: &Instance,
    ) -> Arc<Entry> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let entry = Arc::new(Entry {
            id,
            service: service.clone(),
            instance: Mutex::new(instance.clone()),
            state: Mutex::new(BeatState {
                interval: wanted_interval(instance),
                // The light form first: a full beat for an instance that the server has lost would
                // bring it back without its `enabled` flag, a light one is answered with 20404.
                light: true,
                last_confirmed: Instant::now(),
                failures: 0,
                last_error: None,
                registrations: 0,
            }),
            turn: tokio::sync::Mutex::default(),
            closed: AtomicBool::new(false),
            kept: AtomicBool::new(false),
            by_http: AtomicBool::new(false),
        });
        table.entries.insert(id, entry.clone());
        table.ids.insert(key, id);
        entry
    }

    /// Starts the beats of a registered entry: the first after half to one interval, so that
    /// instances registered together do not beat together.
    pub(crate) fn start(&self, entry: &Entry) {
        if !entry.instance.lock().ephemeral {
            return;
        }
        entry.kept.store(true, Ordering::Release);
        let interval = entry.state.lock().interval;
        let due = Instant::now() + interval.mul_f64(0.5 + fastrand::f64() / 2.0);
        self.set_due(entry, due);
    }

    fn set_due(&self, entry: &Entry, due: Instant) {
        let mut table = self.table.lock();
        if entry.is_closed() || !table.entries.contains_key(&entry.id) {
            return;
        }
        let is_first = table.schedule.next_due().is_none_or(|first| due < first);
        table.schedule.set(entry.id, due);
        drop(table);
        if is_first {
            self.wake.notify_one();
        }
    }

    /// Marks the entry as ending: no more beats. `false` if it was ending already.
    pub(crate) fn begin_close(&self, entry: &Entry) -> bool {
        let was_closed = entry.closed.swap(true, Ordering::AcqRel);
        self.table.lock().schedule.remove(entry.id);
        !was_closed
    }

    /// Forgets the entry.
    pub(crate) fn finish_close(&self, entry: &Entry) {
        let key = key_of(&entry.service, &entry.instance.lock());
        let mut table = self.table.lock();
        table.entries.remove(&entry.id);
        table.schedule.remove(entry.id);
        if table.ids.get(&key) == Some(&entry.id) {
            table.ids.remove(&key);
        }
        drop(table);
        self.gone.notify_waiters();
    }

    /// The ephemeral instances that are to be kept, apart from those that HTTP keeps in any case.
    #[cfg(feature = "grpc")]
    pub(crate) fn kept(&self) -> Vec<Arc<Entry>> {
        let mut entries = self.all();
        entries.retain(|entry| {
            entry.kept.load(Ordering::Acquire) && !entry.is_closed() && !entry.is_by_http()
        });
        entries
    }

    /// Beats for entries that the connection held until now, all within a second.
    #[cfg(feature = "grpc")]
    pub(crate) fn take_back(&self, entries: Vec<Arc<Entry>>) {
        for entry in entries {
            self.set_due(&entry, Instant::now() + Duration::from_millis(fastrand::u64(..1_000)));
        }
    }

    pub(crate) fn all(&self) -> Vec<Arc<Entry>> {
        self.table.lock().entries.values().cloned().collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.table.lock().entries.len()
    }

    /// Waits until no entry is left.
    pub(crate) async fn empty(&self) {
        loop {
            let gone = self.gone.notified();
            tokio::pin!(gone);
            gone.as_mut().enable();
            if self.table.lock().entries.is_empty() {
                return;
            }
            gone.await;
        }
    }

    fn pop_due(&self) -> Option<(Arc<Entry>, Instant)> {
        let mut table = self.table.lock();
        let (id, due) = table.schedule.pop_due(Instant::now())?;
        Some((table.entries.get(&id)?.clone(), due))
    }
}

/// Sends beats until the client ends. Beats in flight then are given up.
pub(crate) async fn run(core: Arc<Core>, beats: Arc<Beats>, mut stop: watch::Receiver<bool>) {
    let mut flights: JoinSet<()> = JoinSet::new();
    loop {
        while flights.len() < MAX_BEATS_IN_FLIGHT {
            let Some((entry, due)) = beats.pop_due() else { break };
            flights.spawn(beat(core.clone(), beats.clone(), entry, due));
        }
        let next = match flights.len() < MAX_BEATS_IN_FLIGHT {
            true => beats.table.lock().schedule.next_due(),
            false => None,
        };
        tokio::select! {
            // The sender is dropped with the client's last handle.
            _ = stop.changed() => return,
            () = beats.wake.notified() => {}
            Some(_) = flights.join_next() => {}
            () = sleep_until(next) => {}
        }
    }
}

async fn beat(core: Arc<Core>, beats: Arc<Beats>, entry: Arc<Entry>, due: Instant) {
    let outcome = {
        let _turn = entry.turn.lock().await;
        if entry.is_closed() {
            return;
        }
        #[cfg(feature = "grpc")]
        if let Some(link) = core.link.as_ref().filter(|link| !link.is_http())
            && !entry.is_by_http()
        {
            // The connection keeps it, and no beat is needed.
            link.holder.adopt([entry.clone()]);
            return;
        }
        let outcome = beat_once(&core, &entry).await;
        note(&entry, &outcome);
        outcome
    };
    let (interval, failures) = {
        let state = entry.state.lock();
        (state.interval, state.failures)
    };
    let now = Instant::now();
    let next = match outcome {
        Ok(()) => (due + interval).max(now),
        Err(_) => now + backoff(FIRST_RETRY, interval, failures),
    };
    beats.set_due(&entry, next);
}

async fn beat_once(core: &Core, entry: &Arc<Entry>) -> Result<(), Error> {
    let reply = send_beat(core, entry).await?;
    if !reply.is_unknown_instance() {
        let mut state = entry.state.lock();
        let interval = Duration::from_millis(reply.client_beat_interval);
        state.interval = interval.clamp(MIN_INTERVAL, MAX_INTERVAL);
        state.light = reply.light_beat_enabled;
        return Ok(());
    }
    // What the answer says of intervals is the server's default: it knows nothing of ours.
    tracing::info!(service = %entry.service, instance = %entry.instance.lock().key(),
        "the registry does not know the instance, registering again");
    write::register(core, entry, false).await
}

async fn send_beat(core: &Core, entry: &Entry) -> Result<BeatReply, Error> {
    let call = {
        let (instance, state) = (entry.instance.lock(), entry.state.lock());
        let mut call = Call::new(
            Method::PUT,
            "/v1/ns/instance/beat",
            write::place_params(core, &entry.service, &instance),
        );
        if !state.light {
            let period_ms = u64::try_from(state.interval.as_millis()).unwrap_or(u64::MAX);
            let beat = Beat::of(entry.service.grouped(), &instance, period_ms);
            let text = serde_json::to_string(&beat).map_err(|e| Error::Request(e.to_string()))?;
            call.form = Some(Form::default().with("beat", &text).as_str().to_owned());
        }
        call.preference = Preference::Spread;
        call.patient = false;
        // Time must be left in the interval to ask another server.
        call.attempt_timeout = (state.interval * 2 / 5).max(MIN_ATTEMPT);
        call
    };
    core.call(&call, read_json).await.map(|Answer { value, .. }| value)
}

fn note(entry: &Entry, outcome: &Result<(), Error>) {
    let mut state = entry.state.lock();
    match outcome {
        Ok(()) => {
            state.failures = 0;
            state.last_error = None;
            state.last_confirmed = Instant::now();
        }
        Err(error) => {
            state.failures = state.failures.saturating_add(1);
            // Servers that are too old for light beats refuse them.
            state.light &= !matches!(error, Error::Refused { .. });
            if state.failures == 1 {
                tracing::warn!(service = %entry.service, %error, "a beat failed");
            }
            state.last_error = Some(error.clone());
        }
    }
}

/// The interval until the first answer names one.
fn wanted_interval(instance: &Instance) -> Duration {
    let named = instance.metadata.get(META_BEAT_INTERVAL).and_then(|text| text.parse().ok());
    let interval = Duration::from_millis(named.unwrap_or(DEFAULT_BEAT_INTERVAL_MS));
    interval.clamp(MIN_INTERVAL, MAX_INTERVAL)
}
