//! The task that owns the protocol state and performs what it asks for.

use std::sync::Arc;

use distro_core::{
    Answer, CallId, Distro, DistroConfig, Input, JudgeTerms, MemberId, MemberView, Output,
    RecordId, SharedStatus, Store, Value,
};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::address::Address;
use crate::client::{Outcome, Peers};
use crate::clock::Clock;
use crate::control::Control;
use crate::nudge::Nudge;
use crate::status::{MemberStatus, Status};
use crate::unread::{Named, Worth, shown};

/// Inputs that wait for the driver. Operators are slow; more than this waits for room.
const INPUT_QUEUE: usize = 64;

/// Drives one member: feeds its [`Distro`] with time, inputs and the outcomes of calls, and
/// carries out the outputs.
pub struct Driver<V: Value, A> {
    distro: Distro<V, A>,
    store: Arc<Store<V, A>>,
    clock: Clock,
    inputs: mpsc::Receiver<Input<V>>,
    nudge: Nudge,
    /// `None` for a member alone.
    peers: Option<Peers<V>>,
    /// Calls under way: a few for each peer, the core sees to that. End with the driver.
    calls: JoinSet<(CallId, Outcome<V>)>,
    status: Status,
    /// Records that could not be given to a member.
    dropped: Named,
    published: watch::Sender<Arc<Status>>,
}

