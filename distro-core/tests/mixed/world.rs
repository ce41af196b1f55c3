//! The world of a run: both kinds of members, clients, and what is on its way.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::time::Duration;

use distro_core::{CallId, Input, MemberId, Output, Reply, Request, Rules, Sender};

use crate::digest::Digest;
use crate::java::{Java, List, Sum};
use crate::net::Chance;
use crate::ours::{Ours, Text};

pub(crate) const WALL_MS: u64 = 1_700_000_000_000;
const STEP_MS: u64 = 20;
const CLIENTS: usize = 10;
const TAGS: usize = 7;
/// From a change that all have to the first moment at which all must show it.
const END_MS: u64 = 75_000;
/// What members of the other kind take so near to a change of owners may be lost.
const RISK_MS: u64 = 10_000;

/// The place of a tag: it ends in a digit.
pub(crate) fn number_of(tag: &str) -> u32 {
    tag.bytes().last().map_or(0, u32::from)
}

pub(crate) fn id_of(node: usize) -> MemberId {
    MemberId(node as u32 + 1)
}

pub(crate) fn owner_in(view: &BTreeSet<usize>, tag: &str) -> Option<usize> {
    let at = (number_of(tag) as usize).checked_rem(view.len())?;
    view.iter().nth(at).copied()
}

/// What a client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ask {
    Register(u32),
    Deregister,
    Beat,
}

impl Ask {
    fn version(self) -> Option<u32> {
        if let Self::Register(version) = self { Some(version) } else { None }
    }
}

/// What it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    Done,
    /// 20404: register again.
    Unknown,
    /// An error, or nobody there.
    Refused,
}

enum Node {
    Java(Java),
    Ours(Box<Ours>),
}

enum Event {
    Call {
        from: usize,
        to: usize,
        call: CallId,
        request: Request<Text>,
    },
    Reply {
        to: usize,
        incarnation: u32,
        call: CallId,
        reply: Option<Reply<Text>>,
    },
    Put {
        from: usize,
        to: usize,
        tag: String,
    },
    Lists {
        from: usize,
        to: usize,
        lists: Vec<(String, Option<List>)>,
        asked: u64,
    },
    Sums {
        from: usize,
        to: usize,
        sums: BTreeMap<String, Sum>,
    },
    /// A list is read and sent.
    Pull {
        from: usize,
        to: usize,
        tags: Vec<String>,
        asked: u64,
    },
    Round {
        node: usize,
        incarnation: u32,
    },
    See {
        node: usize,
        other: usize,
        is_up: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Alive,
    Leaving,
    /// Since then nobody answers for it.
    Gone(u64),
}

struct Client {
    tag: String,
    key: String,
    version: u32,
    acked: u32,
    acked_at: u64,
    life: Life,
    acts_at: u64,
    /// Every member of ours has shown it since it was last written.
    is_known: bool,
    /// No member of ours shows it any more.
    is_forgotten: bool,
    /// The member of ours that answered its last registration, and when.
    at_home: Option<(usize, u64)>,
    /// When a member of the other kind took its last write.
    java_at: Option<u64>,
    /// Owners changed at about that time: such a member may have taken itself for the owner, or
    /// the next owner was not told, and the write is lost with the list of that one.
    is_risky: bool,
}

pub(crate) struct World {
    now: u64,
    chance: Chance,
    rules: Rules,
    nodes: Vec<Option<Node>>,
    is_java: Vec<bool>,
    incarnations: Vec<u32>,
    skews: Vec<i64>,
    clients: Vec<Client>,
    queue: BTreeMap<(u64, u64), Event>,
    sequence: u64,
    story: VecDeque<String>,
    moved_at: u64,
    seed: u64,
    digest: Digest,
}

impl World {
    /// One run. The error tells its story.
    pub(crate) fn run(seed: u64, rules: Rules) -> Result<(), String> {
        let mut world = Self::new(seed, rules);
        world.play().map_err(|broken| world.told(&broken))
    }

    pub(crate) fn story_of(seed: u64, rules: Rules) -> String {
        let mut world = Self::new(seed, rules);
        let broken = world.play().err().unwrap_or_default();
        world.told(&broken)
    }

