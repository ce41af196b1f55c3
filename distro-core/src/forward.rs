//! Writes on behalf of clients: by the owner of the slot in one hop, or here if it is silent.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use crate::message::{Reply, Request, Sender};
use crate::operation::{Operation, Written};
use crate::record::{Record, Value};
use crate::stamp::{MemberId, Stamp};
use crate::status::SharedStatus;
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
        /// When it was put together, which the owner is told.
        as_of: Tick,
        /// How long to wait.
        deadline: Duration,
    },
    /// Answer the client: the write has ended, and a read on this member sees what came of it.
    Done(Written<V>),
}

/// A write on its way. The member that the client speaks to drives it; it always ends in
/// [`Step::Done`], because a write whose owner is silent is taken here.
#[derive(Debug)]
pub struct Forwarding<V: Value> {
    operation: Operation<V>,
    to: MemberId,
    /// When the client spoke: a beat counts as of then, however long the owner takes.
    heard: Tick,
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
        status: &SharedStatus,
        deadline: Duration,
        operation: Operation<V>,
        now: Tick,
    ) -> (Self, Step<V>) {
        let owner = store.writer_of(operation.tag(), operation.key());
        let to = owner.filter(|owner| *owner != status.member() && status.is_reachable(*owner));
        let forwarding = Self {
            operation,
            to: to.unwrap_or_else(|| status.member()),
            heard: now,
            sent: now,
            deadline,
            tries: 1,
        };
        let step = match to {
            Some(_) => forwarding.send(),
            None => forwarding.take(store, now),
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
        let (record, is_refused) = match (reply, self.operation.as_record()) {
            (Reply::Forwarded { record, is_refused }, _) => (record, is_refused),
            (Reply::AsSent, Some(record)) => (Some(record), false),
            _ => return self.take(store, now),
        };
        if let Some(record) = &record {
            self.take_over(store, record, is_refused, now);
            let may_retry = self.tries < TRIES && now.since(self.sent) <= self.deadline * 2;
            // What this very process has written since comes later, and stays.
            let (newest, clock) = (record.newest(), store.clock());
            let by_us =
                newest.member() == clock.member() && newest.incarnation() == clock.incarnation();
            if !is_refused && may_retry && !by_us && self.operation.is_lost(record) {
                // A clock that runs ahead has written to the record before: ours is past that now.
                // Not if this process was stopped meanwhile: the client may have given up, and
                // done something else by another member.
                self.tries += 1;
                self.sent = now;
                self.operation.restamp(store.clock().issue(now));
                return self.send();
            }
        }
        let (tag, key) = (self.operation.tag(), self.operation.key());
        match &self.operation {
            // It was heard here, too.
            Operation::Hear { .. } if record.is_some() => {
                store.hear_at(tag, key, self.heard, now);
            }
            // The reply names no record but the datum's own.
            Operation::Close { stamp, .. } => store.update(tag, now, |writer| writer.close(*stamp)),
            _ => {}
        }
        Step::Done(Written::of(&self.operation, record, is_refused))
    }

    /// Merges what the owner holds, so that the client reads it here.
    fn take_over<A: Default + Send + Sync + 'static>(
        &self,
        store: &Store<V, A>,
        record: &Record<V>,
        is_refused: bool,
        now: Tick,
    ) {
        let key = self.operation.key();
        store.update(self.operation.tag(), now, |writer| {
            writer.trust();
            writer.merge(key, record);
            writer.heard_at(self.heard);
            if matches!(self.operation, Operation::Register { .. }) && !is_refused {
                writer.renew(key);
            }
        });
    }

    /// The request is too large to be sent, or the owner can make nothing of it: it may be of an
    /// earlier release. The write is taken here.
    pub fn not_taken<A: Default + Send + Sync + 'static>(
        &mut self,
        store: &Store<V, A>,
        now: Tick,
    ) -> Step<V> {
        self.take(store, now)
    }

    /// The owner refused the connection or did not answer in time: the write is taken here, and
    /// further writes for that owner too until it is heard again.
    pub fn failed<A: Default + Send + Sync + 'static>(
        &mut self,
        store: &Store<V, A>,
        status: &SharedStatus,
        now: Tick,
    ) -> Step<V> {
        status.note_silent(self.to, self.sent);
        self.take(store, now)
    }

    /// Carries the write out here.
    fn take<A: Default + Send + Sync + 'static>(&self, store: &Store<V, A>, now: Tick) -> Step<V> {
        let (record, is_refused) = carry_out(store, &self.operation, None, self.heard, now);
        Step::Done(Written::of(&self.operation, record, is_refused))
    }

    fn send(&self) -> Step<V> {
        let request = Request::Forward(self.operation.clone());
        Step::Send { to: self.to, request, as_of: self.sent, deadline: self.deadline }
    }
}

