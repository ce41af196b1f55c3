//! Protection against empty lists: a service whose last instances have gone by themselves goes on
//! showing the list that it had before, for a while.
//!
//! ```text
//! instances ──► last one removed on purpose ──────────────────────────► empty
//!     ▲    └──► last ones expired or lapsed ──► held ──► time is over ──► empty
//!     └───────────────── one is there again ────┘ └──── removed on purpose ───┘
//! ```
//!
//! Lists that are read and lists that are pushed, of all fronts, show what is held. Operators, counts
//! and other members see the service as it is. Each member holds by itself: nothing of it travels.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use distro_core::{DATUM_KEY, Health, Key, Reader};
use naming_model::RecordKey;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::host::Host;
use super::{Content, Event, EventKind, Events, NamingDatum, Registry, wall_ms};

/// In the metadata of a service: for how many seconds its last list is held, 0 for not at all.
pub(crate) const META_PROTECTION: &str = "preserved.empty.protection.seconds";
/// No list is held for longer.
const MOST_SECONDS: u64 = 3_600;
/// Instances of one service that are named in events when its list is held.
const MOST_EVENTS: usize = 100;

/// Which services are protected, and when their time is over.
#[derive(Default)]
pub(crate) struct Protection {
    /// For services that do not say.
    default: Mutex<Duration>,
    /// Whether the default protects.
    protects_all: AtomicBool,
    /// One look at a service at a time, so that no look overtakes a later one.
    looks: Mutex<()>,
    /// When the time of a service is over. As many as services are held.
    due: Mutex<BTreeSet<(Instant, Arc<str>)>>,
    wake: Notify,
}

/// What a service keeps for its protection.
#[derive(Default)]
pub(crate) struct Protected {
    /// Whether the settings of the service ask for it.
    is_asked_for: AtomicBool,
    last: ArcSwapOption<LastList>,
}

/// The last list of a service that was not empty.
pub(super) struct LastList {
    entries: Vec<Entry>,
    /// Since the service is empty: until when it shows this list.
    until: Option<Instant>,
}

#[derive(Clone)]
struct Entry {
    key: Key,
    content: Arc<Content>,
    healthy: bool,
}

impl Entry {
    fn host(&self) -> Option<Host<'_>> {
        let Content::Instance(instance) = &*self.content else { return None };
        let key = RecordKey::parse(&self.key)?.instance;
        Some(Host { key, instance, healthy: self.healthy })
    }
}

impl Protected {
    /// The list that a service shows in place of none, if it is held now.
    pub(super) fn held(&self) -> Option<Arc<LastList>> {
        let last = self.last.load_full()?;
        last.until.is_none_or(|until| Instant::now() < until).then_some(last)
    }
}

impl LastList {
    /// Its instances, but for those that were removed on purpose. `None` if the service shows
    /// others, or was deleted.
    pub(super) fn hosts(&self, reader: &Reader<'_, Content>) -> Option<Vec<Host<'_>>> {
        if !reader.is_open() || super::hosts(reader).next().is_some() {
            return None;
        }
        let is_held = |entry: &&Entry| !is_removed(reader, &entry.key);
        let hosts: Vec<_> = self.entries.iter().filter(is_held).filter_map(Entry::host).collect();
        (!hosts.is_empty()).then_some(hosts)
    }

    /// Until when a list that was made of it may be shown: not at all, unless it is known when the
    /// service became empty.
    pub(super) fn shown_until(&self) -> Instant {
        self.until.unwrap_or_else(Instant::now)
    }
}

/// Whether somebody has removed an instance on purpose: a lapse has the stamp of the registration
/// itself, and what has expired was not removed.
fn is_removed(reader: &Reader<'_, Content>, key: &str) -> bool {
    reader.find(key).is_some_and(|record| record.deregistered > record.registration)
}

impl Protection {
    /// Protects services that do not say otherwise for so long.
    pub(super) fn set_default(&self, seconds: u64) {
        *self.default.lock() = Duration::from_secs(seconds.min(MOST_SECONDS));
        self.protects_all.store(seconds > 0, Ordering::Relaxed);
    }

    /// A service has changed. Costs next to nothing for a service that is not protected. Returns
    /// events to be noted.
    pub(super) fn follow(&self, datum: &NamingDatum, keys: &[Key]) -> Vec<(Key, EventKind)> {
        let protected = &datum.attached().protected;
        if keys.iter().any(|key| &**key == DATUM_KEY) {
            let asked = datum.read(|reader| seconds_of(&reader));
            protected.is_asked_for.store(asked.is_some(), Ordering::Relaxed);
        }
        if !self.protects_all.load(Ordering::Relaxed)
            && !protected.is_asked_for.load(Ordering::Relaxed)
        {
            return Vec::new();
        }
        self.look(datum)
    }

