//! What one peer owes this member: when it last heard the records of this member's slots.
//!
//! A member that has just come to own a slot, or that could not hear another one for a while, does
//! not know what the others heard meanwhile. It asks them. Once all have told, their silence is
//! known as well as its own.

use std::time::Duration;

use crate::message::Request;
use crate::record::RecordId;
use crate::slot::{Slot, SlotSet};
use crate::time::Tick;

/// From the last event until a peer is asked: records from the other side of a cut come by
/// replication and comparison first, members come to agree on the owners, and clients return.
const DELAY: Duration = Duration::from_secs(3);
/// From one question that was not answered, or not in full, to the next; and from a comparison
/// that brought records to the question when they were heard.
const AGAIN: Duration = Duration::from_secs(1);

/// The accounts of one peer: at most one request under way.
#[derive(Debug)]
pub(crate) struct Auditor {
    /// The slots of this member of which the peer may have heard something that is not known here.
    owes: SlotSet,
    /// Not asked before.
    next: Tick,
    pass: Option<Pass>,
    /// Can make nothing of the question, in this start of it.
    mute: Option<u32>,
    /// Since when it has listened without a break, as it said.
    listening_since: Option<Tick>,
}

/// One walk through what a peer owes.
#[derive(Debug)]
struct Pass {
    began: Tick,
    /// What counts if it is told: not the slots that something has happened to since.
    valid: SlotSet,
    slots: Vec<Slot>,
    after: Option<RecordId>,
    is_asked: bool,
}

impl Auditor {
    pub(crate) fn new(now: Tick) -> Self {
        let owes = SlotSet::default();
        Self { owes, next: now, pass: None, mute: None, listening_since: None }
    }

    /// Something has happened: what the peer heard of these slots before now may be unknown here.
    pub(crate) fn owe(&mut self, slots: &SlotSet, now: Tick) {
        self.add(slots);
        self.next = self.next.max(now.after(DELAY));
    }

    /// The peer has given records of these slots which it knew already, and has not said when it
    /// heard them.
    pub(crate) fn owe_of_given(&mut self, slots: &SlotSet, now: Tick) {
        self.add(slots);
        self.next = self.next.max(now.after(AGAIN));
    }

    fn add(&mut self, slots: &SlotSet) {
        self.owes.add(slots);
        if let Some(pass) = &mut self.pass {
            pass.valid.subtract(slots);
        }
    }

    /// These slots are not this member's any more.
    pub(crate) fn excuse(&mut self, slots: &SlotSet) {
        self.owes.subtract(slots);
    }

    pub(crate) fn owes(&self) -> &SlotSet {
        &self.owes
    }

    pub(crate) fn listening_since(&self) -> Option<Tick> {
        self.listening_since
    }

    /// The peer has started anew.
    pub(crate) fn restarted(&mut self) {
        self.listening_since = None;
        self.mute = None;
    }

    /// `incarnation` is the start of the peer.
    pub(crate) fn poll<V>(&mut self, incarnation: u32, now: Tick) -> Option<Request<V>> {
        if self.mute == Some(incarnation) {
            return None;
        }
        if self.pass.is_none() {
            if self.owes.is_empty() || now < self.next {
                return None;
            }
            let slots = self.owes.iter().collect();
            let valid = self.owes;
            self.pass = Some(Pass { began: now, valid, slots, after: None, is_asked: false });
        }
        let pass = self.pass.as_mut().filter(|pass| !pass.is_asked)?;
        pass.is_asked = true;
        Some(Request::Account { slots: pass.slots.clone(), after: pass.after.clone() })
    }

    /// The peer has told everything of these slots, or stops within one of them. `listening` is for
    /// how long it has listened. Returns which slots are no longer owed, and when the peer was
    /// asked about them.
    pub(crate) fn answered(
        &mut self,
        told: &[Slot],
        stopped: Option<RecordId>,
        listening: Duration,
        sent: Tick,
        now: Tick,
    ) -> (SlotSet, Tick) {
        let Some(mut pass) = self.pass.take() else { return (SlotSet::default(), now) };
        let since = sent.since(Tick::ZERO).saturating_sub(listening);
        self.listening_since = Some(Tick::ZERO.after(since));
        let told: SlotSet =
            told.iter().filter(|slot| pass.valid.contains(**slot)).copied().collect();
        self.owes.subtract(&told);
        let began = pass.began;
        if stopped.is_some_and(|record_id| pass.go_on(record_id)) {
            self.pass = Some(pass);
        } else {
            // What is left was not told: the peer takes another for the owner.
            self.next = self.next.max(now.after(AGAIN));
        }
        (told, began)
    }

