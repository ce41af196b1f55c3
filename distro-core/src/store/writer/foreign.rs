//! Tags whose owner does not speak this protocol: following who that is, and taking its word.
//!
//! Such an owner tells whole lists without stamps. A list becomes changes of single records here,
//! with stamps that are just newer than what is held, and older than whatever a member of this
//! protocol writes once it has taken the tag over.

use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::store::footprint::Footprint;

/// What was written here is not undone by lists that were composed so much later at most: they
/// may have been on their way.
const WRITE_STANDS: Duration = Duration::from_secs(3);
/// A list may come so much later than one that was composed after it.
const OVERTAKEN: Duration = Duration::from_secs(1);
/// So long after a change of owners all members see the same, and what got lost is back.
const CONVERGED: Duration = Duration::from_secs(10);
/// What was registered for less than that is not missing because the owner has not heard it for
/// its time-out.
const FRESH: Duration = Duration::from_secs(25);

/// A record as it stands in the list of a tag.
#[derive(Debug)]
pub struct Listed<V> {
    /// The key in the datum.
    pub key: Key,
    /// Its value.
    pub value: Arc<V>,
    /// What the owner says of it: healthy or unhealthy.
    pub health: Health,
}

/// How a list is to be taken.
#[derive(Debug, Clone, Copy)]
pub struct ListTerms {
    /// Whether the tag has been the sender's for so long that what is missing in its list is gone.
    /// If not, it may just not have it yet: what is missing stays for its own time-out.
    pub is_settled: bool,
    /// Whether there is a list at all. A member that has just come to own a tag may have none, and
    /// says nothing of it; an empty list was made so.
    pub is_told: bool,
    /// When the list was asked for; now, if it came by itself. What was learned here since then
    /// is newer than the list.
    pub as_of: Tick,
    /// Records that may be added at most.
    pub room: usize,
}

