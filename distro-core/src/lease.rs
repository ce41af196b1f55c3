//! Leases: what the silence of a record amounts to ([`JudgeTerms`]), and which datums are due to be
//! judged ([`DueRing`]).

use std::collections::BTreeMap;
use std::sync::Weak;
use std::time::Duration;

use parking_lot::Mutex;

use crate::distro::Distro;
use crate::membership::Peer;
use crate::record::{Health, LeaseTerms, Value};
use crate::time::Tick;

/// Width of a bucket of the ring: how exactly deadlines are kept.
pub(crate) const BUCKET_MS: u64 = 100;
/// How many buckets ahead the ring reaches. What is due later is looked at again when the last
/// bucket comes up, so nothing stays in memory longer than this for a distant deadline.
const REACH: u64 = 512;

/// No time-out is lengthened beyond this.
pub(crate) const LONGEST: Duration = Duration::from_secs(300);
/// A record beats this often within the time after which it is unhealthy.
const BEATS_PER_TIMEOUT: u32 = 3;
/// From the last event until a record may expire by what others told of it: a beat interval and
/// two fifths of one, in which every instance that lives is heard by somebody who is heard here,
/// whatever died with a member or hung at one that was stopped. At least as long as that takes with
/// the usual interval of 5 s.
pub(crate) const LEAST_SETTLING: Duration = Duration::from_secs(7);

/// What is known of the silence of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Silence {
    /// When this member last heard of it, or came to own it.
    pub(crate) since: Tick,
    /// When any member last heard of it, if all have told.
    pub(crate) told: Option<Tick>,
    /// Since when it is this member's to judge.
    pub(crate) owned_since: Tick,
}

/// How leases are judged at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JudgeTerms {
    /// The moment as of which the whole round judges, however long the round takes. A later moment
    /// would count a stop in between as silence, for [`Self::listening_since`] is from before.
    pub as_of: Tick,
    /// Whether silence has consequences at all.
    pub enabled: bool,
    /// Whether silence can end in expiry.
    pub expire: bool,
    /// Since when this member has listened without a break, to clients and to the members that
    /// hear others. Silence before that is not held against anybody.
    pub listening_since: Tick,
    /// Time-outs last for at least so many beat intervals, while some members cannot be heard.
    /// Zero: the records' own time-outs.
    pub patience: u32,
}

impl JudgeTerms {
    /// What silence since `last_heard` amounts to for a record of this health: the judgement if
    /// there is a new one, and when to look again.
    pub(crate) fn judge(
        &self,
        own: LeaseTerms,
        health: Health,
        silence: Silence,
        now: Tick,
    ) -> (Option<Health>, Tick) {
        const NEVER: Tick = Tick::from_ms(u64::MAX);
        let heard = silence.since.max(self.listening_since);
        if !self.enabled {
            return (None, now.after(Duration::from_secs(1)));
        }
        let lease = self.lengthened(own);
        let expires = heard.after(lease.expire_after);
        let expires = silence.told.map_or(expires, |told| {
            let settled = self.last_event(silence.owned_since).after(settling(own));
            told.after(lease.expire_after).max(settled).min(expires)
        });
        if self.expire && expires <= now {
            return (Some(Health::Expired), NEVER);
        }
        let expires = if self.expire { expires } else { NEVER };
        let flips = heard.after(lease.unhealthy_after);
        let (health, next) = match health {
            Health::Healthy if flips <= now => (Some(Health::Unhealthy), expires),
            Health::Healthy => (None, flips.min(expires)),
            Health::Unhealthy | Health::Expired => (None, expires),
        };
        // Patience may end before the lengthened time does.
        let again = if self.patience > 0 { now.after(own.shortest()) } else { NEVER };
        (health, next.min(again))
    }

    /// When the last event was after which silence counted anew.
    pub(crate) fn last_event(&self, owned_since: Tick) -> Tick {
        owned_since.max(self.listening_since)
    }

    fn lengthened(&self, own: LeaseTerms) -> LeaseTerms {
        let interval = own.unhealthy_after / BEATS_PER_TIMEOUT;
        let least = interval.saturating_mul(self.patience).min(LONGEST);
        LeaseTerms {
            unhealthy_after: own.unhealthy_after.max(least),
            expire_after: own.expire_after.max(least),
        }
    }
}