    pub(crate) fn failed(&mut self, now: Tick) {
        self.pass = None;
        self.next = self.next.max(now.after(AGAIN));
    }

    /// The peer, in this start of it, can make nothing of the question.
    pub(crate) fn not_taken(&mut self, incarnation: u32) {
        self.pass = None;
        self.mute = Some(incarnation);
    }
}

impl Pass {
    /// Goes on after this record. Returns whether that is any progress.
    fn go_on(&mut self, record_id: RecordId) -> bool {
        let slot = Slot::of(&record_id.0);
        let Some(at) = self.slots.iter().position(|other| *other == slot) else { return false };
        let is_progress = at > 0 || self.after.as_ref().is_none_or(|after| *after < record_id);
        self.slots.drain(..at);
        self.after = Some(record_id);
        self.is_asked = false;
        is_progress
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Tick {
        Tick::from_ms(ms)
    }

    fn slots(indices: &[usize]) -> SlotSet {
        indices.iter().map(|index| Slot::at(*index).expect("a slot")).collect()
    }

    fn list(indices: &[usize]) -> Vec<Slot> {
        slots(indices).iter().collect()
    }

    fn asked(auditor: &mut Auditor, ms: u64) -> Option<(Vec<Slot>, Option<RecordId>)> {
        match auditor.poll::<()>(1, at(ms)) {
            Some(Request::Account { slots, after }) => Some((slots, after)),
            _ => None,
        }
    }

    #[test]
    fn a_peer_is_asked_a_while_after_the_last_event_and_what_it_tells_is_no_longer_owed() {
        let mut auditor = Auditor::new(at(0));
        assert_eq!(asked(&mut auditor, 99_000), None);
        auditor.owe(&slots(&[1, 700]), at(10_000));
        auditor.owe(&slots(&[2]), at(11_000));
        assert_eq!(asked(&mut auditor, 13_999), None);
        assert_eq!(asked(&mut auditor, 14_000), Some((list(&[1, 2, 700]), None)));
        assert_eq!(asked(&mut auditor, 14_100), None, "one call at a time");
        let told = auditor.answered(
            &list(&[1, 700]),
            None,
            Duration::from_secs(9),
            at(14_000),
            at(14_200),
        );
        assert_eq!(told, (slots(&[1, 700]), at(14_000)));
        assert_eq!((auditor.owes(), auditor.listening_since()), (&slots(&[2]), Some(at(5_000))));
        assert_eq!(asked(&mut auditor, 15_199), None);
        assert_eq!(asked(&mut auditor, 15_200), Some((list(&[2]), None)));
    }

    #[test]
    fn what_happens_while_an_account_is_given_makes_it_void() {
        let mut auditor = Auditor::new(at(0));
        auditor.owe(&slots(&[1, 2]), at(0));
        assert!(asked(&mut auditor, 3_000).is_some());
        auditor.owe(&slots(&[2]), at(3_100));
        let told = auditor.answered(&list(&[1, 2, 3]), None, Duration::ZERO, at(3_000), at(3_200));
        assert_eq!((told.0, auditor.owes()), (slots(&[1]), &slots(&[2])));
    }

    #[test]
    fn an_account_goes_on_where_it_stopped_and_a_peer_that_makes_no_progress_is_left_alone() {
        let mut auditor = Auditor::new(at(0));
        let record_id: RecordId = ("tag".into(), "key".into());
        let slot = Slot::of(&record_id.0).index();
        auditor.owe(&slots(&[slot - 1, slot, slot + 1]), at(0));
        assert!(asked(&mut auditor, 3_000).is_some());
        let answer = |auditor: &mut Auditor, told: &[usize]| {
            let record_id = Some(record_id.clone());
            auditor.answered(&list(told), record_id, Duration::ZERO, at(3_000), at(3_100))
        };
        assert_eq!(answer(&mut auditor, &[slot - 1]).0, slots(&[slot - 1]));
        let rest = (list(&[slot, slot + 1]), Some(record_id.clone()));
        assert_eq!(asked(&mut auditor, 3_100), Some(rest));
        answer(&mut auditor, &[]);
        assert_eq!(asked(&mut auditor, 3_200), None);
        assert_eq!(asked(&mut auditor, 4_100), Some((list(&[slot, slot + 1]), None)));
    }

    #[test]
    fn a_peer_that_does_not_understand_is_asked_again_when_it_has_started_anew() {
        let mut auditor = Auditor::new(at(0));
        auditor.owe(&slots(&[1]), at(0));
        assert!(asked(&mut auditor, 3_000).is_some());
        auditor.not_taken(1);
        assert_eq!(asked(&mut auditor, 60_000), None);
        assert!(auditor.poll::<()>(2, at(60_000)).is_some());
    }
}
