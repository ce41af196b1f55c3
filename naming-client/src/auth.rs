//! Log-in and token renewal.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hyper::Method;
use naming_http::Form;
use parking_lot::Mutex;
use serde::Deserialize;
use tokio::time::Instant;

use crate::error::{Error, Failure};
use crate::http::{Http, Message, Reply};
use crate::servers::Server;

/// A token is renewed when less than this part of its life is left.
const RENEW_SHARE: u32 = 10;

/// Why there is no token.
#[derive(Debug)]
pub(crate) enum NoToken {
    /// This server could not say; another one may.
    Failed(Failure),
    /// The servers said no.
    Refused(Error),
}

#[derive(Debug, Clone)]
struct Token {
    /// `None` for a server that knows no log-in and needs none.
    text: Option<Arc<str>>,
    renew_at: Instant,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LoginReply {
    access_token: String,
    #[serde(default)]
    token_ttl: u64,
}

/// Where servers take a log-in: of 1.x, of 2.x and 3.x, of later ones.
const PATHS: [&str; 3] = ["/v1/auth/login", "/v1/auth/users/login", "/v3/auth/user/login"];
/// Longest file of credentials, in bytes.
const MAX_FILE: u64 = 4_096;

/// Where user and password come from.
#[derive(Clone)]
pub(crate) enum Source {
    Fixed(String, String),
    /// The first line of the file is the user, the second the password.
    File(PathBuf),
    Asked(Arc<dyn Fn() -> io::Result<(String, String)> + Send + Sync>),
}

impl Source {
    /// User and password as they are now. May block for a moment.
    fn read(&self) -> io::Result<(String, String)> {
        match self {
            Self::Fixed(user, password) => Ok((user.clone(), password.clone())),
            Self::Asked(ask) => ask(),
            Self::File(path) => {
                let mut text = String::new();
                io::Read::read_to_string(
                    &mut io::Read::take(std::fs::File::open(path)?, MAX_FILE),
                    &mut text,
                )?;
                let mut lines = text.lines().map(str::to_owned);
                let missing = || io::Error::other("user and password need a line each");
                Ok((lines.next().ok_or_else(missing)?, lines.next().ok_or_else(missing)?))
            }
        }
    }
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Fixed(..) => "fixed",
            Self::File(_) => "a file",
            Self::Asked(_) => "asked for",
        })
    }
}

/// User, password and the token they bought. Tokens hold for all servers of a cluster.
pub(crate) struct Auth {
    source: Source,
    /// Who logged in last, for errors.
    user: Mutex<String>,
    /// Which of the paths worked last.
    path: AtomicUsize,
    token: Mutex<Option<Token>>,
    /// Lets one caller log in while the others wait for the outcome.
    login: tokio::sync::Mutex<()>,
}

impl Auth {
    pub(crate) fn new(source: Source) -> Self {
        Self {
            source,
            user: Mutex::default(),
            path: AtomicUsize::new(0),
            token: Mutex::default(),
            login: tokio::sync::Mutex::default(),
        }
    }

    pub(crate) fn user(&self) -> String {
        self.user.lock().clone()
    }

    /// The token, bought at `server` if there is none that lasts.
    pub(crate) async fn token(
        &self,
        http: &Http,
        server: &Server,
        timeout: Duration,
    ) -> Result<Option<Arc<str>>, NoToken> {
        if let Some(token) = self.fresh() {
            return Ok(token.text);
        }
        let _turn = self.login.lock().await;
        if let Some(token) = self.fresh() {
            return Ok(token.text);
        }
        let token = self.log_in(http, server, timeout).await?;
        *self.token.lock() = Some(token.clone());
        Ok(token.text)
    }

    fn fresh(&self) -> Option<Token> {
        self.token.lock().clone().filter(|token| token.renew_at > Instant::now())
    }

    /// Forgets the token that a server refused, unless another caller has a newer one already.
    pub(crate) fn forget(&self, refused: &str) {
        let mut token = self.token.lock();
        if token.as_ref().is_some_and(|known| known.text.as_deref() == Some(refused)) {
            *token = None;
        }
    }

    async fn log_in(
        &self,
        http: &Http,
        server: &Server,
        timeout: Duration,
    ) -> Result<Token, NoToken> {
        let source = self.source.clone();
        let read = tokio::task::spawn_blocking(move || source.read()).await;
        // The task ends without a result only when the runtime ends.
        let read = read.map_err(|_| NoToken::Refused(Error::ShutDown))?;
        let (user, password) = read.map_err(|error| {
            let reason = error.to_string();
            NoToken::Refused(Error::Setting { setting: "credentials", reason })
        })?;
        self.user.lock().clone_from(&user);
        // The user in the query and the password in the body, where it reaches no access log.
        let query = Form::default().with("username", &user);
        let form = Form::default().with("password", &password);
        let first = self.path.load(Ordering::Relaxed);
        for place in (0..PATHS.len()).map(|step| (first + step) % PATHS.len()) {
            let message = Message {
                method: Method::POST,
                path: PATHS[place],
                query: query.as_str(),
                form: Some(form.as_str()),
                token: None,
            };
            let sent = http.send(server.address.base(), &message, timeout).await;
            let reply = sent.map_err(NoToken::Refused)?.map_err(NoToken::Failed)?;
            if let Some(read) = self.read_login(server, &reply) {
                self.path.store(place, Ordering::Relaxed);
                return read;
            }
        }
        tracing::warn!(server = %server.address.authority(),
            "credentials are set, but the server knows no log-in");
        Ok(Token { text: None, renew_at: Instant::now() + Duration::from_secs(60) })
    }

    /// What the answer to a log-in says; `None` if the path is not known there.
    fn read_login(&self, server: &Server, reply: &Reply) -> Option<Result<Token, NoToken>> {
        Some(match reply.status {
            200 => match serde_json::from_slice::<LoginReply>(&reply.body) {
                Ok(login) => {
                    let ttl = Duration::from_secs(login.token_ttl.clamp(1, 366 * 86_400));
                    let renew_at = Instant::now() + ttl - ttl / RENEW_SHARE;
                    Ok(Token { text: Some(login.access_token.into()), renew_at })
                }
                Err(e) => Err(NoToken::Failed(Failure::Malformed(format!("log-in: {e}")))),
            },
            400 | 401 | 403 => Err(NoToken::Refused(Error::Credentials {
                server: server.address.authority(),
                user: self.user(),
                message: reply.message(),
            })),
            404 | 405 | 410 | 501 => return None,
            status => Err(NoToken::Failed(Failure::Status { status, message: reply.message() })),
        })
    }
}

impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Auth").field("user", &self.user()).finish_non_exhaustive()
    }
}
