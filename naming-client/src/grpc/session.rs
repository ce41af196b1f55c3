//! One connection that is set up: calls over it, and whether it still lives.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use h2::client::SendRequest;
use h2::{Reason, RecvStream};
use hyper::Request as HttpRequest;
use naming_model::payload::Payload;
use tokio::sync::watch;
use tracing::Instrument;

use super::messages::{Outcome, Request};
use super::wire::{frame, take};
use crate::auth::NoToken;
use crate::call::Core;
use crate::error::{Error, Failure};
use crate::http::Http;
use crate::servers::Server;

pub(super) const CALLS: &str = "/Request/request";
pub(super) const STREAM: &str = "/BiRequestStream/requestBiStream";

/// What a server says when it does not know the connection.
const UNREGISTERED: i64 = 301;
/// What a server says before it is able to serve.
const STARTING: i64 = 300;

/// How a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Condition {
    Well,
    /// An answer did not come; a health check has to settle what that means.
    Suspect,
    Over,
}

/// What a server can do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Abilities {
    pub(crate) persistent: bool,
    pub(crate) fuzzy_watch: bool,
}

/// Why a call over a connection brought nothing.
#[derive(Debug)]
pub(crate) enum Problem {
    /// Another attempt may bring something.
    Failed(Failure),
    /// No attempt will.
    Final(Error),
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// A connection that is set up. Calls may be made on any thread; the connection itself runs on the
/// thread of the client.
pub(crate) struct Session {
    pub(crate) server: Arc<Server>,
    /// Host and port that gRPC is spoken to.
    pub(crate) place: String,
    pub(crate) abilities: Abilities,
    /// Where pushes of this connection come from: the server's address, and our own port, which
    /// tells this connection from all others.
    pub(crate) source: SocketAddr,
    /// The id that the server gave the connection.
    pub(crate) id: String,
    pub(crate) since: Instant,
    heard_ms: AtomicU64,
    calls: SendRequest<Bytes>,
    condition: watch::Sender<Condition>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("place", &self.place).field("id", &self.id).finish()
    }
}

/// What a session is made of.
pub(super) struct Beginning {
    pub(super) server: Arc<Server>,
    pub(super) place: String,
    pub(super) abilities: Abilities,
    pub(super) source: SocketAddr,
    pub(super) id: String,
    pub(super) calls: SendRequest<Bytes>,
}

impl Session {
    pub(super) fn new(beginning: Beginning) -> Self {
        let Beginning { server, place, abilities, source, id, calls } = beginning;
        let (since, heard_ms) = (Instant::now(), AtomicU64::new(0));
        let condition = watch::Sender::new(Condition::Well);
        Self { server, place, abilities, source, id, since, heard_ms, calls, condition }
    }

    /// The address of the server.
    pub(crate) fn host(&self) -> IpAddr {
        self.source.ip().to_canonical()
    }

    pub(crate) fn is_over(&self) -> bool {
        *self.condition.borrow() == Condition::Over
    }

    /// For how long the server has not been heard.
    pub(crate) fn silent_for(&self) -> Duration {
        let heard = Duration::from_millis(self.heard_ms.load(Ordering::Relaxed));
        self.since.elapsed().saturating_sub(heard)
    }

    /// Waits until it is over.
    pub(crate) async fn over(&self) {
        let mut condition = self.condition();
        // The sender is in `self`.
        let _ = condition.wait_for(|now| *now == Condition::Over).await;
    }

    pub(super) fn heard(&self) {
        let now = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.heard_ms.store(now, Ordering::Relaxed);
    }

    pub(super) fn condition(&self) -> watch::Receiver<Condition> {
        self.condition.subscribe()
    }

    /// Calls it over, whatever the connection does.
    pub(super) fn end(&self) {
        self.condition.send_replace(Condition::Over);
    }

    fn suspect(&self) {
        self.condition.send_if_modified(|condition| {
            let is_news = *condition == Condition::Well;
            if is_news {
                *condition = Condition::Suspect;
            }
            is_news
        });
    }

    pub(super) fn trust(&self) {
        self.condition.send_if_modified(|condition| {
            let is_news = *condition == Condition::Suspect;
            if is_news {
                *condition = Condition::Well;
            }
            false
        });
    }

    /// Makes a call in a span of its own, with the token of the client, and with a new one if the
    /// server refuses that.
    pub(crate) async fn call(
        &self,
        core: &Core,
        http: &Http,
        request: &Request,
        timeout: Duration,
    ) -> Result<Bytes, Problem> {
        let span = tracing::debug_span!("call", transport = "grpc", kind = request.kind);
        self.call_as_user(core, http, request, timeout).instrument(span).await
    }

    async fn call_as_user(
        &self,
        core: &Core,
        http: &Http,
        request: &Request,
        timeout: Duration,
    ) -> Result<Bytes, Problem> {
        let Some(auth) = core.auth.as_ref().filter(|_| request.guarded) else {
            return self.exchange(request, None, timeout).await;
        };
        let token = || async {
            auth.token(http, &self.server, timeout).await.map_err(|problem| match problem {
                NoToken::Failed(failure) => Problem::Failed(failure),
                NoToken::Refused(error) => Problem::Final(error),
            })
        };
        let first = token().await?;
        let outcome = self.exchange(request, first.as_deref(), timeout).await;
        let Err(Problem::Final(Error::Refused { status: 403, server, message, .. })) = outcome
        else {
            return outcome;
        };
        let denied = |server, message| {
            Problem::Final(Error::Credentials { server, user: auth.user(), message })
        };
        let Some(refused) = first else { return Err(denied(server, message)) };
        auth.forget(&refused);
        match self.exchange(request, token().await?.as_deref(), timeout).await {
            Err(Problem::Final(Error::Refused { status: 403, server, message, .. })) => {
                Err(denied(server, message))
            }
            outcome => outcome,
        }
    }

