//! Giving out durable records, and taking them back.
//!
//! Both are for administrators, who may do all of it one by one already. What is new to them are the
//! password hashes: they are given only while authentication is on, so that nobody but a user who
//! has proved to be an administrator gets them.

use std::sync::Arc;

use super::accounts::{MAX_PERMISSIONS, MAX_ROLES, MAX_USERS, check_limit};
use super::begun::finished;
use super::namespaces::MAX_NAMESPACES;
use super::{Caller, Naming, NamingError};
use crate::audit::Parameters;
use crate::registry::{ADMIN_ROLE, BackupPage, Cursor, Item, RegistryError, Unreadable, Write};

/// One step of a restoration.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) item: Item,
    /// Whether the record goes; else it becomes what the item says.
    pub(crate) is_removal: bool,
    /// Whether the health of an instance is that of the item, since nothing checks it.
    pub(crate) by_hand: bool,
}

/// What became of a step: why it was not done, if it was not.
pub(crate) type StepOutcome = Result<(), String>;

impl Naming {
    /// A page of the durable records, with users and their rights if `with_accounts`.
    ///
    /// # Errors
    /// The caller is no administrator; authentication is off, and there are users all the same; a
    /// record that only a later release can read.
    pub(crate) fn backup_page(
        &self,
        caller: &Caller<'_>,
        after: &Cursor,
        with_accounts: bool,
    ) -> Result<BackupPage, NamingError> {
        self.check_administrator(caller)?;
        if with_accounts && self.auth.is_none() && !self.registry.accounts.load().is_empty() {
            return Err(NamingError::AuthIsOff);
        }
        let page = self.registry.backup_page(after, with_accounts);
        page.map_err(|error: Unreadable| RegistryError::Conflict(error.to_string()).into())
    }

    /// Carries out steps, in their order where they are about one record. One that fails holds up
    /// no other; the outcomes are in the order of the steps.
    ///
    /// # Errors
    /// The caller is no administrator. Nothing was done then.
    pub(crate) fn restore(
        self: &Arc<Self>,
        caller: &Caller<'_>,
        steps: Vec<Step>,
    ) -> Write<Result<Vec<StepOutcome>, NamingError>> {
        if let Err(error) = self.check_administrator(caller) {
            return Write::Done(Err(error));
        }
        let about = Parameters(vec![("records", steps.len().to_string())]);
        let (naming, actor) = (Arc::clone(self), caller.actor());
        let user = caller.user.map(str::to_owned);
        let one = move |step| naming.restore_one(user.as_deref(), step, &actor);
        self.watched(
            caller,
            "backup_restore",
            || about,
            || match Write::each(steps, one) {
                Write::Sent(later) => Write::Sent(finished(later)),
                done => done,
            },
        )
    }

    fn restore_one(
        &self,
        user: Option<&str>,
        step: Step,
        actor: &str,
    ) -> Write<Result<StepOutcome, NamingError>> {
        let Step { item, is_removal, by_hand } = step;
        let actor = || actor.to_owned();
        let write = match self.check_step(user, &item, is_removal) {
            Err(error) => Write::Done(Err(error)),
            Ok(()) if is_removal => self.writes.remove_restored(item, &actor).map(convert),
            Ok(()) => self.writes.restore(item, by_hand, &actor).map(convert),
        };
        write.map(|outcome| Ok(outcome.map_err(|error| error.to_string())))
    }

    /// Checks what is checked of such a record when it is written alone.
    fn check_step(
        &self,
        user: Option<&str>,
        item: &Item,
        is_removal: bool,
    ) -> Result<(), NamingError> {
        if item.is_account() && self.auth.is_none() {
            return Err(NamingError::AuthIsOff);
        }
        let accounts = self.registry.accounts.load();
        let limits = match item {
            Item::User { name, .. } | Item::Role { role: _, user: name } if is_removal => {
                let is_of_admin = !matches!(item, Item::Role { role, .. } if role != ADMIN_ROLE);
                let is_last = accounts.is_admin(name) && accounts.admins().all(|one| one == name);
                if is_of_admin && (is_last || user == Some(name)) {
                    let text = "neither the last administrator can be removed nor the one who asks";
                    return Err(RegistryError::Conflict(text.to_owned()).into());
                }
                Ok(())
            }
            _ if is_removal => Ok(()),
            Item::User { name, .. } if accounts.has_user(name) => Ok(()),
            Item::User { .. } => check_limit("users", accounts.users().len(), MAX_USERS),
            Item::Role { role, user } if accounts.users_of(role).any(|one| one == user) => Ok(()),
            Item::Role { .. } => check_limit("roles", accounts.role_count(), MAX_ROLES),
            Item::Permission { .. } => {
                check_limit("permissions", accounts.permission_count(), MAX_PERMISSIONS)
            }
            Item::Namespace { id, .. } if self.has_namespace(id) => Ok(()),
            Item::Namespace { .. } => {
                check_limit("namespaces", self.namespaces().len(), MAX_NAMESPACES)
            }
            _ => Ok(()),
        };
        Ok(limits?)
    }
}

fn convert(written: Result<(), RegistryError>) -> Result<(), NamingError> {
    written.map_err(NamingError::from)
}
