//! What an owner knows of a slot once all members have told: read when silence is judged.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::lease::bucket_moment;
use crate::record::{Health, LeaseTerms, Value};
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
    /// Whether a member that cannot tell was not waited for.
    pub(crate) lacks: bool,
}

impl SlotAccount {
    /// When a record was last heard, if that is known: `told` by those that could tell. A record
    /// that was still healthy at `event`, though none of them had heard it for its time-out, was
    /// heard by the one that cannot tell: what a client holds at one member only that member hears.
    pub(crate) fn known(
        &self,
        told: Tick,
        health: Health,
        lease: LeaseTerms,
        event: Tick,
    ) -> Option<Tick> {
        let by_nobody = told.after(lease.unhealthy_after) < event;
        let was_heard_elsewhere = self.lacks && health == Health::Healthy && by_nobody;
        (!was_heard_elsewhere).then_some(told)
    }
}

impl Shared {
    /// The account of a slot, if all have given theirs since silence is this member's to judge.
    pub(crate) fn slot_account(&self, slot: Slot, since: Tick) -> Option<SlotAccount> {
        let accounted = self.slots[slot.index()].accounted.load(Ordering::Acquire);
        let (asked, lacks) = (Tick::from_ms((accounted / 2).checked_sub(1)?), accounted % 2 == 1);
        let listened_since = Tick::from_ms(self.listened_since_ms.load(Ordering::Acquire));
        (asked >= since).then_some(SlotAccount { asked, listened_since, lacks })
    }
}

impl<V: Value, A: Default + Send + Sync + 'static> Store<V, A> {
    /// All members were asked at `account.asked`, or later, for what they heard of a slot, and have
    /// told.
    pub(crate) fn set_accounted(&self, slot: Slot, account: SlotAccount) {
        let SlotAccount { asked, listened_since, lacks } = account;
        self.shared.listened_since_ms.store(listened_since.as_ms(), Ordering::Release);
        let accounted = 2 * (asked.as_ms() + 1) + u64::from(lacks);
        self.shared.slots[slot.index()].accounted.store(accounted, Ordering::Release);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_a_lost_member_can_have_heard_is_not_known() {
        let seconds = std::time::Duration::from_secs;
        let lease = LeaseTerms { unhealthy_after: seconds(15), expire_after: seconds(30) };
        let at = |second: u64| Tick::from_ms(second * 1_000);
        let account = |lacks| SlotAccount { asked: at(101), listened_since: Tick::ZERO, lacks };
        let known = |lacks, told, health| account(lacks).known(at(told), health, lease, at(100));
        // Nobody who tells has heard it for longer than its time-out, and yet it was healthy.
        assert_eq!(known(true, 0, Health::Healthy), None);
        assert_eq!(known(true, 84, Health::Healthy), None);
        // Its owner may not have judged it yet, or has done so.
        assert_eq!(known(true, 85, Health::Healthy), Some(at(85)));
        assert_eq!(known(true, 0, Health::Unhealthy), Some(Tick::ZERO));
        // All have told.
        assert_eq!(known(false, 0, Health::Healthy), Some(Tick::ZERO));
    }
}
