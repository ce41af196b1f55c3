//! The world of a run: members, clients, one clock, and what is on its way.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::sync::Arc;

use distro_core::{DistroConfig, HoldingConfig, Input, MemberId, Request, Rules, StoreConfig};

use distro_net::{Codec, Limits};

use crate::client::{Attempt, Client, Life};
use crate::digest::Digest;
use crate::disk::{Disk, is_durable};
use crate::invariants::Invariants;
use crate::net::{Chance, Net};
use crate::node::{Acks, Ask, Call, EarlyTexts, Flaws, Process, Setup, Text, Texts};

mod clients;
mod durable;
mod holders;
mod links;
mod machinery;
mod seen;
pub(crate) use links::Link;
use links::LinkEvent;
use machinery::{Event, Session};

/// From one look at the invariants to the next.
const CHECK_MS: u64 = 200;
/// From the end of a stop until the last call that waited is read.
const LATEST_CALL_MS: u64 = 2_000;
/// The housekeeping as a server does it by default: when it first looks for empty datums, how often
/// from then on, and how many looks in a row must find one empty.
const FIRST_CLEAN_UP_MS: u64 = 50_000;
const CLEAN_UP_MS: u64 = 30_000;
const EMPTY_LOOKS: u8 = 5;
/// From deciding to write to writing.
const WRITE_DELAY_MS: u64 = 250;
const WALL_MS: u64 = 1_700_000_000_000;

/// A node, and which start of it.
type Start = (usize, u32);

pub(crate) struct Node {
    pub(crate) id: MemberId,
    pub(crate) process: Option<Process>,
    pub(crate) is_paused: bool,
    /// Since when its machine sleeps.
    asleep_since: Option<u64>,
    /// Is stopped between two slices of its next round of judging.
    pub(crate) pauses_in_round: bool,
    /// What arrived while it was stopped.
    backlog: VecDeque<Event>,
    pub(crate) incarnation: u32,
    /// How far its wall clock is off, in milliseconds.
    pub(crate) skew_ms: i64,
    /// The members in its list; it need not be among them.
    pub(crate) members: BTreeSet<usize>,
    /// Which list that is; an older one does not take its place.
    list: u64,
    /// When it last heard each client.
    pub(crate) heard: BTreeMap<usize, u64>,
    pub(crate) left: bool,
    /// Since when it has run without a stop.
    runs_since: u64,
    /// Outlives its processes.
    pub(crate) disk: Disk,
    /// Of a release that does not know of holding.
    pub(crate) is_old: bool,
    /// Of a release that cannot read what is written with a later one.
    pub(crate) is_early: bool,
    /// When its control plane is woken next, if nothing comes in before.
    wakes_at: u64,
}

pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) now: u64,
    pub(crate) chance: Chance,
    pub(crate) net: Net,
    pub(crate) nodes: Vec<Node>,
    pub(crate) clients: Vec<Client>,
    /// All connections of clients so far.
    pub(crate) links: Vec<Link>,
    pub(crate) setup: Setup,
    codec: Codec<Text>,
    early_codec: Codec<Text>,
    /// How often somebody was asked to compare records.
    pub(crate) comparisons: u64,
    pub(crate) invariants: Invariants,
    /// When something last went wrong in the network or with a member, or slots moved.
    pub(crate) disturbed_at: u64,
    /// How long a flush takes at most.
    pub(crate) slowest_flush_ms: u64,
    /// From one look for empty datums to the next.
    pub(crate) clean_up_ms: u64,
    /// There is hardly room for the memory of removals: what a member missed takes a time-out longer.
    pub(crate) is_short_of_memory: bool,
    /// A member has died for good, or left.
    pub(crate) has_lost_one: bool,
    members: BTreeSet<usize>,
    last_list: u64,
    queue: BTreeMap<(u64, u64), Event>,
    /// By sender and receiver.
    sessions: BTreeMap<(Start, Start), Session>,
    sequence: u64,
    next_check: u64,
    story: VecDeque<String>,
    digest: Digest,
}

