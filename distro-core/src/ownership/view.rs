//! Who owns a tag, and since when: what request threads, writers and judges ask.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use crate::ownership::{OwnerPolicy, TagOwners, TagRing};
use crate::record::Value;
use crate::slot::Slot;
use crate::stamp::MemberId;
use crate::store::{Shared, Store};
use crate::time::Tick;

impl Shared {
    /// The owner of a tag, whose slot is known.
    pub(crate) fn owner(&self, tag: &str, slot: Slot) -> Option<MemberId> {
        match &self.tag_owners {
            None => self.slots[slot.index()].owner(),
            Some(owners) => owners.owner(tag),
        }
    }

    /// Whether the owner of a tag does not speak this protocol.
    pub(crate) fn is_foreign(&self, tag: &str) -> bool {
        self.tag_owners.as_ref().is_some_and(|owners| owners.is_foreign(tag))
    }

    /// The number of the present view of owners: see [`Shared::is_foreign`].
    pub(crate) fn owners_epoch(&self) -> u64 {
        self.tag_owners.as_ref().map_or(0, TagOwners::epoch)
    }

    /// Since when owners are what they are, where tags fall to members one by one.
    pub(crate) fn owners_since(&self) -> Tick {
        self.tag_owners.as_ref().map_or(Tick::ZERO, TagOwners::since)
    }

    /// Since when the owner of a slot is who it is; where tags fall to members one by one, since
    /// when all owners are.
    pub(crate) fn owner_since(&self, slot: Slot) -> Tick {
        let since_ms = || self.slots[slot.index()].since_ms.load(Ordering::Acquire);
        self.tag_owners.as_ref().map_or_else(|| Tick::from_ms(since_ms()), TagOwners::since)
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
        let since = if rules.takeover_grace() { since } else { Tick::ZERO };
        (is_ours || !rules.owner_judges()).then_some(since)
    }
}

impl<V: Value, A: Default + Send + Sync + 'static> Store<V, A> {
    /// Who owns the tags of a slot; nobody while no owner is known, and where owners are counted tag by
    /// tag.
    pub fn owner_of_slot(&self, slot: Slot) -> Option<MemberId> {
        match self.shared.config.owner_policy {
            OwnerPolicy::Slots => self.shared.slots[slot.index()].owner(),
            OwnerPolicy::Tags(_) => None,
        }
    }

    /// The member that owns a tag in this member's view; `None` if none may. A hash of the tag and
    /// one atomic load, or, where tags fall to members one by one, a lock for as long.
    pub fn owner(&self, tag: &str) -> Option<MemberId> {
        self.shared.owner(tag, Slot::of(tag))
    }

    /// Whether this member owns the tag.
    pub fn owns(&self, tag: &str) -> bool {
        self.owner(tag) == Some(self.shared.clock.member())
    }

    /// The member that carries out what concerns all members that speak this protocol: the
    /// [owner](Self::owner), or, if the tag is [foreign](Self::is_foreign), who stands in for it.
    pub fn keeper(&self, tag: &str) -> Option<MemberId> {
        match &self.shared.tag_owners {
            None => self.owner(tag),
            Some(owners) => owners.keeper(tag),
        }
    }

    /// Whether this member is the [keeper](Self::keeper) of a tag.
    pub fn keeps(&self, tag: &str) -> bool {
        self.keeper(tag) == Some(self.shared.clock.member())
    }

    /// Whether the owner of the tag does not speak this protocol
    /// ([`Input::Owners`](crate::Input::Owners)). Its records, durable ones aside, are then what
    /// that owner says ([`Self::take_list`]): members tell each other nothing of them.
    pub fn is_foreign(&self, tag: &str) -> bool {
        self.shared.is_foreign(tag)
    }

    /// Tells the keys under a tag that members compare and give each other.
    pub(crate) fn sharing(&self, tag: &str) -> impl Fn(&str) -> bool + use<'_, V, A> {
        let config = &self.shared.config;
        let is_foreign = config.rules.foreign_apart() && self.is_foreign(tag);
        let tag: Option<Box<str>> = is_foreign.then(|| tag.into());
        move |key| tag.as_ref().is_none_or(|tag| (config.is_durable)(tag, key))
    }

    /// Who carries out a write of this record.
    pub(crate) fn writer_of(&self, tag: &str, key: &str) -> Option<MemberId> {
        if self.is_foreign(tag) && (self.shared.config.is_durable)(tag, key) {
            return self.keeper(tag);
        }
        self.owner(tag)
    }

    /// How much of all tags this member owns, in slots: all is [`SLOT_COUNT`](crate::SLOT_COUNT).
    pub fn share(&self) -> usize {
        let member = self.shared.clock.member();
        let owned = || self.shared.slots.iter().filter(|slot| slot.owner() == Some(member)).count();
        self.shared.tag_owners.as_ref().map_or_else(owned, |owners| owners.share(member))
    }

    /// The slots that this member owns, and how many visible records of a class each of them has:
    /// counted as they change. `None` where tags fall to members one by one.
    pub fn owned_counts(&self, class: usize) -> Option<impl Iterator<Item = (Slot, u64)> + '_> {
        let member = self.shared.clock.member();
        let owned = move |slot: Slot| {
            let state = &self.shared.slots[slot.index()];
            let count = state.visible.get(class).map_or(0, |count| count.load(Ordering::Relaxed));
            (state.owner() == Some(member)).then_some((slot, u64::from(count)))
        };
        self.shared.tag_owners.is_none().then(|| Slot::all().filter_map(owned))
    }

    pub(crate) fn set_owner(&self, slot: Slot, owner: Option<MemberId>, since: Tick) {
        self.shared.slots[slot.index()].set_owner(owner, since);
    }

    /// Puts a ring of tags into force; nothing where tags fall to members by slots. `ours` are
    /// those of its members that speak this protocol; `None` if all do. Datums that become foreign
    /// or cease to be are folded out or in before this returns.
    pub(crate) fn set_tag_ring(
        &self,
        ring: TagRing,
        ours: Option<BTreeSet<MemberId>>,
        since: Tick,
    ) {
        let Some(owners) = &self.shared.tag_owners else { return };
        if owners.set(ring, ours, since) {
            for datum in self.all() {
                // Whoever writes follows the view first.
                self.update_existing(datum.tag(), since, |_| ());
            }
        }
    }
}
