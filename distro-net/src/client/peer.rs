//! The connections to one other member.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use distro_core::{MemberId, Now, Tick};
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::PeersConfig;
use super::connection::{CallError, Connection, Link};
use crate::auth::Identity;
use crate::clock::Clock;
use crate::connect::Connector;

/// A clock that differs by more than this is worth a warning.
const CLOCK_WARNING_MS: u64 = 5_000;

/// A session that took no longer to begin is used, whoever waited for how long.
const LEAST_SLOWEST_GREETING: Duration = Duration::from_secs(2);

/// A request as bytes, and who may be sent it.
#[derive(Clone, Copy)]
pub(crate) struct Message<'a> {
    pub(crate) bytes: &'a [u8],
    /// The earliest minor version that understands it.
    pub(crate) needs_minor: u32,
    /// When it was put together.
    pub(crate) as_of: Tick,
    /// How long the answer is waited for.
    pub(crate) deadline: Duration,
    /// A small request, to be sent before it over a new connection: who has not proved to be a
    /// member is not given room for a large one.
    pub(crate) proof: Option<&'a [u8]>,
}

impl Message<'_> {
    async fn over(
        self,
        connection: &mut Connection,
        link: Link<'_>,
        now: Now,
    ) -> Result<Bytes, CallError> {
        match connection.minor() {
            minor if minor < self.needs_minor => Err(CallError::Earlier(minor)),
            _ => connection.call(link, self, now.wall_ms).await,
        }
    }
}

/// Another member: where it is, and the connections to it that are kept.
pub(crate) struct Peer {
    pub(crate) member: MemberId,
    pub(crate) address: Arc<str>,
    /// Forwarded writes under way; more than that wait for their turn.
    pub(crate) forwards: Semaphore,
    /// The same of questions.
    pub(crate) asks: Semaphore,
    /// The calls of the core are few at any time, one for each purpose. So no more connections
    /// than those, the forwards and the questions are ever open.
    idle: Mutex<Vec<Connection>>,
    most_idle: usize,
    /// How far its wall clock is ahead, in milliseconds.
    clock_ahead_ms: AtomicI64,
    /// Ends when it is a member no more, and with it every call to it.
    gone: CancellationToken,
    /// What went wrong last, so that the log says it once.
    trouble: Mutex<Option<String>>,
}

impl Peer {
    pub(crate) fn new(member: MemberId, address: Arc<str>, config: &PeersConfig) -> Self {
        /// Connections kept for the calls of the core.
        const CORE_CALLS: usize = 4;
        let PeersConfig { forwards_per_peer, persists_per_peer, asks_per_peer } = *config;
        Self {
            member,
            address,
            forwards: Semaphore::new(forwards_per_peer),
            asks: Semaphore::new(asks_per_peer),
            idle: Mutex::default(),
            most_idle: forwards_per_peer + persists_per_peer + asks_per_peer + CORE_CALLS,
            clock_ahead_ms: AtomicI64::new(0),
            gone: CancellationToken::new(),
            trouble: Mutex::default(),
        }
    }

    /// It is a member no more: calls that wait for it end, and its connections are closed.
    pub(crate) fn let_go(&self) {
        self.gone.cancel();
        self.idle.lock().clear();
    }

    /// Returns when it is a member no more.
    pub(crate) async fn gone(&self) {
        self.gone.cancelled().await;
    }

    /// Sends a message over a kept or a new connection. What fails on a kept one is sent again
    /// over a new one, since the other side may have closed it or started again: requests may
    /// arrive twice. When the future is dropped, the connection goes with it and is not used
    /// again.
    pub(crate) async fn call(
        &self,
        connector: &dyn Connector,
        identity: &Identity,
        limit: usize,
        message: Message<'_>,
        clock: Clock,
    ) -> Result<Bytes, CallError> {
        let now = clock.now();
        let (target, address) = (self.member, &*self.address);
        let slowest_greeting = message.deadline.max(LEAST_SLOWEST_GREETING);
        let link = Link { identity, target, address, limit, clock, slowest_greeting };
        if let Some(mut kept) = self.take_idle() {
            match message.over(&mut kept, link, now).await {
                Ok(reply) => return Ok(self.keep(kept, reply)),
                Err(error @ CallError::Earlier(_)) => {
                    self.keep(kept, Bytes::new());
                    return Err(error);
                }
                Err(CallError::Broken(_)) => self.idle.lock().clear(),
                Err(error) => return Err(error),
            }
        }
        let mut fresh = Connection::open(connector, link, now.wall_ms).await?;
        self.compare_clocks(fresh.their_wall_ms(), now.wall_ms);
        if let Some(proof) = message.proof {
            let probe = Message { bytes: proof, needs_minor: 0, proof: None, ..message };
            fresh.call(link, probe, now.wall_ms).await?;
        }
        let reply = message.over(&mut fresh, link, now).await;
        if let Err(CallError::Earlier(_)) = reply {
            // Nothing is wrong with the connection.
            self.keep(fresh, Bytes::new());
            return reply;
        }
        Ok(self.keep(fresh, reply?))
    }

    /// How far its wall clock was ahead of ours when it was last compared, in milliseconds.
    pub(crate) fn clock_ahead_ms(&self) -> i64 {
        self.clock_ahead_ms.load(Ordering::Relaxed)
    }

    /// Notes what comes of calls, and says so in the log if that is news.
    pub(crate) fn note_outcome(&self, error: Option<&CallError>) {
        let text = match error {
            // Nothing is wrong between the two.
            Some(error) if error.is_about_the_message() => return,
            Some(error @ (CallError::Rejected(_) | CallError::Unproven(_))) => {
                Some(error.to_string())
            }
            // Whether it is reachable is told by the core.
            Some(_) => return,
            None => None,
        };
        let mut trouble = self.trouble.lock();
        if *trouble == text {
            return;
        }
        match &text {
            Some(text) => tracing::warn!(peer = %self.address, "cannot work with a peer: {text}"),
            None => tracing::info!(peer = %self.address, "can work with a peer again"),
        }
        *trouble = text;
    }

    fn take_idle(&self) -> Option<Connection> {
        let mut idle = self.idle.lock();
        while let Some(connection) = idle.pop() {
            if !connection.is_closed() {
                return Some(connection);
            }
        }
        None
    }

    fn keep(&self, connection: Connection, reply: Bytes) -> Bytes {
        let mut idle = self.idle.lock();
        let is_full = idle.len() >= self.most_idle || self.gone.is_cancelled();
        if !is_full && !connection.is_closed() {
            idle.push(connection);
        }
        reply
    }

    fn compare_clocks(&self, theirs: u64, ours: u64) {
        let ahead = i64::try_from(i128::from(theirs) - i128::from(ours)).unwrap_or(i64::MAX);
        let before = self.clock_ahead_ms.swap(ahead, Ordering::Relaxed);
        let is_far = |ms: i64| ms.unsigned_abs() > CLOCK_WARNING_MS;
        if is_far(ahead) && !is_far(before) {
            tracing::warn!(
                peer = %self.address,
                ahead_ms = ahead,
                "the clock of a peer differs from this member's; only times in logs depend on it"
            );
        }
    }
}
