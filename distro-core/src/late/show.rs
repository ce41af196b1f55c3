//! Showing the owner of a record a judgement that waits here.

use std::collections::BTreeMap;

use crate::answer::weight;
use crate::distro::{Distro, Purpose};
use crate::late::Judgement;
use crate::message::{Entry, Request};
use crate::record::RecordId;
use crate::record::{Record, Value};
use crate::stamp::MemberId;
use crate::time::Tick;

impl<V: Value, A: Default + Send + Sync + 'static> Distro<V, A> {
    /// Tells owners of some judgements that wait. An owner that heard the record takes the judgement
    /// back, and tells everybody; one that did not lets it wait, too, or judges by itself.
    pub(crate) fn show_withheld(&mut self, now: Tick) {
        let mut batches: BTreeMap<MemberId, (Vec<Entry<V>>, usize)> = BTreeMap::new();
        let withheld = self.store.shared.late.take_withheld(self.config.batch_keys);
        for (record_id, judgement) in withheld {
            let owner = self.store.owner(&record_id.0).and_then(|owner| self.peers.get(&owner));
            let Some(owner) = owner.filter(|peer| peer.was_reachable) else { continue };
            let Some(record) = self.with_judgement(&record_id, judgement) else { continue };
            let id = owner.member.id;
            let (entries, bytes) = batches.entry(id).or_default();
            *bytes += weight(&record_id, &record);
            let (tag, key) = record_id;
            entries.push(Entry { tag, key, record });
            if *bytes >= self.config.batch_bytes {
                let full = std::mem::take(entries);
                *bytes = 0;
                self.send(id, Purpose::Show, Request::Replicate(full), now);
            }
        }
        for (id, (entries, _)) in batches {
            if !entries.is_empty() {
                self.send(id, Purpose::Show, Request::Replicate(entries), now);
            }
        }
    }

    /// The record as it would be if the judgement were believed. Whole: the owner may not have it.
    fn with_judgement(&self, record_id: &RecordId, judgement: Judgement) -> Option<Record<V>> {
        let Judgement { registration, liveness, judged } = judgement;
        let datum = self.store.find(&record_id.0)?;
        let record = datum
            .read(|reader| reader.find_visible(&record_id.1).map(|(record, _)| record.clone()))
            .filter(|record| record.registration == registration)?;
        Some(Record { liveness, judged, ..record })
    }
}
