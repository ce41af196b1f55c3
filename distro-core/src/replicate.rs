//! Asynchronous replication: what is written here is answered at once and sent afterwards.
//!
//! Request threads leave the keys that changed in the [`Journal`](crate::journal::Journal). The control
//! plane marks them for each peer, whose [`Replicator`] sends them in batches. The receiver merges them
//! (`answer.rs`) and passes nothing on: every member tells all others itself.

use std::time::Duration;

use crate::distro::Distro;
use crate::record::Value;
use crate::slot::SLOT_COUNT;
use crate::time::Tick;

mod replicator;
pub(crate) use replicator::Replicator;

/// When changes are sent to peers.
#[derive(Debug)]
pub(crate) struct Spread {
    /// When the first batch of changes that waits for its turn may be sent.
    pub(crate) next_batch: Option<Tick>,
    /// When it is next published which slots have something that peers must be told of.
    next_queued: Tick,
}

impl Spread {
    pub(crate) fn new(now: Tick) -> Self {
        Self { next_batch: None, next_queued: now }
    }
}

impl<V: Value, A: Default + Send + Sync + 'static> Distro<V, A> {
    /// Marks for every peer what has changed here since the last call.
    pub(crate) fn spread_changes(&mut self, now: Tick) {
        let changes = self.store.journal().take_changes();
        for peer in self.peers.values_mut() {
            if changes.overflown {
                peer.replicator.overflow();
            }
            for (record_id, spared) in &changes.record_ids {
                if *spared != Some(peer.member.id) {
                    peer.replicator.mark(record_id.clone(), &self.config, now);
                }
            }
        }
    }

    /// Has the store remember removals of which a peer has yet to be told. No removal is forgotten
    /// sooner than the compensation window, so once in a while is enough.
    pub(crate) fn publish_queued(&mut self, now: Tick) {
        if now < self.spread.next_queued {
            return;
        }
        let window = self.store.config().compensation_window;
        self.spread.next_queued = now.after((window / 4).min(Duration::from_secs(2)));
        let mut is_queued = [false; SLOT_COUNT];
        for peer in self.peers.values() {
            peer.replicator.slots(|slot| is_queued[slot.index()] = true);
        }
        self.store.set_queued(|slot| is_queued[slot.index()]);
    }
}
