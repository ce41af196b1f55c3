//! Records that belong to no service, on their way to the owner of their tag.

use super::Writes;
use crate::registry::{Content, RegistryError, Write};

impl Writes {
    /// As [`Registry::write_record`].
    pub(crate) fn write_record(
        &self,
        tag: &str,
        key: &str,
        content: Option<Content>,
    ) -> Write<Result<(), RegistryError>> {
        let write = match self.at_owner_of(tag) {
            None => self.here(|now| {
                self.registry.write_record(now, tag, key, content);
                Ok(())
            }),
            Some(owner) => {
                let write = owner.write_record(tag.to_owned(), key.to_owned(), content);
                Write::Sent(Box::pin(write))
            }
        };
        self.durably((tag, key), write)
    }
}
