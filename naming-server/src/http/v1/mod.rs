//! The 1.x API: parse, call the registry, format. One file for each resource.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use distro_net::{Address, CALL_PATH, Control, PATH_PREFIX, Peers, Refusal, Service};
use hyper::http::request::Parts;

use super::views::MostViews;
use super::{
    Answer, ApiError, Call, Connected, ConnectionStats, Door, Handler, LargeAnswers, no_such_api,
};
use crate::audit::Audit;
use crate::auth::Auth;
use crate::checks::Checks;
use crate::durable::{InstanceCache, Keeper};
use crate::java2::Peers as JavaPeers;
use crate::metrics::{MetricSource, RequestCounts, RequestTimes};
use crate::nacos::{Adapter, PeerIdentity};
use crate::naming::Naming;
use crate::push::{PushStats, Pusher};
use crate::registry::{Cluster, Content, Registry, ServiceState, Writes, wall_ms};

mod admit;
mod audit;
mod beat;
mod call;
mod catalog;
mod cluster;
mod cluster_metrics;
mod console;
mod counted;
mod credentials;
mod durable_metrics;
mod errors;
mod first_admin;
mod gate;
mod health;
mod instance;
mod login;
mod member;
mod metadata_batch;
mod metrics;
mod operator;
mod operator_values;
mod page;
mod paging;
mod peer;
mod peers;
mod push;
mod redirect;
mod responsible;
mod rights;
mod roles;
mod route;
mod service;
mod share;
mod shared;
mod switches;
mod system;
#[cfg(test)]
mod tests;
mod users;

pub(in crate::http) use admit::Admission;
pub(in crate::http) use audit::refused as note_refusal;
pub(in crate::http) use beat::{BeatForm, parse_beat};
pub(in crate::http) use catalog::{MOST_SERVICES, SHORT_PAGE};
pub(in crate::http) use cluster::cluster_form;
pub(in crate::http) use first_admin::first_refused;
pub(in crate::http) use health::CHECKERS;
pub(in crate::http) use metadata_batch::{
    Batch, INSTANCES, MOST_TARGETS, Target, listed_target, names_of,
};
pub(in crate::http) use operator::{EventFilter, event_limit};
use responsible::Responsible;
pub(in crate::http) use rights::Right;
#[cfg(test)]
pub(in crate::http) use route::handle_first;
pub(in crate::http) use route::{Route, entries};
use route::{Servers, find_route};
pub(in crate::http) use service::threshold_json;
pub(in crate::http) use share::Write;
use shared::Clients;
use system::System;
pub(in crate::http) use users::Voice;

/// The version of Nacos this API is that of. Clients and tools compare it, so our own would only
/// mislead them.
const COMPATIBLE_VERSION: &str = "1.4.8";

/// What the handlers work with.
pub(crate) struct Api {
    /// What the requests about services and instances are carried out by.
    naming: Arc<Naming>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) pusher: Pusher,
    /// The way of all writes.
    writes: Writes,
    push_stats: Arc<PushStats>,
    /// To the task that judges instances.
    control: Control<Content>,
    /// Where clients reach this server.
    address: Address,
    checks: Arc<Checks>,
    /// What there is only in a cluster.
    cluster: Option<ApiCluster>,
    /// What there is only among Java servers.
    nacos: Option<Arc<Adapter>>,
    /// What there is only among Java servers of 2.x or 3.x.
    java2: Option<Arc<JavaPeers>>,
    /// This, for what outlives a request.
    me: Weak<Self>,
    /// Who may do what; none while authentication is off.
    auth: Option<Arc<Auth>>,
    /// For how long a new token is good.
    token_ttl: Duration,
    /// What there is only if anything is kept on disk.
    keeper: Option<Arc<Keeper>>,
    cache: Option<Arc<InstanceCache>>,
    context_path: String,
    connections: Arc<ConnectionStats>,
    requests: Arc<RequestCounts>,
    audit: Arc<Audit>,
    /// For its metrics.
    other_front: Arc<dyn MetricSource>,
    /// The same.
    tls: Arc<dyn MetricSource>,
    /// The same of what there may be besides.
    more_metrics: OnceLock<Arc<dyn MetricSource>>,
    system: System,
    pub(in crate::http) answers: Arc<LargeAnswers>,
    responsible: Responsible,
    clients: Clients,
    views: MostViews,
    /// Those who hold a connection, if anything here holds any.
    connected: OnceLock<Arc<dyn Connected>>,
    /// The header by which tools speak for the operator over the later APIs, if there is one.
    identity: Option<PeerIdentity>,
    times: Arc<RequestTimes>,
    /// Method and path of the rows that count behind those of the routes.
    other_rows: Vec<(&'static str, &'static str)>,
    started: Started,
}

/// When this server started.
struct Started {
    instant: Instant,
    wall_ms: u64,
}

/// What an [`Api`] is made of.
pub(crate) struct ApiParts {
    pub(crate) naming: Arc<Naming>,
    pub(crate) push_stats: Arc<PushStats>,
    pub(crate) control: Control<Content>,
    pub(crate) checks: Arc<Checks>,
    pub(crate) cluster: Option<ApiCluster>,
    pub(crate) nacos: Option<Arc<Adapter>>,
    pub(crate) java2: Option<Arc<JavaPeers>>,
    pub(crate) token_ttl: Duration,
    pub(crate) identity: Option<PeerIdentity>,
    /// Method and path of the rows of other APIs, which count beside the routes.
    pub(crate) other_rows: Vec<(&'static str, &'static str)>,
    /// What writes durable records, if anything is kept on disk.
    pub(crate) keeper: Option<Arc<Keeper>>,
    /// What saves ephemeral instances, if anything does.
    pub(crate) cache: Option<Arc<InstanceCache>>,
    pub(crate) address: Address,
    pub(crate) context_path: String,
    pub(crate) connections: Arc<ConnectionStats>,
    /// For its metrics.
    pub(crate) other_front: Arc<dyn MetricSource>,
    /// The same.
    pub(crate) tls: Arc<dyn MetricSource>,
}

