//! What is true of the network and the processes, as the faults made it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Duration;

use super::{client_ip, member_ip};

/// Members through which word may have to pass.
const MOST_HOPS: usize = 3;

/// Which links are cut, and who runs since when.
#[derive(Default)]
pub(super) struct Truth {
    /// Links that carry nothing from the first to the second.
    cut: BTreeSet<(Ipv4Addr, Ipv4Addr)>,
    /// When a link was last cut or mended.
    links_changed: BTreeMap<(Ipv4Addr, Ipv4Addr), Duration>,
    members: BTreeMap<usize, Member>,
    /// When anything was last changed.
    pub(super) changed_at: Duration,
    /// When a link was last changed.
    pub(super) cut_changed_at: Duration,
    /// When a link was last mended.
    pub(super) mended_at: Duration,
}

#[derive(Default)]
struct Member {
    is_running: bool,
    is_leaving: bool,
    /// When it first said so since its start.
    ready_at: Option<Duration>,
    /// Whether others had data for it when it started.
    had_source: bool,
}

impl Truth {
    pub(super) fn cut(&mut self, source: Ipv4Addr, target: Ipv4Addr, now: Duration) {
        self.cut.insert((source, target));
        self.note_link(source, target, now);
    }

    pub(super) fn mend(&mut self, source: Ipv4Addr, target: Ipv4Addr, now: Duration) {
        if self.cut.remove(&(source, target)) {
            self.note_link(source, target, now);
            self.mended_at = now;
        }
    }

    fn note_link(&mut self, source: Ipv4Addr, target: Ipv4Addr, now: Duration) {
        self.links_changed.insert((source, target), now);
        self.links_changed.insert((target, source), now);
        (self.changed_at, self.cut_changed_at) = (now, now);
    }

    pub(super) fn start(&mut self, member: usize, now: Duration) {
        let had_source = self.members.values().any(|other| other.ready_at.is_some());
        let started = Member { is_running: true, had_source, ..Member::default() };
        self.members.insert(member, started);
        self.changed_at = now;
    }

    pub(super) fn stop(&mut self, member: usize, now: Duration) {
        self.members.insert(member, Member::default());
        self.changed_at = now;
    }

    pub(super) fn leave(&mut self, member: usize, now: Duration) {
        self.members.entry(member).or_default().is_leaving = true;
        self.changed_at = now;
    }

    /// A member said that it is ready.
    pub(super) fn note_ready(&mut self, member: usize, now: Duration) {
        let state = self.members.entry(member).or_default();
        if state.is_running && state.ready_at.is_none() {
            state.ready_at = Some(now);
            self.changed_at = now;
        }
    }

    pub(super) fn is_ready(&self, member: usize) -> bool {
        self.members.get(&member).is_some_and(|state| state.ready_at.is_some())
    }

    /// Whether a member must know from its first answer on what the others know.
    pub(super) fn has_loaded(&self, member: usize) -> bool {
        self.members.get(&member).is_some_and(|state| state.had_source)
    }

    pub(super) fn is_running(&self, member: usize) -> bool {
        self.members.get(&member).is_some_and(|state| state.is_running)
    }

    pub(super) fn running(&self) -> Vec<usize> {
        let running = self.members.iter().filter(|(_, state)| state.is_running);
        running.map(|(member, _)| *member).collect()
    }

    /// Whether nothing is cut.
    pub(super) fn is_whole(&self) -> bool {
        self.cut.is_empty()
    }

    fn is_open(&self, one: Ipv4Addr, other: Ipv4Addr) -> bool {
        !self.cut.contains(&(one, other)) && !self.cut.contains(&(other, one))
    }

    /// Whether a client may expect to speak to a member.
    pub(super) fn is_in_reach(&self, side: usize, member: usize) -> bool {
        self.is_open(client_ip(side), member_ip(member))
    }

    /// Since when a member owes an answer to clients of a side, if it does.
    pub(super) fn serves_since(&self, side: usize, member: usize) -> Option<Duration> {
        let state = self.members.get(&member).filter(|state| !state.is_leaving)?;
        let link = (client_ip(side), member_ip(member));
        let link_changed = self.links_changed.get(&link).copied().unwrap_or_default();
        let ready_at = state.ready_at.filter(|_| self.is_in_reach(side, member))?;
        Some(ready_at.max(link_changed))
    }

    /// Whether word of a client reaches a member, by other members if need be.
    pub(super) fn hears(&self, member: usize, side: usize) -> bool {
        let running = self.running();
        let in_reach = |other: &usize| self.is_in_reach(side, *other);
        let mut reached: BTreeSet<usize> = running.iter().copied().filter(in_reach).collect();
        for _ in 1..MOST_HOPS {
            if reached.contains(&member) {
                break;
            }
            let next = running.iter().filter(|other| {
                reached.iter().any(|from| self.is_open(member_ip(*from), member_ip(**other)))
            });
            let next: Vec<usize> = next.copied().collect();
            reached.extend(next);
        }
        reached.contains(&member) && running.contains(&member)
    }

    /// Whether members hear of each other, by others if need be.
    pub(super) fn are_connected(&self, one: usize, other: usize) -> bool {
        let running = self.running();
        let open = |a: usize, b: usize| self.is_open(member_ip(a), member_ip(b));
        one == other
            || open(one, other)
            || running.iter().any(|third| open(one, *third) && open(*third, other))
    }
}
