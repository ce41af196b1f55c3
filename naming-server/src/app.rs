//! The parts of a node, put together.

use std::sync::Arc;
use std::time::Duration;

use distro_core::StampClock;
use distro_net::{Address, Connector, Control, Driver, Forwarder, MemberWatch, Nudge, Service};
use tokio_util::sync::CancellationToken;

use crate::audit::Audit;
use crate::auth::{Auth, AuthSettings};
use crate::checks::{Changes, Checks};
use crate::config::{ClusterConfig, Config};
use crate::durable::{Acks, Data, InstanceCache, Keeper};
use crate::effects::Effects;
use crate::grpc::{Front, FrontParts};
use crate::http::v1::{Api, ApiCluster, ApiParts};
use crate::http::{ConnectionLimits, ConnectionStats};
use crate::java_owners::JavaOwners;
use crate::java2::Changed;
use crate::membership::{Java2Membership, Membership, NacosMembership, Origin};
use crate::nacos::{Adapter, AdapterParts, AdapterSettings, Found, Outboxes, PeerIdentity};
use crate::naming::{Naming, NamingParts};
use crate::push::{PushSocket, PushStats, Pusher};
use crate::registry::{
    self, Cluster, Content, Events, Registry, ServiceState, UpkeepSettings, Watch, Writes,
};
use crate::secret_watch::follow_secret;
use crate::tls::{self, Tls};

mod adjust;
mod java2;
mod pushed;

pub(crate) use adjust::Adjustable;
pub(crate) use java2::Java2;
use pushed::{Lists, PushSink};

/// How long a stopping member goes on telling Java servers of the last changes.
const LAST_LISTS: Duration = Duration::from_secs(2);

/// A node: what answers requests and what runs beside it.
pub(crate) struct App {
    /// Answers requests.
    pub(crate) api: Arc<Api>,
    /// Serves clients that hold connections.
    pub(crate) grpc: Arc<Front>,
    /// Certificates and keys of its ports.
    pub(crate) tls: Arc<Tls>,
    /// How many connections each port for HTTP may have.
    pub(crate) connections: Arc<ConnectionLimits>,
    driver: Driver<Content, ServiceState>,
    pub(crate) control: Control<Content>,
    /// Tells of other members; none for a node alone.
    member_watch: Option<MemberWatch>,
    /// What a member among Java servers has besides.
    pub(crate) nacos: Option<Nacos>,
    /// What a member among Java servers of 2.x or 3.x has besides.
    pub(crate) java2: Option<Java2>,
    upkeep: UpkeepSettings,
    /// Where the secret of the members is, if it may change.
    secret: Option<ClusterConfig>,
    checks: Arc<Checks>,
    /// What puts durable records on disk, if anything does.
    pub(crate) keeper: Option<Arc<Keeper>>,
    /// What saves ephemeral instances, if anything does.
    pub(crate) cache: Option<Arc<InstanceCache>>,
    /// How to make the first user.
    first_user: String,
}

/// What a node speaks through besides its listener.
pub(crate) struct Sockets {
    /// For notices to subscribers.
    pub(crate) push: PushSocket,
    /// For health checks.
    pub(crate) checks: Arc<dyn Connector>,
}

/// What a node does with the file of ephemeral instances in its data folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum SavedInstances {
    /// Neither reads nor writes it: it is that of a server which does not run now.
    #[default]
    LeftAlone,
    /// Shows them again, and goes on saving.
    Kept,
    /// Removes them: they would be out of date when somebody reads them.
    Removed,
}

/// What a node is given beside its settings.
#[derive(Default)]
pub(crate) struct Resources {
    /// Counts its connections.
    pub(crate) connections: Arc<ConnectionStats>,
    /// Takes down administrative writes.
    pub(crate) audit: Arc<Audit>,
    /// What authentication works with, if it is on.
    pub(crate) auth: Option<AuthSettings>,
    /// The header by which tools speak for the operator, if there is one.
    pub(crate) identity: Option<PeerIdentity>,
    /// The folder of durable data, if anything is kept on disk.
    pub(crate) data: Option<Data>,
    /// What becomes of the ephemeral instances that were saved there.
    pub(crate) saved_instances: SavedInstances,
    /// Where the secret of the members is, if it is read again while the node runs.
    pub(crate) secret: Option<ClusterConfig>,
    /// What there is among Java servers of 2.x or 3.x.
    pub(crate) java2: Option<Java2Membership>,
    /// Certificates and keys, which are read again while the node runs.
    pub(crate) tls: Arc<Tls>,
}

