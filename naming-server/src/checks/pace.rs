//! How often a cluster is checked, and how fast it answered.

use std::time::Duration;

use super::finding::Finding;
use super::probe::Report;
use crate::registry::CheckPace;

/// The switches that a result is held against.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    pub(super) pace: CheckPace,
    /// Results in a row that change the health.
    pub(super) times: u32,
}

/// What was measured of the instances of a cluster, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Times {
    /// The shortest successful check, if there was one.
    pub(crate) best_ms: Option<u64>,
    /// The longest successful check, if there was one.
    pub(crate) worst_ms: Option<u64>,
    /// From the beginning of one check of an instance to that of the next.
    pub(crate) pace_ms: u64,
}

impl Times {
    pub(super) fn new(first_pace: Duration) -> Self {
        Self { best_ms: None, worst_ms: None, pace_ms: millis(first_pace) }
    }

    /// Takes a result over. Who answers fast is asked often; who is slow, or does not answer,
    /// less and less so, within the bounds of the rules.
    pub(super) fn note(&mut self, report: &Report, pace: &CheckPace) {
        let took_ms = millis(report.took);
        let measured_ms = match report.finding {
            Finding::Passed => {
                self.best_ms = Some(self.best_ms.map_or(took_ms, |best| best.min(took_ms)));
                self.worst_ms = self.worst_ms.max(Some(took_ms));
                took_ms
            }
            Finding::Failed => self.pace_ms.saturating_mul(2),
            Finding::Refused => pace.max_ms,
            Finding::NotMade => self.pace_ms,
        };
        let factor = f64::from(pace.factor);
        // Within days, of which a double counts every millisecond; the factor is from 0 to 1.
        let followed = factor * self.pace_ms as f64 + (1.0 - factor) * measured_ms as f64;
        self.pace_ms = (followed as u64).min(pace.max_ms).max(pace.min_ms);
    }

    pub(super) fn pace(&self) -> Duration {
        Duration::from_millis(self.pace_ms)
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: CheckPace = CheckPace { max_ms: 5_000, min_ms: 1_000, factor: 0.75 };

    fn paces(finding: Finding, took_ms: u64, count: usize) -> Vec<u64> {
        let mut times = Times::new(Duration::from_millis(2_400));
        let report = Report::new(finding, "", Duration::from_millis(took_ms));
        let next = |_| {
            times.note(&report, &PACE);
            times.pace_ms
        };
        (0..count).map(next).collect()
    }

    #[test]
    fn the_fast_are_asked_often_and_the_silent_seldom() {
        assert_eq!(paces(Finding::Passed, 0, 4), [1_800, 1_350, 1_012, 1_000]);
        assert_eq!(paces(Finding::Failed, 500, 4), [3_000, 3_750, 4_687, 5_000]);
        assert_eq!(paces(Finding::Refused, 0, 2), [3_050, 3_537]);
        assert_eq!(paces(Finding::NotMade, 0, 2), [2_400, 2_400]);
    }

    #[test]
    fn best_and_worst_are_those_of_successful_checks() {
        let mut times = Times::new(Duration::from_secs(2));
        for (finding, took_ms) in [(Finding::Passed, 3), (Finding::Failed, 500)] {
            times.note(&Report::new(finding, "", Duration::from_millis(took_ms)), &PACE);
            assert_eq!((times.best_ms, times.worst_ms), (Some(3), Some(3)));
        }
        times.note(&Report::new(Finding::Passed, "", Duration::from_millis(9)), &PACE);
        assert_eq!((times.best_ms, times.worst_ms), (Some(3), Some(9)));
    }
}
