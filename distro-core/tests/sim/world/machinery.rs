//! How messages and time go about.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use distro_core::{
    Input, MemberId, Output, Passage, RecordId, Reply, Request, Sender, Slot, TagSum,
};
use distro_net::{Codec, CodecError};

use super::links::LinkEvent;
use super::{EMPTY_LOOKS, Node, World};
use crate::client::Life;
use crate::disk::Waiter;
use crate::node::{Ask, Call, Progress, Text, Told};

/// A request as it is on its way.
#[derive(Clone)]
pub(super) struct Letter {
    request: Bytes,
    /// When it was put together.
    sent_at: u64,
    /// The start of the receiver that it was sent to.
    to_incarnation: u32,
}

/// What two starts of two members know of each other's clocks.
pub(super) struct Session {
    passage: Passage,
    began_at: u64,
}

/// Neither side goes on with a session whose first question took longer.
const SLOWEST_HELLO_MS: u64 = 2_000;
/// Members of a release that does not say when something was sent are not tried with more.
const LONGEST_OLD_WAY_MS: u64 = 8_000;
/// Who asks waits no longer than that.
const LONGEST_WAIT_MS: u64 = 2_000;

pub(super) enum Event {
    Wake {
        node: usize,
        incarnation: u32,
    },
    /// The next slice of a round of judging.
    Slice {
        node: usize,
        incarnation: u32,
    },
    Request {
        from: usize,
        incarnation: u32,
        to: usize,
        call: Call,
        letter: Letter,
    },
    Reply {
        to: usize,
        incarnation: u32,
        call: Call,
        reply: Bytes,
    },
    Refused {
        to: usize,
        incarnation: u32,
        call: Call,
    },
    /// The receiver makes nothing of a request.
    NotTaken {
        to: usize,
        incarnation: u32,
        call: Call,
    },
    Deadline {
        node: usize,
        incarnation: u32,
        call: Call,
    },
    Ask {
        node: usize,
        client: usize,
        attempt: u64,
        ask: Ask,
    },
    Told {
        client: usize,
        attempt: u64,
        told: Told,
        by: usize,
    },
    ClientDeadline {
        client: usize,
        attempt: u64,
    },
    ClientWakes {
        client: usize,
    },
    Flushed {
        node: usize,
        incarnation: u32,
    },
    CleanUp {
        node: usize,
        incarnation: u32,
    },
    Configure {
        node: usize,
        list: u64,
        members: BTreeSet<usize>,
    },
    Link(LinkEvent),
}

impl World {
    pub(super) fn push(&mut self, after_ms: u64, event: Event) {
        self.sequence += 1;
        self.queue.insert((self.now + after_ms, self.sequence), event);
    }

