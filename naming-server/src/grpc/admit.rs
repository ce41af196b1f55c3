//! Who sends a request, and whether they may.
//!
//! The token is in the headers of the message, or in those of the body. The rights are those of the
//! HTTP front: to read or to write the service that the request is about.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use super::body::{WithHeaders, read};
use super::dispatch::Request;
use super::refusal::Refusal;
use crate::auth::{Credentials, Proof, Refusal as Doubt};
use crate::naming::{Access, CallKind, Caller, Clearance, Identity, Naming, Need};

/// How often a password is looked up again after it was verified.
const MOST_TRIES: usize = 3;
/// In a header, before a token.
const BEARER: &str = "Bearer ";

/// A sender who may do what the request asks for.
pub(super) struct Admitted {
    user: Option<Arc<str>>,
    /// What has been checked: gate and right.
    clearance: Clearance,
}

impl Request<'_> {
    /// Checks that the server takes such requests now, and that the sender may do this. The use
    /// case need not check that again.
    ///
    /// # Errors
    /// 403, typed: clients log in anew. 300: another server may take it.
    pub(super) async fn admit(&self, access: Access, need: &Need<'_>) -> Result<Admitted, Refusal> {
        let naming = &self.front.naming;
        naming.count_call(&self.connection.caller(), || match access {
            Access::Read => CallKind::Read,
            Access::Write => CallKind::Write,
        })?;
        let user = self.user().await?;
        let caller = Caller { user: user.as_deref(), ..self.connection.caller() };
        let switches = naming.registry().switches.load();
        let clearance = naming.pass(&switches, &caller, access, true)?;
        let clearance = naming.admit(&Caller { clearance, ..caller }, need)?;
        Ok(Admitted { user, clearance })
    }

    /// The sender as use cases know it.
    pub(super) fn caller<'a>(&'a self, admitted: &'a Admitted) -> Caller<'a> {
        let Admitted { user, clearance } = admitted;
        Caller { user: user.as_deref(), clearance: *clearance, ..self.connection.caller() }
    }

    /// Who sends the request, if there are users.
    async fn user(&self) -> Result<Option<Arc<str>>, Refusal> {
        let naming = &self.front.naming;
        if naming.auth().is_none() {
            return Ok(None);
        }
        let in_head = proof(|name| self.metadata.headers.get(name).map(|value| &**value));
        if !matches!(in_head, Proof::Nothing) {
            return identify(naming, self.connection.peer().ip(), in_head).await;
        }
        let in_body = read::<WithHeaders>(self.body).unwrap_or_default().headers.map;
        let in_body = proof(|name| in_body.get(name).map(|value| &**value));
        identify(naming, self.connection.peer().ip(), in_body).await
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
            Identity::Refused(refusal) => return Err(refusal.into()),
            Identity::Unverified(check) => check.await.map_err(Refusal::from)?,
        }
    }
    Err(Doubt::Busy.into())
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
