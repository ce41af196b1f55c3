//! Who owns which service, and for how long.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use distro_core::Tick;

use super::owner_number;

/// The ring of a moment: the members among which services are divided, in the order that counts.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Ring {
    owners: Vec<Arc<str>>,
    since: Tick,
}

impl Ring {
    fn owner(&self, number: u32) -> Option<&Arc<str>> {
        let at = number.checked_rem(u32::try_from(self.owners.len()).ok()?)?;
        self.owners.get(at as usize)
    }
}

/// The rings of late.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Rings {
    /// The newest first.
    rings: VecDeque<Ring>,
}

/// Rings that are remembered. If there are more changes than that in the time that is asked about,
/// a member counts as owner for less long than it is.
const MOST_RINGS: usize = 16;

impl Rings {
    /// Puts a ring into force; returns whether it differs from the last one.
    pub(crate) fn set(&mut self, owners: Vec<Arc<str>>, now: Tick) -> bool {
        if self.owners() == owners {
            return false;
        }
        self.rings.truncate(MOST_RINGS - 1);
        self.rings.push_front(Ring { owners, since: now });
        true
    }

    /// The members of the ring in force.
    pub(crate) fn owners(&self) -> &[Arc<str>] {
        self.rings.front().map_or(&[], |ring| &ring.owners)
    }

    /// Since when the ring is in force.
    pub(crate) fn since(&self) -> Tick {
        self.rings.front().map_or(Tick::ZERO, |ring| ring.since)
    }

    /// The owner of a tag.
    pub(crate) fn owner(&self, tag: &str) -> Option<&Arc<str>> {
        self.rings.front()?.owner(owner_number(tag))
    }

    /// Whether a tag was this member's at some moment within `window`, in our view.
    pub(crate) fn was_owner(&self, tag: &str, member: &str, window: Duration, now: Tick) -> bool {
        let number = owner_number(tag);
        // A ring was in force until the one after it came.
        let mut until = now;
        for ring in &self.rings {
            if now.since(until) > window {
                return false;
            }
            if ring.owner(number).is_some_and(|owner| **owner == *member) {
                return true;
            }
            until = ring.since;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Tick {
        Tick::from_ms(ms)
    }

    fn ring(owners: &[&str]) -> Vec<Arc<str>> {
        owners.iter().map(|owner| Arc::from(*owner)).collect()
    }

    /// Of three members the second has it, of two the second as well, of one the only one.
    const TAG: &str = "public##DEFAULT_GROUP@@nacos.test.1";

    #[test]
    fn the_owner_is_that_of_java() {
        let mut rings = Rings::default();
        assert_eq!(rings.owner(TAG), None);
        let members = ring(&["10.0.0.10:8848", "10.0.0.2:8848", "10.0.0.3:8848"]);
        assert!(rings.set(members.clone(), at(5)));
        assert!(!rings.set(members, at(9)));
        assert_eq!(rings.since(), at(5));
        let owner = |tag: &str| rings.owner(tag).unwrap().to_string();
        assert_eq!(owner(TAG), "10.0.0.10:8848");
        assert_eq!(owner("other##DEFAULT_GROUP@@nacos.test.1"), "10.0.0.10:8848");
        assert_eq!(owner("public##DEFAULT_GROUP@@demo"), "10.0.0.2:8848");
        assert_eq!(owner("public##DEFAULT_GROUP@@order-service"), "10.0.0.2:8848");
    }

    #[test]
    fn who_was_owner_of_late_is_remembered() {
        let mut rings = Rings::default();
        rings.set(ring(&["a", "b", "c"]), at(0));
        rings.set(ring(&["a"]), at(1_000));
        rings.set(ring(&["b"]), at(2_000));
        rings.set(ring(&["b", "c"]), at(3_000));
        assert_eq!(rings.since(), at(3_000));
        let was = |member: &str, window| {
            rings.was_owner(TAG, member, Duration::from_millis(window), at(10_000))
        };
        assert!(was("b", 8_000));
        assert!(was("a", 8_000), "until two seconds");
        assert!(!was("a", 7_999));
        assert!(!was("d", 60_000));
    }

    #[test]
    fn only_so_many_rings_are_remembered() {
        let mut rings = Rings::default();
        for n in 0..1_000 {
            rings.set(ring(&[if n % 2 == 0 { "a" } else { "b" }]), at(n));
        }
        assert_eq!(rings.rings.len(), MOST_RINGS);
        assert_eq!(rings.since(), at(999));
    }
}
