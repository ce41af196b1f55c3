//! Users, roles and permissions.

use std::sync::Arc;

use arc_swap::Guard;

use super::begun::{begun, finished};
use super::{Caller, Naming, NamingError};
use crate::audit::Parameters;
use crate::auth::{Auth, check_password};
use crate::registry::{
    ADMIN_ROLE, AccountsView, Content, Later, PERMISSIONS, ROLES, RegistryError, USERS, Write,
    check_name, check_permission, permission_key, role_key,
};

/// Users kept; more are refused.
pub(super) const MAX_USERS: usize = 10_000;
/// Roles of all users together; more are refused.
pub(super) const MAX_ROLES: usize = 20_000;
/// Permissions of all roles together; more are refused.
pub(super) const MAX_PERMISSIONS: usize = 20_000;

/// Users, roles and permissions, as one caller may see and change them. There is one only while
/// authentication is on.
pub(crate) struct Administration<'a> {
    naming: &'a Arc<Naming>,
    auth: &'a Arc<Auth>,
    caller: Caller<'a>,
}

impl Naming {
    /// What the caller may do about users. Each call checks the right that it needs.
    ///
    /// # Errors
    /// Authentication is off.
    pub(crate) fn administration<'a>(
        self: &'a Arc<Self>,
        caller: Caller<'a>,
    ) -> Result<Administration<'a>, NamingError> {
        let auth = self.auth.as_ref().ok_or(NamingError::AuthIsOff)?;
        Ok(Administration { naming: self, auth, caller })
    }

    /// Writes a user and its roles, one after the other.
    async fn write_user(
        &self,
        name: &str,
        hash: Arc<str>,
        is_admin: bool,
    ) -> Result<(), NamingError> {
        self.writes.write_record(USERS, name, Some(Content::User(hash))).outcome().await?;
        if is_admin {
            let key = role_key(ADMIN_ROLE, name);
            self.writes.write_record(ROLES, &key, Some(Content::Grant)).outcome().await?;
        }
        Ok(())
    }

    fn view_accounts(&self) -> Guard<Arc<AccountsView>> {
        self.registry.accounts.load()
    }

    /// Removes records, one after the other.
    fn remove_records(
        &self,
        keys: Vec<(&'static str, String)>,
    ) -> Write<Result<(), RegistryError>> {
        let remove = |(tag, key): (&'static str, String)| self.writes.write_record(tag, &key, None);
        let removed = Write::all(keys.into_iter().map(remove).collect());
        removed.map(|removed| removed.into_iter().collect())
    }
}

impl Administration<'_> {
    /// All of them.
    ///
    /// # Errors
    /// The caller is no administrator.
    pub(crate) fn view(&self) -> Result<Guard<Arc<AccountsView>>, NamingError> {
        self.naming.check_administrator(&self.caller)?;
        Ok(self.naming.view_accounts())
    }

    /// Makes a user, and an administrator of it at once if `is_admin`.
    ///
    /// # Errors
    /// The caller is no administrator, the name or the password cannot be used, there is such a
    /// user, or there are too many.
    pub(crate) fn create_user(
        &self,
        name: String,
        password: String,
        is_admin: bool,
    ) -> Result<Later<Result<(), NamingError>>, NamingError> {
        let accounts = self.view()?;
        check_name("username", &name)?;
        check_password(&password)?;
        check_new(&accounts, &name)?;
        check_limit("users", accounts.users().len(), MAX_USERS)?;
        let (naming, auth) = (Arc::clone(self.naming), Arc::clone(self.auth));
        let by = self.caller.user.unwrap_or_default().to_owned();
        Ok(self.watch("user_create", named(&name), async move {
            let hash = auth.hash(&by, password).await?;
            // It has taken a while.
            check_new(&naming.view_accounts(), &name)?;
            naming.write_user(&name, hash, is_admin).await
        }))
    }

    /// Makes the first user, an administrator. The front sees to it that its caller may.
    ///
    /// # Errors
    /// There is a user already, or the name or the password cannot be used.
    pub(crate) fn create_first(
        &self,
        name: String,
        password: String,
    ) -> Result<Later<Result<(), NamingError>>, NamingError> {
        check_first(&self.naming.view_accounts())?;
        check_name("username", &name)?;
        check_password(&password)?;
        let (naming, auth) = (Arc::clone(self.naming), Arc::clone(self.auth));
        Ok(self.watch("first_admin", named(&name), async move {
            let hash = auth.hash(&name, password).await?;
            // It has taken a while.
            check_first(&naming.view_accounts())?;
            naming.write_user(&name, hash, true).await
        }))
    }

    /// Whether nobody is there yet, so that a first user may be made.
    ///
    /// # Errors
    /// There is a user.
    pub(crate) fn check_first(&self) -> Result<(), NamingError> {
        check_first(&self.naming.view_accounts())
    }

    /// A new password, one's own or, for an administrator, anybody's.
    ///
    /// # Errors
    /// The caller may not, the password cannot be used, or there is no such user.
    pub(crate) fn change_password(
        &self,
        name: String,
        password: String,
    ) -> Result<Later<Result<(), NamingError>>, NamingError> {
        if self.caller.user != Some(&name) {
            self.naming.check_administrator(&self.caller)?;
        }
        check_password(&password)?;
        check_known(&self.naming.view_accounts(), &name)?;
        let (naming, auth) = (Arc::clone(self.naming), Arc::clone(self.auth));
        let by = self.caller.user.unwrap_or_default().to_owned();
        Ok(self.watch("user_password", named(&name), async move {
            let hash = auth.hash(&by, password).await?;
            // Who was deleted meanwhile must not come back.
            check_known(&naming.view_accounts(), &name)?;
            naming.write_user(&name, hash, false).await
        }))
    }

    /// Deletes a user with all roles, so that the next one of that name begins without rights.
    /// Nothing is done for one that is not there.
    ///
    /// # Errors
    /// The caller is no administrator, or the user is one.
    pub(crate) fn delete_user(&self, name: String) -> Write<Result<(), NamingError>> {
        self.removal("user_delete", &name.clone(), |accounts| {
            if accounts.is_admin(&name) {
                return Err(RegistryError::Conflict(format!("cannot delete admin: {name}")));
            }
            let roles = accounts.roles_of(&name).map(|role| role_key(role, &name));
            let mut keys: Vec<_> = roles.map(|key| (ROLES, key)).collect();
            if accounts.has_user(&name) {
                keys.push((USERS, name));
            }
            Ok(keys)
        })
    }

    /// Gives a role to a user. Giving it twice is as good as once, so that a call can be repeated.
    ///
    /// # Errors
    /// The caller is no administrator, the role cannot be given, there is no such user, or there
    /// are too many roles.
    pub(crate) fn add_role(&self, role: &str, user: &str) -> Write<Result<(), NamingError>> {
        self.grant("role_add", user, ROLES, |accounts| {
            check_name("role", role)?;
            if !accounts.has_user(user) {
                return Err(RegistryError::Missing(format!("user '{user}' not found!")));
            }
            if role == ADMIN_ROLE {
                let text = format!("role '{ADMIN_ROLE}' is not permitted to create!");
                return Err(RegistryError::Invalid(text));
            }
            check_limit("roles", accounts.role_count(), MAX_ROLES)?;
            Ok(role_key(role, user))
        })
    }

    /// Takes a role from a user, or with a blank name from all. What the role may do stays.
    ///
    /// # Errors
    /// The caller is no administrator, or nobody would be any more.
    pub(crate) fn delete_role(&self, role: &str, user: &str) -> Write<Result<(), NamingError>> {
        self.removal("role_delete", user, |accounts| {
            let is_meant = |name: &str| user.trim().is_empty() || name == user;
            if role == ADMIN_ROLE && accounts.admins().all(is_meant) {
                let text =
                    "the last administrator cannot be removed; create another one first".to_owned();
                return Err(RegistryError::Conflict(text));
            }
            let users = accounts.users_of(role).filter(|name| is_meant(name));
            Ok(users.map(|user| (ROLES, role_key(role, user))).collect())
        })
    }

    /// Allows something to a role that somebody has.
    ///
    /// # Errors
    /// The caller is no administrator, nobody has the role, there are too many permissions, or
    /// there is no such resource or action.
    pub(crate) fn add_permission(
        &self,
        role: &str,
        resource: &str,
        action: &str,
    ) -> Write<Result<(), NamingError>> {
        self.grant("permission_add", role, PERMISSIONS, |accounts| {
            check_permission(resource, action)?;
            if !accounts.has_role(role) {
                return Err(RegistryError::Missing(format!("role {role} not found!")));
            }
            check_limit("permissions", accounts.permission_count(), MAX_PERMISSIONS)?;
            Ok(permission_key(role, resource, action))
        })
    }

    /// Takes a permission from a role; nothing is done about one that is not there.
    ///
    /// # Errors
    /// The caller is no administrator.
    pub(crate) fn delete_permission(
        &self,
        role: &str,
        resource: &str,
        action: &str,
    ) -> Write<Result<(), NamingError>> {
        self.removal("permission_delete", role, |accounts| {
            // Of what is unknown no trace must remain.
            let is_known = accounts
                .permissions(Some(role))
                .any(|(_, known)| *known.resource == *resource && *known.action == *action);
            let key = is_known.then(|| (PERMISSIONS, permission_key(role, resource, action)));
            Ok(key.into_iter().collect())
        })
    }

    /// Writes the record that `key` gives once it has checked what there is.
    fn grant(
        &self,
        action: &'static str,
        about: &str,
        tag: &'static str,
        key: impl FnOnce(&AccountsView) -> Result<String, RegistryError>,
    ) -> Write<Result<(), NamingError>> {
        self.change(action, about, |accounts| {
            let key = key(accounts)?;
            Ok(self.naming.writes.write_record(tag, &key, Some(Content::Grant)))
        })
    }

    /// Removes the records that `keys` gives once it has checked what there is.
    fn removal(
        &self,
        action: &'static str,
        about: &str,
        keys: impl FnOnce(&AccountsView) -> Result<Vec<(&'static str, String)>, RegistryError>,
    ) -> Write<Result<(), NamingError>> {
        self.change(action, about, |accounts| Ok(self.naming.remove_records(keys(accounts)?)))
    }

    fn change(
        &self,
        action: &'static str,
        about: &str,
        change: impl FnOnce(&AccountsView) -> Result<Write<Result<(), RegistryError>>, RegistryError>,
    ) -> Write<Result<(), NamingError>> {
        self.naming.watched(
            &self.caller,
            action,
            || named(about),
            || {
                let written = self.view().and_then(|accounts| Ok(change(&accounts)?));
                written.map_or_else(|error| Write::Done(Err(error)), begun)
            },
        )
    }

    /// A change that waits for the hash of a password: noted, and finished once begun.
    fn watch(
        &self,
        action: &'static str,
        about: Parameters,
        change: impl Future<Output = Result<(), NamingError>> + Send + 'static,
    ) -> Later<Result<(), NamingError>> {
        let write = || Write::Sent(finished(Box::pin(change)));
        match self.naming.watched(&self.caller, action, || about, write) {
            Write::Done(outcome) => Box::pin(async { outcome }),
            Write::Sent(later) => later,
        }
    }
}

fn named(name: &str) -> Parameters {
    Parameters(vec![("name", super::short(name).to_owned())])
}

fn check_first(accounts: &AccountsView) -> Result<(), NamingError> {
    if accounts.is_empty() { Ok(()) } else { Err(NamingError::HasUsers) }
}

fn check_new(accounts: &AccountsView, name: &str) -> Result<(), RegistryError> {
    if accounts.has_user(name) {
        return Err(RegistryError::Conflict(format!("user '{name}' already exist!")));
    }
    Ok(())
}

fn check_known(accounts: &AccountsView, name: &str) -> Result<(), RegistryError> {
    if accounts.has_user(name) {
        return Ok(());
    }
    Err(RegistryError::Missing(format!("user {name} not exist!")))
}

pub(super) fn check_limit(what: &str, count: usize, most: usize) -> Result<(), RegistryError> {
    if count < most {
        return Ok(());
    }
    Err(RegistryError::Invalid(format!("the limit of {most} {what} is reached")))
}
