//! Wiring: settings in, a running server out.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use distro_net::{Connector, NamedConnector, TcpConnector};
use tokio::net::{TcpListener, TcpSocket, UdpSocket};
use tokio_util::sync::CancellationToken;

use crate::app::{App, Resources, SavedInstances, Sockets};
use crate::audit::Audit;
use crate::auth::{AuthSettings, NewUser};
use crate::config::{Arguments, Config};
use crate::durable::Data;
use crate::grpc;
use crate::http::{self, Accept, ConnectionStats, ConsolePort, Front, HttpSettings, Protocols};
use crate::live;
use crate::member_port::{MemberPort, MembersOnly, SecureMemberPort};
use crate::membership::{Java2Membership, Membership, Origin};
use crate::nacos::PeerIdentity;
use crate::supervision;
use crate::tls::{MemberDialer, Tls};

mod about;
mod data;
mod dns;
mod ports;

pub(crate) use data::open_data;

use data::Stopping;
use dns::DnsSockets;
use ports::{
    BACKLOG, Listening, bind, bind_console, bind_grpc, bind_java2, bind_to, grpc_failure, hint,
    listening, push_socket,
};

/// What writing the last audit lines may take.
const LAST_AUDIT_LINES: Duration = Duration::from_millis(200);

/// A server that has its sockets and waits to be run.
#[derive(Debug)]
pub struct Server {
    config: Config,
    listener: Listening,
    /// For clients that speak gRPC, if it has a port.
    grpc_listener: Option<Listening>,
    grpc_address: Option<SocketAddr>,
    /// For Java servers of 2.x and 3.x, if they are members.
    java2_listener: Option<TcpSocket>,
    /// For members alone, if they have a port of their own.
    member_listener: Option<TcpListener>,
    /// For consoles, if they have a port.
    console_listener: Option<TcpListener>,
    dns: Option<DnsSockets>,
    push_socket: UdpSocket,
    address: SocketAddr,
    origin: Origin,
    membership: Option<Membership>,
    java2: Option<Java2Membership>,
    data: Option<Data>,
    auth: Option<AuthSettings>,
    identity: Option<PeerIdentity>,
    users: Vec<NewUser>,
    stats: Arc<ConnectionStats>,
    audit: Arc<Audit>,
    /// Whether systemd is told when it is ready and that it lives.
    is_supervised: bool,
    /// Where its settings come from while it runs.
    source: Option<live::Source>,
    tls: Arc<Tls>,
}

impl Server {
    /// Takes the port and reads the data. Clients may connect from now on; they are answered when
    /// it runs.
    ///
    /// # Errors
    /// An address that does not exist here or is in use; for a member of a cluster, no secret, no
    /// list of members, or another server at its address; authentication without a good key; TLS
    /// without a certificate that can be used; an audit file that cannot be written; data that cannot be read or written, which is left as it
    /// is.
    pub async fn bind(config: Config) -> Result<Self> {
        config.check_identity()?;
        let auth = config.auth.settings()?;
        let identity = config.auth.identity()?;
        let audit = Arc::new(Audit::open(config.audit.settings())?);
        let target = format!("{} port {}", config.bind, config.port);
        let cannot_listen = || format!("cannot listen on {target}");
        let socket = bind(&config).await.with_context(cannot_listen)?;
        let address = socket.local_addr()?;
        let origin = Origin::new(config.advertised(address));
        let tls = Arc::new(Tls::open(&config, origin.address.as_str())?);
        let membership = match config.cluster.is_enabled() {
            true => {
                let connector = connector(&config, tls.dialer());
                Some(Membership::prepare(&config, &origin, connector).await?)
            }
            false => None,
        };
        let java2_listener = bind_java2(&config, address)?;
        let java2 = Java2Membership::prepare(&config, &origin).await?;
        let data = open_data(&config, address, origin.address.member())?;
        let listener = listening(&config, socket).with_context(cannot_listen)?;
        let grpc = bind_grpc(&config, address)?;
        let grpc_address = grpc.as_ref().map(TcpSocket::local_addr).transpose()?;
        let grpc_listener = match grpc {
            Some(socket) => {
                Some(listening(&config, socket).with_context(grpc_failure(grpc_address))?)
            }
            None => None,
        };
        let member_listener = match config.cluster.bind_port {
            port if port > 0 && config.cluster.is_enabled() => {
                let address = SocketAddr::new(address.ip(), port);
                let listener = bind_to(address).and_then(|socket| socket.listen(BACKLOG));
                let named = || format!("cannot listen on {address} (cluster.bind_port)");
                Some(listener.map_err(hint).with_context(named)?)
            }
            _ => None,
        };
        let console_listener = bind_console(&config, address.ip()).await?;
        let dns = DnsSockets::bind(&config, address.ip()).await?;
        let push_port = config.push.bind_port;
        let push_socket = push_socket(SocketAddr::new(address.ip(), push_port))
            .with_context(|| format!("cannot bind UDP port {push_port} of {}", address.ip()))?;
        let stats = Arc::default();
        let users = Vec::new();
        Ok(Self {
            config,
            listener,
            grpc_listener,
            grpc_address,
            java2_listener,
            member_listener,
            console_listener,
            dns,
            push_socket,
            address,
            origin,
            membership,
            java2,
            auth,
            identity,
            users,
            data,
            stats,
            audit,
            is_supervised: false,
            source: None,
            tls,
        })
    }