    fn told(&self, broken: &str) -> String {
        let mut text = String::new();
        self.story.iter().for_each(|line| _ = writeln!(text, "{line}"));
        let (now, seed) = (self.now, self.seed);
        let _ = writeln!(text, "{now:>8} {broken}");
        let _ = writeln!(text, "replay: SEED={seed} cargo test -p distro-core --test mixed random");
        text
    }

    fn new(seed: u64, rules: Rules) -> Self {
        let mut chance = Chance::new(seed);
        let (java, ours) = (1 + (seed % 3) as usize, 2 + (seed % 2) as usize);
        let order = chance.shuffled(java + ours);
        let is_java: Vec<bool> = order.iter().map(|n| *n < java).collect();
        let count = is_java.len();
        let skews = (0..count).map(|_| chance.range(0, 200) as i64 - 100).collect();
        Self {
            now: 1_000,
            chance,
            rules,
            nodes: (0..count).map(|_| None).collect(),
            is_java,
            incarnations: vec![0; count],
            skews,
            clients: Vec::new(),
            queue: BTreeMap::new(),
            sequence: 0,
            story: VecDeque::new(),
            moved_at: 0,
            seed,
            digest: Digest::new(format!("{count}-{seed}")),
        }
    }

    fn tell(&mut self, what: String) {
        if self.story.len() >= 400 {
            self.story.pop_front();
        }
        let now = self.now;
        self.digest.add(now, what.as_bytes());
        self.story.push_back(format!("{now:>8} {what}"));
    }

    fn push(&mut self, after_ms: u64, event: Event) {
        self.sequence += 1;
        self.queue.insert((self.now + after_ms, self.sequence), event);
    }

    fn play(&mut self) -> Result<(), String> {
        let order: Vec<usize> = (0..self.nodes.len()).collect();
        for node in order {
            self.start(node);
            self.run_for(200)?;
        }
        self.run_for(8_000)?;
        for n in 0..CLIENTS {
            let acts_at = self.now + self.chance.range(0, 5_000);
            self.clients.push(Client {
                tag: format!("tag-{}", n % TAGS),
                key: format!("key-{n}"),
                version: 1,
                acked: 0,
                acked_at: 0,
                life: Life::Alive,
                acts_at,
                is_known: false,
                is_forgotten: false,
                at_home: None,
                java_at: None,
                is_risky: false,
            });
        }
        self.run_for(20_000)?;
        for _ in 0..self.chance.range(4, 9) {
            self.disturb();
            let span = self.chance.range(500, 20_000);
            self.run_for(span)?;
            self.clients_do_something();
            let span = self.chance.range(500, 45_000);
            self.run_for(span)?;
            self.mend();
        }
        self.mend();
        self.run_for(END_MS)?;
        self.all_is_well()
    }

    // Members come and go.

    fn start(&mut self, node: usize) {
        self.incarnations[node] += 1;
        let incarnation = self.incarnations[node];
        let others: Vec<usize> =
            (0..self.nodes.len()).filter(|n| *n != node && self.is_open(*n)).collect();
        self.tell(format!("start {node} ({})", if self.is_java[node] { "java" } else { "ours" }));
        if self.is_java[node] {
            let lists = others.first().map(|from| self.lists_of(*from)).unwrap_or_default();
            let view = BTreeSet::from([node]);
            self.nodes[node] = Some(Node::Java(Java { lists, view }));
            self.open(node);
        } else {
            let ours = (0..self.nodes.len()).filter(|n| *n != node && !self.is_java[*n]);
            let ours: Vec<MemberId> = ours.map(id_of).collect();
            let wall_ms = (WALL_MS + self.now).saturating_add_signed(self.skews[node]);
            let mut process = Ours::start(node, &ours, incarnation, wall_ms, self.now, self.rules);
            let input = process.see(others.iter().copied().collect(), self.now);
            self.nodes[node] = Some(Node::Ours(Box::new(process)));
            self.input(node, input);
            self.load(node);
        }
        let first = self.chance.range(5_000, 7_000);
        self.push(first, Event::Round { node, incarnation });
    }

