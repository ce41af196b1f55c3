//! One call to the registry: which servers are asked, in which order, how often, and when to
//! stop.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::Method;
use naming_http::Form;
use tokio::time::Instant;
use tracing::Instrument;

use crate::auth::{Auth, NoToken};
use crate::counters::Counters;
use crate::error::{Attempt, Error, Failure, says_not_found};
use crate::http::{Http, Message, Reply};
use crate::names::Namespace;
use crate::servers::{Preference, Server, Servers};

/// Rounds over all servers before a call that a person or program waits for gives up, if time is
/// left. A single server gets as many attempts as three servers would.
pub(crate) const PATIENT_ATTEMPTS: usize = 3;
/// Pause before the second and later rounds, doubled with each, give or take half.
pub(crate) const ROUND_PAUSE: Duration = Duration::from_millis(200);

/// Longest time to look a server's address up before a poll goes without asking for pushes.
const ROUTE_TIMEOUT: Duration = Duration::from_secs(1);

/// Where our side of the push socket is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PushTarget {
    pub(crate) port: u16,
    /// Set if packets have to be sent to another address than the local one.
    pub(crate) address: Option<IpAddr>,
}

/// A call and how it may be repeated.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    pub(crate) params: Form,
    pub(crate) form: Option<String>,
    pub(crate) preference: Preference,
    /// Whether a second execution does no harm. If not, the call stops at the first attempt that
    /// may have had an effect.
    pub(crate) repeatable: bool,
    /// Whether to go round the servers again before giving up.
    pub(crate) patient: bool,
    /// Longest time for one attempt; the client's request time-out if that is shorter.
    pub(crate) attempt_timeout: Duration,
    /// Asks for pushes to that target.
    pub(crate) push: Option<PushTarget>,
}

impl Call {
    pub(crate) fn new(method: Method, path: &'static str, params: Form) -> Self {
        Self {
            method,
            path,
            params,
            form: None,
            preference: Preference::Sticky,
            repeatable: true,
            patient: true,
            attempt_timeout: Duration::MAX,
            push: None,
        }
    }
}

/// What a call brought and who answered.
#[derive(Debug)]
pub(crate) struct Answer<T> {
    pub(crate) value: T,
    pub(crate) server: Arc<Server>,
}

/// What calls need: connections, servers, credentials. It holds no task and no registration, so
/// whoever keeps it keeps nothing running.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) http: Http,
    pub(crate) servers: Servers,
    pub(crate) auth: Option<Auth>,
    pub(crate) namespace: Namespace,
    pub(crate) application: String,
    pub(crate) counters: Counters,
    /// `None` if HTTP is all that is spoken.
    #[cfg(feature = "grpc")]
    pub(crate) link: Option<Arc<crate::grpc::Link>>,
    /// For one attempt.
    pub(crate) request_timeout: Duration,
    /// For a call with all its attempts.
    pub(crate) call_timeout: Duration,
}

enum Outcome {
    Answered(Reply),
    Failed(Failure),
    Final(Error),
}

impl Core {
    /// The parameters every call carries.
    pub(crate) fn params(&self) -> Form {
        Form::default().with("namespaceId", self.namespace.as_str()).with("app", &self.application)
    }

    /// Makes the call in a span of its own.
    ///
    /// # Errors
    /// Those of [`Self::call_all`].
    pub(crate) async fn call<T>(
        &self,
        call: &Call,
        read: impl Fn(&[u8]) -> Result<T, String>,
    ) -> Result<Answer<T>, Error> {
        let span = tracing::debug_span!("call", transport = "http", path = call.path);
        self.call_all(call, read).instrument(span).await
    }

