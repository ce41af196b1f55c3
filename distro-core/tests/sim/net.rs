//! The network between members: what happens to each message is drawn from the seed.

use std::collections::BTreeSet;

/// SplitMix64, the only source of chance in a run.
pub(crate) struct Chance(u64);

impl Chance {
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

    /// A number from `low` to below `high`.
    pub(crate) fn range(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high - low)
    }

    /// True so many times in a thousand.
    pub(crate) fn permille(&mut self, chance: u64) -> bool {
        self.next() % 1_000 < chance
    }

    pub(crate) fn shuffled(&mut self, count: usize) -> Vec<usize> {
        let mut all: Vec<usize> = (0..count).collect();
        for at in (1..count).rev() {
            all.swap(at, (self.next() % (at as u64 + 1)) as usize);
        }
        all
    }
}

/// How messages fare.
pub(crate) struct Net {
    /// Directions in which nothing gets through.
    pub(crate) cuts: BTreeSet<(usize, usize)>,
    /// Lost, in a thousand.
    pub(crate) loss: u64,
    /// Delivered twice, in a thousand.
    pub(crate) duplicates: u64,
    /// Held up for seconds or minutes, in a thousand: an old message overtaken by newer ones.
    pub(crate) stragglers: u64,
    /// Longest usual way in milliseconds.
    pub(crate) slowest_ms: u64,
}

impl Net {
    pub(crate) fn calm() -> Self {
        Self { cuts: BTreeSet::new(), loss: 0, duplicates: 0, stragglers: 0, slowest_ms: 3 }
    }

    /// When copies of a message arrive, in milliseconds from now.
    pub(crate) fn ways(&self, from: usize, to: usize, chance: &mut Chance) -> Vec<u64> {
        let mut ways = Vec::new();
        let copies = 1 + usize::from(chance.permille(self.duplicates));
        for _ in 0..copies {
            let is_lost = chance.permille(self.loss);
            let straggles = chance.permille(self.stragglers);
            let way = chance.range(1, self.slowest_ms + 1);
            let way = match straggles {
                true if chance.permille(300) => way + chance.range(20_000, 100_000),
                true => way + chance.range(500, 8_000),
                false => way,
            };
            if !is_lost && !self.cuts.contains(&(from, to)) {
                ways.push(way);
            }
        }
        ways
    }

    pub(crate) fn cut(&mut self, from: usize, to: usize) {
        self.cuts.insert((from, to));
    }

    pub(crate) fn is_open(&self, a: usize, b: usize) -> bool {
        !self.cuts.contains(&(a, b)) && !self.cuts.contains(&(b, a))
    }

    pub(crate) fn is_calm(&self) -> bool {
        self.cuts.is_empty() && self.loss == 0 && self.stragglers == 0
    }
}
