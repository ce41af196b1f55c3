//! Every number of the core that can be set.

use std::time::Duration;

use crate::ownership::OwnerPolicy;
use crate::rules::Rules;
use crate::stamp::Stamp;
use crate::store::Term;

/// Settings of a [`Store`](crate::Store).
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// How long a removed or expired record is remembered, counted from when this member learned
    /// of it. Longer than any cut that should heal without a full load; costs less than
    /// 100 bytes for each removal meanwhile, unless its key is long. Default 1 h.
    pub tombstone_retention: Duration,
    /// About how many bytes all tombstones and all datums that show nothing may take before the slots
    /// that hold most of them keep theirs for [`Self::compensation_window`] only, 10 s at least, as
    /// long as no peer has yet to be told of them. Bounds the memory that a storm of registrations and
    /// removals can take: what peers have yet to be told, and what is not old enough to be forgotten,
    /// may take as much again ([`Store::is_out_of_memory`](crate::Store::is_out_of_memory)). Default
    /// 128 MiB, some 1.3 million removals from datums that show others, or 200,000 datums that show
    /// nothing.
    pub tombstone_bytes: u64,
    /// Whether nobody [cleans up](crate::Store::clean_up) datums that show nothing: those that are
    /// open do not count as memory of removals then, because that cannot be given back. Default false.
    pub keeps_empty: bool,
    /// Tombstones a slot may hold, durable ones aside, before it counts as one of those that hold
    /// most. Default 1,024.
    pub tombstones_per_slot: u32,
    /// Which records, by tag and key, outlive a restart of their member: somebody saves them
    /// and [restores](crate::Store::restore) them. Their removal is remembered for
    /// [`Self::durable_retention`], because a member that comes back after days brings what it
    /// had saved. Asked under the lock of the datum: must be quick, and always say the same.
    /// Default: none.
    pub is_durable: fn(tag: &str, key: &str) -> bool,
    /// How long the removal of a durable record that was ever registered is remembered, counted
    /// anew by each start of a member. Longer than a member may be away and still come back with
    /// what it had saved; shorter than [`Self::tombstone_retention`] makes no sense. The mark of
    /// a removal that found nothing is kept like any other. Default 7 days.
    pub durable_retention: Duration,
    /// Tombstones of durable records a slot may hold before they are kept for
    /// [`Self::tombstone_retention`] only, while all tombstones take more than
    /// [`Self::tombstone_bytes`]. A last bound of the memory that they can take. Default 65,536,
    /// some 5 MB.
    pub durable_tombstones_per_slot: u32,
    /// How long after a deregistration a late beat does not bring the record back. Too short
    /// revives instances whose last beat was slow; too long delays the return of an instance that
    /// only beats. Default 10 s.
    pub compensation_window: Duration,
    /// How long the content of an expired record is kept by a member that heard it, so that an
    /// expiry which turns out to be wrong can be taken back. Longer than any cut after which that
    /// should be possible; costs the memory of the record meanwhile. Default 5 min.
    pub content_retention: Duration,
    /// Local changes that may wait for the control plane. More than that are forgotten, and the
    /// members compare all they hold instead. Default 100,000.
    pub journal_keys: usize,
    /// Seed of the hasher of the tag map. Random in production, so that nobody can choose names
    /// that collide; fixed in simulations. No result depends on it.
    pub hash_seed: u64,
    /// How tags fall to members. All members must have the same. Default by slots.
    pub owner_policy: OwnerPolicy,
    /// For tests that show what a rule is good for.
    #[doc(hidden)]
    pub rules: Rules,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            tombstone_retention: Duration::from_secs(3_600),
            tombstone_bytes: 128 << 20,
            keeps_empty: false,
            tombstones_per_slot: 1_024,
            is_durable: |_, _| false,
            durable_retention: Duration::from_secs(7 * 86_400),
            durable_tombstones_per_slot: 65_536,
            compensation_window: Duration::from_secs(10),
            content_retention: Duration::from_secs(300),
            journal_keys: 100_000,
            hash_seed: 0,
            owner_policy: OwnerPolicy::default(),
            rules: Rules::default(),
        }
    }
}

impl StoreConfig {
    /// Whether members tell each other nothing of a record: its owner does not speak their
    /// protocol, and nobody keeps it.
    pub(crate) fn is_apart(&self, is_foreign: bool, tag: &str, key: &str) -> bool {
        is_foreign && self.rules.foreign_apart() && !(self.is_durable)(tag, key)
    }

    /// How long removals are remembered while there is room.
    pub(crate) fn retention(&self, term: Term) -> Duration {
        match term {
            Term::Usual => self.tombstone_retention,
            Term::Durable => self.durable_retention,
        }
    }

    /// How long the removal of a record is remembered that was registered at `registration`. Who
    /// removes what nobody has ever registered must not make members remember that for days.
    pub(crate) fn term(&self, tag: &str, key: &str, registration: Stamp) -> Term {
        if !registration.is_never() && (self.is_durable)(tag, key) {
            Term::Durable
        } else {
            Term::Usual
        }
    }
}

