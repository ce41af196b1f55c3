//! The answering side: what the HTTP server of a member mounts for the others.

use std::mem;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use distro_core::{Answer, Reply, Request, Tick, Value};

use crate::auth::{MAC_BYTES, Opened, Refusal, Secret, Sessions, seal_reply};
use crate::client::Peers;
use crate::codec::pack::{pack, unpack};
use crate::durability::{Durability, InMemory};
use crate::persist::record_ids;
use crate::questions::{MOST_TOLD_BYTES, Questions};

/// Every path of the members begins with this.
pub const PATH_PREFIX: &str = "/distro/v1/";

pub(crate) const HELLO_PATH: &str = "/distro/v1/hello";
/// Where members ask, once they have begun a session. An answer of 200 proves that the sender is a
/// member.
pub const CALL_PATH: &str = "/distro/v1/call";

/// Answers the requests of other members. To be shared in an `Arc` by all connections.
pub struct Service<V: Value, A> {
    answer: Answer<V, A>,
    peers: Peers<V>,
    sessions: Sessions,
    durability: Arc<dyn Durability>,
    questions: OnceLock<Arc<dyn Questions>>,
    /// Before that the log says no more of late requests.
    silent_until_ms: AtomicU64,
}

/// The response to a request. Nearly always it is there at once; only who asks that something be
/// put on disk has to wait.
pub enum Answering {
    /// Here it is.
    Now(Response),
    /// Here it will be, as soon as the disk has it. What was asked is done even if the future is
    /// dropped; only the response is lost then.
    Later(Pin<Box<dyn Future<Output = Response> + Send>>),
}

impl Answering {
    /// Waits for it.
    pub async fn response(self) -> Response {
        match self {
            Self::Now(response) => response,
            Self::Later(later) => later.await,
        }
    }
}

impl std::fmt::Debug for Answering {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Now(response) => formatter.debug_tuple("Now").field(response).finish(),
            Self::Later(_) => formatter.debug_tuple("Later").finish_non_exhaustive(),
        }
    }
}

/// An HTTP response, to be sent as it is with the type `application/octet-stream`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The HTTP status: 200, or why the request was refused.
    pub status: u16,
    /// The body; of a refusal, its [name](Refusal::name).
    pub body: Bytes,
}

