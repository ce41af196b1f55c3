//! Writes on behalf of clients, carried to the owner of their slot.

use std::sync::Arc;
use std::time::Duration;

use distro_core::{Board, Forwarding, Operation, Step, Store, Value, Written};

use crate::client::{Outcome, Peers};

/// Carries out writes: by the owner of the slot in one hop, or here if this member owns it or the
/// owner is silent. Cheap to clone; for request handlers.
pub struct Forwarder<V: Value, A> {
    store: Arc<Store<V, A>>,
    board: Arc<Board>,
    peers: Peers<V>,
    deadline: Duration,
}

impl<V: Value, A> Clone for Forwarder<V, A> {
    fn clone(&self) -> Self {
        Self {
            store: Arc::clone(&self.store),
            board: Arc::clone(&self.board),
            peers: self.peers.clone(),
            deadline: self.deadline,
        }
    }
}

impl<V: Value, A: Default + Send + Sync + 'static> Forwarder<V, A> {
    /// `deadline` is [`forward_deadline`](distro_core::DistroConfig::forward_deadline).
    pub fn new(
        store: Arc<Store<V, A>>,
        board: Arc<Board>,
        peers: Peers<V>,
        deadline: Duration,
    ) -> Self {
        Self { store, board, peers, deadline }
    }

    /// Carries out a write whose stamp this member's clock has just issued. A read on this member
    /// sees what came of it. Takes two deadlines at most, and never fails for another member's
    /// sake. If the future is dropped, the write may have happened or not.
    pub async fn write(&self, operation: Operation<V>) -> Written<V> {
        let clock = self.peers.clock();
        let (store, board) = (&*self.store, &*self.board);
        let (mut forwarding, mut step) =
            Forwarding::begin(store, board, self.deadline, operation, clock.tick());
        loop {
            step = match step {
                Step::Done(written) => return written,
                Step::Send { to, request, deadline } => {
                    match self.peers.call(to, &request, deadline).await {
                        Outcome::Answered(reply) => forwarding.answered(store, reply, clock.tick()),
                        Outcome::NotTaken => forwarding.not_taken(store, clock.tick()),
                        Outcome::NoAnswer | Outcome::Refused => {
                            forwarding.failed(store, board, clock.tick())
                        }
                    }
                }
            };
        }
    }
}
