//! Periodic work: empty services, unused views, the end of a log storm, switches
//! that were not taken over; and making room as soon as too much was removed.

use std::sync::Arc;
use std::time::Duration;

use distro_core::Slot;
use naming_model::ServiceKey;
use tokio_util::sync::CancellationToken;

use super::{NamingDatum, Registry, Views, wall_ms};

/// A service is cleaned up when it is found empty this many times in a row.
const EMPTY_LOOKS: u8 = 5;
/// From one look at the memory of removals to the next. What is removed within that time must find
/// room: some tens of MiB at the most that two cores can do.
const RELIEF_PERIOD: Duration = Duration::from_secs(1);
/// Services looked at before the thread is given to others.
const SLICE: usize = 256;

/// How the upkeep goes.
#[derive(Debug, Clone)]
pub(crate) struct UpkeepSettings {
    /// Whether empty services are removed.
    pub(crate) auto_clean: bool,
    /// From the start to the first round.
    pub(crate) initial_delay: Duration,
    /// From one round to the next.
    pub(crate) period: Duration,
}

/// Runs until `shutdown`.
pub(crate) async fn run(
    registry: Arc<Registry>,
    settings: UpkeepSettings,
    shutdown: CancellationToken,
) {
    let rounds = async {
        tokio::time::sleep(settings.initial_delay).await;
        loop {
            round(&registry, settings.auto_clean).await;
            tokio::time::sleep(settings.period).await;
        }
    };
    let relief = async {
        let mut was_full = false;
        loop {
            tokio::time::sleep(RELIEF_PERIOD).await;
            if registry.store.is_crowded() {
                relieve(&registry, settings.auto_clean).await;
            }
            let is_full = registry.store.is_out_of_memory();
            if is_full && !was_full {
                tracing::warn!(
                    bytes = registry.store.tombstone_bytes(),
                    "removals take all of store.tombstone_bytes: new instances are refused until \
                     some may be forgotten"
                );
            }
            was_full = is_full;
        }
    };
    let log = async {
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            registry.events.flush_log(wall_ms());
            registry.switches.settle();
        }
    };
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = rounds => {}
        () = relief => {}
        () = log => {}
        () = registry.release_lists() => {}
    }
}

async fn round(registry: &Registry, auto_clean: bool) {
    for slot in Slot::all() {
        // Sorting a hundred thousand names at once takes longer than a request may wait for its
        // thread.
        let datums = registry.store.in_slot(slot);
        for some in datums.chunks(SLICE) {
            for datum in some {
                Views::sweep(datum);
                if auto_clean && let Some(service) = clean_up(registry, datum) {
                    tracing::info!(
                        service = service.as_str(),
                        "this member does not list the empty service any more"
                    );
                }
            }
            tokio::task::yield_now().await;
        }
    }
}

/// Makes room where too much was removed: empty services are cleaned up without waiting, and what
/// was removed is forgotten as soon as it may be.
async fn relieve(registry: &Registry, auto_clean: bool) {
    let before = registry.store.tombstone_bytes();
    let mut cleaned = 0_usize;
    for slot in Slot::all() {
        if !registry.store.is_crowded_slot(slot) {
            continue;
        }
        for some in registry.store.in_slot(slot).chunks(SLICE) {
            for datum in some {
                cleaned += usize::from(auto_clean && clean_up(registry, datum).is_some());
                registry.store.relieve(datum, registry.clock.tick());
            }
            tokio::task::yield_now().await;
        }
    }
    tracing::debug!(
        cleaned,
        bytes_before = before,
        bytes = registry.store.tombstone_bytes(),
        "removals take more than half of store.tombstone_bytes: empty services were cleaned up \
         at once"
    );
}

/// One look at a service. If it has been empty for long enough this member does not list it any
/// more, and the name is returned; every member sees to that for itself, and tells nobody. A
/// service that an operator configured stays: its settings, and the values kept for its instances,
/// are records that wait for the next instance.
fn clean_up(registry: &Registry, datum: &Arc<NamingDatum>) -> Option<ServiceKey> {
    let service = ServiceKey::from_tag(datum.tag())?;
    // A service that shows its last list is not empty to its readers.
    let is_over = datum.attached().protected.held().is_none()
        && registry.store.clean_up(datum, EMPTY_LOOKS, registry.clock.tick());
    is_over.then_some(service)
}