    /// Takes the lists of all members of the other kind.
    fn load(&mut self, node: usize) {
        for from in (0..self.nodes.len()).filter(|n| self.is_java[*n]).collect::<Vec<_>>() {
            let lists = self.lists_of(from).into_iter().map(|(tag, list)| (tag, Some(list)));
            let lists = lists.collect();
            self.take_lists(from, node, lists, self.now);
        }
    }

    /// It serves from now on, and tells the others: ours all at once, the other kind one by one.
    fn open(&mut self, node: usize) {
        self.moved();
        self.tell(format!("open {node}"));
        for client in &mut self.clients {
            // Who left while it loaded is missing in no list that it may believe already.
            let is_fresh = |since: u64| since + 10_000 > self.now;
            client.is_forgotten &= !matches!(client.life, Life::Gone(since) if is_fresh(since));
            // So is who registered with one that it took for no owner yet.
            client.is_known &= client.acked_at + 3_000 < self.now;
        }
        for other in (0..self.nodes.len()).filter(|n| *n != node).collect::<Vec<_>>() {
            let way = |world: &mut Self| match (world.is_java[node], world.is_java[other]) {
                (true, true) => world.chance.range(10, 5_000),
                // Ours look for those that are away every second or two.
                (true, false) => world.chance.range(10, 2_000),
                _ => world.chance.range(1, 50),
            };
            let (there, back) = (way(self), way(self));
            self.push(there, Event::See { node: other, other: node, is_up: true });
            if self.is_java[node] {
                self.push(back, Event::See { node, other, is_up: true });
            }
        }
    }

    fn kill(&mut self, node: usize) {
        self.tell(format!("kill {node}"));
        self.nodes[node] = None;
        self.moved();
        for other in (0..self.nodes.len()).filter(|n| *n != node).collect::<Vec<_>>() {
            let noticed = self.chance.range(50, 2_400);
            self.push(noticed, Event::See { node: other, other: node, is_up: false });
        }
    }

    /// Somebody dies, unless it is the last of ours: what it alone knows would be lost.
    fn disturb(&mut self) {
        let node = self.chance.range(0, self.nodes.len() as u64) as usize;
        let is_last = |world: &Self| {
            let alike = |n: &usize| world.is_java[*n] == world.is_java[node] && world.is_open(*n);
            (0..world.nodes.len()).filter(alike).count() < 2
        };
        if self.is_open(node) && (self.is_java[node] || !is_last(self)) {
            self.kill(node);
        }
    }

    fn mend(&mut self) {
        for node in 0..self.nodes.len() {
            if self.nodes[node].is_none() {
                self.start(node);
            }
        }
    }

    /// Owners change.
    fn moved(&mut self) {
        let now = self.now;
        self.moved_at = now;
        for client in &mut self.clients {
            client.is_risky |= client.java_at.is_some_and(|at| at + RISK_MS > now);
        }
    }

    fn is_open(&self, node: usize) -> bool {
        match &self.nodes[node] {
            None => false,
            Some(Node::Java(_)) => true,
            Some(Node::Ours(ours)) => ours.is_open,
        }
    }

    fn lists_of(&self, node: usize) -> BTreeMap<String, List> {
        match &self.nodes[node] {
            Some(Node::Java(java)) => java.lists.clone(),
            Some(Node::Ours(ours)) => {
                ours.tags().into_iter().map(|tag| (tag.clone(), ours.list(&tag))).collect()
            }
            None => BTreeMap::new(),
        }
    }

    // Time.

    fn run_for(&mut self, span_ms: u64) -> Result<(), String> {
        let end = self.now + span_ms;
        while self.now < end {
            self.now += STEP_MS;
            while let Some(entry) = self.queue.first_entry() {
                if entry.key().0 > self.now {
                    break;
                }
                let event = entry.remove();
                self.happen(event);
            }
            for node in 0..self.nodes.len() {
                self.drive(node);
            }
            for client in 0..self.clients.len() {
                if self.clients[client].acts_at <= self.now {
                    self.act(client);
                }
            }
            self.check()?;
        }
        Ok(())
    }