    /// Makes the call and reads the answer with `read`, which says what is wrong with an answer
    /// that is none; the next server is asked then. Cancelling leaves the fate of the attempt in
    /// flight open.
    async fn call_all<T>(
        &self,
        call: &Call,
        read: impl Fn(&[u8]) -> Result<T, String>,
    ) -> Result<Answer<T>, Error> {
        let deadline = Instant::now() + self.call_timeout;
        let mut attempts: Vec<Attempt> = Vec::new();
        let mut round = 0;
        loop {
            for server in self.servers.order(call.preference) {
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Err(Error::NoServer { attempts });
                }
                let failure = match self.attempt(&server, call, left).await {
                    Outcome::Answered(reply) => match read(&reply.body) {
                        Ok(value) => {
                            self.succeeded(&server, call.preference);
                            return Ok(Answer { value, server });
                        }
                        Err(reason) => Failure::Malformed(reason),
                    },
                    Outcome::Failed(failure) => failure,
                    Outcome::Final(error) => return Err(after_attempts(error, &attempts)),
                };
                self.counters.note("http", false);
                self.servers.failed(&server);
                let lost = failure.may_have_had_effect();
                tracing::debug!(server = %server.address.authority(), path = call.path, %failure,
                    "an attempt failed");
                attempts.push(Attempt { server: server.address.authority(), failure });
                if lost && !call.repeatable {
                    return Err(Error::NoServer { attempts });
                }
            }
            round += 1;
            if !call.patient || attempts.is_empty() || attempts.len() >= PATIENT_ATTEMPTS {
                return Err(Error::NoServer { attempts });
            }
            tokio::time::sleep(crate::servers::backoff(ROUND_PAUSE, ROUND_PAUSE * 4, round)).await;
        }
    }

    fn succeeded(&self, server: &Arc<Server>, preference: Preference) {
        self.counters.note("http", true);
        let _was_failing = self.servers.succeeded(server, preference);
        #[cfg(feature = "grpc")]
        if _was_failing && let Some(link) = &self.link {
            link.server_is_back();
        }
    }

    async fn attempt(&self, server: &Server, call: &Call, left: Duration) -> Outcome {
        let timeout = call.attempt_timeout.min(self.request_timeout).min(left);
        let query = match call.push {
            Some(target) => with_push(call.params.clone(), target, server).await,
            None => call.params.clone(),
        };
        let token = match self.token(server, timeout).await {
            Ok(token) => token,
            Err(outcome) => return outcome,
        };
        let outcome = self.send(server, call, query.as_str(), token.as_deref(), timeout).await;
        // A token may run out early, by a restart of the servers or a clock; one log-in settles
        // whether that was it.
        let (Outcome::Answered(Reply { status: 403, .. }), Some(refused), Some(auth)) =
            (&outcome, token, &self.auth)
        else {
            return sort(outcome, server, self.auth.as_ref());
        };
        auth.forget(&refused);
        let outcome = match self.token(server, timeout).await {
            Ok(token) => self.send(server, call, query.as_str(), token.as_deref(), timeout).await,
            Err(outcome) => outcome,
        };
        sort(outcome, server, None)
    }

    async fn token(&self, server: &Server, timeout: Duration) -> Result<Option<Arc<str>>, Outcome> {
        let Some(auth) = &self.auth else { return Ok(None) };
        auth.token(&self.http, server, timeout).await.map_err(|problem| match problem {
            NoToken::Failed(failure) => Outcome::Failed(failure),
            NoToken::Refused(error) => Outcome::Final(error),
        })
    }

    async fn send(
        &self,
        server: &Server,
        call: &Call,
        query: &str,
        token: Option<&str>,
        timeout: Duration,
    ) -> Outcome {
        let form = call.form.as_deref();
        let message = Message { method: call.method.clone(), path: call.path, query, form, token };
        match self.http.send(server.address.base(), &message, timeout).await {
            Ok(Ok(reply)) => Outcome::Answered(reply),
            Ok(Err(failure)) => Outcome::Failed(failure),
            Err(error) => Outcome::Final(error),
        }
    }

    /// Asks `server` whether it is able to serve.
    pub(crate) async fn probe(&self, http: &Http, server: &Server) -> Result<(), Failure> {
        let reply =
            self.probe_path(http, server, "/v1/ns/operator/metrics", &self.params()).await?;
        match reply.status {
            200 => match serde_json::from_slice::<Metrics>(&reply.body) {
                Ok(Metrics { status }) if status == "UP" => Ok(()),
                Ok(Metrics { status }) => {
                    Err(Failure::Malformed(format!("its status is {status:?}")))
                }
                Err(error) => Err(Failure::Malformed(format!("not a registry: {error}"))),
            },
            401 | 403 | 404 | 405 | 501 => self.probe_list(http, server).await,
            status => Err(Failure::Status { status, message: reply.message() }),
        }
    }

    /// For servers whose operator calls are closed, by a proxy for example: reads the list of a
    /// service that nobody has.
    async fn probe_list(&self, http: &Http, server: &Server) -> Result<(), Failure> {
        let params = self.params().with("serviceName", "DEFAULT_GROUP@@naming-client-probe");
        let reply = self.probe_path(http, server, "/v1/ns/instance/list", &params).await?;
        match reply.status {
            // Who is asked for a log-in has found a registry.
            401 | 403 => Ok(()),
            200 => match serde_json::from_slice::<naming_model::InstanceList>(&reply.body) {
                Ok(_) => Ok(()),
                Err(error) => Err(Failure::Malformed(format!("not a registry: {error}"))),
            },
            status => Err(Failure::Status { status, message: reply.message() }),
        }
    }

    async fn probe_path(
        &self,
        http: &Http,
        server: &Server,
        path: &str,
        params: &Form,
    ) -> Result<Reply, Failure> {
        let query = params.as_str();
        let message = Message { method: Method::GET, path, query, form: None, token: None };
        let sent = http.send(server.address.base(), &message, self.request_timeout).await;
        sent.map_err(|error| Failure::Malformed(error.to_string()))?
    }
}

