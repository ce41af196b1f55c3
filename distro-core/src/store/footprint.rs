//! What one record adds to the sums of its datum, its slot and the store.

use std::sync::Arc;

use crate::config::StoreConfig;
use crate::record::{Health, Record, Value};
use crate::store::tombstone::Term;
use crate::store::{bytes_of, carried_bytes};

/// What a record adds to what is shown, counted and compared, before or after a change.
pub(crate) struct Footprint<V> {
    pub(crate) shown: Option<(Arc<V>, Health)>,
    pub(crate) fingerprint: u64,
    /// How long its removal is remembered; `None` if readers see it.
    pub(crate) term: Option<Term>,
    /// Bytes that its memory takes; 0 if readers see it.
    pub(crate) bytes: u64,
    /// Bytes that it carries; 0 if readers do not see it.
    pub(crate) carried: u64,
}

impl<V: Value> Footprint<V> {
    /// Of a record that is not there.
    pub(crate) const NONE: Self =
        Self { shown: None, fingerprint: 0, term: None, bytes: 0, carried: 0 };

    /// `is_foreign`: the owner of the tag does not speak this protocol.
    pub(crate) fn of(
        record: &Record<V>,
        tag: &str,
        key: &str,
        is_foreign: bool,
        config: &StoreConfig,
    ) -> Self {
        let is_visible = record.is_visible();
        let value = record.value.as_ref().filter(|_| is_visible);
        Self {
            shown: value.map(|value| (Arc::clone(value), record.health())),
            fingerprint: if config.is_apart(is_foreign, tag, key) {
                0
            } else {
                record.fingerprint(tag, key)
            },
            bytes: if is_visible { 0 } else { bytes_of(key, record) },
            carried: value.map_or(0, |value| carried_bytes(tag, key, &**value)),
            term: (!is_visible).then(|| config.term(tag, key, record.registration)),
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