    /// Makes a call once.
    pub(super) async fn exchange(
        &self,
        request: &Request,
        token: Option<&str>,
        timeout: Duration,
    ) -> Result<Bytes, Problem> {
        if self.is_over() {
            return Err(Failure::Unreachable("the connection is over".to_owned()).into());
        }
        let headers = token.map(|token| ("accessToken", token));
        let headers = headers.as_slice();
        let message = frame(request.kind, headers, request.body.clone()).map_err(Problem::Final)?;
        let answer = tokio::time::timeout(timeout, unary(self.calls.clone(), message)).await;
        let payload = match answer {
            Ok(Ok(payload)) => payload,
            Ok(Err(failure)) => {
                if matches!(failure, Failure::Cut(_) | Failure::Unreachable(_)) {
                    self.suspect();
                }
                return Err(failure.into());
            }
            Err(_) => {
                self.suspect();
                return Err(Failure::TimedOut(timeout).into());
            }
        };
        self.heard();
        self.read(request, payload)
    }

    fn read(&self, request: &Request, payload: Payload) -> Result<Bytes, Problem> {
        let (metadata, body) = payload.into_parts();
        let kind = metadata.kind;
        if kind != request.answer && kind != "ErrorResponse" {
            return Err(Failure::Malformed(format!("{kind:?} to {}", request.kind)).into());
        }
        let outcome: Outcome = serde_json::from_slice(&body)
            .map_err(|error| Failure::Malformed(format!("{kind}: {error}")))?;
        if kind == request.answer && outcome.result_code == 200 {
            return Ok(body);
        }
        Err(self.sort(outcome))
    }

    /// Tells what ends a call from what another attempt may mend.
    fn sort(&self, outcome: Outcome) -> Problem {
        let Outcome { result_code, error_code, message } = outcome;
        let code = if error_code == 0 { result_code } else { error_code };
        let message: String = message.unwrap_or_default();
        let message = message.chars().filter(|c| !c.is_control()).take(300).collect();
        // 300 is no status, and means what 503 means: nothing has been done.
        let status = if code == STARTING { 503 } else { u16::try_from(code).unwrap_or(500) };
        match code {
            UNREGISTERED => {
                self.end();
                Problem::Failed(Failure::Status { status, message })
            }
            302 | 400 | 401 | 403 | 404 | 409 | 501 | 50_310 | 50_311 => {
                Problem::Final(Error::Refused {
                    server: self.place.clone(),
                    status,
                    message,
                    after_lost_attempt: false,
                })
            }
            _ => Problem::Failed(Failure::Status { status, message }),
        }
    }
}

/// The head of a call.
pub(super) fn head(place: &str, path: &str) -> Result<HttpRequest<()>, Failure> {
    HttpRequest::post(format!("http://{place}{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("user-agent", super::AGENT)
        .body(())
        .map_err(|error| Failure::Malformed(error.to_string()))
}

async fn unary(calls: SendRequest<Bytes>, message: Bytes) -> Result<Payload, Failure> {
    // What fails before the call is sent has had no effect.
    let unsent = |error: h2::Error| Failure::Unreachable(error.to_string());
    let mut calls = calls.ready().await.map_err(unsent)?;
    let (response, mut send) =
        calls.send_request(head("registry", CALLS)?, false).map_err(unsent)?;
    send.send_data(message, true).map_err(|error| broken(&error))?;
    let response = response.await.map_err(|error| broken(&error))?;
    if !response.status().is_success() {
        return Err(Failure::Malformed(format!("HTTP status {}", response.status())));
    }
    check_status(response.headers())?;
    let (mut body, mut input, mut found) = (response.into_body(), BytesMut::new(), None);
    while let Some(chunk) = next_chunk(&mut body).await? {
        input.extend_from_slice(&chunk);
        found = take(&mut input)?.or(found);
    }
    if let Some(trailers) = body.trailers().await.map_err(|error| broken(&error))? {
        check_status(&trailers)?;
    }
    found.ok_or_else(|| Failure::Cut("the answer has no message".to_owned()))
}

/// The next bytes of a stream, and room for more.
pub(super) async fn next_chunk(body: &mut RecvStream) -> Result<Option<Bytes>, Failure> {
    let Some(chunk) = body.data().await else { return Ok(None) };
    let chunk = chunk.map_err(|error| broken(&error))?;
    // It fails only when the stream is over, which the next call tells.
    let _ = body.flow_control().release_capacity(chunk.len());
    Ok(Some(chunk))
}

fn check_status(headers: &hyper::HeaderMap) -> Result<(), Failure> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    match text("grpc-status") {
        None | Some("0") => Ok(()),
        Some(status) => {
            let message = text("grpc-message").unwrap_or_default();
            let message: String = message.chars().take(300).collect();
            // A call that was refused for want of room has had no effect, as with 503.
            let status_code = if status == "8" || status == "14" { 503 } else { 500 };
            let message = format!("gRPC status {status} {message}");
            Err(Failure::Status { status: status_code, message })
        }
    }
}

pub(super) fn broken(error: &h2::Error) -> Failure {
    if error.reason() == Some(Reason::REFUSED_STREAM) {
        return Failure::Unreachable("the server takes no more calls".to_owned());
    }
    Failure::Cut(error.to_string())
}
