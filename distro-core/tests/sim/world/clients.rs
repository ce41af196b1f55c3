//! What clients do and are told.

use super::World;
use super::machinery::Event;
use crate::client::{Attempt, Life};
use crate::node::{Ask, Told};

const BEAT_MS: u64 = 5_000;
/// How long a client waits for a member.
const CLIENT_DEADLINE_MS: u64 = 3_000;

impl World {
    pub(super) fn wake_client(&mut self, client: usize, after_ms: u64) {
        self.clients[client].wakes_at = self.now + after_ms;
        self.push(after_ms, Event::ClientWakes { client });
    }

    pub(super) fn act(&mut self, client: usize) {
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

    pub(super) fn try_next(&mut self, client: usize) {
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

    pub(super) fn told(&mut self, client: usize, attempt: u64, told: Told, by: usize) {
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
}
