//! What is to be put on the disk of another member, gathered while requests to it are under way: many
//! writers share a message, as they share a flush of the disk.
//!
//! ```text
//! writers ──► waiting, in order ──► a few senders, each with one message at a time ──► member
//!                    ▲                                                  │
//!                    └── what is not on disk yet, if still waited for ──┘
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use distro_core::{Entry, MemberId, Reply, Request, SharedStatus, Value};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::client::{Outcome, Peers};

/// How long to wait before a member is asked again that could not put something on disk.
const PAUSE: Duration = Duration::from_millis(100);
/// Records in a message at most, unless a single writer has more. As in a batch of replication.
const MOST_RECORDS: usize = 1_000;
/// Bytes of their names and values, about; well below what a message may have.
const MOST_BYTES: usize = 1 << 20;

/// The queues to all members.
pub(crate) struct Queues<V> {
    by_member: Mutex<BTreeMap<MemberId, Arc<Queue<V>>>>,
}

impl<V> Default for Queues<V> {
    fn default() -> Self {
        Self { by_member: Mutex::default() }
    }
}

impl<V> Queues<V> {
    /// The queue to a member; those to former members are forgotten.
    pub(super) fn to(&self, member: MemberId, members: &[MemberId]) -> Arc<Queue<V>> {
        let mut by_member = self.by_member.lock();
        by_member.retain(|known, _| members.contains(known));
        Arc::clone(by_member.entry(member).or_default())
    }
}

/// What one writer wants to be on the disk of one member.
pub(super) struct Asked<V> {
    pub(super) entries: Arc<[Entry<V>]>,
    /// When the writer gives up.
    pub(super) until: Instant,
    /// Told when it is on disk there. Closed when the writer does not wait any more.
    pub(super) confirm: mpsc::Sender<()>,
}

/// What waits for one member. Whoever puts something in takes it out again when the wait is over:
/// so there is never more than writers wait for.
pub(super) struct Queue<V> {
    state: Mutex<State<V>>,
}

struct State<V> {
    /// By a number that grows.
    waiting: BTreeMap<u64, Asked<V>>,
    next: u64,
    /// Tasks that empty it.
    senders: usize,
}

/// The way to a member.
pub(super) struct Way<V> {
    pub(super) peers: Peers<V>,
    pub(super) shared_status: Arc<SharedStatus>,
    pub(super) member: MemberId,
}

/// Something in a queue. Dropping it takes it out, unless it is on its way already.
pub(super) struct Waiting<V> {
    queue: Arc<Queue<V>>,
    number: u64,
}

impl<V> Default for Queue<V> {
    fn default() -> Self {
        Self { state: Mutex::new(State { waiting: BTreeMap::new(), next: 0, senders: 0 }) }
    }
}

impl<V: Value> Queue<V> {
    /// Puts something in, and sees to it that it is sent.
    pub(super) fn put(self: &Arc<Self>, asked: Asked<V>, way: Way<V>) -> Waiting<V> {
        let most_senders = way.peers.config().persists_per_peer;
        let mut state = self.state.lock();
        let number = state.next;
        state.next += 1;
        state.waiting.insert(number, asked);
        if state.senders < most_senders {
            state.senders += 1;
            tokio::spawn(Arc::clone(self).send_all(way));
        }
        drop(state);
        Waiting { queue: Arc::clone(self), number }
    }

    /// Sends until nothing waits.
    async fn send_all(self: Arc<Self>, way: Way<V>) {
        while self.has_any() {
            if !way.peers.is_member(way.member) {
                // Writers need not wait for it until their time is up.
                self.state.lock().waiting.clear();
                continue;
            }
            if !way.shared_status.is_reachable(way.member) {
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            let batch = self.take();
            let left = self.send(&way, batch).await;
            if !left.is_empty() {
                tokio::time::sleep(PAUSE).await;
                self.put_back(left);
            }
        }
    }

    /// Whether anything waits. If not, this sender counts no more.
    fn has_any(&self) -> bool {
        let mut state = self.state.lock();
        state.senders -= usize::from(state.waiting.is_empty());
        !state.waiting.is_empty()
    }

    /// The next message: as much as may be in one.
    fn take(&self) -> Vec<(u64, Asked<V>)> {
        let (mut records, mut bytes, mut batch) = (0, 0, Vec::new());
        let mut state = self.state.lock();
        while let Some(first) = state.waiting.first_entry() {
            let entries = &first.get().entries;
            records += entries.len();
            bytes += entries.iter().map(weight).sum::<usize>();
            if !batch.is_empty() && (records > MOST_RECORDS || bytes > MOST_BYTES) {
                break;
            }
            batch.push(first.remove_entry());
        }
        batch
    }

    /// Sends a message and tells whom it concerns. Gives what may be sent again.
    async fn send(&self, way: &Way<V>, batch: Vec<(u64, Asked<V>)>) -> Vec<(u64, Asked<V>)> {
        match way.ask(&batch).await {
            Outcome::Answered(Reply::Done) => confirm(&batch),
            // The member is of an earlier release; or it takes offence at one of them.
            Outcome::NotTaken if batch.len() > 1 => {
                for one in batch {
                    let one = [one];
                    if let Outcome::Answered(Reply::Done) = way.ask(&one).await {
                        confirm(&one);
                    }
                }
            }
            Outcome::NotTaken => {}
            _ => return batch,
        }
        Vec::new()
    }

    /// As it was, without what nobody waits for any more.
    fn put_back(&self, batch: Vec<(u64, Asked<V>)>) {
        let left = batch.into_iter().filter(|(_, asked)| !asked.confirm.is_closed());
        self.state.lock().waiting.extend(left);
    }
}

impl<V: Value> Way<V> {
    /// Asks for as long as the most patient of the writers waits. A call that has begun is not
    /// broken off before, because its connection would go with it.
    async fn ask(&self, batch: &[(u64, Asked<V>)]) -> Outcome<V> {
        let until = batch.iter().map(|(_, asked)| asked.until).max();
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        let entries = batch.iter().flat_map(|(_, asked)| asked.entries.iter().cloned());
        let request = Request::Persist(entries.collect());
        self.peers.call(self.member, &request, left.unwrap_or_default()).await
    }
}

impl<V> Drop for Waiting<V> {
    fn drop(&mut self) {
        self.queue.state.lock().waiting.remove(&self.number);
    }
}

fn confirm<V>(batch: &[(u64, Asked<V>)]) {
    for (_, asked) in batch {
        // There is room for each member. The writer may be gone.
        let _ = asked.confirm.try_send(());
    }
}

fn weight<V: Value>(entry: &Entry<V>) -> usize {
    const STAMPS: usize = 64;
    let value = entry.record.value.as_ref().map_or(0, |value| value.weight());
    STAMPS + entry.tag.len() + entry.key.len() + value
}
