//! What request threads leave for the control plane: keys that changed, and beats that belong to
//! other members. Keys, not values, so that bursts coalesce; bounded, so that nothing piles up.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use crate::record::{Key, RecordId};
use crate::stamp::MemberId;
use crate::time::Tick;

/// A beat on its way to the owner of its slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HeardAt {
    /// When it was heard, on this member's clock.
    pub(crate) tick: Tick,
    /// How many members have passed it on after the first.
    pub(crate) hops: u8,
    /// The time of the registration that was heard.
    pub(crate) written: u64,
}

/// Local changes since the last look.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// Each with the member that need not be told, because it brought all that has changed.
    pub(crate) record_ids: BTreeMap<RecordId, Option<MemberId>>,
    /// There were more than may wait; they can only be found by comparing everything.
    pub(crate) overflown: bool,
}

/// Takes nothing until a control plane with peers switches it on.
pub(crate) struct Journal {
    is_kept: AtomicBool,
    /// Beats of this member's own slots are taken, too.
    takes_all: AtomicBool,
    limit: usize,
    changes: Mutex<Changes>,
    heard: Mutex<BTreeMap<RecordId, HeardAt>>,
}

impl Journal {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            is_kept: AtomicBool::new(false),
            takes_all: AtomicBool::new(false),
            limit,
            changes: Mutex::default(),
            heard: Mutex::default(),
        }
    }

    /// Starts or stops; what was taken is forgotten when it stops.
    pub(crate) fn keep(&self, is_kept: bool) {
        self.is_kept.store(is_kept, Ordering::Relaxed);
        if !is_kept {
            self.take_changes();
            self.take_heard();
        }
    }

    pub(crate) fn is_kept(&self) -> bool {
        self.is_kept.load(Ordering::Relaxed)
    }

    /// Whether beats are taken for others although this member owns their slot.
    pub(crate) fn takes_all(&self) -> bool {
        self.takes_all.load(Ordering::Relaxed)
    }

    pub(crate) fn take_all(&self, takes_all: bool) {
        self.takes_all.store(takes_all, Ordering::Relaxed);
    }

    /// `spared` is one of the keys, and who need not be told of that.
    pub(crate) fn note_changes(
        &self,
        tag: &Arc<str>,
        keys: Vec<Key>,
        spared: Option<(Key, MemberId)>,
    ) {
        if !self.is_kept() || keys.is_empty() {
            return;
        }
        let mut changes = self.changes.lock();
        for key in keys {
            let spared = spared.as_ref().filter(|(of, _)| *of == key).map(|(_, member)| *member);
            let is_full = changes.record_ids.len() >= self.limit;
            match changes.record_ids.entry((Arc::clone(tag), key)) {
                Entry::Occupied(mut known) if *known.get() != spared => _ = known.insert(None),
                Entry::Occupied(_) => {}
                Entry::Vacant(_) if is_full => {
                    changes.overflown = true;
                    return;
                }
                Entry::Vacant(fresh) => _ = fresh.insert(spared),
            }
        }
    }

    /// The next beat replaces one that finds no room.
    pub(crate) fn note_heard(&self, record_id: RecordId, heard: HeardAt) {
        let mut beats = self.heard.lock();
        if beats.len() >= self.limit && !beats.contains_key(&record_id) {
            return;
        }
        let known = beats.entry(record_id).or_insert(heard);
        if known.tick < heard.tick {
            *known = heard;
        }
    }

    pub(crate) fn take_changes(&self) -> Changes {
        mem::take(&mut self.changes.lock())
    }

    pub(crate) fn take_heard(&self) -> BTreeMap<RecordId, HeardAt> {
        mem::take(&mut self.heard.lock())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record_id(n: u64) -> RecordId {
        ("tag".into(), format!("k{n}").into())
    }

    #[test]
    fn it_is_bounded_and_says_when_it_has_forgotten_something() {
        let journal = Journal::new(3);
        journal.keep(true);
        for n in 0..5 {
            journal.note_changes(&"tag".into(), vec![record_id(n).1], None);
            journal
                .note_heard(record_id(n), HeardAt { tick: Tick::from_ms(n), hops: 0, written: 1 });
        }
        let changes = journal.take_changes();
        assert_eq!((changes.record_ids.len(), changes.overflown), (3, true));
        assert!(!journal.take_changes().overflown);
        assert_eq!(journal.take_heard().len(), 3);
    }

    #[test]
    fn who_brought_a_change_is_spared_unless_another_changed_the_same() {
        let journal = Journal::new(10);
        journal.keep(true);
        let [a, b] = [Some(MemberId(1)), Some(MemberId(2))];
        for (n, spared) in [(0, a), (1, a), (1, a), (2, a), (2, b), (3, a), (3, None), (4, None)] {
            let spared = spared.map(|member| (record_id(n).1, member));
            journal.note_changes(&"tag".into(), vec![record_id(n).1], spared);
        }
        let brought = a.map(|member| (record_id(4).1, member));
        journal.note_changes(&"tag".into(), vec![record_id(4).1], brought.clone());
        // What was written beside it does not come from there.
        journal.note_changes(&"tag".into(), vec![record_id(5).1], brought);
        let spared: Vec<_> = journal.take_changes().record_ids.into_values().collect();
        assert_eq!(spared, [a, a, None, None, None, None]);
    }

    #[test]
    fn of_several_beats_the_latest_stays() {
        let journal = Journal::new(3);
        for ms in [5, 9, 7] {
            journal
                .note_heard(record_id(1), HeardAt { tick: Tick::from_ms(ms), hops: 0, written: 1 });
        }
        assert_eq!(journal.take_heard()[&record_id(1)].tick, Tick::from_ms(9));
    }
}
