//! The answering side: a request of another member and the store in, the reply out. Any thread
//! may answer; nothing waits for the control plane.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::board::Board;
use crate::config::DistroConfig;
use crate::datum::HeardOf;
use crate::forward;
use crate::journal::{HeardAt, Place};
use crate::message::{Beat, Entry, Reply, Request, Sender, Sheet, TagSum};
use crate::record::{DATUM_KEY, Key, Record, Stamps, Value};
use crate::slot::Slot;
use crate::stamp::MemberId;
use crate::store::Store;
use crate::time::Tick;

mod account;
pub(crate) use account::take_account;

/// How often a beat is passed on at most: by who heard it, by one that reaches the owner, and by
/// one more whose view of the owner is newer.
pub(crate) const MOST_HOPS: u8 = 3;

/// Answers the requests of other members. Cheap to clone.
pub struct Answer<V: Value, A> {
    store: Arc<Store<V, A>>,
    board: Arc<Board>,
    config: Arc<DistroConfig>,
}

impl<V: Value, A> Clone for Answer<V, A> {
    fn clone(&self) -> Self {
        let (store, board) = (Arc::clone(&self.store), Arc::clone(&self.board));
        Self { store, board, config: Arc::clone(&self.config) }
    }
}

impl<V: Value, A: Default + Send + Sync + 'static> Answer<V, A> {
    pub(crate) fn new(
        store: Arc<Store<V, A>>,
        board: Arc<Board>,
        config: Arc<DistroConfig>,
    ) -> Self {
        Self { store, board, config }
    }

    /// The reply to a request. `from` must be who the transport has found the sender to be, and
    /// `in_transit` how long ago it put the request together ([`Passage`](crate::Passage)); zero if
    /// it does not say. A request that is late or comes twice does no harm: who put together what
    /// [is late](Self::is_late) has long given it up, and gets [`Reply::Busy`].
    ///
    /// The reply to [`Request::Hold`] may be sent only when its records are on disk as the store
    /// holds them by now; if they cannot be put there, [`Reply::Busy`] in its place.
    pub fn answer(
        &self,
        from: Sender,
        request: Request<V>,
        in_transit: Duration,
        now: Tick,
    ) -> Reply<V> {
        if self.is_late(in_transit) {
            return Reply::Busy;
        }
        let in_transit = if self.config.rules.refuse_late() { in_transit } else { Duration::ZERO };
        match request {
            Request::Probe { .. } => Reply::Probed {
                incarnation: self.board.incarnation(),
                phase: self.board.phase(),
                contacts: self.board.contacts(now),
                list: self.board.list(),
            },
            Request::Replicate(entries) | Request::Hold(entries) => {
                merge(&self.store, &entries, now);
                Reply::Done
            }
            Request::Renew(_)
            | Request::Verify { .. }
            | Request::Tags(_)
            | Request::Compare(_)
            | Request::Account { .. }
            | Request::Load { .. }
                if self.config.rules.pause() && !self.board.is_awake(now) =>
            {
                // What waited in a socket while this process was stopped says nothing of now;
                // and what is held here may be older than the others' memory of removals.
                Reply::Busy
            }
            Request::Renew(_)
                if self.config.rules.pause()
                    && self.board.has_just_woken(now, self.config.call_deadline) =>
            {
                // It may have waited, too, and says nothing but ages as of when it was sent. Whoever
                // sent it a moment ago sends it again.
                Reply::Busy
            }
            Request::Renew(beats) => self.renew(beats, in_transit, now),
            Request::Verify { root, open } => self.verify(root, open),
            Request::Tags(slots) => self.tags(&slots),
            Request::Compare(sheets) => {
                self.confirm(&sheets, now);
                self.compare_with(from.member, &sheets)
            }
            Request::Load { first, last, after } => self.page(first, last, after.as_ref()),
            Request::Account { slots, after } => {
                self.account(from.member, &slots, after.as_ref(), now)
            }
            Request::Forward(operation) => {
                let heard = now.before(in_transit).unwrap_or(Tick::ZERO);
                forward::carry_out_for(&self.store, from, &operation, heard, now)
            }
            Request::Arrived { clients } => {
                let at = now.before(in_transit).unwrap_or(Tick::ZERO);
                self.board.note_arrivals(&clients, at, now);
                Reply::Done
            }
            Request::Leave { incarnation } => {
                self.board.note_left(from.member, incarnation);
                Reply::Done
            }
        }
    }

    /// Whether a request that was on its way for so long is refused. What it says was so when it
    /// was sent, and counts as of now: a beat that the network withheld for a minute would bring
    /// the dead back.
    pub fn is_late(&self, in_transit: Duration) -> bool {
        let DistroConfig { late_after, call_deadline, forward_deadline, .. } = *self.config;
        let longest_wait = call_deadline.max(forward_deadline);
        self.config.rules.refuse_late() && in_transit >= late_after.max(longest_wait)
    }

    fn renew(&self, beats: Vec<Beat>, in_transit: Duration, now: Tick) -> Reply<V> {
        let (mut removed, mut unknown) = (Vec::new(), Vec::new());
        for Beat { tag, key, age_ms, hops, written } in beats {
            let age = Duration::from_millis(age_ms).saturating_add(in_transit);
            let heard = now.before(age).map(|tick| HeardAt { tick, hops, written });
            match self.store.hear_of(&tag, &key, heard, written, now) {
                HeardOf::Known { is_behind: true, .. } => unknown.push((tag, key)),
                HeardOf::Known { .. } => {}
                HeardOf::Removed(record) => removed.push(Entry { tag, key, record }),
                HeardOf::Unknown => unknown.push((tag, key)),
            }
        }
        Reply::Renewed { removed, unknown }
    }

    fn verify(&self, root: u64, open: Option<u64>) -> Reply<V> {
        let lists_the_same = open.is_none_or(|open| open == self.store.open_root());
        if root == self.store.root() && lists_the_same {
            return Reply::Same;
        }
        let sums = Slot::all().map(|slot| self.store.checksum(slot)).collect();
        let open = open
            .map_or_else(Vec::new, |_| Slot::all().map(|slot| self.store.open_sum(slot)).collect());
        Reply::Differs { sums, open }
    }

    fn tags(&self, slots: &[Slot]) -> Reply<V> {
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
    fn confirm(&self, sheets: &[Sheet], now: Tick) {
        for sheet in sheets {
            let Some(datum) = self.store.find(&sheet.tag) else { continue };
            let asked = sheet.stamps.iter().filter(|(_, stamps)| stamps.are_in_doubt());
            for (key, stamps) in asked {
                let is_shown = datum.read(|reader| {
                    let shown = reader.find_visible(key).map(|(record, _)| record.registration);
                    shown == Some(stamps.registration)
                });
                if is_shown {
                    self.store.confirm(&sheet.tag, key, now);
                }
            }
        }
    }

    fn compare_with(&self, from: MemberId, sheets: &[Sheet]) -> Reply<V> {
        let reply = self.compare(sheets);
        if let Reply::Compared { wanted, .. } = &reply
            && !wanted.is_empty()
        {
            let slots = wanted.iter().map(|(tag, _)| Slot::of(tag)).collect();
            self.board.note_given(from, &slots);
        }
        reply
    }

    fn compare(&self, sheets: &[Sheet]) -> Reply<V> {
        let (mut given, mut wanted, mut stopped) = (Vec::new(), Vec::new(), None);
        let mut bytes = 0;
        for (index, sheet) in sheets.iter().enumerate() {
            let is_shared = self.store.sharing(&sheet.tag);
            let shared = sheet.stamps.iter().filter(|(key, _)| is_shared(key));
            let theirs: BTreeMap<&str, &Stamps> =
                shared.clone().map(|(key, stamps)| (&**key, stamps)).collect();
            let (mine, cut) = self.stretch(sheet, self.config.batch_keys - given.len());
            let mut cut = cut.then(|| mine.last().map(|(key, _)| key.clone())).flatten();
            let mut looked: BTreeMap<&str, ()> = BTreeMap::new();
            for (key, record) in &mine {
                looked.insert(key, ());
                let (ours, theirs) = (record.stamps(), theirs.get(&**key).copied());
                if ours.has_news_for(theirs) {
                    let place = (sheet.tag.clone(), key.clone());
                    bytes += weight(&place, record);
                    let (tag, key) = place;
                    given.push(Entry { tag, key, record: record.clone() });
                }
                if theirs.is_some_and(|theirs| theirs.has_news_for(Some(&ours))) {
                    wanted.push((sheet.tag.clone(), key.clone()));
                }
                if bytes >= self.config.batch_bytes || given.len() >= self.config.batch_keys {
                    cut = Some(key.clone());
                    break;
                }
            }
            let in_reach = |key: &Key| cut.as_ref().is_none_or(|cut| key <= cut);
            // Of a removal that is not known here only that of the datum is news: it is listed here.
            let closes = |key: &Key, stamps: &Stamps| {
                let datum = || self.store.find(&sheet.tag);
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
            wanted.extend(unseen.map(|(key, _)| (sheet.tag.clone(), key.clone())));
            if let Some(key) = cut {
                stopped = Some((index, key));
                break;
            }
        }
        Reply::Compared { given, wanted, stopped, unread: Vec::new() }
    }

    /// The records of a sheet's stretch, at most `room` of them but at least one, and whether
    /// there are more.
    fn stretch(&self, sheet: &Sheet, room: usize) -> (Vec<(Key, Record<V>)>, bool) {
        let Some(datum) = self.store.find(&sheet.tag) else { return (Vec::new(), false) };
        let (room, is_shared) = (room.max(1), self.store.sharing(&sheet.tag));
        let mut mine: Vec<_> = datum.read(|reader| {
            let within = |key: &Key| sheet.until.as_ref().is_none_or(|until| key <= until);
            let records = reader.records_after(sheet.after.as_deref());
            let records = records.take_while(|(key, _)| within(key));
            records.filter(|(key, _)| is_shared(key)).take(room + 1).collect()
        });
        let more = mine.len() > room;
        mine.truncate(room);
        (mine, more)
    }

    fn page(&self, first: Slot, last: Slot, after: Option<&Place>) -> Reply<V> {
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
                    let place = (tag.clone(), key);
                    bytes += weight(&place, &record);
                    let (tag, key) = place;
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

/// About how many bytes a record takes in a message at most.
pub(crate) fn weight<V: Value>(place: &Place, record: &Record<V>) -> usize {
    names(place) + record.value.as_ref().map_or(0, |value| value.weight())
}

/// About how many bytes the names and stamps of something take in a message at most.
pub(crate) fn names((tag, key): &Place) -> usize {
    const STAMPS: usize = 64;
    STAMPS + tag.len() + key.len()
}

/// Merges records from another member, a datum at a time.
pub(crate) fn merge<V: Value, A: Default + Send + Sync + 'static>(
    store: &Store<V, A>,
    entries: &[Entry<V>],
    now: Tick,
) {
    merge_as(store, entries, true, now);
}

/// The same for what a member gives because this one has just started.
pub(crate) fn load<V: Value, A: Default + Send + Sync + 'static>(
    store: &Store<V, A>,
    entries: &[Entry<V>],
    now: Tick,
) {
    merge_as(store, entries, false, now);
}

fn merge_as<V: Value, A: Default + Send + Sync + 'static>(
    store: &Store<V, A>,
    entries: &[Entry<V>],
    is_news: bool,
    now: Tick,
) {
    for run in entries.chunk_by(|a, b| a.tag == b.tag) {
        if let Some(first) = run.first() {
            let records = run.iter().map(|entry| (&entry.key, &entry.record));
            store.merge(&first.tag, records, is_news, now);
        }
    }
}