    fn drive(&mut self, node: usize) {
        let now = self.now;
        let Some(Node::Ours(ours)) = &mut self.nodes[node] else { return };
        if now % 200 < STEP_MS {
            let held = [ours.store.root(), ours.store.tombstone_bytes()];
            held.iter().for_each(|held| self.digest.add(now, &held.to_le_bytes()));
        }
        let is_due = ours.distro.poll_timeout() <= ours.tick(now);
        let due: Vec<String> =
            ours.outbox.iter().filter(|(_, at)| **at <= now).map(|(tag, _)| tag.clone()).collect();
        due.iter().for_each(|tag| _ = ours.outbox.remove(tag));
        let opens = !ours.is_open && ours.is_up();
        let owed: Vec<_> = ours.owed.iter().cloned().collect();
        if is_due {
            self.input(node, Input::Tick);
        }
        for tag in due {
            self.put(node, &tag, 1);
        }
        if opens {
            // What changed while it loaded from its own kind.
            self.load(node);
            if let Some(Node::Ours(ours)) = &mut self.nodes[node] {
                ours.is_open = true;
            }
            let view = self.view_with(node, node, true);
            self.see(node, view);
            self.open(node);
        }
        if now % 1_000 < STEP_MS {
            owed.into_iter().for_each(|(tag, key)| self.pay(node, &tag, &key));
        }
    }

    /// Passes on what it took although another one owns it.
    fn pay(&mut self, node: usize, tag: &str, key: &str) {
        let Some(Node::Ours(ours)) = &self.nodes[node] else { return };
        let (owner, held) = (ours.owner(tag), ours.list(tag).get(key).copied());
        let is_paid = match (owner, held) {
            (Some(owner), Some(held)) if self.is_java[owner] => {
                let ask = Ask::Register(held.version);
                let told = self.call(owner, tag, key, ask, true);
                if told == Told::Done
                    && let Some(Node::Ours(ours)) = &self.nodes[node]
                {
                    ours.done_elsewhere(tag, key, ask.version(), self.now);
                }
                told == Told::Done
            }
            _ => true,
        };
        if is_paid && let Some(Node::Ours(ours)) = &mut self.nodes[node] {
            ours.owed.remove(&(tag.to_owned(), key.to_owned()));
        }
    }

    /// Has a list sent to everybody who does not hear of it otherwise.
    fn put(&mut self, from: usize, tag: &str, after_ms: u64) {
        for to in 0..self.nodes.len() {
            if to != from && (self.is_java[from] || self.is_java[to]) {
                let after = if self.is_java[from] {
                    after_ms + self.chance.range(0, 1_200)
                } else {
                    after_ms
                };
                self.push(after, Event::Put { from, to, tag: tag.to_owned() });
            }
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Call { from, to, call, request } => self.take_call(from, to, call, request),
            Event::Reply { to, incarnation, call, reply } => {
                if self.incarnations[to] == incarnation {
                    let input =
                        reply.map_or(Input::Refused(call), |reply| Input::Answered(call, reply));
                    self.input(to, input);
                }
            }
            Event::Put { from, to, tag } => {
                let list = self.lists_of(from).remove(&tag);
                if self.nodes[from].is_some() {
                    let (way, asked) = (self.chance.range(1, 600), u64::MAX);
                    self.push(way, Event::Lists { from, to, lists: vec![(tag, list)], asked });
                }
            }
            Event::Pull { from, to, tags, asked } => {
                let all = self.lists_of(from);
                if self.nodes[from].is_some() {
                    let list = |tag: &String| all.get(tag).cloned();
                    let lists = tags.iter().map(|tag| (tag.clone(), list(tag))).collect();
                    let way = self.chance.range(1, 60);
                    self.push(way, Event::Lists { from, to, lists, asked });
                }
            }
            Event::Lists { from, to, lists, asked } => self.take_lists(from, to, lists, asked),
            Event::Sums { from, to, sums } => {
                let (asked, now) = (self.now, self.now);
                let tags = match &mut self.nodes[to] {
                    Some(Node::Java(java)) => java.compare(to, from, &sums),
                    Some(Node::Ours(ours)) => ours.compare(from, &sums, now),
                    None => Vec::new(),
                };
                if !tags.is_empty() {
                    let way = self.chance.range(1, 60);
                    self.push(way, Event::Pull { from, to, tags, asked });
                }
            }
            Event::Round { node, incarnation } => self.round(node, incarnation),
            Event::See { node, other, is_up } => {
                if is_up != self.is_open(other) {
                    return;
                }
                let view = self.view_with(node, other, is_up);
                self.see(node, view);
            }
        }
    }

