//! The parts of a node, put together.

use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::sync::Arc;

use distro_core::{MemberId, StampClock};
use distro_net::{Clock, Driver};
use naming_model::ServiceKey;
use tokio::net::UdpSocket;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::effects::Effects;
use crate::http::ConnectionStats;
use crate::http::v1::{Api, ApiParts};
use crate::push::{PushStats, Pusher, Rendered, Source};
use crate::registry::{
    self, ChangeSink, Content, Events, Flavour, ListReply, Registry, ServiceState, UpkeepSettings,
    ViewQuery, Watch, list_reply, wall_ms,
};

/// A node: what answers requests and what runs beside it.
pub(crate) struct App {
    /// Answers requests.
    pub(crate) api: Arc<Api>,
    driver: Driver<Content, ServiceState>,
    upkeep: UpkeepSettings,
}

impl App {
    /// Builds a node that listens on `bound`. Nothing runs before [`Self::run`].
    pub(crate) fn new(
        config: &Config,
        bound: SocketAddr,
        push_socket: UdpSocket,
        connections: Arc<ConnectionStats>,
    ) -> Self {
        let address = config.advertised(bound);
        let clock = Clock::start();
        let now = clock.now();
        let settings = config.registry_settings(random_seed());
        let events = Arc::new(Events::new(settings.event_capacity));
        let watch = Arc::new(Watch::new(Arc::clone(&events), clock));
        // Two starts within a second are told apart by the clock behind the stamps.
        let incarnation = u32::try_from(now.wall_ms / 1_000).unwrap_or(u32::MAX);
        let stamps = StampClock::new(MemberId::of(&address.to_string()), incarnation, now);
        let registry = Arc::new(Registry::new(settings, events, Arc::clone(&watch), stamps, clock));
        let store = Arc::clone(&registry.store);
        let (driver, control) = Driver::new(config.distro_config(), store, clock);

        let push_stats = Arc::new(PushStats::default());
        let lists = Arc::new(Lists { registry: Arc::clone(&registry) });
        let pusher =
            Pusher::new(config.push_settings(), push_socket, lists, Arc::clone(&push_stats));
        watch.connect(Arc::new(PushSink(pusher.clone())));
        if !config.push.enabled {
            registry.switches.disable_push();
        }
        registry.switches.connect(Arc::new(Effects::new(pusher.clone(), control.clone())));
        let context_path = config.http_settings().context_path;
        let parts =
            ApiParts { registry, pusher, push_stats, control, address, context_path, connections };
        Self { api: Arc::new(Api::new(parts)), driver, upkeep: config.upkeep_settings() }
    }

    /// Runs what runs beside the requests, until `shutdown`.
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        let registry = Arc::clone(&self.api.registry);
        let upkeep = registry::run_upkeep(registry, self.upkeep, shutdown.clone());
        // A task of its own each, so that neither waits for the other's slice to end.
        let driver = tokio::spawn(self.driver.run(shutdown.clone()));
        let upkeep = tokio::spawn(upkeep);
        let pusher = tokio::spawn(self.api.pusher.clone().run(shutdown));
        for (name, task) in [("driver", driver), ("upkeep", upkeep), ("push", pusher)] {
            if let Err(error) = task.await {
                tracing::error!(%error, "the {name} task failed");
            }
        }
    }
}

/// Wakes the pusher when a service looks different.
struct PushSink(Pusher);

impl ChangeSink for PushSink {
    fn changed(&self, service: &str) {
        self.0.changed(service);
    }
}

/// The lists of the registry as they are pushed: like the answer to the subscriber's own request,
/// with the polling interval of those who are pushed to.
struct Lists {
    registry: Arc<Registry>,
}

impl Source for Lists {
    fn render(&self, service: &ServiceKey, clusters: &str, flavour: Flavour) -> Rendered {
        let query = ViewQuery { flavour, healthy_only: false, clusters, null_metadata: false };
        let cache_ms = self.registry.switches.load().push_cache_ms;
        let reply = ListReply { service, flavour, cache_ms, clusters, env: "", wall_ms: wall_ms() };
        self.registry.read_view(service, &query, |view| Rendered {
            revision: view.map_or(0, |view| view.revision),
            data: list_reply(view, &reply).concat().into(),
        })
    }
}

/// A number nobody can guess, so that nobody can choose names that collide in the store's map.
fn random_seed() -> u64 {
    RandomState::new().hash_one(0_u64)
}
