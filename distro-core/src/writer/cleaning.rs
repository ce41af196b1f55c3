//! Which datums are listed: the local clean-up.

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
            self.visible = true;
        }
        is_left_over
    }
}
