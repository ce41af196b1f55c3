//! Users, their roles, and what roles may do.
//!
//! Each user, each role of a user and each permission of a role is a record of its own, so that
//! changes on different members add up. Requests look at a compiled form of the records, which
//! never changes: a new one takes its place with every change, here or on another member.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use parking_lot::Mutex;

use super::{Content, NamingDatum, PERMISSIONS, ROLES, USERS};

mod name;
mod pattern;

pub(crate) use name::{
    Permission, check_name, check_permission, is_password_hash, permission_key, role_key,
};
pub(super) use name::{read_permission_key, read_role_key};
use pattern::Pattern;
pub(crate) use pattern::{Action, Resource};

/// Role whose users may do everything.
pub(crate) const ADMIN_ROLE: &str = "ROLE_ADMIN";

/// The users and their rights as of now. Read on every request without a lock.
pub(crate) struct Accounts {
    view: ArcSwap<AccountsView>,
    /// Held by the thread that makes a new view, so that no change is lost.
    writing: Mutex<()>,
}

impl Default for Accounts {
    fn default() -> Self {
        Self { view: ArcSwap::from_pointee(AccountsView::default()), writing: Mutex::new(()) }
    }
}

/// The users and their rights at one moment.
#[derive(Clone, Default)]
pub(crate) struct AccountsView {
    users: Arc<Users>,
    roles: Arc<Roles>,
    permissions: Arc<Permissions>,
}

/// Password hashes by user name.
type Users = BTreeMap<Box<str>, Arc<str>>;

/// Who has which role, both ways.
#[derive(Default)]
struct Roles {
    of_user: BTreeMap<Box<str>, BTreeSet<Box<str>>>,
    users: BTreeMap<Box<str>, BTreeSet<Box<str>>>,
    count: usize,
}

/// What each role may do.
#[derive(Default)]
struct Permissions {
    of_role: BTreeMap<Box<str>, Vec<(Permission, Pattern)>>,
    count: usize,
}

impl Accounts {
    /// As of now.
    pub(crate) fn load(&self) -> Guard<Arc<AccountsView>> {
        self.view.load()
    }

    /// Whether this is the tag of records that are followed here.
    pub(super) fn is_tag(tag: &str) -> bool {
        matches!(tag, USERS | ROLES | PERMISSIONS)
    }

    /// Takes over the records. Called after every change of the datum: the last call sees the last
    /// state, however the calls overlap.
    pub(super) fn follow(&self, datum: &NamingDatum) {
        let _writing = self.writing.lock();
        let mut view = AccountsView::clone(&self.view.load());
        match &**datum.tag() {
            USERS => view.users = Arc::new(read_users(datum)),
            ROLES => view.roles = Arc::new(read_roles(datum)),
            PERMISSIONS => view.permissions = Arc::new(read_permissions(datum)),
            _ => return,
        }
        self.view.store(Arc::new(view));
    }
}

fn read_users(datum: &NamingDatum) -> Users {
    datum.read(|reader| {
        let users = reader.visible().filter_map(|(name, _, content)| match &**content {
            Content::User(hash) => Some((Box::from(&**name), Arc::clone(hash))),
            _ => None,
        });
        users.collect()
    })
}

fn read_roles(datum: &NamingDatum) -> Roles {
    let mut roles = Roles::default();
    datum.read(|reader| {
        for (key, _, content) in reader.visible() {
            if let (Some((role, user)), Content::Grant) = (read_role_key(key), &**content) {
                roles.of_user.entry(user.into()).or_default().insert(role.into());
                roles.users.entry(role.into()).or_default().insert(user.into());
                roles.count += 1;
            }
        }
    });
    roles
}

fn read_permissions(datum: &NamingDatum) -> Permissions {
    let mut permissions = Permissions::default();
    datum.read(|reader| {
        for (key, _, content) in reader.visible() {
            if let (Some((role, permission)), Content::Grant) =
                (read_permission_key(key), &**content)
            {
                let pattern = Pattern::new(&permission.resource);
                let of_role = permissions.of_role.entry(role.into()).or_default();
                of_role.push((permission, pattern));
                permissions.count += 1;
            }
        }
    });
    permissions
}