    /// What everybody does every 5 s.
    fn round(&mut self, node: usize, incarnation: u32) {
        if self.incarnations[node] != incarnation || self.nodes[node].is_none() {
            return;
        }
        self.push(5_000, Event::Round { node, incarnation });
        if !self.is_open(node) {
            return;
        }
        let now = self.now;
        let (changed, sums) = match &mut self.nodes[node] {
            Some(Node::Java(java)) => {
                let changed = java.judge(node, now);
                (changed, java.sums(node))
            }
            Some(Node::Ours(ours)) => {
                let owned = ours.tags().into_iter().filter(|tag| ours.store.owns(tag));
                let sum = |tag: String| {
                    let list = ours.list(&tag);
                    (tag, crate::java::sum_of(&list))
                };
                let sums = owned.map(sum).filter(|(_, sum)| !sum.is_empty()).collect();
                (Vec::new(), sums)
            }
            None => return,
        };
        for tag in changed {
            self.put(node, &tag, 1_000);
        }
        if let Some(Node::Ours(ours)) = &self.nodes[node] {
            let is_java = |source: &usize| self.is_java[*source];
            let silent: Vec<_> =
                ours.unheard_of(now).into_iter().filter(|(source, _)| is_java(source)).collect();
            for (from, tags) in silent {
                self.push(30, Event::Pull { from, to: node, tags, asked: now });
            }
        }
        if sums.is_empty() && self.is_java[node] {
            // It says nothing rather than that it has nothing.
            return;
        }
        for to in (0..self.nodes.len()).filter(|to| *to != node).collect::<Vec<_>>() {
            if self.is_java[node] || self.is_java[to] {
                let way = self.chance.range(1, 60);
                self.push(way, Event::Sums { from: node, to, sums: sums.clone() });
            }
        }
    }

    fn take_lists(
        &mut self,
        from: usize,
        to: usize,
        lists: Vec<(String, Option<List>)>,
        asked: u64,
    ) {
        let now = self.now;
        match &mut self.nodes[to] {
            Some(Node::Java(java)) => {
                let told = lists.into_iter().filter_map(|(tag, list)| Some((tag, list?)));
                java.lists.extend(told);
            }
            Some(Node::Ours(ours)) => {
                for (tag, list) in lists {
                    ours.take_list(from, &tag, list.as_ref(), asked.min(now), now);
                }
            }
            None => {}
        }
    }

    fn view_with(&self, node: usize, other: usize, is_up: bool) -> BTreeSet<usize> {
        let mut view = match &self.nodes[node] {
            Some(Node::Java(java)) => java.view.clone(),
            Some(Node::Ours(ours)) => ours.view.clone(),
            None => BTreeSet::new(),
        };
        if is_up {
            view.insert(other);
        } else {
            view.remove(&other);
        }
        view
    }

    fn see(&mut self, node: usize, view: BTreeSet<usize>) {
        let now = self.now;
        self.tell(format!("node {node} sees {view:?}"));
        self.moved();
        match &mut self.nodes[node] {
            Some(Node::Java(java)) => java.view = view,
            Some(Node::Ours(ours)) => {
                let input = ours.see(view, now);
                self.input(node, input);
            }
            None => {}
        }
    }

    // The protocol of ours.

