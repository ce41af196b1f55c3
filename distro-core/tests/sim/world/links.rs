//! Connections of clients: how they are set up, what passes over them, and how they end.

use distro_core::{Action, ConnectionId, End, Stamp};

use super::World;
use super::clients::{CLIENT_DEADLINE_MS, CLOSING_MS};
use super::machinery::Event;
use crate::client::{Attempt, Life};
use crate::node::{Ask, Progress, Text, Told};

/// How often a client says something, whatever there is to say.
const PING_MS: u64 = 5_000;
/// How often a client looks whether it has to register again what it registered over an earlier
/// connection.
const REDO_MS: u64 = 3_000;
/// How often a member looks at its connections.
const LOOK_MS: u64 = 100;

/// A connection of a client to one start of a member. Each end of it may be closed while the other
/// does not know.
pub(crate) struct Link {
    pub(crate) client: usize,
    pub(crate) node: usize,
    incarnation: u32,
    is_open_at_client: bool,
    is_open_at_node: bool,
    /// Nothing passes any more, and neither end is told.
    is_severed: bool,
    /// What is said arrives in the order in which it was said.
    last_arrival: u64,
}

/// What happens to connections.
pub(super) enum Line {
    Said { node: usize, link: usize, number: u64, said: Said },
    Heard { link: usize, heard: Hears },
    Look { node: usize, incarnation: u32 },
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

impl Line {
    /// The member that it happens to.
    pub(super) fn node(&self) -> Option<usize> {
        match self {
            Self::Said { node, .. } | Self::Look { node, .. } => Some(*node),
            Self::Heard { .. } => None,
        }
    }
}

fn id_of(link: usize) -> ConnectionId {
    ConnectionId(link as u64)
}

fn link_of(id: ConnectionId) -> usize {
    id.0 as usize
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
        let is_open = |node: &usize| {
            !self.nodes[*node].is_old && (state.reach.is_empty() || state.reach.contains(node))
        };
        let mut left: Vec<usize> = self.members.iter().copied().filter(is_open).collect();
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
        self.push(after, Event::Line(Line::Said { node, link, number, said }));
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

    fn hear(&mut self, link: usize, heard: Hears) {
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
            _ => self.wake_client(client, PING_MS),
        }
    }

    // What members do.

    pub(super) fn follow_line(&mut self, line: Line) {
        match line {
            Line::Said { link, number, said, .. } => self.serve_link(link, number, said),
            Line::Heard { link, heard } => self.hear(link, heard),
            Line::Look { node, incarnation } => {
                if self.is_current(node, incarnation) {
                    self.look_at_links(node);
                    self.push(LOOK_MS, Event::Line(Line::Look { node, incarnation }));
                }
            }
        }
    }

    /// What a member says; nothing if the connection carries nothing.
    fn reply(&mut self, link: usize, heard: Hears) {
        let way = self.chance.range(1, 5);
        if !self.links[link].is_severed {
            self.push(way, Event::Line(Line::Heard { link, heard }));
        }
    }

    fn serve_link(&mut self, link: usize, number: u64, said: Said) {
        let (now, rules) = (self.now, self.setup.rules);
        let Link { client, node, incarnation, is_open_at_node, .. } = self.links[link];
        if !self.is_current(node, incarnation) || !is_open_at_node {
            if said != Said::Hangup {
                self.reply(link, Hears::Hangup);
            }
            return;
        }
        let (tag, key) = (self.clients[client].tag.clone(), self.clients[client].key.clone());
        let has_hung_up = !self.links[link].is_open_at_client;
        let Some(process) = self.nodes[node].process.as_mut() else { return };
        let (tick, board) = (process.tick(now), process.distro.board().clone());
        if said != Said::SetUp {
            process.connections.heard(id_of(link), tick);
        }
        let is_late = rules.late_calls && process.may_be_late(tick) && has_hung_up;
        match said {
            Said::SetUp if board.may_read(tick) => {
                process.connections.begin(id_of(link), client as u64, tick);
                board.note_arrival(client as u64, tick);
                self.reply(link, Hears::Answer(number, Told::Done));
            }
            Said::SetUp => {
                self.links[link].is_open_at_node = false;
                self.reply(link, Hears::Answer(number, Told::Busy));
            }
            Said::Publish(_) | Said::Withdraw if is_late => {}
            Said::Publish(version) => {
                let ask = Ask::Publish(link, version);
                let progress = process.publish(client, number, (&tag, &key), ask, tick);
                if let Progress::Told(..) = progress {
                    return self.reply(link, Hears::Answer(number, Told::Busy));
                }
                self.follow(node, progress);
            }
            Said::Withdraw if !board.may_write(tick) => {
                self.reply(link, Hears::Answer(number, Told::Busy));
            }
            Said::Withdraw => {
                for (key, stamp) in process.connections.retain(id_of(link), &tag, |_| false) {
                    process.store.retract(&tag, &key, stamp, tick);
                }
                self.reply(link, Hears::Answer(number, Told::Done));
                self.input(node, distro_core::Input::Changed);
            }
            Said::Ping => self.reply(link, Hears::Answer(number, Told::Done)),
            Said::Hangup => {
                self.links[link].is_open_at_node = false;
                if matches!(self.clients[client].life, Life::Dead(_)) {
                    self.clients[client].hung_up = Some(now);
                }
                process.connections.end(id_of(link), End::Lost, tick);
            }
        }
    }

