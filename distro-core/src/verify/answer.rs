//! The asked side of a comparison: what is held here, as sums, as stamps and as records.

use std::collections::BTreeMap;

use crate::answer::{Answer, weight};
use crate::message::{Entry, Reply, StampRange, TagSum};
use crate::record::{DATUM_KEY, Key, Record, Stamps, Value};
use crate::slot::Slot;
use crate::stamp::MemberId;
use crate::time::Tick;

impl<V: Value, A: Default + Send + Sync + 'static> Answer<V, A> {
    pub(crate) fn verify(&self, root: u64, open: Option<u64>) -> Reply<V> {
        let lists_the_same = open.is_none_or(|open| open == self.store.open_root());
        if root == self.store.root() && lists_the_same {
            return Reply::Same;
        }
        let sums = Slot::all().map(|slot| self.store.checksum(slot)).collect();
        let open = open
            .map_or_else(Vec::new, |_| Slot::all().map(|slot| self.store.open_sum(slot)).collect());
        Reply::Differs { sums, open }
    }

    pub(crate) fn tags(&self, slots: &[Slot]) -> Reply<V> {
        let mut sums = Vec::new();
        let mut answered = 0;
        for slot in slots {
            if sums.len() >= self.config.batch_keys {
                break;
            }
            answered += 1;
            for tag in self.store.tags(*slot, None) {
                let Some(datum) = self.store.find(&tag) else { continue };
                let (sum, is_open) = (datum.checksum(), Some(datum.is_open()));
                sums.push(TagSum { tag, sum, is_open });
            }
        }
        Reply::Tags { slots: answered, sums }
    }

    /// Answers for those records that the other member shows to nobody, although it has the stamps
    /// that this one has: it had to forget removals, and asks.
    pub(crate) fn confirm(&self, ranges: &[StampRange], now: Tick) {
        for range in ranges {
            let Some(datum) = self.store.find(&range.tag) else { continue };
            let asked = range.stamps.iter().filter(|(_, stamps)| stamps.are_in_doubt());
            for (key, stamps) in asked {
                let is_shown = datum.read(|reader| {
                    let shown = reader.find_visible(key).map(|(record, _)| record.registration);
                    shown == Some(stamps.registration)
                });
                if is_shown {
                    self.store.confirm(&range.tag, key, now);
                }
            }
        }
    }

    pub(crate) fn compare_with(&self, from: MemberId, ranges: &[StampRange]) -> Reply<V> {
        let reply = self.compare(ranges);
        if let Reply::Compared { wanted, .. } = &reply
            && !wanted.is_empty()
        {
            let slots = wanted.iter().map(|(tag, _)| Slot::of(tag)).collect();
            self.status.note_given(from, &slots);
        }
        reply
    }

    fn compare(&self, ranges: &[StampRange]) -> Reply<V> {
        let (mut given, mut wanted, mut stopped) = (Vec::new(), Vec::new(), None);
        let mut bytes = 0;
        for (index, range) in ranges.iter().enumerate() {
            let is_shared = self.store.sharing(&range.tag);
            let shared = range.stamps.iter().filter(|(key, _)| is_shared(key));
            let theirs: BTreeMap<&str, &Stamps> =
                shared.clone().map(|(key, stamps)| (&**key, stamps)).collect();
            let (mine, cut) = self.records_in(range, self.config.batch_keys - given.len());
            let mut cut = cut.then(|| mine.last().map(|(key, _)| key.clone())).flatten();
            let mut looked: BTreeMap<&str, ()> = BTreeMap::new();
            for (key, record) in &mine {
                looked.insert(key, ());
                let (ours, theirs) = (record.stamps(), theirs.get(&**key).copied());
                if ours.has_news_for(theirs) {
                    let record_id = (range.tag.clone(), key.clone());
                    bytes += weight(&record_id, record);
                    let (tag, key) = record_id;
                    given.push(Entry { tag, key, record: record.clone() });
                }
                if theirs.is_some_and(|theirs| theirs.has_news_for(Some(&ours))) {
                    wanted.push((range.tag.clone(), key.clone()));
                }
                if bytes >= self.config.batch_bytes || given.len() >= self.config.batch_keys {
                    cut = Some(key.clone());
                    break;
                }
            }
            let in_reach = |key: &Key| cut.as_ref().is_none_or(|cut| key <= cut);
            // Of a removal that is not known here only that of the datum is news: it is listed here.
            let closes = |key: &Key, stamps: &Stamps| {
                let datum = || self.store.find(&range.tag);
                &**key == DATUM_KEY
                    && stamps.has_news_for(Some(&Stamps::default()))
                    && self.config.rules.compare_open()
                    && datum().is_some_and(|datum| datum.is_open())
            };
            let unseen = shared.filter(|(key, stamps)| {
                in_reach(key)
                    && !looked.contains_key(&**key)
                    && (stamps.has_news_for(None) || closes(key, stamps))
            });
            wanted.extend(unseen.map(|(key, _)| (range.tag.clone(), key.clone())));
            if let Some(key) = cut {
                stopped = Some((index, key));
                break;
            }
        }
        Reply::Compared { given, wanted, stopped, unread: Vec::new() }
    }

    /// The records in a range, at most `room` of them but at least one, and whether
    /// there are more.
    fn records_in(&self, range: &StampRange, room: usize) -> (Vec<(Key, Record<V>)>, bool) {
        let Some(datum) = self.store.find(&range.tag) else { return (Vec::new(), false) };
        let (room, is_shared) = (room.max(1), self.store.sharing(&range.tag));
        let mut mine: Vec<_> = datum.read(|reader| {
            let within = |key: &Key| range.until.as_ref().is_none_or(|until| key <= until);
            let records = reader.records_after(range.after.as_deref());
            let records = records.take_while(|(key, _)| within(key));
            records.filter(|(key, _)| is_shared(key)).take(room + 1).collect()
        });
        let more = mine.len() > room;
        mine.truncate(room);
        (mine, more)
    }
}
