//! Why an instance that should be checked is not, and who is told of it.

use std::time::Duration;

use distro_core::Tick;

use super::Reach;
use crate::registry::{CheckTarget, HealthChecker};

/// Warnings that are written within [`WARNING_PERIOD`]; what is left out comes later.
const MOST_WARNINGS: u32 = 10;
const WARNING_PERIOD: Duration = Duration::from_secs(60);

/// Why an instance is not checked although it should be. It keeps its health.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Barrier {
    /// This server makes no checks of this type: another member, or this one as another build,
    /// took the settings.
    Type,
    /// Its address is none that checks may connect to.
    Network,
}

impl Barrier {
    /// Names for metrics, in the order of the variants.
    pub(crate) const KINDS: [&'static str; 2] = ["type", "network"];

    /// What keeps this one from being checked.
    pub(super) fn before(target: &CheckTarget, reach: &Reach) -> Option<Self> {
        if !is_made(target.checker()) {
            Some(Self::Type)
        } else if !reach.allows(target.ip()) {
            Some(Self::Network)
        } else {
            None
        }
    }

    pub(super) fn warn(self, target: &CheckTarget) {
        let (service, cluster) = (&*target.tag, target.cluster());
        match self {
            Self::Type => tracing::warn!(
                service,
                cluster,
                "persistent instances keep the health they have: this server makes no checks of \
                 the type that the settings of the cluster ask for"
            ),
            Self::Network => tracing::warn!(
                service,
                cluster,
                address = target.ip(),
                "persistent instances keep the health they have: checks may not connect \
                 to their addresses (health.check_networks)"
            ),
        }
    }
}

/// Whether this server makes checks of this type.
pub(crate) fn is_made(checker: &HealthChecker) -> bool {
    cfg!(feature = "mysql") || !matches!(checker, HealthChecker::Mysql { .. })
}

/// How many warnings have been written lately.
#[derive(Debug, Default)]
pub(super) struct Warnings {
    since: Tick,
    written: u32,
}

impl Warnings {
    /// Whether there is room for one more.
    pub(super) fn has_room(&mut self, now: Tick) -> bool {
        if now.since(self.since) >= WARNING_PERIOD {
            *self = Self { since: now, written: 0 };
        }
        self.written < MOST_WARNINGS
    }

    pub(super) fn note(&mut self) {
        self.written += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_few_in_a_minute() {
        let mut warnings = Warnings::default();
        let mut written = |now| {
            let write = |_: &u32| {
                let has_room = warnings.has_room(now);
                has_room.then(|| warnings.note());
                has_room
            };
            (0..100).filter(write).count()
        };
        assert_eq!(
            [0, 59_999, 60_000, 60_001].map(|ms| written(Tick::from_ms(ms))),
            [10, 0, 10, 0]
        );
        let names =
            [Barrier::Type, Barrier::Network].map(|barrier| Barrier::KINDS[barrier as usize]);
        assert_eq!(names, ["type", "network"]);
    }
}
