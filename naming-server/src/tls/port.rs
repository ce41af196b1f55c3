//! What a port that speaks TLS needs to begin connections.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::keychain::{Keychain, Offer};
use crate::pace::Pace;

/// Lines about connections that failed, and in which time.
const LINES: u32 = 10;
const LINES_PERIOD: Duration = Duration::from_secs(60);

/// A port that speaks TLS.
#[derive(Debug)]
pub(crate) struct Port {
    name: &'static str,
    is_required: bool,
    offer: Offer,
    keychain: Arc<Keychain>,
    /// Shared by all ports.
    turns: Arc<Semaphore>,
    counts: [AtomicU64; Outcome::ALL.len()],
    lines: Mutex<Pace>,
}

/// How a connection to such a port began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// With a handshake.
    Secured,
    /// In plain, which the port takes, too.
    Plain,
    /// In plain, which the port does not take.
    PlainRefused,
    /// With a handshake that failed.
    Failed,
    /// With a handshake that took too long, its turn included.
    Late,
}

impl Outcome {
    pub(super) const ALL: [Self; 5] =
        [Self::Secured, Self::Plain, Self::PlainRefused, Self::Failed, Self::Late];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Secured => "secured",
            Self::Plain => "plain",
            Self::PlainRefused => "plain_refused",
            Self::Failed => "failed",
            Self::Late => "late",
        }
    }
}

impl Port {
    pub(super) fn new(
        name: &'static str,
        is_required: bool,
        offer: Offer,
        keychain: Arc<Keychain>,
        turns: Arc<Semaphore>,
    ) -> Self {
        let (counts, lines) = (Default::default(), Mutex::new(Pace::new(LINES, LINES_PERIOD)));
        Self { name, is_required, offer, keychain, turns, counts, lines }
    }

    /// For metrics and log lines.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// Whether plain connections are turned away.
    pub(crate) fn is_required(&self) -> bool {
        self.is_required
    }

    /// Waits for the turn to begin a handshake, which lasts as long as what this gives; `None` if
    /// there are no more turns, which does not happen. Cancelling it gives the place in the queue up.
    pub(crate) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        self.turns.acquire().await.ok()
    }

    /// Begins TLS on a connection. The caller sets the deadline and drops the future when it is over.
    ///
    /// # Errors
    /// The other end speaks no TLS that this port understands, shows no certificate that holds, or
    /// does not trust ours.
    pub(crate) async fn shake_hands<S>(&self, stream: S) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        TlsAcceptor::from(self.keychain.server(self.offer)).accept(stream).await
    }

    /// Counts a connection.
    pub(crate) fn note(&self, outcome: Outcome) {
        self.counts[outcome as usize].fetch_add(1, Relaxed);
    }

    pub(super) fn count(&self, outcome: Outcome) -> u64 {
        self.counts[outcome as usize].load(Relaxed)
    }

    /// Whether one more line may be written about a connection that failed: how many were left out
    /// before it.
    pub(crate) fn line(&self) -> Option<u64> {
        self.lines.lock().line(Instant::now())
    }
}
