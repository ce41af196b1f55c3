//! The server a scenario is replayed against: one that runs somewhere, or our own in this process.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use anyhow::Context;
use naming_server::{AuthConfig, ClusterConfig, Config, ConsoleConfig, Hidden, NewUser, Server};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time;

use super::golden_support::http::Endpoint;

/// Longest time a server may take to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest time members may take to find each other.
const READY_TIMEOUT: Duration = Duration::from_secs(20);
/// How long short tokens live, in seconds.
const SHORT_TOKEN_S: u64 = 5;
/// Port for consoles, on loopback addresses that belong to this process.
const CONSOLE_PORT: u16 = 8080;
/// The header whose sender may do everything.
// Not every program sends it.
#[allow(dead_code)]
pub(crate) const IDENTITY: [&str; 2] = ["golden-id", "golden-value"];
/// Signs tokens here and nowhere else.
const TOKEN_KEY: &str = "Z29sZGVuIHRyYW5zY3JpcHRzIGFuZCBub3RoaW5nIGVsc2U=";

/// What kind of server a scenario is replayed against.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Kind {
    /// With authentication on, and the administrator `nacos`.
    pub(crate) has_auth: bool,
    /// With tokens that live for 5 s. It is not shared.
    pub(crate) has_short_tokens: bool,
    /// One of three members.
    pub(crate) is_member: bool,
    /// With authentication on, and no user. Nobody else may have such a server.
    pub(crate) is_fresh: bool,
}

impl Kind {
    const COUNT: usize = 4;

    fn index(self) -> usize {
        usize::from(self.has_auth) + 2 * usize::from(self.is_member)
    }
}

/// Where a server listens.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) http: Endpoint,
    /// Its port for consoles, if it has one.
    // Not every program looks at these.
    #[allow(dead_code)]
    pub(crate) console: Option<Endpoint>,
    #[allow(dead_code)]
    pub(crate) grpc: Option<SocketAddr>,
}

pub(crate) enum Target {
    /// A server that was started by someone else. Whoever changes its switches waits for a turn
    /// alone on it.
    Running { place: Place, turn: RwLock<()> },
    /// Servers of our own: one for all scenarios that do not disturb each other, started for the
    /// first of them, and one for each that would.
    InProcess { shared: [Mutex<Option<OwnServers>>; Kind::COUNT] },
}

impl Target {
    pub(crate) fn running(place: Place) -> Self {
        Self::Running { place, turn: RwLock::new(()) }
    }

    pub(crate) fn in_process() -> Self {
        Self::InProcess { shared: Default::default() }
    }

    /// Calls `replay` with a server that no exclusive scenario has, or, if this one is
    /// `exclusive`, that nobody else has.
    pub(crate) fn with_server<T>(
        &self,
        kind: Kind,
        exclusive: bool,
        replay: impl FnOnce(&Place) -> T,
    ) -> anyhow::Result<T> {
        match self {
            Self::Running { place, turn } if exclusive => {
                let _alone = turn.write().unwrap_or_else(PoisonError::into_inner);
                Ok(replay(place))
            }
            Self::Running { place, turn } => {
                let _shared = turn.read().unwrap_or_else(PoisonError::into_inner);
                Ok(replay(place))
            }
            Self::InProcess { .. } if exclusive || kind.has_short_tokens => {
                let servers = OwnServers::start(kind)?;
                let outcome = replay(servers.place());
                servers.stop()?;
                Ok(outcome)
            }
            Self::InProcess { shared } => {
                let place = shared_place(kind, &shared[kind.index()])?;
                Ok(replay(&place))
            }
        }
    }

    /// Whether it is a server that somebody else has started and prepared.
    pub(crate) fn is_running(&self) -> bool {
        matches!(self, Self::Running { .. })
    }

    /// Stops the shared servers, if there are any.
    pub(crate) fn stop(&self) -> anyhow::Result<()> {
        let Self::InProcess { shared } = self else { return Ok(()) };
        for shared in shared {
            let servers = shared.lock().unwrap_or_else(PoisonError::into_inner).take();
            servers.map_or(Ok(()), OwnServers::stop)?;
        }
        Ok(())
    }
}

fn shared_place(kind: Kind, shared: &Mutex<Option<OwnServers>>) -> anyhow::Result<Place> {
    let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(servers) = &*shared {
        return Ok(servers.place().clone());
    }
    let servers = OwnServers::start(kind)?;
    Ok(shared.insert(servers).place().clone())
}

/// A server, or the members of a cluster.
pub(crate) struct OwnServers {
    servers: Vec<OwnServer>,
    /// Where the members find their secret.
    _folder: Option<TempDir>,
}

