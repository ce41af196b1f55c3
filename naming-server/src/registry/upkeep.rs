//! Periodic work: empty services, unused views, the end of a log storm, switches
//! that were not taken over.

use std::sync::Arc;
use std::time::Duration;

use distro_core::Slot;
use naming_model::ServiceKey;
use tokio_util::sync::CancellationToken;

use super::{NamingDatum, Registry, Views, wall_ms};

/// A service is cleaned up when it is found empty this many times in a row.
const EMPTY_LOOKS: u8 = 5;
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
                // A service that shows its last list is not empty to its readers.
                if auto_clean && datum.attached().protected.held().is_none() {
                    clean_up(registry, datum);
                }
            }
            tokio::task::yield_now().await;
        }
    }
}

/// One look at a service. If it has been empty for long enough this member does not list it any
/// more; every member sees to that for itself, and tells nobody. A service that an operator
/// configured stays: its settings, and the values kept for its instances, are records that wait
/// for the next instance.
fn clean_up(registry: &Registry, datum: &Arc<NamingDatum>) {
    let Some(service) = ServiceKey::from_tag(datum.tag()) else { return };
    if registry.store.clean_up(datum, EMPTY_LOOKS, registry.clock.tick()) {
        tracing::info!(
            service = service.as_str(),
            "this member does not list the empty service any more"
        );
    }
}
