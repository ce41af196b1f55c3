//! The control plane: one state machine that says what to do and when.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::answer::{Answer, merge};
use crate::board::{Board, Table};
use crate::config::DistroConfig;
use crate::journal::{HeardAt, Place};
use crate::lease::{JudgeTerms, patience};
use crate::load::{Loader, Prospect};
use crate::member::{MemberState, Phase};
use crate::message::{Reply, Request};
use crate::peer::Peer;
use crate::random::Random;
use crate::record::Value;
use crate::ring::Ring;
use crate::slot::Slot;
use crate::stamp::MemberId;
use crate::store::Store;
use crate::time::Tick;

/// Names a call to another member, so that its outcome can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub u64);

/// What happens to a member.
#[derive(Debug)]
pub enum Input<V> {
    /// Time has passed.
    Tick,
    /// Records were written here: there may be something to send. Only a hint; what is not told
    /// is found with the next tick.
    Changed,
    /// A call was answered.
    Answered(CallId, Reply<V>),
    /// A call was not answered by its deadline, or its connection broke.
    NoAnswer(CallId),
    /// The connection for a call was refused: nobody listens there.
    Refused(CallId),
    /// The other members are these from now on.
    Members(Vec<MemberId>),
    /// This process is asked to stop: hand everything over.
    Leave,
    /// An operator switched the judging of silence on or off.
    Judging(bool),
}

/// What the driver is asked to do.
#[derive(Debug)]
pub enum Output<V> {
    /// Judge the leases that are due, on these terms
    /// ([`Store::judge`](crate::Store::judge) until it has none left).
    Judge(JudgeTerms),
    /// Send a request to a member and tell what comes of it.
    Send {
        /// Names the call in the input that tells.
        call: CallId,
        /// Whom to ask.
        to: MemberId,
        /// What to ask.
        request: Request<V>,
        /// After so long without an answer it counts as not answered. A connection that missed a
        /// deadline must not be used again.
        deadline: Duration,
    },
    /// This process was stopped or starved for so long. Worth a line in the log.
    Paused(Duration),
    /// A member is seen in another state. Worth a line in the log.
    Member(MemberId, MemberState),
    /// So many slots have another owner than before.
    Moved(usize),
    /// This member has reached a phase.
    Phase(Phase),
    /// All is handed over, or the time for it is up: the process may end.
    Left,
}

/// What is known of another member, for operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemberView {
    /// Who.
    pub member: MemberId,
    /// In this member's eyes.
    pub state: MemberState,
    /// What it said of itself.
    pub phase: Phase,
    /// Which start of it.
    pub incarnation: u32,
    /// Keys that it has not been told of.
    pub queued_keys: usize,
    /// Beats that wait for it.
    pub queued_beats: usize,
    /// Slots in which it was found to differ, since this member started.
    pub differences: u64,
}

#[derive(Debug)]
struct Call {
    to: MemberId,
    sent: Tick,
    deadline: Tick,
    purpose: Purpose,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Probe,
    Replicate,
    Renew,
    Verify,
    Load,
    Leave,
}

/// The protocol state of one member. Does no IO: time comes in with every call, work goes out as
/// [`Output`].
///
/// The law of the loop: one [`handle_input`](Self::handle_input), then
/// [`poll_output`](Self::poll_output) until it has nothing, then sleep until
/// [`poll_timeout`](Self::poll_timeout) or the next input.
pub struct Distro<V: Value, A> {
    config: Arc<DistroConfig>,
    store: Arc<Store<V, A>>,
    board: Arc<Board>,
    random: Random,
    peers: BTreeMap<MemberId, Peer>,
    states: BTreeMap<MemberId, MemberState>,
    calls: BTreeMap<CallId, Call>,
    last_call: u64,
    outputs: VecDeque<Output<V>>,
    /// When the driver should have come back.
    next_tick: Tick,
    listening_since: Tick,
    judging: bool,
    phase: Phase,
    eligible: Vec<MemberId>,
    ring: Ring,
    loader: Option<Loader>,
    /// Found no data: shows nothing until clients had time to register again.
    quiet_until: Tick,
    /// Was stopped then, and has not compared its data since.
    resting_since: Option<Tick>,
    alone_since: Option<Tick>,
    next_renewal: Tick,
    leave_by: Option<Tick>,
}

