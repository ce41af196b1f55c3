//! Accounts: an owner asks all members when they last heard the records of its slots.
//!
//! After an event (a slot changes hands, contact is regained, a stop) an owner does not know what the
//! others heard meanwhile, and would have to wait for full time-outs. It asks instead ([`Auditor`]).
//! Once all have told of a slot ([`SlotAccount`]), silence there is known as well as its own.

use std::sync::Arc;

use crate::distro::Distro;
use crate::membership::Peer;
use crate::message::{Beat, Entry};
use crate::ownership::OwnerPolicy;
use crate::record::Value;
use crate::slot::{SLOT_COUNT, Slot, SlotSet};
use crate::stamp::MemberId;
use crate::time::Tick;

mod answer;
pub(crate) use answer::take_account;

mod auditor;
pub(crate) use auditor::Auditor;

mod slot;
pub(crate) use slot::SlotAccount;

/// Slots whose datums are made due in one tick.
const HASTENED_AT_ONCE: usize = 64;

/// How far the accounts of all peers have come, by slot.
#[derive(Debug)]
pub(crate) struct Accounts {
    /// Slots of which some peer may owe an account.
    open: SlotSet,
    /// When the peer that was asked first about a slot was asked, since it is open.
    asked: Box<[Option<Tick>]>,
    /// Slots that can be judged earlier than it was planned.
    ready: SlotSet,
    /// Since when this member has listened to clients without a break.
    pub(crate) listening_since: Tick,
}

impl Accounts {
    pub(crate) fn new(now: Tick) -> Self {
        let asked = vec![None; SLOT_COUNT].into();
        Self { open: SlotSet::default(), asked, ready: SlotSet::default(), listening_since: now }
    }

    fn open(&mut self, slots: &SlotSet) {
        self.open.add(slots);
        slots.iter().for_each(|slot| self.asked[slot.index()] = None);
    }
}

impl<V: Value, A: Default + Send + Sync + 'static> Distro<V, A> {
    /// What peers heard of these slots, which are this member's, may be unknown here: one of them,
    /// or all.
    pub(crate) fn ask_for(&mut self, slots: &SlotSet, only: Option<MemberId>, now: Tick) {
        if !self.accounts_are_asked() || slots.is_empty() {
            return;
        }
        self.accounts.open(slots);
        let asked = self.peers.values_mut();
        for peer in asked.filter(|peer| only.is_none_or(|only| only == peer.member.id)) {
            peer.auditor.owe(slots, now);
        }
    }

    /// The same of all slots that this member owns.
    pub(crate) fn ask_for_all(&mut self, only: Option<MemberId>, now: Tick) {
        let slots = self.owned();
        self.ask_for(&slots, only, now);
    }

    /// These slots have passed to others.
    pub(crate) fn ask_no_more(&mut self, slots: &SlotSet) {
        self.accounts.open.subtract(slots);
        self.peers.values_mut().for_each(|peer| peer.auditor.excuse(slots));
    }

    /// A comparison has brought records that a peer holds: it has not said when it heard them.
    pub(crate) fn ask_for_given(&mut self, from: MemberId, slots: &SlotSet, now: Tick) {
        let mut slots = *slots;
        let mut others: SlotSet = Slot::all().collect();
        others.subtract(&self.owned());
        slots.subtract(&others);
        if !self.accounts_are_asked() || slots.is_empty() {
            return;
        }
        self.accounts.open(&slots);
        if let Some(peer) = self.peers.get_mut(&from) {
            peer.auditor.owe_of_given(&slots, now);
        }
    }

    /// Takes what others, whose questions were answered here, have given by it.
    pub(crate) fn notice_given(&mut self, now: Tick) {
        for (from, slots) in self.status.take_given() {
            self.ask_for_given(from, &slots, now);
        }
    }

    /// Takes what a peer has told.
    pub(crate) fn accounted(&mut self, beats: &[Beat], told: (SlotSet, Tick), now: Tick) {
        take_account(&self.store, beats, now);
        let (slots, began) = told;
        for slot in slots.iter() {
            let asked = &mut self.accounts.asked[slot.index()];
            *asked = Some(asked.map_or(began, |before| before.min(began)));
        }
    }

    /// Judges by what was told wherever nobody owes anything any more.
    pub(crate) fn settle(&mut self, now: Tick) {
        let mut done = self.accounts.open;
        let config = Arc::clone(&self.config);
        let bound = self.peers.values().filter(|peer| !is_excused(peer, &config, now));
        bound.for_each(|peer| done.subtract(peer.auditor.owes()));
        if !done.is_empty() {
            let reachable = self.peers.values().filter(|peer| peer.was_reachable);
            let listening = reachable.filter_map(|peer| peer.auditor.listening_since());
            let listening = listening.fold(self.accounts.listening_since, Tick::min);
            self.accounts.open.subtract(&done);
            self.accounts.ready.add(&done);
            // Who is gone hears nobody: its clients are back elsewhere before silence counts.
            let is_lost = |peer: &Peer| peer.member.is_unheard(&config, now);
            let lacks = config.rules.lost_hearing() && self.peers.values().any(is_lost);
            for slot in done.iter() {
                let asked = self.accounts.asked[slot.index()].unwrap_or(now);
                let account = SlotAccount { asked, listened_since: listening, lacks };
                self.store.set_accounted(slot, account);
            }
        }
        for slot in self.accounts.ready.iter().take(HASTENED_AT_ONCE) {
            self.accounts.ready.remove(slot);
            self.store.hasten(slot, now);
        }
    }

    fn owned(&self) -> SlotSet {
        self.shares.slots_of(self.store.clock().member())
    }

    /// Not where tags fall to members one by one: a member that does not speak this protocol may
    /// have owned them, and gives no account.
    fn accounts_are_asked(&self) -> bool {
        let is_by_slots = matches!(self.store.config().owner_policy, OwnerPolicy::Slots);
        self.config.rules.accounts() && is_by_slots
    }
}

