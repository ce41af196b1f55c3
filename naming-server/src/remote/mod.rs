//! Calls of a command to a running server: log-in, deadlines, and another try where one may help.

mod place;

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, USER_AGENT};
use hyper::{Method, Request, StatusCode};
use naming_http::{CallFailure, FORM, Form, HttpClient, HttpSettings, Tls, TlsError, excerpt};
use parking_lot::Mutex;
use serde::Deserialize;
use serde::de::DeserializeOwned;

pub use place::Place;

use crate::password::Password;

const AGENT: &str = concat!("naming-server-command/", env!("CARGO_PKG_VERSION"));
const JSON: &str = "application/json";
/// Where users log in, unless told otherwise.
const LOGIN: &str = "/v1/auth/login";
/// Times a call is made until it is given up.
const ATTEMPTS: u32 = 4;
/// Pause before the second time, doubled with each.
const PAUSE: Duration = Duration::from_millis(200);
/// Bytes of an answer, unless a command sets another limit.
const MAX_ANSWER: usize = 64 << 20;
/// Characters kept of the text of a refusal.
const MAX_TEXT: usize = 300;

/// Why a call brought nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CallError {
    /// The server said no.
    #[error("{} {text}", status.as_u16())]
    Refused {
        /// Status of the answer.
        status: StatusCode,
        /// What it said, cut short.
        text: String,
    },
    /// The server said something else than expected.
    #[error("{0}")]
    Unreadable(String),
    /// It gave no answer, several times. A write may have been carried out.
    #[error("{place} does not answer: {reason}")]
    Lost {
        /// The server.
        place: Place,
        /// What happened the last time.
        reason: String,
    },
}

impl CallError {
    /// Whether it says that there is no such service, cluster or namespace. Nacos says so with 500.
    pub(crate) fn is_not_found(&self) -> bool {
        match self {
            Self::Refused { status, text } => {
                *status == StatusCode::NOT_FOUND
                    || *status == StatusCode::INTERNAL_SERVER_ERROR
                        && ["is not found", "not exist"].iter().any(|part| text.contains(part))
            }
            _ => false,
        }
    }

    /// Whether the next call may fare better. Nacos says with 500 and `caused:` what is wrong with
    /// a request.
    fn is_passing(&self) -> bool {
        match self {
            Self::Refused { status, text } => match status.as_u16() {
                429 | 502 | 503 | 504 => true,
                500 => !text.starts_with("caused:"),
                _ => false,
            },
            Self::Unreadable(_) => false,
            Self::Lost { .. } => true,
        }
    }
}

/// What is sent, and of which kind it is.
struct Body {
    bytes: Bytes,
    kind: &'static str,
}

impl From<Form> for Body {
    fn from(form: Form) -> Self {
        Self { bytes: String::from(form).into(), kind: FORM }
    }
}

/// Who to be at a server.
#[derive(Debug, Clone)]
pub(crate) struct Credentials {
    pub(crate) user: String,
    pub(crate) password: Password,
}

/// A server that a command calls.
#[derive(Debug, Clone)]
pub(crate) struct Remote {
    place: Place,
    /// What is wrong with the certificates of this machine is told by the first call.
    client: Result<HttpClient, TlsError>,
    timeout: Duration,
    max_answer: usize,
    attempts: u32,
    session: Arc<Session>,
}

/// Who a command is at a server, shared by all clones of a [`Remote`].
#[derive(Debug)]
struct Session {
    credentials: Option<Credentials>,
    token: Mutex<Option<Arc<str>>>,
    /// Where to log in. Lets one caller do so while the others wait for the outcome.
    login: tokio::sync::Mutex<&'static str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Login {
    access_token: String,
}

impl Remote {
    /// No call is made yet.
    pub(crate) fn new(place: Place, credentials: Option<Credentials>, timeout: Duration) -> Self {
        let settings = HttpSettings::default();
        let client = match place.is_tls() {
            true => Tls::new().load().map(|tls| HttpClient::with_tls(&settings, tls)),
            false => Ok(HttpClient::new(&settings)),
        };
        let session =
            Session { credentials, token: Mutex::default(), login: tokio::sync::Mutex::new(LOGIN) };
        let (max_answer, session) = (MAX_ANSWER, Arc::new(session));
        Self { place, client, timeout, max_answer, attempts: ATTEMPTS, session }
    }

    /// The same with another limit of bytes for one answer.
    pub(crate) fn with_max_answer(self, max_answer: usize) -> Self {
        Self { max_answer, ..self }
    }