impl<V: Value, A: Default + Send + Sync + 'static> Driver<V, A> {
    /// A driver for a member that is and stays alone, and the handle to speak to it. Nothing
    /// happens until [`run`](Self::run).
    pub fn new(config: DistroConfig, store: Arc<Store<V, A>>, clock: Clock) -> (Self, Control<V>) {
        // A member alone has nothing to spread by chance.
        let distro = Distro::new(config, Arc::clone(&store), &[], 0, clock.tick());
        Self::with(distro, store, clock, Nudge::default(), None)
    }

    /// A driver for a member of a cluster, and the handle to speak to it. Nothing happens until
    /// [`run`](Self::run).
    ///
    /// `members` are the addresses to begin with; this member need not be among them. If there
    /// are no others it is ready at once, and not before it has looked for data otherwise. `nudge`
    /// must be a watcher of the store. `seed` should differ between members.
    pub fn with_peers(
        config: DistroConfig,
        store: Arc<Store<V, A>>,
        peers: Peers<V>,
        members: &[Address],
        nudge: Nudge,
        seed: u64,
    ) -> (Self, Control<V>) {
        let (clock, members) = (peers.clock(), peers.set_members(members));
        let distro = Distro::new(config, Arc::clone(&store), &members, seed, clock.tick());
        Self::with(distro, store, clock, nudge, Some(peers))
    }

    fn with(
        distro: Distro<V, A>,
        store: Arc<Store<V, A>>,
        clock: Clock,
        nudge: Nudge,
        peers: Option<Peers<V>>,
    ) -> (Self, Control<V>) {
        let (sender, inputs) = mpsc::channel(INPUT_QUEUE);
        let (published, status) = watch::channel(Arc::default());
        let control = Control { inputs: sender, status, peers: peers.clone() };
        let (calls, status, dropped) = (JoinSet::new(), Status::default(), Named::default());
        (
            Self { distro, store, clock, inputs, nudge, peers, calls, status, dropped, published },
            control,
        )
    }

    /// What request threads share with the protocol: whether reads may be answered, and who is
    /// reachable.
    pub fn shared_status(&self) -> &Arc<SharedStatus> {
        self.distro.shared_status()
    }

    /// Who answers the requests of other members; for [`Service`](crate::Service).
    pub fn answer(&self) -> Answer<V, A> {
        self.distro.answer()
    }

    /// Runs until `shutdown`. Cancelling the future between awaits loses nothing: all state is
    /// in the store. Calls under way end with it.
    pub async fn run(mut self, shutdown: CancellationToken) {
        self.perform_outputs().await;
        self.publish();
        let mut ticked = false;
        loop {
            let Some(input) = self.next_input(&shutdown, ticked).await else { return };
            let is_hint = matches!(input, Input::Changed);
            ticked = matches!(input, Input::Tick);
            self.distro.handle_input(self.clock.tick(), input);
            self.perform_outputs().await;
            if !is_hint {
                self.publish();
            }
        }
    }

    /// What comes next; `None` when it is to stop. The order is fixed, so that a simulation can
    /// be repeated. A tick that is due goes first, unless the last input was one: when judging
    /// takes longer than from one tick to the next, the others have their turn in between.
    async fn next_input(&mut self, shutdown: &CancellationToken, ticked: bool) -> Option<Input<V>> {
        let deadline = self.clock.instant(self.distro.poll_timeout());
        let (calls, inputs, nudge) = (&mut self.calls, &mut self.inputs, &self.nudge);
        let others = async {
            loop {
                // Operators are slow, and calls are few.
                let input = tokio::select! {
                    biased;
                    Some(input) = inputs.recv() => Some(input),
                    Some(outcome) = calls.join_next() => told(outcome),
                    () = nudge.told() => Some(Input::Changed),
                };
                if let Some(input) = input {
                    return input;
                }
            }
        };
        let tick = tokio::time::sleep_until(deadline);
        if ticked {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => None,
                input = others => Some(input),
                () = tick => Some(Input::Tick),
            }
        } else {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => None,
                () = tick => Some(Input::Tick),
                input = others => Some(input),
            }
        }
    }

    async fn perform_outputs(&mut self) {
        while let Some(output) = self.distro.poll_output() {
            self.perform(output).await;
        }
    }

    async fn perform(&mut self, output: Output<V>) {
        match output {
            Output::Judge(terms) => self.judge(&terms).await,
            Output::Send { call, to, request, as_of, deadline } => {
                let peers = self.peers.clone();
                self.calls.spawn(async move {
                    match peers {
                        Some(peers) => {
                            (call, peers.call_as_of(as_of, to, &request, deadline).await)
                        }
                        None => (call, Outcome::NoAnswer),
                    }
                });
            }
            Output::Paused(late) => tracing::warn!(
                late_ms = late.as_millis(),
                "this process was stopped or starved; every instance gets a full time-out again, \
                 or is judged by what the other members have heard"
            ),
            Output::Member(member, state) => {
                let peers = self.peers.as_ref();
                let address = peers.and_then(|peers| peers.address(member)).unwrap_or_default();
                tracing::info!(member = %address, ?state, "a member changed its state");
            }
            Output::Moved(slots) => {
                self.status.owner_changes += 1;
                self.status.moved_slots += slots as u64;
                tracing::info!(slots, "slots moved to another owner");
            }
            Output::ListsDiffer(true) => tracing::warn!(
                "members have different lists of members; until these agree, the dead stay for minutes"
            ),
            Output::ListsDiffer(false) => tracing::info!("all members have the same list again"),
            Output::Disbelieved => tracing::error!(
                "left out records of other members: their stamps are over a thousand years ahead"
            ),
            Output::Dropped(member, (tag, key)) => {
                self.status.dropped_records += 1;
                self.log_dropped(member, &(tag, key));
            }
            Output::Phase(phase) => tracing::info!(?phase, "this member entered a phase"),
            Output::Left => {
                self.status.has_left = true;
                tracing::info!("this member has handed everything over");
            }
        }
    }

    /// A record that stays is given again and again, and named once.
    fn log_dropped(&self, member: MemberId, place: &RecordId) {
        let address = self.peers.as_ref().and_then(|peers| peers.address(member));
        let address = address.unwrap_or_default();
        let (tag, key) = (shown(&place.0), shown(&place.1));
        match self.dropped.note(member, place) {
            Worth::ALine => tracing::error!(
                member = %address, ?tag, ?key, "a record cannot be given to a member"
            ),
            Worth::TheLastLine => tracing::error!(
                member = %address, "more records cannot be given to members; they are counted only"
            ),
            Worth::Nothing => {}
        }
    }

    /// A slice at a time, so that an expiry of a million does not hold up a worker thread, and no
    /// longer than until the control plane is due again: only that notices a stop of this process.
    async fn judge(&self, terms: &JudgeTerms) {
        let until = self.distro.poll_timeout();
        while self.store.judge(terms) && self.clock.tick() < until {
            tokio::task::yield_now().await;
        }
    }

    fn publish(&mut self) {
        let now = self.clock.tick();
        self.status.phase = self.distro.phase();
        self.status.why_not_ready = self.distro.why_not_ready(now);
        self.status.load_left = self.distro.load_left();
        self.status.calls_under_way = self.distro.calls_under_way();
        if self.status.owners.as_deref() != self.distro.owners() {
            self.status.owners = self.distro.owners().map(Into::into);
        }
        let members = self.distro.members(now);
        self.status.members =
            members.into_iter().filter_map(|view| self.member_status(view)).collect();
        self.published.send_replace(Arc::new(self.status.clone()));
    }

    fn member_status(&self, view: MemberView) -> Option<MemberStatus> {
        let peers = self.peers.as_ref()?;
        let address = peers.address(view.member)?;
        let clock_ahead_ms = peers.clock_ahead_ms(view.member)?;
        Some(MemberStatus { address, view, clock_ahead_ms })
    }
}

/// What the end of a call means to the core. If its task has failed, the core gives the call up by
/// its own deadline.
fn told<V>(outcome: Result<(CallId, Outcome<V>), JoinError>) -> Option<Input<V>> {
    match outcome {
        Ok((call, Outcome::Answered(reply))) => Some(Input::Answered(call, reply)),
        Ok((call, Outcome::NoAnswer)) => Some(Input::NoAnswer(call)),
        Ok((call, Outcome::Refused)) => Some(Input::Refused(call)),
        Ok((call, Outcome::NotTaken)) => Some(Input::NotTaken(call)),
        Err(error) => {
            tracing::error!(%error, "a call between members failed");
            None
        }
    }
}
