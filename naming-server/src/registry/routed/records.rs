//! Records that belong to no service, on their way to the owner of their tag.

use super::Writes;
use crate::registry::{Content, RegistryError, Write};

impl Writes {
    /// As [`Registry::write_record`].
    pub(crate) fn write_record(
        &self,
        tag: &'static str,
        key: &str,
        content: Option<Content>,
    ) -> Write<Result<(), RegistryError>> {
        let write = match self.at_owner_of(tag) {
            None => self.here(|now| {
                self.registry.write_record(now, tag, key, content);
                Ok(())
            }),
            Some(owner) => Write::Sent(Box::pin(owner.write_record(tag, key.to_owned(), content))),
        };
        self.durably((tag, key), write)
    }
}