    /// The same that makes each call once: a write that was carried out although its answer was lost
    /// would be refused the second time.
    pub(crate) fn once(self) -> Self {
        Self { attempts: 1, ..self }
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// Gets a token if there is a user. Where nobody logs in nothing happens.
    pub(crate) async fn log_in(&self) -> Result<(), CallError> {
        self.renew(None).await
    }

    /// Has users log in at another path from now on.
    pub(crate) async fn log_in_at(&self, path: &'static str) {
        *self.session.login.lock().await = path;
    }

    /// Asks for something that every server gives, to learn whether one is there. One attempt.
    pub(crate) async fn greet(&self) -> Result<(), CallError> {
        let path = "/v1/console/health/liveness";
        self.attempt(&Method::GET, path, "", &Form::default().into(), None).await.map(|_| ())
    }

    /// Reads something as JSON.
    pub(crate) async fn read<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<T, CallError> {
        let body = self.call(&Method::GET, path, Form::of(query).as_str(), Form::default()).await?;
        parse(path, &body)
    }

    /// Reads something as text, cut short.
    pub(crate) async fn read_text(&self, path: &str) -> Result<String, CallError> {
        let body = self.call(&Method::GET, path, "", Form::default()).await?;
        Ok(shortened(&body))
    }

    /// Asks for something without being anybody, to learn whether it is there.
    pub(crate) async fn peek(&self, path: &str) -> Result<Bytes, CallError> {
        let mut attempt = 1;
        loop {
            match self.attempt(&Method::GET, path, "", &Form::default().into(), None).await {
                Err(CallError::Lost { .. }) if attempt < self.attempts => {
                    tokio::time::sleep(PAUSE * 2_u32.pow(attempt - 1)).await;
                    attempt += 1;
                }
                outcome => return outcome,
            }
        }
    }

    /// Reads something as it is.
    pub(crate) async fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Bytes, CallError> {
        self.call(&Method::GET, path, Form::of(query).as_str(), Form::default()).await
    }

    /// Like [`Self::read`] for what need not exist.
    pub(crate) async fn find<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<Option<T>, CallError> {
        match self.read(path, query).await {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Has something written and gives what is said to it. The parameters are in the body: there is
    /// room, and no log of requests shows them.
    pub(crate) async fn write(
        &self,
        method: Method,
        path: &str,
        form: Form,
    ) -> Result<String, CallError> {
        let body = self.call(&method, path, "", form).await?;
        Ok(shortened(&body))
    }

    /// Has JSON taken and reads what is said to it.
    pub(crate) async fn send_json<T: DeserializeOwned>(
        &self,
        path: &str,
        json: String,
    ) -> Result<T, CallError> {
        let body = Body { bytes: json.into(), kind: JSON };
        parse(path, &self.call_with(&Method::POST, path, "", &body).await?)
    }

    async fn call(
        &self,
        method: &Method,
        path: &str,
        query: &str,
        form: Form,
    ) -> Result<Bytes, CallError> {
        self.call_with(method, path, query, &form.into()).await
    }

    async fn call_with(
        &self,
        method: &Method,
        path: &str,
        query: &str,
        body: &Body,
    ) -> Result<Bytes, CallError> {
        let mut may_renew = self.session.credentials.is_some();
        let mut attempt = 1;
        loop {
            let token = self.session.token.lock().clone();
            let error = match self.attempt(method, path, query, body, token.as_deref()).await {
                Ok(body) => return Ok(body),
                Err(error) => error,
            };
            if may_renew && is_forbidden(&error) {
                may_renew = false;
                self.renew(token.as_deref()).await?;
            } else if attempt < self.attempts && error.is_passing() {
                tokio::time::sleep(PAUSE * 2_u32.pow(attempt - 1)).await;
                attempt += 1;
            } else {
                return Err(error);
            }
        }
    }

    /// Logs in unless somebody else has since `used` was refused.
    async fn renew(&self, used: Option<&str>) -> Result<(), CallError> {
        let Some(Credentials { user, password }) = &self.session.credentials else { return Ok(()) };
        let path = self.session.login.lock().await;
        if self.session.token.lock().as_deref() != used {
            return Ok(());
        }
        // The password is in the body, where no log of requests shows it.
        let query = Form::of(&[("username", user)]);
        let form = Form::of(&[("password", password.reveal())]).into();
        let answer = self.attempt(&Method::POST, *path, query.as_str(), &form, None).await?;
        let Login { access_token } = parse(*path, &answer)?;
        *self.session.token.lock() = Some(access_token.into());
        Ok(())
    }

    async fn attempt(
        &self,
        method: &Method,
        path: &str,
        query: &str,
        body: &Body,
        token: Option<&str>,
    ) -> Result<Bytes, CallError> {
        let request = self.request(method, path, query, body, token)?;
        let client = self.client.as_ref();
        let client = client.map_err(|error| CallError::Unreadable(error.to_string()))?;
        let answer = client.exchange(request, self.max_answer, self.timeout).await;
        let (status, body) = answer.map_err(|failure| match failure {
            CallFailure::TooLong => {
                CallError::Unreadable(format!("the answer of {path}: {failure}"))
            }
            failure => CallError::Lost { place: self.place.clone(), reason: failure.to_string() },
        })?;
        if status == StatusCode::OK {
            return Ok(body);
        }
        Err(CallError::Refused { status, text: shortened(&body) })
    }

    fn request(
        &self,
        method: &Method,
        path: &str,
        query: &str,
        body: &Body,
        token: Option<&str>,
    ) -> Result<Request<Full<Bytes>>, CallError> {
        let unreadable = |error: &dyn Display| CallError::Unreadable(format!("{path}: {error}"));
        let uri = self.place.uri(path, query).map_err(|error| unreadable(&error))?;
        let mut request = Request::builder().method(method).uri(uri).header(USER_AGENT, AGENT);
        if !body.bytes.is_empty() {
            request = request.header(CONTENT_TYPE, body.kind);
        }
        if let Some(token) = token {
            let value = HeaderValue::try_from(format!("Bearer {token}"));
            let mut value = value.map_err(|error| unreadable(&error))?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        request.body(Full::new(body.bytes.clone())).map_err(|error| unreadable(&error))
    }
}

fn is_forbidden(error: &CallError) -> bool {
    matches!(error, CallError::Refused { status, .. } if matches!(status.as_u16(), 401 | 403))
}

fn parse<T: DeserializeOwned>(path: &str, body: &Bytes) -> Result<T, CallError> {
    let bad = |error| {
        let answer: String = shortened(body).chars().take(80).collect();
        CallError::Unreadable(format!("cannot read the answer of {path}: {error}: {answer}"))
    };
    serde_json::from_slice(body).map_err(bad)
}

/// What belongs into a message on a terminal.
fn shortened(body: &Bytes) -> String {
    excerpt(body, MAX_TEXT)
}
