//! The world of a run: members, clients, one clock, and what is on its way.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;

use distro_core::{
    DistroConfig, Health, Input, MemberId, Output, Phase, Record, Reply, Request, Rules, Sender,
    Slot, StoreConfig,
};

use crate::client::{Attempt, Client, Life};
use crate::invariants::Invariants;
use crate::net::{Chance, Net};
use crate::node::{Ask, Call, Process, Progress, Setup, Text, Told};

/// From one look at the invariants to the next.
const CHECK_MS: u64 = 200;
const BEAT_MS: u64 = 5_000;
/// How long a client waits for a member.
const CLIENT_DEADLINE_MS: u64 = 3_000;
/// From deciding to write to writing.
const WRITE_DELAY_MS: u64 = 250;
const WALL_MS: u64 = 1_700_000_000_000;

enum Event {
    Wake { node: usize, incarnation: u32 },
    Request { from: usize, incarnation: u32, to: usize, call: Call, request: Request<Text> },
    Reply { to: usize, incarnation: u32, call: Call, reply: Reply<Text> },
    Refused { to: usize, incarnation: u32, call: Call },
    Deadline { node: usize, incarnation: u32, call: Call },
    Ask { node: usize, client: usize, attempt: u64, ask: Ask },
    Told { client: usize, attempt: u64, told: Told, by: usize },
    ClientDeadline { client: usize, attempt: u64 },
    ClientWakes { client: usize },
}

pub(crate) struct Node {
    pub(crate) id: MemberId,
    pub(crate) process: Option<Process>,
    pub(crate) is_paused: bool,
    /// What arrived while it was stopped.
    backlog: VecDeque<Event>,
    pub(crate) incarnation: u32,
    /// How far its wall clock is off, in milliseconds.
    pub(crate) skew_ms: i64,
    /// When it last heard each client.
    pub(crate) heard: BTreeMap<usize, u64>,
    pub(crate) left: bool,
}

pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) now: u64,
    pub(crate) chance: Chance,
    pub(crate) net: Net,
    pub(crate) nodes: Vec<Node>,
    pub(crate) clients: Vec<Client>,
    pub(crate) setup: Setup,
    pub(crate) invariants: Invariants,
    /// When something last went wrong in the network or with a member, or slots moved.
    pub(crate) disturbed_at: u64,
    members: BTreeSet<usize>,
    queue: BTreeMap<(u64, u64), Event>,
    sequence: u64,
    next_check: u64,
    story: VecDeque<String>,
}

