//! How often each address asks in a second, in a table that never grows.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::networks::source_of;

/// Cells of a table: half a megabyte.
const CELLS: usize = 1 << 16;

/// Counts what comes from each IPv4 address and each IPv6 network of 64 bits, second by second.
///
/// Addresses whose hashes meet share a cell, and so its limit; the hash has a key that nobody knows,
/// so nobody can choose whom to share with.
#[derive(Default)]
pub(crate) struct SourceRates {
    key: RandomState,
    /// In each the second in the upper half, and the count of that second in the lower. Not there
    /// before anything is counted.
    cells: OnceLock<Box<[AtomicU64]>>,
}

impl SourceRates {
    /// Counts one more from this address in this second, which is counted from anywhere. False if
    /// that is more than `most`.
    pub(crate) fn allow(&self, ip: IpAddr, second: u32, most: u32) -> bool {
        let hash = self.key.hash_one(source_of(ip));
        let cells = self.cells.get_or_init(|| (0..CELLS).map(|_| AtomicU64::new(0)).collect());
        let Some(cell) = cells.get(hash as usize % CELLS) else { return true };
        let second = u64::from(second) << 32;
        let count = |before: u64| if before >> 32 << 32 == second { before as u32 } else { 0 };
        let next = |before: u64| second | u64::from(count(before).saturating_add(1));
        let before = cell.update(Relaxed, Relaxed, next);
        count(before) < most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_ask_so_often_in_a_second() {
        let rates = SourceRates::default();
        let allow = |ip: &str, second| rates.allow(ip.parse().unwrap(), second, 3);
        assert!((0..3).all(|_| allow("10.0.0.1", 7)));
        assert!(!allow("10.0.0.1", 7) && !allow("::ffff:10.0.0.1", 7));
        assert!(allow("10.0.0.1", 8), "the next second begins anew");
        let six = ["2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8::4"];
        let allowed: Vec<_> = six.iter().map(|ip| allow(ip, 9)).collect();
        assert_eq!(allowed, [true, true, true, false], "a network of 64 bits counts as one");
    }

    #[test]
    fn the_table_holds_any_number_of_addresses() {
        let rates = SourceRates::default();
        let addresses = (0..4 * CELLS as u32).map(|n| IpAddr::from(n.to_be_bytes()));
        let allowed = addresses.filter(|ip| rates.allow(*ip, 1, u32::MAX)).count();
        assert_eq!(allowed, 4 * CELLS);
        assert_eq!(rates.cells.get().unwrap().len(), CELLS);
    }
}
