//! Judgements of a member that was out of hearing: others wait before they believe them.
//!
//! A member that was cut off has expired what it did not hear. When it is heard again its word
//! reaches, among others, members that did not hear those records either: their beats went to a
//! third member, which will take the judgement back as soon as it is told of it. Until then nobody
//! else should believe it.
//!
//! The third member may not reach the judge. So a judgement waits until every instance that lives
//! has beaten once more: a beat whose owner cannot be reached goes round by others, this member among
//! them. And the owner, which hears of all beats, is shown the judgement.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::lease::LEAST_SETTLING;
use crate::record::Health;
use crate::record::RecordId;
use crate::stamp::{MemberId, Stamp};
use crate::time::Tick;

mod show;

/// For so long a judgement waits for somebody to take it back.
const WAIT: Duration = LEAST_SETTLING;
/// So many judgements that wait are shown to owners; more come up again with the next comparison.
const MOST_WITHHELD: usize = 100_000;

/// Members that were out of hearing, whose judgements wait because of that.
#[derive(Debug, Default)]
pub(crate) struct LateJudges {
    judges: Mutex<BTreeMap<MemberId, LateJudge>>,
    /// When the last judgement that waits has waited long enough, in milliseconds; 0: none waits.
    over_ms: AtomicU64,
    withheld: Mutex<Withheld>,
    /// When silence last began to count anew, for this member or, as far as it sees, for others.
    event_ms: AtomicU64,
    lists_differ: AtomicBool,
}

#[derive(Debug, Default)]
struct LateJudge {
    /// When it was heard again; `None` while it is not.
    heard: Option<Tick>,
    /// When the first of its judgements had to wait.
    waits_since: Option<Tick>,
}

/// A judgement that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Judgement {
    pub(crate) registration: Stamp,
    pub(crate) liveness: Stamp,
    pub(crate) judged: Health,
}

/// Judgements that wait, until that is over.
#[derive(Debug, Default)]
struct Withheld {
    known: BTreeMap<RecordId, Stamp>,
    /// Those of which their owners are yet to be told.
    fresh: BTreeMap<RecordId, Judgement>,
}

impl LateJudges {
    /// A member cannot be heard, neither directly nor by others.
    pub(crate) fn lost(&self, member: MemberId) {
        self.judges.lock().insert(member, LateJudge::default());
    }

    /// It is heard again.
    pub(crate) fn found(&self, member: MemberId, now: Tick) {
        self.judges.lock().insert(member, LateJudge { heard: Some(now), waits_since: None });
    }

    /// Whether a judgement of this member has to wait.
    pub(crate) fn must_wait(&self, member: MemberId, now: Tick) -> bool {
        let mut judges = self.judges.lock();
        let Some(judge) = judges.get_mut(&member) else { return false };
        if judge.heard.is_some_and(|heard| now.since(heard) >= WAIT) {
            judges.remove(&member);
            return false;
        }
        let since = *judge.waits_since.get_or_insert(now);
        let must_wait = now.since(since) < WAIT;
        if must_wait {
            let over = judge.heard.unwrap_or(since).after(WAIT);
            self.over_ms.fetch_max(over.as_ms().max(1), Ordering::Relaxed);
        }
        must_wait
    }

    /// The owner of a record is to be shown a judgement that waits, once.
    pub(crate) fn withhold(&self, record_id: RecordId, judgement: Judgement) {
        let mut withheld = self.withheld.lock();
        let has_room = withheld.known.len() < MOST_WITHHELD;
        let is_known = withheld.known.get(&record_id).map(|known| *known == judgement.liveness);
        if is_known == Some(false) || is_known.is_none() && has_room {
            withheld.known.insert(record_id.clone(), judgement.liveness);
            withheld.fresh.insert(record_id, judgement);
        }
    }

    /// Some of those of which owners are yet to be told.
    pub(crate) fn take_withheld(&self, most: usize) -> Vec<(RecordId, Judgement)> {
        let fresh = &mut self.withheld.lock().fresh;
        std::iter::from_fn(|| fresh.pop_first()).take(most).collect()
    }

    /// Whether somebody may hear a record who cannot be asked for it, so that owners judge with
    /// patience.
    pub(crate) fn is_anybody_lost(&self) -> bool {
        self.lists_differ.load(Ordering::Relaxed)
            || self.judges.lock().values().any(|judge| judge.heard.is_none())
    }

    /// A member takes others for members than this one does, or no member does any more.
    pub(crate) fn set_lists_differ(&self, differ: bool) {
        self.lists_differ.store(differ, Ordering::Relaxed);
    }

    /// Silence counts anew from now on.
    pub(crate) fn note_event(&self, now: Tick) {
        self.event_ms.fetch_max(now.as_ms(), Ordering::Relaxed);
    }

    /// When silence last began to count anew.
    pub(crate) fn last_event(&self) -> Tick {
        Tick::from_ms(self.event_ms.load(Ordering::Relaxed))
    }

    /// Something was not believed: the others are to be asked at once.
    pub(crate) fn ask_again(&self, now: Tick) {
        let next = now.as_ms().max(1);
        let _ = self.over_ms.compare_exchange(0, next, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Whether all judgements that waited may be believed from now on, and are to be asked for
    /// again. Says so once.
    pub(crate) fn take_over(&self, now: Tick) -> bool {
        let over = self.over_ms.load(Ordering::Relaxed);
        let is_over = over > 0
            && now.as_ms() >= over
            && self.over_ms.compare_exchange(over, 0, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if is_over {
            *self.withheld.lock() = Withheld::default();
        }
        is_over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_judgement_waits_once_and_not_for_ever() {
        let (judges, [a, b]) = (LateJudges::default(), [MemberId(1), MemberId(2)]);
        let at = |seconds: u64| Tick::from_ms(seconds * 1_000);
        assert!(!judges.must_wait(a, at(1)));
        judges.lost(a);
        assert!(judges.must_wait(a, at(100)) && !judges.must_wait(b, at(100)));
        assert!(!judges.take_over(at(106)));
        assert!(judges.take_over(at(107)) && !judges.take_over(at(107)));
        // It may never be heard again.
        assert!(!judges.must_wait(a, at(107)));
        judges.found(a, at(200));
        assert!(judges.must_wait(a, at(206)) && !judges.must_wait(a, at(207)));
        assert!(judges.judges.lock().is_empty());
        assert!(judges.take_over(at(207)));
    }

    #[test]
    fn an_owner_is_shown_each_judgement_once_until_all_are_over() {
        let (judges, judge) = (LateJudges::default(), MemberId(1));
        let at = |seconds: u64| Tick::from_ms(seconds * 1_000);
        let record_id = |n: u8| RecordId::from(("tag".into(), n.to_string().into()));
        let judgement = |time| Judgement {
            registration: Stamp::from_parts(1, judge, 1),
            liveness: Stamp::from_parts(time, judge, 1),
            judged: Health::Expired,
        };
        judges.found(judge, at(1));
        assert!(judges.must_wait(judge, at(1)));
        (0..3).for_each(|n| judges.withhold(record_id(n), judgement(5)));
        assert_eq!(judges.take_withheld(2).len(), 2);
        (0..3).for_each(|n| judges.withhold(record_id(n), judgement(5)));
        assert_eq!(judges.take_withheld(2), [(record_id(2), judgement(5))]);
        judges.withhold(record_id(0), judgement(6));
        assert_eq!(judges.take_withheld(2), [(record_id(0), judgement(6))]);
        assert!(judges.take_over(at(8)));
        judges.withhold(record_id(0), judgement(6));
        assert_eq!(judges.take_withheld(2).len(), 1);
    }
}