impl World {
    pub(crate) fn new(count: usize, seed: u64, rules: Rules) -> Self {
        let config = DistroConfig { rules, ..DistroConfig::default() };
        let store = StoreConfig { rules, ..StoreConfig::default() };
        let node = |n: usize| Node {
            id: MemberId::of(&format!("10.0.0.{n}:8848")),
            process: None,
            is_paused: false,
            backlog: VecDeque::new(),
            incarnation: 0,
            skew_ms: 0,
            heard: BTreeMap::new(),
            left: false,
        };
        Self {
            seed,
            now: 1_000,
            chance: Chance::new(seed),
            net: Net::calm(),
            nodes: (0..count).map(node).collect(),
            clients: Vec::new(),
            setup: Setup { rules, config, store },
            invariants: Invariants::default(),
            disturbed_at: 0,
            members: (0..count).collect(),
            queue: BTreeMap::new(),
            sequence: 0,
            next_check: 0,
            story: VecDeque::new(),
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
        let others: Vec<MemberId> = self.members.iter().map(|n| self.nodes[*n].id).collect();
        let (id, skew) = (self.nodes[node].id, self.nodes[node].skew_ms);
        self.nodes[node].incarnation += 1;
        let incarnation = self.nodes[node].incarnation;
        let wall_ms = (WALL_MS + self.now).saturating_add_signed(skew);
        let process = Process::start(&self.setup, id, &others, incarnation, wall_ms, self.now);
        self.nodes[node].process = Some(process);
        self.nodes[node].heard.clear();
        self.nodes[node].left = false;
        self.invariants.forget(node);
        self.tell(format!("start {node}"));
        self.disturbed_at = self.now;
        self.push(0, Event::Wake { node, incarnation });
    }

    pub(crate) fn kill(&mut self, node: usize) {
        self.nodes[node].process = None;
        self.nodes[node].backlog.clear();
        self.nodes[node].is_paused = false;
        self.invariants.forget(node);
        self.tell(format!("kill {node}"));
        let is_calm = self.net.is_calm() && !self.nodes.iter().any(|node| node.is_paused);
        for client in self.clients.iter_mut().filter(|client| client.acked_by == node) {
            client.is_lost |= !is_calm || self.now < client.acked_at + 1_000;
        }
        self.disturbed_at = self.now;
    }

    pub(crate) fn pause(&mut self, node: usize) {
        self.nodes[node].is_paused = true;
        self.tell(format!("pause {node}"));
    }

    pub(crate) fn resume(&mut self, node: usize) {
        self.nodes[node].is_paused = false;
        self.tell(format!("resume {node}"));
        self.disturbed_at = self.now;
        let backlog: Vec<Event> = self.nodes[node].backlog.drain(..).collect();
        for event in backlog {
            // The kernel hands over what came, in no order that anybody could rely on.
            let delay = self.chance.range(0, 4);
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
        let ids: Vec<MemberId> = members.iter().map(|n| self.nodes[*n].id).collect();
        self.tell(format!("members {members:?}"));
        for node in 0..self.nodes.len() {
            self.input(node, Input::Members(ids.clone()));
        }
        self.disturbed_at = self.now;
    }

    pub(crate) fn leave(&mut self, node: usize) {
        self.tell(format!("leave {node}"));
        self.input(node, Input::Leave);
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
        self.push(after_ms, Event::Request { from, incarnation, to, call, request });
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
        let end = self.now + span_ms;
        while self.now < end {
            if is_so(self) {
                return true;
            }
            self.run_for(100);
        }
        is_so(self)
    }

    // What a story can see.

    pub(crate) fn view(&self, node: usize, client: usize) -> Option<(u32, Health)> {
        let client = &self.clients[client];
        self.nodes[node].process.as_ref()?.view(&client.tag, &client.key)
    }

    /// The record of an instance on a member, visible or not.
    pub(crate) fn record(&self, node: usize, client: usize) -> Option<Record<Text>> {
        let client = &self.clients[client];
        let datum = self.nodes[node].process.as_ref()?.store.find(&client.tag)?;
        datum.read(|reader| reader.find(&client.key).cloned())
    }

    /// Whether a member remembers that the last registration of an instance was ended.
    pub(crate) fn has_tombstone(&self, node: usize, client: usize) -> bool {
        let registrations = (0..self.nodes.len()).filter_map(|n| self.record(n, client));
        let last = registrations.map(|record| record.registration).max();
        self.record(node, client).is_some_and(|record| Some(record.deregistered) > last)
    }

    pub(crate) fn is_running(&self, node: usize) -> bool {
        self.nodes[node].process.is_some() && !self.nodes[node].is_paused
    }

    pub(crate) fn is_leaving(&self, node: usize) -> bool {
        let process = self.nodes[node].process.as_ref();
        process.is_some_and(|process| process.distro.phase() == Phase::Leaving)
    }

    pub(crate) fn is_ready(&self, node: usize) -> bool {
        let is_ready = |p: &Process| p.distro.board().may_read(p.tick(self.now));
        self.is_running(node) && self.nodes[node].process.as_ref().is_some_and(is_ready)
    }

    pub(crate) fn root(&self, node: usize) -> Option<u64> {
        self.nodes[node].process.as_ref().map(|process| process.store.root())
    }

    pub(crate) fn roots_agree(&self) -> bool {
        let running: Vec<usize> = (0..self.nodes.len()).filter(|n| self.is_running(*n)).collect();
        running.windows(2).all(|pair| self.root(pair[0]) == self.root(pair[1]))
    }

    /// The owner of a tag in the view of a member.
    pub(crate) fn owner(&self, node: usize, tag: &str) -> Option<usize> {
        let id = self.nodes[node].process.as_ref()?.store.owner(Slot::of(tag))?;
        self.nodes.iter().position(|node| node.id == id)
    }

    /// A tag whose slot this member owns in the view of `viewer`.
    pub(crate) fn tag_owned_by(&self, owner: usize, viewer: usize) -> String {
        let mut tags = (0..).map(|n| format!("tag-{n}"));
        tags.find(|tag| self.owner(viewer, tag) == Some(owner)).expect("there are tags for all")
    }

    // The machinery.

    fn push(&mut self, after_ms: u64, event: Event) {
        self.sequence += 1;
        self.queue.insert((self.now + after_ms, self.sequence), event);
    }

    fn happen(&mut self, event: Event) {
        let node = match &event {
            Event::Wake { node, .. } | Event::Deadline { node, .. } | Event::Ask { node, .. } => {
                Some(*node)
            }
            Event::Request { to, .. } | Event::Reply { to, .. } | Event::Refused { to, .. } => {
                Some(*to)
            }
            _ => None,
        };
        if let Some(node) = node.filter(|node| self.nodes[*node].is_paused) {
            self.nodes[node].backlog.push_back(event);
            return;
        }
        match event {
            Event::Wake { node, incarnation } => {
                if self.is_current(node, incarnation) {
                    self.input(node, Input::Tick);
                    self.schedule_wake(node);
                }
            }
            Event::Request { from, incarnation, to, call, request } => {
                self.take_request(from, incarnation, to, call, request);
            }
            Event::Reply { to, incarnation, call, reply } => {
                if self.is_current(to, incarnation) && self.take_pending(to, call) {
                    match call {
                        Call::Control(call) => self.input(to, Input::Answered(call, reply)),
                        Call::Handler(task) => self.resume_task(to, task, Some(reply)),
                    }
                }
            }
            Event::Refused { to, incarnation, call } => {
                if self.is_current(to, incarnation) && self.take_pending(to, call) {
                    match call {
                        Call::Control(call) => self.input(to, Input::Refused(call)),
                        Call::Handler(task) => self.resume_task(to, task, None),
                    }
                }
            }
            Event::Deadline { node, incarnation, call } => {
                if self.is_current(node, incarnation) && self.take_pending(node, call) {
                    match call {
                        Call::Control(call) => self.input(node, Input::NoAnswer(call)),
                        Call::Handler(task) => self.resume_task(node, task, None),
                    }
                }
            }
            Event::Ask { node, client, attempt, ask } => self.serve(node, client, attempt, ask),
            Event::Told { client, attempt, told, by } => self.told(client, attempt, told, by),
            Event::ClientDeadline { client, attempt } => {
                let is_waiting = self.clients[client].call.as_ref();
                if is_waiting.is_some_and(|call| call.number == attempt) {
                    self.try_next(client);
                }
            }
            Event::ClientWakes { client } => {
                let state = &self.clients[client];
                if state.wakes_at <= self.now && state.call.is_none() {
                    self.act(client);
                }
            }
        }
    }

    fn is_current(&self, node: usize, incarnation: u32) -> bool {
        self.nodes[node].process.is_some() && self.nodes[node].incarnation == incarnation
    }

    fn take_pending(&mut self, node: usize, call: Call) -> bool {
        let process = self.nodes[node].process.as_mut();
        process.is_some_and(|process| process.pending.remove(&call))
    }

    fn schedule_wake(&mut self, node: usize) {
        let Some(process) = &self.nodes[node].process else { return };
        let at = process.started_at + process.distro.poll_timeout().as_ms();
        let incarnation = self.nodes[node].incarnation;
        self.push(at.saturating_sub(self.now).max(1), Event::Wake { node, incarnation });
    }

    /// The law of the loop: one input, then outputs until there are none.
    fn input(&mut self, node: usize, input: Input<Text>) {
        let now = self.now;
        let Some(process) = self.nodes[node].process.as_mut() else { return };
        let tick = process.tick(now);
        process.distro.handle_input(tick, input);
        let mut sends = Vec::new();
        let mut news = Vec::new();
        while let Some(output) = process.distro.poll_output() {
            match output {
                Output::Judge(terms) => while process.store.judge(&terms, tick) {},
                Output::Send { call, to, request, deadline } => {
                    sends.push((call, to, request, deadline))
                }
                Output::Left => {
                    self.nodes[node].left = true;
                    break;
                }
                other => news.push(format!("{other:?}")),
            }
        }
        if self.nodes[node].left {
            // The process ends.
            self.tell(format!("node {node} has left"));
            self.kill(node);
            return;
        }
        for text in news {
            if text.starts_with("Moved") {
                self.disturbed_at = self.now;
            }
            self.tell(format!("node {node}: {text}"));
        }
        for (call, to, request, deadline) in sends {
            let deadline = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX);
            self.send(node, to, Call::Control(call), request, deadline);
        }
    }

    fn send(
        &mut self,
        from: usize,
        to: MemberId,
        call: Call,
        request: Request<Text>,
        deadline_ms: u64,
    ) {
        let incarnation = self.nodes[from].incarnation;
        if let Some(process) = &mut self.nodes[from].process {
            process.pending.insert(call);
        }
        self.push(deadline_ms, Event::Deadline { node: from, incarnation, call });
        let Some(to) = self.nodes.iter().position(|node| node.id == to) else { return };
        for way in self.net.ways(from, to, &mut self.chance) {
            let request = request.clone();
            self.push(way, Event::Request { from, incarnation, to, call, request });
        }
    }

    fn take_request(
        &mut self,
        from: usize,
        incarnation: u32,
        to: usize,
        call: Call,
        request: Request<Text>,
    ) {
        let now = self.now;
        let ways = self.net.ways(to, from, &mut self.chance);
        let sender = Sender { member: self.nodes[from].id, incarnation };
        let Some(process) = &mut self.nodes[to].process else {
            for way in ways {
                self.push(way, Event::Refused { to: from, incarnation, call });
            }
            return;
        };
        let tick = process.tick(now);
        let reply = process.answer.answer(sender, request, tick);
        for way in ways {
            let reply = reply.clone();
            self.push(way, Event::Reply { to: from, incarnation, call, reply });
        }
        // The driver is woken by the watcher of the store.
        self.input(to, Input::Changed);
    }

    fn serve(&mut self, node: usize, client: usize, attempt: u64, ask: Ask) {
        let now = self.now;
        let rules = self.setup.rules;
        let place = (self.clients[client].tag.clone(), self.clients[client].key.clone());
        let Some(process) = self.nodes[node].process.as_mut() else {
            self.push(1, Event::Told { client, attempt, told: Told::Busy, by: node });
            return;
        };
        let tick = process.tick(now);
        let progress = process.handle(client, attempt, (&place.0, &place.1), ask, tick, &rules);
        self.follow(node, progress);
    }

    fn resume_task(&mut self, node: usize, task: u64, reply: Option<Reply<Text>>) {
        let now = self.now;
        let Some(process) = self.nodes[node].process.as_mut() else { return };
        let Some(client) = process.tasks.get(&task).map(|task| task.client) else { return };
        let place = (self.clients[client].tag.as_str(), self.clients[client].key.as_str());
        let tick = process.tick(now);
        let progress = match reply {
            Some(reply) => process.handler_answered(task, place, reply, tick),
            None => process.handler_failed(task, place, tick),
        };
        if let Some(progress) = progress {
            self.follow(node, progress);
        }
    }

    fn follow(&mut self, node: usize, progress: Progress) {
        match progress {
            Progress::Told(client, attempt, told) => {
                if told == Told::Done && self.clients[client].life == Life::Alive {
                    self.nodes[node].heard.insert(client, self.now);
                }
                let way = self.chance.range(1, 4);
                self.push(way, Event::Told { client, attempt, told, by: node });
            }
            Progress::Send(task, to, request, deadline) => {
                let deadline = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX);
                self.send(node, to, Call::Handler(task), request, deadline);
            }
        }
        self.input(node, Input::Changed);
    }

