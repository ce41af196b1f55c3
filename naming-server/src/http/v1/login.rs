//! `/v1/auth/login`: a token for a password.

use std::sync::Arc;
use std::time::Duration;

use hyper::header::{AUTHORIZATION, HeaderValue};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::Api;
use super::credentials::claimed_user;
use crate::auth::worthless_token;
use crate::http::{ApiError, Call, Reply};

/// Between two looks whether this server knows what the others know.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

impl Api {
    /// Says how to make the first user if there is none, once this server would know of one.
    pub(crate) async fn miss_users(self: Arc<Self>, how: String, shutdown: CancellationToken) {
        if self.auth.is_none() {
            return;
        }
        while self.why_not_ready().is_some() {
            tokio::select! {
                () = tokio::time::sleep(LOOK_AGAIN) => {}
                () = shutdown.cancelled() => return,
            }
        }
        if self.registry.accounts.load().is_empty() {
            tracing::warn!(
                "authentication is on and there is no user, so nobody can log in; to make the \
                 first administrator, {how}"
            );
        }
    }

    /// A new token, or the one that the request brings. While authentication is off, a token that
    /// opens nothing: clients that are configured with a user log in first, and stop if they cannot.
    pub(in crate::http) fn log_in(&self, call: &Call<'_>) -> Result<Reply, ApiError> {
        let Some(auth) = &self.auth else {
            let user = claimed_user(call)?;
            let token = worthless_token(&user, self.token_ttl)?;
            // Everybody may do everything that this server offers.
            return self.logged_in(&user, &token, true);
        };
        let user = call.user.ok_or_else(|| ApiError::forbidden("unknown user!"))?;
        let token = auth.token_for(&call.credentials())?;
        self.logged_in(user, &token, self.registry.accounts.load().is_admin(user))
    }

    fn logged_in(&self, user: &str, token: &str, is_admin: bool) -> Result<Reply, ApiError> {
        let reply = json!({
            "accessToken": token,
            "tokenTtl": self.token_ttl.as_secs(),
            "globalAdmin": is_admin,
            "username": user,
        });
        let header = HeaderValue::from_str(&format!("Bearer {token}"));
        let header = header.map_err(|_| ApiError::forbidden("token invalid!"))?;
        Ok(Reply::json(reply.to_string()).with_header(AUTHORIZATION, header).never_cached())
    }
}
