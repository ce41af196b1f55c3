//! How many bytes everything in the registry may carry.

use super::content_codec::instance_weight;
use super::{Instance, Registry, RegistryError};

impl Registry {
    /// Whether there is room for what a client writes under a tag and a key: something of the
    /// weight `new` in place of something of the weight `known`. What is no heavier always has
    /// room. What other members write is never refused: members would hold different things.
    ///
    /// # Errors
    /// `Full` if everything together would carry more bytes than it may.
    pub(super) fn check_bytes(
        &self,
        (tag, key): (&str, &str),
        known: Option<usize>,
        new: usize,
    ) -> Result<(), RegistryError> {
        self.check_growth(match known {
            Some(known) => new.saturating_sub(known),
            None => new + tag.len() + key.len(),
        })
    }

    /// The same for a change of an instance that is kept beside it, too: that is written first, and
    /// must not stay if the change is refused.
    ///
    /// # Errors
    /// `Full` if there may be no room for both.
    pub(crate) fn check_kept_change(
        &self,
        known: &Instance,
        changed: &Instance,
    ) -> Result<(), RegistryError> {
        let weight = instance_weight(changed);
        match weight.saturating_sub(instance_weight(known)) {
            0 => Ok(()),
            grown => self.check_growth(grown + weight),
        }
    }

    /// The same for so many bytes more.
    ///
    /// # Errors
    /// `Full` if there is no room for them.
    pub(crate) fn check_growth(&self, bytes: usize) -> Result<(), RegistryError> {
        let limit = self.settings.limits.bytes();
        if limit == 0 || bytes == 0 {
            return Ok(());
        }
        let more = u64::try_from(bytes).unwrap_or(u64::MAX);
        if self.store.carried_bytes().saturating_add(more) <= limit {
            return Ok(());
        }
        Err(RegistryError::Full(format!(
            "the limit of {limit} bytes that all instances and services carry \
             (registry.max_instance_bytes) is reached"
        )))
    }
}
