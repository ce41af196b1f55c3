//! Noticing which members can be reached, which nobody hears, and which come or go.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64;

use super::{Contact, MemberState, Peer};
use crate::distro::{Distro, Output, Purpose};
use crate::load::Prospect;
use crate::message::Request;
use crate::record::Value;
use crate::stamp::MemberId;
use crate::status::Table;
use crate::time::Tick;

/// Equal for members that take the same for members.
fn members_checksum<'a>(me: MemberId, others: impl Iterator<Item = &'a MemberId>) -> u64 {
    let mut all: Vec<u32> = others.map(|id| id.0).chain([me.0]).collect();
    all.sort_unstable();
    let bytes: Vec<u8> = all.into_iter().flat_map(u32::to_le_bytes).collect();
    // Zero stands for "does not say".
    xxh3_64(&bytes).max(1)
}

/// What was noticed of the other members.
#[derive(Debug, Default)]
pub(crate) struct Contacts {
    /// As operators were last told.
    states: BTreeMap<MemberId, MemberState>,
    /// Since when nobody can be reached.
    alone_since: Option<Tick>,
    /// A member takes others for members than this one does.
    lists_differ: bool,
    /// Since when more than half of all members have not been heard.
    cut_off_since: Option<Tick>,
}

impl Contacts {
    pub(crate) fn lists_differ(&self) -> bool {
        self.lists_differ
    }
}

