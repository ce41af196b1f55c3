//! Who is there: contact, the phase of this member, and the ring that follows.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64;

use super::{Distro, Output};
use crate::board::{Beginning, Table};
use crate::load::Prospect;
use crate::member::Phase;
use crate::peer::Peer;
use crate::record::Value;
use crate::ring::Ring;
use crate::slot::Slot;
use crate::stamp::MemberId;
use crate::tag_ring::{OwnerPolicy, TagRing};
use crate::time::Tick;

/// Equal for members that take the same for members.
fn list_checksum<'a>(me: MemberId, others: impl Iterator<Item = &'a MemberId>) -> u64 {
    let mut all: Vec<u32> = others.map(|id| id.0).chain([me.0]).collect();
    all.sort_unstable();
    let bytes: Vec<u8> = all.into_iter().flat_map(u32::to_le_bytes).collect();
    // Zero stands for "does not say".
    xxh3_64(&bytes).max(1)
}

/// For so long after a stop calls may be read that came before its end: those of thousands of
/// clients have gathered, and a machine that starves its processes is slow to get through them.
const LATE_CALLS: Duration = Duration::from_secs(60);

impl<V: Value, A: Default + Send + Sync + 'static> Distro<V, A> {
    pub(super) fn set_members(&mut self, members: &[MemberId], now: Tick) {
        let me = self.store.clock().member();
        let others: BTreeSet<MemberId> = members.iter().copied().filter(|id| *id != me).collect();
        let own = (!members.contains(&me)).then_some(me);
        self.order = members.iter().copied().chain(own).collect();
        let gone = self.peers.keys().copied().filter(|id| !others.contains(id)).collect();
        self.let_go(&gone, now);
        for id in others {
            self.peers.entry(id).or_insert_with(|| Peer::new(id, now));
        }
        self.board.set_list(list_checksum(me, self.peers.keys()));
        self.states.retain(|id, _| self.peers.contains_key(id));
        self.store.journal().keep(!self.peers.is_empty());
        if self.peers.is_empty() {
            self.stranded.clear();
        }
        self.look_around(now);
    }

    /// Notices who has another list of members. Then owners are not agreed upon: beats go to all,
    /// and silence counts for little.
    pub(super) fn compare_lists(&mut self, now: Tick) {
        let ours = self.board.list();
        let differs = |peer: &Peer| peer.was_reachable && peer.list != 0 && peer.list != ours;
        let differ = self.config.rules.lists() && self.peers.values().any(differs);
        if differ == self.lists_differ {
            return;
        }
        self.lists_differ = differ;
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
    pub(super) fn notice_contact(&mut self, now: Tick) {
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
        let is_alone = !self.peers.is_empty() && self.peers.values().all(|p| !p.was_reachable);
        if is_alone {
            self.alone_since.get_or_insert(now);
        } else if let Some(since) = self.alone_since.take()
            && now.since(since) >= self.config.absent_after
            && self.config.rules.forget_after_absence()
        {
            self.store.forget_unheard(now);
        }
    }

    /// Silence counts anew for every record.
    pub(super) fn listen_anew(&mut self, now: Tick) {
        self.listening_since = now;
        self.store.shared.late.note_event(now);
    }

    /// From joining to up.
    pub(super) fn advance_phase(&mut self, now: Tick) {
        let Some(loader) = &self.loader else { return };
        let config = &self.config;
        let prospect = |peer: &Peer| peer.member.prospect(config, now);
        let sources: Vec<&Peer> =
            self.peers.values().filter(|peer| prospect(peer) == Prospect::Source).collect();
        let phase = if sources.is_empty() {
            let is_alone =
                loader.is_alone(self.peers.values().map(prospect), config.alone_after, now);
            if is_alone { Phase::Up } else { Phase::Joining }
        } else {
            // Everything is pulled from one member and then compared with each.
            let pulled = loader.pulled();
            let is_compared = |peer: &&Peer| pulled.is_some() && peer.verifier.completed >= pulled;
            if sources.iter().all(is_compared) { Phase::Up } else { Phase::Loading }
        };
        if phase == Phase::Up {
            if sources.is_empty() {
                self.quiet_until = now.after(config.empty_start);
                self.board.set_beginning(Beginning::Alone);
            } else {
                self.board.set_beginning(Beginning::Loaded);
            }
            self.loader = None;
        }
        self.set_phase(phase);
    }

    pub(super) fn set_phase(&mut self, phase: Phase) {
        if phase != self.phase {
            self.phase = phase;
            self.outputs.push_back(Output::Phase(phase));
        }
    }

    /// Ends the rest after a pause: one comparison is done, or nobody is there to compare with.
    pub(super) fn rest(&mut self, now: Tick) {
        let Some(since) = self.resting_since else { return };
        let since_then = |at: Option<Tick>| at.is_some_and(|at| at >= since);
        let is_compared = self.peers.values().any(|peer| since_then(peer.verifier.completed));
        let is_alone = self.peers.values().all(|peer| since_then(peer.verifier.failed));
        if is_compared || is_alone || now < since {
            self.resting_since = None;
        }
    }

    fn share_slots(&mut self, eligible: &[MemberId], now: Tick) {
        let ring = Ring::new(eligible);
        let moved: Vec<Slot> = self.ring.moved(&ring).collect();
        for slot in &moved {
            self.store.set_owner(*slot, ring.owner(*slot), now);
        }
        self.outputs.push_back(Output::Moved(moved.len()));
        self.ring = ring;
        let me = Some(self.store.clock().member());
        let (won, lost): (Vec<Slot>, _) =
            moved.into_iter().partition(|slot| self.ring.owner(*slot) == me);
        self.ask_no_more(&lost.into_iter().collect());
        self.ask_for(&won.into_iter().collect(), None, now);
    }

    fn share_tags(&mut self, eligible: &[MemberId], now: Tick) {
        let me = self.store.clock().member();
        let (members, ours): (Vec<MemberId>, _) = match &self.owners {
            None => {
                let is_eligible = |id: &&MemberId| eligible.contains(id);
                (self.order.iter().filter(is_eligible).copied().collect(), None)
            }
            Some(owners) => {
                let may_own = |id: &&MemberId| **id != me || self.phase == Phase::Up;
                let ours = self.peers.keys().copied().chain([me]).collect();
                (owners.iter().filter(may_own).copied().collect(), Some(ours))
            }
        };
        let ring = TagRing::new(&members);
        if ring != self.tag_ring {
            self.outputs.push_back(Output::Moved(self.tag_ring.moved(&ring)));
        } else if ours == self.shared_with {
            return;
        }
        self.store.set_tag_ring(ring.clone(), ours.clone(), now);
        self.tag_ring = ring;
        self.shared_with = ours;
    }

    /// Works out who may own slots, and publishes it.
    pub(super) fn look_around(&mut self, now: Tick) {
        let config = Arc::clone(&self.config);
        let eligible = self.peers.values().filter(|peer| peer.member.is_eligible(&config, now));
        let mut eligible: Vec<MemberId> = eligible.map(|peer| peer.member.id).collect();
        if self.phase == Phase::Up {
            eligible.push(self.store.clock().member());
        }
        eligible.sort_unstable();
        if matches!(self.store.config().owner_policy, OwnerPolicy::Tags(_)) {
            self.share_tags(&eligible, now);
        } else if eligible != self.eligible {
            self.share_slots(&eligible, now);
        }
        self.eligible = eligible;
        for peer in self.peers.values() {
            let state = peer.member.state(&config, now);
            if self.states.insert(peer.member.id, state).is_some_and(|before| before != state) {
                self.outputs.push_back(Output::Member(peer.member.id, state));
            }
        }
        let reachable = self.peers.values().filter(|p| p.member.is_reachable(&config, now));
        self.board.publish(Table {
            taken: now,
            contacts: self.peers.values().filter_map(|peer| peer.member.contact(now)).collect(),
            reachable: reachable.map(|peer| peer.member.id).collect(),
        });
        self.board.set_phase(self.phase);
        self.board.set_resting(self.resting_since.is_some());
        let was_stopped = |at: Tick| config.rules.late_calls() && now.since(at) < LATE_CALLS;
        self.board.set_stopped(self.woken_at.is_some_and(was_stopped));
        self.board.set_ready(self.why_not_ready(now).is_none());
    }
}
