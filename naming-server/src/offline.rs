//! What can be done with the settings of a server that does not run: checking them, and changes to
//! its data folder.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail, ensure};
use distro_core::{MemberId, StampClock};
use distro_net::{Clock, TcpConnector};
use tokio::net::{UdpSocket, lookup_host};

use crate::app::{App, Resources, Sockets};
use crate::auth::NewUser;
use crate::config::Config;
use crate::durable::{Data, Folder};
use crate::membership::Origin;
use crate::registry::{Events, Registry, Watch, Writes};
use crate::server::open_data;
use crate::tls::Tls;

/// Checks settings and the files that they name, as a start does. Takes no port, and looks at no data.
///
/// # Errors
/// Whatever would stop the start, as far as it can be known: a key or secret that is missing or weak,
/// TLS files that cannot be used, an address that does not exist.
pub async fn check_config(config: &Config) -> Result<()> {
    config.check_identity()?;
    config.auth.settings()?;
    config.auth.identity()?;
    if config.cluster.is_enabled() {
        config.cluster.read_secret()?;
    }
    let own = config.advertised(listened_on(config).await?);
    Tls::open(config, own.as_str())?;
    Ok(())
}

/// A data folder that no server uses, with what a server would have of it.
pub(crate) struct OfflineServer {
    folder: PathBuf,
    registry: Arc<Registry>,
    /// None if the folder is only looked into.
    app: Option<App>,
    /// Keeps others from using the folder while it is looked into.
    _held: Option<Arc<Folder>>,
}

impl OfflineServer {
    /// What a server with these settings would have. Its folder is made if there is none; what is
    /// written is on disk with the writes.
    ///
    /// # Errors
    /// A server uses the folder, it cannot be read, or there is none with these settings.
    pub(crate) async fn open(config: &Config) -> Result<Self> {
        let address = listened_on(config).await?;
        let origin = Origin::new(config.advertised(address));
        let Some(data) = open_data(config, address, origin.address.member())? else {
            bail!("a server that keeps everything in memory (data.in_memory) has no data folder");
        };
        let folder = data.path().to_owned();
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.context("no socket")?;
        let sockets = Sockets { push: socket.into(), checks: Arc::new(TcpConnector) };
        let resources = Resources { data: Some(data), ..Resources::default() };
        // All that a server has, but nothing of it runs.
        let app = App::new(config, origin, None, sockets, resources);
        let registry = Arc::clone(&app.api.registry);
        Ok(Self { folder, registry, app: Some(app), _held: None })
    }

    /// The same of a folder, whatever server it is for.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub(crate) async fn open_folder(folder: &Path) -> Result<Self> {
        Self::open(&alone_with(folder)).await
    }

    /// Reads a folder, which stays as it is.
    ///
    /// # Errors
    /// A server uses it, it has no data, or it cannot be read.
    pub(crate) fn look_into(folder: &Path) -> Result<Self> {
        let (clock, member) = (Clock::start(), MemberId(0));
        let data = Data::open_existing(folder, member)?;
        let (path, held) = (data.path().to_owned(), Arc::clone(data.folder()));
        let registry = unwritten(&alone_with(folder), member, clock);
        data.show(&registry.store, clock.tick());
        Ok(Self { folder: path, registry: Arc::new(registry), app: None, _held: Some(held) })
    }

    /// Whether there is any data in a folder.
    pub(crate) fn has_data(folder: &Path) -> bool {
        Data::is_in(folder)
    }

    /// What a folder would have that is not there, or has no data: nothing.
    pub(crate) fn empty(folder: &Path) -> Self {
        let registry = Arc::new(unwritten(&alone_with(folder), MemberId(0), Clock::start()));
        Self { folder: folder.to_owned(), registry, app: None, _held: None }
    }

    /// The folder.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// What is in it.
    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The way of writes; none into a folder that is only looked into.
    pub(crate) fn writes(&self) -> Option<&Writes> {
        self.app.as_ref().map(|app| app.api.writes())
    }

    /// Lets go of the folder once everything is on disk.
    pub(crate) async fn close(self) -> Result<()> {
        if let Some(keeper) = self.app.and_then(|app| app.keeper.clone()) {
            tokio::task::spawn_blocking(move || keeper.stop()).await?;
        }
        Ok(())
    }
}

/// A registry of which nothing is written down.
fn unwritten(config: &Config, member: MemberId, clock: Clock) -> Registry {
    let events = Arc::new(Events::new(0));
    let watch = Arc::new(Watch::new(Arc::clone(&events)));
    let stamps = StampClock::new(member, 1, clock.now());
    Registry::new(config.registry_settings(1), events, watch, stamps, clock, Vec::new())
}

/// The settings of a server that has this folder and serves alone.
fn alone_with(folder: &Path) -> Config {
    let mut config = Config { bind: Ipv4Addr::LOCALHOST.to_string(), ..Config::default() };
    config.data.dir = folder.display().to_string();
    config.data.in_memory = false;
    config
}

/// Writes a user into the data folder that a server with these settings would use. It is on disk
/// when this returns, with the folder.
///
/// # Errors
/// A server uses the folder; it cannot be read or written; there is such a user already.
pub async fn add_user(config: &Config, user: &NewUser) -> Result<PathBuf> {
    let server = OfflineServer::open(config).await?;
    let folder = server.folder().to_owned();
    let written = write(&server, user).await;
    server.close().await?;
    written.map(|()| folder)
}

async fn write(server: &OfflineServer, user: &NewUser) -> Result<()> {
    let is_known = server.registry().accounts.load().has_user(user.name());
    ensure!(!is_known, "there is a user {} already", user.name());
    let writes = server.writes().expect("a folder that is opened is written to");
    user.write_durably(writes).await.map_err(|error| anyhow!("{error}"))
}

/// What the server would listen on, which names the folder if nothing else does.
async fn listened_on(config: &Config) -> Result<SocketAddr> {
    let host = config.bind.trim();
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let mut found = lookup_host((host, config.port)).await.context("no such address")?;
    found.next().context("the name has no address")
}
