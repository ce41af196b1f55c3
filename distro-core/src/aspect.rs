//! A record as others see it.

use std::sync::Arc;

use crate::record::{Health, Record, Value};

/// What others can tell of a record, before or after a change.
pub(crate) struct Aspect<V> {
    pub(crate) shown: Option<(Arc<V>, Health)>,
    pub(crate) fingerprint: u64,
}

impl<V: Value> Aspect<V> {
    pub(crate) fn of(record: &Record<V>, tag: &str, key: &str) -> Self {
        let value = record.value.as_ref().filter(|_| record.is_visible());
        Self {
            shown: value.map(|value| (Arc::clone(value), record.health())),
            fingerprint: record.fingerprint(tag, key),
        }
    }

    pub(crate) fn shows_like(&self, other: &Self) -> bool {
        match (&self.shown, &other.shown) {
            (None, None) => true,
            (Some((a, a_health)), Some((b, b_health))) => a_health == b_health && a.shows_like(b),
            _ => false,
        }
    }
}