impl OwnServers {
    fn start(kind: Kind) -> anyhow::Result<Self> {
        let config = Config { bind: Ipv4Addr::LOCALHOST.to_string(), port: 0, ..Config::default() };
        let token_key = Hidden(TOKEN_KEY.to_owned());
        let [identity_key, identity_value] = IDENTITY.map(str::to_owned);
        let mut auth = AuthConfig {
            enabled: true,
            token_key,
            identity_key,
            identity_value: Hidden(identity_value),
            ..AuthConfig::default()
        };
        if kind.has_short_tokens {
            auth.token_ttl_s = SHORT_TOKEN_S;
        }
        let has_auth = kind.has_auth || kind.is_fresh;
        let config = if has_auth { Config { auth, ..config } } else { config };
        if kind.is_member {
            return Self::members(&config, kind);
        }
        let [bind] = own_hosts();
        let console = ConsoleConfig { bind, port: CONSOLE_PORT };
        let server = OwnServer::start(Config { console, ..config }, kind)?;
        Ok(Self { servers: vec![server], _folder: None })
    }

    /// Three members on loopback addresses that belong to this process.
    fn members(config: &Config, kind: Kind) -> anyhow::Result<Self> {
        const PORT: u16 = 8848;
        let folder = tempfile::tempdir()?;
        let secret = folder.path().join("secret");
        std::fs::write(&secret, "the secret of the golden transcripts")?;
        let hosts = own_hosts::<3>();
        let members = hosts.iter().map(|host| format!("{host}:{PORT}")).collect::<Vec<_>>();
        let cluster = ClusterConfig {
            members: members.join(","),
            secret_file: secret.to_string_lossy().into_owned(),
            alone_after_ms: 1_000,
            empty_start_ms: 300,
            ..ClusterConfig::default()
        };
        let start = |host: &String| {
            let (bind, cluster) = (host.clone(), cluster.clone());
            let console = ConsoleConfig { bind: host.clone(), port: CONSOLE_PORT };
            let config = Config { bind, port: PORT, cluster, console, ..config.clone() };
            OwnServer::start(config, kind)
        };
        let servers = hosts.iter().map(start).collect::<anyhow::Result<Vec<_>>>()?;
        for server in &servers {
            server.wait_until_ready()?;
        }
        Ok(Self { servers, _folder: Some(folder) })
    }

    /// The last one: what was written on the first must have come here.
    fn place(&self) -> &Place {
        &self.servers.last().expect("there is at least one").place
    }

    fn stop(self) -> anyhow::Result<()> {
        self.servers.into_iter().try_for_each(OwnServer::stop)
    }
}

/// Loopback addresses that belong to this process: several servers run at a time.
fn own_hosts<const N: usize>() -> [String; N] {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [low, high] = [std::process::id() % 250, std::process::id() / 250 % 250];
    let count = u8::try_from(N).expect("a few");
    let first = NEXT.fetch_add(count, Ordering::Relaxed);
    std::array::from_fn(|host| format!("127.{}.{high}.{}", low + 1, usize::from(first) + host))
}

/// A server on threads of its own.
pub(crate) struct OwnServer {
    place: Place,
    runtime: Runtime,
    shutdown: oneshot::Sender<()>,
    serving: JoinHandle<anyhow::Result<()>>,
}

impl OwnServer {
    fn start(config: Config, kind: Kind) -> anyhow::Result<Self> {
        let console = Endpoint::new(config.console.bind.clone(), config.console.port);
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let mut server = runtime.block_on(Server::bind(config))?;
        if server.is_auth_on() && !kind.is_fresh {
            server = server.with_user(NewUser::new("nacos", "nacos", true)?);
        }
        let (address, grpc) = (server.local_addr(), server.grpc_address());
        let (shutdown, stopped) = oneshot::channel();
        let serving = runtime.spawn(server.run(async {
            // A sender that is gone asks for the same.
            let _ = stopped.await;
        }));
        let http = Endpoint::new(address.ip().to_string(), address.port());
        let place = Place { http, console: Some(console), grpc };
        Ok(Self { place, runtime, shutdown, serving })
    }

    fn wait_until_ready(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + READY_TIMEOUT;
        let Endpoint { host, port } = &self.place.http;
        loop {
            let mut stream = TcpStream::connect((host.as_str(), *port))?;
            let request = format!(
                "GET /nacos/v1/console/health/readiness HTTP/1.1\r\nHost: {host}\r\n\
                 Connection: close\r\n\r\n"
            );
            stream.write_all(request.as_bytes())?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            if answer.starts_with("HTTP/1.1 200") {
                return Ok(());
            }
            anyhow::ensure!(Instant::now() < deadline, "a member does not get ready: {answer}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn stop(self) -> anyhow::Result<()> {
        // Fails only if the server has ended already, which is seen below.
        let _ = self.shutdown.send(());
        let serving =
            self.runtime.block_on(async { time::timeout(STOP_TIMEOUT, self.serving).await });
        self.runtime.shutdown_background();
        serving.context("the server does not stop")?.context("the server has failed")?
    }
}
