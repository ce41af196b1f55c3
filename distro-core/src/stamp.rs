//! Stamps: the order of changes across members.

use std::sync::atomic::{AtomicU64, Ordering};

use xxhash_rust::xxh3::xxh3_64;

use crate::time::{Now, Tick};

/// How many low bits of a stamp's time count changes within one millisecond.
const COUNTER_BITS: u32 = 16;

/// No wall clock counts for more than the year 3000, in milliseconds since the epoch.
const FURTHEST_WALL_MS: u64 = 32_503_680_000_000;

/// No honest stamp is further ahead of all that a member has issued and seen: 1,100 years. From the
/// epoch to the furthest wall clock are 1,030, and nobody writes 65,536 times in each millisecond of
/// the rest. A bound that does not move would have a greatest stamp, and the next one were illegal.
const FURTHEST_AHEAD: u64 = 34_713_360_000_000 << COUNTER_BITS;

/// Identity of a member: a hash of the address it advertises, equal in every member's view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct MemberId(pub u32);

impl MemberId {
    /// The id of the member that advertises this address.
    pub fn of(address: &str) -> Self {
        // The upper half of the hash; truncation is meant.
        Self((xxh3_64(address.as_bytes()) >> 32) as u32)
    }
}

/// The moment of a change in hybrid time, totally ordered across all members.
///
/// Two changes never share a stamp: the time of one member only grows, and member and start number
/// tell members and their restarts apart. Nothing ever compares a stamp with a wall clock, so a
/// wrong clock costs no data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Stamp {
    // The order of the fields is the order of stamps.
    time: u64,
    member: MemberId,
    incarnation: u32,
}

impl Stamp {
    /// Earlier than every issued stamp: "this has not happened".
    pub const NEVER: Self = Self { time: 0, member: MemberId(0), incarnation: 0 };

    /// No member ever issues a later [`time`](Self::time), however wrong its clock is: it stands
    /// for the year 10000. What claims to be later is broken, and must not get in: once the time of
    /// stamps had come to its end, nothing could ever be written again. Far below it a stamp is
    /// broken that is centuries ahead of all others ([`StampClock::observe`]).
    pub const LATEST_TIME: u64 = 253_402_300_800_000 << COUNTER_BITS;

    /// A stamp from its parts, as they come from a peer.
    pub const fn from_parts(time: u64, member: MemberId, incarnation: u32) -> Self {
        Self { time, member, incarnation }
    }

    /// Hybrid time: milliseconds in the upper 48 bits, a counter in the lower 16.
    pub const fn time(self) -> u64 {
        self.time
    }

    /// The member that issued it.
    pub const fn member(self) -> MemberId {
        self.member
    }

    /// The start number of that member.
    pub const fn incarnation(self) -> u32 {
        self.incarnation
    }

    /// The stamp that ends what was written at this one, and nothing else: greater than this, and
    /// smaller than every other stamp that is.
    pub(crate) const fn just_after(self) -> Self {
        match self.incarnation.checked_add(1) {
            Some(incarnation) => Self { incarnation, ..self },
            None => {
                Self { member: MemberId(self.member.0.saturating_add(1)), incarnation: 0, ..self }
            }
        }
    }

    /// Whether this is [`Self::NEVER`].
    pub const fn is_never(self) -> bool {
        self.time == 0
    }
}

/// Issues the stamps of this member. Shared by all request threads; issuing is one atomic
/// read-modify-write.
#[derive(Debug)]
pub struct StampClock {
    last: AtomicU64,
    /// Wall time of tick zero as read at start. A wall clock that jumps later changes nothing.
    origin_ms: u64,
    member: MemberId,
    incarnation: u32,
}

impl StampClock {
    /// A clock for one start of one member. `incarnation` must differ between two starts whose
    /// stamps may meet; the wall clock in seconds will do.
    pub fn new(member: MemberId, incarnation: u32, now: Now) -> Self {
        let origin_ms = now.wall_ms.saturating_sub(now.tick.as_ms()).min(FURTHEST_WALL_MS);
        Self { last: AtomicU64::new(1), origin_ms, member, incarnation }
    }

    /// The member this clock stamps for.
    pub fn member(&self) -> MemberId {
        self.member
    }

    /// The start number of that member.
    pub fn incarnation(&self) -> u32 {
        self.incarnation
    }