impl AccountsView {
    /// Users with these password hashes, who may do nothing.
    #[cfg(test)]
    pub(crate) fn of_users(users: &[(&str, &str)]) -> Self {
        let user = |(name, hash): &(&str, &str)| (Box::from(*name), Arc::from(*hash));
        Self { users: Arc::new(users.iter().map(user).collect()), ..Self::default() }
    }

    /// The password hash of a user, `None` if there is no such user.
    pub(crate) fn password_hash(&self, user: &str) -> Option<&Arc<str>> {
        self.users.get(user)
    }

    /// Whether there is such a user.
    pub(crate) fn has_user(&self, user: &str) -> bool {
        self.users.contains_key(user)
    }

    /// Whether there is anybody at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// Users with their password hashes, by name.
    pub(crate) fn users(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.users.iter().map(|(name, hash)| (&**name, &**hash))
    }

    /// Whether this user exists and may do everything.
    pub(crate) fn is_admin(&self, user: &str) -> bool {
        let roles = self.roles.of_user.get(user);
        roles.is_some_and(|roles| roles.contains(ADMIN_ROLE)) && self.has_user(user)
    }

    /// Users who exist and may do everything.
    pub(crate) fn admins(&self) -> impl Iterator<Item = &str> {
        let users = self.roles.users.get(ADMIN_ROLE).into_iter().flatten();
        users.map(|user| &**user).filter(|user| self.has_user(user))
    }

    /// Whether this user exists and may do this.
    pub(crate) fn may(&self, user: &str, action: Action, resource: &Resource<'_>) -> bool {
        if !self.has_user(user) {
            return false;
        }
        let Some(roles) = self.roles.of_user.get(user) else { return false };
        roles.contains(ADMIN_ROLE) || roles.iter().any(|role| self.role_may(role, action, resource))
    }

    fn role_may(&self, role: &str, action: Action, resource: &Resource<'_>) -> bool {
        let permissions = self.permissions.of_role.get(role).into_iter().flatten();
        let mut allowing = permissions.filter(|(permission, _)| permission.allows(action));
        allowing.any(|(_, pattern)| pattern.matches(resource))
    }

    /// Roles of a user.
    pub(crate) fn roles_of(&self, user: &str) -> impl Iterator<Item = &str> {
        self.roles.of_user.get(user).into_iter().flatten().map(|role| &**role)
    }

    /// Users of a role, whether they exist or not.
    pub(crate) fn users_of(&self, role: &str) -> impl Iterator<Item = &str> {
        self.roles.users.get(role).into_iter().flatten().map(|user| &**user)
    }

    /// All roles that somebody has, with each of those, by role.
    pub(crate) fn roles(&self) -> impl Iterator<Item = (&str, &str)> {
        self.roles
            .users
            .iter()
            .flat_map(|(role, users)| users.iter().map(move |user| (&**role, &**user)))
    }

    /// Whether somebody has this role.
    pub(crate) fn has_role(&self, role: &str) -> bool {
        self.roles.users.contains_key(role)
    }

    /// How many roles of users there are.
    pub(crate) fn role_count(&self) -> usize {
        self.roles.count
    }

    /// All permissions by role, or those of one.
    pub(crate) fn permissions<'a>(
        &'a self,
        role: Option<&'a str>,
    ) -> impl Iterator<Item = (&'a str, &'a Permission)> {
        let all = self.permissions.of_role.iter();
        let wanted = all.filter(move |(name, _)| role.is_none_or(|role| role == &***name));
        wanted.flat_map(|(role, permissions)| {
            permissions.iter().map(move |(permission, _)| (&**role, permission))
        })
    }

    /// How many permissions there are.
    pub(crate) fn permission_count(&self) -> usize {
        self.permissions.count
    }
}