impl<V: Value, A: Default + Send + Sync + 'static> Service<V, A> {
    /// Answers from what this member holds, in memory only, under the identity of these peers.
    pub fn new(answer: Answer<V, A>, peers: Peers<V>) -> Self {
        let (sessions, durability) = (Sessions::default(), Arc::new(InMemory));
        let (questions, silent_until_ms) = (OnceLock::new(), AtomicU64::new(0));
        Self { answer, peers, sessions, durability, questions, silent_until_ms }
    }

    /// The same for a member that has a disk: what others ask it to hold is answered when it is
    /// there.
    #[must_use]
    pub fn with_durability(self, durability: Arc<dyn Durability>) -> Self {
        Self { durability, ..self }
    }

    /// Says who answers the questions of other applications; the first who is named stays. Before
    /// that they get no answer.
    pub fn connect(&self, questions: Arc<dyn Questions>) {
        let _ = self.questions.set(questions);
    }

    /// Members prove themselves by another secret from now on, and by its
    /// [previous](Secret::with_previous) one if it has one. Sessions go on, unless a secret is not
    /// accepted any more: then all begin anew, which costs a member one more message and no call.
    /// Returns whether that is news.
    pub fn change_secret(&self, secret: Secret) -> bool {
        let before = self.peers.identity();
        if before.secret.is_same(&secret) {
            return false;
        }
        let is_kept = before.secret.is_kept_by(&secret);
        self.peers.set_secret(secret);
        if !is_kept {
            self.sessions.forget_all();
        }
        true
    }

    /// The bytes that the body of a request may have. Longer ones should be refused while they
    /// are read (413), because nobody has proved anything before the whole body is here.
    pub fn most_body_bytes(&self) -> usize {
        /// Session, counter and date.
        const NUMBERS: usize = 24;
        self.peers.codec().limits().message_bytes + NUMBERS + MAC_BYTES
    }

    /// Answers a request: `POST`, a path that begins with [`PATH_PREFIX`], and its body. Itself
    /// never waits; a full batch takes some milliseconds. Whatever is refused has no effect and is
    /// counted.
    pub fn answer(&self, path: &str, body: Bytes) -> Answering {
        let result = match path {
            _ if body.len() > self.most_body_bytes() => Err(Refusal::TooLarge),
            HELLO_PATH => self.hello(&body).map(|body| Answering::Now(accepted(body))),
            CALL_PATH => self.call(body),
            _ => Err(Refusal::Malformed),
        };
        result.unwrap_or_else(|reason| Answering::Now(self.refuse(reason)))
    }

    /// The response to what is refused before its body was read, for instance because it is too
    /// long. Counts it.
    pub fn refuse(&self, reason: Refusal) -> Response {
        refuse(&self.peers, reason)
    }

    fn hello(&self, body: &Bytes) -> Result<Vec<u8>, Refusal> {
        let now = self.peers.clock().now();
        let (welcome, _) = self.sessions.begin(body, &self.peers.identity(), now)?;
        self.peers.stats().count_session();
        Ok(welcome)
    }

    fn call(&self, body: Bytes) -> Result<Answering, Refusal> {
        let now = self.peers.clock().tick();
        let mut opened = self.sessions.open(body, now)?;
        if self.answer.is_late(opened.in_transit) {
            self.sessions.end(opened.session);
            self.warn_of_late(&opened, now);
            return Err(Refusal::Late);
        }
        let codec = self.peers.codec();
        let request = unpack(mem::take(&mut opened.message), codec.limits());
        let mut unread = Vec::new();
        let request =
            request.and_then(|message| codec.decode_request_and_note(message, &mut unread));
        let request = request.map_err(|error| {
            tracing::warn!(member = opened.sender.member.0, %error, "bad message of a member");
            Refusal::BadMessage
        })?;
        let held = match &request {
            Request::Persist(entries) => Some(record_ids(entries)),
            _ => None,
        };
        let mut reply = match request {
            Request::Ask(question) => self.tell(&question),
            request => self.answer.answer(opened.sender, request, opened.in_transit, now),
        };
        if !unread.is_empty() {
            self.peers.stats().unreads.note(opened.sender.member, &unread);
            if matches!(reply, Reply::Done) {
                reply = Reply::DoneBut(unread.into_iter().map(|unread| unread.place).collect());
            }
        }
        let Some(held) = held else {
            return seal(&self.peers, &opened, &reply).map(Answering::Now);
        };
        // Asked for here and not in the future: what is held by now is what must be kept.
        let (kept, peers) = (self.durability.saved(&held), self.peers.clone());
        Ok(Answering::Later(Box::pin(async move {
            let reply = match kept.await {
                Ok(()) => reply,
                Err(error) => {
                    tracing::error!(%error, "cannot save a record for another member");
                    Reply::Busy
                }
            };
            seal(&peers, &opened, &reply).unwrap_or_else(|reason| refuse(&peers, reason))
        })))
    }

    fn tell(&self, question: &[u8]) -> Reply<V> {
        let answer = self.questions.get().and_then(|questions| questions.answer(question));
        match answer.filter(|answer| answer.len() <= MOST_TOLD_BYTES) {
            Some(answer) => Reply::Told(answer),
            None => Reply::Busy,
        }
    }

    /// Says so once a minute: where one request is late many are.
    fn warn_of_late(&self, opened: &Opened, now: Tick) {
        const SILENCE_MS: u64 = 60_000;
        let next = |until: u64| (now.as_ms() >= until).then_some(now.as_ms() + SILENCE_MS);
        if self.silent_until_ms.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok() {
            let address = self.peers.address(opened.sender.member).unwrap_or_default();
            let late_ms = opened.in_transit.as_millis();
            tracing::warn!(
                member = %address, late_ms,
                "refused a request of a member that was on its way for too long"
            );
        }
    }
}

fn accepted(body: Vec<u8>) -> Response {
    Response { status: 200, body: body.into() }
}

fn refuse<V>(peers: &Peers<V>, reason: Refusal) -> Response {
    peers.stats().count_refusal(reason);
    tracing::debug!(reason = reason.name(), "refused a request between members");
    let body = Bytes::from_static(reason.name().as_bytes());
    Response { status: reason.status(), body }
}

/// A reply as it is sent.
fn seal<V>(peers: &Peers<V>, opened: &Opened, reply: &Reply<V>) -> Result<Response, Refusal> {
    let reply = peers.codec().encode_reply(reply).map_err(|error| {
        tracing::error!(%error, "a reply cannot be sent");
        Refusal::TooLarge
    })?;
    peers.stats().count_answer();
    let reply = pack(&reply, opened.sender.minor);
    Ok(accepted(seal_reply(&opened.key, opened.counter, &reply)))
}

impl<V: Value, A> std::fmt::Debug for Service<V, A> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Service").field("stats", self.peers.stats()).finish_non_exhaustive()
    }
}