impl App {
    /// Builds a node, alone or as a member. Nothing runs before [`Self::run`].
    pub(crate) fn new(
        config: &Config,
        origin: Origin,
        membership: Option<Membership>,
        sockets: Sockets,
        resources: Resources,
    ) -> Self {
        let Resources { connections, audit, auth, identity, data, saved_instances, .. } = resources;
        let Resources { secret, java2, tls, .. } = resources;
        let first_user = how_to_make_the_first_user(data.as_ref());
        let Origin { address, clock, incarnation, seed } = origin;
        let settings = config.registry_settings(seed);
        let events = Arc::new(Events::new(settings.event_capacity));
        let watch = Arc::new(Watch::new(Arc::clone(&events)));
        let nudge = Nudge::default();
        let stamps = StampClock::new(address.member(), incarnation, clock.now());
        let keeper = data.is_some().then(|| Arc::new(Keeper::new()));
        let nudges = membership.iter().map(|_| Arc::new(nudge.clone()) as _);
        let saves_instances = data.is_some() && saved_instances == SavedInstances::Kept;
        let cache = saves_instances.then(|| Arc::new(InstanceCache::new(config.data.stop_grace())));
        let has_java = membership.as_ref().is_some_and(|membership| membership.nacos.is_some());
        let outboxes = has_java.then(|| Arc::new(Outboxes::new(address.as_str(), clock)));
        let keepers = keeper.iter().map(|keeper| Arc::clone(keeper) as _);
        let caches = cache.iter().map(|cache| Arc::clone(cache) as _);
        let changes = Arc::new(Changes::default());
        let checked = [Arc::clone(&changes) as _];
        let told = outboxes.iter().map(|outboxes| Arc::clone(outboxes) as _);
        let changed = java2.is_some().then(Arc::<Changed>::default);
        let told = told.chain(changed.iter().map(|changed| Arc::clone(changed) as _));
        let watchers = nudges.chain(keepers).chain(caches).chain(checked).chain(told).collect();
        let watch_of_all = Arc::clone(&watch);
        let registry =
            Arc::new(Registry::new(settings, events, watch_of_all, stamps, clock, watchers));
        let mut member = Member::new(config, &registry, membership, nudge, seed, keeper.as_ref());
        let nacos = member.nacos.take().zip(outboxes).map(|(nacos, outboxes)| {
            Nacos::new(config, nacos, outboxes, &address, &registry, &member.control)
        });
        if let (Some(keeper), Some(data)) = (&keeper, data) {
            let folder = Arc::clone(data.folder());
            let shared_status = Arc::clone(member.driver.shared_status());
            let beginning = Box::new(move || shared_status.beginning());
            keeper.begin(data, &registry.store, clock, config.durable.retention(), beginning);
            match &cache {
                Some(cache) => cache.begin(folder, &registry, config.shown_again_within()),
                None if saved_instances == SavedInstances::Removed => {
                    InstanceCache::discard(&folder);
                }
                None => {}
            }
        }

        let push_stats = Arc::new(PushStats::default());
        let lists = Arc::new(Lists::new(Arc::clone(&registry)));
        let pusher =
            Pusher::new(config.push_settings(), sockets.push, lists, Arc::clone(&push_stats));
        if !config.push.enabled {
            registry.switches.disable_push();
        }
        let effects = Effects::new(pusher.clone(), member.control.clone());
        registry.switches.connect(Arc::new(effects));
        let auth = auth.map(|auth| Arc::new(Auth::new(auth, Arc::clone(&registry.accounts))));
        let acks = keeper.clone().map(|keeper| {
            let others = member.forwarder.clone().filter(|_| config.durable.wants_majority());
            Acks::new(keeper, Arc::clone(&registry.store), config.durable.ack_timeout(), others)
        });
        let reach = config.check_reach();
        let checks = Checks::new(Arc::clone(&registry), changes, sockets.checks, reach, seed);
        let checks = Arc::new(checks);
        let way = member.cluster.as_ref().map(|cluster| Arc::clone(&cluster.writes));
        let naming = Arc::new(Naming::new(NamingParts {
            writes: Writes::new(Arc::clone(&registry), way.clone(), acks),
            registry,
            pusher,
            cluster: way,
            owners: nacos.as_ref().map(|nacos| JavaOwners::of(&nacos.adapter)),
            auth,
            audit,
            server: address.as_str().to_owned(),
        }));
        naming.change_rates(config.limits.settings());
        let grpc = Arc::new(Front::new(FrontParts {
            settings: config.grpc.clone(),
            address: address.as_str(),
            naming: Arc::clone(&naming),
            shared_status: Arc::clone(member.driver.shared_status()),
            peers: None,
            has_java: java2.is_some(),
        }));
        let java2 = java2.zip(changed).map(|(membership, changed)| {
            let status = member.driver.shared_status();
            Java2::new(config, membership, changed, address.as_str(), &naming, status, &grpc)
        });
        watch.connect(Arc::new(PushSink::new(naming.pusher().clone(), Arc::clone(&grpc))));
        let parts = ApiParts {
            naming,
            push_stats,
            control: member.control.clone(),
            checks: Arc::clone(&checks),
            cluster: member.cluster,
            nacos: nacos.as_ref().map(|nacos| Arc::clone(&nacos.adapter)),
            java2: java2.as_ref().map(|java2| Arc::clone(&java2.peers)),
            token_ttl: Duration::from_secs(config.auth.token_ttl_s),
            identity,
            other_rows: crate::http::rows(),
            keeper: keeper.clone(),
            cache: cache.clone(),
            address,
            context_path: config.http_settings().context_path,
            connections,
            other_front: Arc::clone(&grpc) as _,
            tls: Arc::clone(&tls) as _,
        };
        let api = Arc::new_cyclic(|me| Api::new(parts, me.clone()));
        api.connect(Arc::clone(&grpc) as _);
        crate::http::connect_members(&api);
        Self {
            api,
            grpc,
            tls,
            connections: Arc::new(config.http.connection_limits()),
            driver: member.driver,
            control: member.control,
            member_watch: member.watch,
            nacos,
            java2,
            upkeep: config.upkeep_settings(),
            secret: secret.filter(|settings| settings.is_enabled() && settings.has_secret()),
            checks,
            keeper,
            cache,
            first_user,
        }
    }

