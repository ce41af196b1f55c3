//! What an owner knows of a slot once all members have told: read when silence is judged.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::lease::bucket_moment;
use crate::record::Value;
use crate::slot::Slot;
use crate::store::{Shared, Store};
use crate::time::Tick;

/// What was put together of all that members have heard of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SlotAccount {
    /// When they were asked: what they heard before is known here, and they tell the rest as usual.
    pub(crate) asked: Tick,
    /// Since when at least one of them has listened to clients all the time.
    pub(crate) listened_since: Tick,
}

impl Shared {
    /// The account of a slot, if all have given theirs since silence is this member's to judge.
    pub(crate) fn slot_account(&self, slot: Slot, since: Tick) -> Option<SlotAccount> {
        let asked = self.slots[slot.index()].accounted_ms.load(Ordering::Acquire);
        let asked = Tick::from_ms(asked.checked_sub(1)?);
        let listened_since = Tick::from_ms(self.listened_since_ms.load(Ordering::Acquire));
        (asked >= since).then_some(SlotAccount { asked, listened_since })
    }
}

impl<V: Value, A: Default + Send + Sync + 'static> Store<V, A> {
    /// All members were asked at `asked`, or later, for what they heard of a slot, and have told.
    pub(crate) fn set_accounted(&self, slot: Slot, asked: Tick, listened_since: Tick) {
        self.shared.listened_since_ms.store(listened_since.as_ms(), Ordering::Release);
        let accounted_ms = &self.shared.slots[slot.index()].accounted_ms;
        accounted_ms.store(asked.as_ms() + 1, Ordering::Release);
    }

    /// Has every lease of a slot looked at once more, soon.
    pub(crate) fn hasten(&self, slot: Slot, now: Tick) {
        let moment = bucket_moment(now, now);
        for tag in self.tags(slot, None) {
            let Some(datum) = self.find(&tag) else { continue };
            if datum.hasten(moment) {
                self.ring.schedule(moment, Arc::downgrade(&datum));
            }
        }
    }
}
