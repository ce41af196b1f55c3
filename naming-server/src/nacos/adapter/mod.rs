//! This server as a member among Java servers: the only part of the dialect that runs.
//!
//! ```text
//! endpoints (http/v1/peers.rs) ─► take.rs ──► Registry ──changes──► outbox ─► spread.rs ─► Caller
//! reports in and out ─► MemberStates ─► View ─► core: Members (of our make), Owners (all)
//! client writes (http/v1/redirect.rs) ─► Caller, or kept here and redirected later: retain.rs
//! ```
//!
//! Everything that is kept is bounded by the members on the list, by the services and instances
//! held, or by a number.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use arc_swap::ArcSwap;
use distro_core::{Tick, Watcher};
use distro_net::{Address, Clock, Control};
use naming_model::{RecordKey, ServiceKey};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::absences::Absences;
use super::caller::Caller;
use super::member::{OwnReport, PeerMember, PeerState, render_report};
use super::outbox::Outbox;
use super::rings::Rings;
use super::states::{Make, MemberStates};
use super::voter::Voter;
use crate::registry::{Content, NamingDatum, Registry, ServiceState, wall_ms};

mod members;
mod retain;
mod spread;
mod start;
mod take;

use retain::Retained;
pub(crate) use retain::RetainedWrite;
pub(crate) use start::Found;
pub(crate) use take::Sender;

/// The version of our own protocol that reports tell.
pub(crate) const OWN_PROTOCOL_VERSION: u32 = distro_net::MAJOR;

/// For how long no member may have come or gone so that what is not on the list of an owner is gone:
/// longer than a Java server takes to hear again of everything.
const SETTLED_AFTER: Duration = Duration::from_secs(35);
/// For how long a Java server that has lost a service may still tell of registrations it took.
const ADOPT_WITHIN: Duration = Duration::from_secs(15);

/// Who owns a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Owner {
    /// This member.
    Here,
    /// Another one of our make.
    Ours,
    /// A Java server, at this address.
    Foreign(Arc<str>),
}

/// What requests look at: the outcome of all states, at one moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct View {
    own: Arc<str>,
    rings: Rings,
    /// The other members of our make.
    ours: BTreeSet<Arc<str>>,
    /// Where requests of members come from.
    places: BTreeMap<Arc<str>, Vec<IpAddr>>,
}

impl View {
    fn owner(&self, tag: &str) -> Owner {
        match self.rings.owner(tag) {
            Some(owner) if self.ours.contains(owner) => Owner::Ours,
            Some(owner) if *owner != self.own => Owner::Foreign(Arc::clone(owner)),
            _ => Owner::Here,
        }
    }
}

/// The ear of the adapter at the store: notes which services of this member Java servers have to
/// be told of.
pub(crate) struct Outboxes {
    clock: Clock,
    view: ArcSwap<View>,
    boxes: ArcSwap<BTreeMap<Arc<str>, Arc<Outbox>>>,
}

impl Outboxes {
    /// Of the member with this address; for nobody yet.
    pub(crate) fn new(own: &str, clock: Clock) -> Self {
        let view = View { own: own.into(), ..View::default() };
        Self { clock, view: ArcSwap::from_pointee(view), boxes: ArcSwap::default() }
    }
}

impl Watcher<Content, ServiceState> for Outboxes {
    fn changed(&self, datum: &Arc<NamingDatum>, keys: &[distro_core::Key], visible: bool) {
        let boxes = self.boxes.load();
        if !visible || boxes.is_empty() || !ServiceKey::is_tag(datum.tag()) {
            return;
        }
        let is_ephemeral =
            |key: &distro_core::Key| RecordKey::parse(key).is_some_and(|key| !key.is_persistent);
        if keys.iter().any(is_ephemeral) && self.view.load().owner(datum.tag()) == Owner::Here {
            let now = self.clock.tick();
            boxes.values().for_each(|outbox| outbox.note(datum.tag(), now));
        }
    }

    fn judged(&self, _: &Arc<NamingDatum>, _: &distro_core::Verdict<Content>) {}
}

/// How the adapter behaves.
#[derive(Debug)]
pub(crate) struct AdapterSettings {
    /// The address of this member, byte by byte as on the lists of all.
    pub(crate) own: Address,
    /// The version it pretends to have.
    pub(crate) version: String,
    /// Whether members of our make can prove to each other that they are.
    pub(crate) has_secret: bool,
    /// Whether whoever sends is believed.
    pub(crate) trusts_everybody: bool,
}

/// What the adapter works with.
pub(crate) struct AdapterParts {
    pub(crate) settings: AdapterSettings,
    pub(crate) registry: Arc<Registry>,
    pub(crate) control: Control<Content>,
    pub(crate) caller: Caller,
    pub(crate) outboxes: Arc<Outboxes>,
}

/// A member among Java servers.
pub(crate) struct Adapter {
    settings: AdapterSettings,
    registry: Arc<Registry>,
    control: Control<Content>,
    caller: Caller,
    outboxes: Arc<Outboxes>,
    states: Mutex<MemberStates>,
    /// The view has changed: the core has to be told.
    changed: Notify,
    /// Members have come or gone.
    list_changed: Notify,
    voter: Mutex<Voter>,
    /// What is remembered of each Java server's messages.
    hearings: Mutex<BTreeMap<Arc<str>, Hearing>>,
    retained: Mutex<Retained>,
}

/// Another member as operators see it.
#[derive(Debug, Clone)]
pub(crate) struct OtherShown {
    pub(crate) address: Arc<str>,
    pub(crate) state: PeerState,
    /// Reports to it that have failed in a row.
    pub(crate) failures: u32,
    /// The version it advertises.
    pub(crate) version: Option<String>,
}

