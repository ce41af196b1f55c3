//! The credentials of a request, where Nacos looks for them.

use std::borrow::Cow;

use hyper::header::AUTHORIZATION;

use crate::auth::{Credentials, Proof};
use crate::http::{ApiError, Call};
use crate::registry::check_name;

/// In the header, before a token.
const BEARER: &str = "Bearer ";

impl<'a> Call<'a> {
    /// What the request brings to prove who sent it.
    pub(super) fn credentials(&self) -> Credentials<'a> {
        Credentials { address: self.peer.ip(), proof: self.proof() }
    }

    fn proof(&self) -> Proof<'a> {
        let header = self.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        if let Some(token) = header.and_then(|header| header.strip_prefix(BEARER)) {
            return Proof::Token(Cow::Borrowed(token));
        }
        match given(self, "accessToken").filter(|token| !token.trim().is_empty()) {
            Some(token) => Proof::Token(token),
            None => match (given(self, "username"), given(self, "password")) {
                (Some(user), Some(password)) => Proof::Password { user, password },
                _ => Proof::Nothing,
            },
        }
    }
}

/// The name that a login claims, true or not.
///
/// # Errors
/// 400 if there is none, or none that a user can have.
pub(super) fn claimed_user<'a>(call: &Call<'a>) -> Result<Cow<'a, str>, ApiError> {
    let missing = || ApiError::bad_request("Param 'username' is required.");
    let user = given(call, "username").ok_or_else(missing)?;
    check_name("username", &user)?;
    Ok(user)
}

/// A credential as sent, since a password may begin with a blank: a parameter, or else a header of
/// that name, as Nacos takes them since 2.1. A header is not percent-encoded.
fn given<'a>(call: &Call<'a>, name: &str) -> Option<Cow<'a, str>> {
    let header = || {
        let value = call.headers.get(name)?;
        str::from_utf8(value.as_bytes()).ok().map(Cow::Borrowed)
    };
    call.params.raw(name).or_else(header)
}