impl World {
    pub(crate) fn new(count: usize, seed: u64, rules: Rules) -> Self {
        let config = DistroConfig { rules, ..DistroConfig::default() };
        let store = StoreConfig { rules, is_durable, ..StoreConfig::default() };
        let holding = HoldingConfig { rules, ..HoldingConfig::default() };
        let (acks, flaws) = (Acks::Majority, Flaws::default());
        let node = |n: usize| Node {
            id: MemberId::of(&format!("10.0.0.{n}:8848")),
            process: None,
            is_paused: false,
            asleep_since: None,
            pauses_in_round: false,
            backlog: VecDeque::new(),
            incarnation: 0,
            skew_ms: 0,
            members: (0..count).collect(),
            list: 0,
            heard: BTreeMap::new(),
            left: false,
            runs_since: 0,
            disk: Disk::default(),
            is_old: false,
            is_early: false,
            wakes_at: 0,
        };
        Self {
            seed,
            now: 1_000,
            chance: Chance::new(seed),
            net: Net::calm(),
            nodes: (0..count).map(node).collect(),
            clients: Vec::new(),
            links: Vec::new(),
            setup: Setup { rules, config, store, holding, acks, flaws },
            codec: Codec::new(Arc::new(Texts), Limits::default()),
            early_codec: Codec::new(Arc::new(EarlyTexts), Limits::default()),
            comparisons: 0,
            invariants: Invariants::default(),
            disturbed_at: 0,
            slowest_flush_ms: 20,
            clean_up_ms: CLEAN_UP_MS,
            is_short_of_memory: false,
            has_lost_one: false,
            members: (0..count).collect(),
            last_list: 0,
            queue: BTreeMap::new(),
            sessions: BTreeMap::new(),
            sequence: 0,
            next_check: 0,
            story: VecDeque::new(),
            digest: Digest::new(format!("{count}-{seed}")),
        }
    }

    /// A world whose members have all started and found each other.
    pub(crate) fn settled(count: usize, seed: u64, rules: Rules) -> Self {
        let mut world = Self::new(count, seed, rules);
        (0..count).for_each(|node| world.start(node));
        world.run_for(10_000);
        world
    }

    pub(crate) fn tell(&mut self, what: impl AsRef<str>) {
        if self.story.len() >= 600 {
            self.story.pop_front();
        }
        self.digest.add(self.now, what.as_ref().as_bytes());
        self.story.push_back(format!("{:>8} {}", self.now, what.as_ref()));
    }

    /// What happened so far.
    pub(crate) fn story(&self) -> String {
        let mut text = String::new();
        for line in &self.story {
            let _ = writeln!(text, "{line}");
        }
        text
    }

    /// The end of a run that broke a promise.
    pub(crate) fn fail(&self, what: &str) -> ! {
        let text = self.story();
        panic!(
            "{text}{:>8} {what}\nreplay: SEED={} cargo test -p distro-core --test sim -- random",
            self.now, self.seed
        );
    }

    // What a story can do.

    pub(crate) fn start(&mut self, node: usize) {
        let others = self.ids(&self.nodes[node].members);
        let (id, skew) = (self.nodes[node].id, self.nodes[node].skew_ms);
        self.nodes[node].incarnation += 1;
        let incarnation = self.nodes[node].incarnation;
        let wall_ms = (WALL_MS + self.now).saturating_add_signed(skew);
        let disk = &self.nodes[node].disk;
        let mut setup = self.setup.clone();
        // One of an earlier release asks nobody.
        setup.config.rules.accounts &= !self.nodes[node].is_old;
        let process = Process::start(&setup, id, &others, incarnation, wall_ms, self.now, disk);
        self.nodes[node].process = Some(process);
        self.nodes[node].heard.clear();
        self.nodes[node].left = false;
        self.nodes[node].runs_since = self.now;
        self.nodes[node].wakes_at = 0;
        self.invariants.forget(node);
        self.tell(format!("start {node}"));
        self.disturbed_at = self.now;
        self.push(0, Event::Wake { node, incarnation });
        self.push(FIRST_CLEAN_UP_MS, Event::CleanUp { node, incarnation });
        self.push(0, Event::Link(LinkEvent::Look { node, incarnation }));
    }

    pub(crate) fn kill(&mut self, node: usize) {
        self.nodes[node].process = None;
        self.nodes[node].backlog.clear();
        self.nodes[node].is_paused = false;
        self.nodes[node].pauses_in_round = false;
        self.nodes[node].asleep_since = None;
        self.invariants.forget(node);
        self.tell(format!("kill {node}"));
        self.end_links_of(node);
        let is_calm = self.net.is_calm() && !self.nodes.iter().any(|node| node.is_paused);
        for client in self.clients.iter_mut().filter(|client| client.acked_by == node) {
            client.is_lost |= !is_calm || self.now < client.acked_at + 1_000;
        }
        self.disturbed_at = self.now;
    }

