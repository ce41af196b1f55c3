//! Records that belong to no service: switches, the names of namespaces, users and their rights.
//! Their tags are no service keys, so searches for services never find them.

use std::sync::Arc;

use distro_core::{Health, Tick};

use super::{Content, Registry};

/// Tag of the switches; each field is a record under its name.
pub(crate) const SWITCHES: &str = "#switches";
/// Tag of the namespaces; each one is a record under its id.
pub(crate) const NAMESPACES: &str = "#namespaces";
/// Tag of the users; each one is a record under its name.
pub(crate) const USERS: &str = "#users";
/// Tag of the roles of users; each role of each user is a record.
pub(crate) const ROLES: &str = "#roles";
/// Tag of the permissions; each permission of each role is a record.
pub(crate) const PERMISSIONS: &str = "#permissions";

impl Registry {
    /// Writes a record that belongs to no service, or removes it. All members take it over.
    pub(crate) fn write_record(&self, now: Tick, tag: &str, key: &str, content: Option<Content>) {
        self.store.update(tag, now, |writer| {
            // Issued under the lock, like all stamps: see `writes`.
            let stamp = self.store.clock().issue(now);
            match content {
                Some(content) => writer.register(key, stamp, Arc::new(content), Health::Healthy),
                None => _ = writer.deregister(key, stamp),
            }
        });
    }
}
