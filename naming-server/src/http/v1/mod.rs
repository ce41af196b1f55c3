//! The 1.x API: parse, call the registry, format. One file for each resource.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use distro_net::Control;
use naming_model::{DEFAULT_NAMESPACE, ServiceKey, grouped_name};
use parking_lot::Mutex;

use super::{ApiError, Call, ConnectionStats, Handler, Reply, no_such_api};
use crate::metrics::RequestCounts;
use crate::registry::{Flavour, Registry, wall_ms};

mod beat;
mod console;
mod gate;
mod instance;
mod member;
mod metrics;
mod operator;
mod page;
mod route;
mod switch_object;
mod switches;
mod system;

use console::Namespaces;
use route::{Route, find_route};
use system::System;

/// The version of Nacos this API is that of. Clients and tools compare it, so our own would only
/// mislead them.
const COMPATIBLE_VERSION: &str = "1.4.8";
/// Services up to which counting them anew for every request costs nothing worth a thought.
const FEW_SERVICES: usize = 10_000;

/// What the handlers work with.
pub(crate) struct Api {
    pub(crate) registry: Arc<Registry>,
    /// To the task that judges instances.
    control: Control,
    /// Where clients reach this server.
    address: SocketAddr,
    context_path: String,
    connections: Arc<ConnectionStats>,
    requests: RequestCounts,
    namespaces: Namespaces,
    system: System,
    services: Mutex<ServiceCount>,
    started: Started,
}

/// When this server started.
struct Started {
    instant: Instant,
    wall_ms: u64,
}

/// How many services there were when they were counted last.
struct ServiceCount {
    counted: Instant,
    count: usize,
}

/// What an [`Api`] is made of.
pub(crate) struct ApiParts {
    pub(crate) registry: Arc<Registry>,
    pub(crate) control: Control,
    pub(crate) address: SocketAddr,
    pub(crate) context_path: String,
    pub(crate) connections: Arc<ConnectionStats>,
}

impl Handler for Api {
    fn handle(&self, call: &Call<'_>) -> Reply {
        let route = find_route(call);
        let reply = match (self.gate(route, call), route) {
            (Some(refusal), _) => refusal,
            (None, Some(route)) => self.dispatch(route, call).into(),
            (None, None) => no_such_api(call),
        };
        // What has no route counts in a row of its own, the last.
        let row = route.map_or(Route::ALL.len(), |route| route as usize);
        self.requests.count(row, reply.status.as_u16());
        reply
    }
}

impl Api {
    pub(crate) fn new(parts: ApiParts) -> Self {
        let ApiParts { registry, control, address, context_path, connections } = parts;
        let now = Instant::now();
        Self {
            registry,
            control,
            address,
            context_path,
            connections,
            requests: RequestCounts::new(Route::ALL.len() + 1),
            namespaces: Namespaces::default(),
            system: System::default(),
            services: Mutex::new(ServiceCount { counted: now, count: 0 }),
            started: Started { instant: now, wall_ms: wall_ms() },
        }
    }

    /// How many services there are; where they are many, how many there were a second ago.
    fn service_count(&self) -> usize {
        let mut services = self.services.lock();
        let is_old = services.counted.elapsed().as_secs() >= 1;
        if is_old || self.registry.store.len() <= FEW_SERVICES {
            let count = self.registry.service_count();
            *services = ServiceCount { counted: Instant::now(), count };
        }
        services.count
    }

    fn subscribe(
        &self,
        _call: &Call<'_>,
        _service: &ServiceKey,
        _clusters: &str,
        _flavour: Flavour,
        _udp_port: i32,
    ) -> u64 {
        self.registry.switches.load().default_cache_ms
    }

    fn dispatch(&self, route: Route, call: &Call<'_>) -> Result<Reply, ApiError> {
        match route {
            Route::InstanceList => self.list_instances(call),
            Route::InstanceBeat => self.beat(call),
            Route::InstanceRegister => self.register_instance(call),
            Route::InstanceDeregister => self.deregister_instance(call),
            Route::InstanceUpdate => self.update_instance(call),
            Route::InstancePatch => self.patch_instance(call),
            Route::InstanceDetail => self.instance_detail(call),
            Route::InstanceStatuses => self.instance_statuses(call),
            Route::MetadataBatchUpdate => self.change_metadata_batch(call, true),
            Route::MetadataBatchDelete => self.change_metadata_batch(call, false),
            Route::LegacyList => self.legacy_list(call),
            Route::LegacyBeat => self.legacy_beat(call),
            Route::LegacyNames => self.legacy_names(call),
            Route::OperatorMetrics => self.operator_metrics(),
            Route::SwitchesRead => self.read_switches(),
            Route::SwitchesUpdate => self.update_switches(call),
            Route::OperatorServers => self.operator_servers(),
            Route::ResponsibleServer => self.responsible_server(call),
            Route::DistroStatus => self.distro_status(call),
            Route::LogLevel => self.set_log_level(call),
            Route::EventsRead => self.events(call),
            Route::PeerProtocol => self.refuse_peer_protocol(),
            Route::MemberSelf => self.member_self(),
            Route::MemberNodes => self.member_nodes(call),
            Route::MemberSimpleNodes => self.member_simple_nodes(),
            Route::MemberHealth => self.member_health(),
            Route::MemberReport => self.member_report(call),
            Route::MemberAdmin => self.refuse_member_admin(),
            Route::Liveness | Route::Readiness => self.alive(),
            Route::ServerState => self.server_state(),
            Route::NamespacesRead => self.read_namespaces(call),
            Route::NamespaceCreate => self.create_namespace(call),
            Route::NamespaceUpdate => self.update_namespace(call),
            Route::NamespaceDelete => self.delete_namespace(call),
            Route::Auth => self.refuse_auth(),
            Route::Configuration => self.refuse_configuration(),
            Route::ServerList => self.server_list(),
            Route::Metrics => self.metrics_page(),
            Route::Page => self.page(call),
            // Under construction: the other resources.
            _ => Err(ApiError::not_implemented("not there yet")),
        }
    }
}

impl Call<'_> {
    /// The service the request is about: `serviceName`, or `dom` if that is blank, with the group
    /// of `groupName` or the default one put before it unless it has one.
    ///
    /// # Errors
    /// 400 if it is missing or no service name.
    pub(crate) fn service(&self) -> Result<ServiceKey, ApiError> {
        let name = match self.params.optional("serviceName") {
            Some(name) => name,
            None => match self.params.optional("dom") {
                Some(name) => name,
                // A blank name is not "missing", it is one without a service part.
                None => self.params.required("serviceName")?,
            },
        };
        let group = self.params.or("groupName", "");
        Ok(ServiceKey::parse(&self.namespace(), &grouped_name(&name, &group))?)
    }

    /// Whether the request is to the naming API.
    pub(crate) fn is_naming(&self) -> bool {
        let rest = self.path.strip_prefix("/v1/ns").filter(|_| self.under_context);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// The namespace the request is about.
    pub(crate) fn namespace(&self) -> Cow<'_, str> {
        self.params.or("namespaceId", DEFAULT_NAMESPACE)
    }

    /// Who calls, for events: address and agent.
    pub(crate) fn actor(&self) -> String {
        let ip = self.peer.ip();
        if self.agent.text.is_empty() {
            ip.to_string()
        } else {
            format!("{ip} {}", self.agent.text)
        }
    }
}
