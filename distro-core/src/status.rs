//! What control plane and request threads share: phase, readiness, who can be reached, and what
//! request threads have noticed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};

use crate::connections::Arrivals;
use crate::membership::{Contact, Phase};
use crate::slot::SlotSet;
use crate::stamp::MemberId;
use crate::time::Tick;

/// Shared by the control plane, which writes it some times a second, and all request threads.
#[derive(Debug)]
pub struct SharedStatus {
    member: MemberId,
    incarnation: u32,
    pause_threshold: Duration,
    phase: AtomicU8,
    beginning: AtomicU8,
    is_ready: AtomicBool,
    is_resting: AtomicBool,
    was_stopped: AtomicBool,
    /// The checksum of all members.
    members_checksum: AtomicU64,
    /// Since when this member has listened to clients without a break.
    listening_since_ms: AtomicU64,
    /// When this process was last found to have been stopped; zero if it never was.
    woken_ms: AtomicU64,
    /// Since when most of the other members cannot be heard, and a millisecond more; zero: they can.
    cut_off_ms: AtomicU64,
    /// When the control plane last ran.
    last_run_ms: AtomicU64,
    table: RwLock<Arc<Table>>,
    notes: Mutex<Notes>,
    arrivals: Mutex<Arrivals>,
    loads: Mutex<Loads>,
}

/// How a member came by the data that it began with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beginning {
    /// Nobody had any, or there is nobody.
    Alone,
    /// Others had it, and gave all of it.
    Loaded,
}

/// A stop that is shorter is none: a machine that is busy makes processes wait as long.
pub(crate) const BRIEF_STOP: Duration = Duration::from_millis(500);

/// The members as of one moment.
#[derive(Debug, Default)]
pub(crate) struct Table {
    pub(crate) taken: Tick,
    pub(crate) contacts: Vec<Contact>,
    pub(crate) reachable: BTreeSet<MemberId>,
}

/// How many connections of clients members hold. One entry for each member.
#[derive(Debug, Default)]
struct Loads {
    own: Option<u32>,
    others: BTreeMap<MemberId, Load>,
}

#[derive(Debug)]
struct Load {
    incarnation: u32,
    connections: u32,
    since: Tick,
    told: Tick,
}

/// What was said longer ago says nothing of now. Members are probed once a second.
const LOAD_FRESH: Duration = Duration::from_secs(5);

/// What request threads saw that the control plane should know. At most one entry for each member.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    pub(crate) left: BTreeMap<MemberId, u32>,
    pub(crate) silent: BTreeMap<MemberId, Tick>,
    /// The slots of which members give records because they were asked for.
    pub(crate) given: BTreeMap<MemberId, SlotSet>,
}

impl SharedStatus {
    pub(crate) fn new(
        member: MemberId,
        incarnation: u32,
        pause_threshold: Duration,
        now: Tick,
    ) -> Self {
        Self {
            member,
            incarnation,
            pause_threshold,
            phase: AtomicU8::new(0),
            beginning: AtomicU8::new(0),
            is_ready: AtomicBool::new(false),
            is_resting: AtomicBool::new(false),
            was_stopped: AtomicBool::new(false),
            members_checksum: AtomicU64::new(0),
            listening_since_ms: AtomicU64::new(now.as_ms()),
            woken_ms: AtomicU64::new(0),
            cut_off_ms: AtomicU64::new(0),
            last_run_ms: AtomicU64::new(now.as_ms()),
            table: RwLock::default(),
            notes: Mutex::default(),
            arrivals: Mutex::default(),
            loads: Mutex::default(),
        }
    }

    /// This member.
    pub fn member(&self) -> MemberId {
        self.member
    }

    /// The start number of this member.
    pub fn incarnation(&self) -> u32 {
        self.incarnation
    }