    pub(super) fn happen(&mut self, event: Event) {
        let node = match &event {
            Event::Wake { node, .. }
            | Event::Slice { node, .. }
            | Event::Flushed { node, .. }
            | Event::CleanUp { node, .. }
            | Event::Deadline { node, .. }
            | Event::Ask { node, .. }
            | Event::Configure { node, .. } => Some(*node),
            Event::Request { to, .. }
            | Event::Reply { to, .. }
            | Event::Refused { to, .. }
            | Event::NotTaken { to, .. } => Some(*to),
            Event::Link(event) => event.node(),
            _ => None,
        };
        if let Some(node) = node.filter(|node| self.nodes[*node].is_paused) {
            self.nodes[node].backlog.push_back(event);
            return;
        }
        match event {
            Event::Wake { node, incarnation } => {
                if self.is_current(node, incarnation) {
                    // One that an earlier one has replaced is not there.
                    if self.now >= self.nodes[node].wakes_at {
                        self.input(node, Input::Tick);
                    }
                }
            }
            Event::Slice { node, incarnation } => {
                if self.is_current(node, incarnation) {
                    self.judge_slice(node);
                }
            }
            Event::Request { from, incarnation, to, call, letter } => {
                self.take_request(from, incarnation, to, call, &letter);
            }
            Event::Reply { to, incarnation, call, reply } => {
                if self.is_current(to, incarnation) && self.take_pending(to, call) {
                    let Some(reply) = self.read_reply(to, reply) else {
                        return match call {
                            Call::Control(call) => self.input(to, Input::NoAnswer(call)),
                            Call::Handler(task) => self.resume_task(to, task, None),
                        };
                    };
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
            Event::NotTaken { to, incarnation, call } => {
                if self.is_current(to, incarnation) && self.take_pending(to, call) {
                    match call {
                        Call::Control(call) => self.input(to, Input::NotTaken(call)),
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
                    self.wait_no_more(client);
                }
            }
            Event::Link(event) => self.follow_link(event),
            Event::Configure { node, list, members } => {
                if list > self.nodes[node].list {
                    self.configure(node, members);
                    self.nodes[node].list = list;
                }
            }
            Event::Flushed { node, incarnation } => {
                if self.is_current(node, incarnation) {
                    self.flushed(node);
                }
            }
            Event::CleanUp { node, incarnation } => {
                if self.is_current(node, incarnation) {
                    self.clean_up(node);
                    self.push(self.clean_up_ms, Event::CleanUp { node, incarnation });
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

    /// The housekeeping of a member, as its server does it.
    fn clean_up(&mut self, node: usize) {
        let Some(process) = &self.nodes[node].process else { return };
        let tick = process.tick(self.now);
        let store = &process.store;
        let datums: Vec<_> = Slot::all().flat_map(|slot| store.in_slot(slot)).collect();
        let cleaned = datums.iter().filter(|datum| store.clean_up(datum, EMPTY_LOOKS, tick));
        let cleaned: Vec<String> = cleaned.map(|datum| datum.tag().to_string()).collect();
        let crowded = datums.iter().filter(|datum| store.is_crowded_slot(datum.slot()));
        crowded.for_each(|datum| store.relieve(datum, tick));
        if !cleaned.is_empty() {
            self.tell(format!("node {node} does not list {cleaned:?} any more"));
            self.input(node, Input::Changed);
        }
    }

    pub(super) fn is_current(&self, node: usize, incarnation: u32) -> bool {
        self.nodes[node].process.is_some() && self.nodes[node].incarnation == incarnation
    }

    pub(super) fn take_pending(&mut self, node: usize, call: Call) -> bool {
        let process = self.nodes[node].process.as_mut();
        process.is_some_and(|process| process.pending.remove(&call))
    }

    pub(super) fn schedule_wake(&mut self, node: usize) {
        let Some(process) = &self.nodes[node].process else { return };
        let at = process.moment(process.distro.poll_timeout());
        let at = at.max(self.now + 1);
        let Node { wakes_at, incarnation, .. } = &mut self.nodes[node];
        if *wakes_at <= self.now || at < *wakes_at {
            *wakes_at = at;
            let incarnation = *incarnation;
            self.push(at - self.now, Event::Wake { node, incarnation });
        }
    }

    /// The law of the loop: one input, then outputs until there are none. While a round of judging
    /// is under way, inputs wait for its end, as the driver does.
    pub(super) fn input(&mut self, node: usize, input: Input<Text>) {
        let now = self.now;
        let Some(process) = self.nodes[node].process.as_mut() else { return };
        if process.round.is_some() {
            process.waiting.push_back(input);
            return;
        }
        let tick = process.tick(now);
        process.distro.handle_input(tick, input);
        self.perform(node);
    }

    /// Carries outputs out, up to one that takes time.
    fn perform(&mut self, node: usize) {
        let mut sends = Vec::new();
        let mut news = Vec::new();
        let mut has_left = false;
        let Some(process) = self.nodes[node].process.as_mut() else { return };
        while let Some(output) = process.distro.poll_output() {
            match output {
                Output::Judge(terms) => {
                    process.round = Some(terms);
                    break;
                }
                Output::Send { call, to, request, as_of, deadline } => {
                    // It may have waited for slices of judging, in which this process was stopped.
                    sends.push((call, to, request, process.moment(as_of), deadline))
                }
                Output::Left => {
                    has_left = true;
                    break;
                }
                other => news.push(format!("{other:?}")),
            }
        }
        if has_left {
            // The process ends.
            self.nodes[node].left = true;
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
        for (call, to, request, sent_at, deadline) in sends {
            let deadline = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX);
            self.send_as_of(sent_at, node, to, Call::Control(call), request, deadline);
        }
        if self.nodes[node].process.as_ref().is_some_and(|process| process.round.is_some()) {
            return self.go_on_judging(node);
        }
        self.schedule_wake(node);
        self.save(node);
    }

    /// The next slice comes when other tasks have had their turn, or when a stop is over.
    fn go_on_judging(&mut self, node: usize) {
        if std::mem::take(&mut self.nodes[node].pauses_in_round) {
            self.pause(node);
        }
        let (incarnation, turn) = (self.nodes[node].incarnation, self.chance.range(0, 2));
        self.push(turn, Event::Slice { node, incarnation });
    }

    fn judge_slice(&mut self, node: usize) {
        let (now, is_one_tick) = (self.now, self.setup.rules.one_tick);
        let Some(process) = self.nodes[node].process.as_mut() else { return };
        let Some(mut terms) = process.round else { return };
        let tick = process.tick(now);
        if !is_one_tick {
            terms.as_of = tick;
        }
        let until = process.distro.poll_timeout();
        if process.store.judge(&terms) && (tick < until || !is_one_tick) {
            return self.go_on_judging(node);
        }
        process.round = None;
        self.perform(node);
        while let Some(process) = self.nodes[node].process.as_mut()
            && process.round.is_none()
            && let Some(input) = process.waiting.pop_front()
        {
            self.input(node, input);
        }
    }

    pub(super) fn send(
        &mut self,
        from: usize,
        to: MemberId,
        call: Call,
        request: Request<Text>,
        deadline_ms: u64,
    ) {
        self.send_as_of(self.now, from, to, call, request, deadline_ms);
    }

    /// Sends what was put together at `sent_at`.
    fn send_as_of(
        &mut self,
        sent_at: u64,
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
        let minor = self.minor(to);
        if matches!(call, Call::Control(_)) && request.needs_minor() > minor {
            // The driver does not send it, once it has greeted the other.
            return self.push(1, Event::NotTaken { to: from, incarnation, call });
        }
        let letter = Letter { sent_at, ..self.letter(to, &request) };
        self.digest.add(self.now, &letter.request);
        for way in self.net.ways(from, to, &mut self.chance) {
            let way = if self.nodes[from].is_old { way.min(LONGEST_OLD_WAY_MS) } else { way };
            let letter = letter.clone();
            self.push(way, Event::Request { from, incarnation, to, call, letter });
        }
    }

    pub(super) fn letter(&self, to: usize, request: &Request<Text>) -> Letter {
        let (sent_at, to_incarnation) = (self.now, self.nodes[to].incarnation);
        Letter { request: self.sealed(request), sent_at, to_incarnation }
    }

    /// How long the receiver takes a message for being on its way.
    fn in_transit(&mut self, from: (usize, u32), to: usize, letter: &Letter) -> Duration {
        let (now, to_incarnation) = (self.now, self.nodes[to].incarnation);
        let Some(process) = self.nodes[to].process.as_ref().filter(|_| !self.nodes[from.0].is_old)
        else {
            return Duration::ZERO;
        };
        let tick = process.tick(now);
        let hello = self.chance.range(1, SLOWEST_HELLO_MS);
        let session = self.sessions.entry((from, (to, to_incarnation))).or_insert_with(|| {
            let granted = (letter.sent_at + hello).max(process.started_at);
            let passage = Passage::begin(process.tick(granted));
            Session { passage, began_at: letter.sent_at }
        });
        let sent_ms = letter.sent_at as i64 - session.began_at as i64;
        session.passage.took(sent_ms, tick)
    }

    /// The minor version of the protocol that a node speaks.
    fn minor(&self, node: usize) -> u32 {
        if self.nodes[node].is_old { 1 } else { distro_net::MINOR }
    }

    /// A message passes as the bytes that it would be between processes.
    pub(super) fn sealed(&self, request: &Request<Text>) -> Bytes {
        self.understood(self.codec.encode_request(request)).into()
    }

    pub(super) fn understood<T>(&self, result: Result<T, CodecError>) -> T {
        result.unwrap_or_else(|error| self.fail(&format!("members do not understand: {error}")))
    }

    fn codec_of(&self, node: usize) -> &Codec<Text> {
        if self.nodes[node].is_early { &self.early_codec } else { &self.codec }
    }

    /// A request as this node reads it, and the places of what it cannot read; `None` if it makes
    /// nothing of it.
    fn read_request(&self, node: usize, request: Bytes) -> Option<(Request<Text>, Vec<RecordId>)> {
        let mut unread = Vec::new();
        let request = self.codec_of(node).decode_request_and_note(request, &mut unread);
        let is_spoilt = self.setup.flaws.reads_all_or_nothing && !unread.is_empty();
        if is_spoilt || self.nodes[node].is_early && request.is_err() {
            return None;
        }
        let unread = unread.into_iter().map(|unread| unread.place).collect();
        Some((self.understood(request), unread))
    }

    /// The same for a reply.
    fn read_reply(&self, node: usize, reply: Bytes) -> Option<Reply<Text>> {
        let mut unread = Vec::new();
        let reply = self.codec_of(node).decode_reply_and_note(reply, &mut unread);
        let is_spoilt = self.setup.flaws.reads_all_or_nothing && !unread.is_empty();
        if is_spoilt || self.nodes[node].is_early && reply.is_err() {
            return None;
        }
        Some(self.understood(reply))
    }

    pub(super) fn take_request(
        &mut self,
        from: usize,
        incarnation: u32,
        to: usize,
        call: Call,
        letter: &Letter,
    ) {
        let now = self.now;
        let is_lost = letter.to_incarnation != self.nodes[to].incarnation
            && now - letter.sent_at > LONGEST_WAIT_MS;
        if is_lost {
            // It was sent in a session with another start, and nobody waits for the answer.
            return;
        }
        let Some((request, unread)) = self.read_request(to, letter.request.clone()) else {
            return self.push(1, Event::NotTaken { to: from, incarnation, call });
        };
        self.comparisons += u64::from(matches!(request, Request::Compare(_)));
        let in_transit = self.in_transit((from, incarnation), to, letter);
        let ways = self.net.ways(to, from, &mut self.chance);
        let is_old = self.nodes[from].is_old || self.nodes[to].is_old;
        let minor = self.minor(from);
        let sender = Sender { member: self.nodes[from].id, incarnation, minor };
        let Some(process) = &mut self.nodes[to].process else {
            for way in ways {
                self.push(way, Event::Refused { to: from, incarnation, call });
            }
            return;
        };
        let tick = process.tick(now);
        let is_hold = matches!(request, Request::Persist(_));
        let request = if is_old { without_lists(request) } else { request };
        let mut reply = process.answer.answer(sender, request, in_transit, tick);
        if is_old {
            reply = reply_without_lists(reply);
        }
        if !unread.is_empty() && matches!(reply, Reply::Done) {
            reply = Reply::DoneBut(unread);
        }
        if is_hold && matches!(reply, Reply::Done | Reply::DoneBut(_)) {
            self.hold_for(to, Waiter::Member { to: from, incarnation, call });
            return self.input(to, Input::Changed);
        }
        let reply = Bytes::from(self.understood(self.codec.encode_reply(&reply)));
        self.digest.add(now, &reply);
        for way in ways {
            let reply = reply.clone();
            self.push(way, Event::Reply { to: from, incarnation, call, reply });
        }
        // The driver is woken by the watcher of the store.
        self.input(to, Input::Changed);
    }

    pub(super) fn serve(&mut self, node: usize, client: usize, attempt: u64, ask: Ask) {
        let now = self.now;
        let rules = self.setup.rules;
        let place = (self.clients[client].tag.clone(), self.clients[client].key.clone());
        let Some(process) = self.nodes[node].process.as_mut() else {
            self.push(1, Event::Told { client, attempt, told: Told::Busy, by: node });
            return;
        };
        let tick = process.tick(now);
        let waits = self.clients[client].call.as_ref().is_some_and(|call| call.number == attempt);
        let is_late = rules.late_calls && process.may_be_late(tick) && !waits;
        let progress = match is_late {
            true => Progress::Told(client, attempt, Told::Busy),
            false => process.handle(client, attempt, (&place.0, &place.1), ask, tick, &rules),
        };
        self.operated(client, ask);
        self.follow(node, progress);
    }

    pub(super) fn resume_task(&mut self, node: usize, task: u64, reply: Option<Reply<Text>>) {
        let now = self.now;
        let Some(process) = self.nodes[node].process.as_mut() else { return };
        if let Some(write) = process.asked_to_hold.remove(&task) {
            if let Some(Reply::Done) = reply {
                self.held(node, write);
            }
            return;
        }
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

    pub(super) fn follow(&mut self, node: usize, progress: Progress) {
        match progress {
            Progress::Told(client, attempt, told) => {
                if told == Told::Done {
                    self.clients[client].last_heard = self.now;
                    if self.clients[client].life == Life::Alive {
                        self.nodes[node].heard.insert(client, self.now);
                    }
                }
                let way = self.chance.range(1, 4);
                self.push(way, Event::Told { client, attempt, told, by: node });
            }
            Progress::Hold(client, attempt) => self.hold(node, client, attempt),
            Progress::Published(attempt, ask, stamp) => {
                self.published(node, attempt, ask, stamp);
            }
            Progress::Send(task, to, request, deadline) => {
                let deadline = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX);
                self.send(node, to, Call::Handler(task), request, deadline);
            }
        }
        self.input(node, Input::Changed);
    }
}

/// As a member of an earlier release asks, which does not compare what is listed.
fn without_lists(request: Request<Text>) -> Request<Text> {
    match request {
        Request::Verify { root, .. } => Request::Verify { root, open: None },
        other => other,
    }
}

/// As it answers.
fn reply_without_lists(reply: Reply<Text>) -> Reply<Text> {
    match reply {
        Reply::Tags { slots, sums } => {
            let sums = sums.into_iter().map(|sum| TagSum { is_open: None, ..sum }).collect();
            Reply::Tags { slots, sums }
        }
        other => other,
    }
}