    // Clients.

    fn wake_client(&mut self, client: usize, after_ms: u64) {
        self.clients[client].wakes_at = self.now + after_ms;
        self.push(after_ms, Event::ClientWakes { client });
    }

    fn act(&mut self, client: usize) {
        let Some(ask) = self.clients[client].next_ask() else { return };
        let reach = &self.clients[client].reach;
        let candidates: Vec<usize> =
            if reach.is_empty() { self.members.iter().copied().collect() } else { reach.clone() };
        let order = self.chance.shuffled(candidates.len());
        let left = order.into_iter().map(|at| candidates[at]).collect();
        let number = self.clients[client].next_attempt;
        self.clients[client].call = Some(Attempt { ask, number, left });
        self.try_next(client);
    }

    fn try_next(&mut self, client: usize) {
        let state = &mut self.clients[client];
        state.next_attempt += 1;
        let number = state.next_attempt;
        let Some(call) = state.call.as_mut() else { return };
        call.number = number;
        let (Some(node), ask) = (call.left.pop(), call.ask) else {
            // Nobody took it: it tries again in a while.
            state.call = None;
            state.steady_since = None;
            self.wake_client(client, 1_000);
            return;
        };
        self.push(CLIENT_DEADLINE_MS, Event::ClientDeadline { client, attempt: number });
        self.push(1, Event::Ask { node, client, attempt: number, ask });
    }

