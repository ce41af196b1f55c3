//! The control plane: one state machine that says what to do and when.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::accounts::Accounts;
use crate::answer::Answer;
use crate::config::DistroConfig;
use crate::journal::{HeardAt, Place};
use crate::load::Loader;
use crate::membership::Peer;
use crate::membership::{MemberState, Phase};
use crate::ownership::Ring;
use crate::ownership::TagRing;
use crate::random::Random;
use crate::record::Value;
use crate::stamp::MemberId;
use crate::status::{Beginning, Board};
use crate::store::Store;
use crate::time::Tick;

mod calls;
mod io;
pub(crate) use calls::{Call, Purpose};
pub use io::{CallId, Input, MemberView, Output};

/// The protocol state of one member. Does no IO: time comes in with every call, work goes out as
/// [`Output`].
///
/// The law of the loop: one [`handle_input`](Self::handle_input), then
/// [`poll_output`](Self::poll_output) until it has nothing, then sleep until
/// [`poll_timeout`](Self::poll_timeout) or the next input.
pub struct Distro<V: Value, A> {
    pub(crate) config: Arc<DistroConfig>,
    pub(crate) store: Arc<Store<V, A>>,
    pub(crate) board: Arc<Board>,
    pub(crate) random: Random,
    pub(crate) peers: BTreeMap<MemberId, Peer>,
    pub(crate) states: BTreeMap<MemberId, MemberState>,
    pub(crate) calls: BTreeMap<CallId, Call>,
    pub(crate) last_call: u64,
    pub(crate) outputs: VecDeque<Output<V>>,
    /// When the driver should have come back.
    pub(crate) next_tick: Tick,
    /// When the first batch of changes that waits for its turn may be sent.
    pub(crate) next_batch: Option<Tick>,
    pub(crate) listening_since: Tick,
    pub(crate) accounts: Accounts,
    pub(crate) judging: bool,
    pub(crate) phase: Phase,
    pub(crate) eligible: Vec<MemberId>,
    /// All members, this one among them, in the order that was told.
    pub(crate) order: Vec<MemberId>,
    /// Who may own something in the order that counts, as it was told from outside; members among
    /// them that are not in `peers` do not speak this protocol.
    pub(crate) owners: Option<Vec<MemberId>>,
    pub(crate) ring: Ring,
    /// Instead of the ring of slots, where tags fall to members one by one.
    pub(crate) tag_ring: TagRing,
    /// The members of that which speak this protocol; `None` if all do.
    pub(crate) shared_with: Option<BTreeSet<MemberId>>,
    /// A member takes others for members than this one does.
    pub(crate) lists_differ: bool,
    pub(crate) loader: Option<Loader>,
    /// Found no data: shows nothing until clients had time to register again.
    pub(crate) quiet_until: Tick,
    /// Was stopped then, and has not compared its data since.
    pub(crate) resting_since: Option<Tick>,
    /// When this process was found to have been stopped the last time.
    pub(crate) woken_at: Option<Tick>,
    pub(crate) alone_since: Option<Tick>,
    pub(crate) has_disbelieved: bool,
    pub(crate) next_renewal: Tick,
    /// Beats that were heard while nobody could be told of them.
    pub(crate) stranded: BTreeMap<Place, HeardAt>,
    /// When it is next published which slots have something that peers must be told of.
    pub(crate) next_queued: Tick,
    pub(crate) leave_by: Option<Tick>,
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
            next_batch: None,
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
            accounts: Accounts::new(now),
            judging: true,
            phase: Phase::Up,
            eligible: vec![member],
            order: vec![member],
            owners: None,
            shared_with: None,
            ring: Ring::new(&[member]),
            tag_ring: TagRing::new(&[member]),
            lists_differ: false,
            loader: None,
            quiet_until: now,
            resting_since: None,
            woken_at: None,
            alone_since: None,
            has_disbelieved: false,
            next_renewal: now,
            stranded: BTreeMap::new(),
            next_queued: now,
            leave_by: None,
        };
        distro.set_members(others, now);
        if !distro.peers.is_empty() && distro.config.rules.load() {
            distro.phase = Phase::Joining;
            distro.loader = Some(Loader::new(now));
        } else {
            distro.board.set_beginning(Beginning::Alone);
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
            Input::NotTaken(call) => self.not_taken(call, now),
            Input::Refused(call) => {
                let to = self.calls.get(&call).map(|call| call.to);
                if let Some(peer) = to.and_then(|to| self.peers.get_mut(&to)) {
                    peer.member.refused(now, self.config.down_after);
                }
                self.unanswered(call, now);
            }
            Input::Members(others) => self.set_members(&others, now),
            Input::Owners(owners) => {
                self.owners = Some(owners);
                self.look_around(now);
            }
            Input::Leave => self.leave(now),
        }
        if now >= self.next_tick {
            self.next_tick = now.after(self.config.tick_period);
            self.tick(now);
        }
        self.spread_changes(now);
        self.spread_arrivals(now);
        self.send_what_is_due(now);
    }

    /// The next thing to do, if any.
    pub fn poll_output(&mut self) -> Option<Output<V>> {
        self.outputs.pop_front()
    }

    /// When to come back with [`Input::Tick`] at the latest.
    pub fn poll_timeout(&self) -> Tick {
        self.next_batch.map_or(self.next_tick, |batch| batch.min(self.next_tick))
    }

    /// Since when this member has listened without a break, to clients and to the members that
    /// hear others.
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
            lag: peer.replicator.lag(now),
            queued_beats: peer.renewer.len(),
            agrees_on_members: peer.list == 0 || peer.list == self.board.list(),
            differences: peer.verifier.differences,
        };
        self.peers.values().map(view).collect()
    }

    /// Who may own something as it was told by [`Input::Owners`], if it was.
    pub fn owners(&self) -> Option<&[MemberId]> {
        self.owners.as_deref()
    }

    /// How much of the first load is left, in parts of a thirty-second.
    pub fn load_left(&self) -> usize {
        self.loader.as_ref().map_or(0, Loader::parts_left)
    }

    /// Calls that have neither been answered nor given up.
    pub fn calls_under_way(&self) -> usize {
        self.calls.len()
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
        if !self.has_disbelieved && self.store.disbelieved() > 0 {
            self.has_disbelieved = true;
            self.outputs.push_back(Output::Disbelieved);
        }
        self.notice_contact(now);
        self.show_withheld(now);
        self.compare_lists(now);
        self.advance_phase(now);
        self.rest(now);
        self.look_around(now);
        self.probe(now);
        self.notice_given(now);
        self.settle(now);
        if now >= self.next_renewal {
            self.next_renewal = now.after(self.config.renew_period);
            self.spread_beats();
        }
        self.publish_queued(now);
        self.outputs.push_back(Output::Judge(self.judge_terms(now)));
        if self.leave_by.is_some_and(|by| now >= by || self.is_handed_over(now)) {
            self.leave_by = None;
            self.outputs.push_back(Output::Left);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::StoreConfig;
    use crate::record::LeaseTerms;
    use crate::slot::SLOT_COUNT;
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
        assert!(distro.store.share() == SLOT_COUNT);
    }
}
