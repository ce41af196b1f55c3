//! `/v1/auth/roles` and `/v1/auth/permissions`: who may do what.

use serde_json::json;

use super::Api;
use super::users::{Voice, paged, required, said};
use crate::http::{Answer, ApiError, Call, Reply};
use crate::registry::{
    ADMIN_ROLE, Content, PERMISSIONS, ROLES, check_name, check_permission, permission_key, role_key,
};

/// Roles of all users together; more are refused.
const MAX_ROLES: usize = 20_000;
/// Permissions of all roles together; more are refused.
const MAX_PERMISSIONS: usize = 20_000;

impl Api {
    /// Those of one user, or all.
    pub(super) fn list_roles(&self, call: &Call<'_>) -> Result<Reply, ApiError> {
        self.auth()?;
        let user = call.params.optional("username");
        let accounts = self.registry.accounts.load();
        let wanted = |(_, name): &(&str, &str)| user.as_deref().is_none_or(|user| user == *name);
        let count = accounts.roles().filter(wanted).count();
        let shown = |(role, user)| json!({ "role": role, "username": user });
        paged(call, count, accounts.roles().filter(wanted).map(shown))
    }

    /// Names that contain a text, all for the empty one.
    pub(super) fn search_roles(&self, call: &Call<'_>) -> Result<Reply, ApiError> {
        self.auth()?;
        let part = call.params.raw("role").map_or_else(|| call.params.required("role"), Ok)?;
        let accounts = self.registry.accounts.load();
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
        self.auth()?;
        let (role, user) = (required(call, "role")?, required(call, "username")?);
        check_name("role", &role)?;
        let accounts = self.registry.accounts.load();
        if !accounts.has_user(&user) {
            return Err(ApiError::bad_request(format!("user '{user}' not found!")));
        }
        if role == ADMIN_ROLE {
            let text = format!("role '{ADMIN_ROLE}' is not permitted to create!");
            return Err(ApiError::bad_request(text));
        }
        check_limit("roles", accounts.role_count(), MAX_ROLES)?;
        let key = role_key(&role, &user);
        let write = self.writes.write_record(ROLES, &key, Some(Content::Grant));
        Ok(said(write, "add role ok!", voice))
    }

    /// Takes a role from a user, or from all. What the role may do stays.
    pub(in crate::http) fn delete_role(
        &self,
        call: &Call<'_>,
        voice: &'static Voice,
    ) -> Result<Answer, ApiError> {
        self.auth()?;
        let role = required(call, "role")?;
        let user = call.params.raw("username").unwrap_or_default();
        let accounts = self.registry.accounts.load();
        let is_meant = |name: &str| user.trim().is_empty() || name == user;
        if role == ADMIN_ROLE && accounts.admins().all(is_meant) {
            let text = "the last administrator cannot be removed; create another one first";
            return Err(ApiError::bad_request(text));
        }
        let users = accounts.users_of(&role).filter(|name| is_meant(name));
        let keys = users.map(|user| (ROLES, role_key(&role, user))).collect();
        Ok(self.remove_records(keys, &format!("delete role of user {user} ok!"), voice))
    }

    /// Those of one role, or all.
    pub(super) fn list_permissions(&self, call: &Call<'_>) -> Result<Reply, ApiError> {
        self.auth()?;
        let role = call.params.optional("role");
        let accounts = self.registry.accounts.load();
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
        self.auth()?;
        let (role, resource, action) = permission(call)?;
        check_permission(&resource, &action)?;
        let accounts = self.registry.accounts.load();
        if !accounts.has_role(&role) {
            return Err(ApiError::bad_request(format!("role {role} not found!")));
        }
        check_limit("permissions", accounts.permission_count(), MAX_PERMISSIONS)?;
        let key = permission_key(&role, &resource, &action);
        let write = self.writes.write_record(PERMISSIONS, &key, Some(Content::Grant));
        Ok(said(write, "add permission ok!", voice))
    }

    pub(in crate::http) fn delete_permission(
        &self,
        call: &Call<'_>,
        voice: &'static Voice,
    ) -> Result<Answer, ApiError> {
        self.auth()?;
        let (role, resource, action) = permission(call)?;
        let accounts = self.registry.accounts.load();
        // Of what is unknown no trace must remain.
        let is_known = accounts
            .permissions(Some(&role))
            .any(|(_, known)| *known.resource == *resource && *known.action == *action);
        let key = is_known.then(|| (PERMISSIONS, permission_key(&role, &resource, &action)));
        Ok(self.remove_records(key.into_iter().collect(), "delete permission ok!", voice))
    }
}

fn permission(call: &Call<'_>) -> Result<(String, String, String), ApiError> {
    Ok((required(call, "role")?, required(call, "resource")?, required(call, "action")?))
}

fn check_limit(what: &str, count: usize, most: usize) -> Result<(), ApiError> {
    if count < most {
        return Ok(());
    }
    Err(ApiError::bad_request(format!("the limit of {most} {what} is reached")))
}
