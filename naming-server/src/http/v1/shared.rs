//! What this server is asked by more than one API: its state, what it counts, who is connected.

use std::collections::HashSet;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hyper::HeaderMap;
use naming_model::ServiceKey;
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::system::Usage;
use super::{Api, COMPATIBLE_VERSION, Route};
use crate::http::views::MostViews;
use crate::http::{Connected, ConnectedCounts, Nobody};
use crate::nacos::Owner;
use crate::push::PushStats;
use crate::registry::{Registry, ServerStatus, hosts};

/// How long a count is given out again that takes a look at every service.
const FRESH: Duration = Duration::from_secs(5);

impl Api {
    /// Those who hold a connection to this member.
    pub(in crate::http) fn connected(&self) -> &dyn Connected {
        match self.connected.get() {
            Some(connected) => &**connected,
            None => &Nobody,
        }
    }

    /// This, for what outlives a request; `None` while the server stops.
    pub(in crate::http) fn shared(&self) -> Option<Arc<Self>> {
        self.me.upgrade()
    }

    /// Bounds how many views of all members are put together at a time.
    pub(in crate::http) fn views(&self) -> &MostViews {
        &self.views
    }

    /// Whoever holds connections says who they are, once.
    pub(crate) fn connect(&self, connected: Arc<dyn Connected>) {
        let _ = self.connected.set(connected);
    }

    /// Whether a request carries the header by which its sender speaks for the operator.
    pub(in crate::http) fn has_identity(&self, headers: &HeaderMap) -> bool {
        self.identity.as_ref().is_some_and(|identity| identity.is_in(headers))
    }

    /// Whether a Java server owns a service.
    pub(in crate::http) fn is_of_java(&self, service: &ServiceKey) -> bool {
        let owner = self.nacos.as_ref().map(|nacos| nacos.owner(service));
        matches!(owner, Some(Owner::Foreign(_)))
    }

    /// Where clients reach this server.
    pub(in crate::http) fn address(&self) -> &str {
        self.address.as_str()
    }

    /// How busy the machine is.
    pub(in crate::http) fn usage(&self) -> Usage {
        self.system.usage()
    }

    /// Whether this server takes requests.
    pub(in crate::http) fn status(&self) -> ServerStatus {
        match self.why_not_ready() {
            Some(_) => ServerStatus::Starting,
            None => self.registry.switches.load().status(),
        }
    }

    /// What kind of server this is, in the flat form that consoles read.
    pub(in crate::http) fn state(&self, version: &str) -> Value {
        let mode = if self.cluster.is_some() { "cluster" } else { "standalone" };
        let needs_admin = self.auth.is_some() && self.registry.accounts.load().is_empty();
        let (_, port) = self.address.as_str().rsplit_once(':').unwrap_or_default();
        json!({
            "version": version,
            "startup_mode": mode,
            "function_mode": "naming",
            "auth_enabled": self.auth.is_some().to_string(),
            "auth_admin_request": needs_admin.to_string(),
            "auth_system_type": "nacos",
            "login_page_enabled": self.auth.is_some().to_string(),
            "console_ui_enabled": "true",
            "server_port": port,
        })
    }

    /// The same for consoles of 2.x, with the key that those of 1.x read.
    pub(super) fn state_of_v1(&self) -> Value {
        let mut state = self.state(COMPATIBLE_VERSION);
        state["standalone_mode"] = state["startup_mode"].clone();
        state
    }

    /// The latest administrative writes to this member, newest first, as lines of JSON.
    pub(in crate::http) fn latest_changes(&self, most: usize) -> Vec<Arc<[u8]>> {
        self.audit.latest(most)
    }

    /// How pushing goes.
    pub(in crate::http) fn push_stats(&self) -> &PushStats {
        &self.push_stats
    }

    /// Subscribers, by packets and by connections.
    pub(in crate::http) fn subscriber_count(&self) -> u64 {
        self.push_stats.subscribers.value()
    }

    /// How long this server runs, and when it started, in seconds since the epoch.
    pub(in crate::http) fn up_and_started(&self) -> (f64, f64) {
        let started = self.started.wall_ms as f64 / 1_000.0;
        (self.started.instant.elapsed().as_secs_f64(), started)
    }

    /// Requests by row and status.
    pub(in crate::http) fn request_counts(&self) -> impl Iterator<Item = (usize, u16, u64)> {
        self.requests.all()
    }

    /// The mean time of the requests of a row that were timed, if any was.
    pub(in crate::http) fn mean_seconds(&self, row: usize) -> Option<f64> {
        self.times.mean(row)
    }

    /// Method and path of a row that counts behind those of the routes.
    pub(in crate::http) fn other_row(&self, row: usize) -> Option<(&'static str, &'static str)> {
        self.other_rows.get(row.checked_sub(Route::ALL.len() + 1)?).copied()
    }

    /// Clients, at most some seconds ago.
    pub(in crate::http) fn client_counts(&self) -> ClientCounts {
        self.clients.counts(&self.registry, self.connected())
    }
}

/// How many clients without a connection have registered instances: as many as there are addresses
/// of instances.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::http) struct ClientCounts {
    pub(in crate::http) ephemeral: u64,
    pub(in crate::http) persistent: u64,
    pub(in crate::http) connected: ConnectedCounts,
}

/// Counts them: one look at all instances does for five seconds, and nobody waits for it who asks
/// meanwhile.
#[derive(Debug, Default)]
pub(super) struct Clients {
    is_looking: AtomicBool,
    last: Mutex<Option<(Instant, ClientCounts)>>,
}

impl Clients {
    fn counts(&self, registry: &Registry, connected: &dyn Connected) -> ClientCounts {
        let last = *self.last.lock();
        let is_fresh = last.is_some_and(|(taken, _)| taken.elapsed() < FRESH);
        if is_fresh || self.is_looking.swap(true, Ordering::Acquire) {
            return last.map_or_else(ClientCounts::default, |(_, counts)| counts);
        }
        let counts = look(registry, connected);
        *self.last.lock() = Some((Instant::now(), counts));
        self.is_looking.store(false, Ordering::Release);
        counts
    }
}

/// Of addresses only the hash is kept: of a million two are taken for one once in forty thousand
/// looks.
fn look(registry: &Registry, connected: &dyn Connected) -> ClientCounts {
    let hasher = std::hash::RandomState::new();
    let mut seen: [HashSet<u64>; 2] = Default::default();
    for (_, datum) in registry.services() {
        datum.read(|reader| {
            for host in hosts(&reader).filter(|host| host.instance.held.is_none()) {
                let kind = usize::from(host.instance.is_persistent);
                seen[kind].insert(hasher.hash_one((host.key.ip, host.key.port)));
            }
        });
    }
    let [ephemeral, persistent] = seen.map(|seen| seen.len() as u64);
    ClientCounts { ephemeral, persistent, connected: connected.counts() }
}
