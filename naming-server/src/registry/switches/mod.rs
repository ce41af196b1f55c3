//! Server-wide settings that operators change at run time.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use parking_lot::Mutex;

mod check;
mod object;
mod values;

pub(crate) use check::MAX_SWITCH_ITEMS;
pub(crate) use object::{SwitchObject, parse_status, parse_version, unsigned};
pub(crate) use values::{CheckPace, ServerStatus, SwitchValues};

/// The switches. Read on every request without a lock.
#[derive(Debug, Default)]
pub(crate) struct Switches {
    values: ArcSwap<SwitchValues>,
    changing: Mutex<()>,
}

/// The values before and after a change.
pub(crate) type Change = (Arc<SwitchValues>, Arc<SwitchValues>);

impl Switches {
    /// The values as of now.
    pub(crate) fn load(&self) -> Guard<Arc<SwitchValues>> {
        self.values.load()
    }

    /// Starts with push switched off, as the configuration asks.
    pub(crate) fn disable_push(&self) {
        let _alone = self.changing.lock();
        let values = SwitchValues::clone(&self.values.load());
        self.values.store(Arc::new(SwitchValues { push_enabled: false, ..values }));
    }

    /// Changes the values, one change at a time. Readers see the old ones until `change` is done.
    ///
    /// # Errors
    /// Those of `change`; nothing is changed then.
    pub(crate) fn change<E>(
        &self,
        change: impl FnOnce(&SwitchValues) -> Result<SwitchValues, E>,
    ) -> Result<Change, E> {
        let _alone = self.changing.lock();
        let before = self.values.load_full();
        let after = Arc::new(change(&before)?);
        self.values.store(Arc::clone(&after));
        Ok((before, after))
    }
}
