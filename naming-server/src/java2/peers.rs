//! This server as a member among Java servers of 2.x and 3.x.
//!
//! ```text
//! cluster port (grpc) ─► answer ─► Clients ─► Registry ──changes──► Own ─► outboxes ─► Link
//! list, reports in and out ─► Members ─► Owners
//! ```
//!
//! What is kept is bounded by the members on the list, by the clients and bytes that [`Clients`]
//! takes, and by the instances held here.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use distro_core::{SharedStatus, Tick};
use distro_net::{Address, MemberWatch};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use super::clients::Clients;
use super::link::LinkIdentity;
use super::member::{Member, State};
use super::members::{Make, Members};
use super::own::{Changed, Connections, News, Own};
use super::owners::Owners;
use crate::nacos::{Caller, PeerIdentity};
use crate::registry::{Registry, wall_ms};

/// From one look at what is due to the next.
const LOOK_PERIOD: Duration = Duration::from_millis(100);
/// Between two looks this member was stopped, if they are so far apart.
const PAUSED_FOR: Duration = Duration::from_secs(3);
/// From one look for clients to take over to the next.
const TAKE_OVER_PERIOD: Duration = Duration::from_secs(1);
/// Within which this member has what members of our make hold, or begins without it.
const OURS_WITHIN: Duration = Duration::from_secs(20);
/// Clients of which a Java server is still to be told.
const MOST_WAITING: usize = 200_000;
/// So far above its main port a member takes the calls of others.
pub(crate) const PORT_OFFSET: u16 = 1_001;

/// How this member presents itself, and whom it believes.
#[derive(Debug)]
pub(crate) struct PeerSettings {
    /// Its address, byte by byte as on the lists of all.
    pub(crate) own: Address,
    /// The version that it claims.
    pub(crate) version: String,
    /// The header by which members prove themselves, if there is one.
    pub(crate) identity: Option<PeerIdentity>,
    /// Whether anybody who reaches the port is believed.
    pub(crate) trusts_everybody: bool,
}

/// What the dialect works with.
pub(crate) struct PeerParts {
    pub(crate) settings: PeerSettings,
    pub(crate) registry: Arc<Registry>,
    pub(crate) shared_status: Arc<SharedStatus>,
    pub(crate) changed: Arc<Changed>,
    /// For reports to members before 2.2.4.
    pub(crate) caller: Caller,
    /// The list of members to begin with.
    pub(crate) list: Vec<Address>,
}

/// A member among Java servers.
pub(crate) struct Peers {
    pub(super) settings: PeerSettings,
    pub(super) registry: Arc<Registry>,
    shared_status: Arc<SharedStatus>,
    pub(super) caller: Caller,
    pub(super) clients: Clients,
    pub(super) members: Mutex<Members>,
    pub(super) own: Mutex<Own>,
    changed: Arc<Changed>,
    owners: ArcSwap<Owners>,
    /// Where members call from.
    pub(super) places: ArcSwap<BTreeMap<Arc<str>, Vec<IpAddr>>>,
    connections: OnceLock<Weak<dyn Connections>>,
    /// Where the cluster connections of others are counted.
    pub(super) visitors: OnceLock<Weak<dyn Visitors>>,
    pub(super) outboxes: Mutex<BTreeMap<Arc<str>, Arc<Outbox>>>,
    is_loaded: AtomicBool,
    /// A snapshot is wanted.
    pub(super) load_wanted: Notify,
    pub(super) list_changed: Notify,
}

/// Another member as operators see it.
pub(crate) struct Shown {
    pub(crate) address: Arc<str>,
    pub(crate) state: &'static str,
    pub(crate) failures: u32,
    pub(crate) version: String,
}

/// Who counts the connections of other members to the cluster port.
pub(crate) trait Visitors: Send + Sync {
    /// The addresses from which members have set up connections, one for each connection.
    fn addresses(&self) -> Vec<IpAddr>;
}

/// What a Java server is still to be told: clients, whose data is read when it is sent.
#[derive(Default)]
pub(super) struct Outbox {
    pub(super) waiting: Mutex<BTreeSet<Arc<str>>>,
    pub(super) wake: Notify,
}