    /// Hands everything over to the other members, as long as this node still serves. At once if
    /// there are none.
    pub(crate) fn leave(&self) -> impl Future<Output = ()> + use<> {
        let control = self.api.is_in_cluster().then(|| self.control.clone());
        let adapter = self.nacos.as_ref().map(|nacos| Arc::clone(&nacos.adapter));
        let peers = self.java2.as_ref().map(|java2| Arc::clone(&java2.peers));
        async move {
            if let Some(peers) = peers {
                peers.flush(LAST_LISTS).await;
            }
            if let Some(adapter) = adapter {
                adapter.flush(LAST_LISTS).await;
            }
            if let Some(control) = control {
                control.leave().await;
            }
        }
    }

    /// What is there only among Java servers, with the list of members to follow. It runs apart,
    /// since it has to do before the port is open.
    pub(crate) fn take_nacos(&mut self) -> Option<(Nacos, MemberWatch)> {
        let nacos = self.nacos.take()?;
        Some((nacos, self.member_watch.take()?))
    }

    /// The same among Java servers of 2.x or 3.x.
    pub(crate) fn take_java2(&mut self) -> Option<Java2> {
        self.java2.take()
    }

    /// Runs what runs beside the requests, until `shutdown`.
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        let registry = Arc::clone(&self.api.registry);
        let upkeep = registry::run_upkeep(registry, self.upkeep, shutdown.clone());
        // A task of its own each, so that neither waits for the other's slice to end.
        let mut tasks = vec![
            ("driver", tokio::spawn(self.driver.run(shutdown.clone()))),
            ("upkeep", tokio::spawn(upkeep)),
            ("checks", tokio::spawn(self.checks.run(shutdown.clone()))),
            ("push", tokio::spawn(self.api.naming().pusher().clone().run(shutdown.clone()))),
            ("grpc", tokio::spawn(self.grpc.run(shutdown.clone()))),
        ];
        let api = Arc::clone(&self.api);
        let miss_users = api.miss_users(self.first_user, shutdown.clone());
        tasks.push(("first user", tokio::spawn(miss_users)));
        if let Some(settings) = self.secret {
            let follow = follow_secret(Arc::clone(&self.api), settings, shutdown.clone());
            tasks.push(("secret", tokio::spawn(follow)));
        }
        for keychain in self.tls.keychains() {
            tasks.push(("TLS files", tokio::spawn(tls::follow(keychain, shutdown.clone()))));
        }
        if let Some(watch) = self.member_watch {
            tasks.push(("members", tokio::spawn(watch.follow(self.control, shutdown))));
        }
        for (name, task) in tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "the {name} task failed");
            }
        }
    }
}

