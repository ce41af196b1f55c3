//! Requests of other members, each answered by its mechanism. Any thread may answer, and none waits
//! for the control plane.

use std::sync::Arc;
use std::time::Duration;

use crate::config::DistroConfig;
use crate::forward;
use crate::message::{Entry, Reply, Request, Sender};
use crate::record::RecordId;
use crate::record::{Record, Value};
use crate::status::SharedStatus;
use crate::store::Store;
use crate::time::Tick;

/// Answers the requests of other members. Cheap to clone.
pub struct Answer<V: Value, A> {
    pub(crate) store: Arc<Store<V, A>>,
    pub(crate) status: Arc<SharedStatus>,
    pub(crate) config: Arc<DistroConfig>,
}

impl<V: Value, A> Clone for Answer<V, A> {
    fn clone(&self) -> Self {
        let (store, status) = (Arc::clone(&self.store), Arc::clone(&self.status));
        Self { store, status, config: Arc::clone(&self.config) }
    }
}

impl<V: Value, A: Default + Send + Sync + 'static> Answer<V, A> {
    pub(crate) fn new(
        store: Arc<Store<V, A>>,
        status: Arc<SharedStatus>,
        config: Arc<DistroConfig>,
    ) -> Self {
        Self { store, status, config }
    }

    /// The reply to a request. `from` must be who the transport has found the sender to be, and
    /// `in_transit` how long ago it put the request together ([`Passage`](crate::Passage)); zero if
    /// it does not say. A request that is late or comes twice does no harm: who put together what
    /// [is late](Self::is_late) has long given it up, and gets [`Reply::Busy`].
    ///
    /// The reply to [`Request::Persist`] may be sent only when its records are on disk as the store
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
                incarnation: self.status.incarnation(),
                phase: self.status.phase(),
                contacts: self.status.contacts(now),
                list: self.status.members_checksum(),
                connections: self.status.connections(),
            },
            Request::Replicate(entries) | Request::Persist(entries) => {
                merge(&self.store, &entries, now);
                Reply::Done
            }
            Request::Renew(_)
            | Request::Verify { .. }
            | Request::Tags(_)
            | Request::Compare(_)
            | Request::Account { .. }
            | Request::Load { .. }
                if self.config.rules.pause() && !self.status.is_awake(now) =>
            {
                // What waited in a socket while this process was stopped says nothing of now;
                // and what is held here may be older than the others' memory of removals.
                Reply::Busy
            }
            Request::Renew(_)
                if self.config.rules.pause()
                    && self.status.has_just_woken(now, self.config.call_deadline) =>
            {
                // It may have waited, too, and says nothing but ages as of when it was sent. Whoever
                // sent it a moment ago sends it again.
                Reply::Busy
            }
            Request::Renew(beats) => self.renew(beats, in_transit, now),
            Request::Verify { root, open } => self.verify(root, open),
            Request::Tags(slots) => self.tags(&slots),
            Request::Compare(ranges) => {
                self.confirm(&ranges, now);
                self.compare_with(from.member, &ranges)
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
                self.status.note_arrivals(&clients, at, now);
                Reply::Done
            }
            // The transport asks the application; whoever comes here has none.
            Request::Ask(_) => Reply::Busy,
            Request::Leave { incarnation } => {
                self.status.note_left(from.member, incarnation);
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
}

/// About how many bytes a record takes in a message at most.
pub(crate) fn weight<V: Value>(record_id: &RecordId, record: &Record<V>) -> usize {
    names(record_id) + record.value.as_ref().map_or(0, |value| value.weight())
}

/// About how many bytes the names and stamps of something take in a message at most.
pub(crate) fn names((tag, key): &RecordId) -> usize {
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