    fn input(&mut self, node: usize, input: Input<Text>) {
        let now = self.now;
        let Some(Node::Ours(ours)) = &mut self.nodes[node] else { return };
        let tick = ours.tick(now);
        ours.distro.handle_input(tick, input);
        let mut sends = Vec::new();
        while let Some(output) = ours.distro.poll_output() {
            match output {
                Output::Judge(terms) => {
                    let before: Vec<_> =
                        ours.tags().into_iter().map(|tag| (ours.list(&tag).len(), tag)).collect();
                    while ours.store.judge(&terms) {}
                    for (count, tag) in before {
                        if ours.store.owns(&tag) && ours.list(&tag).len() != count {
                            ours.outbox.entry(tag).or_insert(now + 400);
                        }
                    }
                }
                Output::Send { call, to, request, .. } => sends.push((call, to, request)),
                _ => {}
            }
        }
        for (call, to, request) in sends {
            let to = to.0 as usize - 1;
            let way = self.chance.range(1, 4);
            self.push(way, Event::Call { from: node, to, call, request });
        }
    }

    fn take_call(&mut self, from: usize, to: usize, call: CallId, request: Request<Text>) {
        let (now, incarnation) = (self.now, self.incarnations[from]);
        let sender = Sender { member: id_of(from), incarnation, minor: 4 };
        let reply = match &self.nodes[to] {
            Some(Node::Ours(ours)) => {
                Some(ours.answer.answer(sender, request, Duration::ZERO, ours.tick(now)))
            }
            _ => None,
        };
        let way = self.chance.range(1, 4);
        self.push(way, Event::Reply { to: from, incarnation, call, reply });
        self.input(to, Input::Changed);
    }

    // Clients.

    /// A call arrives, of a client or passed on by another member.
    fn call(&mut self, node: usize, tag: &str, key: &str, ask: Ask, is_passed_on: bool) -> Told {
        if !self.is_open(node) {
            return Told::Refused;
        }
        if self.is_java[node] {
            self.call_java(node, tag, key, ask, is_passed_on)
        } else {
            self.call_ours(node, tag, key, ask, is_passed_on)
        }
    }

    fn call_java(
        &mut self,
        node: usize,
        tag: &str,
        key: &str,
        ask: Ask,
        is_passed_on: bool,
    ) -> Told {
        let now = self.now;
        let Some(Node::Java(java)) = &mut self.nodes[node] else { return Told::Refused };
        match java.owner(tag) {
            Some(owner) if owner == node => {
                let (told, changed) = java.carry_out(tag, key, ask, now);
                if changed {
                    self.put(node, tag, 1_000);
                }
                told
            }
            Some(owner) if !is_passed_on => self.call(owner, tag, key, ask, true),
            _ => Told::Refused,
        }
    }

    fn call_ours(
        &mut self,
        node: usize,
        tag: &str,
        key: &str,
        ask: Ask,
        is_passed_on: bool,
    ) -> Told {
        let now = self.now;
        let Some(Node::Ours(ours)) = &mut self.nodes[node] else { return Told::Refused };
        let owner = ours.owner(tag).unwrap_or(node);
        if self.is_java[owner] {
            return self.call_foreign(node, owner, (tag, key), ask, is_passed_on);
        }
        if ask == Ask::Beat {
            if ours.hear(tag, key, now) {
                return Told::Done;
            }
            let Some(Node::Ours(owner)) = &self.nodes[owner] else { return Told::Unknown };
            return if owner.hear(tag, key, now) { Told::Done } else { Told::Unknown };
        }
        let operation = ours.operation(tag, key, ask.version(), now);
        ours.apply(&operation, now);
        if owner == node {
            ours.outbox.entry(tag.to_owned()).or_insert(now + 400);
        } else if let Some(Node::Ours(owner)) = &mut self.nodes[owner] {
            owner.apply(&operation, now);
            owner.outbox.entry(tag.to_owned()).or_insert(now + 400);
        }
        self.input(node, Input::Changed);
        self.input(owner, Input::Changed);
        Told::Done
    }

