//! Connections of clients, as clients use them: how they are set up, what passes over them, and how
//! they end.

use super::World;
use super::clients::{CLIENT_DEADLINE_MS, CLOSING_MS};
use super::machinery::Event;
use crate::client::{Attempt, Client, Life};
use crate::node::{Ask, Told};

/// How often a client says something, whatever there is to say.
const PING_MS: u64 = 5_000;
/// How often a client looks whether it has to register again what it registered over an earlier
/// connection.
const REDO_MS: u64 = 3_000;
/// From the setup of a connection until nothing is left of the one before.
const MOVING_MS: u64 = 6_000;

/// A connection of a client to one start of a member. Each end of it may be closed while the other
/// does not know.
pub(crate) struct Link {
    pub(crate) client: usize,
    pub(crate) node: usize,
    pub(super) incarnation: u32,
    pub(super) is_open_at_client: bool,
    pub(super) is_open_at_node: bool,
    /// Nothing passes any more, and neither end is told.
    pub(super) is_severed: bool,
    /// What is said arrives in the order in which it was said.
    last_arrival: u64,
}

/// What happens to connections.
pub(super) enum LinkEvent {
    Said {
        node: usize,
        link: usize,
        number: u64,
        said: Said,
    },
    Heard {
        link: usize,
        heard: Hears,
    },
    /// The member closes it.
    Ended {
        node: usize,
        link: usize,
    },
    Look {
        node: usize,
        incarnation: u32,
    },
}

/// What a client says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    SetUp,
    Publish(u32),
    Withdraw,
    Ping,
    Hangup,
}

/// What a client hears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hears {
    Answer(u64, Told),
    AreYouThere,
    GoElsewhere,
    Hangup,
}

impl LinkEvent {
    /// The member that it happens to.
    pub(super) fn node(&self) -> Option<usize> {
        match self {
            Self::Said { node, .. } | Self::Ended { node, .. } | Self::Look { node, .. } => {
                Some(*node)
            }
            Self::Heard { .. } => None,
        }
    }
}

impl World {
    // What a story can do.

    /// A client and its member do not reach each other any more, and neither end knows.
    pub(crate) fn sever(&mut self, client: usize) {
        if let Some(link) = self.clients[client].link {
            self.links[link].is_severed = true;
            self.clients[client].steady_since = None;
            self.tell(format!("client {client} does not reach {}", self.links[link].node));
        }
    }

    /// A client dies, and nobody is told.
    pub(crate) fn vanish(&mut self, client: usize) {
        self.sever(client);
        self.die(client);
        self.clients[client].hung_up = None;
    }

    /// A client turns to another member, although nothing is wrong. One whose member can be told by
    /// all others is missing nowhere.
    pub(crate) fn change_servers(&mut self, client: usize) {
        if let Some(link) = self.clients[client].link
            && self.clients[client].call.is_none()
        {
            self.tell(format!("client {client} leaves {}", self.links[link].node));
            self.go_elsewhere(client, link);
        }
    }

    /// The member that holds the connection of a client.
    pub(crate) fn holder(&self, client: usize) -> Option<usize> {
        let published = self.clients[client].published?;
        (self.clients[client].link == Some(published)).then(|| self.links[published].node)
    }

    /// Clients that change servers while something is wrong may be missing.
    pub(super) fn spoil_moves(&mut self) {
        let now = self.now;
        let moving = |client: &&mut Client| client.is_linked && client.linked_at + MOVING_MS > now;
        self.clients.iter_mut().filter(moving).for_each(|client| client.steady_since = None);
    }

    // What clients do.

    pub(super) fn act_linked(&mut self, client: usize) {
        let state = &self.clients[client];
        let is_published = state.published.is_some() && state.published == state.link;
        let said = match (state.life, state.link) {
            (Life::Leaving, _) if !is_published => {
                // Nobody is left to be told; the last connection ends by itself.
                self.clients[client].life = Life::Dead(self.now);
                self.tell(format!("client {client} has nobody to tell that it leaves"));
                return self.hang_up(client);
            }
            (Life::Leaving, _) => Said::Withdraw,
            (Life::Alive, None) => return self.connect(client, None),
            (Life::Alive, _) if !is_published || state.acked < state.version => {
                Said::Publish(state.version)
            }
            (Life::Alive | Life::Gone(_), Some(_)) => Said::Ping,
            _ => return,
        };
        self.say_and_wait(client, said);
    }

    fn connect(&mut self, client: usize, but: Option<usize>) {
        let state = &self.clients[client];
        let takes = |node: &usize| !self.nodes[*node].is_old;
        let open: Vec<usize> = self.members.iter().copied().filter(takes).collect();
        let reached = open.iter().filter(|node| state.reach.contains(node)).copied();
        let mut left: Vec<usize> = reached.collect();
        if left.is_empty() {
            // None of its members is left, as for clients that beat.
            left = open;
        }
        left.retain(|node| Some(*node) != but);
        let order = self.chance.shuffled(left.len());
        let left = order.into_iter().map(|at| left[at]).collect();
        let ask = Ask::Connect;
        self.clients[client].call = Some(Attempt { ask, number: 0, began: self.now, left });
        self.connect_next(client);
    }

