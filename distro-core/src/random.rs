//! The only source of chance: seeded, so that a run can be replayed.

use std::time::Duration;

/// SplitMix64: small, and good enough to spread timers.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Between three quarters of a span and five quarters of it.
    pub(crate) fn vary(&mut self, span: Duration) -> Duration {
        let quarters = self.next() % 1_024;
        // 768 to 1,280 thousand-and-twenty-fourths.
        span.saturating_mul(768 + u32::try_from(quarters / 2).unwrap_or(0)) / 1_024
    }
}
