//! What passing time brings: judging silent records, and forgetting removed ones.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::*;
use crate::store::footprint::Footprint;
use crate::store::tombstone::Tombstone;
use crate::store::{DOUBT, Room, SIGN_OF_LIFE, bytes_of, is_in_doubt};

impl<V: Value> Writer<'_, V> {
    pub(crate) fn find_verdicts(&mut self, terms: &JudgeTerms) -> Vec<Verdict<V>> {
        let (config, now) = (&self.shared.config, self.now);
        let owned_since = self.shared.judged_since(self.tag, self.slot);
        let last_event = owned_since.map(|owned_since| terms.last_event(owned_since));
        let account = last_event.and_then(|event| self.shared.slot_account(self.slot, event));
        let mut verdicts = Vec::new();
        let ages = Ages { usual: config.tombstone_retention, durable: config.durable_retention };
        if let Some(due) = self.shelf.tombstones.due(&ages) {
            // Those that are left are not looked at one by one: where removals come all the time,
            // a datum would be walked through for each of them.
            let soonest = now.after(config.tombstone_retention / GATHERED);
            self.deadline = self.deadline.min(due.max(soonest));
        }
        for (key, entry) in &self.shelf.entries {
            let Some(value) = entry.record.value.as_ref().filter(|_| entry.record.is_visible())
            else {
                let kept = config.content_retention.min(config.tombstone_retention);
                self.deadline = self.deadline.min(entry.learned.after(kept));
                continue;
            };
            let Some(lease) = value.lease() else { continue };
            let Some(owned_since) = owned_since else {
                // Should the slot become ours, nothing is judged before this has passed again.
                self.deadline = self.deadline.min(now.after(lease.shortest()));
                continue;
            };
            let told = account.zip(last_event).and_then(|(account, event)| {
                let told = entry.last_told(&account);
                account.known(told, entry.record.health(), lease, event)
            });
            let silence = Silence { since: entry.moment().max(owned_since), told, owned_since };
            let (health, next) = terms.judge(lease, entry.record.health(), silence, now);
            self.deadline = self.deadline.min(next);
            if let Some(health) = health {
                let silent_for = now.since(entry.moment());
                let (key, value) = (Arc::clone(key), Arc::clone(value));
                verdicts.push(Verdict { key, value, health, silent_for });
            }
        }
        verdicts
    }

    /// How long what was removed is remembered in this slot: less where it holds too much of it.
    fn ages(&self) -> Ages {
        let config = &self.shared.config;
        let slot = &self.shared.slots[self.slot.index()];
        let durable = slot.durable_tombstones.load(Ordering::Relaxed);
        // Each kind is counted by itself: a storm of one must not make the other be forgotten.
        let usual = slot.tombstones.load(Ordering::Relaxed).saturating_sub(durable);
        let room = |count, most| self.shared.room(self.slot, count, most);
        Ages {
            usual: match room(usual, config.tombstones_per_slot) {
                Room::Short => config.compensation_window.max(SIGN_OF_LIFE),
                Room::Enough => config.tombstone_retention,
                Room::Needed => Duration::MAX,
            },
            durable: match room(durable, config.durable_tombstones_per_slot) {
                Room::Short if durable > config.durable_tombstones_per_slot => {
                    config.tombstone_retention
                }
                Room::Short | Room::Enough => config.durable_retention,
                Room::Needed => Duration::MAX,
            },
        }
    }

    /// Forgets tombstones that are old enough, and before that the content of what has expired.
    pub(crate) fn collect_tombstones(&mut self) {
        let (config, tag, now, ages) = (&self.shared.config, self.tag, self.now, self.ages());
        let slot = &self.shared.slots[self.slot.index()];
        let Shelf { entries, tombstones, .. } = &mut *self.shelf;
        let (forgotten, mut gone, bytes) = (&mut self.forgotten, 0, Cell::new(0));
        let mut forget = |key: &str, term: Term, record: &Record<V>, learned: Tick| {
            gone += 1;
            bytes.set(bytes.get() + bytes_of(key, record));
            let until = learned.after(config.retention(term));
            if now < until && !is_in_doubt(record) {
                slot.memory.forgot_early(record.newest().time(), until);
            }
            if term == Term::Durable {
                slot.durable_tombstones.fetch_sub(1, Ordering::Relaxed);
            }
            // Whatever is saved of it: that of what nobody has ever registered may be, too.
            if (config.is_durable)(tag, key) {
                forgotten.push(key.into());
            }
        };
        let term_of = |key: &str, registration| config.term(tag, key, registration);
        let packed_term = |key: &str, packed: &Tombstone| term_of(key, packed.registration);
        // What is in doubt is no removal, and must be remembered until it can be judged.
        let age_of = |packed: &Tombstone, age: Duration| match is_in_doubt(&packed.record::<V>()) {
            true => age.max(DOUBT.min(config.tombstone_retention)),
            false => age,
        };
        tombstones.forget(now, &ages, packed_term, age_of, |key, term, packed| {
            forget(key, term, &packed.record(), packed.learned);
        });
        entries.retain(|key, entry| {
            if entry.record.is_visible() {
                return true;
            }
            let age = now.since(entry.learned);
            let term = term_of(key, entry.record.registration);
            if age >= ages.of(term) {
                forget(key, term, &entry.record, entry.learned);
                return false;
            }
            if age >= config.content_retention {
                let before = bytes_of(key, &entry.record);
                entry.record.value = None;
                bytes.set(bytes.get() + before - bytes_of(key, &entry.record));
            }
            // What is left without content goes to the others of that kind.
            let left = entry.tombstone();
            left.iter().for_each(|left| tombstones.insert(key, left, term));
            left.is_none()
        });
        slot.tombstones.fetch_sub(gone, Ordering::Relaxed);
        self.shared.weigh(self.slot, bytes.get(), 0);
    }

    /// Forgets, without leaving a tombstone, every visible record that has a lease and was not
    /// heard within its time-out.
    pub(crate) fn forget_unheard(&mut self) {
        let now = self.now;
        let is_silent = |entry: &Entry<V>| {
            let visible = entry.record.value.as_ref().filter(|_| entry.record.is_visible());
            let lease = visible.and_then(|value| value.lease());
            let silence = entry.heard().map_or(Duration::MAX, |at| now.since(at));
            lease.is_some_and(|lease| lease.health_after(silence) == Health::Expired)
        };
        let silent = self.shelf.entries.iter().filter(|(_, entry)| is_silent(entry));
        let keys: Vec<Key> = silent.map(|(key, _)| Arc::clone(key)).collect();
        for key in keys {
            let Some(entry) = self.shelf.entries.remove(&key) else { continue };
            let (foreign, config) = (self.shelf.is_foreign, &self.shared.config);
            let before = Footprint::of(&entry.record, self.tag, &key, foreign, config);
            self.visible = true;
            self.account(&before, &Footprint::NONE, false);
            // It is not remembered as a tombstone either.
            self.shared.slots[self.slot.index()].tombstones.fetch_sub(1, Ordering::Relaxed);
            self.changed.push(key);
        }
    }
}
