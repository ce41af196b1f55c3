//! Counting the bytes that visible records carry.

use std::sync::atomic::{AtomicU64, Ordering};

use super::Store;
use crate::record::Value;
use crate::slot::Slot;

const PARTS: usize = 8;

/// A sum in parts: threads that write to different slots seldom write to the same cache line.
#[derive(Default)]
pub(crate) struct Carried([Part; PARTS]);

#[derive(Default)]
#[repr(align(64))]
struct Part(AtomicU64);

impl Carried {
    /// Counts a record of a slot that carried `before` bytes and carries `after` now.
    pub(crate) fn change(&self, slot: Slot, before: u64, after: u64) {
        if before != after {
            let Part(part) = &self.0[slot.index() % PARTS];
            part.fetch_add(after.wrapping_sub(before), Ordering::Relaxed);
        }
    }

    fn sum(&self) -> u64 {
        let parts = self.0.iter().map(|Part(part)| part.load(Ordering::Relaxed));
        parts.fold(0, u64::wrapping_add)
    }
}

/// Bytes that a visible record carries under its tag and key.
pub(crate) fn carried_bytes<V: Value>(tag: &str, key: &str, value: &V) -> u64 {
    u64::try_from(tag.len() + key.len() + value.weight()).unwrap_or(u64::MAX)
}

impl<V: Value, A: Default + Send + Sync + 'static> Store<V, A> {
    /// Bytes that all visible records carry: the [weight](Value::weight) of each with its tag and
    /// key. Counted as they change.
    pub fn carried_bytes(&self) -> u64 {
        self.shared.carried.sum()
    }
}
