//! Lines at a bounded pace: some are written, the others are counted.

use std::time::{Duration, Instant};

/// Allows so many lines in a period. The first of them begins it.
#[derive(Debug)]
pub(crate) struct Pace {
    lines: u32,
    period: Duration,
    began: Option<Instant>,
    written: u32,
    /// Lines that were not written since the last one that was.
    left_out: u64,
}

impl Pace {
    /// At most `lines` in one `period`.
    pub(crate) fn new(lines: u32, period: Duration) -> Self {
        Self { lines, period, began: None, written: 0, left_out: 0 }
    }

    /// Whether there may be one more line: how many were left out before it.
    pub(crate) fn line(&mut self, now: Instant) -> Option<u64> {
        if self.began.is_none_or(|began| now.saturating_duration_since(began) >= self.period) {
            (self.began, self.written) = (Some(now), 0);
        }
        if self.written >= self.lines {
            self.left_out += 1;
            return None;
        }
        self.written += 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_counted_instead_of_written() {
        let period = Duration::from_secs(10);
        let (mut pace, now) = (Pace::new(10, period), Instant::now());
        let lines = (0..1_000).filter_map(|_| pace.line(now)).count();
        assert_eq!(lines, 10);
        assert_eq!(pace.line(now + period), Some(990));
        assert_eq!(pace.line(now + period), Some(0));
    }
}
