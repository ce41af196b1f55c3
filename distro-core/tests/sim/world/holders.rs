//! Connections of clients, as the members use them that hold them.

use distro_core::{Action, ConnectionId, End, Input, Stamp};

use super::World;
use super::links::{Hears, Link, LinkEvent, Said};
use super::machinery::Event;
use crate::client::Life;
use crate::node::{Ask, Progress, Text, Told};

/// How often a member looks at its connections.
const LOOK_MS: u64 = 100;
/// Clients that are sent away have so long to go by themselves.
const GO_WITHIN_MS: u64 = 3_000;

fn id_of(link: usize) -> ConnectionId {
    ConnectionId(link as u64)
}

fn link_of(id: ConnectionId) -> usize {
    id.0 as usize
}

impl World {
    pub(super) fn follow_link(&mut self, event: LinkEvent) {
        match event {
            LinkEvent::Said { link, number, said, .. } => self.serve_link(link, number, said),
            LinkEvent::Heard { link, heard } => self.hear(link, heard),
            LinkEvent::Ended { node, link } => self.cut_link(node, link),
            LinkEvent::Look { node, incarnation } => {
                if self.is_current(node, incarnation) {
                    self.look_at_links(node);
                    self.push(LOOK_MS, Event::Link(LinkEvent::Look { node, incarnation }));
                }
            }
        }
    }

    /// What a member says; nothing if the connection carries nothing.
    fn reply(&mut self, link: usize, heard: Hears) {
        let way = self.chance.range(1, 5);
        if !self.links[link].is_severed {
            self.push(way, Event::Link(LinkEvent::Heard { link, heard }));
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
        let (tick, status) = (process.tick(now), process.distro.shared_status().clone());
        if said != Said::SetUp {
            process.connections.heard(id_of(link), tick);
        }
        let is_late = rules.late_calls && process.may_be_late(tick) && has_hung_up;
        match said {
            Said::SetUp if status.may_read(tick) => {
                process.connections.begin(id_of(link), client as u64, tick);
                status.note_arrival(client as u64, tick);
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
            Said::Withdraw if !status.may_write(tick) => {
                self.reply(link, Hears::Answer(number, Told::Busy));
            }
            Said::Withdraw => {
                for (key, stamp) in process.connections.retain(id_of(link), &tag, |_| false) {
                    process.store.retract(&tag, &key, stamp, tick);
                }
                self.reply(link, Hears::Answer(number, Told::Done));
                self.input(node, Input::Changed);
            }
            Said::Ping => self.reply(link, Hears::Answer(number, Told::Done)),
            Said::Hangup => {
                self.links[link].is_open_at_node = false;
                // If the connection that holds its instance ends unseen, that is as if it fell silent.
                let published = self.clients[client].published;
                let is_seen =
                    published.is_none_or(|held| held == link || !self.links[held].is_open_at_node);
                if is_seen && matches!(self.clients[client].life, Life::Dead(_)) {
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
        let status = process.distro.shared_status().clone();
        let actions = process.connections.tick(&process.store, &status, tick);
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
        self.input(node, Input::Changed);
    }

    fn note_heard(&mut self, node: usize, client: usize) {
        let state = &mut self.clients[client];
        state.last_heard = self.now;
        // Whoever holds a connection that its client does not use any more cannot know that it lives.
        let is_used = |link: usize| self.links[link].node == node && !self.links[link].is_severed;
        if state.life == Life::Alive && state.link.is_some_and(is_used) {
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
            Action::SendAway(connection) => {
                let link = link_of(connection);
                self.tell(format!("node {node} sends connection {link} away"));
                self.reply(link, Hears::GoElsewhere);
                // Some clients do not know how.
                let heard = Hears::Hangup;
                self.push(GO_WITHIN_MS, Event::Link(LinkEvent::Heard { link, heard }));
                self.push(GO_WITHIN_MS, Event::Link(LinkEvent::Ended { node, link }));
            }
            Action::Close(connection) => {
                let link = link_of(connection);
                self.links[link].is_open_at_node = false;
                self.tell(format!("node {node} gives connection {link} up"));
                self.reply(link, Hears::Hangup);
            }
            Action::Beat { .. } | Action::Reclaim { .. } => self.fail("nothing is foreign"),
        }
    }

    /// A member closes the connection of a client that it has sent away.
    fn cut_link(&mut self, node: usize, link: usize) {
        let (now, incarnation) = (self.now, self.links[link].incarnation);
        if !self.is_current(node, incarnation) {
            return;
        }
        self.links[link].is_open_at_node = false;
        if let Some(process) = self.nodes[node].process.as_mut() {
            let tick = process.tick(now);
            process.connections.end(id_of(link), End::Lost, tick);
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