/// Settings of the protocol state machine, [`Distro`](crate::Distro).
#[derive(Debug, Clone)]
pub struct DistroConfig {
    /// How often the driver is woken to judge leases. A record is judged at most this plus
    /// 100 ms after its deadline. Default 100 ms.
    pub tick_period: Duration,
    /// A tick that comes this much late means that this process was stopped or starved: it
    /// did not listen, so it may not judge. Too small a value makes a busy machine never judge;
    /// above the shortest time-out in use it loses live records. Default 3 s.
    pub pause_threshold: Duration,
    /// Whether silent records are removed at all; unhealthy ones are shown as such either way.
    /// Default true.
    pub expire: bool,
    /// From one probe of a member to the next. Default 1 s.
    pub probe_period: Duration,
    /// How long an answer to any call between members may take. Default 1 s.
    pub call_deadline: Duration,
    /// A request of another member that was on its way for so long is refused, or for as long as
    /// [`Self::call_deadline`] and [`Self::forward_deadline`] if that is longer: nobody waits for
    /// the answer any more. Too short refuses what is slow; it need not be short, since ages grow
    /// by the way in any case. Default 3 s.
    pub late_after: Duration,
    /// Without an answer for so long a member is suspicious: nothing but probes and verifications
    /// is sent to it. At least two probe periods, so that one lost answer is not enough. Default 2
    /// s.
    pub suspicious_after: Duration,
    /// Without contact for so long a member is down and owns nothing. Too short moves slots for
    /// every hiccup; too long leaves the dead unjudged. Default 6 s.
    pub down_after: Duration,
    /// A changed key waits so long before it is sent, to gather more. Default 0: bursts gather
    /// while a request is in flight.
    pub sync_delay: Duration,
    /// From one batch of changes for a peer to the next, at least. What changes after a quiet time
    /// is sent at once; under load changes gather for so long, because a request costs some
    /// hundred bytes and two wake-ups however little is in it. Adds to the time until other
    /// members know. Default 20 ms.
    pub batch_period: Duration,
    /// The first wait after a failed replication; doubled each time up to
    /// [`Self::longest_backoff`], and varied by half of it. Default 100 ms.
    pub first_backoff: Duration,
    /// The longest wait after a failed replication. Default 5 s.
    pub longest_backoff: Duration,
    /// Records in a message at most. Default 1,000.
    pub batch_keys: usize,
    /// Bytes of records in a message at most, by [`Value::weight`](crate::Value::weight); one
    /// record is sent whatever its size. Default 1 MiB.
    pub batch_bytes: usize,
    /// Beats in a message at most. Default 10,000.
    pub batch_beats: usize,
    /// Keys that may wait for a peer. More are forgotten, and everything is compared instead.
    /// Default 100,000.
    pub queue_keys: usize,
    /// How long a member waits for the owner of a slot with a client's write, before it takes the
    /// write itself. Default 500 ms.
    pub forward_deadline: Duration,
    /// From one renewal of beats with their owners to the next. Default 200 ms.
    pub renew_period: Duration,
    /// From one verification with a member to the next. Default 3 s.
    pub verify_period: Duration,
    /// From a difference seen to the look that acts on it, so that what is on its way is not
    /// sent twice. Default 1 s.
    pub second_look: Duration,
    /// A new member that hears from nobody who has data for so long has proved alone.
    /// Default 5 s.
    pub alone_after: Duration,
    /// A member of a cluster that found no data shows nothing for so long, but takes writes and
    /// beats: longer than a beat interval, so that clients can register again. Default 6 s.
    pub empty_start: Duration,
    /// How long a stopping member tries to hand over what it has. Default 5 s.
    pub leave_within: Duration,
    /// A member that was alone for so long drops what it has not heard: others may have forgotten
    /// what was removed meanwhile. A little less than the tombstone retention. Default 55 min.
    pub absent_after: Duration,
    /// For tests that show what a rule is good for.
    #[doc(hidden)]
    pub rules: Rules,
}

impl Default for DistroConfig {
    fn default() -> Self {
        Self {
            tick_period: Duration::from_millis(100),
            pause_threshold: Duration::from_secs(3),
            expire: true,
            probe_period: Duration::from_secs(1),
            call_deadline: Duration::from_secs(1),
            late_after: Duration::from_secs(3),
            suspicious_after: Duration::from_secs(2),
            down_after: Duration::from_secs(6),
            sync_delay: Duration::ZERO,
            batch_period: Duration::from_millis(20),
            first_backoff: Duration::from_millis(100),
            longest_backoff: Duration::from_secs(5),
            batch_keys: 1_000,
            batch_bytes: 1 << 20,
            batch_beats: 10_000,
            queue_keys: 100_000,
            forward_deadline: Duration::from_millis(500),
            renew_period: Duration::from_millis(200),
            verify_period: Duration::from_secs(3),
            second_look: Duration::from_secs(1),
            alone_after: Duration::from_secs(5),
            empty_start: Duration::from_secs(6),
            leave_within: Duration::from_secs(5),
            absent_after: Duration::from_secs(3_300),
            rules: Rules::default(),
        }
    }
}
