//! `/v1/auth/roles` and `/v1/auth/permissions`: who may do what.

use serde_json::json;

use super::Api;
use super::users::{Voice, paged, required};
use crate::http::{Answer, ApiError, Call, Reply};

impl Api {
    /// Those of one user, or all.
    pub(super) fn list_roles(&self, call: &Call<'_>) -> Result<Reply, ApiError> {
        let accounts = self.administration(call)?.view()?;
        let user = call.params.optional("username");
        let wanted = |(_, name): &(&str, &str)| user.as_deref().is_none_or(|user| user == *name);
        let count = accounts.roles().filter(wanted).count();
        let shown = |(role, user)| json!({ "role": role, "username": user });
        paged(call, count, accounts.roles().filter(wanted).map(shown))
    }

    /// Names that contain a text, all for the empty one.
    pub(super) fn search_roles(&self, call: &Call<'_>) -> Result<Reply, ApiError> {
        let accounts = self.administration(call)?.view()?;
        let part = call.params.raw("role").map_or_else(|| call.params.required("role"), Ok)?;
        let mut names: Vec<&str> = accounts.roles().map(|(role, _)| role).collect();
        names.retain(|name| name.contains(&*part));
        names.dedup();
        Ok(Reply::json(json!(names).to_string()))
    }

    /// Gives a role to a user. Giving it twice is as good as once, so that a call can be repeated.
    pub(in crate::http) fn add_role(
        &self,
        call: &Call<'_>,
        voice: &'static Voice,
    ) -> Result<Answer, ApiError> {
        let users = self.administration(call)?;
        let (role, user) = (required(call, "role")?, required(call, "username")?);
        voice.said(users.add_role(&role, &user), "add role ok!")
    }

    /// Takes a role from a user, or from all. What the role may do stays.
    pub(in crate::http) fn delete_role(
        &self,
        call: &Call<'_>,
        voice: &'static Voice,
    ) -> Result<Answer, ApiError> {
        let users = self.administration(call)?;
        let role = required(call, "role")?;
        let user = call.params.raw("username").unwrap_or_default();
        let message = format!("delete role of user {user} ok!");
        voice.said(users.delete_role(&role, &user), message)
    }

    /// Those of one role, or all.
    pub(super) fn list_permissions(&self, call: &Call<'_>) -> Result<Reply, ApiError> {
        let accounts = self.administration(call)?.view()?;
        let role = call.params.optional("role");
        let count = accounts.permissions(role.as_deref()).count();
        let shown = accounts.permissions(role.as_deref()).map(|(role, permission)| {
            let (resource, action) = (&*permission.resource, &*permission.action);
            json!({ "role": role, "resource": resource, "action": action })
        });
        paged(call, count, shown)
    }

    /// Allows something to a role that somebody has.
    pub(in crate::http) fn add_permission(
        &self,
        call: &Call<'_>,
        voice: &'static Voice,
    ) -> Result<Answer, ApiError> {
        let users = self.administration(call)?;
        let (role, resource, action) = permission(call)?;
        voice.said(users.add_permission(&role, &resource, &action), "add permission ok!")
    }

    pub(in crate::http) fn delete_permission(
        &self,
        call: &Call<'_>,
        voice: &'static Voice,
    ) -> Result<Answer, ApiError> {
        let users = self.administration(call)?;
        let (role, resource, action) = permission(call)?;
        voice.said(users.delete_permission(&role, &resource, &action), "delete permission ok!")
    }
}

fn permission(call: &Call<'_>) -> Result<(String, String, String), ApiError> {
    Ok((required(call, "role")?, required(call, "resource")?, required(call, "action")?))
}
