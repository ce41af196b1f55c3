//! A part of a list.

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

    /// The items on the page.
    pub(crate) fn of<I: Iterator>(self, items: I) -> impl Iterator<Item = I::Item> {
        items.skip(self.start).take(self.size)
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