impl<V: Value, A: Default + Send + Sync + 'static> Distro<V, A> {
    /// A member that starts to listen now, with an empty store of its own. `seed` spreads timers
    /// and decides nothing else.
    pub fn new(
        config: DistroConfig,
        store: Arc<Store<V, A>>,
        others: &[MemberId],
        seed: u64,
        now: Tick,
    ) -> Self {
        let (member, incarnation) = (store.clock().member(), store.clock().incarnation());
        let board = Arc::new(Board::new(member, incarnation, config.pause_threshold, now));
        let mut distro = Self {
            next_tick: now.after(config.tick_period),
            config: Arc::new(config),
            store,
            board,
            random: Random::new(seed),
            peers: BTreeMap::new(),
            states: BTreeMap::new(),
            calls: BTreeMap::new(),
            last_call: 0,
            outputs: VecDeque::new(),
            listening_since: now,
            judging: true,
            phase: Phase::Up,
            eligible: vec![member],
            ring: Ring::new(&[member]),
            loader: None,
            quiet_until: now,
            resting_since: None,
            alone_since: None,
            next_renewal: now,
            leave_by: None,
        };
        distro.set_members(others, now);
        if !distro.peers.is_empty() && distro.config.rules.load {
            distro.phase = Phase::Joining;
            distro.loader = Some(Loader::new(now));
        }
        distro.look_around(now);
        distro
    }

    /// What request threads share with this state.
    pub fn board(&self) -> &Arc<Board> {
        &self.board
    }

    /// Who answers the requests of other members.
    pub fn answer(&self) -> Answer<V, A> {
        let (store, board) = (Arc::clone(&self.store), Arc::clone(&self.board));
        Answer::new(store, board, Arc::clone(&self.config))
    }

    /// Takes one input. Late and early calls are harmless.
    pub fn handle_input(&mut self, now: Tick, input: Input<V>) {
        self.notice_pause(now);
        self.board.ran(now);
        match input {
            Input::Tick | Input::Changed => {}
            Input::Judging(on) => self.judging = on,
            Input::Answered(call, reply) => self.answered(call, reply, now),
            Input::NoAnswer(call) => self.unanswered(call, now),
            Input::Refused(call) => {
                let to = self.calls.get(&call).map(|call| call.to);
                if let Some(peer) = to.and_then(|to| self.peers.get_mut(&to)) {
                    peer.member.refused(now);
                }
                self.unanswered(call, now);
            }
            Input::Members(others) => self.set_members(&others, now),
            Input::Leave => self.leave(now),
        }
        if now >= self.next_tick {
            self.next_tick = now.after(self.config.tick_period);
            self.tick(now);
        }
        self.spread_changes(now);
        self.send_what_is_due(now);
    }

    /// The next thing to do, if any.
    pub fn poll_output(&mut self) -> Option<Output<V>> {
        self.outputs.pop_front()
    }

    /// When to come back with [`Input::Tick`] at the latest.
    pub fn poll_timeout(&self) -> Tick {
        self.next_tick
    }

    /// Since when this member has listened without a break.
    pub fn listening_since(&self) -> Tick {
        self.listening_since
    }

    /// What this member says of itself.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Why reads are not answered, if they are not.
    pub fn why_not_ready(&self, now: Tick) -> Option<&'static str> {
        match self.phase {
            Phase::Joining => Some("waiting for members that have data"),
            Phase::Loading => Some("loading data from other members"),
            _ if now < self.quiet_until => Some("found no data; waiting for clients to return"),
            _ if self.resting_since.is_some() => Some("was stopped; comparing data with others"),
            _ => None,
        }
    }

    /// The other members, in the order of their ids.
    pub fn members(&self, now: Tick) -> Vec<MemberView> {
        let view = |peer: &Peer| MemberView {
            member: peer.member.id,
            state: peer.member.state(&self.config, now),
            phase: peer.member.phase,
            incarnation: peer.member.incarnation,
            queued_keys: peer.replicator.len(),
            queued_beats: peer.renewer.len(),
            differences: peer.verifier.differences,
        };
        self.peers.values().map(view).collect()
    }

    /// How much of the first load is left, in parts of a thirty-second.
    pub fn load_left(&self) -> usize {
        self.loader.as_ref().map_or(0, Loader::parts_left)
    }

    /// Calls that have neither been answered nor given up.
    pub fn calls_under_way(&self) -> usize {
        self.calls.len()
    }

    /// Who did not listen may not judge: after a pause every lease gets a full time-out again,
    /// and nothing is shown before it has been compared.
    fn notice_pause(&mut self, now: Tick) {
        let late = now.since(self.next_tick);
        if late < self.config.pause_threshold {
            return;
        }
        self.next_tick = now;
        self.outputs.push_back(Output::Paused(late));
        if !self.config.rules.pause {
            return;
        }
        self.listening_since = now;
        if late >= self.config.absent_after && self.config.rules.forget_after_absence {
            self.store.forget_unheard(now);
        }
        if let Some(loader) = &mut self.loader {
            loader.forgive(late);
        }
        for peer in self.peers.values_mut() {
            peer.member.forgive(late);
            peer.verifier.demand(now);
            peer.next_probe = now;
        }
        if !self.peers.is_empty() {
            self.resting_since = Some(now);
        }
        self.look_around(now);
    }

    fn tick(&mut self, now: Tick) {
        for (member, incarnation) in self.board.take_left() {
            if let Some(peer) = self.peers.get_mut(&member) {
                peer.member.leaves(incarnation);
            }
        }
        let late: Vec<CallId> =
            self.calls.iter().filter(|(_, call)| call.deadline <= now).map(|(id, _)| *id).collect();
        late.into_iter().for_each(|call| self.unanswered(call, now));
        self.notice_contact(now);
        self.advance_phase(now);
        self.rest(now);
        self.look_around(now);
        self.probe(now);
        if now >= self.next_renewal {
            self.next_renewal = now.after(self.config.renew_period);
            self.spread_beats();
        }
        self.outputs.push_back(Output::Judge(self.judge_terms(now)));
        if self.leave_by.is_some_and(|by| now >= by || self.is_handed_over(now)) {
            self.leave_by = None;
            self.outputs.push_back(Output::Left);
        }
    }

    fn judge_terms(&self, now: Tick) -> JudgeTerms {
        let unheard = |peer: &&Peer| peer.member.is_unheard(&self.config, now);
        let unheard = self.peers.values().filter(unheard).count();
        let patience =
            if self.config.rules.patience { patience(unheard, self.peers.len() + 1) } else { 0 };
        JudgeTerms {
            enabled: self.judging,
            expire: self.config.expire,
            listening_since: self.listening_since,
            patience,
        }
    }

    fn set_members(&mut self, others: &[MemberId], now: Tick) {
        let me = self.store.clock().member();
        let others: BTreeSet<MemberId> = others.iter().copied().filter(|id| *id != me).collect();
        self.peers.retain(|id, _| others.contains(id));
        self.calls.retain(|_, call| others.contains(&call.to));
        for id in others {
            self.peers.entry(id).or_insert_with(|| Peer::new(id, now));
        }
        self.states.retain(|id, _| self.peers.contains_key(id));
        self.store.journal().keep(!self.peers.is_empty());
        self.look_around(now);
    }

    /// Notices who can be heard again.
    fn notice_contact(&mut self, now: Tick) {
        let mut is_regained = false;
        for peer in self.peers.values_mut() {
            let is_reachable = peer.member.is_reachable(&self.config, now);
            if is_reachable && !peer.was_reachable {
                peer.replicator.hurry();
                peer.verifier.demand(now);
            }
            peer.was_reachable = is_reachable;
            let is_unheard = peer.member.is_unheard(&self.config, now);
            match peer.unheard {
                Some(incarnation) if !is_unheard => {
                    // What it heard meanwhile is not known here; of one that started again there
                    // is nothing to know.
                    let is_same = incarnation == peer.member.incarnation || incarnation == 0;
                    is_regained |= is_same && !peer.member.is_surely_gone();
                    peer.unheard = None;
                }
                None if is_unheard => peer.unheard = Some(peer.member.incarnation),
                _ => {}
            }
        }
        if is_regained && self.config.rules.regain_grace {
            self.listening_since = now;
        }
        let is_alone = !self.peers.is_empty() && self.peers.values().all(|p| !p.was_reachable);
        if is_alone {
            self.alone_since.get_or_insert(now);
        } else if let Some(since) = self.alone_since.take()
            && now.since(since) >= self.config.absent_after
            && self.config.rules.forget_after_absence
        {
            self.store.forget_unheard(now);
        }
    }

    /// From joining to up.
    fn advance_phase(&mut self, now: Tick) {
        let Some(loader) = &self.loader else { return };
        let config = &self.config;
        let prospect = |peer: &Peer| {
            let is_reachable = peer.member.is_reachable(config, now);
            Prospect::of(is_reachable, peer.member.is_surely_gone(), peer.member.told_phase())
        };
        let sources: Vec<&Peer> =
            self.peers.values().filter(|peer| prospect(peer) == Prospect::Source).collect();
        let phase = if sources.is_empty() {
            let is_alone =
                loader.is_alone(self.peers.values().map(prospect), config.alone_after, now);
            if is_alone { Phase::Up } else { Phase::Joining }
        } else {
            // Everything is pulled from one member and then compared with each.
            let pulled = loader.pulled();
            let is_compared = |peer: &&Peer| pulled.is_some() && peer.verifier.completed >= pulled;
            if sources.iter().all(is_compared) { Phase::Up } else { Phase::Loading }
        };
        if phase == Phase::Up {
            if sources.is_empty() {
                self.quiet_until = now.after(config.empty_start);
            }
            self.loader = None;
        }
        self.set_phase(phase);
    }

    fn set_phase(&mut self, phase: Phase) {
        if phase != self.phase {
            self.phase = phase;
            self.outputs.push_back(Output::Phase(phase));
        }
    }

    /// Ends the rest after a pause: one comparison is done, or nobody is there to compare with.
    fn rest(&mut self, now: Tick) {
        let Some(since) = self.resting_since else { return };
        let since_then = |at: Option<Tick>| at.is_some_and(|at| at >= since);
        let is_compared = self.peers.values().any(|peer| since_then(peer.verifier.completed));
        let is_alone = self.peers.values().all(|peer| since_then(peer.verifier.failed));
        if is_compared || is_alone || now < since {
            self.resting_since = None;
        }
    }

    /// Works out who may own slots, and publishes it.
    fn look_around(&mut self, now: Tick) {
        let config = Arc::clone(&self.config);
        let eligible = self.peers.values().filter(|peer| peer.member.is_eligible(&config, now));
        let mut eligible: Vec<MemberId> = eligible.map(|peer| peer.member.id).collect();
        if self.phase == Phase::Up {
            eligible.push(self.store.clock().member());
        }
        eligible.sort_unstable();
        if eligible != self.eligible {
            let ring = Ring::new(&eligible);
            let moved: Vec<Slot> = self.ring.moved(&ring).collect();
            for slot in &moved {
                self.store.set_owner(*slot, ring.owner(*slot), now);
            }
            self.outputs.push_back(Output::Moved(moved.len()));
            (self.ring, self.eligible) = (ring, eligible);
        }
        for peer in self.peers.values() {
            let state = peer.member.state(&config, now);
            if self.states.insert(peer.member.id, state).is_some_and(|before| before != state) {
                self.outputs.push_back(Output::Member(peer.member.id, state));
            }
        }
        let reachable = self.peers.values().filter(|p| p.member.is_reachable(&config, now));
        self.board.publish(Table {
            taken: now,
            contacts: self.peers.values().filter_map(|peer| peer.member.contact(now)).collect(),
            reachable: reachable.map(|peer| peer.member.id).collect(),
        });
        self.board.set_phase(self.phase);
        self.board.set_resting(self.resting_since.is_some());
        self.board.set_ready(self.why_not_ready(now).is_none());
    }

    fn probe(&mut self, now: Tick) {
        let due = |peer: &&mut Peer| !peer.is_probing && now >= peer.next_probe;
        let mut to = Vec::new();
        for peer in self.peers.values_mut().filter(due) {
            peer.is_probing = true;
            peer.next_probe = now.after(self.config.probe_period);
            to.push(peer.member.id);
        }
        for member in to {
            self.send(member, Purpose::Probe, Request::Probe { phase: self.phase }, now);
        }
    }

    fn spread_changes(&mut self, now: Tick) {
        let changes = self.store.journal().take_changes();
        for peer in self.peers.values_mut() {
            if changes.overflown {
                peer.replicator.overflow();
            }
            for place in &changes.places {
                peer.replicator.mark(place.clone(), &self.config, now);
            }
        }
    }

    /// Gives each beat to the owner of its slot.
    fn spread_beats(&mut self) {
        let mut beats = self.store.journal().take_heard();
        for peer in self.peers.values_mut().filter(|peer| !peer.was_reachable) {
            // By the time that it is back they would be old.
            for (place, heard) in peer.renewer.give_up() {
                beats.entry(place).or_insert(heard);
            }
        }
        for (place, heard) in beats {
            let owner = self.store.owner(Slot::of(&place.0));
            let Some(peer) = owner.and_then(|owner| self.peers.get_mut(&owner)) else { continue };
            if !self.config.rules.renew {
                continue;
            }
            if peer.was_reachable {
                peer.renewer.add(place, heard, &self.config);
            } else {
                let owner = peer.member.id;
                self.relay(owner, &place, heard);
            }
        }
    }

    /// Gives a beat that cannot be given to the owner to everybody else: one of them may reach it.
    fn relay(&mut self, owner: MemberId, place: &Place, heard: HeardAt) {
        const MOST_HOPS_TO_RELAY: u8 = 1;
        if !self.config.rules.relay || heard.hops > MOST_HOPS_TO_RELAY {
            return;
        }
        let others = self.peers.values_mut().filter(|p| p.was_reachable && p.member.id != owner);
        for peer in others {
            peer.renewer.add(place.clone(), heard, &self.config);
        }
    }

    fn send_what_is_due(&mut self, now: Tick) {
        let (config, store) = (Arc::clone(&self.config), Arc::clone(&self.store));
        let members: Vec<MemberId> = self.peers.keys().copied().collect();
        for id in members {
            let Some(peer) = self.peers.get_mut(&id) else { continue };
            let mut due = Vec::new();
            if peer.replicator.take_overflown() {
                peer.verifier.demand(now);
            }
            if peer.member.is_reachable(&config, now) {
                let request = peer.replicator.poll(&store, &config, now);
                due.extend(request.map(|request| (Purpose::Replicate, request)));
                let request = peer.renewer.poll(&config, now);
                due.extend(request.map(|request| (Purpose::Renew, request)));
                if let Some(loader) =
                    self.loader.as_mut().filter(|_| peer.member.phase == Phase::Up)
                {
                    due.extend(loader.poll(id).map(|request| (Purpose::Load, request)));
                }
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

    fn send(&mut self, to: MemberId, purpose: Purpose, request: Request<V>, now: Tick) {
        /// What the driver gets on top of a deadline to tell of it.
        const SLACK: Duration = Duration::from_secs(1);
        let deadline = self.config.call_deadline;
        self.last_call += 1;
        let call = CallId(self.last_call);
        let given_up = now.after(deadline + SLACK);
        self.calls.insert(call, Call { to, sent: now, deadline: given_up, purpose });
        self.outputs.push_back(Output::Send { call, to, request, deadline });
    }

    fn answered(&mut self, id: CallId, reply: Reply<V>, now: Tick) {
        let Some(call) = self.calls.remove(&id) else { return };
        self.board.clear_silent(call.to, call.sent);
        let Some(peer) = self.peers.get_mut(&call.to) else { return };
        peer.member.answered(call.sent);
        match (call.purpose, reply) {
            (Purpose::Probe, Reply::Probed { incarnation, phase, contacts }) => {
                peer.is_probing = false;
                let before = peer.member.incarnation;
                peer.member.introduced(incarnation, phase);
                if before != 0 && before != incarnation {
                    peer.verifier.demand(now);
                }
                self.take_hearsay(&contacts, call.sent);
            }
            (Purpose::Replicate, Reply::Done) => peer.replicator.succeeded(),
            (Purpose::Renew, Reply::Renewed { removed, unknown }) => {
                peer.renewer.succeeded();
                merge(&self.store, &removed, now);
                let removed = removed.into_iter().map(|entry| (entry.tag, entry.key));
                for place in unknown.into_iter().chain(removed) {
                    // Not if the removal is the newest that is known here, too.
                    if is_visible(&self.store, &place) {
                        peer.replicator.mark(place, &self.config, now);
                    }
                }
            }
            (Purpose::Verify, reply) => {
                let (config, random) = (&self.config, &mut self.random);
                let lacking = peer.verifier.answered(&self.store, reply, config, random, now);
                for place in lacking {
                    peer.replicator.mark(place, config, now);
                }
            }
            (Purpose::Load, Reply::Page { entries, more }) => {
                merge(&self.store, &entries, now);
                let last = entries.into_iter().last().map(|entry| (entry.tag, entry.key));
                if let Some(loader) = &mut self.loader {
                    loader.answered(call.to, last, more, now);
                    if loader.pulled().is_some() {
                        self.peers.values_mut().for_each(|peer| peer.verifier.demand(now));
                    }
                }
            }
            (Purpose::Leave, _) => {}
            (purpose, _) => self.call_failed(call.to, purpose, now),
        }
    }

    fn take_hearsay(&mut self, contacts: &[crate::Contact], sent: Tick) {
        if !self.config.rules.hearsay {
            return;
        }
        for contact in contacts {
            let Some(peer) = self.peers.get_mut(&contact.member) else { continue };
            let age = Duration::from_millis(contact.age_ms);
            if let Some(at) = sent.since(Tick::ZERO).checked_sub(age) {
                peer.member.rumoured(contact, Tick::ZERO.after(at));
            }
        }
    }

    fn unanswered(&mut self, id: CallId, now: Tick) {
        if let Some(call) = self.calls.remove(&id) {
            self.call_failed(call.to, call.purpose, now);
        }
    }

    fn call_failed(&mut self, to: MemberId, purpose: Purpose, now: Tick) {
        let Some(peer) = self.peers.get_mut(&to) else { return };
        match purpose {
            Purpose::Probe => peer.is_probing = false,
            Purpose::Replicate => peer.replicator.failed(&self.config, &mut self.random, now),
            Purpose::Renew => {
                for (place, heard) in peer.renewer.failed() {
                    self.renew_again(to, place, heard, now);
                }
            }
            Purpose::Verify => peer.verifier.fail(&self.config, &mut self.random, now),
            Purpose::Load => {
                if let Some(loader) = &mut self.loader {
                    loader.failed(to);
                }
            }
            Purpose::Leave => peer.knows_of_leave = false,
        }
    }

    /// A beat was not acknowledged: it goes round by others, and once more the same way.
    fn renew_again(&mut self, to: MemberId, place: Place, heard: HeardAt, now: Tick) {
        if self.store.owner(Slot::of(&place.0)) == Some(to) {
            self.relay(to, &place, heard);
        }
        let is_fresh = now.since(heard.tick) < self.config.call_deadline * 3;
        if let Some(peer) = self.peers.get_mut(&to).filter(|_| is_fresh) {
            peer.renewer.add(place, heard, &self.config);
        }
    }

    fn leave(&mut self, now: Tick) {
        if self.phase == Phase::Leaving {
            return;
        }
        let owned: Vec<Slot> = Slot::all().filter(|slot| self.store.owns(*slot)).collect();
        self.loader = None;
        self.set_phase(Phase::Leaving);
        self.look_around(now);
        self.leave_by = Some(now.after(self.config.leave_within));
        for slot in owned {
            for tag in self.store.tags(slot, None) {
                let Some(datum) = self.store.find(&tag) else { continue };
                let heard = datum.read(|reader| {
                    reader.heard().map(|(key, tick)| (key.clone(), tick)).collect::<Vec<_>>()
                });
                for (key, tick) in heard {
                    let heard = datum.heard_at(&key, tick);
                    self.store.journal().note_heard((tag.clone(), key), heard);
                }
            }
        }
        self.spread_beats();
    }

    fn is_handed_over(&self, now: Tick) -> bool {
        let mut reachable =
            self.peers.values().filter(|peer| peer.member.is_reachable(&self.config, now));
        reachable.all(Peer::is_drained) && self.calls.is_empty()
    }
}

fn is_visible<V: Value, A: Default + Send + Sync + 'static>(
    store: &Store<V, A>,
    place: &Place,
) -> bool {
    let datum = store.find(&place.0);
    datum.is_some_and(|datum| {
        datum.read(|reader| reader.find(&place.1).is_some_and(|record| record.is_visible()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::StoreConfig;
    use crate::record::LeaseTerms;
    use crate::stamp::StampClock;
    use crate::time::Now;

    struct Text;

    impl Value for Text {
        fn lease(&self) -> Option<LeaseTerms> {
            None
        }
        fn shows_like(&self, _: &Self) -> bool {
            true
        }
        fn class(&self) -> usize {
            0
        }
    }

    fn at(ms: u64) -> Tick {
        Tick::from_ms(ms)
    }

    fn alone() -> Distro<Text, ()> {
        let now = Now { tick: at(0), wall_ms: 1_700_000_000_000 };
        let clock = StampClock::new(MemberId(1), 1, now);
        let store = Arc::new(Store::new(StoreConfig::default(), clock, vec![]));
        Distro::new(DistroConfig::default(), store, &[], 1, at(0))
    }

    fn outputs(distro: &mut Distro<Text, ()>) -> Vec<Output<Text>> {
        std::iter::from_fn(|| distro.poll_output()).collect()
    }

    #[test]
    fn each_tick_asks_for_judgement_once() {
        let mut distro = alone();
        assert_eq!(distro.poll_timeout(), at(100));
        distro.handle_input(at(50), Input::Tick);
        assert!(outputs(&mut distro).is_empty());
        distro.handle_input(at(100), Input::Tick);
        assert_eq!(outputs(&mut distro).len(), 1);
        assert_eq!(distro.poll_timeout(), at(200));
    }

    #[test]
    fn a_late_tick_starts_the_listening_anew() {
        let mut distro = alone();
        distro.handle_input(at(60_100), Input::Tick);
        let [Output::Paused(late), Output::Judge(terms)] = outputs(&mut distro)[..] else {
            panic!("a pause comes before the judgement");
        };
        assert_eq!((late, terms.listening_since), (Duration::from_secs(60), at(60_100)));
    }

    #[test]
    fn a_tick_that_is_a_little_late_changes_nothing() {
        let mut distro = alone();
        distro.handle_input(at(3_000), Input::Tick);
        assert_eq!(distro.listening_since(), at(0));
        assert!(matches!(outputs(&mut distro)[..], [Output::Judge(_)]));
    }

    #[test]
    fn judging_can_be_switched_off() {
        let mut distro = alone();
        distro.handle_input(at(10), Input::Judging(false));
        distro.handle_input(at(100), Input::Tick);
        let [Output::Judge(terms)] = outputs(&mut distro)[..] else { panic!("one judgement") };
        assert!(!terms.enabled);
    }

    #[test]
    fn a_member_alone_is_ready_at_once_and_owns_everything() {
        let distro = alone();
        assert!(distro.board().may_read(at(0)));
        assert!(Slot::all().all(|slot| distro.store.owns(slot)));
    }
}
