//! What clients do and are told.

use super::machinery::Event;
use super::{WRITE_DELAY_MS, World};
use crate::client::{Attempt, Life};
use crate::node::{Ask, Told};

const BEAT_MS: u64 = 5_000;
/// From the call of an operator to the stamp of what it does, clocks being off included.
pub(super) const CLOSING_MS: u64 = 2_000;
/// How long a client waits for a member.
pub(super) const CLIENT_DEADLINE_MS: u64 = 3_000;

impl World {
    pub(super) fn wake_client(&mut self, client: usize, after_ms: u64) {
        self.clients[client].wakes_at = self.now + after_ms;
        self.push(after_ms, Event::ClientWakes { client });
    }

    pub(super) fn act(&mut self, client: usize) {
        if self.clients[client].is_linked {
            return self.act_linked(client);
        }
        self.decide(client);
        let Some(ask) = self.clients[client].next_ask() else { return };
        let reach = &self.clients[client].reach;
        let reached = reach.iter().filter(|node| self.members.contains(node)).copied();
        let mut candidates: Vec<usize> = reached.collect();
        if candidates.is_empty() {
            candidates = self.members.iter().copied().collect();
        }
        let order = self.chance.shuffled(candidates.len());
        let left = order.into_iter().map(|at| candidates[at]).collect();
        let number = self.clients[client].next_attempt;
        self.clients[client].call = Some(Attempt { ask, number, began: self.now, left });
        self.try_next(client);
    }

    /// Somebody who keeps a durable record decides what to do to it next.
    fn decide(&mut self, client: usize) {
        let state = &mut self.clients[client];
        if state.life == Life::Keeping && state.acked == state.version {
            let is_first = state.version == 0;
            state.version += 1;
            state.erases.push(self.chance.permille(350) && !is_first);
        }
    }

    pub(super) fn try_next(&mut self, client: usize) {
        let state = &mut self.clients[client];
        state.next_attempt += 1;
        let number = state.next_attempt;
        if state.is_linked {
            return self.connect_next(client);
        }
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

    pub(super) fn told(&mut self, client: usize, attempt: u64, told: Told, by: usize) {
        let now = self.now;
        let state = &mut self.clients[client];
        if state.is_linked {
            return self.told_linked(client, attempt, told);
        }
        let Some(call) = state.call.as_ref().filter(|call| call.number == attempt) else { return };
        let (ask, began) = (call.ask, call.began);
        if told == Told::Busy {
            self.try_next(client);
            return;
        }
        state.call = None;
        if now > state.last_contact + 12_000 {
            state.steady_since = None;
        }
        state.last_contact = now;
        if state.closed_at.is_some_and(|at| began > at + CLOSING_MS) {
            // What it wrote since is newer than the closing.
            state.closed_at = state.closed_at.filter(|_| !matches!(ask, Ask::Register(_)));
        }
        match (ask, told) {
            (Ask::Count(_), Told::Counted(number)) => {
                let (tag, disturbed_at) = (&self.clients[client].tag, self.disturbed_at);
                self.invariants.counts.counted(tag, number, began, disturbed_at, now);
                let wait = self.chance.range(50, 1_500);
                return self.wake_client(client, wait);
            }
            (Ask::Save(number) | Ask::Erase(number), _) => {
                state.acked = number;
                state.acked_at = now;
                state.acked_by = by;
                self.tell(format!("client {client}: {by} has done {ask:?}"));
                // A write that is lost is seen only while no other has followed.
                let longest = if self.chance.permille(500) { 2_000 } else { 90_000 };
                let wait = self.chance.range(WRITE_DELAY_MS, longest);
                return self.wake_client(client, wait);
            }
            (Ask::Connect | Ask::Publish(..) | Ask::PublishAnew(..), _) => {}
            (Ask::Count(_) | Ask::Judge(_) | Ask::Close, _) => {}
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

    /// An operator does something to the service or the instance of a client, by one member.
    pub(crate) fn operate(&mut self, client: usize, node: usize, ask: Ask) {
        self.tell(format!("an operator asks {node} for {ask:?} of client {client}"));
        self.ask(client, node, ask);
    }

    /// The call of an operator has reached a member.
    pub(super) fn operated(&mut self, client: usize, ask: Ask) {
        let now = self.now;
        match ask {
            Ask::Judge(_) => {
                let state = &mut self.clients[client];
                state.judged_at = now;
                state.steady_since = state.steady_since.map(|_| now);
            }
            Ask::Close => {
                let tag = self.clients[client].tag.clone();
                self.invariants.counts.closed(&tag, now);
                for state in self.clients.iter_mut().filter(|client| client.tag == tag) {
                    state.closed_at = Some(now);
                }
            }
            _ => {}
        }
    }
}
