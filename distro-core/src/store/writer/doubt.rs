//! Records that may have been removed here and forgotten before their time.
//!
//! A member whose memory of removals had to be cut short cannot tell whether what another one shows
//! it is new or was removed. It takes no such record on trust, and it loses none: it keeps the stamps
//! without the content, so that readers do not see the record, and asks. A member that heard the
//! record a moment ago, later than anything was forgotten, answers with a new judgement, which is
//! believed. If nobody does, the owner judges the silence like any other.

use super::{Origin, Writer};
use crate::record::{Health, LeaseTerms, Record, Value};
use crate::stamp::Stamp;
use crate::store::tombstone::Tombstone;
use crate::store::{Belief, SIGN_OF_LIFE, is_in_doubt};
use crate::time::Tick;

impl<V: Value> Writer<'_, V> {
    /// What is merged from now on is not doubted: a client was heard at this moment.
    pub(crate) fn trust(&mut self) {
        self.trusts = true;
    }

    /// What to make of a record that another member brings. One load, unless something was
    /// forgotten before its time.
    #[inline]
    pub(super) fn belief(&self, key: &str, incoming: &Record<V>) -> Belief {
        let memory = &self.shared.slots[self.slot.index()].memory;
        if !memory.has_gaps()
            || self.trusts
            || !memory.may_have_forgotten(last_sign(incoming).time(), self.now)
        {
            return Belief::News;
        }
        self.belief_in_old(key, incoming)
    }

    #[cold]
    fn belief_in_old(&self, key: &str, incoming: &Record<V>) -> Belief {
        let value = incoming.value.as_ref().filter(|_| incoming.is_visible());
        // Who lives without beats cannot be asked for.
        let Some(lease) = value.and_then(|value| value.lease()) else { return Belief::News };
        let is_known = self.shelf.entries.contains_key(key) || self.shelf.is_foreign;
        if is_known || !self.shared.config.rules.doubt() {
            return Belief::News;
        }
        match self.shelf.tombstones.find(key) {
            None => Belief::Doubt,
            Some(known) if is_stub_of::<V>(&known, incoming) => self.belief_in_stub(&known, lease),
            Some(_) => Belief::News,
        }
    }

    /// What to make of a record that is shown again without anything new.
    fn belief_in_stub(&self, known: &Tombstone, lease: LeaseTerms) -> Belief {
        let time_out = match self.shared.late.is_anybody_lost() {
            // Somebody may hear it who cannot be asked.
            true => lease.expire_after.max(crate::lease::LONGEST),
            false => lease.expire_after,
        };
        let heard = known.heard_ms.checked_sub(1).map(Tick::from_ms);
        if heard.is_some_and(|at| self.now.since(at) < SIGN_OF_LIFE) {
            return Belief::News;
        }
        let silent_for = self.now.since(self.doubted_since(known));
        match self.shared.judged_since(self.tag, self.slot) {
            Some(_) if silent_for >= time_out => Belief::Over,
            // The owner would have judged it by now.
            None if silent_for >= time_out * 3 / 2 => Belief::News,
            _ => Belief::Doubt,
        }
    }

    /// Since when the owner, be it this member, has had the chance to hear of a record that is in
    /// doubt, or to judge its silence. Each event after which silence counts anew begins that again.
    fn doubted_since(&self, known: &Tombstone) -> Tick {
        if !self.shared.config.rules.doubt_anew() {
            let owned_since = self.shared.judged_since(self.tag, self.slot);
            return known.learned.max(owned_since.unwrap_or(Tick::ZERO));
        }
        let owner_since = self.shared.owner_since(self.slot);
        known.learned.max(owner_since).max(self.shared.late.last_event())
    }

    /// Keeps that a record was shown, and nothing else.
    pub(super) fn doubt(&mut self, key: &str, incoming: &Record<V>) -> bool {
        let stub = Record { value: None, ..incoming.clone() };
        let is_new = self.apply(key, &stub, Origin::Peer);
        if is_new {
            self.shared.late.ask_again(self.now);
        }
        is_new
    }

    /// Ends a record that nobody has heard for so long.
    pub(super) fn end_doubt(&mut self, key: &str, incoming: &Record<V>) -> bool {
        let liveness = self.shared.clock.issue(self.now);
        let over = Record { liveness, judged: Health::Expired, value: None, ..incoming.clone() };
        self.apply(key, &over, Origin::Local)
    }

    /// A record that is in doubt was heard of.
    pub(crate) fn hear_of_stub(&mut self, key: &str, at: Tick) {
        let Some(mut known) = self.shelf.tombstones.find(key) else { return };
        if is_in_doubt(&known.record::<V>()) && known.heard_ms <= at.as_ms() {
            known.heard_ms = at.as_ms() + 1;
            let term = self.shared.config.term(self.tag, key, known.registration);
            self.shelf.tombstones.insert(key, &known, term);
        }
    }

    /// Says anew that a record is alive, if it was heard here a moment ago.
    pub(crate) fn confirm(&mut self, key: &str) {
        let Some(entry) = self.shelf.entries.get(key) else { return };
        let value = entry.record.value.as_ref().filter(|_| entry.record.is_visible());
        let lease = value.and_then(|value| value.lease());
        let is_alive = entry.heard().is_some_and(|at| self.now.since(at) < SIGN_OF_LIFE);
        if lease.is_some() && is_alive {
            let (of, stamp) = (entry.record.registration, self.shared.clock.issue(self.now));
            self.apply(key, &Record::judged(of, stamp, Health::Healthy), Origin::Local);
        }
    }
}

/// Whether nothing is kept but that the same registration was shown.
fn is_stub_of<V: Value>(known: &Tombstone, incoming: &Record<V>) -> bool {
    let record = known.record::<V>();
    is_in_doubt(&record) && record.registration == incoming.registration
}

/// The last stamp that says that a record is alive: who judges its silence has not heard it.
fn last_sign<V: Value>(record: &Record<V>) -> Stamp {
    match record.health() {
        Health::Healthy => record.newest(),
        Health::Unhealthy | Health::Expired => record.registration,
    }
}
