//! The time after a start in which this server may not know every instance again.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use naming_model::ServiceKey;

use super::{Content, Registry};

/// A beat interval and a second: every live instance has been heard then.
const RECOVERY: Duration = Duration::from_secs(6);

/// Until when an empty list may be one of which nothing is known yet.
#[derive(Debug, Default)]
pub(super) struct Recovery {
    /// In milliseconds of the clock of the registry; 0 for not at all.
    until_ms: AtomicU64,
}

impl Registry {
    /// From now on, for a beat interval, a service without instances may have some. Not so for a
    /// member of a cluster, which answers no reads before it has loaded what the others hold.
    pub(crate) fn begin_recovery(&self) {
        if self.settings.is_member {
            return;
        }
        let until = self.clock.tick().after(RECOVERY).as_ms();
        self.recovery.until_ms.store(until, Relaxed);
    }

    /// Whether the instances of a service may be unknown: this server was stopped before it saved
    /// everything, clients had no time to send beats since, and no instance is known. An empty list
    /// would tell clients that nobody is there.
    pub(crate) fn may_miss_all_of(&self, service: &ServiceKey) -> bool {
        self.is_recovering() && !self.has_instances(service)
    }

    fn is_recovering(&self) -> bool {
        let until_ms = self.recovery.until_ms.load(Relaxed);
        if until_ms == 0 {
            return false;
        }
        let is_over = self.clock.tick().as_ms() >= until_ms;
        if is_over {
            self.recovery.until_ms.store(0, Relaxed);
        }
        !is_over
    }

    fn has_instances(&self, service: &ServiceKey) -> bool {
        let Some(datum) = self.find(service) else { return false };
        let is_instance = |content: &Content| matches!(content, Content::Instance(_));
        datum.read(|reader| reader.visible().any(|(_, _, content)| is_instance(content)))
    }
}
