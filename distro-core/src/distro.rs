//! The control plane: one state machine that says what to do and when.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::accounts::Accounts;
use crate::answer::Answer;
use crate::config::DistroConfig;
use crate::load::{Joining, Loader};
use crate::membership::{Contacts, Peer, Phase};
use crate::ownership::Shares;
use crate::pause::Pauses;
use crate::random::Random;
use crate::record::Value;
use crate::renew::Beats;
use crate::replicate::Spread;
use crate::stamp::MemberId;
use crate::status::{Beginning, SharedStatus};
use crate::store::Store;
use crate::time::Tick;

mod calls;
mod io;
use calls::Calls;
pub(crate) use calls::Purpose;
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
    pub(crate) status: Arc<SharedStatus>,
    pub(crate) random: Random,
    pub(crate) outputs: VecDeque<Output<V>>,
    /// What this member says of itself.
    pub(crate) phase: Phase,
    pub(crate) peers: BTreeMap<MemberId, Peer>,
    pub(crate) calls: Calls,
    pub(crate) contacts: Contacts,
    pub(crate) shares: Shares,
    pub(crate) spread: Spread,
    pub(crate) beats: Beats,
    pub(crate) accounts: Accounts,
    pub(crate) pauses: Pauses,
    pub(crate) joining: Joining,
    /// When a member that leaves goes, whether everything is handed over or not.
    pub(crate) leave_by: Option<Tick>,
    /// Whether silence has consequences: an operator may switch that off.
    pub(crate) judging: bool,
    has_disbelieved: bool,
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
        let status = Arc::new(SharedStatus::new(member, incarnation, config.pause_threshold, now));
        let mut distro = Self {
            contacts: Contacts::default(),
            shares: Shares::of(member),
            spread: Spread::new(now),
            beats: Beats::new(now),
            accounts: Accounts::new(now),
            pauses: Pauses::new(now, config.tick_period),
            joining: Joining::new(now),
            config: Arc::new(config),
            store,
            status,
            random: Random::new(seed),
            outputs: VecDeque::new(),
            phase: Phase::Up,
            peers: BTreeMap::new(),
            calls: Calls::default(),
            leave_by: None,
            judging: true,
            has_disbelieved: false,
        };
        distro.set_members(others, now);
        if !distro.peers.is_empty() && distro.config.rules.load() {
            distro.phase = Phase::Joining;
            distro.joining.loader = Some(Loader::new(now));
        } else {
            distro.status.set_beginning(Beginning::Alone);
        }
        distro.look_around(now);
        distro
    }

    /// What request threads share with this state.
    pub fn shared_status(&self) -> &Arc<SharedStatus> {
        &self.status
    }

    /// Answers the requests of other members.
    pub fn answer(&self) -> Answer<V, A> {
        let (store, status) = (Arc::clone(&self.store), Arc::clone(&self.status));
        Answer::new(store, status, Arc::clone(&self.config))
    }

    /// Takes one input. Late and early calls are harmless.
    pub fn handle_input(&mut self, now: Tick, input: Input<V>) {
        self.notice_pause(now);
        self.status.ran(now);
        match input {
            Input::Tick | Input::Changed => {}
            Input::Judging(on) => self.judging = on,
            Input::Answered(call, reply) => self.answered(call, reply, now),
            Input::NoAnswer(call) => self.unanswered(call, now),
            Input::NotTaken(call) => self.not_taken(call, now),
            Input::Refused(call) => self.refused(call, now),
            Input::Members(others) => self.set_members(&others, now),
            Input::Owners(owners) => {
                self.shares.set_owners(owners);
                self.look_around(now);
            }
            Input::Leave => self.leave(now),
        }
        if self.pauses.takes_tick(now, self.config.tick_period) {
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
        let next_tick = self.pauses.next_tick();
        self.spread.next_batch.map_or(next_tick, |batch| batch.min(next_tick))
    }

    /// Since when this member has listened without a break, to clients and to the members that
    /// hear others.
    pub fn listening_since(&self) -> Tick {
        self.pauses.listening_since()
    }

    /// The phase of this member, as it tells others.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Why reads are not answered, if they are not.
    pub fn why_not_ready(&self, now: Tick) -> Option<&'static str> {
        match self.phase {
            Phase::Joining => Some("waiting for members that have data"),
            Phase::Loading => Some("loading data from other members"),
            _ if now < self.joining.quiet_until => {
                Some("found no data; waiting for clients to return")
            }
            _ if self.pauses.is_resting() => Some("was stopped; comparing data with others"),
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
            agrees_on_members: peer.members_checksum == 0
                || peer.members_checksum == self.status.members_checksum(),
            differences: peer.verifier.differences,
        };
        self.peers.values().map(view).collect()
    }

    /// The members that may own something, as [`Input::Owners`] told them, if it did.
    pub fn owners(&self) -> Option<&[MemberId]> {
        self.shares.owners()
    }

    /// How much of the first load is left, in parts of a thirty-second.
    pub fn load_left(&self) -> usize {
        self.joining.loader.as_ref().map_or(0, Loader::parts_left)
    }

    /// Calls that have neither been answered nor given up.
    pub fn calls_under_way(&self) -> usize {
        self.calls.len()
    }

    fn tick(&mut self, now: Tick) {
        for (member, incarnation) in self.status.take_left() {
            if let Some(peer) = self.peers.get_mut(&member) {
                peer.member.leaves(incarnation);
            }
        }
        self.give_up_overdue(now);
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
        if self.beats.are_due(now, self.config.renew_period) {
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
        assert!(distro.shared_status().may_read(at(0)));
        assert!(distro.store.share() == SLOT_COUNT);
    }
}
