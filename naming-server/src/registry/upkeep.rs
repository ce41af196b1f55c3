//! What must be done now and then: empty services, unused views, the end of a log storm, switches
//! that were not taken over.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use naming_model::ServiceKey;
use tokio_util::sync::CancellationToken;

use super::operator_values::has_operator_values;
use super::{NamingDatum, Registry, Views, hosts, settings, wall_ms};

/// A service is cleaned up when it is found empty this many times in a row.
const EMPTY_OBSERVATIONS: u8 = 5;
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
    }
}

async fn round(registry: &Registry, auto_clean: bool) {
    // Sorting a hundred thousand names takes longer than a request may wait for its thread.
    let store = Arc::clone(&registry.store);
    let Ok(all) = tokio::task::spawn_blocking(move || store.all()).await else { return };
    let mut all = all.into_iter();
    while !all.as_slice().is_empty() {
        for datum in all.by_ref().take(SLICE) {
            Views::sweep(&datum);
            // In a cluster each member cleans up what it owns, so that no two do.
            if auto_clean && is_ours(registry, &datum) && is_left_over(&datum) {
                clean(registry, &datum);
            }
        }
        tokio::task::yield_now().await;
    }
}

/// Whether it is a service, and this member's to clean up.
fn is_ours(registry: &Registry, datum: &NamingDatum) -> bool {
    ServiceKey::is_tag(datum.tag()) && registry.store.keeps(datum.tag())
}

/// Whether the service has been empty for long enough. One that an operator configured stays:
/// its settings, and the values kept for its instances, are waiting for the next instance.
fn is_left_over(datum: &NamingDatum) -> bool {
    let is_empty = datum.read(|reader| {
        reader.is_open()
            && hosts(&reader).next().is_none()
            && !settings(&reader).explicit
            && !has_operator_values(&reader)
    });
    let seen = &datum.attached().empty_seen;
    if !is_empty {
        seen.store(0, Ordering::Relaxed);
        return false;
    }
    seen.fetch_add(1, Ordering::Relaxed) + 1 >= EMPTY_OBSERVATIONS
}

fn clean(registry: &Registry, datum: &NamingDatum) {
    datum.attached().empty_seen.store(0, Ordering::Relaxed);
    let Some(service) = ServiceKey::from_tag(datum.tag()) else { return };
    // Checked again under the lock: an instance may have come since.
    let now = registry.clock.tick();
    let closed = registry.store.update_existing(datum.tag(), now, |writer| {
        let is_empty = writer.visible().next().is_none();
        if is_empty {
            writer.close(registry.store.clock().issue(now));
        }
        is_empty
    });
    if closed == Some(true) {
        tracing::info!(service = %service, "empty service removed");
    }
}
