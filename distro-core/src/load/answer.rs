//! The giving side of a load: a page of what is held here.

use crate::answer::{Answer, weight};
use crate::message::{Entry, Reply};
use crate::record::RecordId;
use crate::record::Value;
use crate::slot::Slot;

impl<V: Value, A: Default + Send + Sync + 'static> Answer<V, A> {
    /// Records of a range of slots, from after one of them on, as many as fit into a message.
    pub(crate) fn page(&self, first: Slot, last: Slot, after: Option<&RecordId>) -> Reply<V> {
        let (mut entries, mut bytes) = (Vec::new(), 0);
        let range = Slot::all().filter(|slot| (first..=last).contains(slot));
        // The tag at which the last page ended may have more records.
        let begun = after.map(|(tag, _)| tag.clone());
        let rest = range.flat_map(|slot| {
            let after = after.filter(|_| slot == first).map(|(tag, _)| &**tag);
            self.store.tags(slot, after)
        });
        for tag in begun.into_iter().chain(rest) {
            let Some(datum) = self.store.find(&tag) else { continue };
            let from = after.filter(|(at, _)| *at == tag).map(|(_, key)| &**key);
            // Foreign ones, too: who starts should not know less than the others.
            let is_full = datum.read(|reader| {
                for (key, record) in reader.records_after(from) {
                    if bytes >= self.config.batch_bytes || entries.len() >= self.config.batch_keys {
                        return true;
                    }
                    let record_id = (tag.clone(), key);
                    bytes += weight(&record_id, &record);
                    let (tag, key) = record_id;
                    entries.push(Entry { tag, key, record });
                }
                false
            });
            if is_full {
                return page_of(entries, true);
            }
        }
        page_of(entries, false)
    }
}

fn page_of<V>(entries: Vec<Entry<V>>, more: bool) -> Reply<V> {
    let last = entries.last().map(|entry| (entry.tag.clone(), entry.key.clone()));
    Reply::Page { entries, more, last }
}
