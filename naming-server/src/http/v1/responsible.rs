//! The services that this server judges, and their instances.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::registry::{CLASS_INSTANCE, Registry, hosts};

/// How long a count is given out again that takes a look at every service.
const FRESH: Duration = Duration::from_secs(5);

/// Counts them: anybody may ask as often as he likes, and health checks do.
#[derive(Debug, Default)]
pub(super) struct Responsible {
    is_looking: AtomicBool,
    last: Mutex<Option<(Instant, Counts)>>,
}

/// Services, and instances.
type Counts = (usize, u64);

impl Responsible {
    /// By slots they are counted as they change. Among Java servers, where services fall to members
    /// one by one, one look at all of them does for five seconds, and nobody waits for it who asks
    /// meanwhile.
    pub(super) fn counts(&self, registry: &Registry) -> Counts {
        if let Some(owned) = registry.store.owned_counts(CLASS_INSTANCE) {
            return owned.fold((0, 0), |(services, instances), (slot, count)| {
                (services + registry.index.of_slot(slot), instances + count)
            });
        }
        let last = *self.last.lock();
        let is_fresh = last.is_some_and(|(taken, _)| taken.elapsed() < FRESH);
        if is_fresh || self.is_looking.swap(true, Ordering::Acquire) {
            return last.map_or((0, 0), |(_, counts)| counts);
        }
        let counts = look(registry);
        *self.last.lock() = Some((Instant::now(), counts));
        self.is_looking.store(false, Ordering::Release);
        counts
    }
}

fn look(registry: &Registry) -> Counts {
    let owned = registry.services().into_iter();
    owned.filter(|(service, _)| registry.store.owns(service.as_str())).fold(
        (0, 0),
        |(services, instances), (_, datum)| {
            (services + 1, instances + datum.read(|reader| hosts(&reader).count()) as u64)
        },
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use distro_core::{MemberId, OwnerPolicy, StampClock};
    use distro_net::Clock;
    use naming_model::{InstanceKey, RecordKey, ServiceKey};

    use super::*;
    use crate::registry::{Events, Instance, Metadata, Watch};

    fn registry(owner_policy: OwnerPolicy) -> Registry {
        let clock = Clock::start();
        let mut settings = crate::Config::default().registry_settings(1);
        settings.store.owner_policy = owner_policy;
        let events = Arc::new(Events::new(10));
        let watch = Arc::new(Watch::new(Arc::clone(&events)));
        let stamps = StampClock::new(MemberId(1), 1, clock.now());
        Registry::new(settings, events, watch, stamps, clock, Vec::new())
    }

    fn service(number: u16) -> ServiceKey {
        ServiceKey::parse("public", &format!("g@@s{number}")).unwrap()
    }

    fn register(registry: &Registry, number: u16) {
        for port in 1..=number % 4 + 1 {
            let key = InstanceKey { ip: "10.0.0.1", port, cluster: "c" };
            let instance = Instance::new(1.0, Metadata::default()).unwrap();
            registry
                .register(
                    registry.clock.tick(),
                    &service(number),
                    &key,
                    instance,
                    true,
                    &String::new,
                )
                .unwrap();
        }
    }

    #[test]
    fn what_is_counted_as_it_changes_is_what_a_look_finds() {
        let registry = registry(OwnerPolicy::Slots);
        let counts = || Responsible::default().counts(&registry);
        (0..40).for_each(|number| register(&registry, number));
        assert_eq!(counts(), (40, 100));
        // Again, gone one by one, gone with its service, and back.
        (0..10).for_each(|number| register(&registry, number));
        let first = RecordKey::ephemeral(InstanceKey { ip: "10.0.0.1", port: 1, cluster: "c" });
        (0..20).for_each(|number| {
            registry.deregister(registry.clock.tick(), &service(number), &first, &String::new)
        });
        (10..15).for_each(|number| {
            _ = registry.delete_service(registry.clock.tick(), &service(number), &String::new)
        });
        register(&registry, 12);
        assert_eq!(counts(), look(&registry));
        assert_eq!(counts().0, 36);
    }

    #[test]
    fn one_look_does_for_a_while() {
        let registry = registry(OwnerPolicy::Tags(|_| 0));
        let responsible = Responsible::default();
        register(&registry, 3);
        assert_eq!(responsible.counts(&registry), (1, 4));
        register(&registry, 7);
        assert_eq!(responsible.counts(&registry), (1, 4));
        *responsible.last.lock() = None;
        responsible.is_looking.store(true, Ordering::Release);
        assert_eq!(responsible.counts(&registry), (0, 0), "somebody else looks");
        responsible.is_looking.store(false, Ordering::Release);
        assert_eq!(responsible.counts(&registry), (2, 8));
    }
}