    /// The disk of a member is lost with all that is on it.
    pub(crate) fn wipe(&mut self, node: usize) {
        self.kill(node);
        self.nodes[node].disk = Disk::default();
        self.invariants.kept.wiped(node);
        self.tell(format!("wipe {node}"));
    }

    pub(crate) fn pause(&mut self, node: usize) {
        self.nodes[node].is_paused = true;
        self.tell(format!("pause {node}"));
    }

    /// The same, and its machine sleeps: clocks that do not count that stand still.
    pub(crate) fn suspend(&mut self, node: usize) {
        self.nodes[node].asleep_since = Some(self.now);
        self.pause(node);
    }

    /// The same as [`Self::pause`], but in the middle of its next round of judging.
    pub(crate) fn pause_in_round(&mut self, node: usize) {
        self.nodes[node].pauses_in_round = true;
    }

    pub(crate) fn resume(&mut self, node: usize) {
        self.nodes[node].is_paused = false;
        let slept = self.nodes[node].asleep_since.take().map_or(0, |since| self.now - since);
        if let Some(process) = &mut self.nodes[node].process
            && !self.setup.rules.counts_sleep
        {
            process.started_at += slept;
        }
        self.nodes[node].runs_since = self.now;
        self.tell(format!("resume {node}"));
        self.disturbed_at = self.now;
        let backlog: Vec<Event> = self.nodes[node].backlog.drain(..).collect();
        for event in backlog {
            // The kernel hands over what came, in no order that anybody could rely on. Some calls
            // of clients are read late: those of thousands of others are there, too.
            let is_last = matches!(event, Event::Ask { .. }) && self.chance.permille(500);
            let delay = self.chance.range(0, if is_last { LATEST_CALL_MS } else { 4 });
            self.push(delay, event);
        }
    }

    pub(crate) fn cut(&mut self, a: usize, b: usize) {
        self.net.cut(a, b);
        self.net.cut(b, a);
        self.tell(format!("cut {a}-{b}"));
    }

    pub(crate) fn cut_one_way(&mut self, from: usize, to: usize) {
        self.net.cut(from, to);
        self.tell(format!("cut {from}->{to}"));
    }

    pub(crate) fn heal(&mut self) {
        self.net.cuts.clear();
        self.tell("heal");
        self.disturbed_at = self.now;
    }

    /// The members that are configured everywhere from now on.
    pub(crate) fn set_members(&mut self, members: &[usize]) {
        self.members = members.iter().copied().collect();
        self.last_list += 1;
        self.tell(format!("members {members:?}"));
        for node in 0..self.nodes.len() {
            self.configure(node, self.members.clone());
        }
        self.disturbed_at = self.now;
    }

    /// The members are these, and each node learns of it in its own time, the slowest after so
    /// long.
    pub(crate) fn change_members(&mut self, members: BTreeSet<usize>, slowest_ms: u64) {
        self.tell(format!("members will be {members:?}"));
        self.last_list += 1;
        for node in 0..self.nodes.len() {
            let (after, members) = (self.chance.range(0, slowest_ms), members.clone());
            let list = self.last_list;
            self.push(after, Event::Configure { node, list, members });
        }
        self.members = members;
        self.disturbed_at = self.now;
    }

    /// The list of one node omits a member for so long.
    pub(crate) fn omit(&mut self, node: usize, member: usize, for_ms: u64) {
        let members = self.members.clone();
        self.configure(node, members.iter().copied().filter(|n| *n != member).collect());
        self.last_list += 1;
        self.push(for_ms, Event::Configure { node, list: self.last_list, members });
        self.disturbed_at = self.now;
    }

    /// The list of one node.
    pub(crate) fn configure(&mut self, node: usize, members: BTreeSet<usize>) {
        self.tell(format!("node {node} is told of the members {members:?}"));
        let ids = self.ids(&members);
        self.nodes[node].members = members;
        self.nodes[node].list = self.last_list;
        self.input(node, Input::Members(ids));
    }

    fn ids(&self, members: &BTreeSet<usize>) -> Vec<MemberId> {
        members.iter().map(|n| self.nodes[*n].id).collect()
    }

    pub(crate) fn members(&self) -> &BTreeSet<usize> {
        &self.members
    }

    pub(crate) fn leave(&mut self, node: usize) {
        self.tell(format!("leave {node}"));
        self.input(node, Input::Leave);
        self.send_away(node);
        self.disturbed_at = self.now;
    }

