//! What the store tells the registry: judgements become events, visible changes wake the pusher,
//! services that come and go enter and leave the index, and changed switches come into force.

use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};

use distro_core::{Health, Key, Verdict, Watcher};
use naming_model::{RecordKey, ServiceKey};

use super::protection::{self, Protection};
use super::{
    Accounts, Content, Event, EventKind, Events, NamingDatum, SWITCHES, ServiceIndex, ServiceState,
    Switches, wall_ms,
};

/// Is told that a service looks different now. Called on the thread of the request
/// that changed it; must be quick.
pub(crate) trait ChangeSink: Send + Sync {
    /// The service with this full key has changed. `lists_differ` is false if its list of instances
    /// looks the same to every reader.
    fn changed(&self, service: &str, lists_differ: bool);
}

/// The registry's ear at the store.
pub(crate) struct Watch {
    events: Arc<Events>,
    index: Arc<ServiceIndex>,
    switches: Arc<Switches>,
    accounts: Arc<Accounts>,
    protection: Arc<Protection>,
    sink: OnceLock<Arc<dyn ChangeSink>>,
}

impl Watch {
    /// Writes judgements to `events`.
    pub(crate) fn new(events: Arc<Events>) -> Self {
        let (index, switches, accounts) = (Arc::default(), Arc::default(), Arc::default());
        let (protection, sink) = (Arc::default(), OnceLock::new());
        Self { events, index, switches, accounts, protection, sink }
    }

    /// The services that exist in the store it listens to.
    pub(crate) fn index(&self) -> &Arc<ServiceIndex> {
        &self.index
    }

    /// The switches that the store it listens to holds.
    pub(crate) fn switches(&self) -> &Arc<Switches> {
        &self.switches
    }

    /// The users that the store it listens to holds.
    pub(crate) fn accounts(&self) -> &Arc<Accounts> {
        &self.accounts
    }

    /// The services that go on showing their last list.
    pub(super) fn protection(&self) -> &Arc<Protection> {
        &self.protection
    }

    /// The list of a service looks different now, although nothing of the service has changed.
    pub(super) fn tell(&self, service: &str) {
        if let Some(sink) = self.sink.get() {
            sink.changed(service, true);
        }
    }

    /// Sets who is told of changes. The first one stays.
    pub(crate) fn connect(&self, sink: Arc<dyn ChangeSink>) {
        // A second call has no effect; there is one pusher per server.
        let _ = self.sink.set(sink);
    }
}

impl Watcher<Content, ServiceState> for Watch {
    fn changed(&self, datum: &Arc<NamingDatum>, keys: &[Key], visible: bool) {
        let is_listed = datum.attached().listed.load(Ordering::Acquire);
        // Only services are listed, and most are.
        if !is_listed && !ServiceKey::is_tag(datum.tag()) {
            if &**datum.tag() == SWITCHES {
                self.switches.follow(datum);
            } else if Accounts::is_tag(datum.tag()) {
                self.accounts.follow(datum);
            }
            return;
        }
        // A change that nobody sees can open a service, but never close it.
        if visible || !is_listed {
            self.index.follow(datum);
        }
        if visible {
            let names = keys.iter().filter_map(|key| RecordKey::parse(key));
            names.for_each(|names| datum.attached().addresses.note(names.instance.ip));
            for (key, kind) in self.protection.follow(datum, keys) {
                protection::note(&self.events, datum.tag(), &key, kind);
            }
        }
        if visible && let Some(sink) = self.sink.get() {
            // A service that is deleted without an instance has the same list before and after.
            let is_there = datum.attached().listed.load(Ordering::Acquire);
            let is_instance = |key: &Key| RecordKey::parse(key).is_some();
            sink.changed(datum.tag(), is_there || keys.iter().any(is_instance));
        }
    }

    fn judged(&self, datum: &Arc<NamingDatum>, verdict: &Verdict<Content>) {
        if !ServiceKey::is_tag(datum.tag()) {
            return;
        }
        let kind = match verdict.health {
            Health::Healthy => EventKind::Healthy,
            Health::Unhealthy => EventKind::Unhealthy,
            Health::Expired => EventKind::Expired,
        };
        let event = Event {
            wall_ms: wall_ms(),
            service: datum.tag(),
            instance: &verdict.key,
            kind,
            by: if kind == EventKind::Healthy { "a beat" } else { "" },
            silent_ms: u64::try_from(verdict.silent_for.as_millis()).unwrap_or(u64::MAX),
        };
        self.events.note(event);
    }
}