/// What a member of a cluster has besides.
pub(crate) struct ApiCluster {
    /// The way to the owners of services.
    pub(crate) writes: Arc<Cluster>,
    /// Answers the other members.
    pub(crate) service: Service<Content, ServiceState>,
    /// The other members.
    pub(crate) peers: Peers<Content>,
}

impl Handler for Api {
    fn may_be_late(&self) -> bool {
        let now = || self.registry.clock.tick();
        self.cluster.as_ref().is_some_and(|cluster| cluster.writes.may_be_late(now()))
    }

    fn handle(&self, call: &Call<'_>) -> Answer {
        let started = RequestTimes::sample();
        let route = find_route(call);
        let mut change = self.watch_change(route, call);
        let answer = match (self.gate(route, call), route) {
            (Err(refusal), _) => {
                if let Some(change) = change.take() {
                    audit::refused(change, &refusal);
                }
                refusal.into()
            }
            (Ok(clearance), Some(route)) => {
                let clearance = change.iter().fold(clearance, |kept, change| change.clear(kept));
                self.admit(route, &Call { clearance, ..*call }, change.as_mut())
            }
            (Ok(_), None) => no_such_api(call).into(),
        };
        // What has no route counts in a row of its own, behind all routes.
        let row = route.map_or(Route::ALL.len(), |route| route as usize);
        self.note_answer(row, started, change, answer)
    }

    fn door(&self, parts: &Parts, peer: SocketAddr) -> Door {
        let path = parts.uri.path();
        if let Some(nacos) = &self.nacos
            && path.contains("/v1/ns/distro/")
        {
            let is_believed = nacos.sender(peer.ip(), &parts.headers).is_some();
            return if is_believed {
                Door::Believed(peers::MOST_LISTS_BYTES)
            } else {
                Door::Public
            };
        }
        match self.cluster.as_ref().filter(|_| path.starts_with(PATH_PREFIX)) {
            Some(cluster) if path == CALL_PATH => Door::Calls(cluster.service.most_body_bytes()),
            Some(_) => Door::Greeting,
            None => Door::Public,
        }
    }

    fn has_members(&self) -> bool {
        self.cluster.is_some()
    }

    fn note_too_large(&self, path: &str) {
        if let Some(cluster) = self.cluster.as_ref().filter(|_| path.starts_with(PATH_PREFIX)) {
            cluster.service.refuse(Refusal::TooLarge);
        }
    }
}

impl Api {
    pub(crate) fn new(parts: ApiParts, me: Weak<Self>) -> Self {
        let ApiParts {
            naming,
            push_stats,
            control,
            checks,
            cluster,
            nacos,
            java2,
            token_ttl,
            identity,
            other_rows,
            keeper,
            cache,
            address,
            context_path,
            connections,
            other_front,
            tls,
        } = parts;
        let rows = Route::ALL.len() + 1 + other_rows.len();
        Self {
            writes: naming.writes().clone(),
            registry: Arc::clone(naming.registry()),
            pusher: naming.pusher().clone(),
            auth: naming.auth().cloned(),
            audit: Arc::clone(naming.audit()),
            naming,
            keeper,
            cache,
            push_stats,
            control,
            checks,
            address,
            cluster,
            nacos,
            java2,
            me,
            token_ttl,
            context_path,
            connections,
            other_front,
            tls,
            more_metrics: OnceLock::new(),
            requests: Arc::new(RequestCounts::new(rows)),
            times: Arc::new(RequestTimes::new(rows)),
            clients: Clients::default(),
            views: MostViews::default(),
            connected: OnceLock::new(),
            identity,
            other_rows,
            system: System::default(),
            answers: Arc::default(),
            responsible: Responsible::default(),
            started: Started { instant: Instant::now(), wall_ms: wall_ms() },
        }
    }

    /// Has more metrics shown: those of a front that not every server has. The first one stays.
    pub(crate) fn show_metrics(&self, of: Arc<dyn MetricSource>) {
        self.more_metrics.get_or_init(|| of);
    }

    /// What all fronts stand on.
    pub(crate) fn naming(&self) -> &Arc<Naming> {
        &self.naming
    }

    /// The way of all writes.
    pub(crate) fn writes(&self) -> &Writes {
        &self.writes
    }

    /// Whether this server is a member of a cluster.
    pub(crate) fn is_in_cluster(&self) -> bool {
        self.cluster.is_some()
    }

    fn dispatch(&self, route: Route, call: &Call<'_>) -> Result<Answer, ApiError> {
        match self.redirect(route, call).or_else(|| self.share_route(route, call)) {
            Some(answer) => Ok(answer),
            // Nothing is passed on twice.
            None if self.nacos.is_some() && route.spec().servers == Servers::Pass => {
                let clearance = self.naming.told(call.clearance);
                self.handle_here(route, &Call { clearance, ..*call })
            }
            None => self.handle_here(route, call),
        }
    }

    /// Handles a request that is for this server.
    fn handle_here(&self, route: Route, call: &Call<'_>) -> Result<Answer, ApiError> {
        (route.spec().handler)(self, call)
    }
}
