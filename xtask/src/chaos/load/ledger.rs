//! What writers of durable records were told, write by write: each write is about a record that no
//! later one covers up, so whatever is lost is seen.

use std::collections::HashSet;

use crate::chaos::judge::At;

/// What is known of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    /// Not answered yet, or refused with a word that it may still take effect, or not answered at
    /// all: it may be done or not.
    Unsure,
    /// Acknowledged.
    Done { at: At },
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    registered: Told,
    removed: Option<Told>,
}

/// Of one writer: all records that it ever wrote.
#[derive(Debug, Clone, Default)]
pub(in crate::chaos) struct Ledger {
    entries: Vec<Entry>,
    /// Node and record, where a node showed after the acknowledgement that a record is removed.
    shown_gone: HashSet<(usize, usize)>,
    /// Removals that were undone, as far as that was seen.
    undone: HashSet<usize>,
}

/// One write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Write {
    Register(usize),
    Remove(usize),
}

/// The counts of all writers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(in crate::chaos) struct DurableTally {
    /// Writes that were acknowledged.
    pub(in crate::chaos) acknowledged: usize,
    /// Writes that may have taken effect.
    pub(in crate::chaos) unsure: usize,
    /// Registrations that were acknowledged and that a node does not show in the end.
    pub(in crate::chaos) lost: usize,
    /// Removals that were acknowledged, and what they removed was shown again.
    pub(in crate::chaos) undone: usize,
    /// Writes that a node acknowledged while it reached no other.
    pub(in crate::chaos) alone: usize,
}

impl DurableTally {
    /// Whether there was something to lose, and all of it is there.
    pub(in crate::chaos) fn is_clean(&self) -> bool {
        self.acknowledged > 0 && self.lost + self.undone + self.alone == 0
    }
}

impl Ledger {
    /// Writes a new record.
    pub(super) fn register(&mut self) -> Write {
        self.entries.push(Entry { registered: Told::Unsure, removed: None });
        Write::Register(self.entries.len() - 1)
    }

    /// Removes a record that was surely there: that at `place` or the next one after it.
    pub(super) fn remove(&mut self, place: usize) -> Option<Write> {
        let can_go = |entry: &&mut Entry| {
            matches!(entry.registered, Told::Done { .. }) && entry.removed.is_none()
        };
        let mut after = self.entries.iter_mut().enumerate().skip(place);
        let (number, entry) = after.find(|(_, entry)| can_go(entry))?;
        entry.removed = Some(Told::Unsure);
        Some(Write::Remove(number))
    }

    /// How many records were ever written.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// A write was acknowledged.
    pub(super) fn done(&mut self, write: Write, at: At) {
        match write {
            Write::Register(number) => {
                if let Some(entry) = self.entries.get_mut(number) {
                    entry.registered = Told::Done { at };
                }
            }
            Write::Remove(number) => {
                if let Some(entry) = self.entries.get_mut(number) {
                    entry.removed = Some(Told::Done { at });
                }
            }
        }
    }

    /// A node was asked at `begun` and showed these records.
    pub(super) fn seen(&mut self, node: usize, begun: At, shown: &HashSet<usize>) {
        for (number, entry) in self.entries.iter().enumerate() {
            let Some(Told::Done { at }) = entry.removed else { continue };
            if at > begun {
                continue;
            }
            if !shown.contains(&number) {
                self.shown_gone.insert((node, number));
            } else if self.shown_gone.contains(&(node, number)) {
                self.undone.insert(number);
            }
        }
    }

    /// A node shows these records when all members agree: gives the registrations that are lost
    /// and notes the removals that are undone.
    pub(super) fn settle(&mut self, shown: &HashSet<usize>) -> Vec<usize> {
        let mut lost = Vec::new();
        for (number, entry) in self.entries.iter().enumerate() {
            match (entry.registered, entry.removed, shown.contains(&number)) {
                (Told::Done { .. }, None, false) => lost.push(number),
                (_, Some(Told::Done { .. }), true) => _ = self.undone.insert(number),
                _ => {}
            }
        }
        lost
    }

    /// Adds what was written; what was lost or acknowledged alone is counted elsewhere.
    pub(super) fn count(&self, tally: &mut DurableTally) {
        let told = |entry: &Entry| [Some(entry.registered), entry.removed];
        for told in self.entries.iter().flat_map(told).flatten() {
            match told {
                Told::Done { .. } => tally.acknowledged += 1,
                Told::Unsure => tally.unsure += 1,
            }
        }
        tally.undone += self.undone.len();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> At {
        Duration::from_secs(seconds)
    }

    /// Two that were acknowledged, one that is unsure.
    fn three() -> Ledger {
        let mut ledger = Ledger::default();
        for number in 0..3 {
            assert_eq!(ledger.register(), Write::Register(number));
        }
        ledger.done(Write::Register(0), at(1));
        ledger.done(Write::Register(1), at(1));
        ledger
    }

    fn tally(ledger: &Ledger) -> DurableTally {
        let mut tally = DurableTally::default();
        ledger.count(&mut tally);
        tally
    }

    #[test]
    fn what_was_acknowledged_must_be_there_and_what_is_unsure_may_be() {
        let mut ledger = three();
        assert_eq!(ledger.settle(&[0, 1].into()), [0; 0]);
        assert_eq!(ledger.settle(&[0, 1, 2].into()), [0; 0]);
        assert_eq!(ledger.settle(&[0, 2].into()), [1]);
        let counted = DurableTally { acknowledged: 2, unsure: 1, ..DurableTally::default() };
        assert_eq!(tally(&ledger), counted);
        assert!(counted.is_clean() && !DurableTally::default().is_clean());
    }

    #[test]
    fn only_what_is_surely_there_is_removed_and_once() {
        let mut ledger = three();
        assert_eq!(ledger.remove(1), Some(Write::Remove(1)));
        assert_eq!(ledger.remove(1), None);
        assert_eq!(ledger.remove(0), Some(Write::Remove(0)));
        assert_eq!(ledger.remove(0), None);
    }

    #[test]
    fn a_removal_holds_once_it_is_acknowledged() {
        let mut ledger = three();
        let remove = ledger.remove(0).unwrap();
        assert_eq!(ledger.settle(&[1].into()), [0; 0], "it may have been done");
        assert_eq!(ledger.settle(&[0, 1].into()), [0; 0], "or not");
        assert_eq!(tally(&ledger).undone, 0);
        ledger.done(remove, at(2));
        assert_eq!(ledger.settle(&[0, 1].into()), [0; 0]);
        assert_eq!(tally(&ledger).undone, 1);
    }

    #[test]
    fn what_a_node_has_shown_as_gone_may_not_come_back_there() {
        let mut ledger = three();
        let remove = ledger.remove(0).unwrap();
        ledger.done(remove, at(5));
        let (with, without) = ([0, 1].into(), [1].into());
        ledger.seen(0, at(4), &without);
        ledger.seen(0, at(6), &with);
        ledger.seen(1, at(6), &without);
        ledger.seen(2, at(7), &with);
        assert_eq!(tally(&ledger).undone, 0, "the others may not know it yet");
        ledger.seen(1, at(8), &with);
        assert_eq!(tally(&ledger).undone, 1);
    }
}
