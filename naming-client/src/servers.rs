//! The servers: where they are, which of them seem able to answer, whom to ask first.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::address::Address;

/// A server that failed is asked after the others for this long, doubled with each failure in a
/// row up to the maximum, give or take half.
const FIRST_BACKOFF: Duration = Duration::from_millis(500);
const MAX_BACKOFF: Duration = Duration::from_secs(15);
/// How long the route to a server is trusted before it is looked up again.
const ROUTE_AGE: Duration = Duration::from_secs(60);

/// How packets travel between us and a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Route {
    /// Our address as that server sees it, unless something translates it on the way.
    pub(crate) local: IpAddr,
    pub(crate) remote: IpAddr,
}

#[derive(Debug, Default)]
struct Health {
    failures: u32,
    retry_at: Option<Instant>,
}

impl Health {
    fn fail(&mut self) {
        self.failures = self.failures.saturating_add(1);
        self.retry_at = Some(Instant::now() + backoff(FIRST_BACKOFF, MAX_BACKOFF, self.failures));
    }
}

/// One server and what calls to it taught us.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) address: Address,
    health: Mutex<Health>,
    /// How gRPC with it went.
    #[cfg(feature = "grpc")]
    grpc: Mutex<Health>,
    route: Mutex<Option<(Instant, Route)>>,
}

impl Server {
    fn new(address: Address) -> Self {
        Self {
            address,
            health: Mutex::default(),
            #[cfg(feature = "grpc")]
            grpc: Mutex::default(),
            route: Mutex::default(),
        }
    }

    fn retry_at(&self) -> Option<Instant> {
        self.health.lock().retry_at
    }

    /// When gRPC should be tried again with it; in the past or `None` if there is no reason not to.
    #[cfg(feature = "grpc")]
    pub(crate) fn grpc_retry_at(&self) -> Option<Instant> {
        self.grpc.lock().retry_at.filter(|at| *at > Instant::now())
    }

    /// Notes whether it spoke gRPC.
    #[cfg(feature = "grpc")]
    pub(crate) fn note_grpc(&self, spoke: bool) {
        let mut grpc = self.grpc.lock();
        match spoke {
            true => *grpc = Health::default(),
            false => grpc.fail(),
        }
    }

    /// Whether the last call to it failed.
    pub(crate) fn is_failing(&self) -> bool {
        self.health.lock().failures > 0
    }

    /// The route as last looked up, however old.
    pub(crate) fn known_route(&self) -> Option<Route> {
        self.route.lock().map(|(_, route)| route)
    }

    /// The route, looked up if need be. Nothing is sent: connecting a UDP socket only asks the
    /// kernel for its routing decision.
    pub(crate) async fn route(&self) -> Option<Route> {
        if let Some((at, route)) = *self.route.lock()
            && at.elapsed() < ROUTE_AGE
        {
            return Some(route);
        }
        let place = self.address.place();
        let remote = tokio::net::lookup_host(place).await.ok()?.next()?;
        let local = local_address_towards(remote)?;
        let route = Route { local, remote: remote.ip() };
        *self.route.lock() = Some((Instant::now(), route));
        Some(route)
    }
}

