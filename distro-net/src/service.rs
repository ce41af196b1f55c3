//! The answering side: what the HTTP server of a member mounts for the others.

use bytes::Bytes;
use distro_core::{Answer, Value};

use crate::auth::{MAC_BYTES, Refusal, Sessions, seal_reply};
use crate::client::Peers;
use crate::codec::pack::{pack, unpack};

/// Every path of the members begins with this.
pub const PATH_PREFIX: &str = "/distro/v1/";

pub(crate) const HELLO_PATH: &str = "/distro/v1/hello";
pub(crate) const CALL_PATH: &str = "/distro/v1/call";

/// Answers the requests of other members. To be shared in an `Arc` by all connections.
pub struct Service<V: Value, A> {
    answer: Answer<V, A>,
    peers: Peers<V>,
    sessions: Sessions,
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
    /// Answers from what this member holds, under the identity of these peers.
    pub fn new(answer: Answer<V, A>, peers: Peers<V>) -> Self {
        Self { answer, peers, sessions: Sessions::default() }
    }

    /// The bytes that the body of a request may have. Longer ones should be refused while they
    /// are read (413), because nobody has proved anything before the whole body is here.
    pub fn most_body_bytes(&self) -> usize {
        /// Session and counter.
        const NUMBERS: usize = 16;
        self.peers.codec().limits().message_bytes + NUMBERS + MAC_BYTES
    }

    /// Answers a request: `POST`, a path that begins with [`PATH_PREFIX`], and its body. Never
    /// waits; a full batch takes some milliseconds. Whatever is refused has no effect and is
    /// counted.
    pub fn answer(&self, path: &str, body: Bytes) -> Response {
        let result = match path {
            _ if body.len() > self.most_body_bytes() => Err(Refusal::TooLarge),
            HELLO_PATH => self.hello(&body),
            CALL_PATH => self.call(body),
            _ => Err(Refusal::Malformed),
        };
        match result {
            Ok(body) => Response { status: 200, body: body.into() },
            Err(reason) => self.refuse(reason),
        }
    }

    /// The response to what is refused before its body was read, for instance because it is too
    /// long. Counts it.
    pub fn refuse(&self, reason: Refusal) -> Response {
        self.peers.stats().count_refusal(reason);
        tracing::debug!(reason = reason.name(), "refused a request between members");
        let body = Bytes::from_static(reason.name().as_bytes());
        Response { status: reason.status(), body }
    }

    fn hello(&self, body: &Bytes) -> Result<Vec<u8>, Refusal> {
        let now = self.peers.clock().now();
        let (welcome, _) = self.sessions.begin(body, self.peers.identity(), now)?;
        self.peers.stats().count_session();
        Ok(welcome)
    }

    fn call(&self, body: Bytes) -> Result<Vec<u8>, Refusal> {
        let now = self.peers.clock().tick();
        let opened = self.sessions.open(body, now)?;
        let codec = self.peers.codec();
        let request = unpack(opened.message, codec.limits());
        let request = request.and_then(|message| codec.decode_request(message));
        let request = request.map_err(|error| {
            tracing::warn!(member = opened.sender.member.0, %error, "bad message of a member");
            Refusal::BadMessage
        })?;
        let reply = self.answer.answer(opened.sender, request, now);
        let reply = codec.encode_reply(&reply).map_err(|error| {
            tracing::error!(%error, "a reply cannot be sent");
            Refusal::TooLarge
        })?;
        self.peers.stats().count_answer();
        let reply = pack(&reply, opened.sender.minor);
        Ok(seal_reply(&opened.key, opened.counter, &reply))
    }
}

impl<V: Value, A> std::fmt::Debug for Service<V, A> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Service").field("stats", self.peers.stats()).finish_non_exhaustive()
    }
}
