//! Who owns what, as request threads see it.

use std::sync::atomic::Ordering;

use super::{Shared, Store};
use crate::record::Value;
use crate::slot::Slot;
use crate::stamp::MemberId;
use crate::tag_ring::TagRing;
use crate::time::Tick;

impl Shared {
    /// The owner of a tag, whose slot is known.
    pub(super) fn owner(&self, tag: &str, slot: Slot) -> Option<MemberId> {
        match &self.tag_owners {
            None => self.slots[slot.index()].owner(),
            Some(owners) => owners.owner(tag),
        }
    }

    /// Since when silence under a tag is this member's to judge, if it is.
    pub(crate) fn judged_since(&self, tag: &str, slot: Slot) -> Option<Tick> {
        let (rules, state) = (&self.config.rules, &self.slots[slot.index()]);
        let (is_ours, since) = match &self.tag_owners {
            None => {
                let is_ours = state.owner() == Some(self.clock.member());
                (is_ours, Tick::from_ms(state.since_ms.load(Ordering::Acquire)))
            }
            Some(owners) => {
                let since = owners.owned_since(tag, self.clock.member());
                (since.is_some(), since.unwrap_or(Tick::ZERO))
            }
        };
        let since = if rules.takeover_grace { since } else { Tick::ZERO };
        (is_ours || !rules.owner_judges).then_some(since)
    }
}

impl<V: Value, A: Default + Send + Sync + 'static> Store<V, A> {
    /// The member that owns a tag in this member's view; `None` if none may. A hash of the tag and
    /// one atomic load, or, where tags fall to members one by one, a lock for as long.
    pub fn owner(&self, tag: &str) -> Option<MemberId> {
        self.shared.owner(tag, Slot::of(tag))
    }

    /// Whether this member owns the tag.
    pub fn owns(&self, tag: &str) -> bool {
        self.owner(tag) == Some(self.shared.clock.member())
    }

    /// How much of all tags this member owns, in slots: all is [`SLOT_COUNT`](crate::SLOT_COUNT).
    pub fn share(&self) -> usize {
        let member = self.shared.clock.member();
        let owned = || self.shared.slots.iter().filter(|slot| slot.owner() == Some(member)).count();
        self.shared.tag_owners.as_ref().map_or_else(owned, |owners| owners.share(member))
    }

    pub(crate) fn set_owner(&self, slot: Slot, owner: Option<MemberId>, since: Tick) {
        self.shared.slots[slot.index()].set_owner(owner, since);
    }

    /// Puts a ring of tags into force; nothing where tags fall to members by slots.
    pub(crate) fn set_tag_ring(&self, ring: TagRing, since: Tick) {
        if let Some(owners) = &self.shared.tag_owners {
            owners.set(ring, since);
        }
    }
}
