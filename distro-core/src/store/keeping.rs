//! The map from tag to datum: what enters it, what leaves it, and what follows from each write.

use super::*;

impl<V: Value, A: Default + Send + Sync + 'static> Store<V, A> {
    pub(super) fn insert(&self, tag: &str) -> Arc<Datum<V, A>> {
        let tag: Arc<str> = tag.into();
        let entry = self.datums.entry(Arc::clone(&tag));
        let insert = || {
            // Under the shard's lock, as the removal is.
            let datum = Arc::new(Datum::new(Arc::clone(&tag)));
            self.shared.slots[datum.slot().index()].tags.lock().insert(tag);
            datum
        };
        Arc::clone(&entry.or_insert_with(insert))
    }

    /// What a write owes to others once the datum's lock is free again.
    pub(super) fn follow_up(&self, datum: &Arc<Datum<V, A>>, effect: Effect) {
        if let Some(moment) = effect.schedule {
            self.ring.schedule(moment, Arc::downgrade(datum));
        }
        if !effect.forgotten.is_empty() {
            for watcher in &self.watchers {
                watcher.forgotten(datum, &effect.forgotten);
            }
        }
        self.shared.journal.note_changes(datum.tag(), effect.local, effect.spared);
        if !effect.changed.is_empty() || effect.visible {
            for watcher in &self.watchers {
                watcher.changed(datum, &effect.changed, effect.visible);
            }
        } else if effect.wrote_nothing {
            self.collect(datum);
        }
    }

    /// Drops a datum that holds nothing and is not open.
    pub(super) fn collect(&self, datum: &Arc<Datum<V, A>>) {
        if !datum.may_be_dropped() {
            return;
        }
        let dropped = self.datums.remove_if(datum.tag(), |tag, held| {
            let is_gone = Arc::ptr_eq(held, datum) && held.retire();
            if is_gone {
                self.shared.slots[datum.slot().index()].remove_tag(tag);
            }
            is_gone
        });
        if dropped.is_some() {
            self.ring.sweep();
            self.shrink();
        }
    }

    /// Gives the room of the map back once it is far too large for what it holds. Called for each
    /// datum that was dropped, looks at the size for few of them.
    fn shrink(&self) {
        const LOOK_EVERY: usize = 1_024;
        if self.dropped.fetch_add(1, Ordering::Relaxed) % LOOK_EVERY == LOOK_EVERY - 1
            && self.datums.capacity() > 4 * (self.datums.len() + LOOK_EVERY)
        {
            self.datums.shrink_to_fit();
        }
    }
}
