//! Who sends a request, and whether they may.
//!
//! The token is in the headers of the message, or in those of the body. The rights are those of the
//! HTTP front: to read or to write the service that the request is about.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use super::answer::code;
use super::body::{WithHeaders, read};
use super::dispatch::Request;
use super::refusal::Refusal;
use crate::auth::{AuthError, Credentials, Proof, Refusal as Doubt};
use crate::naming::{Caller, Identity, Naming, NamingError, Need};

/// How often a password is looked up again after it was verified.
const MOST_TRIES: usize = 3;
/// In a header, before a token.
const BEARER: &str = "Bearer ";

impl Request<'_> {
    /// Checks that the sender may do this. The user, if there are users.
    ///
    /// # Errors
    /// 403, typed: clients log in anew.
    pub(super) async fn admit(&self, need: &Need<'_>) -> Result<Option<Arc<str>>, Refusal> {
        let naming = &self.front.naming;
        if naming.auth().is_none() {
            return Ok(None);
        }
        let in_head = proof(|name| self.metadata.headers.get(name).map(|value| &**value));
        let user = if matches!(in_head, Proof::Nothing) {
            let in_body = read::<WithHeaders>(self.body).unwrap_or_default().headers.map;
            let in_body = proof(|name| in_body.get(name).map(|value| &**value));
            identify(naming, self.connection.peer().ip(), in_body).await?
        } else {
            identify(naming, self.connection.peer().ip(), in_head).await?
        };
        let caller = Caller { user: user.as_deref(), ..self.connection.caller() };
        match naming.admit(&caller, need) {
            Ok(_) => Ok(user),
            Err(NamingError::Auth(AuthError::Refused(refusal))) => Err(refused(refusal)),
            Err(error) => Err(Refusal::Typed(code::FORBIDDEN, error.to_string())),
        }
    }
}

async fn identify(
    naming: &Naming,
    address: IpAddr,
    proof: Proof<'_>,
) -> Result<Option<Arc<str>>, Refusal> {
    let credentials = Credentials { address, proof };
    for _ in 0..MOST_TRIES {
        match naming.identify(&credentials) {
            Identity::Anybody => return Ok(None),
            Identity::User(user) => return Ok(Some(user)),
            Identity::Refused(refusal) => return Err(refused(refusal)),
            Identity::Unverified(check) => check.await.map_err(refused)?,
        }
    }
    Err(refused(Doubt::Busy))
}

/// The proof among headers, which are spelled exactly so.
fn proof<'a>(header: impl Fn(&str) -> Option<&'a str>) -> Proof<'a> {
    let bearer = header("Authorization").and_then(|value| value.strip_prefix(BEARER));
    let token = bearer.or_else(|| header("accessToken").filter(|token| !token.trim().is_empty()));
    match (token, header("username"), header("password")) {
        (Some(token), ..) => Proof::Token(Cow::Borrowed(token)),
        (None, Some(user), Some(password)) => {
            let (user, password) = (Cow::Borrowed(user), Cow::Borrowed(password));
            Proof::Password { user, password }
        }
        _ => Proof::Nothing,
    }
}

fn refused(refusal: Doubt) -> Refusal {
    let text = match refusal {
        Doubt::UnknownUser => "user not found!".to_owned(),
        other => other.to_string(),
    };
    Refusal::Typed(code::FORBIDDEN, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_goes_before_a_password_and_names_are_spelled_exactly() {
        let found = |headers: &'static [(&str, &str)]| match proof(|name| {
            headers.iter().find(|(known, _)| *known == name).map(|(_, v)| *v)
        }) {
            Proof::Token(token) => format!("token {token}"),
            Proof::Password { user, password } => format!("{user} {password}"),
            Proof::Nothing => "nothing".to_owned(),
        };
        assert_eq!(found(&[("accessToken", "t"), ("username", "u"), ("password", "p")]), "token t");
        assert_eq!(found(&[("Authorization", "Bearer b"), ("accessToken", "t")]), "token b");
        assert_eq!(found(&[("accessToken", ""), ("username", "u"), ("password", " p")]), "u  p");
        assert_eq!(found(&[("AccessToken", "t"), ("username", "u")]), "nothing");
    }
}
