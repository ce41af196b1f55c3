//! Durable records, put on the disks of several members before their writer is answered.

mod queue;

use std::sync::Arc;
use std::time::Duration;

use distro_core::{Entry, RecordId, Value};
use tokio::sync::mpsc;
use tokio::time::Instant;

pub(crate) use self::queue::Queues;
use self::queue::{Asked, Way};
use crate::durability::Saving;
use crate::forward::Forwarder;

/// Too few members have confirmed in time that something is on disk. It may be on more of them,
/// and nothing is taken back: it may still come to be known to all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{held} members of {needed} have it on disk")]
pub struct TooFew {
    /// How many have confirmed.
    pub held: usize,
    /// How many should have.
    pub needed: usize,
}

impl<V: Value, A: Default + Send + Sync + 'static> Forwarder<V, A> {
    /// How many members are in this member's list, itself included.
    pub fn members(&self) -> usize {
        self.peers.members().len() + 1
    }

    /// More than half of the members in this member's list, itself included: what so many have on
    /// disk is not lost when fewer than half are lost for good.
    pub fn majority(&self) -> usize {
        self.members() / 2 + 1
    }

    /// Waits until so many members have these durable records on disk, this one included once it
    /// has what its store holds of them by now. The others are asked all at once, and again while they
    /// cannot; those of releases that do not understand it count as not having them. What many wait for
    /// at a time goes to a member in one message.
    ///
    /// Takes no longer than the deadline. Dropping the future takes nothing back: who was asked
    /// keeps the records.
    pub async fn persist(
        &self,
        entries: Vec<Entry<V>>,
        needed: usize,
        deadline: Duration,
    ) -> Result<(), TooFew> {
        let until = Instant::now() + deadline;
        let others = self.peers.members();
        let (confirm, mut confirmations) = mpsc::channel(others.len() + 1);
        let kept = self.durability.saved(&record_ids(&entries));
        tokio::spawn(confirm_own(kept, confirm.clone()));
        let entries: Arc<[Entry<V>]> = entries.into();
        // Whatever ends this: who has not been asked yet need not be.
        let _waiting: Vec<_> = others
            .iter()
            .map(|&member| {
                let (peers, shared_status) = (self.peers.clone(), Arc::clone(&self.shared_status));
                let (entries, confirm) = (Arc::clone(&entries), confirm.clone());
                let queue = self.queues.to(member, &others);
                queue.put(Asked { entries, until, confirm }, Way { peers, shared_status, member })
            })
            .collect();
        drop(confirm);
        let mut held = 0;
        let count = async {
            while held < needed && confirmations.recv().await.is_some() {
                held += 1;
            }
        };
        // Out of time or not, what counts is how many there are.
        let _ = tokio::time::timeout_at(until, count).await;
        if held >= needed { Ok(()) } else { Err(TooFew { held, needed }) }
    }
}

/// Which records these are.
pub(crate) fn record_ids<V>(entries: &[Entry<V>]) -> Vec<RecordId> {
    entries.iter().map(|entry| (Arc::clone(&entry.tag), Arc::clone(&entry.key))).collect()
}

async fn confirm_own(kept: Saving, confirm: mpsc::Sender<()>) {
    match kept.await {
        Ok(()) => _ = confirm.send(()).await,
        Err(error) => tracing::error!(%error, "a durable record is in memory only"),
    }
}