    /// A registration over a connection is done.
    pub(super) fn published(&mut self, node: usize, attempt: u64, ask: Ask, stamp: Option<Stamp>) {
        let (Ask::Publish(link, version) | Ask::PublishAnew(link, version)) = ask else { return };
        let client = self.links[link].client;
        let place =
            (self.clients[client].tag.as_str().into(), self.clients[client].key.as_str().into());
        let Some(process) = self.nodes[node].process.as_mut() else { return };
        let connections = &mut process.connections;
        let over = match (ask, stamp) {
            (Ask::Publish(..), stamp) => {
                let value = Text::instance(version);
                connections.registered(id_of(link), place, value, stamp.unwrap_or(Stamp::NEVER))
            }
            (_, Some(stamp)) => connections.registered_anew(id_of(link), place, stamp),
            (_, None) => None,
        };
        self.note_heard(node, client);
        if let Some(action) = over {
            self.perform_action(node, action);
        }
        if let Ask::Publish(..) = ask {
            self.reply(link, Hears::Answer(attempt, Told::Done));
        }
    }

    fn look_at_links(&mut self, node: usize) {
        let now = self.now;
        let Some(process) = self.nodes[node].process.as_mut() else { return };
        if process.connections.is_empty() {
            return;
        }
        let tick = process.tick(now);
        let board = process.distro.board().clone();
        let actions = process.connections.tick(&process.store, &board, tick);
        let store = std::sync::Arc::clone(&process.store);
        let is_heard = |tag: &str, key: &str| {
            let last = store.find(tag)?.read(|reader| {
                reader.find_visible(key)?;
                reader.last_heard(key)
            });
            (last == Some(tick)).then_some(())
        };
        let clients = self.clients.iter().enumerate().filter(|(_, client)| client.is_linked);
        let heard: Vec<usize> = clients
            .filter(|(_, client)| is_heard(&client.tag, &client.key).is_some())
            .map(|(n, _)| n)
            .collect();
        heard.into_iter().for_each(|client| self.note_heard(node, client));
        for action in actions {
            self.perform_action(node, action);
        }
        self.input(node, distro_core::Input::Changed);
    }

    fn note_heard(&mut self, node: usize, client: usize) {
        self.clients[client].last_heard = self.now;
        if self.clients[client].life == Life::Alive {
            self.nodes[node].heard.insert(client, self.now);
        }
    }

    fn perform_action(&mut self, node: usize, action: Action<Text>) {
        let now = self.now;
        let Some(process) = self.nodes[node].process.as_mut() else { return };
        let tick = process.tick(now);
        match action {
            Action::Lapse { tag, key, registration } => {
                let is_over = process.store.lapse(&tag, &key, registration, tick);
                self.tell(format!("node {node}: {tag}/{key} lapses: {is_over}"));
            }
            Action::Register { connection, tag, key, value } => {
                let link = link_of(connection);
                let ask = Ask::PublishAnew(link, value.number);
                let client = self.links[link].client;
                let progress = process.publish(client, 0, (&tag, &key), ask, tick);
                self.tell(format!("node {node} registers client {client} anew"));
                if !matches!(progress, Progress::Told(..)) {
                    self.follow(node, progress);
                }
            }
            Action::Ask(connection) => self.reply(link_of(connection), Hears::AreYouThere),
            Action::Close(connection) => {
                let link = link_of(connection);
                self.links[link].is_open_at_node = false;
                self.tell(format!("node {node} gives connection {link} up"));
                self.reply(link, Hears::Hangup);
            }
            Action::Beat { .. } => self.fail("nothing is foreign"),
        }
    }

    /// The process of a member has ended: its clients are told, if they can be.
    pub(super) fn end_links_of(&mut self, node: usize) {
        let is_open = |link: &Link| link.node == node && link.is_open_at_client;
        let open: Vec<usize> =
            (0..self.links.len()).filter(|link| is_open(&self.links[*link])).collect();
        for link in open {
            self.reply(link, Hears::Hangup);
        }
    }

    /// A member that leaves has its clients go to others.
    pub(super) fn send_away(&mut self, node: usize) {
        let now = self.now;
        let incarnation = self.nodes[node].incarnation;
        let Some(process) = self.nodes[node].process.as_mut() else { return };
        let tick = process.tick(now);
        let mut told = Vec::new();
        for (n, link) in self.links.iter().enumerate() {
            if link.node == node && link.incarnation == incarnation {
                process.connections.end(id_of(n), End::SentAway, tick);
                told.push(n);
            }
        }
        told.into_iter().for_each(|link| self.reply(link, Hears::GoElsewhere));
    }
}