impl<V: Value, A: Default + Send + Sync + 'static> Distro<V, A> {
    /// These are the members from now on. Those that are gone are let go; new ones begin as unknown.
    pub(crate) fn set_members(&mut self, members: &[MemberId], now: Tick) {
        let me = self.store.clock().member();
        let others: BTreeSet<MemberId> = members.iter().copied().filter(|id| *id != me).collect();
        let own = (!members.contains(&me)).then_some(me);
        self.shares.set_order(members.iter().copied().chain(own).collect());
        let gone = self.peers.keys().copied().filter(|id| !others.contains(id)).collect();
        self.let_go(&gone, now);
        for id in others {
            self.peers.entry(id).or_insert_with(|| Peer::new(id, now));
        }
        self.status.set_members_checksum(members_checksum(me, self.peers.keys()));
        self.contacts.states.retain(|id, _| self.peers.contains_key(id));
        self.store.journal().keep(!self.peers.is_empty());
        if self.peers.is_empty() {
            self.beats.forget_stranded();
        }
        self.look_around(now);
    }

    /// Notices who has another list of members. Then owners are not agreed upon: beats go to all,
    /// and silence counts for little.
    pub(crate) fn compare_lists(&mut self, now: Tick) {
        let ours = self.status.members_checksum();
        let differs = |peer: &Peer| {
            peer.was_reachable && peer.members_checksum != 0 && peer.members_checksum != ours
        };
        let differ = self.config.rules.lists() && self.peers.values().any(differs);
        if differ == self.contacts.lists_differ {
            return;
        }
        self.contacts.lists_differ = differ;
        self.store.shared.late.set_lists_differ(differ);
        self.store.journal().take_all(differ);
        self.outputs.push_back(Output::ListsDiffer(differ));
        if !differ {
            // What the others heard meanwhile may not have come here.
            self.listen_anew(now);
            self.ask_for_all(None, now);
        }
    }

    /// Notices who can be heard again.
    pub(crate) fn notice_contact(&mut self, now: Tick) {
        let mut regained = Vec::new();
        for peer in self.peers.values_mut() {
            let is_reachable = peer.member.is_reachable(&self.config, now);
            if is_reachable && !peer.was_reachable {
                peer.replicator.hurry();
                peer.verifier.demand(now);
            }
            if !is_reachable {
                peer.herald.give_up();
            }
            peer.was_reachable = is_reachable;
            let was_unheard = peer.unheard();
            if peer.follow_contact(&self.config, now) {
                regained.push(peer.member.id);
            }
            let is_unheard = peer.member.is_unheard(&self.config, now);
            match was_unheard {
                Some(incarnation) if !is_unheard && incarnation != 0 => {
                    self.store.shared.late.found(peer.member.id, now);
                }
                // Whom this member has never heard it cannot have missed.
                None if is_unheard && peer.member.incarnation != 0 => {
                    self.store.shared.late.lost(peer.member.id);
                }
                _ => {}
            }
        }
        if self.store.shared.late.take_over(now) {
            self.peers.values_mut().for_each(|peer| peer.verifier.demand(now));
        }
        if !regained.is_empty() && self.config.rules.regain_grace() {
            // What they heard meanwhile is not known here.
            self.listen_anew(now);
            regained.into_iter().for_each(|member| self.ask_for_all(Some(member), now));
        }
        self.notice_cut(now);
        let is_alone = !self.peers.is_empty() && self.peers.values().all(|p| !p.was_reachable);
        if is_alone {
            self.contacts.alone_since.get_or_insert(now);
        } else if let Some(since) = self.contacts.alone_since.take()
            && now.since(since) >= self.config.absent_after
            && self.config.rules.forget_after_absence()
        {
            self.store.forget_unheard(now);
        }
    }

    /// Notices whether most of the others are out of hearing. Who is surely gone hears nobody, and
    /// does not count. Of two halves of a cluster neither is the one that is cut off.
    fn notice_cut(&mut self, now: Tick) {
        let there = self.peers.values().filter(|peer| !peer.member.is_gone());
        let (mut all, mut unheard) = (1, 0);
        for peer in there {
            all += 1;
            unheard += usize::from(peer.member.is_unheard(&self.config, now));
        }
        let since = self.contacts.cut_off_since.unwrap_or(now);
        self.contacts.cut_off_since = (2 * unheard > all).then_some(since);
        self.status.set_cut_off_since(self.contacts.cut_off_since);
    }

    /// Works out who may own slots, and publishes it.
    pub(crate) fn look_around(&mut self, now: Tick) {
        self.share_out(now);
        let config = Arc::clone(&self.config);
        for peer in self.peers.values() {
            let state = peer.member.state(&config, now);
            if self
                .contacts
                .states
                .insert(peer.member.id, state)
                .is_some_and(|before| before != state)
            {
                self.outputs.push_back(Output::Member(peer.member.id, state));
            }
        }
        let reachable = self.peers.values().filter(|p| p.member.is_reachable(&config, now));
        self.status.publish(Table {
            taken: now,
            contacts: self.peers.values().filter_map(|peer| peer.member.contact(now)).collect(),
            reachable: reachable.map(|peer| peer.member.id).collect(),
        });
        self.status.set_phase(self.phase);
        self.status.set_resting(self.pauses.is_resting());
        let was_stopped = config.rules.late_calls() && self.pauses.was_stopped_lately(now);
        self.status.set_stopped(was_stopped);
        self.status.set_ready(self.why_not_ready(now).is_none());
    }

    pub(crate) fn probe(&mut self, now: Tick) {
        let due = |peer: &&mut Peer| !peer.is_probing && now >= peer.next_probe;
        let mut to = Vec::new();
        for peer in self.peers.values_mut().filter(due) {
            peer.is_probing = true;
            peer.next_probe = now.after(self.config.probe_period);
            to.push(peer.member.id);
        }
        for member in to {
            self.send(member, Purpose::Probe, Request::Probe { phase: self.phase }, now);
        }
    }

    pub(crate) fn take_hearsay(&mut self, contacts: &[Contact], sent: Tick) {
        if !self.config.rules.hearsay() {
            return;
        }
        for contact in contacts {
            let Some(peer) = self.peers.get_mut(&contact.member) else { continue };
            let age = Duration::from_millis(contact.age_ms);
            if let Some(at) = sent.before(age) {
                peer.member.rumoured(contact, at);
            }
        }
    }

    /// These are members no more. Each call to one of them ends as failed, in whatever waits for
    /// its answer, and the beats that waited for one go to the next owner. A member that comes back
    /// begins anew.
    pub(crate) fn let_go(&mut self, gone: &BTreeSet<MemberId>, now: Tick) {
        self.end_calls_to(gone, now);
        for id in gone {
            let Some(mut peer) = self.peers.remove(id) else { continue };
            let was_source = peer.member.prospect(&self.config, now) == Prospect::Source;
            if let Some(loader) = self.joining.loader.as_mut().filter(|_| was_source) {
                loader.lost_source(now);
            }
            for (record_id, heard) in peer.renewer.failed() {
                self.store.journal().note_heard(record_id, heard);
            }
            self.status.forget(*id);
        }
    }
}
