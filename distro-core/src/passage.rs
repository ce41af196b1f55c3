//! How long messages are on their way, by two clocks that share nothing but their pace.

use std::time::Duration;

use crate::time::Tick;

/// The passage of the messages of one session, as their receiver sees it.
///
/// Sender and receiver count from the beginning of the session, each by its own clock: the sender
/// from when it asked for the session, the receiver from when it granted that. So a message never
/// seems older than it is, and younger by at most the time that the first question took; the
/// transport must not begin a session that took long. The quickest message so far takes its place
/// as the measure.
///
/// ```
/// use std::time::Duration;
/// use distro_core::{Passage, Tick};
///
/// let mut passage = Passage::begin(Tick::from_ms(5_000));
/// // Sent after one second by the sender's clock, received after three by ours, which may be a
/// // little fast.
/// let took = passage.took(1_000, Tick::from_ms(8_000));
/// assert!(took <= Duration::from_secs(2) && took > Duration::from_millis(1_990));
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Passage {
    began: Tick,
    /// By how much the receiver's clock was ahead of the sender's when the quickest message came,
    /// both counted from the beginning, in nanoseconds; and when that was.
    least_ahead_ns: i128,
    as_of: Tick,
}

/// Clocks may run apart by one part in so many without a message seeming late: what was measured
/// is forgotten that slowly. Clocks of machines are ten times better.
const DRIFT: i128 = 2_000;

const NS_PER_MS: i128 = 1_000_000;

impl Passage {
    /// A session that the receiver grants now.
    pub fn begin(now: Tick) -> Self {
        Self { began: now, least_ahead_ns: 0, as_of: now }
    }

    /// How long a message took that comes now. `sent_ms` is when it was put together, in
    /// milliseconds since the beginning by the sender's clock; below zero if that was before.
    pub fn took(&mut self, sent_ms: i64, now: Tick) -> Duration {
        let passed = |since: Tick| i128::from(now.as_ms()) - i128::from(since.as_ms());
        let ahead_ns = (passed(self.began) - i128::from(sent_ms)) * NS_PER_MS;
        // Threads may come in another order than they read the clock.
        let drift_ns = passed(self.as_of).max(0) * NS_PER_MS / DRIFT;
        self.least_ahead_ns = ahead_ns.min(self.least_ahead_ns + drift_ns);
        self.as_of = self.as_of.max(now);
        let took_ns = u64::try_from(ahead_ns - self.least_ahead_ns);
        Duration::from_nanos(took_ns.unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Tick {
        Tick::from_ms(ms)
    }

    const LATE: Duration = Duration::from_secs(3);

    #[test]
    fn a_message_seems_as_old_as_it_is_but_for_how_long_the_first_question_took() {
        // The question took 400 ms, a message takes 10 ms.
        let mut passage = Passage::begin(at(70_400));
        assert_eq!(passage.took(65_000, at(200_000)).as_millis(), 64_600 - 65);
        // Until a quicker one came.
        assert_eq!(passage.took(130_000, at(200_010)), Duration::ZERO);
        let took = passage.took(66_000, at(201_000));
        assert!((64_989..=64_990).contains(&took.as_millis()), "{took:?}");
    }

    #[test]
    fn clocks_that_run_apart_make_no_message_late() {
        // 200 parts in a million in either direction, for a week, a message a minute.
        for sender_is_slow in [true, false] {
            let mut passage = Passage::begin(at(0));
            for minute in 0..7 * 1_440_u64 {
                let (time, drift) = (minute * 60_000, minute * 12);
                let (sent, now) =
                    if sender_is_slow { (time, time + drift) } else { (time + drift, time) };
                let took = passage.took(sent as i64, at(now));
                assert!(took < Duration::from_millis(20), "{took:?} after {minute} minutes");
            }
        }
    }

    #[test]
    fn a_sender_whose_clock_stood_still_seems_late_until_the_session_ends() {
        let mut passage = Passage::begin(at(0));
        assert!(passage.took(1_000, at(1_000)) < LATE);
        assert!(passage.took(2_000, at(62_000)) > LATE);
        // Of a receiver whose clock stood still nothing seems late.
        let mut passage = Passage::begin(at(0));
        assert!(passage.took(61_000, at(1_000)) < LATE);
        assert!(passage.took(62_000, at(2_000)) < LATE);
    }

    #[test]
    fn absurd_times_do_no_harm() {
        for first in [i64::MIN, i64::MAX, 0] {
            let mut passage = Passage::begin(at(u64::MAX));
            for sent in [first, i64::MAX, i64::MIN] {
                passage.took(sent, at(0));
                passage.took(sent, at(u64::MAX));
            }
        }
    }
}
