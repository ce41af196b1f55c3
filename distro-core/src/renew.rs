//! Beats on their way to the owner of their slot, which judges by them.
//!
//! The member that hears a beat of somebody else's slot answers at once and leaves it in the
//! [`Journal`](crate::journal::Journal). A few times a second the beats go to their owners, thousands in
//! one message ([`Renewer`]). One that the owner does not acknowledge goes round by the others.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::distro::Distro;
use crate::journal::HeardAt;
use crate::record::RecordId;
use crate::record::Value;
use crate::stamp::MemberId;
use crate::time::Tick;

mod answer;
mod renewer;
pub(crate) use renewer::Renewer;

/// Beats that this member has for others.
#[derive(Debug)]
pub(crate) struct Beats {
    /// When they are next given to their owners.
    next: Tick,
    /// Those that were heard while nobody could be told of them.
    stranded: BTreeMap<RecordId, HeardAt>,
}

impl Beats {
    pub(crate) fn new(now: Tick) -> Self {
        Self { next: now, stranded: BTreeMap::new() }
    }

    /// Whether it is time to give them away; says so once for each period.
    pub(crate) fn are_due(&mut self, now: Tick, period: Duration) -> bool {
        let are_due = now >= self.next;
        if are_due {
            self.next = now.after(period);
        }
        are_due
    }

    /// There is nobody who could be told.
    pub(crate) fn forget_stranded(&mut self) {
        self.stranded.clear();
    }

    /// Keeps one until somebody can be told, if there is room for it.
    fn strand(&mut self, record_id: RecordId, heard: HeardAt, most: usize) {
        if self.stranded.len() < most || self.stranded.contains_key(&record_id) {
            let known = self.stranded.entry(record_id).or_insert(heard);
            if known.tick < heard.tick {
                *known = heard;
            }
        }
    }
}

impl<V: Value, A: Default + Send + Sync + 'static> Distro<V, A> {
    /// Gives each beat to the owner of its slot.
    pub(crate) fn spread_beats(&mut self) {
        let mut beats = self.store.journal().take_heard();
        if self.peers.values().any(|peer| peer.was_reachable) {
            for (record_id, heard) in std::mem::take(&mut self.beats.stranded) {
                beats.entry(record_id).or_insert(heard);
            }
        }
        for peer in self.peers.values_mut().filter(|peer| !peer.was_reachable) {
            // By the time that it is back they would be old.
            for (record_id, heard) in peer.renewer.give_up() {
                beats.entry(record_id).or_insert(heard);
            }
        }
        for (record_id, heard) in beats {
            let owner = self.store.owner(&record_id.0);
            if self.contacts.lists_differ() {
                // Somebody may take another for the owner.
                self.relay(owner.unwrap_or_default(), &record_id, heard);
            }
            let Some(peer) = owner.and_then(|owner| self.peers.get_mut(&owner)) else { continue };
            if !self.config.rules.renew() {
                continue;
            }
            if peer.was_reachable {
                peer.renewer.add(record_id, heard, &self.config);
            } else {
                let owner = peer.member.id;
                self.relay(owner, &record_id, heard);
                self.strand(record_id, heard);
            }
        }
    }

    /// Keeps a beat that nobody can be given, if so, until somebody can. A cut that is over before
    /// the owner notices it is no event to the owner: it does not ask what was heard meanwhile.
    fn strand(&mut self, record_id: RecordId, heard: HeardAt) {
        let is_alone = !self.peers.values().any(|peer| peer.was_reachable);
        if is_alone && self.config.rules.strand() {
            self.beats.strand(record_id, heard, self.config.queue_keys);
        }
    }

    /// Gives a beat that cannot be given to the owner to everybody else: one of them may reach it.
    pub(crate) fn relay(&mut self, owner: MemberId, record_id: &RecordId, heard: HeardAt) {
        const MOST_HOPS_TO_RELAY: u8 = 1;
        if !self.config.rules.relay() || heard.hops > MOST_HOPS_TO_RELAY {
            return;
        }
        let others = self.peers.values_mut().filter(|p| p.was_reachable && p.member.id != owner);
        for peer in others {
            peer.renewer.add(record_id.clone(), heard, &self.config);
        }
    }

    /// A beat was not acknowledged: it goes round by others, and once more the same way.
    pub(crate) fn renew_again(
        &mut self,
        to: MemberId,
        record_id: RecordId,
        heard: HeardAt,
        now: Tick,
    ) {
        if self.store.owner(&record_id.0) == Some(to) {
            self.relay(to, &record_id, heard);
        }
        let is_fresh = now.since(heard.tick) < self.config.call_deadline * 3;
        if let Some(peer) = self.peers.get_mut(&to).filter(|_| is_fresh) {
            peer.renewer.add(record_id, heard, &self.config);
        }
    }
}