fn how_to_make_the_first_user(data: Option<&Data>) -> String {
    match data {
        Some(data) => format!(
            "stop this server, then: naming-server user add --admin NAME --data-dir {}",
            data.path().display()
        ),
        None => "users need a server that keeps data on disk (data.in_memory is true)".to_owned(),
    }
}

/// What drives the protocol, and what is there only in a cluster.
struct Member {
    driver: Driver<Content, ServiceState>,
    control: Control<Content>,
    cluster: Option<ApiCluster>,
    forwarder: Option<Forwarder<Content, ServiceState>>,
    watch: Option<MemberWatch>,
    nacos: Option<NacosMembership>,
}

impl Member {
    fn new(
        config: &Config,
        registry: &Registry,
        membership: Option<Membership>,
        nudge: Nudge,
        seed: u64,
        keeper: Option<&Arc<Keeper>>,
    ) -> Self {
        let (settings, store) = (config.distro_config(), Arc::clone(&registry.store));
        let Some(Membership { peers, mut members, watch, nacos }) = membership else {
            let (driver, control) = Driver::new(settings, store, registry.clock);
            let (cluster, forwarder, watch, nacos) = (None, None, None, None);
            return Self { driver, control, cluster, forwarder, watch, nacos };
        };
        if let Some(nacos) = &nacos {
            // Java servers do not speak the protocol of the core.
            members = if config.cluster.has_secret() { nacos.found.ours() } else { Vec::new() };
        }
        let deadline = settings.forward_deadline;
        let (driver, control) =
            Driver::with_peers(settings, Arc::clone(&store), peers.clone(), &members, nudge, seed);
        let shared_status = Arc::clone(driver.shared_status());
        let mut forwarder =
            Forwarder::new(Arc::clone(&store), Arc::clone(&shared_status), peers.clone(), deadline);
        let mut service = Service::new(driver.answer(), peers.clone());
        if let Some(keeper) = keeper {
            forwarder = forwarder.with_durability(Arc::clone(keeper) as _);
            service = service.with_durability(Arc::clone(keeper) as _);
        }
        let writes = Arc::new(Cluster::new(shared_status, forwarder.clone(), store));
        let cluster = Some(ApiCluster { writes, service, peers });
        let (forwarder, watch) = (Some(forwarder), Some(watch));
        Self { driver, control, cluster, forwarder, watch, nacos }
    }
}

/// A member among Java servers.
pub(crate) struct Nacos {
    pub(crate) adapter: Arc<Adapter>,
    /// Who answered before this member was built.
    pub(crate) found: Found,
}

impl Nacos {
    fn new(
        config: &Config,
        membership: NacosMembership,
        outboxes: Arc<Outboxes>,
        address: &Address,
        registry: &Arc<Registry>,
        control: &Control<Content>,
    ) -> Self {
        let NacosMembership { caller, found } = membership;
        let nacos = &config.cluster.nacos;
        let settings = AdapterSettings {
            own: address.clone(),
            version: nacos.version.clone(),
            has_secret: config.cluster.has_secret(),
            trusts_everybody: nacos.trust_unknown_peers,
        };
        let (registry, control) = (Arc::clone(registry), control.clone());
        let parts = AdapterParts { settings, registry, control, caller, outboxes };
        Self { adapter: Arc::new(Adapter::new(parts)), found }
    }
}
