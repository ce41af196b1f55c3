//! One member: the server as the program runs it, on a simulated host.

use std::cell::RefCell;
use std::future::pending;
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::sync::Arc;

use distro_net::{Address, Clock, Control};
use tokio_util::sync::CancellationToken;
use turmoil::net::{TcpListener, UdpSocket};

use super::network::{MemberConnector, SimulatedConnector};
use super::{GRPC_PORT, PORT, member_ip};
use crate::app::{App, Resources, Sockets};
use crate::config::{ClusterConfig, Config};
use crate::http::ConnectionStats;
use crate::membership::{Membership, Origin};
use crate::push::PushSocket;
use crate::registry::{Content, Registry};
use crate::server;

/// What the wall clocks show at the beginning of every simulation.
const EPOCH_MS: u64 = 1_700_000_000_000;

/// A member, whether it runs or not.
pub(super) struct Process {
    pub(super) member: usize,
    /// Whom it is told of when it starts.
    pub(super) members: RefCell<Vec<usize>>,
    pub(super) network: SimulatedConnector,
    pub(super) secret_file: String,
    /// Milliseconds by which its wall clock is ahead.
    pub(super) ahead_ms: u64,
    pub(super) seed: u64,
    /// Whether its host starts the server.
    pub(super) is_wanted: RefCell<bool>,
    /// There while the server runs.
    pub(super) running: RefCell<Option<Running>>,
}

/// The handles to a running server.
pub(super) struct Running {
    pub(super) registry: Arc<Registry>,
    pub(super) control: Control<Content>,
    pub(super) shutdown: CancellationToken,
}

impl Process {
    /// What its host does from its start on.
    pub(super) async fn run(self: Rc<Self>) -> turmoil::Result {
        self.running.take();
        if *self.is_wanted.borrow() {
            self.serve().await?;
            self.running.take();
        }
        // A host that is up and on which nobody listens: connections are refused.
        pending().await
    }

    async fn serve(&self) -> turmoil::Result {
        let config = self.config();
        let now_ms = turmoil::sim_elapsed().unwrap_or_default().as_millis() as u64;
        let clock = Clock::start_at(EPOCH_MS + now_ms + self.ahead_ms);
        let address: Address = address(self.member).parse()?;
        let origin = Origin::with(address, clock, self.seed ^ now_ms);
        let (network, source) = (self.network.clone(), member_ip(self.member));
        let connector = Arc::new(MemberConnector { network, source });
        let checks = Arc::clone(&connector) as _;
        let membership = Membership::prepare(&config, &origin, connector).await?;
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).await?;
        let grpc = TcpListener::bind((Ipv4Addr::UNSPECIFIED, GRPC_PORT)).await?;
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
        let sockets = Sockets { push: PushSocket::Simulated(socket), checks };
        let stats = Arc::<ConnectionStats>::default();
        let resources = Resources { connections: Arc::clone(&stats), ..Resources::default() };
        let app = App::new(&config, origin, Some(membership), sockets, resources);
        let shutdown = CancellationToken::new();
        *self.running.borrow_mut() = Some(Running {
            registry: Arc::clone(&app.api.registry),
            control: app.control.clone(),
            shutdown: shutdown.clone(),
        });
        let listen = (|| Ok(listener), || Ok(Some(grpc)), || Ok(None));
        server::run(app, &config, listen, stats, shutdown.cancelled()).await?;
        Ok(())
    }

    fn config(&self) -> Config {
        let members: Vec<String> = self.members.borrow().iter().copied().map(address).collect();
        let (members, secret_file) = (members.join(","), self.secret_file.clone());
        let cluster = ClusterConfig { members, secret_file, ..ClusterConfig::default() };
        Config { port: PORT, cluster, ..Config::default() }
    }
}

pub(super) fn address(member: usize) -> String {
    format!("{}:{PORT}", member_ip(member))
}
