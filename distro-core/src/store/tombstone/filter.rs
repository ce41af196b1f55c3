//! A filter that tells without a search that a key is not among the tombstones.

use xxhash_rust::xxh3::xxh3_64;

/// Which keys may be among the noted ones: all that are, and one in twenty of the others.
///
/// Each key sets two bits of one word, so a look costs one line of memory. Keys that are taken out
/// leave their bits until the filter is made anew, which it should be once it [is
/// full](Self::is_full).
#[derive(Debug)]
pub(super) struct Filter {
    /// A power of two of them; none as long as no key was noted.
    words: Vec<u64>,
    noted: usize,
}

/// Keys for each word when the filter is full: eight bits a key.
const KEYS_PER_WORD: usize = 8;

impl Filter {
    pub(super) const EMPTY: Self = Self { words: Vec::new(), noted: 0 };

    /// One that has these, and room for as many more.
    pub(super) fn of<'a>(keys: impl Iterator<Item = &'a [u8]> + Clone) -> Self {
        let count = keys.clone().count();
        let words = (2 * count).div_ceil(KEYS_PER_WORD).next_power_of_two();
        let mut filter = Self { words: vec![0; words], noted: 0 };
        keys.for_each(|key| filter.note(key));
        filter
    }

    pub(super) fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// Whether it should be made anew before another key is noted.
    pub(super) fn is_full(&self) -> bool {
        self.noted >= self.words.len() * KEYS_PER_WORD
    }

    pub(super) fn note(&mut self, key: &[u8]) {
        let (index, bits) = self.place(key);
        if let Some(word) = self.words.get_mut(index) {
            *word |= bits;
        }
        self.noted += 1;
    }

    /// Whether the key may be there. One without keys knows nothing: then it may.
    pub(super) fn may_hold(&self, key: &[u8]) -> bool {
        if self.is_empty() {
            return true;
        }
        let (index, bits) = self.place(key);
        self.words.get(index).is_none_or(|word| word & bits == bits)
    }

    /// The word of a key, and its bits there.
    fn place(&self, key: &[u8]) -> (usize, u64) {
        let hash = xxh3_64(key);
        let index = (hash >> 32) as usize & self.words.len().saturating_sub(1);
        (index, 1 << (hash & 63) | 1 << (hash >> 6 & 63))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_all_that_was_noted_and_little_else() {
        for count in [1, 7, 100, 1_000] {
            let keys: Vec<String> = (0..count).map(|n| format!("10.0.0.{n}#80#DEFAULT")).collect();
            let mut filter = Filter::of(keys.iter().map(String::as_bytes));
            let mut more = 0;
            while !filter.is_full() {
                filter.note(format!("10.0.1.{more}#80#DEFAULT").as_bytes());
                more += 1;
            }
            assert!(keys.iter().all(|key| filter.may_hold(key.as_bytes())));
            assert!(
                (0..more).all(|n| filter.may_hold(format!("10.0.1.{n}#80#DEFAULT").as_bytes()))
            );
            let others = (0..1_000).map(|n| format!("10.0.2.{n}#80#DEFAULT"));
            let mistaken = others.filter(|key| filter.may_hold(key.as_bytes())).count();
            assert!(mistaken < 200, "{mistaken} of 1,000 with {count}");
        }
    }

    #[test]
    fn without_keys_it_knows_nothing() {
        assert!(Filter::EMPTY.may_hold(b"k"));
        assert!(Filter::EMPTY.is_full());
    }
}
