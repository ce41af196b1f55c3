//! Writes on behalf of clients: by the owner of the slot in one hop, or here if it is silent.

use std::sync::Arc;
use std::time::Duration;

use crate::board::Board;
use crate::message::{Operation, Reply, Request};
use crate::record::{Record, Value};
use crate::slot::Slot;
use crate::stamp::{MemberId, Stamp};
use crate::store::Store;
use crate::time::Tick;

/// What to do next for a write.
#[derive(Debug)]
pub enum Step<V> {
    /// Send this to a member; report what comes of it.
    Send {
        /// The owner.
        to: MemberId,
        /// The write.
        request: Request<V>,
        /// How long to wait.
        deadline: Duration,
    },
    /// Answer the client: the write is done, and a read on this member sees it. What the record
    /// is now; `None` if there is none.
    Done(Option<Record<V>>),
}

/// A write on its way. The member that the client speaks to drives it; it always ends in
/// [`Step::Done`], because a write whose owner is silent is taken here.
#[derive(Debug)]
pub struct Forwarding<V: Value> {
    operation: Operation<V>,
    to: MemberId,
    sent: Tick,
    deadline: Duration,
    tries: u8,
}

/// The second try is for a clock that ran ahead.
const TRIES: u8 = 2;

impl<V: Value> Forwarding<V> {
    /// Starts a write. Its stamp must have been issued by this member's clock just now.
    pub fn begin<A: Default + Send + Sync + 'static>(
        store: &Store<V, A>,
        board: &Board,
        deadline: Duration,
        operation: Operation<V>,
        now: Tick,
    ) -> (Self, Step<V>) {
        let owner = store.owner(Slot::of(operation.tag()));
        let to = owner.filter(|owner| *owner != board.member() && board.is_reachable(*owner));
        let forwarding = Self {
            operation,
            to: to.unwrap_or_else(|| board.member()),
            sent: now,
            deadline,
            tries: 1,
        };
        let step = match to {
            Some(_) => forwarding.send(),
            None => Step::Done(apply(store, &forwarding.operation, now)),
        };
        (forwarding, step)
    }

    /// The owner answered.
    pub fn answered<A: Default + Send + Sync + 'static>(
        &mut self,
        store: &Store<V, A>,
        reply: Reply<V>,
        now: Tick,
    ) -> Step<V> {
        let Reply::Forwarded(record) = reply else {
            return Step::Done(apply(store, &self.operation, now));
        };
        let Some(record) = record else { return Step::Done(None) };
        let newest = record.newest();
        store.update(self.operation.tag(), now, |writer| {
            writer.merge(self.operation.key(), &record);
            if matches!(self.operation, Operation::Register { .. }) {
                writer.renew(self.operation.key());
            }
        });
        store.clock().observe(newest);
        if self.tries < TRIES && is_lost(&self.operation, &record) {
            // A clock that runs ahead has written to the record before: ours is past that now.
            self.tries += 1;
            self.sent = now;
            restamp(&mut self.operation, store.clock().issue(now));
            return self.send();
        }
        if matches!(self.operation, Operation::Hear { .. }) {
            // It was heard here, too.
            store.hear(self.operation.tag(), self.operation.key(), now);
        }
        Step::Done(Some(record))
    }

    /// The owner refused the connection or did not answer in time: the write is taken here, and
    /// further writes for that owner too until it is heard again.
    pub fn failed<A: Default + Send + Sync + 'static>(
        &mut self,
        store: &Store<V, A>,
        board: &Board,
        now: Tick,
    ) -> Step<V> {
        board.note_silent(self.to, self.sent);
        Step::Done(apply(store, &self.operation, now))
    }

    fn send(&self) -> Step<V> {
        let request = Request::Forward(self.operation.clone());
        Step::Send { to: self.to, request, deadline: self.deadline }
    }
}

/// Carries out a write here, under the stamp that it brings. Returns what the record is then.
pub(crate) fn apply<V: Value, A: Default + Send + Sync + 'static>(
    store: &Store<V, A>,
    operation: &Operation<V>,
    now: Tick,
) -> Option<Record<V>> {
    let (tag, key) = (operation.tag(), operation.key());
    match operation {
        Operation::Register { stamp, value, health, .. } => {
            store.clock().observe(*stamp);
            let record = store.update(tag, now, |writer| {
                writer.register(key, *stamp, Arc::clone(value), *health);
                writer.find(key).cloned()
            });
            store.note_registered(tag, key, now);
            record
        }
        Operation::Deregister { stamp, .. } => {
            store.clock().observe(*stamp);
            store.update(tag, now, |writer| {
                // Another member may hold what is not known here.
                writer.deregister_unseen(key, *stamp);
                writer.find(key).cloned()
            })
        }
        Operation::Hear { .. } => {
            store.hear(tag, key, now);
            store.find(tag)?.read(|reader| reader.find(key).cloned())
        }
    }
}

/// Whether something with a greater stamp stood in the way of a write.
fn is_lost<V>(operation: &Operation<V>, record: &Record<V>) -> bool {
    match operation {
        Operation::Register { stamp, .. } => {
            record.registration > *stamp || record.deregistered > *stamp
        }
        Operation::Deregister { stamp, .. } => record.registration > *stamp,
        Operation::Hear { .. } => false,
    }
}

fn restamp<V>(operation: &mut Operation<V>, fresh: Stamp) {
    match operation {
        Operation::Register { stamp, .. } | Operation::Deregister { stamp, .. } => *stamp = fresh,
        Operation::Hear { .. } => {}
    }
}
