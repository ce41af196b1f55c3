//! Searches through everything: one at a time.

use std::sync::atomic::{AtomicBool, Ordering};

use super::{Naming, NamingError};
use crate::registry::CLASS_INSTANCE;

/// Services and instances that are looked at so soon that nobody need wait for the end of it.
const SOON_LOOKED_AT: u64 = 100_000;

/// Whether somebody looks at everything.
#[derive(Debug, Default)]
pub(super) struct Looks {
    is_looking: AtomicBool,
}

impl Looks {
    fn look(&self) -> Result<Look<'_>, NamingError> {
        if self.is_looking.swap(true, Ordering::Acquire) {
            return Err(NamingError::Busy("another search through everything is under way"));
        }
        Ok(Look(self))
    }
}

/// A look at everything, until this is dropped.
#[derive(Debug)]
pub(crate) struct Look<'a>(&'a Looks);

impl Drop for Look<'_> {
    fn drop(&mut self) {
        self.0.is_looking.store(false, Ordering::Release);
    }
}

impl Naming {
    /// The right to look at all there is, where that is so much that it takes one: a caller who
    /// looks holds a thread meanwhile.
    ///
    /// # Errors
    /// `Busy` while another caller looks.
    pub(crate) fn look_at_all(&self) -> Result<Option<Look<'_>>, NamingError> {
        let instances = self.registry.store.visible_count(CLASS_INSTANCE);
        let all = instances.saturating_add(self.registry.service_count() as u64);
        (all > SOON_LOOKED_AT).then(|| self.looks.look()).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_looks_at_everything_at_a_time() {
        let looks = Looks::default();
        let look = looks.look().unwrap();
        assert!(looks.look().is_err());
        drop(look);
        drop(looks.look().unwrap());
    }
}
