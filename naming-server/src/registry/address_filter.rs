//! Which addresses a service may have, in two words: a search for one passes over the others at the
//! price of a glance.

use std::sync::atomic::{AtomicU64, Ordering};

use xxhash_rust::xxh3::xxh3_64;

/// Beginnings of an address that are kept: up to its second and third separator.
const KEPT: std::ops::RangeInclusive<usize> = 2..=3;
/// More bits than this say little, and are made anew once they have misled.
const DENSE: u32 = 20;

/// The addresses of all instances that a service has had, each as two bits of 64, and how these
/// addresses begin. Nothing that is there is ever missing; what is gone may still be in it.
#[derive(Debug, Default)]
pub(super) struct AddressFilter {
    whole: AtomicU64,
    beginnings: AtomicU64,
}

/// What a filter must have for one address, or for one beginning of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mask {
    whole: u64,
    beginnings: u64,
}

impl AddressFilter {
    /// Takes in an address. To be called after each change that may have brought it.
    pub(super) fn note(&self, ip: &str) {
        let Mask { whole, beginnings } = Mask::of(ip);
        add(&self.whole, whole);
        add(&self.beginnings, beginnings);
    }

    /// Whether what is looked for may be among the addresses.
    pub(super) fn may_have(&self, mask: Mask) -> bool {
        let has = |bits: &AtomicU64, mask: u64| bits.load(Ordering::Acquire) & mask == mask;
        has(&self.whole, mask.whole) && has(&self.beginnings, mask.beginnings)
    }

    /// Whether it holds so much that it may say little.
    pub(super) fn is_dense(&self) -> bool {
        let count = |bits: &AtomicU64| bits.load(Ordering::Relaxed).count_ones();
        count(&self.whole) > DENSE || count(&self.beginnings) > DENSE
    }

    /// Makes it anew of all addresses that are there. To be called while nothing can change: what is
    /// noted afterwards is noted again.
    pub(super) fn renew<'a>(&self, ips: impl Iterator<Item = &'a str>) {
        let (mut whole, mut beginnings) = (0, 0);
        for mask in ips.map(Mask::of) {
            whole |= mask.whole;
            beginnings |= mask.beginnings;
        }
        self.whole.store(whole, Ordering::Release);
        self.beginnings.store(beginnings, Ordering::Release);
    }
}

/// Writes only what is news: most registrations bring none, and the line is shared.
fn add(bits: &AtomicU64, more: u64) {
    if bits.load(Ordering::Relaxed) & more != more {
        bits.fetch_or(more, Ordering::AcqRel);
    }
}

impl Mask {
    /// Of a whole address.
    pub(super) fn of(ip: &str) -> Self {
        let beginnings =
            beginnings(ip).map(|end| two_bits(&ip[..end])).fold(0, |all, one| all | one);
        Self { whole: two_bits(ip), beginnings }
    }

    /// Of addresses that begin so.
    pub(super) fn of_beginning(text: &str) -> Self {
        let beginnings = beginnings(text).map(|end| two_bits(&text[..end]));
        Self { whole: 0, beginnings: beginnings.last().unwrap_or(0) }
    }
}

/// Where the beginnings of a text that are kept end, the shortest first.
fn beginnings(text: &str) -> impl Iterator<Item = usize> {
    let ends = text.bytes().enumerate().filter(|(_, byte)| matches!(byte, b'.' | b':'));
    let ends = ends.map(|(at, _)| at + 1);
    ends.skip(*KEPT.start() - 1).take(KEPT.end() - KEPT.start() + 1)
}

fn two_bits(text: &str) -> u64 {
    let hash = xxh3_64(text.as_bytes());
    (1 << (hash & 63)) | (1 << (hash >> 6 & 63))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_was_never_there_is_mostly_not_found() {
        let filter = AddressFilter::default();
        ["10.0.0.1", "10.0.0.2", "10.0.7.1"].iter().for_each(|ip| filter.note(ip));
        let others = (0..1_000).map(|n| format!("10.1.{}.{}", n / 250, n % 250));
        let misled = others.filter(|ip| filter.may_have(Mask::of(ip))).count();
        assert!(misled < 50, "{misled}");
        let others = (1..=250).map(|n| format!("10.{n}."));
        let misled = others.filter(|text| filter.may_have(Mask::of_beginning(text))).count();
        assert!(misled < 40, "{misled}");
    }

    #[test]
    fn made_anew_it_holds_what_is_there_and_no_more() {
        let filter = AddressFilter::default();
        (0..200).for_each(|n| filter.note(&format!("10.{n}.0.{n}")));
        assert!(filter.is_dense());
        filter.renew(["10.0.0.1"].into_iter());
        assert!(!filter.is_dense() && filter.may_have(Mask::of("10.0.0.1")));
        let others = (0..200).filter(|n| filter.may_have(Mask::of(&format!("10.{n}.0.{n}"))));
        assert!(others.count() < 20);
    }

    proptest! {
        #[test]
        fn what_is_there_is_found_by_each_of_its_beginnings(
            ips in prop::collection::vec("[0-9a-z.:é-]{1,20}", 1..5),
            cut in 0..20_usize,
        ) {
            let filter = AddressFilter::default();
            ips.iter().for_each(|ip| filter.note(ip));
            for ip in &ips {
                prop_assert!(filter.may_have(Mask::of(ip)), "{}", ip);
                let begin = &ip[..ip.floor_char_boundary(cut)];
                prop_assert!(filter.may_have(Mask::of_beginning(begin)), "{} of {}", begin, ip);
            }
        }
    }
}
