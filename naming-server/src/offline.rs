//! What can be done with the settings of a server that does not run: checking them, and changes to
//! its data folder.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail, ensure};
use distro_net::TcpConnector;
use tokio::net::{UdpSocket, lookup_host};

use crate::app::{App, Resources, Sockets};
use crate::auth::NewUser;
use crate::config::Config;
use crate::membership::Origin;
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

/// Writes a user into the data folder that a server with these settings would use. It is on disk
/// when this returns, with the folder.
///
/// # Errors
/// A server uses the folder; it cannot be read or written; there is such a user already.
pub async fn add_user(config: &Config, user: &NewUser) -> Result<PathBuf> {
    let address = listened_on(config).await?;
    let origin = Origin::new(config.advertised(address));
    let Some(data) = open_data(config, address, origin.address.member())? else {
        bail!("a server that keeps everything in memory (data.in_memory) has no folder for users");
    };
    let folder = data.path().to_owned();
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.context("no socket")?;
    let sockets = Sockets { push: socket.into(), checks: Arc::new(TcpConnector) };
    let resources = Resources { data: Some(data), ..Resources::default() };
    // All that a server has, but nothing of it runs.
    let app = App::new(config, origin, None, sockets, resources);
    let written = write(&app, user).await;
    if let Some(keeper) = app.keeper.clone() {
        tokio::task::spawn_blocking(move || keeper.stop()).await?;
    }
    written.map(|()| folder)
}

async fn write(app: &App, user: &NewUser) -> Result<()> {
    let is_known = app.api.registry.accounts.load().has_user(user.name());
    ensure!(!is_known, "there is a user {} already", user.name());
    user.write_durably(app.api.writes()).await.map_err(|error| anyhow!("{error}"))
}

/// What the server would listen on, which names the folder if nothing else does.
async fn listened_on(config: &Config) -> Result<SocketAddr> {
    let host = config.bind.trim();
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let mut found = lookup_host((host, config.port)).await.context("no such address")?;
    found.next().context("the name has no address")
}
