//! The parts of a node, put together.

use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::sync::Arc;

use distro_core::{MemberId, StampClock};
use distro_net::{Clock, Driver};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::http::v1::Api;
use crate::registry::{self, Content, Events, Registry, ServiceState, UpkeepSettings, Watch};

/// A node: what answers requests and what runs beside it.
pub(crate) struct App {
    /// Answers requests.
    pub(crate) api: Arc<Api>,
    driver: Driver<Content, ServiceState>,
    upkeep: UpkeepSettings,
}

impl App {
    /// Builds a node that is reached at `address`. Nothing runs before [`Self::run`].
    pub(crate) fn new(config: &Config, address: SocketAddr) -> Self {
        let clock = Clock::start();
        let now = clock.now();
        let settings = config.registry_settings(random_seed());
        let events = Arc::new(Events::new(settings.event_capacity));
        let watch = Arc::new(Watch::new(Arc::clone(&events), clock));
        // Two starts within a second are told apart by the clock behind the stamps.
        let incarnation = u32::try_from(now.wall_ms / 1_000).unwrap_or(u32::MAX);
        let stamps = StampClock::new(MemberId::of(&address.to_string()), incarnation, now);
        let registry = Arc::new(Registry::new(settings, events, watch, stamps, clock));
        let store = Arc::clone(&registry.store);
        let (driver, _control) = Driver::new(config.distro_config(), store, clock);
        Self { api: Arc::new(Api { registry }), driver, upkeep: config.upkeep_settings() }
    }

    /// Runs what runs beside the requests, until `shutdown`.
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        let registry = Arc::clone(&self.api.registry);
        let upkeep = registry::run_upkeep(registry, self.upkeep, shutdown.clone());
        // A task of its own each, so that neither waits for the other's slice to end.
        let driver = tokio::spawn(self.driver.run(shutdown));
        let upkeep = tokio::spawn(upkeep);
        for (name, task) in [("driver", driver), ("upkeep", upkeep)] {
            if let Err(error) = task.await {
                tracing::error!(%error, "the {name} task failed");
            }
        }
    }
}

/// A number nobody can guess, so that nobody can choose names that collide in the store's map.
fn random_seed() -> u64 {
    RandomState::new().hash_one(0_u64)
}
