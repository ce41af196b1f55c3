//! What a datum without anything to show adds to the memory of removals.

use super::Writer;
use crate::record::Value;

impl<V: Value> Writer<'_, V> {
    /// Counts the datum itself in the memory of removals once readers see none of its records, and
    /// no longer once they see one, or nothing is left of it.
    #[inline]
    pub(super) fn weigh_emptied(&mut self) {
        let is_emptied = self.shelf.shown == 0 && self.is_weight();
        if is_emptied != self.shelf.is_weighed {
            self.weigh_datum(is_emptied);
        }
    }

    /// Whether a datum without anything to show is there for what was removed from it.
    fn is_weight(&self) -> bool {
        match self.shelf.is_open() {
            true => !self.shared.config.keeps_empty,
            false => !self.shelf.is_empty(),
        }
    }

    #[cold]
    fn weigh_datum(&mut self, is_emptied: bool) {
        self.shelf.is_weighed = is_emptied;
        let bytes = self.shared.emptied_bytes + self.tag.len() as u64;
        match is_emptied {
            true => self.shared.weigh(self.slot, 0, bytes),
            false => self.shared.weigh(self.slot, bytes, 0),
        }
    }
}