    pub(crate) fn add_client(&mut self, client: Client) -> usize {
        self.clients.push(client);
        let client = self.clients.len() - 1;
        self.wake_client(client, 0);
        client
    }

    pub(crate) fn write_again(&mut self, client: usize) {
        self.clients[client].version += 1;
        self.clients[client].life = Life::Alive;
        self.tell(format!("client {client} writes {}", self.clients[client].version));
        if self.clients[client].call.is_none() {
            self.wake_client(client, WRITE_DELAY_MS);
        }
    }

    pub(crate) fn deregister(&mut self, client: usize) {
        self.clients[client].life = Life::Leaving;
        self.clients[client].steady_since = None;
        self.tell(format!("client {client} deregisters"));
        self.drop_call(client);
        self.wake_client(client, WRITE_DELAY_MS);
    }

    pub(crate) fn die(&mut self, client: usize) {
        self.clients[client].life = Life::Dead(self.now);
        self.clients[client].steady_since = None;
        self.tell(format!("client {client} dies"));
        self.drop_call(client);
        self.hang_up(client);
    }

    fn drop_call(&mut self, client: usize) {
        self.clients[client].call = None;
        self.clients[client].next_attempt += 1;
    }

    /// The client asks this member, whatever it would do by itself.
    pub(crate) fn ask(&mut self, client: usize, node: usize, ask: Ask) {
        let attempt = u64::MAX;
        self.push(1, Event::Ask { node, client, attempt, ask });
    }

    /// The same, and it waits for what it is told.
    pub(crate) fn expect(&mut self, client: usize, node: usize, ask: Ask) {
        let state = &mut self.clients[client];
        state.next_attempt += 1;
        let (attempt, left) = (state.next_attempt, Vec::new());
        state.call = Some(Attempt { ask, number: attempt, began: self.now, left });
        self.push(1, Event::Ask { node, client, attempt, ask });
    }

    /// A message of which a copy arrives after all.
    pub(crate) fn deliver(
        &mut self,
        from: usize,
        to: usize,
        request: Request<Text>,
        after_ms: u64,
    ) {
        let call = Call::Handler(u64::MAX);
        let incarnation = self.nodes[from].incarnation;
        let letter = self.letter(to, &request);
        self.push(after_ms, Event::Request { from, incarnation, to, call, letter });
    }

    pub(crate) fn run_for(&mut self, span_ms: u64) {
        let end = self.now + span_ms;
        loop {
            let next = self.queue.first_key_value().map_or(u64::MAX, |((at, _), _)| *at);
            let next = next.min(self.next_check);
            if next > end {
                break;
            }
            self.now = self.now.max(next);
            if next == self.next_check {
                self.next_check = self.now + CHECK_MS;
                self.check();
                continue;
            }
            let Some((_, event)) = self.queue.pop_first() else { break };
            self.happen(event);
        }
        self.now = end;
    }

    /// Runs until `is_so`, at most for so long. Returns whether it came to be.
    pub(crate) fn run_until(&mut self, span_ms: u64, is_so: impl Fn(&Self) -> bool) -> bool {
        self.run_until_each(100, span_ms, is_so)
    }

    /// The same with a look every `step_ms`.
    pub(crate) fn run_until_each(
        &mut self,
        step_ms: u64,
        span_ms: u64,
        is_so: impl Fn(&Self) -> bool,
    ) -> bool {
        let end = self.now + span_ms;
        while self.now < end {
            if is_so(self) {
                return true;
            }
            self.run_for(step_ms);
        }
        is_so(self)
    }

    pub(super) fn check(&mut self) {
        let differs = |node: &Node| node.process.is_some() && node.members != self.members;
        let is_torn = self.nodes.iter().any(|node| node.is_paused || differs(node));
        if is_torn || !self.net.is_calm() {
            self.disturbed_at = self.now;
            self.spoil_moves();
        }
        for process in self.nodes.iter().filter_map(|node| node.process.as_ref()) {
            let store = &process.store;
            let held = [store.root(), store.tombstone_count(), store.tombstone_bytes()];
            held.iter().for_each(|held| self.digest.add(self.now, &held.to_le_bytes()));
        }
        let mut invariants = std::mem::take(&mut self.invariants);
        if let Err(broken) = invariants.check(self) {
            self.fail(&broken);
        }
        self.invariants = invariants;
    }
}
