//! The server a scenario is replayed against: one that runs somewhere, or our own in this process.

use std::net::Ipv4Addr;
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::Duration;

use anyhow::Context;
use naming_server::{Config, Server};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time;

use super::golden_support::http::Endpoint;

/// Longest time a server may take to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

pub(crate) enum Target {
    /// A server that was started by someone else. Whoever changes its switches waits for a turn
    /// alone on it.
    Running { endpoint: Endpoint, turn: RwLock<()> },
    /// Servers of our own: one for all scenarios that do not disturb each other, started for the
    /// first of them, and one for each that would.
    InProcess { shared: Mutex<Option<OwnServer>> },
}

impl Target {
    pub(crate) fn running(endpoint: Endpoint) -> Self {
        Self::Running { endpoint, turn: RwLock::new(()) }
    }

    pub(crate) fn in_process() -> Self {
        Self::InProcess { shared: Mutex::new(None) }
    }

    /// Calls `replay` with a server that no exclusive scenario has, or, if this one is
    /// `exclusive`, that nobody else has.
    pub(crate) fn with_server<T>(
        &self,
        exclusive: bool,
        replay: impl FnOnce(&Endpoint) -> T,
    ) -> anyhow::Result<T> {
        match self {
            Self::Running { endpoint, turn } if exclusive => {
                let _alone = turn.write().unwrap_or_else(PoisonError::into_inner);
                Ok(replay(endpoint))
            }
            Self::Running { endpoint, turn } => {
                let _shared = turn.read().unwrap_or_else(PoisonError::into_inner);
                Ok(replay(endpoint))
            }
            Self::InProcess { .. } if exclusive => {
                let server = OwnServer::start()?;
                let outcome = replay(&server.endpoint);
                server.stop()?;
                Ok(outcome)
            }
            Self::InProcess { shared } => {
                let endpoint = shared_endpoint(shared)?;
                Ok(replay(&endpoint))
            }
        }
    }

    /// Stops the shared server, if there is one.
    pub(crate) fn stop(&self) -> anyhow::Result<()> {
        let Self::InProcess { shared } = self else { return Ok(()) };
        let server = shared.lock().unwrap_or_else(PoisonError::into_inner).take();
        server.map_or(Ok(()), OwnServer::stop)
    }
}

fn shared_endpoint(shared: &Mutex<Option<OwnServer>>) -> anyhow::Result<Endpoint> {
    let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(server) = &*shared {
        return Ok(server.endpoint.clone());
    }
    let server = OwnServer::start()?;
    Ok(shared.insert(server).endpoint.clone())
}

/// A server with default settings on a free loopback port, on threads of its own.
pub(crate) struct OwnServer {
    endpoint: Endpoint,
    runtime: Runtime,
    shutdown: oneshot::Sender<()>,
    serving: JoinHandle<anyhow::Result<()>>,
}

impl OwnServer {
    fn start() -> anyhow::Result<Self> {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let config = Config { bind: Ipv4Addr::LOCALHOST.to_string(), port: 0, ..Config::default() };
        let server = runtime.block_on(Server::bind(config))?;
        let address = server.local_addr();
        let (shutdown, stopped) = oneshot::channel();
        let serving = runtime.spawn(server.run(async {
            // A sender that is gone asks for the same.
            let _ = stopped.await;
        }));
        let endpoint = Endpoint::new(address.ip().to_string(), address.port());
        Ok(Self { endpoint, runtime, shutdown, serving })
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