impl Outbox {
    pub(super) fn note(&self, ids: impl IntoIterator<Item = Arc<str>>) {
        let mut waiting = self.waiting.lock();
        if waiting.len() > MOST_WAITING {
            // The member is away: when it is back it is told of everybody, and whoever is gone is
            // vouched for by nobody.
            waiting.clear();
        }
        waiting.extend(ids);
        drop(waiting);
        self.wake.notify_one();
    }
}

impl Peers {
    /// Nothing runs before [`Self::run`].
    pub(crate) fn new(parts: PeerParts) -> Self {
        let PeerParts { settings, registry, shared_status, changed, caller, list } = parts;
        let mut members = Members::new(settings.own.as_str().into());
        members.set_list(list.iter().map(Address::as_str));
        let owners = ArcSwap::from_pointee(members.owners());
        Self {
            clients: Clients::new(Arc::clone(&registry), Arc::clone(&shared_status)),
            shared_status,
            settings,
            registry,
            caller,
            members: Mutex::new(members),
            own: Mutex::default(),
            changed,
            owners,
            places: ArcSwap::default(),
            connections: OnceLock::new(),
            visitors: OnceLock::new(),
            outboxes: Mutex::default(),
            is_loaded: AtomicBool::new(false),
            load_wanted: Notify::new(),
            list_changed: Notify::new(),
        }
    }

    /// Who holds the connections of clients, and who counts those of members. The first ones stay.
    pub(crate) fn connect(&self, connections: Weak<dyn Connections>, visitors: Weak<dyn Visitors>) {
        // A second call has no effect; there is one front per server.
        let _ = self.connections.set(connections);
        let _ = self.visitors.set(visitors);
    }

    /// Loads what Java servers hold. Until then this member must not be heard of.
    pub(crate) async fn begin(&self, list: &[Address]) {
        self.set_list(list).await;
        // What members of our make hold comes first: what is there is left alone by the snapshot.
        let until = self.now().after(OURS_WITHIN);
        while !self.shared_status.may_read(self.now()) && self.now() < until {
            sleep(LOOK_PERIOD / 4).await;
        }
        self.load_or_go_on().await;
    }

    /// Runs until `shutdown`.
    pub(crate) async fn run(self: Arc<Self>, watch: MemberWatch, shutdown: CancellationToken) {
        self.changed.note_all();
        let follow = self.follow(watch, &shutdown);
        tokio::join!(follow, self.attend(&shutdown), self.look(&shutdown), self.reload(&shutdown));
    }

    /// Tells Java servers of the last changes: for so long at most.
    pub(crate) async fn flush(&self, within: Duration) {
        self.refresh();
        let is_told =
            || self.outboxes.lock().values().all(|outbox| outbox.waiting.lock().is_empty());
        let told = async {
            while !is_told() {
                sleep(LOOK_PERIOD / 4).await;
            }
        };
        let _ = tokio::time::timeout(within, told).await;
    }

    /// Whether everything is known that Java servers held when this member came.
    pub(crate) fn is_loaded(&self) -> bool {
        self.is_loaded.load(Relaxed)
    }

    pub(super) fn set_loaded(&self, is_loaded: bool) {
        self.is_loaded.store(is_loaded, Relaxed);
        if is_loaded {
            self.changed.note_all();
        } else {
            self.load_wanted.notify_one();
        }
    }

    /// Who shares the clients that beat.
    pub(crate) fn owners(&self) -> Arc<Owners> {
        self.owners.load_full()
    }

    /// The address of this member.
    pub(crate) fn own_address(&self) -> &str {
        self.settings.own.as_str()
    }

    /// Calls to Java servers over HTTP.
    pub(crate) fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Whether a member is a Java server.
    pub(crate) fn is_java(&self, member: &str) -> bool {
        self.members.lock().find(member).is_some_and(|other| other.make == Make::Java)
    }

    /// Whether a member answers.
    pub(crate) fn is_up(&self, member: &str) -> bool {
        self.members.lock().find(member).is_some_and(|other| other.state == State::Up)
    }

    /// A client that beats has removed an instance: what its judge has told of it is withdrawn.
    pub(crate) fn withdraw(&self, tag: &str, key: &str) {
        self.clients.withdraw(tag, key);
    }

    /// A member does not answer calls of clients.
    pub(crate) fn is_gone(&self, member: &str) {
        self.update(|members| members.failed(member));
    }