    fn told(&mut self, client: usize, attempt: u64, told: Told, by: usize) {
        let now = self.now;
        let state = &mut self.clients[client];
        let Some(call) = state.call.as_ref().filter(|call| call.number == attempt) else { return };
        let ask = call.ask;
        if told == Told::Busy {
            self.try_next(client);
            return;
        }
        state.call = None;
        if now > state.last_contact + 12_000 {
            state.steady_since = None;
        }
        state.last_contact = now;
        match (ask, told) {
            (Ask::Register(version), _) => {
                state.acked = version;
                state.acked_at = now;
                state.acked_by = by;
                state.is_lost = false;
                state.steady_since = state.steady_since.or(Some(now));
                self.tell(format!("client {client} has written {version} by {by}"));
            }
            (Ask::Deregister, _) => {
                state.life = Life::Gone(now);
                self.tell(format!("client {client} is deregistered by {by}"));
                return;
            }
            (Ask::Beat(_), Told::Unknown) => {
                state.acked = 0;
                state.steady_since = None;
                self.tell(format!("client {client} is unknown to {by}"));
                self.wake_client(client, 0);
                return;
            }
            (Ask::Beat(_), _) => {}
        }
        self.wake_client(client, BEAT_MS);
    }

    fn check(&mut self) {
        if (0..self.nodes.len()).any(|node| self.nodes[node].is_paused) || !self.net.is_calm() {
            self.disturbed_at = self.now;
        }
        let mut invariants = std::mem::take(&mut self.invariants);
        if let Err(broken) = invariants.check(self) {
            self.fail(&broken);
        }
        self.invariants = invariants;
    }
}