    #[cold]
    fn look(&self, datum: &NamingDatum) -> Vec<(Key, EventKind)> {
        let _in_order = self.looks.lock();
        let protected = &datum.attached().protected;
        let before = protected.last.load_full();
        let next = datum.read(|reader| self.next(&reader, before.as_deref()));
        let begins = |next: &LastList| {
            next.until.is_some() && before.as_ref().is_some_and(|last| last.until.is_none())
        };
        let mut events = Vec::new();
        if let Some(next) = next.as_ref().filter(|next| begins(next)) {
            events =
                next.entries.iter().map(|entry| (entry.key.clone(), EventKind::Held)).collect();
            events.truncate(MOST_EVENTS);
        }
        let until = |list: Option<&LastList>| list.and_then(|list| list.until);
        let (was, will) = (until(before.as_deref()), until(next.as_ref()));
        if was != will {
            let mut due = self.due.lock();
            was.map(|until| due.remove(&(until, Arc::clone(datum.tag()))));
            will.map(|until| due.insert((until, Arc::clone(datum.tag()))));
            self.wake.notify_one();
        }
        protected.last.store(next.map(Arc::new));
        events
    }

    /// What a service keeps now.
    fn next(&self, reader: &Reader<'_, Content>, before: Option<&LastList>) -> Option<LastList> {
        let seconds = seconds_of(reader);
        let held_for = seconds.map_or_else(|| *self.default.lock(), Duration::from_secs);
        if held_for.is_zero() || !reader.is_open() {
            return None;
        }
        let entries: Vec<_> = reader
            .visible()
            .filter_map(|(key, record, content)| {
                let Content::Instance(instance) = &**content else { return None };
                let healthy =
                    record.health() == Health::Healthy && !instance.is_declared_unhealthy();
                Some(Entry { key: key.clone(), content: Arc::clone(content), healthy })
            })
            .collect();
        if !entries.is_empty() {
            return Some(LastList { entries, until: None });
        }
        let LastList { entries, until } = before?;
        let is_held = |entry: &&Entry| !is_removed(reader, &entry.key);
        let entries: Vec<_> = entries.iter().filter(is_held).cloned().collect();
        let until = until.unwrap_or_else(|| Instant::now() + held_for);
        (!entries.is_empty()).then_some(LastList { entries, until: Some(until) })
    }

    /// Waits until the time of a service is over, and gives its tag.
    async fn over(&self) -> Arc<str> {
        loop {
            let first = self.due.lock().first().cloned();
            match first {
                Some((until, tag)) if until <= Instant::now() => {
                    self.due.lock().remove(&(until, Arc::clone(&tag)));
                    return tag;
                }
                Some((until, _)) => tokio::select! {
                    () = sleep_until(until) => {}
                    () = self.wake.notified() => {}
                },
                None => self.wake.notified().await,
            }
        }
    }

    /// Lets go of a list whose time is over. What it had.
    fn release(&self, datum: &NamingDatum) -> Vec<Key> {
        let _in_order = self.looks.lock();
        let protected = &datum.attached().protected;
        let is_over = |last: &LastList| last.until.is_some_and(|until| until <= Instant::now());
        match protected.last.load_full().filter(|last| is_over(last)) {
            None => Vec::new(),
            Some(last) => {
                protected.last.store(None);
                last.entries.iter().take(MOST_EVENTS).map(|entry| entry.key.clone()).collect()
            }
        }
    }
}

impl Registry {
    /// Ends the protection of services when their time is over, and has their subscribers told. For
    /// ever.
    pub(crate) async fn release_lists(&self) {
        loop {
            let tag = self.protection.over().await;
            let Some(datum) = self.store.find(&tag) else { continue };
            let released = self.protection.release(&datum);
            for key in &released {
                note(&self.events, &tag, key, EventKind::Released);
            }
            if !released.is_empty() {
                self.watch.tell(&tag);
            }
        }
    }
}

/// Notes that a list is held, or not any more.
pub(super) fn note(events: &Events, tag: &str, key: &str, kind: EventKind) {
    let by = "empty-list protection";
    events.note(Event { wall_ms: wall_ms(), service: tag, instance: key, kind, by, silent_ms: 0 });
}

/// What a service says of its protection in its metadata; `None` if that is nothing, or no number.
fn seconds_of(reader: &Reader<'_, Content>) -> Option<u64> {
    let (_, content) = reader.find_visible(DATUM_KEY)?;
    let Content::Service(settings) = &**content else { return None };
    let text = settings.metadata.find(META_PROTECTION)?;
    text.trim().parse::<u64>().ok().map(|seconds| seconds.min(MOST_SECONDS))
}