/// Carries out a write here, under the stamp that it brings, whichever member owns the slot. For
/// members that are alone; others use a [`Forwarding`].
pub fn apply<V: Value, A: Default + Send + Sync + 'static>(
    store: &Store<V, A>,
    operation: &Operation<V>,
    now: Tick,
) -> Written<V> {
    let (record, is_refused) = carry_out(store, operation, None, now, now);
    Written::of(operation, record, is_refused)
}

/// Carries out a write for another member. That one is not told of it by replication, too: it
/// merges the reply, or does the same itself. Where it might not do the same, it is told. The
/// client spoke to it at `heard`.
pub(crate) fn carry_out_for<V: Value, A: Default + Send + Sync + 'static>(
    store: &Store<V, A>,
    from: Sender,
    operation: &Operation<V>,
    heard: Tick,
    now: Tick,
) -> Reply<V> {
    if operation.stamp().is_some_and(|stamp| !store.shared.believes(stamp)) {
        return Reply::Busy;
    }
    let is_spared = from.holds_what_it_forwards() && operation.is_unconditional();
    let spared = is_spared.then_some(from.member);
    let (record, is_refused) = carry_out(store, operation, spared, heard, now);
    let is_as_sent = match (&record, operation.as_record()) {
        // Equal stamps are equal values, but one of the two may have been dropped.
        (Some(record), Some(sent)) => {
            !is_refused && record.stamps() == sent.stamps() && record.judged == sent.judged
        }
        _ => false,
    };
    if is_as_sent && from.holds_what_it_forwards() {
        Reply::AsSent
    } else {
        Reply::Forwarded { record, is_refused }
    }
}

/// Carries out a write of a client that spoke at `heard`, of which `spared` need not be told.
/// Returns what the record is then, and whether what the write demands was not so.
pub(crate) fn carry_out<V: Value, A: Default + Send + Sync + 'static>(
    store: &Store<V, A>,
    operation: &Operation<V>,
    spared: Option<MemberId>,
    heard: Tick,
    now: Tick,
) -> (Option<Record<V>>, bool) {
    let (tag, key) = (operation.tag(), operation.key());
    if let Some(stamp) = operation.stamp() {
        store.clock().adopt(stamp);
    }
    match operation {
        Operation::Register { stamp, value, health, expected, .. } => {
            let (record, is_refused) = store.update(tag, now, |writer| {
                let is_met = is_met(writer.find(key).as_deref(), *expected, *stamp);
                if is_met {
                    writer.heard_at(heard);
                    writer.register(key, *stamp, Arc::clone(value), *health);
                    spared.into_iter().for_each(|member| writer.spare(key, member));
                }
                (writer.find(key).map(Cow::into_owned), !is_met)
            });
            if !is_refused {
                store.note_registered(tag, key, heard);
            }
            (record, is_refused)
        }
        Operation::Deregister { stamp, .. } => store.update(tag, now, |writer| {
            // Another member may hold what is not known here.
            writer.deregister_unseen(key, *stamp);
            spared.into_iter().for_each(|member| writer.spare(key, member));
            (writer.find(key).map(Cow::into_owned), false)
        }),
        Operation::Judge { stamp, health, .. } => {
            let judged = store.update_existing(tag, now, |writer| {
                let is_visible = writer.find_visible(key).is_some();
                if is_visible {
                    writer.judge(key, *stamp, *health);
                }
                (writer.find(key).map(Cow::into_owned), !is_visible)
            });
            judged.unwrap_or((None, true))
        }
        Operation::Close { stamp, .. } => store.update(tag, now, |writer| {
            writer.close(*stamp);
            (writer.find(key).map(Cow::into_owned), false)
        }),
        Operation::Hear { .. } => {
            store.hear_at(tag, key, heard, now);
            let datum = store.find(tag);
            let record =
                datum.and_then(|datum| datum.read(|reader| reader.find(key).map(Cow::into_owned)));
            let is_visible = record.as_ref().is_some_and(Record::is_visible);
            (record, !is_visible)
        }
    }
}

/// Whether a registration may be written over what is there.
fn is_met<V: Value>(there: Option<&Record<V>>, expected: Option<Stamp>, stamp: Stamp) -> bool {
    let version = there.map_or(Stamp::NEVER, Record::version);
    // It may have arrived before: then it is done, and not in its own way.
    expected.is_none_or(|expected| version == expected || version == stamp)
}
