//! `/v1/auth/users`: for administrators, and one's own password.

use std::sync::Arc;

use hyper::StatusCode;
use serde_json::{Value, json};

use super::Api;
use crate::auth::check_password;
use crate::http::{Answer, ApiError, Call, Reply};
use crate::registry::{
    ADMIN_ROLE, Content, ROLES, RegistryError, USERS, Write, check_name, role_key,
};

/// Users kept; more are refused.
const MAX_USERS: usize = 10_000;

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
    fn of(&self, outcome: Result<Reply, ApiError>) -> Reply {
        outcome.unwrap_or_else(self.failed)
    }
}

impl Api {
    pub(super) fn list_users(&self, call: &Call<'_>) -> Result<Reply, ApiError> {
        self.auth()?;
        let accounts = self.registry.accounts.load();
        let users = accounts.users();
        let count = users.len();
        // The hash is shown as Nacos shows it: tools compare passwords with it.
        let shown = |(name, hash)| json!({ "username": name, "password": hash });
        Ok(paged(call, count, users.map(shown))?.never_cached())
    }

    /// Names that contain a text, all for the empty one.
    pub(super) fn search_users(&self, call: &Call<'_>) -> Result<Reply, ApiError> {
        self.auth()?;
        let part =
            call.params.raw("username").map_or_else(|| call.params.required("username"), Ok)?;
        let accounts = self.registry.accounts.load();
        let names = accounts.users().map(|(name, _)| name).filter(|name| name.contains(&*part));
        Ok(Reply::json(json!(names.collect::<Vec<_>>()).to_string()))
    }

    /// Unlike Nacos it can be made an administrator at once, with `admin=true`.
    pub(in crate::http) fn create_user(
        &self,
        call: &Call<'_>,
        voice: &'static Voice,
    ) -> Result<Answer, ApiError> {
        let auth = Arc::clone(self.auth()?);
        let name = required(call, "username")?;
        let password = required(call, "password")?;
        check_name("username", &name)?;
        check_password(&password)?;
        let is_admin = call.params.flag_strict("admin", false);
        self.check_new(&name)?;
        let (writes, registry) = (self.writes.clone(), Arc::clone(&self.registry));
        let by = call.user.unwrap_or_default().to_owned();
        let created = async move {
            let hash = auth.hash(&by, password).await?;
            // It has taken a while.
            if registry.accounts.load().has_user(&name) {
                return Err(exists(&name));
            }
            writes.write_record(USERS, &name, Some(Content::User(hash))).outcome().await?;
            if is_admin {
                let key = role_key(ADMIN_ROLE, &name);
                writes.write_record(ROLES, &key, Some(Content::Grant)).outcome().await?;
            }
            Ok((voice.done)("create user ok!"))
        };
        Ok(Answer::Later(Box::pin(async move { voice.of(created.await) })))
    }

    fn check_new(&self, name: &str) -> Result<(), ApiError> {
        let accounts = self.registry.accounts.load();
        if accounts.has_user(name) {
            return Err(exists(name));
        }
        if accounts.users().len() >= MAX_USERS {
            return Err(ApiError::bad_request(format!(
                "the limit of {MAX_USERS} users is reached"
            )));
        }
        Ok(())
    }

    /// A new password, one's own or, for an administrator, anybody's.
    pub(in crate::http) fn change_password(
        &self,
        call: &Call<'_>,
        voice: &'static Voice,
    ) -> Result<Answer, ApiError> {
        let auth = Arc::clone(self.auth()?);
        let name = required(call, "username")?;
        let password = required(call, "newPassword")?;
        let accounts = self.registry.accounts.load();
        // Nobody comes here without a user but who speaks for the operator.
        if call.user.is_some_and(|user| user != name && !accounts.is_admin(user)) {
            return Ok((voice.denied)().into());
        }
        check_password(&password)?;
        let unknown = |name: &str| ApiError::bad_request(format!("user {name} not exist!"));
        if !accounts.has_user(&name) {
            return Err(unknown(&name));
        }
        let (writes, registry) = (self.writes.clone(), Arc::clone(&self.registry));
        let by = call.user.unwrap_or_default().to_owned();
        let changed = async move {
            let hash = auth.hash(&by, password).await?;
            // Who was deleted meanwhile must not come back.
            if !registry.accounts.load().has_user(&name) {
                return Err(unknown(&name));
            }
            writes.write_record(USERS, &name, Some(Content::User(hash))).outcome().await?;
            Ok((voice.done)("update user ok!"))
        };
        Ok(Answer::Later(Box::pin(async move { voice.of(changed.await) })))
    }

    /// Deletes a user with all roles, so that the next one of that name begins without rights.
    pub(in crate::http) fn delete_user(
        &self,
        call: &Call<'_>,
        voice: &'static Voice,
    ) -> Result<Answer, ApiError> {
        self.auth()?;
        let name = required(call, "username")?;
        let accounts = self.registry.accounts.load();
        if accounts.is_admin(&name) {
            return Err(ApiError::bad_request(format!("cannot delete admin: {name}")));
        }
        let roles = accounts.roles_of(&name).map(|role| role_key(role, &name));
        let mut keys: Vec<_> = roles.map(|key| (ROLES, key)).collect();
        if accounts.has_user(&name) {
            keys.push((USERS, name));
        }
        Ok(self.remove_records(keys, "delete user ok!", voice))
    }

    /// Removes records, then answers.
    pub(super) fn remove_records(
        &self,
        keys: Vec<(&'static str, String)>,
        message: &str,
        voice: &'static Voice,
    ) -> Answer {
        let remove = |(tag, key): (&'static str, String)| self.writes.write_record(tag, &key, None);
        let removed = Write::all(keys.into_iter().map(remove).collect());
        said(removed.map(|removed| removed.into_iter().collect()), message, voice)
    }
}

fn exists(name: &str) -> ApiError {
    ApiError::bad_request(format!("user '{name}' already exist!"))
}

/// The value as sent: names and passwords are what they are, with all blanks.
pub(super) fn required(call: &Call<'_>, name: &str) -> Result<String, ApiError> {
    match call.params.raw(name) {
        Some(value) if !value.is_empty() => Ok(value.into_owned()),
        _ => Err(ApiError::bad_request(format!("Param '{name}' is required."))),
    }
}

/// The answer to a write, if it succeeds.
pub(super) fn said(
    write: Write<Result<(), RegistryError>>,
    message: &str,
    voice: &'static Voice,
) -> Answer {
    let reply = (voice.done)(message);
    write.map(|result| voice.of(result.map(|()| reply).map_err(ApiError::from))).into()
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
