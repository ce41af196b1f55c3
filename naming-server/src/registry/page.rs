//! A part of a list.

use std::cmp::Ordering;

/// Which part of a list is asked for. Nothing in it can overflow: what does not fit lies behind
/// the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Page {
    start: usize,
    size: usize,
}

impl Page {
    /// The page of this number, counted from 1, of pages of this size. Numbers below 1 mean the
    /// first page, a size below 1 an empty one.
    pub(crate) fn new(number: i64, size: i64) -> Self {
        let whole = |value: i64| usize::try_from(value).unwrap_or(0);
        let size = whole(size);
        Self { start: whole(number.saturating_sub(1)).saturating_mul(size), size }
    }

    /// How many items there are up to the end of the page.
    pub(crate) fn end(self) -> usize {
        self.start.saturating_add(self.size)
    }

    /// How many of so many items are on the page.
    pub(crate) fn count_of(self, items: usize) -> usize {
        items.saturating_sub(self.start).min(self.size)
    }

    /// Whether the item at this place, counted from 0, is on the page.
    pub(crate) fn has(self, place: usize) -> bool {
        place >= self.start && place - self.start < self.size
    }

    /// The items on the page.
    pub(crate) fn of<I: Iterator>(self, items: I) -> impl Iterator<Item = I::Item> {
        items.skip(self.start).take(self.size)
    }

    /// The items on the page of a list in this order. What stands on other pages is told apart
    /// from what stands here, but not sorted.
    pub(crate) fn of_sorted<T>(
        self,
        mut items: Vec<T>,
        compare: impl Fn(&T, &T) -> Ordering,
    ) -> Vec<T> {
        if self.start >= items.len() {
            return Vec::new();
        }
        if self.start > 0 {
            items.select_nth_unstable_by(self.start, &compare);
            items.drain(..self.start);
        }
        if self.size < items.len() {
            items.select_nth_unstable_by(self.size, &compare);
            items.truncate(self.size);
        }
        items.sort_unstable_by(compare);
        items
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_follow_each_other() {
        let page = |number, size| Page::new(number, size).of(0..7).collect::<Vec<_>>();
        assert_eq!(page(1, 3), [0, 1, 2]);
        assert_eq!(page(3, 3), [6]);
        assert_eq!(page(4, 3), [0; 0]);
        assert_eq!(page(0, 2), [0, 1]);
        assert_eq!(page(-9, 2), [0, 1]);
        assert_eq!(page(1, i64::MAX).len(), 7);
        assert_eq!(page(1, 0), [0; 0]);
        assert_eq!(page(2, -1), [0; 0]);
        for number in [-1, 0, 1, 2, 3, 4, i64::MAX] {
            for size in [-1, 0, 1, 3, 7, i64::MAX] {
                let (on, part) = (page(number, size), Page::new(number, size));
                assert_eq!(part.count_of(7), on.len(), "{part:?}");
                assert!((0..7).filter(|place| part.has(*place)).eq(on), "{part:?}");
            }
        }
    }

    #[test]
    fn a_page_of_what_is_not_sorted_is_that_of_the_sorted_list() {
        // 5 has no divisor in common with 23: every number once.
        let mixed: Vec<u32> = (0..23).map(|n| n * 5 % 23).collect();
        for size in [-1, 0, 1, 2, 7, 22, 23, 24, i64::MAX] {
            for number in [0, 1, 2, 3, 4, 23, 24, i64::MAX] {
                let page = Page::new(number, size);
                let sorted: Vec<u32> = page.of(0..23).collect();
                assert_eq!(page.of_sorted(mixed.clone(), u32::cmp), sorted, "{page:?}");
            }
        }
        let compared = std::cell::Cell::new(0_u64);
        let many: Vec<u64> = (0..100_003).map(|n| n * 7 % 100_003).collect();
        let page = Page::new(20, 100).of_sorted(many, |a, b| {
            compared.set(compared.get() + 1);
            a.cmp(b)
        });
        assert_eq!(page, (1_900..2_000).collect::<Vec<_>>());
        // Sorting all takes some 17 for each.
        assert!(compared.get() < 8 * 100_003, "{}", compared.get());
    }

    #[test]
    fn no_number_overflows() {
        for number in [i64::MIN, -1, 0, 1, 2, i64::MAX] {
            for size in [i64::MIN, -1, 0, 1, i64::MAX] {
                let expected = usize::from(number < 2 && size > 0);
                assert_eq!(Page::new(number, size).of(std::iter::once(0)).count(), expected);
            }
        }
    }
}
