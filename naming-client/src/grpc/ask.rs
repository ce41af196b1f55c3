//! Calls of the application over whatever connection there is.

use std::sync::Arc;

use bytes::Bytes;
use naming_model::Instance;
use tokio::time::Instant;

use super::hold::Landing;
use super::link::{Link, Via};
use super::messages::Request;
use super::session::{Problem, Session};
use crate::beat::Entry;
use crate::call::{Core, PATIENT_ATTEMPTS, ROUND_PAUSE, after_attempts};
use crate::error::{Attempt, Error, Failure};
use crate::servers::backoff;

/// What came of asking over gRPC.
#[derive(Debug)]
pub(crate) enum Ask<T> {
    Answered(T, Arc<Session>),
    /// HTTP has to be asked.
    ByHttp,
}

/// Makes a call over the connection of the moment, and again over the next if it fails. `build`
/// gives `None` for a server that cannot do it over gRPC.
///
/// # Errors
/// As those of any call.
pub(crate) async fn ask<T>(
    core: &Core,
    patient: bool,
    build: impl Fn(&Session) -> Result<Option<Request>, Error>,
    read: impl Fn(&Bytes) -> Result<T, String>,
) -> Result<Ask<T>, Error> {
    let Some(link) = &core.link else { return Ok(Ask::ByHttp) };
    let deadline = Instant::now() + core.call_timeout;
    let mut attempts: Vec<Attempt> = Vec::new();
    loop {
        let session = match link.via(deadline, patient).await {
            Ok(Via::Http) => return Ok(Ask::ByHttp),
            Ok(Via::Grpc(session)) => session,
            Err(error) => return Err(after(error, attempts)),
        };
        let Some(request) = build(&session)? else { return Ok(Ask::ByHttp) };
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = core.request_timeout.min(left);
        let outcome = session.call(core, &core.http, &request, timeout).await;
        core.counters.note("grpc", outcome.is_ok());
        let failure = match outcome {
            Ok(body) => match read(&body) {
                Ok(value) => return Ok(Ask::Answered(value, session)),
                Err(reason) => Failure::Malformed(reason),
            },
            Err(Problem::Final(Error::Refused { status: 302 | 501, .. }))
                if link.may_use_http() =>
            {
                return Ok(Ask::ByHttp);
            }
            Err(Problem::Final(error)) => return Err(after_attempts(error, &attempts)),
            Err(Problem::Failed(failure)) => failure,
        };
        tracing::debug!(server = session.place, kind = request.kind, %failure,
            "an attempt failed");
        attempts.push(Attempt { server: session.place.clone(), failure });
        if !patient || attempts.len() >= PATIENT_ATTEMPTS || Instant::now() >= deadline {
            return Err(Error::NoServer { attempts });
        }
        let round = u32::try_from(attempts.len()).unwrap_or(u32::MAX);
        tokio::time::sleep(backoff(ROUND_PAUSE, ROUND_PAUSE * 4, round)).await;
    }
}

/// An error of waiting, with the attempts before it.
fn after(error: Error, mut attempts: Vec<Attempt>) -> Error {
    match error {
        Error::NoServer { attempts: last } => {
            attempts.extend(last);
            Error::NoServer { attempts }
        }
        other => other,
    }
}

/// Puts an ephemeral instance into the place of its service. `false` if HTTP has to be asked.
///
/// # Errors
/// As those of any call.
pub(crate) async fn hold(
    core: &Core,
    entry: &Arc<Entry>,
    instance: &Instance,
) -> Result<bool, Error> {
    change(core, entry, Some(instance.clone())).await
}

/// Takes it out.
///
/// # Errors
/// As those of any call.
pub(crate) async fn let_go(core: &Core, entry: &Arc<Entry>) -> Result<bool, Error> {
    change(core, entry, None).await
}

async fn change(core: &Core, entry: &Arc<Entry>, wish: Option<Instance>) -> Result<bool, Error> {
    let Some(link) = core.link.as_ref().filter(|_| !entry.is_by_http()) else { return Ok(false) };
    if link.is_http() {
        return Ok(false);
    }
    let deadline = Instant::now() + core.call_timeout;
    let landing = link.holder.change(entry, wish);
    tokio::select! {
        landing = landing => match landing {
            Ok(Landing::Done(Ok(()))) => Ok(true),
            Ok(Landing::Done(Err(error))) => Err(error),
            Ok(Landing::ByHttp) if link.is_http() => Ok(false),
            Ok(Landing::ByHttp) if link.may_use_http() => {
                entry.keep_by_http();
                Ok(false)
            }
            // The client is shut down.
            Ok(Landing::ByHttp) | Err(_) => Err(Error::ShutDown),
        },
        outcome = gave_up(core, link, deadline) => outcome.map(|()| false),
    }
}

/// Waits until there is no point in waiting for a connection, or HTTP has to be used.
async fn gave_up(core: &Core, link: &Link, deadline: Instant) -> Result<(), Error> {
    loop {
        match link.via(deadline, true).await? {
            Via::Http => return Ok(()),
            Via::Grpc(session) => {
                if tokio::time::timeout_at(deadline, session.over()).await.is_err() {
                    let failure = Failure::TimedOut(core.call_timeout);
                    let attempt = Attempt { server: session.place.clone(), failure };
                    return Err(Error::NoServer { attempts: vec![attempt] });
                }
            }
        }
    }
}