    pub(super) fn connect_next(&mut self, client: usize) {
        let state = &mut self.clients[client];
        state.next_attempt += 1;
        let number = state.next_attempt;
        let Some(call) = state.call.as_mut() else { return };
        call.number = number;
        let Some(node) = call.left.pop() else {
            state.call = None;
            state.steady_since = None;
            return self.wake_client(client, 1_000);
        };
        let link = self.links.len();
        (state.link, state.linked_at) = (Some(link), self.now);
        self.links.push(Link {
            client,
            node,
            incarnation: self.nodes[node].incarnation,
            is_open_at_client: true,
            is_open_at_node: true,
            is_severed: false,
            last_arrival: 0,
        });
        self.say(link, number, Said::SetUp);
        self.push(CLIENT_DEADLINE_MS, Event::ClientDeadline { client, attempt: number });
    }

    fn say_and_wait(&mut self, client: usize, said: Said) {
        let state = &mut self.clients[client];
        let Some(link) = state.link else { return };
        state.next_attempt += 1;
        let number = state.next_attempt;
        let ask = match said {
            Said::Publish(version) => Ask::Publish(link, version),
            Said::Withdraw => Ask::Deregister,
            _ => Ask::Beat(None),
        };
        state.call = Some(Attempt { ask, number, began: self.now, left: Vec::new() });
        self.say(link, number, said);
        self.push(CLIENT_DEADLINE_MS, Event::ClientDeadline { client, attempt: number });
    }

    fn say(&mut self, link: usize, number: u64, said: Said) {
        let way = self.chance.range(1, 5);
        let state = &mut self.links[link];
        if state.is_severed {
            return;
        }
        state.last_arrival = state.last_arrival.max(self.now + way);
        let (after, node) = (state.last_arrival - self.now, state.node);
        self.push(after, Event::Link(LinkEvent::Said { node, link, number, said }));
    }

    /// A client is not answered in time, or told to go on: its connection is of no use.
    pub(super) fn wait_no_more(&mut self, client: usize) {
        if !self.clients[client].is_linked {
            return self.try_next(client);
        }
        self.clients[client].steady_since = None;
        self.close(client);
        match &self.clients[client].call {
            Some(call) if call.ask == Ask::Connect => self.connect_next(client),
            _ => {
                self.clients[client].call = None;
                self.act_linked(client);
            }
        }
    }

    /// The client closes its connection.
    fn close(&mut self, client: usize) {
        if let Some(link) = self.clients[client].link.take() {
            self.links[link].is_open_at_client = false;
            self.say(link, 0, Said::Hangup);
        }
    }

    /// The process of a client ends.
    pub(super) fn hang_up(&mut self, client: usize) {
        if self.clients[client].is_linked {
            self.clients[client].hung_up = None;
            self.close(client);
        }
    }

    /// A new connection is set up before the old one is closed.
    fn go_elsewhere(&mut self, client: usize, from: usize) {
        let is_calm = self.net.is_calm() && self.now > self.disturbed_at + 10_000;
        if !is_calm {
            self.clients[client].steady_since = None;
        }
        self.connect(client, Some(self.links[from].node));
        self.links[from].is_open_at_client = false;
        // While it is set up.
        self.say(from, 0, Said::Hangup);
    }

    pub(super) fn hear(&mut self, link: usize, heard: Hears) {
        let client = self.links[link].client;
        let (is_dead, is_its) = (
            matches!(self.clients[client].life, Life::Dead(_)),
            self.clients[client].link == Some(link),
        );
        if !self.links[link].is_open_at_client || is_dead {
            return;
        }
        match heard {
            Hears::Answer(number, told) => self.told_linked(client, number, told),
            Hears::AreYouThere => self.say(link, 0, Said::Ping),
            Hears::GoElsewhere if is_its && self.clients[client].call.is_none() => {
                self.go_elsewhere(client, link);
            }
            Hears::GoElsewhere => {}
            Hears::Hangup => {
                self.links[link].is_open_at_client = false;
                if is_its {
                    self.clients[client].link = None;
                    self.wait_no_more(client);
                }
            }
        }
    }

    pub(super) fn told_linked(&mut self, client: usize, attempt: u64, told: Told) {
        let now = self.now;
        let state = &mut self.clients[client];
        let Some(call) = state.call.as_ref().filter(|call| call.number == attempt) else { return };
        let (ask, began) = (call.ask, call.began);
        if told == Told::Busy {
            if ask == Ask::Connect {
                return self.wait_no_more(client);
            }
            state.call = None;
            return self.wake_client(client, 1_000);
        }
        state.call = None;
        state.last_contact = now;
        match ask {
            Ask::Publish(link, version) => {
                state.acked = version;
                state.acked_at = now;
                state.acked_by = self.links[link].node;
                state.is_lost = false;
                state.published = Some(link);
                state.steady_since = state.steady_since.or(Some(now));
                state.closed_at = state.closed_at.filter(|at| began <= at + CLOSING_MS);
                let node = self.links[link].node;
                self.tell(format!("client {client} has published {version} by {node}"));
                self.wake_client(client, PING_MS);
            }
            Ask::Deregister => {
                state.life = Life::Gone(now);
                state.published = None;
                self.tell(format!("client {client} has withdrawn"));
                self.wake_client(client, PING_MS);
            }
            Ask::Connect => {
                let redo = if state.acked > 0 { self.chance.range(0, REDO_MS) } else { 0 };
                self.wake_client(client, redo);
            }
            _ => {
                let is_published = state.published == state.link && state.acked == state.version;
                state.steady_since = state.steady_since.or_else(|| is_published.then_some(now));
                self.wake_client(client, PING_MS);
            }
        }
    }
}
