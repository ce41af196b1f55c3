//! Calls to other members: what is sent when, and which mechanism takes each answer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::{CallId, Distro, Output};
use crate::accounts::slots_of;
use crate::answer::{load, merge};
use crate::membership::Phase;
use crate::message::{Reply, Request};
use crate::record::RecordId;
use crate::record::Value;
use crate::slot::SlotSet;
use crate::stamp::MemberId;
use crate::store::Store;
use crate::time::Tick;

/// The calls that have neither been answered nor given up.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    under_way: BTreeMap<CallId, Call>,
    last: u64,
}

#[derive(Debug)]
struct Call {
    to: MemberId,
    sent: Tick,
    /// When it counts as unanswered although the driver has not said so.
    given_up: Tick,
    purpose: Purpose,
}

impl Calls {
    fn begin(&mut self, call: Call) -> CallId {
        self.last += 1;
        let id = CallId(self.last);
        self.under_way.insert(id, call);
        id
    }

    fn end(&mut self, id: CallId) -> Option<Call> {
        self.under_way.remove(&id)
    }

    /// Whom a call goes to.
    fn receiver(&self, id: CallId) -> Option<MemberId> {
        self.under_way.get(&id).map(|call| call.to)
    }

    fn those(&self, is_meant: impl Fn(&Call) -> bool) -> Vec<CallId> {
        self.under_way.iter().filter(|(_, call)| is_meant(call)).map(|(id, _)| *id).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.under_way.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.under_way.is_empty()
    }
}

/// What a call is for, which says who takes the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Probe,
    Replicate,
    /// Of judgements that are not believed here: whatever comes of it, comes by replication.
    Show,
    Renew,
    Verify,
    Load,
    Account,
    Arrive,
    Leave,
}

