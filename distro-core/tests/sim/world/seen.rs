//! What a story can see of the world.

use std::borrow::Cow;

use distro_core::{Health, Phase, Record};

use super::World;
use crate::node::{Process, Text};

impl World {
    pub(crate) fn view(&self, node: usize, client: usize) -> Option<(u32, Health)> {
        let client = &self.clients[client];
        self.nodes[node].process.as_ref()?.view(&client.tag, &client.key)
    }

    /// The record of an instance on a member, visible or not.
    pub(crate) fn record(&self, node: usize, client: usize) -> Option<Record<Text>> {
        let client = &self.clients[client];
        let datum = self.nodes[node].process.as_ref()?.store.find(&client.tag)?;
        datum.read(|reader| reader.find(&client.key).map(Cow::into_owned))
    }

    /// Whether a member remembers that the last registration of an instance was ended.
    pub(crate) fn has_tombstone(&self, node: usize, client: usize) -> bool {
        let registrations = (0..self.nodes.len()).filter_map(|n| self.record(n, client));
        let last = registrations.map(|record| record.registration).max();
        self.record(node, client).is_some_and(|record| Some(record.deregistered) > last)
    }

    /// How much longer it takes to agree where removals had to be forgotten early.
    pub(crate) fn grace_ms(&self) -> u64 {
        if self.is_short_of_memory { 38_000 } else { 0 }
    }

    /// When an instance was last heard that any member might remember: an operator's word counts as
    /// well, and who ran at no time since may not have heard it.
    pub(crate) fn silent_since(&self, client: usize) -> u64 {
        let running = self.nodes.iter().filter(|node| node.process.is_some());
        let all_new_since = running.map(|node| node.runs_since).min().unwrap_or(0);
        let client = &self.clients[client];
        client.last_heard.max(client.judged_at).max(all_new_since)
    }

    pub(crate) fn is_running(&self, node: usize) -> bool {
        self.nodes[node].process.is_some() && !self.nodes[node].is_paused
    }

    pub(crate) fn is_leaving(&self, node: usize) -> bool {
        let process = self.nodes[node].process.as_ref();
        process.is_some_and(|process| process.distro.phase() == Phase::Leaving)
    }

    pub(crate) fn is_ready(&self, node: usize) -> bool {
        let is_ready = |p: &Process| p.distro.shared_status().may_read(p.tick(self.now));
        self.is_running(node) && self.nodes[node].process.as_ref().is_some_and(is_ready)
    }

    /// Whether two members reach each other and count each other as members.
    pub(crate) fn are_connected(&self, a: usize, b: usize) -> bool {
        let knows = |a: usize, b: usize| a == b || self.nodes[a].members.contains(&b);
        self.net.is_open(a, b) && knows(a, b) && knows(b, a)
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
        let id = self.nodes[node].process.as_ref()?.store.owner(tag)?;
        self.nodes.iter().position(|node| node.id == id)
    }

    /// A tag whose slot this member owns in the view of `viewer`.
    pub(crate) fn tag_owned_by(&self, owner: usize, viewer: usize) -> String {
        let mut tags = (0..).map(|n| format!("tag-{n}"));
        tags.find(|tag| self.owner(viewer, tag) == Some(owner)).expect("there are tags for all")
    }
}
