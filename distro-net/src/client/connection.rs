//! One kept connection to another member, and the session on it.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use distro_core::MemberId;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{HOST, HeaderValue};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::task::JoinHandle;

use super::peer::Message;
use crate::auth::{CallerSession, Hello, Identity, MAC_BYTES, Refusal};
use crate::clock::Clock;
use crate::codec::pack::pack;
use crate::connect::Connector;
use crate::service::{CALL_PATH, HELLO_PATH};

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    #[error("the connection was refused")]
    Refused,
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    #[error("the connection broke: {0}")]
    Broken(String),
    #[error("the peer does not accept this member: {0}")]
    Rejected(String),
    #[error("the request cannot be sent: {0}")]
    Unsendable(String),
    #[error("the peer speaks an earlier version of the protocol, 1.{0}")]
    Earlier(u32),
    #[error("the peer's answer cannot be read: {0}")]
    Unread(String),
    #[error("the peer's answer is not acceptable: {0}")]
    Unproven(#[from] Refusal),
}

impl CallError {
    /// Whether the same message would fail again, and another one might not.
    pub(crate) fn is_about_the_message(&self) -> bool {
        match self {
            Self::Unsendable(_) | Self::Earlier(_) | Self::Unread(_) => true,
            Self::Rejected(reason) => [Refusal::BadMessage, Refusal::TooLarge]
                .iter()
                .any(|refusal| reason.ends_with(refusal.name())),
            _ => false,
        }
    }
}

/// Whom a connection is for, and as whom.
#[derive(Clone, Copy)]
pub(crate) struct Link<'a> {
    pub(crate) identity: &'a Identity,
    pub(crate) target: MemberId,
    pub(crate) address: &'a str,
    /// The most bytes that a message may have.
    pub(crate) limit: usize,
    pub(crate) clock: Clock,
    /// A session tells how long messages are on their way, but for as long as its beginning took.
    /// One that took longer than this is not used: one of the two was stopped in between.
    pub(crate) slowest_greeting: Duration,
}

/// One request at a time. Dropping it, also in the middle of a call, closes the connection.
pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    session: CallerSession,
    _task: Task,
}

/// Ends with its owner.
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Connection {
    /// Connects and proves to each other who both are.
    pub(crate) async fn open(
        connector: &dyn Connector,
        link: Link<'_>,
        wall_ms: u64,
    ) -> Result<Self, CallError> {
        let io = connector.connect(link.address).await.map_err(|error| match error.kind() {
            io::ErrorKind::ConnectionRefused => CallError::Refused,
            _ => CallError::Connect(error),
        })?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(io)).await.map_err(broken)?;
        let task = Task(tokio::spawn(async move {
            // How it ends is seen by who uses it.
            let _ = connection.await;
        }));
        let session = greet(&mut sender, link, wall_ms).await?;
        Ok(Self { sender, session, _task: task })
    }

    /// The minor version that the other side speaks.
    pub(crate) fn minor(&self) -> u32 {
        self.session.minor
    }

    /// Whether the other side has closed it.
    pub(crate) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// What the wall clock of the other side showed when the session began.
    pub(crate) fn their_wall_ms(&self) -> u64 {
        self.session.wall_ms
    }

    /// Sends a message and returns the reply to it. If the other side has forgotten the session, or
    /// found the message late by it, another is begun at once.
    pub(crate) async fn call(
        &mut self,
        link: Link<'_>,
        message: Message<'_>,
        wall_ms: u64,
    ) -> Result<Bytes, CallError> {
        let mut answer = self.send(link, message).await?;
        if answer.0 == StatusCode::UNAUTHORIZED {
            self.session = greet(&mut self.sender, link, wall_ms).await?;
            answer = self.send(link, message).await?;
        }
        let (status, body) = answer;
        if status != StatusCode::OK {
            return Err(rejected(status, &body));
        }
        Ok(self.session.open(body)?)
    }

    async fn send(
        &mut self,
        link: Link<'_>,
        message: Message<'_>,
    ) -> Result<(StatusCode, Bytes), CallError> {
        let packed = pack(message.bytes, self.session.minor);
        let sealed = self.session.seal(&packed, message.as_of);
        exchange(&mut self.sender, link, CALL_PATH, sealed).await
    }
}

async fn greet(
    sender: &mut SendRequest<Full<Bytes>>,
    link: Link<'_>,
    wall_ms: u64,
) -> Result<CallerSession, CallError> {
    let mut refused = CallError::Unproven(Refusal::WrongSecret);
    // The other side may not have been told of the new secret yet.
    for secret in link.identity.secret.all() {
        let began = link.clock.tick();
        let hello = CallerSession::hello(link.identity, link.target, wall_ms)?;
        let sealed = Hello::seal(secret, &hello);
        let (status, body) = exchange(sender, link, HELLO_PATH, sealed).await?;
        if status == StatusCode::OK {
            if link.clock.tick().since(began) > link.slowest_greeting {
                return Err(broken("the session took too long to begin"));
            }
            return Ok(CallerSession::begin(secret, &hello, &body)?.asked_for_at(began));
        }
        let is_about_secret = body == Refusal::WrongSecret.name().as_bytes();
        refused = rejected(status, &body);
        if !is_about_secret {
            break;
        }
    }
    Err(refused)
}

async fn exchange(
    sender: &mut SendRequest<Full<Bytes>>,
    link: Link<'_>,
    path: &str,
    body: Vec<u8>,
) -> Result<(StatusCode, Bytes), CallError> {
    let host = HeaderValue::from_str(link.address).map_err(broken)?;
    let request = Request::builder()
        .method(Method::POST)
        .uri(path)
        .header(HOST, host)
        .body(Full::from(body))
        .map_err(broken)?;
    sender.ready().await.map_err(broken)?;
    let (head, body) = sender.send_request(request).await.map_err(broken)?.into_parts();
    let body = Limited::new(body, link.limit + MAC_BYTES).collect().await.map_err(broken)?;
    Ok((head.status, body.to_bytes()))
}

fn broken(error: impl ToString) -> CallError {
    CallError::Broken(error.to_string())
}

/// The reason is text of somebody who has proved nothing: a short one, and no control characters
/// for the log.
fn rejected(status: StatusCode, body: &[u8]) -> CallError {
    const MOST_REASON_CHARS: usize = 64;
    let text = String::from_utf8_lossy(body);
    let reason: String = text.chars().filter(|c| !c.is_control()).take(MOST_REASON_CHARS).collect();
    CallError::Rejected(format!("{status} {reason}"))
}
