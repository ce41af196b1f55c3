//! Judgements of members that were out of hearing.
//!
//! A member that was cut off has expired what it did not hear. When it is heard again its word
//! reaches, among others, members that did not hear those records either: their beats went to a
//! third member, which will take the judgement back as soon as it is told of it. Until then nobody
//! else should believe it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::stamp::MemberId;
use crate::time::Tick;

/// For so long a judgement waits for somebody to take it back: comparisons with all members begin
/// at once when one is heard again, and are over in less.
const WAIT: Duration = Duration::from_secs(3);

/// Who was out of hearing, and whose judgements wait because of that.
#[derive(Debug, Default)]
pub(crate) struct LateJudges {
    judges: Mutex<BTreeMap<MemberId, LateJudge>>,
    /// When the last judgement that waits has waited long enough, in milliseconds; 0: none waits.
    over_ms: AtomicU64,
}

#[derive(Debug, Default)]
struct LateJudge {
    /// When it was heard again; `None` while it is not.
    heard: Option<Tick>,
    /// When the first of its judgements had to wait.
    waits_since: Option<Tick>,
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
            self.over_ms.fetch_max(since.after(WAIT).as_ms().max(1), Ordering::Relaxed);
        }
        must_wait
    }

    /// Whether a member cannot be heard.
    pub(crate) fn is_anybody_lost(&self) -> bool {
        self.judges.lock().values().any(|judge| judge.heard.is_none())
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
        over > 0
            && now.as_ms() >= over
            && self.over_ms.compare_exchange(over, 0, Ordering::Relaxed, Ordering::Relaxed).is_ok()
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
        assert!(!judges.take_over(at(102)));
        assert!(judges.take_over(at(103)) && !judges.take_over(at(103)));
        // It may never be heard again.
        assert!(!judges.must_wait(a, at(103)));
        judges.found(a, at(200));
        assert!(judges.must_wait(a, at(202)) && !judges.must_wait(a, at(203)));
        assert!(judges.judges.lock().is_empty());
    }
}