impl<V: Value, A: Default + Send + Sync + 'static> Distro<V, A> {
    /// How leases are judged in this round.
    pub(crate) fn judge_terms(&self, now: Tick) -> JudgeTerms {
        let unheard = |peer: &&Peer| peer.member.is_unheard(&self.config, now);
        let unheard = self.peers.values().filter(unheard).count();
        let patience =
            if self.config.rules.patience() { patience(unheard, self.peers.len() + 1) } else { 0 };
        let patience = if self.contacts.lists_differ() { LONGEST_PATIENCE } else { patience };
        JudgeTerms {
            as_of: now,
            enabled: self.judging,
            expire: self.config.expire,
            listening_since: self.pauses.listening_since(),
            patience,
        }
    }
}

fn settling(own: LeaseTerms) -> Duration {
    let interval = own.unhealthy_after / BEATS_PER_TIMEOUT;
    (interval * 7 / 5).max(LEAST_SETTLING).min(own.expire_after)
}

/// More beats than go into [`LONGEST`].
pub(crate) const LONGEST_PATIENCE: u32 = u16::MAX as u32;

/// How many beats in a row must be missing before silence means anything, when `unheard` of `all`
/// members cannot be heard and every beat goes to a member at random: so many that the
/// chance that they all went there is below one in a million.
pub(crate) fn patience(unheard: usize, all: usize) -> u32 {
    if unheard == 0 || all == 0 {
        return 0;
    }
    // Member counts are small; the result is cut to what u32 holds.
    let share = unheard.min(all) as f64 / all as f64;
    let beats = (1e-6_f64.ln() / share.ln()).ceil();
    if beats.is_finite() { beats.min(f64::from(LONGEST_PATIENCE)) as u32 } else { LONGEST_PATIENCE }
}

/// The bucket in which something due at `deadline` belongs, as a moment: at or after the
/// deadline, except that it is never beyond the ring's reach.
pub(crate) fn bucket_moment(now: Tick, deadline: Tick) -> Tick {
    let first = now.as_ms() / BUCKET_MS + 1;
    let bucket = deadline.as_ms().div_ceil(BUCKET_MS).clamp(first, first + REACH);
    Tick::from_ms(bucket * BUCKET_MS)
}

/// A ring of buckets of what is due at which moment.
///
/// Scheduling is a push to a vector; no item is ever searched for. What was rescheduled stays in
/// its bucket and is skipped when that comes up, because it knows its own moment. An item that is
/// gone would keep its memory until then, so the code that drops one calls [`sweep`](Self::sweep).
pub(crate) struct DueRing<T> {
    inner: Mutex<Buckets<T>>,
}

struct Buckets<T> {
    /// By the moment in units of [`BUCKET_MS`]. At most [`REACH`] of them in the future.
    by_moment: BTreeMap<u64, Vec<Weak<T>>>,
    /// Where the next sweep goes on: a bucket, and how many of its items were looked at.
    swept: (u64, usize),
}

impl<T> DueRing<T> {
    pub(crate) fn new() -> Self {
        Self { inner: Mutex::new(Buckets { by_moment: BTreeMap::new(), swept: (0, 0) }) }
    }

    /// Puts `item` into the bucket of `moment`, which [`bucket_moment`] gave.
    pub(crate) fn schedule(&self, moment: Tick, item: Weak<T>) {
        let bucket = moment.as_ms() / BUCKET_MS;
        self.inner.lock().by_moment.entry(bucket).or_default().push(item);
    }

    /// Lets go of those that are gone among a few items, others with each call. One call for each
    /// item that is dropped keeps those that are gone fewer than those that are there.
    pub(crate) fn sweep(&self) {
        /// More than one, so that sweeping is faster than dropping.
        const STEPS: usize = 4;
        let mut inner = self.inner.lock();
        for _ in 0..STEPS {
            inner.sweep_one();
        }
    }

    /// How many items wait, those included that are gone.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.inner.lock().by_moment.values().map(Vec::len).sum()
    }

    /// Takes the earliest bucket that is due, or `most` items of it if it holds more.
    pub(crate) fn take_due(&self, now: Tick, most: usize) -> Option<Vec<Weak<T>>> {
        let mut inner = self.inner.lock();
        let mut first = inner.by_moment.first_entry()?;
        if first.key() * BUCKET_MS > now.as_ms() {
            return None;
        }
        let bucket = first.get_mut();
        match bucket.len().checked_sub(most) {
            None | Some(0) => Some(first.remove()),
            Some(left) => Some(bucket.split_off(left)),
        }
    }
}