/// Whether a peer need not be waited for: it is gone, with all that it heard, or it cannot be heard,
/// and time-outs are lengthened until it can.
fn is_excused(peer: &Peer, config: &crate::config::DistroConfig, now: Tick) -> bool {
    peer.member.is_gone() || peer.member.is_unheard(config, now)
}

/// The slots of these entries.
pub(crate) fn slots_of<V>(entries: &[Entry<V>]) -> SlotSet {
    entries.iter().map(|entry| Slot::of(&entry.tag)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{DistroConfig, StoreConfig};
    use crate::distro::{CallId, Input, Output};
    use crate::membership::Phase;
    use crate::message::{Reply, Request, Sender, StampRange};
    use crate::record::{LeaseTerms, Stamps};
    use crate::stamp::{Stamp, StampClock};
    use crate::store::Store;
    use crate::time::Now;

    struct Text;

    impl Value for Text {
        fn lease(&self) -> Option<LeaseTerms> {
            None
        }
        fn shows_like(&self, _: &Self) -> bool {
            true
        }
        fn class(&self) -> usize {
            0
        }
    }

    /// A member and another one that answers at once. Keeps which slots it was asked about.
    struct Pair {
        distro: Distro<Text, ()>,
        now: Tick,
        asked: Vec<Vec<Slot>>,
    }

    const OTHER: Sender = Sender { member: MemberId(2), incarnation: 7, minor: 4 };

    impl Pair {
        fn new() -> Self {
            let now = Tick::START;
            let clock = StampClock::new(MemberId(1), 1, Now { tick: now, wall_ms: 1 << 40 });
            let store = Arc::new(Store::new(StoreConfig::default(), clock, vec![]));
            let others = [OTHER.member];
            let distro = Distro::new(DistroConfig::default(), store, &others, 1, now);
            Self { distro, now, asked: Vec::new() }
        }

        fn run_for(&mut self, ms: u64) {
            for _ in 0..ms / 100 {
                self.now = self.now.after(std::time::Duration::from_millis(100));
                self.distro.handle_input(self.now, Input::Tick);
                while let Some(output) = self.distro.poll_output() {
                    if let Output::Send { call, request, .. } = output {
                        self.answer(call, request);
                    }
                }
            }
        }

        fn answer(&mut self, call: CallId, request: Request<Text>) {
            let reply = match request {
                Request::Probe { .. } => {
                    let (incarnation, phase, contacts) = (OTHER.incarnation, Phase::Up, vec![]);
                    Reply::Probed { incarnation, phase, contacts, list: 0, connections: None }
                }
                Request::Load { .. } => Reply::Page { entries: vec![], more: false, last: None },
                Request::Verify { .. } => Reply::Same,
                Request::Account { slots, .. } => {
                    self.asked.push(slots.clone());
                    let (beats, told) = (vec![], slots);
                    Reply::Accounted { beats, told, stopped: None, listening_ms: 60_000 }
                }
                _ => Reply::Done,
            };
            self.distro.handle_input(self.now, Input::Answered(call, reply));
        }

        fn owned(&self) -> Vec<Slot> {
            self.distro.owned().iter().collect()
        }
    }

    #[test]
    fn a_peer_is_asked_once_about_what_this_member_owns_and_then_about_what_it_gives() {
        let mut pair = Pair::new();
        pair.run_for(20_000);
        let owned = pair.owned();
        assert!(owned.len() > 100 && owned.len() < SLOT_COUNT);
        assert_eq!(std::mem::take(&mut pair.asked), std::slice::from_ref(&owned));
        // The other compares, and is asked for two records, of which one falls to this member.
        let tags = (0..).map(|n| Arc::<str>::from(format!("tag-{n}")));
        let is_ours = |tag: &Arc<str>| owned.contains(&Slot::of(tag));
        let (ours, theirs): (Vec<_>, Vec<_>) = tags.take(100).partition(is_ours);
        let stamp = Stamp::from_parts(9, OTHER.member, OTHER.incarnation);
        let stamps = Stamps { registration: stamp, is_visible: true, ..Stamps::default() };
        let range = |tag: &Arc<str>| StampRange {
            tag: tag.clone(),
            after: None,
            until: None,
            stamps: vec![("key".into(), stamps)],
        };
        let request = Request::Compare(vec![range(&ours[0]), range(&theirs[0])]);
        pair.distro.answer().answer(OTHER, request, std::time::Duration::ZERO, pair.now);
        pair.run_for(900);
        assert!(pair.asked.is_empty(), "the records are on their way");
        pair.run_for(5_000);
        assert_eq!(pair.asked, [[Slot::of(&ours[0])]]);
    }

    #[test]
    fn a_peer_is_asked_again_after_a_stop() {
        let mut pair = Pair::new();
        pair.run_for(20_000);
        pair.now = pair.now.after(std::time::Duration::from_secs(30));
        pair.run_for(10_000);
        let owned = pair.owned();
        assert_eq!(pair.asked, [owned.clone(), owned]);
    }
}