    /// The other members, for operators.
    pub(crate) fn shown(&self) -> Vec<Shown> {
        let members = self.members.lock();
        let shown = |(address, other): (&Arc<str>, &super::members::Other)| Shown {
            address: Arc::clone(address),
            state: other.state.name(),
            failures: other.failures,
            version: other.version.clone(),
        };
        members.others().map(shown).collect()
    }

    pub(super) fn visitors_count(&self) -> usize {
        let visitors = self.visitors.get().and_then(Weak::upgrade);
        visitors.map_or(0, |visitors| visitors.addresses().len())
    }

    pub(super) fn connections(&self) -> Option<Arc<dyn Connections>> {
        self.connections.get()?.upgrade()
    }

    pub(super) fn own_member(&self) -> Member {
        Member::own(self.own_address(), &self.settings.version, wall_ms())
    }

    pub(super) fn link_identity(&self) -> LinkIdentity {
        let own = self.own_address();
        LinkIdentity {
            own_ip: own.rsplit_once(':').map_or(own, |(ip, _)| ip).to_owned(),
            version: self.settings.version.clone(),
            header: self.settings.identity.as_ref().and_then(PeerIdentity::pair),
        }
    }

    pub(super) fn now(&self) -> Tick {
        self.registry.clock.tick()
    }

    /// Changes what is thought of members. What follows from it follows at once.
    pub(super) fn update<R>(&self, change: impl FnOnce(&mut Members) -> R) -> R {
        let mut members = self.members.lock();
        let before: Vec<_> = members.others().map(|(_, other)| other.make).collect();
        let result = change(&mut members);
        let owners = members.owners();
        let makes = members.others().map(|(_, other)| other.make);
        let is_new = *self.owners.load_full() != owners || !makes.eq(before);
        if is_new {
            self.owners.store(Arc::new(owners));
            self.follow_makes(&members);
            // Who judges which client that beats has changed.
            self.changed.note_all();
        }
        result
    }

    /// Java servers have outboxes, and only they.
    fn follow_makes(&self, members: &Members) {
        let mut outboxes = self.outboxes.lock();
        let is_java =
            |address: &str| members.find(address).is_some_and(|other| other.make == Make::Java);
        outboxes.retain(|address, _| is_java(address));
        for (address, other) in members.others() {
            if other.make == Make::Java {
                outboxes.entry(Arc::clone(address)).or_insert_with(|| {
                    tracing::info!(member = %address, version = other.version, "a Java server");
                    Arc::default()
                });
            }
        }
    }

    /// Does what is due, again and again.
    async fn look(&self, shutdown: &CancellationToken) {
        let mut period = interval(LOOK_PERIOD);
        period.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut last, mut taken_over) = (self.now(), self.now());
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                _ = period.tick() => {}
            }
            let now = self.now();
            if now.since(last) >= PAUSED_FOR && self.is_loaded() {
                tracing::warn!(
                    "this server was paused: asking the Java servers for everything they hold"
                );
                self.set_loaded(false);
            }
            last = now;
            if !self.is_loaded() {
                // Who did not listen may neither judge nor tell.
                continue;
            }
            self.clients.tick();
            if now.since(taken_over) >= TAKE_OVER_PERIOD {
                taken_over = now;
                if self.may_take_over() {
                    self.clients.take_over(&self.owners.load(), self.own_address());
                }
            }
            self.refresh();
        }
    }

    /// Whether silence of Java servers about a client means anything: this member is on their lists,
    /// and they are connected to it, or gone.
    fn may_take_over(&self) -> bool {
        let (is_listed, is_alone) = {
            let members = self.members.lock();
            let mut others = members.others();
            (members.is_listed(), !others.any(|(_, other)| other.state == State::Up))
        };
        is_listed && (is_alone || self.is_known_to_all())
    }

    /// Notes what Java servers have to be told.
    fn refresh(&self) {
        let Some(connections) = self.connections() else { return };
        let owners = self.owners.load();
        let place = (&**owners, self.own_address());
        let news = self.own.lock().refresh(&self.changed, &self.registry, place, &*connections);
        if news.is_empty() {
            return;
        }
        let ids = || news.iter().map(|(id, _): &(Arc<str>, News)| Arc::clone(id));
        self.outboxes.lock().values().for_each(|outbox| outbox.note(ids()));
    }
}