    /// A call at one of ours about what a member of the other kind owns.
    fn call_foreign(
        &mut self,
        node: usize,
        owner: usize,
        (tag, key): (&str, &str),
        ask: Ask,
        is_passed_on: bool,
    ) -> Told {
        let now = self.now;
        let Some(Node::Ours(ours)) = &mut self.nodes[node] else { return Told::Refused };
        let is_held = ask == Ask::Beat && ours.hear(tag, key, now);
        if is_passed_on {
            // Views differ: it is taken here until they agree.
            if ask == Ask::Beat {
                return if is_held { Told::Done } else { Told::Unknown };
            }
            let operation = ours.operation(tag, key, ask.version(), now);
            ours.apply(&operation, now);
            ours.owed.insert((tag.to_owned(), key.to_owned()));
            return Told::Done;
        }
        let told = self.call(owner, tag, key, ask, true);
        let Some(Node::Ours(ours)) = &self.nodes[node] else { return Told::Refused };
        match (told, ask) {
            (Told::Done, Ask::Register(_) | Ask::Deregister) => {
                ours.done_elsewhere(tag, key, ask.version(), now);
                Told::Done
            }
            (Told::Unknown, Ask::Beat) if is_held => {
                let held = ours.list(tag).get(key).copied();
                let Some(held) = held else { return Told::Unknown };
                self.call(owner, tag, key, Ask::Register(held.version), true);
                Told::Done
            }
            (Told::Refused, Ask::Beat) if is_held => Told::Done,
            (told, _) => told,
        }
    }

    fn act(&mut self, client: usize) {
        let state = &self.clients[client];
        let ask = match state.life {
            Life::Alive if state.acked < state.version => Ask::Register(state.version),
            Life::Alive => Ask::Beat,
            Life::Leaving => Ask::Deregister,
            Life::Gone(_) => {
                self.clients[client].acts_at = u64::MAX;
                return;
            }
        };
        let (tag, key) = (state.tag.clone(), state.key.clone());
        let order = self.chance.shuffled(self.nodes.len());
        let mut outcome = (Told::Refused, 0);
        for node in order {
            outcome = (self.call(node, &tag, &key, ask, false), node);
            if outcome.0 != Told::Refused {
                break;
            }
        }
        let (now, is_java) = (self.now, self.is_java[outcome.1]);
        let owner = match &self.nodes[outcome.1] {
            Some(Node::Ours(ours)) => ours.owner(&tag).unwrap_or(outcome.1),
            _ => outcome.1,
        };
        let java_at = self.is_java[owner].then_some(now);
        let is_risky = java_at.is_some() && self.moved_at + RISK_MS > now;
        let state = &mut self.clients[client];
        state.acts_at = now + 5_000;
        match (outcome.0, ask) {
            (Told::Refused, _) => state.acts_at = now + 500,
            (Told::Unknown, _) => {
                state.acked = 0;
                state.acts_at = now + 20;
            }
            (Told::Done, Ask::Register(version)) => {
                state.acked = version;
                state.acked_at = now;
                state.is_forgotten = false;
                state.java_at = java_at;
                state.is_risky = is_risky;
                state.at_home = (!is_java).then_some((outcome.1, now));
                self.tell(format!("client {client} is registered {version} by {}", outcome.1));
            }
            (Told::Done, Ask::Deregister) => {
                state.life = Life::Gone(now);
                self.tell(format!("client {client} has left by {}", outcome.1));
            }
            (Told::Done, Ask::Beat) => {}
        }
        if outcome.0 == Told::Unknown {
            self.tell(format!("client {client} is unknown to {}", outcome.1));
        }
    }

    fn clients_do_something(&mut self) {
        for client in 0..self.clients.len() {
            let draw = self.chance.range(0, 10);
            let now = self.now;
            let state = &mut self.clients[client];
            match (draw, state.life) {
                (0 | 1, Life::Alive) => state.life = Life::Leaving,
                (2, Life::Alive) => state.life = Life::Gone(now),
                (3, Life::Alive) | (4..7, Life::Gone(_)) => {
                    state.version += 1;
                    state.life = Life::Alive;
                }
                _ => continue,
            }
            state.is_known = false;
            state.is_forgotten = false;
            state.at_home = None;
            let (life, version) = (state.life, state.version);
            self.clients[client].acts_at = now + self.chance.range(100, 5_000);
            self.tell(format!("client {client} turns {life:?}, version {version}"));
        }
    }

