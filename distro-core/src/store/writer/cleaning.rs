//! Which datums are listed: what follows when one opens or closes, and the local clean-up.

use std::sync::atomic::Ordering;

use xxhash_rust::xxh3::xxh3_64;

use super::Writer;
use crate::record::Value;

impl<V: Value> Writer<'_, V> {
    /// Takes the datum out of what this member lists, if it is open and nothing in it is visible.
    /// Returns whether it was.
    ///
    /// Nothing is stamped and nobody is told, because this member may have expired the records
    /// wrongly while it was cut off. What makes a record visible lists the datum again.
    pub(crate) fn clean_up(&mut self) -> bool {
        let is_left_over = self.shelf.is_open() && self.shelf.visible().next().is_none();
        if is_left_over {
            self.shelf.is_listed = false;
            self.shelf.cleaned = self.shelf.newest_registration;
            self.follow_opening(true);
            self.visible = true;
        }
        is_left_over
    }

    /// Folds in or out that the datum has opened or closed since it `was_open`.
    #[inline]
    pub(super) fn follow_opening(&mut self, was_open: bool) {
        let is_open = self.shelf.is_open();
        let is_apart = self.shelf.is_foreign && self.shared.config.rules.foreign_apart();
        if was_open != is_open && !is_apart {
            self.fold_opening(is_open);
        }
    }

    #[cold]
    pub(super) fn fold_opening(&mut self, is_open: bool) {
        let change = xxh3_64(self.tag.as_bytes());
        let change = if is_open { change } else { change.wrapping_neg() };
        self.shared.slots[self.slot.index()].open.fetch_add(change, Ordering::Relaxed);
    }
}