    /// The phase of this member, as it tells others.
    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Relaxed) {
            0 => Phase::Joining,
            1 => Phase::Loading,
            2 => Phase::Up,
            _ => Phase::Leaving,
        }
    }

    /// How this member came by its data; `None` while it looks for some.
    pub fn beginning(&self) -> Option<Beginning> {
        match self.beginning.load(Ordering::Acquire) {
            0 => None,
            1 => Some(Beginning::Alone),
            _ => Some(Beginning::Loaded),
        }
    }

    /// Whether reads may be answered, and beats of unknown records be taken for registrations:
    /// the data is loaded, and this process was not stopped since it last compared it. If not,
    /// the client should be told to try another member (503).
    pub fn may_read(&self, now: Tick) -> bool {
        self.is_ready.load(Ordering::Relaxed) && self.is_awake(now)
    }

    /// Whether calls of clients may be taken: this process was not stopped since it last compared
    /// its data. A write that waited in a socket while it was stopped would get a stamp of now,
    /// and undo what its sender has done since by another member.
    pub fn may_write(&self, now: Tick) -> bool {
        !self.is_resting.load(Ordering::Relaxed) && self.is_awake(now)
    }

    /// Whether this process was stopped a short while ago, even for half a second: calls that
    /// gathered meanwhile may still wait to be read. A write whose client has hung up should not be
    /// taken then (503): the client has turned to another member, and may have written anew there.
    /// Two atomic loads.
    pub fn may_be_late(&self, now: Tick) -> bool {
        self.was_stopped.load(Ordering::Relaxed) || self.silence(now) >= BRIEF_STOP
    }

    /// Whether the control plane ran a moment ago. If not, this process was stopped or starved,
    /// and what arrives now may be old. One atomic load.
    pub fn is_awake(&self, now: Tick) -> bool {
        self.silence(now) < self.pause_threshold
    }

    /// Whether this process was stopped so lately that what arrives may have waited meanwhile: no
    /// member waits longer than this for an answer.
    pub(crate) fn has_just_woken(&self, now: Tick, deadline: Duration) -> bool {
        let woken = self.woken_ms.load(Ordering::Relaxed);
        woken > 0 && now.since(Tick::from_ms(woken)) < deadline
    }

    /// When this process was last found to have been stopped; [`Tick::ZERO`] if it never was.
    pub(crate) fn woken(&self) -> Tick {
        Tick::from_ms(self.woken_ms.load(Ordering::Relaxed))
    }

    /// A client has set up a connection to this member. All members are told, so that the member
    /// that held its connection before waits until it has registered here. `client` stands for what
    /// stays the same when a client changes servers: a hash of its host, version and labels. Losing
    /// it is harmless: the instances are gone until the client registers them.
    pub fn note_arrival(&self, client: u64, now: Tick) {
        self.arrivals.lock().note_own(client, now);
    }

    /// Clients have set up connections to another member at `at`.
    pub(crate) fn note_arrivals(&self, clients: &[u64], at: Tick, now: Tick) {
        let mut arrivals = self.arrivals.lock();
        clients.iter().for_each(|client| arrivals.note(*client, at, now));
    }

    /// The clients that have come to this member since the last call.
    pub(crate) fn take_arrivals(&self) -> Vec<u64> {
        self.arrivals.lock().take_untold()
    }

    /// This member holds so many connections of clients now. The others are told with each answer to
    /// their probes.
    pub fn set_connections(&self, connections: u32) {
        self.loads.lock().own = Some(connections);
    }

    pub(crate) fn connections(&self) -> Option<u32> {
        self.loads.lock().own
    }

    /// A member has said how many connections it holds; `None`: it does not say.
    pub(crate) fn note_load(
        &self,
        member: MemberId,
        incarnation: u32,
        connections: Option<u32>,
        now: Tick,
    ) {
        let mut loads = self.loads.lock();
        let Some(connections) = connections else {
            loads.others.remove(&member);
            return;
        };
        let fresh = Load { incarnation, connections, since: now, told: now };
        let load = loads.others.entry(member).or_insert(fresh);
        let is_same = load.incarnation == incarnation && now.since(load.told) < LOAD_FRESH;
        load.since = if is_same { load.since } else { now };
        (load.incarnation, load.connections, load.told) = (incarnation, connections, now);
    }

    /// What the others that can be reached have said of their connections within the last 5 s: how
    /// many, and since when they have been saying so without a break.
    pub fn loads(&self, now: Tick) -> Vec<(u32, Tick)> {
        let mut loads = self.loads.lock();
        loads.others.retain(|_, load| now.since(load.told) < LOAD_FRESH);
        loads.others.values().map(|load| (load.connections, load.since)).collect()
    }

    /// Whether a client has set up a connection to any member after `since`, which must be less than
    /// 10 s ago, as far as this member was told.
    pub fn has_arrived(&self, client: u64, since: Tick) -> bool {
        self.arrivals.lock().has_arrived(client, since)
    }

    pub(crate) fn set_woken(&self, now: Tick) {
        self.woken_ms.store(now.as_ms(), Ordering::Relaxed);
    }

    /// Since when this member has not heard more than half of all members, those left out that are
    /// surely gone: it may be cut off, and the others see nothing of what it hears. `None` while it
    /// hears them. One atomic load.
    pub fn cut_off_since(&self) -> Option<Tick> {
        self.cut_off_ms.load(Ordering::Relaxed).checked_sub(1).map(Tick::from_ms)
    }

    pub(crate) fn set_cut_off_since(&self, since: Option<Tick>) {
        let since = since.map_or(0, |since| since.as_ms() + 1);
        self.cut_off_ms.store(since, Ordering::Relaxed);
    }

    /// For how long the control plane has not run.
    fn silence(&self, now: Tick) -> Duration {
        now.since(Tick::from_ms(self.last_run_ms.load(Ordering::Relaxed)))
    }

    /// Whether a call to the member is likely to be answered. Once a call to it failed, not before
    /// the control plane has heard it again.
    pub fn is_reachable(&self, member: MemberId) -> bool {
        let table = self.table.read().clone();
        table.reachable.contains(&member) && !self.notes.lock().silent.contains_key(&member)
    }

    /// A call to the member was sent at `sent` and not answered in time.
    pub fn note_silent(&self, member: MemberId, sent: Tick) {
        let table = self.table.read().clone();
        if table.reachable.contains(&member) {
            self.notes.lock().silent.insert(member, sent);
        }
    }

    pub(crate) fn note_left(&self, member: MemberId, incarnation: u32) {
        if self.is_member(member) {
            self.notes.lock().left.insert(member, incarnation);
        }
    }

    /// Forgets a member that left the list: old notes say nothing of it if it comes back.
    pub(crate) fn forget(&self, member: MemberId) {
        let mut notes = self.notes.lock();
        notes.left.remove(&member);
        notes.silent.remove(&member);
        notes.given.remove(&member);
    }

    /// Not every sender may fill the notes.
    fn is_member(&self, member: MemberId) -> bool {
        let is_known = |contact: &Contact| contact.member == member;
        self.table.read().contacts.iter().any(is_known)
    }

    /// A member was asked for records of these slots.
    pub(crate) fn note_given(&self, member: MemberId, slots: &SlotSet) {
        if self.is_member(member) {
            self.notes.lock().given.entry(member).or_default().add(slots);
        }
    }

    pub(crate) fn take_given(&self) -> BTreeMap<MemberId, SlotSet> {
        std::mem::take(&mut self.notes.lock().given)
    }

    /// For how long this member has listened to clients without a break.
    pub(crate) fn listening(&self, now: Tick) -> Duration {
        now.since(Tick::from_ms(self.listening_since_ms.load(Ordering::Relaxed)))
    }

    pub(crate) fn set_listening_since(&self, since: Tick) {
        self.listening_since_ms.store(since.as_ms(), Ordering::Relaxed);
    }

    pub(crate) fn take_left(&self) -> BTreeMap<MemberId, u32> {
        std::mem::take(&mut self.notes.lock().left)
    }

    /// A member answered a call that was sent at `sent`.
    pub(crate) fn clear_silent(&self, member: MemberId, sent: Tick) {
        let mut notes = self.notes.lock();
        if notes.silent.get(&member).is_some_and(|at| *at < sent) {
            notes.silent.remove(&member);
        }
    }

    /// Whom this member has heard, with ages as of now.
    pub(crate) fn contacts(&self, now: Tick) -> Vec<Contact> {
        let table = self.table.read().clone();
        let passed = u64::try_from(now.since(table.taken).as_millis()).unwrap_or(u64::MAX);
        let aged = |contact: &Contact| Contact {
            age_ms: contact.age_ms.saturating_add(passed),
            ..*contact
        };
        table.contacts.iter().map(aged).collect()
    }

    pub(crate) fn members_checksum(&self) -> u64 {
        self.members_checksum.load(Ordering::Relaxed)
    }

    pub(crate) fn set_members_checksum(&self, checksum: u64) {
        self.members_checksum.store(checksum, Ordering::Relaxed);
    }

    pub(crate) fn publish(&self, table: Table) {
        *self.table.write() = Arc::new(table);
    }

    pub(crate) fn set_phase(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Relaxed);
    }

    pub(crate) fn set_beginning(&self, beginning: Beginning) {
        self.beginning.store(beginning as u8 + 1, Ordering::Release);
    }

    pub(crate) fn set_ready(&self, is_ready: bool) {
        self.is_ready.store(is_ready, Ordering::Relaxed);
    }

    pub(crate) fn set_resting(&self, is_resting: bool) {
        self.is_resting.store(is_resting, Ordering::Relaxed);
    }

    pub(crate) fn set_stopped(&self, was_stopped: bool) {
        self.was_stopped.store(was_stopped, Ordering::Relaxed);
    }

    pub(crate) fn ran(&self, now: Tick) {
        self.last_run_ms.store(now.as_ms(), Ordering::Relaxed);
    }
}
