//! Records that belong to no service: switches and the names of namespaces. Their tags are none of
//! a service, so nothing that looks for services comes upon them.

use std::sync::Arc;

use distro_core::Health;

use super::{Content, Registry};

/// Tag of the switches; each field is a record under its name.
pub(crate) const SWITCHES: &str = "#switches";
/// Tag of the namespaces; each one is a record under its id.
pub(crate) const NAMESPACES: &str = "#namespaces";

impl Registry {
    /// Writes a record that belongs to no service, or removes it. All members take it over.
    pub(crate) fn write_record(&self, tag: &str, key: &str, content: Option<Content>) {
        let now = self.clock.tick();
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
