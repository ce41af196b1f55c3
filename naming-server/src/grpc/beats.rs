//! Instances that connections hold in services of Java servers of 1.x: this member beats for them at
//! their owner, which knows no connections.

use std::sync::Arc;
use std::time::Duration;

use distro_core::{ConnectionId, Key};
use naming_model::ServiceKey;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};

use super::Front;
use crate::registry::Content;

/// Instances that are beaten for at a time. The others wait for the next renewal, 5 s later: an
/// owner gives an instance 15 s.
const MOST_WAITING: usize = 20_000;
/// Beats that are on their way at a time, so that writes of clients get through beside them.
const MOST_CALLS: usize = 32;
/// From one renewal to the next: until then the beats of this one go on.
const RENEWAL: Duration = Duration::from_secs(5);
/// No instance is beaten for more often, whatever its client declares.
const LEAST_INTERVAL: Duration = Duration::from_millis(500);

/// Beats on their way to owners of another make.
pub(super) struct OwnerBeats {
    places: Arc<Semaphore>,
    turns: Semaphore,
}

impl Default for OwnerBeats {
    fn default() -> Self {
        let places = Arc::new(Semaphore::new(MOST_WAITING));
        Self { places, turns: Semaphore::new(MOST_CALLS) }
    }
}

impl Front {
    /// Beats for an instance at its owner until the next renewal: as often as its client declares
    /// to beat, since the owner judges by that.
    pub(super) fn beat_at_owner(
        self: &Arc<Self>,
        connection: ConnectionId,
        tag: &str,
        key: Key,
        value: &Content,
    ) {
        let Some(service) = ServiceKey::from_tag(tag) else { return };
        let Ok(place) = Arc::clone(&self.beats.places).try_acquire_owned() else { return };
        let interval = interval_of(value);
        let front = Arc::clone(self);
        tokio::spawn(async move {
            let (_place, until) = (place, Instant::now() + RENEWAL);
            let is_held = || front.connections.get(connection).is_some_and(|one| !one.is_over());
            while is_held() {
                let Ok(turn) = front.beats.turns.acquire().await else { return };
                front.naming.beat_at_owner(&service, &key).await;
                drop(turn);
                if Instant::now() + interval >= until {
                    return;
                }
                sleep(interval).await;
            }
        });
    }

    /// Whether a connection of this member that is open holds an instance of a service that a Java
    /// server owns. Elsewhere stamps tell that.
    pub(super) fn is_held_by_another(&self, tag: &str, key: &str) -> bool {
        let registry = self.registry();
        if !ServiceKey::from_tag(tag).is_some_and(|service| registry.is_foreign(&service)) {
            return false;
        }
        let holder = registry.mark_of(tag, key).and_then(|(_, by)| self.holder.connection_of(by));
        holder.and_then(|id| self.connections.get(id)).is_some_and(|one| !one.is_over())
    }
}

fn interval_of(value: &Content) -> Duration {
    let Content::Instance(instance) = value else { return RENEWAL };
    let declared = instance.beat_interval_ms().map_or(RENEWAL, Duration::from_millis);
    declared.clamp(LEAST_INTERVAL, RENEWAL)
}