/// What is remembered of the messages of one member.
#[derive(Debug, Default)]
struct Hearing {
    /// A checksum message is being worked on; further ones are passed over.
    is_comparing: Arc<AtomicBool>,
    /// The same for a message about health.
    is_asking: Arc<AtomicBool>,
    /// When its last checksum message came.
    compared: Option<Tick>,
    absences: Absences,
}

impl Adapter {
    /// A member that has heard nobody yet. Nothing runs before [`Self::begin`].
    pub(crate) fn new(parts: AdapterParts) -> Self {
        let AdapterParts { settings, registry, control, caller, outboxes } = parts;
        let own = settings.own.as_str();
        Self {
            states: Mutex::new(MemberStates::new(own)),
            voter: Mutex::new(Voter::new(own)),
            changed: Notify::new(),
            list_changed: Notify::new(),
            hearings: Mutex::default(),
            retained: Mutex::default(),
            settings,
            registry,
            control,
            caller,
            outboxes,
        }
    }

    /// Who owns a service.
    pub(crate) fn owner(&self, service: &ServiceKey) -> Owner {
        self.view().owner(service.as_str())
    }

    /// Calls to the others.
    pub(crate) fn caller(&self) -> &Caller {
        &self.caller
    }

    /// What this member says in the old Raft of Java servers.
    pub(crate) fn voter(&self) -> &Mutex<Voter> {
        &self.voter
    }

    /// The address of this member.
    pub(crate) fn own(&self) -> &str {
        self.settings.own.as_str()
    }

    /// What this member says of itself.
    pub(crate) fn own_report(&self) -> String {
        render_report(&OwnReport {
            address: self.own(),
            version: &self.settings.version,
            own_protocol: self.settings.has_secret.then_some(OWN_PROTOCOL_VERSION),
            now_ms: i64::try_from(wall_ms()).unwrap_or(i64::MAX),
        })
    }

    /// The other members, for operators.
    pub(crate) fn others(&self) -> Vec<OtherShown> {
        let states = self.states.lock();
        let shown = states.others().map(|(address, other)| OtherShown {
            address: Arc::clone(address),
            state: other.state,
            failures: other.failures,
            version: other.version.clone(),
        });
        shown.collect()
    }

    /// Whether an address is that of a member, this one included.
    pub(crate) fn is_member(&self, address: &str) -> bool {
        address == self.own() || self.states.lock().find(address).is_some()
    }

    /// A member has reported. Returns whether it is one.
    pub(crate) fn reported(&self, member: &PeerMember) -> bool {
        self.update(|states| states.reported(member))
    }

    /// A call to a member was refused a connection: it is gone.
    pub(crate) fn is_gone(&self, address: &str) {
        self.update(|states| states.failed(address, true));
    }

    fn view(&self) -> Arc<View> {
        self.outboxes.view.load_full()
    }

    fn now(&self) -> Tick {
        self.registry.clock.tick()
    }

    /// Whether it speaks our own protocol with us.
    fn is_ours(&self, make: Make) -> bool {
        self.settings.has_secret
            && matches!(make, Make::Ours(version) if version == OWN_PROTOCOL_VERSION)
    }

    /// Changes the states and works out what follows of it.
    fn update<R>(&self, change: impl FnOnce(&mut MemberStates) -> R) -> R {
        let mut states = self.states.lock();
        let outcome = change(&mut states);
        let mut view = View::clone(&self.outboxes.view.load());
        let owners = states.owners();
        let ours = states.others().filter(|(_, other)| self.is_ours(other.make));
        let ours: BTreeSet<_> = ours.map(|(address, _)| Arc::clone(address)).collect();
        let others_changed = view.ours != ours;
        let owners_changed = view.rings.set(owners, self.now());
        if others_changed || owners_changed {
            view.ours = ours;
            self.log(&view);
            self.outboxes.view.store(Arc::new(view));
            self.changed.notify_one();
        }
        let foreign = states.others().filter(|(_, other)| !self.is_ours(other.make));
        let foreign: Vec<Arc<str>> = foreign.map(|(address, _)| Arc::clone(address)).collect();
        self.set_boxes(&foreign);
        outcome
    }

    fn log(&self, view: &View) {
        let owners: Vec<&str> = view.rings.owners().iter().map(|owner| &**owner).collect();
        let ours: Vec<&str> = view.ours.iter().map(|owner| &**owner).collect();
        tracing::info!(
            owners = owners.join(","),
            ours = ours.join(","),
            "services are divided anew among the members"
        );
    }

    /// One box for each Java server; those that stay are kept.
    fn set_boxes(&self, foreign: &[Arc<str>]) {
        let known = self.outboxes.boxes.load();
        if known.keys().eq(foreign.iter()) {
            return;
        }
        let kept = foreign.iter().map(|address| {
            let kept = known.get(address).cloned().unwrap_or_default();
            (Arc::clone(address), kept)
        });
        self.outboxes.boxes.store(Arc::new(kept.collect()));
    }

    /// Tells the core who is of our make and who may own what.
    async fn tell_core(&self) {
        let view = self.view();
        let mut ours: Vec<Address> =
            view.ours.iter().filter_map(|address| Address::verbatim(address).ok()).collect();
        ours.push(self.settings.own.clone());
        self.control.set_members(&ours).await;
        let owners = view.rings.owners().iter();
        let owners = owners.filter_map(|address| Address::verbatim(address).ok());
        self.control.set_owners(owners.map(|address| address.member()).collect()).await;
    }
}
