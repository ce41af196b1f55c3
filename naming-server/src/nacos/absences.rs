//! What a Java server does not name any more: gone only at the second look.

use std::collections::BTreeMap;
use std::time::Duration;

use distro_core::Tick;
use naming_model::ServiceKey;

/// From the first look to the second. Java servers name what they own every 5 s.
const SECOND_LOOK: Duration = Duration::from_secs(4);

/// The services that were missing in the last message of one member, and since when. No more than
/// this server holds.
#[derive(Debug, Default)]
pub(crate) struct Absences {
    since: BTreeMap<ServiceKey, Tick>,
}

impl Absences {
    /// Takes the services that are missing in a message, all of them. Returns those that were
    /// missing before, too, without a message in between that named them.
    pub(crate) fn note(&mut self, missing: Vec<ServiceKey>, now: Tick) -> Vec<ServiceKey> {
        let mut before = std::mem::take(&mut self.since);
        let mut gone = Vec::new();
        for service in missing {
            let since = before.remove(&service).unwrap_or(now);
            if now.since(since) >= SECOND_LOOK {
                gone.push(service);
            } else {
                self.since.insert(service, since);
            }
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn services(names: &[&str]) -> Vec<ServiceKey> {
        names.iter().map(|name| ServiceKey::parse("public", name).unwrap()).collect()
    }

    fn at(ms: u64) -> Tick {
        Tick::from_ms(ms)
    }

    #[test]
    fn what_is_missing_twice_is_gone() {
        let mut absences = Absences::default();
        assert!(absences.note(services(&["g@@a", "g@@b"]), at(0)).is_empty());
        assert!(absences.note(services(&["g@@a"]), at(1_000)).is_empty(), "too soon");
        assert!(absences.note(services(&["g@@b"]), at(5_000)).is_empty(), "was named again");
        assert!(absences.note(services(&["g@@a", "g@@b"]), at(7_000)).is_empty());
        assert_eq!(absences.note(services(&["g@@a", "g@@b"]), at(9_000)), services(&["g@@b"]));
        assert_eq!(absences.note(services(&["g@@a"]), at(12_000)), services(&["g@@a"]));
        assert!(absences.since.is_empty());
    }
}
