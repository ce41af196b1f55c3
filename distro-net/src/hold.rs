//! Durable records, put on the disks of several members before their writer is answered.

mod line;

use std::sync::Arc;
use std::time::Duration;

use distro_core::{Entry, Place, Value};
use tokio::sync::mpsc;
use tokio::time::Instant;

pub(crate) use self::line::Lines;
use self::line::{Asked, Way};
use crate::durability::Keeping;
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
    /// cannot; those of releases that do not understand it count as not holding. What many wait for
    /// at a time goes to a member in one message.
    ///
    /// Takes no longer than the deadline. Dropping the future takes nothing back: who was asked
    /// keeps the records.
    pub async fn hold(
        &self,
        entries: Vec<Entry<V>>,
        needed: usize,
        deadline: Duration,
    ) -> Result<(), TooFew> {
        let until = Instant::now() + deadline;
        let others = self.peers.members();
        let (confirm, mut confirmations) = mpsc::channel(others.len() + 1);
        let kept = self.durability.kept(&places(&entries));
        tokio::spawn(confirm_own(kept, confirm.clone()));
        let entries: Arc<[Entry<V>]> = entries.into();
        // Whatever ends this: who has not been asked yet need not be.
        let _waiting: Vec<_> = others
            .iter()
            .map(|&member| {
                let (peers, board) = (self.peers.clone(), Arc::clone(&self.board));
                let (entries, confirm) = (Arc::clone(&entries), confirm.clone());
                let line = self.lines.to(member, &others);
                line.put(Asked { entries, until, confirm }, Way { peers, board, member })
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

/// Where these records are.
pub(crate) fn places<V>(entries: &[Entry<V>]) -> Vec<Place> {
    entries.iter().map(|entry| (Arc::clone(&entry.tag), Arc::clone(&entry.key))).collect()
}

async fn confirm_own(kept: Keeping, confirm: mpsc::Sender<()>) {
    match kept.await {
        Ok(()) => _ = confirm.send(()).await,
        Err(error) => tracing::error!(%error, "a durable record is in memory only"),
    }
}