#[derive(serde::Deserialize)]
struct Metrics {
    status: String,
}

/// Tells answers that end the call from those that send it on to the next server.
fn sort(outcome: Outcome, server: &Server, auth: Option<&Auth>) -> Outcome {
    let Outcome::Answered(reply) = outcome else { return outcome };
    let status = reply.status;
    let message = match status {
        200 => return Outcome::Answered(reply),
        _ => reply.message(),
    };
    // Servers that disagree for a moment about who is responsible refuse each other's forwards.
    // A 404 in other words than the registry's comes from something else at that address.
    let passing = match status {
        400 => message.contains("redirect"),
        404 => !says_not_found(&message),
        405 | 408 | 429 => true,
        _ => false,
    };
    if passing || !(400..500).contains(&status) {
        return Outcome::Failed(Failure::Status { status, message });
    }
    let server = server.address.authority();
    Outcome::Final(match auth {
        Some(auth) if matches!(status, 401 | 403) => {
            Error::Credentials { server, user: auth.user(), message }
        }
        _ => Error::Refused { server, status, message, after_lost_attempt: false },
    })
}

pub(crate) fn after_attempts(mut error: Error, attempts: &[Attempt]) -> Error {
    if let Error::Refused { after_lost_attempt, .. } = &mut error {
        *after_lost_attempt = attempts.iter().any(|attempt| attempt.failure.may_have_had_effect());
    }
    error
}

async fn with_push(params: Form, target: PushTarget, server: &Server) -> Form {
    // The route is looked up even if an address is given: packets are believed only from hosts
    // that are known to be servers.
    let route = tokio::time::timeout(ROUTE_TIMEOUT, server.route()).await.ok().flatten();
    let local = route.map(|route| route.local);
    match target.address.or(local) {
        Some(address) => params
            .with("udpPort", &target.port.to_string())
            .with("clientIP", &address.to_canonical().to_string()),
        None => params,
    }
}

/// For answers that are the two letters `ok`, or nothing that matters.
pub(crate) fn read_ok(body: &[u8]) -> Result<(), String> {
    let text = body.trim_ascii();
    if text == b"ok" {
        return Ok(());
    }
    Err(format!("expected `ok`, got {:?}", String::from_utf8_lossy(&text[..text.len().min(60)])))
}

/// For answers in JSON.
pub(crate) fn read_json<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|error| error.to_string())
}