    // Promises.

    fn ours(&self) -> impl Iterator<Item = (usize, &Ours)> {
        self.nodes.iter().enumerate().filter_map(|(n, node)| match node {
            Some(Node::Ours(ours)) if ours.is_open => Some((n, &**ours)),
            _ => None,
        })
    }

    fn check(&mut self) -> Result<(), String> {
        let mut verdicts = Vec::new();
        for (c, client) in self.clients.iter().enumerate() {
            let shown: Vec<(usize, Option<u32>)> = self
                .ours()
                .map(|(n, ours)| (n, ours.list(&client.tag).get(&client.key).map(|h| h.version)))
                .collect();
            let is_everywhere = !shown.is_empty()
                && shown.iter().all(|(_, version)| *version == Some(client.version));
            let is_nowhere = shown.iter().all(|(_, version)| version.is_none());
            verdicts.push((is_everywhere, is_nowhere));
            match client.life {
                Life::Alive if client.is_known => {
                    if let Some((n, _)) = shown.iter().find(|(_, version)| version.is_none()) {
                        return Err(format!("node {n}: client {c} lives and is not shown"));
                    }
                }
                Life::Alive => {
                    let home = client.at_home.filter(|(home, _)| self.is_open(*home));
                    if let Some((home, since)) = home
                        && since < self.now
                        && client.acked == client.version
                        && shown.iter().any(|(n, version)| *n == home && version.is_none())
                    {
                        let text = "is not shown where it was registered";
                        return Err(format!("node {home}: client {c} {text}"));
                    }
                }
                Life::Gone(_) if client.is_forgotten => {
                    if let Some((n, _)) = shown.iter().find(|(_, version)| version.is_some()) {
                        return Err(format!("node {n}: client {c} is gone and has come back"));
                    }
                }
                Life::Gone(since) => {
                    let since = since.max(self.moved_at);
                    if let Some((n, _)) = shown.iter().find(|(_, version)| version.is_some())
                        && since + END_MS < self.now
                    {
                        return Err(format!("node {n}: client {c} is gone and is still shown"));
                    }
                }
                Life::Leaving => {}
            }
        }
        for (client, (is_everywhere, is_nowhere)) in self.clients.iter_mut().zip(verdicts) {
            let is_acked = client.acked == client.version;
            client.is_known |= client.life == Life::Alive && is_acked && is_everywhere;
            let is_gone = matches!(client.life, Life::Gone(_));
            // Java members may hold it for a while, and a list that names it may be on its way.
            client.is_forgotten |= is_gone && is_nowhere && self.now > self.moved_at + 40_000;
        }
        Ok(())
    }

    fn all_is_well(&self) -> Result<(), String> {
        let roots: BTreeSet<u64> = self.ours().map(|(_, ours)| ours.store.root()).collect();
        if roots.len() > 1 {
            return Err("members of ours do not agree at the end".to_owned());
        }
        for (c, client) in self.clients.iter().enumerate() {
            let expected = (client.life == Life::Alive).then_some(client.version);
            let owner = self.ours().next().and_then(|(_, ours)| ours.owner(&client.tag));
            for n in 0..self.nodes.len() {
                if self.is_java[n] && owner.is_some_and(|owner| self.is_java[owner]) {
                    // What they keep of each other is their own affair.
                    continue;
                }
                let lists = self.lists_of(n);
                let held = lists.get(&client.tag).and_then(|list| list.get(&client.key));
                let is_old = client.is_risky && held.is_some() && expected.is_some();
                if held.map(|held| held.version) != expected && !is_old {
                    return Err(format!("node {n}: client {c} is {held:?}, not {expected:?}"));
                }
                if held.is_some_and(|held| !held.healthy) && !self.is_java[n] {
                    return Err(format!("node {n}: client {c} lives and is unhealthy"));
                }
            }
        }
        Ok(())
    }
}
