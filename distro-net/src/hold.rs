//! Durable records, put on the disks of several members before their writer is answered.

use std::sync::Arc;
use std::time::Duration;

use distro_core::{Board, Entry, MemberId, Reply, Request, Value};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::client::{Outcome, Peers};
use crate::durability::Keeping;
use crate::forward::Forwarder;

/// How long to wait before a member is asked again that could not hold a record.
const PAUSE: Duration = Duration::from_millis(100);

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
    /// More than half of the members in this member's list, itself included: what so many have on
    /// disk is not lost when fewer than half are lost for good.
    pub fn majority(&self) -> usize {
        let all = self.peers.members().len() + 1;
        all / 2 + 1
    }

    /// Waits until so many members have these durable records on disk, this one included once it
    /// has all that its store holds by now. The others are asked all at once, and again while they
    /// cannot; those of releases that do not understand it count as not holding.
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
        let over = CancellationToken::new();
        let others = self.peers.members();
        let (confirm, mut confirmations) = mpsc::channel(others.len() + 1);
        tokio::spawn(confirm_own(self.durability.kept(), confirm.clone()));
        let request = Arc::new(Request::Hold(entries));
        for member in others {
            let (peers, board) = (self.peers.clone(), Arc::clone(&self.board));
            let (request, over) = (Arc::clone(&request), over.clone());
            let asked = Asked { peers, board, member, request, until, over };
            tokio::spawn(asked.confirm(confirm.clone()));
        }
        drop(confirm);
        // Whatever ends this: who has not been asked yet need not be.
        let _over = over.drop_guard();
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

async fn confirm_own(kept: Keeping, confirm: mpsc::Sender<()>) {
    match kept.await {
        Ok(()) => _ = confirm.send(()).await,
        Err(error) => tracing::error!(%error, "a durable record is in memory only"),
    }
}

/// Another member that is asked to hold something.
struct Asked<V> {
    peers: Peers<V>,
    board: Arc<Board>,
    member: MemberId,
    request: Arc<Request<V>>,
    until: Instant,
    /// The writer does not wait any more.
    over: CancellationToken,
}

impl<V: Value> Asked<V> {
    async fn confirm(self, confirm: mpsc::Sender<()>) {
        if self.holds().await {
            // The writer may be gone.
            let _ = confirm.send(()).await;
        }
    }

    /// Asks until the member has it on disk or the time is up.
    async fn holds(&self) -> bool {
        loop {
            if self.board.is_reachable(self.member) {
                match self.ask().await {
                    Some(Outcome::Answered(Reply::Done)) => return true,
                    Some(Outcome::NotTaken) | None => return false,
                    Some(_) => {}
                }
            }
            if Instant::now() + PAUSE >= self.until {
                return false;
            }
            tokio::select! {
                () = self.over.cancelled() => return false,
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
    }

    /// `None` if it was over before this had its turn. A call that has begun is not broken off,
    /// because its connection would go with it.
    async fn ask(&self) -> Option<Outcome<V>> {
        let _turn = tokio::select! {
            () = self.over.cancelled() => return None,
            turn = self.peers.turn_to_hold(self.member) => turn?,
        };
        let left = self.until.saturating_duration_since(Instant::now());
        Some(self.peers.call(self.member, &self.request, left).await)
    }
}
