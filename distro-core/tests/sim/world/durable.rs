//! How durable writes come to disks.

use bytes::Bytes;
use distro_core::{Entry, Reply, Request};

use super::machinery::Event;
use super::{Node, World};
use crate::disk::Waiter;
use crate::node::{Acks, Call, Holding, Told};

/// How long a member is waited for that was asked to hold something.
const HOLD_DEADLINE_MS: u64 = 2_000;

impl World {
    /// A flush begins if there is something to flush.
    pub(super) fn save(&mut self, node: usize) {
        let keeps_removals = !self.setup.flaws.forgets_removals;
        let took = self.chance.range(1, self.slowest_flush_ms + 1);
        let Some(process) = &mut self.nodes[node].process else { return };
        if process.saver.begin(&process.store, keeps_removals) {
            let incarnation = self.nodes[node].incarnation;
            self.push(took, Event::Flushed { node, incarnation });
        }
    }

    pub(super) fn flushed(&mut self, node: usize) {
        let Node { process, disk, .. } = &mut self.nodes[node];
        let Some(process) = process else { return };
        for waiter in process.saver.finish(disk) {
            self.kept(node, waiter);
        }
        self.save(node);
    }

    /// A durable write is done on this member: it is told when so many disks have it as it should
    /// be.
    pub(super) fn hold(&mut self, node: usize, client: usize, attempt: u64) {
        let others = self.ids(&self.nodes[node].members);
        let own = self.nodes[node].id;
        let others: Vec<_> = others.into_iter().filter(|id| *id != own).collect();
        let place = (self.clients[client].tag.clone(), self.clients[client].key.clone());
        let record = self.record(node, client);
        let needed = match self.setup.acks {
            Acks::Local => 1,
            Acks::Majority => others.len().div_ceil(2) + 1,
        };
        let Some(process) = self.nodes[node].process.as_mut() else { return };
        let write = process.new_task();
        process.holdings.insert(write, Holding { client, attempt, missing: needed });
        self.hold_for(node, Waiter::Write(write));
        let Some(record) = record.filter(|_| self.setup.acks == Acks::Majority) else { return };
        let entry = Entry { tag: place.0.into(), key: place.1.into(), record };
        for to in others {
            let is_old = self.nodes.iter().any(|node| node.id == to && node.is_old);
            let Some(process) = self.nodes[node].process.as_mut().filter(|_| !is_old) else {
                continue;
            };
            let task = process.new_task();
            process.asked_to_hold.insert(task, write);
            let request = Request::Persist(vec![entry.clone()]);
            self.send(node, to, Call::Handler(task), request, HOLD_DEADLINE_MS);
        }
    }

    /// Somebody waits for the disk of this member.
    pub(super) fn hold_for(&mut self, node: usize, waiter: Waiter) {
        let flaws = self.setup.flaws;
        let is_early = match waiter {
            Waiter::Write(_) => flaws.answers_early,
            Waiter::Member { .. } => flaws.holds_early,
        };
        let Some(process) = self.nodes[node].process.as_mut() else { return };
        let kept = if is_early { Some(waiter) } else { process.saver.wait(waiter) };
        if let Some(waiter) = kept {
            self.kept(node, waiter);
        }
    }

    fn kept(&mut self, node: usize, waiter: Waiter) {
        match waiter {
            Waiter::Write(write) => self.held(node, write),
            Waiter::Member { to, incarnation, call } => {
                let reply = self.understood(self.codec.encode_reply(&Reply::Done));
                for way in self.net.ways(node, to, &mut self.chance) {
                    let reply = Bytes::from(reply.clone());
                    self.push(way, Event::Reply { to, incarnation, call, reply });
                }
            }
        }
    }

    /// One more disk has a write that was taken here.
    pub(super) fn held(&mut self, node: usize, write: u64) {
        let Some(process) = self.nodes[node].process.as_mut() else { return };
        let Some(holding) = process.holdings.get_mut(&write) else { return };
        holding.missing -= 1;
        if holding.missing == 0 {
            let Holding { client, attempt, .. } = *holding;
            process.holdings.remove(&write);
            let way = self.chance.range(1, 4);
            self.push(way, Event::Told { client, attempt, told: Told::Done, by: node });
        }
    }
}
