//! Housekeeping: datums that have been empty for long leave the list of this member.

use super::*;

impl<V: Value, A: Default + Send + Sync + 'static> Store<V, A> {
    /// One look at a datum that may be left over. If this is the `looks`th look in a row that finds
    /// it open and empty, this member does not list it any more: it is not
    /// [open](crate::Reader::is_open). Returns whether that happened just now.
    ///
    /// This is housekeeping of this member alone: other members never hear of it, and nothing that
    /// they say is weighed against it. What was removed or expired stays remembered. A registration,
    /// or the refutation of an expiry, lists the datum again by itself.
    pub fn clean_up(&self, datum: &Arc<Datum<V, A>>, looks: u8, now: Tick) -> bool {
        if !datum.is_left_over(looks) {
            return false;
        }
        if !self.shared.config.rules.local_cleanup {
            return self.close_left_over(datum, now);
        }
        let cleaned = self.update_existing(datum.tag(), now, |writer| writer.clean_up());
        self.collect(datum);
        cleaned == Some(true)
    }

    /// What must not be done instead: the owner closes the datum, and the removal outdoes whatever
    /// others know better.
    #[cold]
    fn close_left_over(&self, datum: &Arc<Datum<V, A>>, now: Tick) -> bool {
        let closed = self.keeps(datum.tag()).then(|| {
            self.update_existing(datum.tag(), now, |writer| {
                let is_empty = writer.visible().next().is_none();
                if is_empty {
                    writer.close(self.shared.clock.issue(now));
                }
                is_empty
            })
        });
        closed.flatten() == Some(true)
    }
}
