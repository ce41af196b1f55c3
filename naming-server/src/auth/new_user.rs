//! Users that are there from the start.

use std::fmt;
use std::sync::Arc;

use anyhow::{Result, anyhow};

use super::passwords::{check_password, hash};
use crate::registry::{
    ADMIN_ROLE, Content, ROLES, Registry, RegistryError, USERS, Writes, check_name, role_key,
};

/// A user with a password, to be there when a server runs. The password itself is not kept.
#[derive(Clone)]
pub struct NewUser {
    name: String,
    hash: Arc<str>,
    is_admin: bool,
}

impl NewUser {
    /// A user who may do nothing, or, as an administrator, everything. Takes as long as a log-in,
    /// some 60 ms.
    ///
    /// # Errors
    /// A name that is blank or longer than 128 bytes, a password that is empty or longer than 72.
    pub fn new(name: &str, password: &str, is_admin: bool) -> Result<Self> {
        check_name("username", name)?;
        check_password(password)?;
        let hash = hash(password).map_err(|error| anyhow!("cannot hash the password: {error}"))?;
        Ok(Self { name: name.to_owned(), hash: hash.into(), is_admin })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Writes the user down, with what it may do. It is on disk then.
    ///
    /// # Errors
    /// It is not.
    pub(crate) async fn write_durably(&self, writes: &Writes) -> Result<(), RegistryError> {
        let content = Content::User(Arc::clone(&self.hash));
        writes.write_record(USERS, &self.name, Some(content)).outcome().await?;
        if self.is_admin {
            let key = role_key(ADMIN_ROLE, &self.name);
            writes.write_record(ROLES, &key, Some(Content::Grant)).outcome().await?;
        }
        Ok(())
    }

    /// Writes the user down, with what it may do.
    pub(crate) fn write(&self, registry: &Registry) {
        let now = registry.clock.tick();
        registry.write_record(now, USERS, &self.name, Some(Content::User(Arc::clone(&self.hash))));
        if self.is_admin {
            let key = role_key(ADMIN_ROLE, &self.name);
            registry.write_record(now, ROLES, &key, Some(Content::Grant));
        }
    }
}

impl fmt::Debug for NewUser {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("NewUser").field("name", &self.name).finish_non_exhaustive()
    }
}
