//! `/v1/auth/users`: for administrators, and one's own password.

use hyper::StatusCode;
use serde_json::{Value, json};

use super::Api;
use crate::auth::{AuthError, Refusal};
use crate::http::{Answer, ApiError, Call, Reply};
use crate::naming::{Administration, NamingError};
use crate::registry::{Later, Write};

/// How an API answers changes to accounts.
pub(in crate::http) struct Voice {
    /// It is done; this is what was done.
    pub(in crate::http) done: fn(&str) -> Reply,
    /// It failed after it had begun.
    pub(in crate::http) failed: fn(ApiError) -> Reply,
    /// Its sender may not do that.
    pub(in crate::http) denied: fn() -> Reply,
}

/// That of 1.x.
pub(super) static V1: Voice = Voice {
    done,
    failed: |error| error.into(),
    denied: || result(403, "authorization failed!").with_status(StatusCode::FORBIDDEN),
};

impl Voice {
    fn of(&self, outcome: Result<(), NamingError>, message: &str) -> Reply {
        match outcome {
            Ok(()) => (self.done)(message),
            Err(error) => (self.failed)(error.into()),
        }
    }

    /// The answer to a change that takes a while.
    fn later(
        &'static self,
        change: Later<Result<(), NamingError>>,
        message: &'static str,
    ) -> Answer {
        Answer::Later(Box::pin(async move { self.of(change.await, message) }))
    }

    /// The answer to a write.
    ///
    /// # Errors
    /// It was refused before it had begun.
    pub(super) fn said(
        &'static self,
        write: Write<Result<(), NamingError>>,
        message: impl Into<String>,
    ) -> Result<Answer, ApiError> {
        let message = message.into();
        match write {
            Write::Done(outcome) => {
                outcome?;
                Ok((self.done)(&message).into())
            }
            Write::Sent(later) => {
                Ok(Answer::Later(Box::pin(async move { self.of(later.await, &message) })))
            }
        }
    }
}

impl Api {
    /// What the sender may do about users.
    ///
    /// # Errors
    /// 403 while authentication is off.
    pub(in crate::http) fn administration<'a>(
        &'a self,
        call: &'a Call<'a>,
    ) -> Result<Administration<'a>, ApiError> {
        Ok(self.naming.administration(call.caller())?)
    }

    pub(super) fn list_users(&self, call: &Call<'_>) -> Result<Reply, ApiError> {
        let accounts = self.administration(call)?.view()?;
        let users = accounts.users();
        let count = users.len();
        // The hash is shown as Nacos shows it: tools compare passwords with it.
        let shown = |(name, hash)| json!({ "username": name, "password": hash });
        Ok(paged(call, count, users.map(shown))?.never_cached())
    }

    /// Names that contain a text, all for the empty one.
    pub(super) fn search_users(&self, call: &Call<'_>) -> Result<Reply, ApiError> {
        let accounts = self.administration(call)?.view()?;
        let part =
            call.params.raw("username").map_or_else(|| call.params.required("username"), Ok)?;
        let names = accounts.users().map(|(name, _)| name).filter(|name| name.contains(&*part));
        Ok(Reply::json(json!(names.collect::<Vec<_>>()).to_string()))
    }

    /// Unlike Nacos it can be made an administrator at once, with `admin=true`.
    pub(in crate::http) fn create_user(
        &self,
        call: &Call<'_>,
        voice: &'static Voice,
    ) -> Result<Answer, ApiError> {
        let users = self.administration(call)?;
        let (name, password) = (required(call, "username")?, required(call, "password")?);
        let is_admin = call.params.flag_strict("admin", false);
        Ok(voice.later(users.create_user(name, password, is_admin)?, "create user ok!"))
    }

    /// A new password, one's own or, for an administrator, anybody's.
    pub(in crate::http) fn change_password(
        &self,
        call: &Call<'_>,
        voice: &'static Voice,
    ) -> Result<Answer, ApiError> {
        let users = self.administration(call)?;
        let (name, password) = (required(call, "username")?, required(call, "newPassword")?);
        match users.change_password(name, password) {
            Ok(changed) => Ok(voice.later(changed, "update user ok!")),
            Err(NamingError::Auth(AuthError::Refused(Refusal::NotAllowed))) => {
                Ok((voice.denied)().into())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Deletes a user with all roles.
    pub(in crate::http) fn delete_user(
        &self,
        call: &Call<'_>,
        voice: &'static Voice,
    ) -> Result<Answer, ApiError> {
        let users = self.administration(call)?;
        voice.said(users.delete_user(required(call, "username")?), "delete user ok!")
    }
}

/// The value as sent: names and passwords are what they are, with all blanks.
pub(super) fn required(call: &Call<'_>, name: &str) -> Result<String, ApiError> {
    match call.params.raw(name) {
        Some(value) if !value.is_empty() => Ok(value.into_owned()),
        _ => Err(ApiError::bad_request(format!("Param '{name}' is required."))),
    }
}

/// What a change is answered with.
pub(super) fn done(message: &str) -> Reply {
    result(200, message)
}

fn result(code: u16, message: &str) -> Reply {
    Reply::json(json!({ "code": code, "message": message, "data": null }).to_string())
}

/// One page of `count` items as Nacos shows it.
///
/// # Errors
/// 400 without a page number and a size, both from 1.
pub(super) fn paged(
    call: &Call<'_>,
    count: usize,
    items: impl Iterator<Item = Value>,
) -> Result<Reply, ApiError> {
    let positive = |name| -> Result<usize, ApiError> {
        let number = usize::try_from(call.params.required_int(name)?).ok();
        number
            .filter(|number| *number > 0)
            .ok_or_else(|| ApiError::bad_request("pageNo and pageSize must be greater than zero"))
    };
    let (number, size) = (positive("pageNo")?, positive("pageSize")?);
    let first = (number - 1).saturating_mul(size);
    let items: Vec<Value> = items.skip(first).take(size).collect();
    let page = json!({
        "totalCount": count,
        "pageNumber": number,
        "pagesAvailable": count.div_ceil(size),
        "pageItems": items,
    });
    Ok(Reply::json(page.to_string()))
}
