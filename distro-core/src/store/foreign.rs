//! Lists of tags whose owner does not speak this protocol, as the store takes them.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::Store;
use crate::record::RecordId;
use crate::record::{Health, Value};
use crate::store::writer::{ListTerms, Listed};
use crate::time::Tick;

/// Notes on records of foreign tags that count for some seconds.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    notes: Mutex<Noted>,
}

#[derive(Debug, Default)]
struct Noted {
    until: BTreeMap<RecordId, Tick>,
    /// When those that are over were last forgotten.
    swept: Tick,
}

/// More than that are not noted.
const MOST_NOTES: usize = 100_000;
/// From one look for those that are over to the next, in milliseconds.
const SWEEP_MS: u128 = 1_000;

impl Notes {
    pub(crate) fn note(&self, tag: &str, key: &str, until: Tick, now: Tick) {
        let mut notes = self.notes.lock();
        if now.since(notes.swept).as_millis() >= SWEEP_MS {
            notes.swept = now;
            notes.until.retain(|_, until| *until > now);
        }
        if notes.until.len() < MOST_NOTES {
            notes.until.insert((tag.into(), key.into()), until);
        }
    }

    /// Until when the note of a record counts, if there is one.
    pub(crate) fn until(&self, tag: &str, key: &str) -> Option<Tick> {
        let notes = self.notes.lock();
        if notes.until.is_empty() {
            return None;
        }
        notes.until.get(&(tag.into(), key.into())).copied()
    }
}

impl<V: Value, A: Default + Send + Sync + 'static> Store<V, A> {
    /// Takes the whole list of a [foreign](Self::is_foreign) tag as its owner tells it. The
    /// sender must be that owner. Returns false, and does nothing, if the tag is not foreign.
    ///
    /// Nothing of it is told to others: each member hears the owner itself. Durable records are
    /// left alone.
    pub fn take_list(&self, tag: &str, list: &[Listed<V>], terms: ListTerms, now: Tick) -> bool {
        if list.is_empty() {
            let taken = self.update_existing(tag, now, |writer| writer.take_list(list, &terms));
            return taken.unwrap_or_else(|| self.is_foreign(tag));
        }
        self.update(tag, now, |writer| writer.take_list(list, &terms))
    }

    /// Takes what the owner of a foreign tag says of the health of its records, by key; `None`:
    /// nothing. What was heard here within its time-out stays healthy.
    pub fn take_health(
        &self,
        tag: &str,
        health_of: impl Fn(&str) -> Option<Health>,
        terms: ListTerms,
        now: Tick,
    ) {
        self.update_existing(tag, now, |writer| writer.take_health(health_of, &terms));
    }

    /// Registers what the owner of a foreign tag has just taken from a client of this member, so
    /// that the client reads it here. What is there already keeps its health. Should the tag not be
    /// foreign any more it is an ordinary registration.
    pub fn take_registration(
        &self,
        tag: &str,
        key: &str,
        value: Arc<V>,
        health: Health,
        now: Tick,
    ) {
        self.update(tag, now, |writer| writer.take_registration(key, value, health));
    }

    /// Removes what the owner of a foreign tag has just removed for a client of this member.
    /// Returns whether it was visible.
    pub fn take_removal(&self, tag: &str, key: &str, now: Tick) -> bool {
        let removed = self.update_existing(tag, now, |writer| {
            let was_visible = writer.find_visible(key).is_some();
            writer.take_removal(key);
            was_visible
        });
        removed.unwrap_or(false)
    }

    /// Takes what a member that does not speak this protocol says of a tag that is not foreign: a
    /// former owner of what it has just taken, or anybody while this member loads. Only records
    /// that are neither held nor remembered here, `room` at most; whatever other members of this
    /// protocol know of them wins.
    pub fn adopt_list(&self, tag: &str, list: &[Listed<V>], room: usize, now: Tick) {
        if !list.is_empty() {
            self.update(tag, now, |writer| writer.adopt_list(list, room));
        }
    }
}