    /// A stamp greater than every one issued or observed before.
    pub fn issue(&self, tick: Tick) -> Stamp {
        let wall_ms = self.origin_ms.saturating_add(tick.as_ms()).min(FURTHEST_WALL_MS);
        let physical = wall_ms << COUNTER_BITS;
        let next = |last: u64| physical.max(last.saturating_add(1));
        let previous = self
            .last
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |last| Some(next(last)))
            .unwrap_or_else(|last| last);
        Stamp { time: next(previous), member: self.member, incarnation: self.incarnation }
    }

    /// A stamp that is older than all that are issued, but not before `least`: its time is that of
    /// the wall clock in milliseconds, where issued ones count parts of them.
    pub(crate) fn slow(&self, tick: Tick, least: u64) -> Stamp {
        let wall_ms = self.origin_ms.saturating_add(tick.as_ms()).min(FURTHEST_WALL_MS);
        let time = wall_ms.max(least).min(Stamp::LATEST_TIME);
        let stamp = Stamp { time, member: self.member, incarnation: self.incarnation };
        self.adopt(stamp);
        stamp
    }

    /// Takes note of a stamp from elsewhere, so that later ones of ours are greater even if the
    /// other clock runs ahead, be it by centuries. Returns false, and ignores it, if nobody can have
    /// issued it: it is 1,100 years ahead of all that this member has issued and seen. What has it
    /// must not be merged: every later stamp would be as far ahead, and others would refuse it.
    ///
    /// One broken stamp below that costs as many years of the room there is, and is legal for all
    /// members, as are those that come after it.
    #[must_use]
    pub fn observe(&self, stamp: Stamp) -> bool {
        let last = self.last.load(Ordering::Acquire);
        if stamp.time <= last {
            return true;
        }
        let reached = last.max(self.origin_ms << COUNTER_BITS);
        let is_believable = stamp.time <= reached.saturating_add(FURTHEST_AHEAD);
        if is_believable {
            self.adopt(stamp);
        }
        is_believable
    }

    /// Takes note of a stamp that this member has believed before, if it is within
    /// [`Stamp::LATEST_TIME`].
    pub(crate) fn adopt(&self, stamp: Stamp) {
        if stamp.time <= Stamp::LATEST_TIME {
            self.last.fetch_max(stamp.time, Ordering::AcqRel);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock(wall_ms: u64) -> StampClock {
        StampClock::new(MemberId(7), 1, Now { tick: Tick::ZERO, wall_ms })
    }

    #[test]
    fn stamps_grow_within_one_millisecond_and_across_them() {
        let clock = clock(1_700_000_000_000);
        let mut last = Stamp::NEVER;
        for ms in [0, 0, 0, 1, 1, 5, 4, 4, 9] {
            let stamp = clock.issue(Tick::from_ms(ms));
            assert!(stamp > last);
            last = stamp;
        }
    }

    #[test]
    fn a_clock_behind_issues_greater_stamps_than_those_it_has_seen() {
        let ahead = clock(1_700_000_000_000).issue(Tick::ZERO);
        let behind = clock(1_000);
        assert!(behind.issue(Tick::ZERO) < ahead);
        assert!(behind.observe(ahead));
        assert!(behind.issue(Tick::ZERO) > ahead);
    }

    #[test]
    fn an_absurd_stamp_or_wall_clock_leaves_room_for_later_ones() {
        let sane = clock(1_000);
        assert!(!sane.observe(Stamp::from_parts(u64::MAX, MemberId(1), 1)));
        assert!(!sane.observe(Stamp::from_parts(Stamp::LATEST_TIME, MemberId(1), 1)));
        assert_eq!(sane.issue(Tick::ZERO).time(), 1_000 << COUNTER_BITS);
        let absurd = clock(u64::MAX);
        let first = absurd.issue(Tick::from_ms(u64::MAX));
        assert!(first < absurd.issue(Tick::ZERO) && first.time() < Stamp::LATEST_TIME - (1 << 60));
        assert!(sane.observe(first));
        assert!(sane.issue(Tick::ZERO) > first);
    }

    #[test]
    fn after_the_greatest_stamp_that_is_believed_the_next_one_is_believed_by_all() {
        let now = 1_700_000_000_000;
        let [hit, other, fresh] = [clock(now), clock(now - 3_600_000), clock(now)];
        let broken = |time| Stamp::from_parts(time, MemberId(1), 1);
        let mut greatest = hit.issue(Tick::ZERO).time() + FURTHEST_AHEAD;
        assert!(!hit.observe(broken(greatest + 1)));
        assert!(hit.observe(broken(greatest)));
        // An hour later, by a clock an hour behind and by one that has seen nothing.
        let later = Tick::from_ms(3_600_001);
        let next = hit.issue(later);
        assert!(next.time() > greatest);
        other.issue(later);
        fresh.issue(later);
        assert!(other.observe(next) && fresh.observe(next));
        // Several in a row do not come to the end of all stamps.
        for _ in 0..5 {
            greatest = hit.issue(later).time() + FURTHEST_AHEAD;
            assert!(hit.observe(broken(greatest)) && hit.issue(later).time() <= Stamp::LATEST_TIME);
        }
    }

    #[test]
    fn never_is_before_everything_issued() {
        assert!(Stamp::NEVER < clock(0).issue(Tick::ZERO));
    }
}