impl<V: Value> Writer<'_, V> {
    /// Whether the owner of the tag does not speak this protocol.
    pub fn is_foreign(&self) -> bool {
        self.shelf.is_foreign
    }

    /// Follows the view of owners. Records that members tell each other from now on are folded in,
    /// and they are told; others are folded out.
    #[inline]
    pub(crate) fn follow_owners(&mut self) {
        let epoch = self.shared.owners_epoch();
        if self.shelf.epoch != epoch {
            self.follow_owners_to(epoch);
        }
    }

    #[cold]
    fn follow_owners_to(&mut self, epoch: u64) {
        // In this order: should the view change in between, the next writer looks again.
        self.shelf.epoch = epoch;
        let is_foreign = self.shared.is_foreign(self.tag);
        if self.shelf.is_foreign == is_foreign || !self.shared.config.rules.foreign_apart() {
            self.shelf.is_foreign = is_foreign;
            return;
        }
        let (tag, config) = (self.tag, &self.shared.config);
        let visible = self.shelf.visible().filter(|(key, ..)| config.is_apart(true, tag, key));
        let (mut sum, mut keys) = (0_u64, Vec::new());
        for (key, record, _) in visible {
            sum = sum.wrapping_add(Footprint::of(record, tag, key, false, config).fingerprint);
            keys.push(Arc::clone(key));
        }
        let change = if is_foreign { sum.wrapping_neg() } else { sum };
        self.shelf.checksum = self.shelf.checksum.wrapping_add(change);
        self.shared.slots[self.slot.index()].checksum.fetch_add(change, Ordering::Relaxed);
        if self.shelf.is_open() {
            self.fold_opening(!is_foreign);
        }
        self.shelf.is_foreign = is_foreign;
        if !is_foreign {
            self.take_over(keys);
        }
    }

    /// Tells the others what was held apart until now. Its new owner writes it anew, so that
    /// nothing counts any more that others still take from the old one.
    fn take_over(&mut self, keys: Vec<Key>) {
        let is_ours = self.shared.owner(self.tag, self.slot) == Some(self.shared.clock.member());
        for key in keys {
            let held = self.shelf.find_visible(&key);
            let held = held.map(|(record, value)| (record.health(), Arc::clone(value)));
            match held {
                Some((health, value)) if is_ours && self.shared.config.rules.take_over() => {
                    let stamp = self.shared.clock.issue(self.now);
                    // The health is a judgement, not the word of a client: who heard the record
                    // within its time-out may take it back.
                    let liveness = self.shared.clock.issue(self.now);
                    let record = Record { liveness, ..Record::registered(stamp, value, health) };
                    self.apply(&key, &record, Origin::Local);
                }
                _ => self.note_local(&key),
            }
        }
    }

    /// A stamp for what a member says that has none: just newer than what is held under the key.
    ///
    /// In such stamps time passes 65,536 times more slowly than in those that are issued: they
    /// count milliseconds where the others count parts of one. Members that hear the same
    /// at about the same moments put it in the same order, and any of them that takes over
    /// overrides all of it.
    pub(super) fn list_stamp(&self, key: &str) -> Stamp {
        let clock = &self.shared.clock;
        if !self.shared.config.rules.foreign_stamps() {
            return clock.issue(self.now);
        }
        let (newest, learned) = match self.shelf.entries.get(key) {
            Some(entry) => (entry.record.newest(), entry.learned),
            None => self.shelf.tombstones.find(key).map_or((Stamp::NEVER, self.now), |packed| {
                (packed.record::<V>().newest(), packed.learned)
            }),
        };
        let passed = u64::try_from(self.now.since(learned).as_millis()).unwrap_or(u64::MAX).max(1);
        let after = newest.time().saturating_add(passed);
        clock.slow(self.now, after.max(self.shelf.closed.time() + 1))
    }

    /// Whether a list must leave a record alone.
    fn is_newer_than_list(&self, key: &str, as_of: Tick) -> bool {
        let is_newer = |learned: Tick| learned >= as_of && as_of < self.now;
        let learned = match self.shelf.entries.get(key) {
            Some(entry) => Some(entry.learned),
            None => self.shelf.tombstones.find(key).map(|packed| packed.learned),
        };
        let rules = &self.shared.config.rules;
        rules.writes_hold()
            && (learned.is_some_and(is_newer)
                || self
                    .shared
                    .recent_writes
                    .until(self.tag, key)
                    .is_some_and(|until| as_of < until))
    }

    /// Nothing that is written from now on is new.
    pub(crate) fn note_no_writes(&mut self) {
        self.notes_writes = false;
    }

    /// Notes that a record of a tag that others own was written here.
    #[inline]
    pub(super) fn note_recent_write(&self, key: &str) {
        if self.notes_writes && self.shelf.is_foreign {
            self.note_foreign_write(key);
        }
    }

    #[cold]
    fn note_foreign_write(&self, key: &str) {
        let (tag, shared) = (self.tag, self.shared);
        if !(shared.config.is_durable)(tag, key) {
            shared.recent_writes.note(tag, key, self.now.after(WRITE_STANDS), self.now);
        }
    }

    /// Takes the whole list of a foreign tag. Returns false, and does nothing, if it is none.
    pub(crate) fn take_list(&mut self, list: &[Listed<V>], terms: &ListTerms) -> bool {
        if !self.shelf.is_foreign {
            return false;
        }
        let listed: BTreeMap<&str, &Listed<V>> =
            list.iter().map(|listed| (&*listed.key, listed)).collect();
        for key in self.missing(&listed, terms) {
            self.apply(&key, &Record::removed(self.list_stamp(&key)), Origin::ForeignOwner);
        }
        let mut room = terms.room;
        for (key, Listed { value, health, .. }) in listed {
            if self.is_newer_than_list(key, terms.as_of)
                || (self.shared.config.is_durable)(self.tag, key)
            {
                continue;
            }
            let known = self.find_visible(key);
            let health = self.believed(key, value, *health, terms.is_settled);
            match known {
                None if room == 0 => {}
                Some((known, held)) if held.shows_like(value) => {
                    if known.health() != health {
                        self.judge_listed(key, known.registration, health);
                    }
                }
                known => {
                    if known.is_none() {
                        room -= 1;
                        let until = self.now.after(FRESH);
                        self.shared.newly_listed.note(self.tag, key, until, self.now);
                    }
                    let stamp = self.list_stamp(key);
                    let record = Record::registered(stamp, Arc::clone(value), health);
                    self.apply(key, &record, Origin::ForeignOwner);
                }
            }
        }
        true
    }

    /// Sets the health of what was registered at `of`, as its owner tells it.
    fn judge_listed(&mut self, key: &str, of: Stamp, health: Health) {
        let stamp = self.list_stamp(key);
        self.apply(key, &Record::judged(of, stamp, health), Origin::ForeignOwner);
    }

    /// The records that a list says are gone by not having them.
    fn missing(&self, listed: &BTreeMap<&str, &Listed<V>>, terms: &ListTerms) -> Vec<Key> {
        let (shared, now) = (self.shared, self.now);
        let changed = shared.owners_since();
        let waits = shared.config.rules.absence_waits() && !terms.is_settled;
        // Registered with this owner and missing so soon: somebody has removed it.
        let is_removed = |key: &str| {
            let until = || shared.newly_listed.until(self.tag, key);
            let is_new = |until: Tick| now < until && until > changed.after(FRESH);
            terms.is_told && now >= changed.after(CONVERGED) && until().is_some_and(is_new)
        };
        let is_gone = |(key, entry): &(&Key, &Entry<V>)| {
            let Some(value) = entry.record.value.as_ref().filter(|_| entry.record.is_visible())
            else {
                return false;
            };
            if listed.contains_key(&***key) || (shared.config.is_durable)(self.tag, key) {
                return false;
            }
            let time_out = value.lease().map_or(Duration::ZERO, |lease| lease.expire_after);
            let is_over = || now >= entry.moment().max(changed).after(time_out);
            // Two lists may overtake each other on their way.
            let may_be_older = terms.as_of < entry.learned.after(OVERTAKEN);
            (!waits || is_removed(key) || is_over())
                && !may_be_older
                && !self.is_newer_than_list(key, terms.as_of)
        };
        self.shelf.entries.iter().filter(is_gone).map(|(key, _)| Arc::clone(key)).collect()
    }

    /// The health that the owner tells, unless this member heard the record and knows better, or
    /// the owner cannot know: one that is new judges by silence from before it listened.
    fn believed(&self, key: &str, value: &Arc<V>, told: Health, is_settled: bool) -> Health {
        let known = self.find_visible(key).map(|(record, _)| record.health());
        let is_new = self.shared.config.rules.absence_waits() && !is_settled;
        let told = if is_new { told.min(known.unwrap_or(told)) } else { told };
        let heard = self.shelf.entries.get(key).and_then(Entry::heard);
        let truth = heard.zip(value.lease());
        let truth = truth.map(|(heard, lease)| lease.health_after(self.now.since(heard)));
        truth.map_or(told, |truth| told.min(truth))
    }

    /// Takes what the owner of a foreign tag says of the health of its records.
    pub(crate) fn take_health(
        &mut self,
        health_of: impl Fn(&str) -> Option<Health>,
        terms: &ListTerms,
    ) {
        if !self.shelf.is_foreign {
            return;
        }
        let told: Vec<(Key, Stamp, Health)> = self
            .shelf
            .visible()
            .filter_map(|(key, record, value)| {
                value.lease()?;
                let health = self.believed(key, value, health_of(key)?, terms.is_settled);
                (health != record.health()).then(|| (Arc::clone(key), record.registration, health))
            })
            .collect();
        for (key, of, health) in told {
            if !self.is_newer_than_list(&key, terms.as_of) {
                self.judge_listed(&key, of, health);
            }
        }
    }

    /// Registers what the owner of a foreign tag has just taken from a client of this member.
    /// What is there already keeps its health.
    pub(crate) fn take_registration(&mut self, key: &str, value: Arc<V>, health: Health) {
        let known = self.find_visible(key).map(|(record, _)| record.health());
        let health = known.unwrap_or(health);
        if self.shelf.is_foreign {
            let stamp = self.list_stamp(key);
            self.apply(key, &Record::registered(stamp, value, health), Origin::ForeignOwner);
            self.renew(key);
            self.note_recent_write(key);
        } else {
            self.register(key, self.shared.clock.issue(self.now), value, health);
        }
    }

    /// Removes what the owner of a foreign tag has just removed for a client of this member.
    pub(crate) fn take_removal(&mut self, key: &str) {
        if !self.shelf.is_foreign {
            self.deregister_unseen(key, self.shared.clock.issue(self.now));
            return;
        }
        if self.find_visible(key).is_some() {
            let stamp = self.list_stamp(key);
            self.apply(key, &Record::removed(stamp), Origin::ForeignOwner);
        }
        self.note_recent_write(key);
    }

    /// Takes what a member without stamps says of a tag that is not foreign: what is not known
    /// here at all. Whatever others of this protocol know of it wins.
    pub(crate) fn adopt_list(&mut self, list: &[Listed<V>], mut room: usize) {
        if self.shelf.is_foreign {
            return;
        }
        for Listed { key, value, health } in list {
            let is_known =
                self.find(key).is_some() || (self.shared.config.is_durable)(self.tag, key);
            if !is_known && room > 0 {
                room -= 1;
                let stamp = self.list_stamp(key);
                // For the same reason as in a takeover.
                let liveness = self.shared.clock.slow(self.now, stamp.time() + 1);
                let record =
                    Record { liveness, ..Record::registered(stamp, Arc::clone(value), *health) };
                self.apply(key, &record, Origin::Local);
            }
        }
    }

    /// Makes a record healthy that was heard.
    pub(crate) fn revive(&mut self, key: &str) -> bool {
        let known =
            self.find_visible(key).map(|(record, _)| (record.health(), record.registration));
        let Some((Health::Unhealthy, of)) = known else { return false };
        if self.shelf.is_foreign {
            self.judge_listed(key, of, Health::Healthy);
        } else {
            self.judge(key, self.shared.clock.issue(self.now), Health::Healthy);
        }
        true
    }
}