impl<T> Buckets<T> {
    fn sweep_one(&mut self) {
        let (bucket, index) = self.swept;
        let Some((&found, items)) = self.by_moment.range_mut(bucket..).next() else {
            self.swept = (0, 0);
            return;
        };
        let index = if found == bucket { index } else { 0 };
        match items.get(index) {
            None => self.swept = (found + 1, 0),
            Some(item) if item.strong_count() > 0 => self.swept = (found, index + 1),
            Some(_) => {
                items.swap_remove(index);
                if items.is_empty() {
                    self.by_moment.remove(&found);
                }
                self.swept = (found, index);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const TERMS: JudgeTerms = JudgeTerms {
        as_of: Tick::ZERO,
        enabled: true,
        expire: true,
        listening_since: Tick::ZERO,
        patience: 0,
    };
    const LEASE: LeaseTerms = LeaseTerms {
        unhealthy_after: Duration::from_secs(15),
        expire_after: Duration::from_secs(30),
    };

    fn at(seconds: u64) -> Tick {
        Tick::from_ms(seconds * 1_000)
    }

    fn silent(since: Tick) -> Silence {
        Silence { since, told: None, owned_since: Tick::ZERO }
    }

    #[test]
    fn silence_makes_unhealthy_and_then_expired() {
        let judge = |health, now| TERMS.judge(LEASE, health, silent(at(100)), at(now));
        assert_eq!(judge(Health::Healthy, 114), (None, at(115)));
        assert_eq!(judge(Health::Healthy, 115), (Some(Health::Unhealthy), at(130)));
        assert_eq!(judge(Health::Unhealthy, 129), (None, at(130)));
        assert_eq!(judge(Health::Unhealthy, 130).0, Some(Health::Expired));
    }

    #[test]
    fn a_delete_timeout_below_the_beat_timeout_expires_at_once() {
        let lease = LeaseTerms { expire_after: Duration::from_secs(2), ..LEASE };
        assert_eq!(
            TERMS.judge(lease, Health::Healthy, silent(at(0)), at(2)).0,
            Some(Health::Expired)
        );
    }

    #[test]
    fn silence_while_not_listening_is_held_against_nobody() {
        let terms = JudgeTerms { listening_since: at(1_000), ..TERMS };
        assert_eq!(
            terms.judge(LEASE, Health::Healthy, silent(at(5)), at(1_014)),
            (None, at(1_015))
        );
        assert_eq!(
            terms.judge(LEASE, Health::Healthy, silent(at(5)), at(1_015)).0,
            Some(Health::Unhealthy)
        );
    }

    #[test]
    fn what_all_have_told_ends_in_expiry_before_a_full_time_out_but_not_at_once() {
        // Came to own it at 100, when it had last been heard at 80.
        let silence = Silence { since: at(100), told: Some(at(80)), owned_since: at(100) };
        let judge = |silence, now| TERMS.judge(LEASE, Health::Healthy, silence, at(now));
        assert_eq!(judge(silence, 109), (None, at(110)));
        assert_eq!(judge(silence, 110).0, Some(Health::Expired));
        let long_ago = Silence { told: Some(at(1)), ..silence };
        assert_eq!(judge(long_ago, 106), (None, at(107)));
        assert_eq!(judge(long_ago, 107).0, Some(Health::Expired));
        // Heard since: as ever.
        let heard = Silence { since: at(104), told: Some(at(104)), ..silence };
        assert_eq!(judge(heard, 119).0, Some(Health::Unhealthy));
        assert_eq!(judge(heard, 133).1, at(134));
        // Whoever cannot hear everybody waits as long as ever.
        let patient = JudgeTerms { patience: patience(1, 3), ..TERMS };
        assert_eq!(patient.judge(LEASE, Health::Healthy, silence, at(144)).0, None);
        assert_eq!(
            patient.judge(LEASE, Health::Healthy, silence, at(145)).0,
            Some(Health::Expired)
        );
    }

    #[test]
    fn the_wait_after_an_event_is_never_longer_than_the_time_out_and_grows_with_the_beats() {
        let seconds = Duration::from_secs;
        let lease = |unhealthy, expire| LeaseTerms {
            unhealthy_after: seconds(unhealthy),
            expire_after: seconds(expire),
        };
        assert_eq!(settling(lease(15, 30)), seconds(7));
        assert_eq!(settling(lease(60, 90)), seconds(28));
        assert_eq!(settling(lease(3, 6)), seconds(6));
    }

    #[test]
    fn who_cannot_hear_everybody_waits_for_so_many_beats_that_chance_is_out() {
        assert_eq!(patience(0, 3), 0);
        assert_eq!((patience(1, 3), patience(2, 3)), (13, 35));
        assert_eq!(patience(3, 3), u32::from(u16::MAX));
        let terms = JudgeTerms { patience: patience(1, 3), ..TERMS };
        assert_eq!(terms.judge(LEASE, Health::Healthy, silent(at(0)), at(64)), (None, at(65)));
        assert_eq!(
            terms.judge(LEASE, Health::Healthy, silent(at(0)), at(65)).0,
            Some(Health::Expired)
        );
        let alone = JudgeTerms { patience: patience(3, 3), ..TERMS };
        assert_eq!(alone.judge(LEASE, Health::Healthy, silent(at(0)), at(299)).0, None);
        assert_eq!(
            alone.judge(LEASE, Health::Healthy, silent(at(0)), at(300)).0,
            Some(Health::Expired)
        );
    }

    #[test]
    fn patience_is_looked_at_again_before_the_lengthened_time_is_over() {
        let terms = JudgeTerms { patience: 60, ..TERMS };
        assert_eq!(terms.judge(LEASE, Health::Healthy, silent(at(0)), at(20)).1, at(35));
    }

    #[test]
    fn without_expiry_an_unhealthy_record_stays() {
        let terms = JudgeTerms { expire: false, ..TERMS };
        assert_eq!(terms.judge(LEASE, Health::Unhealthy, silent(at(0)), at(10_000)).0, None);
        let off = JudgeTerms { enabled: false, ..TERMS };
        assert_eq!(off.judge(LEASE, Health::Healthy, silent(at(0)), at(10_000)).0, None);
    }

    #[test]
    fn the_ring_gives_back_what_is_due_and_nothing_earlier() {
        let ring = DueRing::new();
        let item = Arc::new(1);
        let moment = bucket_moment(at(10), Tick::from_ms(12_345));
        assert_eq!(moment, Tick::from_ms(12_400));
        ring.schedule(moment, Arc::downgrade(&item));
        assert!(ring.take_due(Tick::from_ms(12_399), 9).is_none());
        assert_eq!(ring.take_due(Tick::from_ms(12_400), 9).unwrap().len(), 1);
        assert!(ring.take_due(at(100), 9).is_none());
    }

    #[test]
    fn a_full_bucket_is_given_out_in_slices() {
        let ring = DueRing::new();
        let items: Vec<_> = (0..5).map(Arc::new).collect();
        items.iter().for_each(|item| ring.schedule(at(1), Arc::downgrade(item)));
        let mut taken = Vec::new();
        while let Some(slice) = ring.take_due(at(1), 2) {
            assert!((1..=2).contains(&slice.len()));
            taken.extend(slice.iter().filter_map(Weak::upgrade).map(|item| *item));
        }
        taken.sort_unstable();
        assert_eq!(taken, [0, 1, 2, 3, 4]);
    }

    #[test]
    fn items_that_are_gone_do_not_stay_until_they_are_due() {
        let ring = DueRing::new();
        let mut items: Vec<_> = (0..1_000).map(Arc::new).collect();
        for (at_ms, item) in items.iter().enumerate() {
            ring.schedule(Tick::from_ms(at_ms as u64), Arc::downgrade(item));
        }
        // Those go first that are looked at last.
        while items.pop().is_some() {
            ring.sweep();
            assert!(items.len() > 500 || ring.len() <= 2 * items.len() + 8, "{}", items.len());
        }
        assert_eq!(ring.len(), 0);
    }

    #[test]
    fn a_sweep_leaves_those_that_are_there() {
        let ring = DueRing::new();
        let items: Vec<_> = (0..100).map(Arc::new).collect();
        items.iter().for_each(|item| ring.schedule(at(1), Arc::downgrade(item)));
        let kept: Vec<_> = items.into_iter().filter(|item| **item % 3 == 0).collect();
        (0..100).for_each(|_| ring.sweep());
        let due = ring.take_due(at(1), 1_000).unwrap();
        let mut due: Vec<_> = due.iter().map(|item| *item.upgrade().unwrap()).collect();
        due.sort_unstable();
        assert_eq!(due, kept.iter().map(|item| **item).collect::<Vec<_>>());
    }

    #[test]
    fn a_distant_deadline_is_looked_at_before_the_ring_comes_round() {
        let moment = bucket_moment(at(0), at(86_400));
        assert!(moment > at(50) && moment < at(53));
        let ring = DueRing::new();
        let item = Arc::new(1);
        ring.schedule(moment, Arc::downgrade(&item));
        assert!(ring.take_due(Tick::from_ms(moment.as_ms() - 1), 9).is_none());
        assert!(ring.take_due(moment, 9).is_some());
    }
}
