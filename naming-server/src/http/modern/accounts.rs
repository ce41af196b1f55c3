//! Users, roles and permissions: `/v3/auth`.
//!
//! What may be done, and by whom, is the same as over `/v1/auth`; here it is said in the envelope.
//! Nobody is shown a password hash.

use serde_json::{Value, json};

use super::envelope::{data, long_data};
use super::error::Fault;
use super::form::{self, Paging};
use crate::http::v1::{Api, Voice, first_refused};
use crate::http::{Answer, ApiError, Call};
use crate::registry::NamePattern;

/// Items on one page.
const MOST_ON_PAGE: i64 = 10_000;

/// How changes to accounts are answered here.
static VOICE: Voice = Voice {
    done: |message| data(&json!(message)),
    failed: |error| Fault::from(error).into(),
    denied: || Fault::from(ApiError::forbidden("authorization failed!")).into(),
};

/// A token for a password, without envelope.
pub(super) fn log_in(api: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
    Ok(api.log_in(call)?.into())
}

/// The first administrator.
pub(super) fn make_first(api: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
    let made = match api.make_first_admin(call) {
        Ok(made) => made,
        Err(error) => return Ok(first_refused(error).into()),
    };
    Ok(Answer::Later(Box::pin(async move {
        match made.await {
            Ok(name) => data(&json!({ "username": name })),
            Err(error) => first_refused(error),
        }
    })))
}

fn all_given(call: &Call<'_>, names: &[&str]) -> Result<(), Fault> {
    names.iter().try_for_each(|name| form::required(call, name).map(|_| ()))
}

pub(super) fn create_user(api: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
    all_given(call, &["username", "password"])?;
    Ok(api.create_user(call, &VOICE)?)
}

pub(super) fn delete_user(api: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
    all_given(call, &["username"])?;
    Ok(api.delete_user(call, &VOICE)?)
}

pub(super) fn change_password(api: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
    all_given(call, &["username", "newPassword"])?;
    Ok(api.change_password(call, &VOICE)?)
}

pub(super) fn add_role(api: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
    all_given(call, &["role", "username"])?;
    Ok(api.add_role(call, &VOICE)?)
}

pub(super) fn delete_role(api: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
    all_given(call, &["role"])?;
    Ok(api.delete_role(call, &VOICE)?)
}

pub(super) fn add_permission(api: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
    all_given(call, &["role", "resource", "action"])?;
    Ok(api.add_permission(call, &VOICE)?)
}

pub(super) fn delete_permission(api: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
    all_given(call, &["role", "resource", "action"])?;
    Ok(api.delete_permission(call, &VOICE)?)
}

/// Whether there is a permission already.
pub(super) fn has_permission(api: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
    let accounts = api.administration(call)?.view()?;
    let (role, resource, action) = (
        form::required(call, "role")?,
        form::required(call, "resource")?,
        form::required(call, "action")?,
    );
    let is_there = accounts
        .permissions(Some(&role))
        .any(|(_, known)| *known.resource == *resource && *known.action == *action);
    Ok(data(&json!(is_there)).into())
}

/// A page of users.
pub(super) fn users(api: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
    let accounts = api.administration(call)?.view()?;
    let names = accounts.users().map(|(name, _)| json!({ "username": name }));
    page(api, call, names, &["username"])
}

/// A page of roles.
pub(super) fn roles(api: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
    let accounts = api.administration(call)?.view()?;
    let roles = accounts.roles().map(|(role, user)| json!({ "role": role, "username": user }));
    page(api, call, roles, &["role", "username"])
}

/// A page of permissions.
pub(super) fn permissions(api: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
    let accounts = api.administration(call)?.view()?;
    let shown = accounts.permissions(None).map(|(role, permission)| {
        let (resource, action) = (&*permission.resource, &*permission.action);
        json!({ "role": role, "resource": resource, "action": action })
    });
    page(api, call, shown, &["role"])
}

/// A page of those whose fields are what the request asks for: accurately, or with `search=blur`
/// those that have it in them, where `*` stands for anything.
fn page(
    api: &Api,
    call: &Call<'_>,
    items: impl Iterator<Item = Value>,
    fields: &[&str],
) -> Result<Answer, Fault> {
    all_given(call, &["pageNo", "pageSize"])?;
    let paging = Paging::of(call, 1)?;
    if paging.size > MOST_ON_PAGE {
        return Err(Fault::illegal("pageSize", format_args!("it is above {MOST_ON_PAGE}")));
    }
    let is_blurred = match call.params.optional("search").as_deref() {
        None | Some("accurate") => false,
        Some("blur") => true,
        Some(_) => return Err(Fault::illegal("search", "it is neither accurate nor blur")),
    };
    let is_meant = |item: &Value| {
        fields.iter().all(|field| {
            let Some(wanted) = call.params.optional(field) else { return true };
            let name = item[*field].as_str().unwrap_or_default();
            if is_blurred { NamePattern::new(&wanted).is_in(name) } else { name == wanted }
        })
    };
    let meant: Vec<Value> = items.filter(is_meant).collect();
    let count = meant.len();
    let on_page: Vec<Value> = paging.page().of(meant.into_iter()).collect();
    Ok(long_data(api, &paging.json(count, &json!(on_page).to_string()), "pageSize")?.into())
}

/// The names of users that contain a text.
pub(super) fn search_users(api: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
    let accounts = api.administration(call)?.view()?;
    let part = call.params.raw("username").unwrap_or_default();
    let names = accounts.users().map(|(name, _)| name).filter(|name| name.contains(&*part));
    Ok(data(&json!(names.collect::<Vec<_>>())).into())
}

/// The names of roles that contain a text.
pub(super) fn search_roles(api: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
    let accounts = api.administration(call)?.view()?;
    let part = call.params.raw("role").unwrap_or_default();
    let mut names: Vec<&str> = accounts.roles().map(|(role, _)| role).collect();
    names.retain(|name| name.contains(&*part));
    names.dedup();
    Ok(data(&json!(names)).into())
}
