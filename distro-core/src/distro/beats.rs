//! What is spread: changes to all, beats to the owners of their slots, and everything before this
//! member stops.

use std::sync::Arc;
use std::time::Duration;

use super::Distro;
use crate::journal::{HeardAt, Place};
use crate::member::Phase;
use crate::peer::Peer;
use crate::record::Value;
use crate::slot::{SLOT_COUNT, Slot};
use crate::stamp::MemberId;
use crate::time::Tick;

impl<V: Value, A: Default + Send + Sync + 'static> Distro<V, A> {
    pub(super) fn spread_changes(&mut self, now: Tick) {
        let changes = self.store.journal().take_changes();
        for peer in self.peers.values_mut() {
            if changes.overflown {
                peer.replicator.overflow();
            }
            for (place, spared) in &changes.places {
                if *spared != Some(peer.member.id) {
                    peer.replicator.mark(place.clone(), &self.config, now);
                }
            }
        }
    }

    /// Has all that can be reached told of clients that have come to this member.
    pub(super) fn spread_arrivals(&mut self, now: Tick) {
        let clients = self.board.take_arrivals();
        if clients.is_empty() {
            return;
        }
        let config = &self.config;
        let reached = self.peers.values_mut().filter(|peer| peer.member.is_reachable(config, now));
        reached.for_each(|peer| peer.herald.add(&clients));
    }

    /// Has the store remember removals of which a peer has yet to be told. No removal is forgotten
    /// sooner than the compensation window, so once in a while is enough.
    pub(super) fn publish_queued(&mut self, now: Tick) {
        if now < self.next_queued {
            return;
        }
        let window = self.store.config().compensation_window;
        self.next_queued = now.after((window / 4).min(Duration::from_secs(2)));
        let mut is_queued = [false; SLOT_COUNT];
        for peer in self.peers.values() {
            peer.replicator.slots(|slot| is_queued[slot.index()] = true);
        }
        self.store.set_queued(|slot| is_queued[slot.index()]);
    }

    /// Gives each beat to the owner of its slot.
    pub(super) fn spread_beats(&mut self) {
        let mut beats = self.store.journal().take_heard();
        if self.peers.values().any(|peer| peer.was_reachable) {
            for (place, heard) in std::mem::take(&mut self.stranded) {
                beats.entry(place).or_insert(heard);
            }
        }
        for peer in self.peers.values_mut().filter(|peer| !peer.was_reachable) {
            // By the time that it is back they would be old.
            for (place, heard) in peer.renewer.give_up() {
                beats.entry(place).or_insert(heard);
            }
        }
        for (place, heard) in beats {
            let owner = self.store.owner(&place.0);
            if self.lists_differ {
                // Somebody may take another for the owner.
                self.relay(owner.unwrap_or_default(), &place, heard);
            }
            let Some(peer) = owner.and_then(|owner| self.peers.get_mut(&owner)) else { continue };
            if !self.config.rules.renew() {
                continue;
            }
            if peer.was_reachable {
                peer.renewer.add(place, heard, &self.config);
            } else {
                let owner = peer.member.id;
                self.relay(owner, &place, heard);
                self.strand(place, heard);
            }
        }
    }

    /// Keeps a beat that nobody can be given, if so, until somebody can. A cut that is over before
    /// the owner notices it is no event to the owner: it does not ask what was heard meanwhile.
    fn strand(&mut self, place: Place, heard: HeardAt) {
        let is_alone = !self.peers.values().any(|peer| peer.was_reachable);
        let has_room = self.stranded.len() < self.config.queue_keys;
        if is_alone
            && self.config.rules.strand()
            && (has_room || self.stranded.contains_key(&place))
        {
            let known = self.stranded.entry(place).or_insert(heard);
            if known.tick < heard.tick {
                *known = heard;
            }
        }
    }

    /// Gives a beat that cannot be given to the owner to everybody else: one of them may reach it.
    pub(super) fn relay(&mut self, owner: MemberId, place: &Place, heard: HeardAt) {
        const MOST_HOPS_TO_RELAY: u8 = 1;
        if !self.config.rules.relay() || heard.hops > MOST_HOPS_TO_RELAY {
            return;
        }
        let others = self.peers.values_mut().filter(|p| p.was_reachable && p.member.id != owner);
        for peer in others {
            peer.renewer.add(place.clone(), heard, &self.config);
        }
    }

    /// A beat was not acknowledged: it goes round by others, and once more the same way.
    pub(super) fn renew_again(&mut self, to: MemberId, place: Place, heard: HeardAt, now: Tick) {
        if self.store.owner(&place.0) == Some(to) {
            self.relay(to, &place, heard);
        }
        let is_fresh = now.since(heard.tick) < self.config.call_deadline * 3;
        if let Some(peer) = self.peers.get_mut(&to).filter(|_| is_fresh) {
            peer.renewer.add(place, heard, &self.config);
        }
    }

    pub(super) fn leave(&mut self, now: Tick) {
        if self.phase == Phase::Leaving {
            return;
        }
        let tags = Slot::all().flat_map(|slot| self.store.tags(slot, None));
        let owned: Vec<Arc<str>> = tags.filter(|tag| self.store.owns(tag)).collect();
        self.loader = None;
        self.set_phase(Phase::Leaving);
        self.look_around(now);
        self.leave_by = Some(now.after(self.config.leave_within));
        for tag in owned {
            let Some(datum) = self.store.find(&tag) else { continue };
            let heard = datum.read(|reader| {
                reader.heard().map(|(key, tick)| (key.clone(), tick)).collect::<Vec<_>>()
            });
            for (key, tick) in heard {
                let heard = datum.heard_at(&key, tick);
                self.store.journal().note_heard((tag.clone(), key), heard);
            }
        }
        self.spread_beats();
    }

    pub(super) fn is_handed_over(&self, now: Tick) -> bool {
        let mut reachable =
            self.peers.values().filter(|peer| peer.member.is_reachable(&self.config, now));
        reachable.all(Peer::is_drained) && self.calls.is_empty()
    }
}