fn local_address_towards(remote: SocketAddr) -> Option<IpAddr> {
    let any: SocketAddr = match remote {
        SocketAddr::V4(_) => (std::net::Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (std::net::Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = std::net::UdpSocket::bind(any).ok()?;
    socket.connect(remote).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// Whom to ask first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Preference {
    /// The server that answered last: reads see one's own writes, pushes come from one server.
    Sticky,
    /// Another one each time: beats spread over all servers, so that each of them hears a part
    /// of them and can tell a silent client from a lost connection to a peer.
    Spread,
}

#[derive(Debug)]
struct State {
    servers: Vec<Arc<Server>>,
    current: usize,
}

/// The list of servers, in a fixed order with a random start.
#[derive(Debug)]
pub(crate) struct Servers {
    state: Mutex<State>,
    /// Told when the sticky server fails: who relied on its pushes should ask another one.
    pub(crate) lost_current: Notify,
}

impl Servers {
    pub(crate) fn new(addresses: Vec<Address>) -> Self {
        let mut servers: Vec<Arc<Server>> = Vec::with_capacity(addresses.len());
        for address in addresses {
            if servers.iter().all(|known| known.address != address) {
                servers.push(Arc::new(Server::new(address)));
            }
        }
        let current = fastrand::usize(..servers.len().max(1));
        Self { state: Mutex::new(State { servers, current }), lost_current: Notify::new() }
    }

    /// Takes a new list; servers that stay keep what is known of them. An empty list is ignored.
    pub(crate) fn replace(&self, addresses: Vec<Address>) {
        if addresses.is_empty() {
            return;
        }
        let fresh = Self::new(addresses).state.into_inner();
        let mut state = self.state.lock();
        let old = std::mem::take(&mut state.servers);
        let current = old.get(state.current).map(|server| server.address.clone());
        let keep = |server: Arc<Server>| {
            old.iter().find(|known| known.address == server.address).cloned().unwrap_or(server)
        };
        state.servers = fresh.servers.into_iter().map(keep).collect();
        let place =
            state.servers.iter().position(|server| Some(&server.address) == current.as_ref());
        state.current = place.unwrap_or(fresh.current);
    }

    pub(crate) fn all(&self) -> Vec<Arc<Server>> {
        self.state.lock().servers.clone()
    }

    /// All servers in the order to be asked: those that seem able to answer first, then the rest,
    /// soonest retry first. None is left out: a call fails only when all have failed.
    pub(crate) fn order(&self, preference: Preference) -> Vec<Arc<Server>> {
        let (mut servers, current) = {
            let state = self.state.lock();
            (state.servers.clone(), state.current)
        };
        let start = match preference {
            Preference::Sticky => current,
            Preference::Spread => fastrand::usize(..servers.len().max(1)),
        };
        if start < servers.len() {
            servers.rotate_left(start);
        }
        let now = Instant::now();
        servers.sort_by_cached_key(|server| server.retry_at().filter(|at| *at > now));
        servers
    }

    /// Notes an answer; tells whether the server had failed before.
    pub(crate) fn succeeded(&self, server: &Arc<Server>, preference: Preference) -> bool {
        let before = std::mem::take(&mut *server.health.lock());
        if preference == Preference::Sticky {
            let mut state = self.state.lock();
            if let Some(place) = state.servers.iter().position(|known| Arc::ptr_eq(known, server)) {
                state.current = place;
            }
        }
        before.failures > 0
    }

    pub(crate) fn failed(&self, server: &Arc<Server>) {
        let first = {
            let mut health = server.health.lock();
            health.fail();
            health.failures == 1
        };
        let state = self.state.lock();
        let is_current = state.servers.get(state.current).is_some_and(|s| Arc::ptr_eq(s, server));
        if first && is_current {
            self.lost_current.notify_one();
        }
    }

    /// Whether a packet from `source` may be a server's.
    pub(crate) fn knows(&self, source: IpAddr) -> bool {
        let is_route = |server: &Arc<Server>| {
            server.known_route().is_some_and(|route| route.remote.to_canonical() == source)
        };
        self.state.lock().servers.iter().any(is_route)
    }
}

/// `first * 2^(failures - 1)`, at most `longest`, and of that a random share between half and
/// all: clients that failed together do not come back together.
pub(crate) fn backoff(first: Duration, longest: Duration, failures: u32) -> Duration {
    let doubled = first.saturating_mul(1 << failures.saturating_sub(1).min(16));
    doubled.min(longest).mul_f64(0.5 + fastrand::f64() / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers(names: &[&str]) -> Servers {
        Servers::new(names.iter().map(|name| name.parse().unwrap()).collect())
    }

    fn names(order: &[Arc<Server>]) -> Vec<String> {
        order.iter().map(|server| server.address.authority()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_server_is_asked_last_until_its_time_has_come() {
        let servers = servers(&["a", "b", "c"]);
        let first = servers.order(Preference::Sticky);
        servers.failed(&first[0]);
        let second = servers.order(Preference::Sticky);
        assert_eq!(names(&second)[2], names(&first)[0]);
        servers.succeeded(&second[0], Preference::Sticky);
        tokio::time::advance(MAX_BACKOFF).await;
        let third = servers.order(Preference::Sticky);
        assert_eq!(names(&third)[0], names(&second)[0], "it stays with the one that answered");
        assert_eq!(third.len(), 3);
    }

    #[tokio::test]
    async fn losing_the_current_server_is_told_once() {
        let servers = servers(&["a", "b"]);
        let order = servers.order(Preference::Sticky);
        servers.failed(&order[1]);
        servers.failed(&order[0]);
        servers.lost_current.notified().await;
    }

    #[test]
    fn spread_asks_everyone_first_at_some_time() {
        fastrand::seed(7);
        let servers = servers(&["a", "b", "c"]);
        let firsts: std::collections::BTreeSet<String> =
            (0..64).map(|_| names(&servers.order(Preference::Spread)).remove(0)).collect();
        assert_eq!(firsts.len(), 3);
    }

    #[test]
    fn a_new_list_keeps_what_is_known() {
        let servers = servers(&["a", "b", "a"]);
        assert_eq!(servers.all().len(), 2);
        let a = servers.all()[0].clone();
        servers.replace(vec!["c".parse().unwrap(), "a".parse().unwrap()]);
        assert!(servers.all().iter().any(|server| Arc::ptr_eq(server, &a)));
        servers.replace(Vec::new());
        assert_eq!(servers.all().len(), 2);
    }

    #[test]
    fn backoff_grows_to_its_limit_and_no_further() {
        for failures in [0, 1, 5, 40, u32::MAX] {
            let pause = backoff(FIRST_BACKOFF, MAX_BACKOFF, failures);
            assert!(pause >= FIRST_BACKOFF / 2 && pause <= MAX_BACKOFF);
        }
    }

    #[tokio::test]
    async fn the_route_to_loopback_is_loopback() {
        let server = Server::new("127.0.0.1:9".parse().unwrap());
        let route = server.route().await.unwrap();
        assert_eq!((route.local, route.remote), ([127, 0, 0, 1].into(), [127, 0, 0, 1].into()));
        let odd = Server::new("no-such-host.invalid:9".parse().unwrap());
        assert!(odd.route().await.is_none());
    }
}