impl<V: Value, A: Default + Send + Sync + 'static> Distro<V, A> {
    pub(crate) fn send_what_is_due(&mut self, now: Tick) {
        let (config, store) = (Arc::clone(&self.config), Arc::clone(&self.store));
        let members: Vec<MemberId> = self.peers.keys().copied().collect();
        self.spread.next_batch = None;
        for id in members {
            let Some(peer) = self.peers.get_mut(&id) else { continue };
            let mut due = Vec::new();
            if peer.replicator.take_overflown() {
                peer.verifier.demand(now);
            }
            if peer.member.is_reachable(&config, now) {
                let request = peer.replicator.poll(&store, &config, now);
                due.extend(request.map(|request| (Purpose::Replicate, request)));
                let batches = [self.spread.next_batch, peer.replicator.due(now)];
                self.spread.next_batch = batches.into_iter().flatten().min();
                let request = peer.renewer.poll(&config, now);
                due.extend(request.map(|request| (Purpose::Renew, request)));
                if let Some(loader) =
                    self.joining.loader.as_mut().filter(|_| peer.member.phase == Phase::Up)
                {
                    due.extend(loader.poll(id).map(|request| (Purpose::Load, request)));
                }
                let request = peer.auditor.poll(peer.member.incarnation, now);
                due.extend(request.map(|request| (Purpose::Account, request)));
                due.extend(peer.herald.poll().map(|request| (Purpose::Arrive, request)));
                if self.phase == Phase::Leaving && !peer.knows_of_leave {
                    peer.knows_of_leave = true;
                    let incarnation = store.clock().incarnation();
                    due.push((Purpose::Leave, Request::Leave { incarnation }));
                }
            }
            // Whatever the state of the member: an answer is contact.
            let request = peer.verifier.poll(&store, &config, now);
            due.extend(request.map(|request| (Purpose::Verify, request)));
            for (purpose, request) in due {
                self.send(id, purpose, request, now);
            }
        }
    }

    pub(crate) fn send(&mut self, to: MemberId, purpose: Purpose, request: Request<V>, now: Tick) {
        /// What the driver gets on top of a deadline to tell of it.
        const SLACK: Duration = Duration::from_secs(1);
        let deadline = self.config.call_deadline;
        let given_up = now.after(deadline + SLACK);
        let call = self.calls.begin(Call { to, sent: now, given_up, purpose });
        self.outputs.push_back(Output::Send { call, to, request, as_of: now, deadline });
    }

    pub(crate) fn answered(&mut self, id: CallId, reply: Reply<V>, now: Tick) {
        let Some(call) = self.calls.end(id) else { return };
        self.status.clear_silent(call.to, call.sent);
        let Some(peer) = self.peers.get_mut(&call.to) else { return };
        peer.member.answered(call.sent);
        match (call.purpose, reply) {
            (Purpose::Probe, Reply::Probed { incarnation, phase, contacts, list, connections }) => {
                let is_up = phase == Phase::Up;
                self.status.note_load(call.to, incarnation, connections.filter(|_| is_up), now);
                peer.is_probing = false;
                peer.members_checksum = list;
                let before = peer.member.incarnation;
                peer.member.introduced(incarnation, phase);
                if before != 0 && before != incarnation {
                    peer.verifier.demand(now);
                    peer.auditor.restarted();
                }
                self.take_hearsay(&contacts, call.sent);
            }
            (Purpose::Show, _) => {}
            (Purpose::Replicate, Reply::Done) => peer.replicator.succeeded(),
            (Purpose::Replicate, Reply::DoneBut(unread)) => {
                peer.replicator.succeeded();
                unread.iter().for_each(|record_id| peer.verifier.cannot_read(record_id));
                let dropped =
                    unread.into_iter().map(|record_id| Output::Dropped(call.to, record_id));
                self.outputs.extend(dropped);
            }
            (Purpose::Renew, Reply::Renewed { removed, unknown }) => {
                peer.renewer.succeeded();
                merge(&self.store, &removed, now);
                let removed = removed.into_iter().map(|entry| (entry.tag, entry.key));
                for record_id in unknown.into_iter().chain(removed) {
                    // Not if the removal is the newest that is known here, too.
                    if is_visible(&self.store, &record_id) {
                        peer.replicator.mark(record_id, &self.config, now);
                    }
                }
            }
            (Purpose::Verify, reply) => {
                let given = match &reply {
                    Reply::Compared { given, .. } => slots_of(given),
                    _ => SlotSet::default(),
                };
                let (config, random) = (&self.config, &mut self.random);
                let lacking = peer.verifier.answered(&self.store, reply, config, random, now);
                for record_id in lacking {
                    peer.replicator.mark(record_id, config, now);
                }
                self.ask_for_given(call.to, &given, now);
            }
            (Purpose::Account, Reply::Accounted { beats, told, stopped, listening_ms }) => {
                let listening = Duration::from_millis(listening_ms);
                let told = peer.auditor.answered(&told, stopped, listening, call.sent, now);
                self.accounted(&beats, told, now);
            }
            (Purpose::Load, Reply::Page { entries, more, last }) => {
                load(&self.store, &entries, now);
                if let Some(loader) = &mut self.joining.loader {
                    loader.answered(call.to, last, more, now);
                    if loader.pulled().is_some() {
                        self.peers.values_mut().for_each(|peer| peer.verifier.demand(now));
                    }
                }
            }
            (Purpose::Arrive, _) => peer.herald.ended(),
            (Purpose::Leave, _) => {}
            (purpose, _) => self.call_failed(call.to, purpose, now),
        }
    }

    /// Gives up all calls of which the driver should have told by now.
    pub(crate) fn give_up_overdue(&mut self, now: Tick) {
        for call in self.calls.those(|call| call.given_up <= now) {
            self.unanswered(call, now);
        }
    }

    /// Ends all calls to these members as failed, in whatever waits for their answers.
    pub(crate) fn end_calls_to(&mut self, gone: &BTreeSet<MemberId>, now: Tick) {
        for id in self.calls.those(|call| gone.contains(&call.to)) {
            match self.config.rules.end_calls() {
                true => self.unanswered(id, now),
                false => _ = self.calls.end(id),
            }
        }
    }

    /// The connection for a call was refused.
    pub(crate) fn refused(&mut self, id: CallId, now: Tick) {
        let to = self.calls.receiver(id);
        if let Some(peer) = to.and_then(|to| self.peers.get_mut(&to)) {
            peer.member.refused(now, self.config.down_after);
        }
        self.unanswered(id, now);
    }

    pub(crate) fn unanswered(&mut self, id: CallId, now: Tick) {
        if let Some(call) = self.calls.end(id) {
            self.call_failed(call.to, call.purpose, now);
        }
    }

    pub(crate) fn not_taken(&mut self, id: CallId, now: Tick) {
        let Some(call) = self.calls.end(id) else { return };
        let Some(peer) = self.peers.get_mut(&call.to) else { return };
        match call.purpose {
            Purpose::Replicate => {
                let dropped = peer.replicator.not_taken();
                dropped.iter().for_each(|record_id| peer.verifier.cannot_read(record_id));
                self.outputs.extend(dropped.map(|record_id| Output::Dropped(call.to, record_id)));
            }
            Purpose::Renew => peer.renewer.not_taken(),
            Purpose::Account => peer.auditor.not_taken(peer.member.incarnation),
            purpose => self.call_failed(call.to, purpose, now),
        }
    }

    pub(crate) fn call_failed(&mut self, to: MemberId, purpose: Purpose, now: Tick) {
        let Some(peer) = self.peers.get_mut(&to) else { return };
        match purpose {
            Purpose::Probe => peer.is_probing = false,
            Purpose::Show => {}
            Purpose::Replicate => peer.replicator.failed(&self.config, &mut self.random, now),
            Purpose::Renew => {
                for (record_id, heard) in peer.renewer.failed() {
                    self.renew_again(to, record_id, heard, now);
                }
            }
            Purpose::Verify => peer.verifier.fail(&self.config, &mut self.random, now),
            Purpose::Load => {
                if let Some(loader) = &mut self.joining.loader {
                    loader.failed(to);
                }
            }
            Purpose::Account => peer.auditor.failed(now),
            Purpose::Arrive => peer.herald.ended(),
            Purpose::Leave => peer.knows_of_leave = false,
        }
    }
}

fn is_visible<V: Value, A: Default + Send + Sync + 'static>(
    store: &Store<V, A>,
    record_id: &RecordId,
) -> bool {
    let datum = store.find(&record_id.0);
    datum.is_some_and(|datum| {
        datum.read(|reader| reader.find(&record_id.1).is_some_and(|record| record.is_visible()))
    })
}
