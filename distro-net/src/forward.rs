//! Writes on behalf of clients, carried to the owner of their slot.

use std::sync::Arc;
use std::time::Duration;

use distro_core::{Forwarding, Operation, SharedStatus, Step, Store, Value, Written};

use crate::client::{Outcome, Peers};
use crate::durability::{Durability, InMemory};
use crate::persist::Queues;

/// Carries out writes: by the owner of the slot in one hop, or here if this member owns it or the
/// owner is silent. Cheap to clone; for request handlers.
pub struct Forwarder<V: Value, A> {
    store: Arc<Store<V, A>>,
    pub(crate) shared_status: Arc<SharedStatus>,
    pub(crate) peers: Peers<V>,
    pub(crate) durability: Arc<dyn Durability>,
    pub(crate) queues: Arc<Queues<V>>,
    deadline: Duration,
}

impl<V: Value, A> Clone for Forwarder<V, A> {
    fn clone(&self) -> Self {
        Self {
            store: Arc::clone(&self.store),
            shared_status: Arc::clone(&self.shared_status),
            peers: self.peers.clone(),
            durability: Arc::clone(&self.durability),
            queues: Arc::clone(&self.queues),
            deadline: self.deadline,
        }
    }
}

impl<V: Value, A: Default + Send + Sync + 'static> Forwarder<V, A> {
    /// `deadline` is [`forward_deadline`](distro_core::DistroConfig::forward_deadline).
    pub fn new(
        store: Arc<Store<V, A>>,
        shared_status: Arc<SharedStatus>,
        peers: Peers<V>,
        deadline: Duration,
    ) -> Self {
        let (durability, queues) = (Arc::new(InMemory), Arc::default());
        Self { store, shared_status, peers, durability, queues, deadline }
    }

    /// The same for a member that has a disk.
    #[must_use]
    pub fn with_durability(self, durability: Arc<dyn Durability>) -> Self {
        Self { durability, ..self }
    }

    /// Carries out a write whose stamp this member's clock has just issued. A read on this member
    /// sees what came of it. Takes two deadlines at most, and never fails for another member's
    /// sake. If the future is dropped, the write goes on.
    pub async fn write(&self, operation: Operation<V>) -> Written<V> {
        let (store, now) = (&*self.store, self.peers.clock().tick());
        match Forwarding::begin(store, &self.shared_status, self.deadline, operation, now) {
            (_, Step::Done(written)) => written,
            (forwarding, step) => {
                // To its end, whatever becomes of the client: the owner relies on it that this
                // member merges the reply, and does not tell it of the write again.
                match tokio::spawn(self.clone().follow(forwarding, step)).await {
                    Ok(written) => written,
                    Err(error) => match error.try_into_panic() {
                        Ok(panic) => std::panic::resume_unwind(panic),
                        // The runtime ends, and this with it.
                        Err(_) => std::future::pending().await,
                    },
                }
            }
        }
    }

    async fn follow(self, mut forwarding: Forwarding<V>, mut step: Step<V>) -> Written<V> {
        let clock = self.peers.clock();
        let (store, shared_status) = (&*self.store, &*self.shared_status);
        loop {
            step = match step {
                Step::Done(written) => return written,
                Step::Send { to, request, as_of, deadline } => {
                    match self.peers.call_as_of(as_of, to, &request, deadline).await {
                        Outcome::Answered(reply) => forwarding.answered(store, reply, clock.tick()),
                        Outcome::NotTaken => forwarding.not_taken(store, clock.tick()),
                        Outcome::NoAnswer | Outcome::Refused => {
                            forwarding.failed(store, shared_status, clock.tick())
                        }
                    }
                }
            };
        }
    }
}
