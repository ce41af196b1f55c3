//! Which datums this member lists: one that stays empty leaves the list.

use super::*;

/// One number for the [sums of open tags](Store::open_sum) of all slots.
pub(crate) fn open_root(sums: impl Iterator<Item = u64>) -> u64 {
    let mut hash = Xxh3::new();
    sums.for_each(|sum| hash.update(&sum.to_le_bytes()));
    hash.digest()
}

impl<V: Value, A: Default + Send + Sync + 'static> Store<V, A> {
    /// One number for all tags that are listed: the checksum of those of all slots.
    pub(crate) fn open_root(&self) -> u64 {
        open_root(Slot::all().map(|slot| self.open_sum(slot)))
    }

    /// The sum of the tags of a slot that are listed: equal on two members that list the same.
    pub(crate) fn open_sum(&self, slot: Slot) -> u64 {
        self.shared.slots[slot.index()].open.load(Ordering::Relaxed)
    }

    /// One look at a datum that may be left over. If this is the `looks`th look in a row that finds
    /// it open and empty, or any look while its slot [is crowded](Self::is_crowded_slot), this member
    /// does not list it any more: it is not [open](crate::Reader::is_open). Returns whether that
    /// happened just now.
    ///
    /// This is housekeeping of this member alone: other members never hear of it, and nothing that
    /// they say is weighed against it. What was removed or expired stays remembered. A registration,
    /// or the refutation of an expiry, lists the datum again by itself.
    pub fn clean_up(&self, datum: &Arc<Datum<V, A>>, looks: u8, now: Tick) -> bool {
        let is_crowded = self.is_crowded_slot(datum.slot());
        if !datum.is_left_over(if is_crowded { 1 } else { looks }) {
            return false;
        }
        if !self.shared.config.rules.local_cleanup() {
            return self.close_left_over(datum, now);
        }
        let cleaned = self.update_existing(datum.tag(), now, |writer| writer.clean_up());
        self.collect(datum);
        cleaned == Some(true)
    }

    /// The wrong way, which only the simulation takes: the owner closes the datum, and that removal
    /// outdoes what others know better.
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