    /// The same server with one more user, whatever was known of one of this name before.
    pub fn with_user(mut self, user: NewUser) -> Self {
        self.users.push(user);
        self
    }

    /// The same server, whose settings are those of this command line, and are read again when their
    /// file changes and on SIGHUP.
    ///
    /// # Errors
    /// The system does not let signals be caught.
    pub fn reloading(mut self, arguments: Arguments) -> Result<Self> {
        self.source = Some(live::Source::new(arguments).context("cannot catch SIGHUP")?);
        Ok(self)
    }

    /// The same server, which tells systemd when it is ready and that it lives, if systemd asks by
    /// variables of the environment. For a process that is this server and nothing else.
    pub fn supervised(mut self) -> Self {
        self.is_supervised = true;
        self
    }

    /// Serves until `shutdown` completes, then hands over what it has to the other members, if
    /// there are any (`cluster.leave_within_ms`), drains and returns, within
    /// `http.drain_timeout_ms`.
    ///
    /// # Errors
    /// A port that cannot be opened, no random numbers; none after that.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<()> {
        let stats = Arc::clone(&self.stats);
        let sockets = Sockets { push: self.push_socket.into(), checks: Arc::new(TcpConnector) };
        let (origin, membership) = (self.origin, self.membership);
        let audit = Arc::clone(&self.audit);
        let (auth, identity) = (self.auth, self.identity);
        let saved_instances = match self.config.data.save_instances {
            true => SavedInstances::Kept,
            false => SavedInstances::Removed,
        };
        let (connections, data, java2) = (stats, self.data, self.java2);
        let (secret, tls) = (Some(self.config.cluster.clone()), Arc::clone(&self.tls));
        let resources = Resources {
            connections,
            audit,
            auth,
            identity,
            data,
            saved_instances,
            secret,
            java2,
            tls,
        };
        let own_address = origin.address.clone();
        let app = App::new(&self.config, origin, membership, sockets, resources);
        let dns = match self.dns {
            Some(sockets) => {
                Some((sockets, dns::front(&self.config, &app.api, own_address.as_str())?))
            }
            None => None,
        };
        self.users.iter().for_each(|user| user.write(&app.api.registry));
        let listener = self.listener;
        let listen = move || listener.listen();
        let grpc_listener = self.grpc_listener;
        let listen_grpc = move || grpc_listener.map(Listening::listen).transpose();
        let java2_listener = self.java2_listener;
        let listen_java2 = move || java2_listener.map(|socket| socket.listen(BACKLOG)).transpose();
        let (api, token) = (Arc::clone(&app.api), CancellationToken::new());
        let (console_api, console_stopped) = (Arc::clone(&api), token.clone());
        let console_settings = HttpSettings {
            connections: Arc::clone(&app.connections),
            ..self.config.console_http_settings()
        };
        let live = self.source.map(|source| {
            let dns = dns.as_ref().map(|(_, front)| Arc::clone(front));
            live::Live::new(source, self.config.clone(), app.adjustable(), dns)
        });
        let followed_until = token.clone();
        let follow_settings = async {
            if let Some(live) = live {
                live.follow(followed_until).await;
            }
        };
        let serve_consoles = async {
            if let Some(listener) = self.console_listener {
                let address = listener.local_addr().map(|address| address.to_string());
                let address = address.unwrap_or_default();
                tracing::info!(address, "the API for consoles is answered (console.port)");
                let (console, stats) = (Arc::new(ConsolePort(console_api)), Arc::default());
                let spoken = Protocols { tls: self.tls.console(), ..Protocols::default() };
                http::serve(listener, console, spoken, console_settings, stats, console_stopped)
                    .await;
            }
        };
        let (supervised_api, supervised_until) = (Arc::clone(&api), token.clone());
        let supervise = async {
            if self.is_supervised {
                supervision::run(supervised_api, supervised_until).await;
            }
        };
        let stopped = token.clone();
        let settings = HttpSettings {
            connections: Arc::clone(&app.connections),
            ..self.config.http_settings()
        };
        let serve_members = async {
            if let Some(listener) = self.member_listener {
                let (members, stats) = (Arc::new(MembersOnly(api)), Arc::default());
                let spoken = Protocols { tls: self.tls.member_port(), ..Protocols::default() };
                http::serve(listener, members, spoken, settings, stats, stopped).await;
            }
        };
        let answering_until = token.clone();
        let answer_dns = async {
            if let Some((sockets, front)) = dns {
                sockets.serve(front, answering_until).await;
            }
        };
        let run = async {
            let listen = (listen, listen_grpc, listen_java2);
            let ran = run(app, &self.config, listen, self.stats, shutdown).await;
            // Members are answered as long as this one hands over what it has.
            token.cancel();
            ran
        };
        let beside = async {
            tokio::join!(serve_members, serve_consoles, answer_dns, supervise, follow_settings);
        };
        let (ran, ()) = tokio::join!(run, beside);
        self.audit.finish(LAST_AUDIT_LINES).await;
        ran.context("cannot listen")
    }
}

