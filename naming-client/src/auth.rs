//! Log-in and token renewal.

use std::sync::Arc;
use std::time::Duration;

use hyper::Method;
use parking_lot::Mutex;
use serde::Deserialize;
use tokio::time::Instant;

use crate::error::{Error, Failure};
use crate::http::{Http, Message, Params, Reply};
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

/// User, password and the token they bought. Tokens hold for all servers of a cluster.
pub(crate) struct Auth {
    user: String,
    password: String,
    token: Mutex<Option<Token>>,
    /// Lets one caller log in while the others wait for the outcome.
    login: tokio::sync::Mutex<()>,
}

impl Auth {
    pub(crate) fn new(user: String, password: String) -> Self {
        Self { user, password, token: Mutex::default(), login: tokio::sync::Mutex::default() }
    }

    pub(crate) fn user(&self) -> &str {
        &self.user
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
        // The user in the query and the password in the body, where it reaches no access log.
        let query = Params::default().with("username", &self.user);
        let form = Params::default().with("password", &self.password);
        let message = Message {
            method: Method::POST,
            path: "/v1/auth/login",
            query: query.as_str(),
            form: Some(form.as_str()),
            token: None,
        };
        let sent = http.send(server.address.base(), &message, timeout).await;
        let reply = sent.map_err(NoToken::Refused)?.map_err(NoToken::Failed)?;
        self.read_login(server, &reply)
    }

    fn read_login(&self, server: &Server, reply: &Reply) -> Result<Token, NoToken> {
        match reply.status {
            200 => {
                let login: LoginReply = serde_json::from_slice(&reply.body)
                    .map_err(|e| NoToken::Failed(Failure::Malformed(format!("log-in: {e}"))))?;
                let ttl = Duration::from_secs(login.token_ttl.clamp(1, 366 * 86_400));
                let renew_at = Instant::now() + ttl - ttl / RENEW_SHARE;
                Ok(Token { text: Some(login.access_token.into()), renew_at })
            }
            400 | 401 | 403 => Err(NoToken::Refused(Error::Credentials {
                server: server.address.authority(),
                user: self.user.clone(),
                message: reply.message(),
            })),
            404 | 501 => {
                tracing::warn!(server = %server.address.authority(),
                    "credentials are set, but the server knows no log-in");
                Ok(Token { text: None, renew_at: Instant::now() + Duration::from_secs(60) })
            }
            status => Err(NoToken::Failed(Failure::Status { status, message: reply.message() })),
        }
    }
}

impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Auth").field("user", &self.user).finish_non_exhaustive()
    }
}
