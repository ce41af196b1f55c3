//! What Java servers are told: lists that changed, the checksums of all, and health.
//!
//! One task for each of them, so that no two messages overtake each other: a checksum message that
//! is read after a list that it does not know yet would make it vanish there.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use distro_core::Tick;
use naming_model::{DEFAULT_NAMESPACE, ServiceKey};
use tokio::time::Instant;

use super::{Adapter, Owner};
use crate::nacos::datum::push_datum;
use crate::nacos::member::PeerState;
use crate::nacos::outbox::Outbox;
use crate::nacos::wire::CallError;
use crate::nacos::{render_checksums, render_statuses};
use crate::registry::{Registry, wall_ms};

/// Services in one message.
const MOST_SERVICES: usize = 1_000;
/// Bytes of one message, unless a single list is larger.
const MOST_BYTES: usize = 4 << 20;
/// From a list that could not be told to the next try.
const RETRY_DELAY: Duration = Duration::from_secs(2);
/// Between two messages with the checksums of everything, and between two about health.
const CHECKSUM_PERIOD: Duration = Duration::from_secs(5);
const STATUS_PERIOD: Duration = Duration::from_secs(5);
/// For so long after a change of owners there are no checksums: what is missing in them is removed
/// by who reads them, and lists of the old owner are still on their way.
const CHECKSUM_GRACE: Duration = Duration::from_secs(8);
/// How often it is looked whether a member is to be spoken to.
const LOOK_PERIOD: Duration = Duration::from_millis(500);

impl Adapter {
    /// Tells one member what it must know, as long as it needs Java's language.
    pub(super) async fn spread(&self, to: &Arc<str>) {
        let (mut checksums, mut statuses) = (Instant::now(), Instant::now());
        checksums += CHECKSUM_PERIOD;
        statuses += STATUS_PERIOD;
        let mut batch = MOST_SERVICES;
        loop {
            let Some(outbox) = self.outbox_of(to) else {
                tokio::time::sleep(LOOK_PERIOD).await;
                continue;
            };
            let due = outbox.next_due().map(|due| self.registry.clock.instant(due));
            let next = due.into_iter().chain([checksums, statuses]).min();
            tokio::select! {
                () = tokio::time::sleep_until(next.unwrap_or(checksums)) => {}
                () = outbox.added() => continue,
            }
            self.send_lists(to, &outbox, &mut batch).await;
            if Instant::now() >= checksums {
                self.send_checksums(to).await;
                self.break_silence(to).await;
                checksums = Instant::now() + CHECKSUM_PERIOD;
            }
            if Instant::now() >= statuses {
                self.send_statuses(to).await;
                statuses = Instant::now() + STATUS_PERIOD;
            }
        }
    }

    /// The box of a member that is spoken to in Java's language now.
    fn outbox_of(&self, to: &Arc<str>) -> Option<Arc<Outbox>> {
        let is_there = {
            let states = self.states.lock();
            let state = states.find(to).map(|other| other.state);
            states.may_tell() && state.is_some_and(|state| state != PeerState::Down)
        };
        self.outboxes.boxes.load().get(to).filter(|_| is_there).cloned()
    }

    /// Waits until all lists have been told, for so long at most.
    pub(crate) async fn flush(&self, within: Duration) {
        let deadline = Instant::now() + within;
        let waiting = || {
            let boxes = self.outboxes.boxes.load();
            let mut there = boxes.keys().filter(|address| self.outbox_of(address).is_some());
            there.any(|address| boxes.get(address).is_some_and(|outbox| outbox.len() > 0))
        };
        while waiting() && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn send_lists(&self, to: &str, outbox: &Outbox, batch: &mut usize) {
        let (now, view) = (self.now(), self.view());
        let mut due = outbox.take_due(now, *batch);
        due.retain(|tag| view.owner(tag) == Owner::Here);
        if due.is_empty() {
            return;
        }
        let (body, told) = self.render_lists(&due);
        outbox.put_back(due.get(told..).unwrap_or_default(), now);
        let sent = due.get(..told).unwrap_or_default();
        match self.caller.put_datums(to, body).await {
            Ok(()) => *batch = MOST_SERVICES.min(*batch * 2),
            Err(error) => {
                tracing::warn!(member = to, services = told, %error, "cannot tell a member of changes");
                // One list that it does not take must not hold up the others.
                if error.is_refusal() {
                    *batch = (told / 2).max(1);
                }
                outbox.put_back(sent, self.now().after(RETRY_DELAY));
            }
        }
    }

    /// A message with the lists of the first services, as many as fit, and how many these are.
    fn render_lists(&self, tags: &[Arc<str>]) -> (String, usize) {
        let now_ms = i64::try_from(wall_ms()).unwrap_or(i64::MAX);
        let (mut body, mut told) = (String::from("{"), 0);
        for tag in tags {
            if told > 0 && body.len() > MOST_BYTES {
                break;
            }
            told += 1;
            let Some(service) = ServiceKey::from_tag(tag) else { continue };
            push_datum(&mut body, &service, &self.registry.peer_list(&service), now_ms);
        }
        body.push('}');
        (body, told)
    }

    async fn send_checksums(&self, to: &str) {
        let since = self.view().rings.since();
        let is_young = |now: Tick| now.since(since) < CHECKSUM_GRACE;
        if is_young(self.now()) {
            return;
        }
        let registry = Arc::clone(&self.registry);
        let body = elsewhere(move || {
            let owned = registry.owned_checksums();
            render_checksums(owned.iter().map(|(service, sum)| (service, &**sum)))
        });
        let Some(body) = body.await else { return };
        // Whoever came to own something meanwhile may be named in it wrongly.
        if self.view().rings.since() == since {
            note(to, "checksums", self.caller.put_checksums(to, body).await);
        }
    }

    /// One message for each namespace in which this member owns something, and for the default one.
    async fn send_statuses(&self, to: &str) {
        let registry = Arc::clone(&self.registry);
        let own = self.own().to_owned();
        let Some(bodies) = elsewhere(move || status_messages(&registry, &own)).await else {
            return;
        };
        for body in bodies {
            let sent = self.caller.post_statuses(to, body).await;
            let is_over = sent.is_err();
            note(to, "health", sent);
            if is_over {
                return;
            }
        }
    }
}

/// Runs what reads every datum, and after a change of owners works out every checksum, on a thread
/// that has time for it. `None` if it failed: then there is nothing to say.
async fn elsewhere<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.inspect_err(|error| tracing::error!(%error, "cannot work out checksums")).ok()
}

/// What `own` has to say of health, a message for each namespace.
fn status_messages(registry: &Registry, own: &str) -> Vec<String> {
    let mut of_namespaces: BTreeMap<String, Vec<(ServiceKey, Arc<str>)>> = BTreeMap::new();
    of_namespaces.entry(DEFAULT_NAMESPACE.to_owned()).or_default();
    for (service, _) in registry.owned_checksums() {
        let Some(checksum) = registry.service_checksum(&service) else { continue };
        let namespace = of_namespaces.entry(service.namespace().to_owned()).or_default();
        namespace.push((service, checksum));
    }
    let message = |(namespace, services): (String, Vec<(ServiceKey, Arc<str>)>)| {
        let checksums = services.iter().map(|(service, sum)| (service.grouped(), &**sum));
        render_statuses(own, &namespace, checksums)
    };
    of_namespaces.into_iter().map(message).collect()
}

fn note(to: &str, what: &str, sent: Result<(), CallError>) {
    if let Err(error) = sent {
        tracing::warn!(member = to, %error, "cannot tell a Java server of {what}");
    }
}