/// By what other members are reached.
fn connector(config: &Config, dialer: Option<Arc<MemberDialer>>) -> Arc<dyn Connector> {
    let inner: Arc<dyn Connector> = match config.cluster.name_server() {
        None => Arc::new(TcpConnector),
        Some(server) => Arc::new(NamedConnector(server)),
    };
    match (config.cluster.bind_port, dialer) {
        (0, _) => inner,
        (port, Some(dialer)) if config.cluster.tls.connects() => {
            Arc::new(SecureMemberPort { port, dialer, inner })
        }
        (port, _) => Arc::new(MemberPort(port, inner)),
    }
}

/// Serves the connections of what `listen` opens until `shutdown` completes, as [`Server::run`]
/// says.
pub(crate) async fn run<L: Accept>(
    mut app: App,
    config: &Config,
    (listen, listen_grpc, listen_java2): (
        impl FnOnce() -> std::io::Result<L>,
        impl FnOnce() -> std::io::Result<Option<L>>,
        impl FnOnce() -> std::io::Result<Option<L>>,
    ),
    stats: Arc<ConnectionStats>,
    shutdown: impl Future<Output = ()>,
) -> std::io::Result<()> {
    let token = CancellationToken::new();
    let members_need_tls = config.members_need_tls();
    let api = Arc::new(Front { api: Arc::clone(&app.api), members_need_tls });
    let (grpc, tls) = (Arc::clone(&app.grpc), Arc::clone(&app.tls));
    let connections = Arc::clone(&app.connections);
    let drain = Arc::clone(&grpc);
    let leave = app.leave();
    let (nacos, java2, stopped) = (app.take_nacos(), app.take_java2(), token.clone());
    let serve = async {
        if let Some((nacos, _)) = &nacos {
            tokio::select! {
                () = nacos.adapter.begin(&nacos.found) => {}
                () = stopped.cancelled() => return Ok(()),
            }
        }
        if let Some(java2) = &java2
            && !java2.begin(&stopped).await
        {
            return Ok(());
        }
        let java2_listener = listen_java2().inspect_err(|_| stopped.cancel())?;
        let listener = listen().inspect_err(|_| stopped.cancel())?;
        let grpc_listener = listen_grpc().inspect_err(|_| stopped.cancel())?;
        let http2 = config.grpc.shared_port.then(|| Arc::clone(&grpc) as _);
        let settings = HttpSettings { connections, ..config.http_settings() };
        let spoken = Protocols { http2, tls: tls.main() };
        let serve = http::serve(listener, api, spoken, settings, stats, stopped.clone());
        let serve_grpc = async {
            if let Some(listener) = grpc_listener {
                grpc::serve(listener, grpc, tls.grpc(), stopped.clone()).await;
            }
        };
        let serve_java2 = async {
            if let Some((java2, listener)) = java2.zip(java2_listener) {
                java2.serve(listener, stopped.clone()).await;
            }
        };
        let serve = async {
            tokio::join!(serve, serve_grpc, serve_java2);
        };
        match nacos {
            Some((nacos, watch)) => {
                tokio::join!(serve, nacos.adapter.run(watch, stopped.clone()));
            }
            None => serve.await,
        }
        Ok(())
    };
    let keeper = app.keeper.clone().map(|keeper| Stopping(keeper, app.cache.clone()));
    let background = app.run(token.clone());
    let stop = async {
        shutdown.await;
        drain.drain().await;
        // Clients are served meanwhile.
        leave.await;
        token.cancel();
    };
    let stop = async {
        tokio::select! {
            () = stop => {}
            () = token.cancelled() => {}
        }
    };
    let (served, (), ()) = tokio::join!(serve, background, stop);
    // After the last answer: nothing is acknowledged any more.
    if let Some(keeper) = keeper
        && let Err(error) = tokio::task::spawn_blocking(move || keeper.stop()).await
    {
        tracing::error!(%error, "durable data may not be saved");
    }
    served
}
