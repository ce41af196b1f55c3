//! The sockets of the DNS front, and the front on them.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use anyhow::{Context, Result};
use tokio::net::{TcpListener, UdpSocket, lookup_host};
use tokio_util::sync::CancellationToken;

use super::ports::{BACKLOG, bind_to, hint, push_socket};
use crate::config::Config;
use crate::dns::{DnsFront, serve_tcp, serve_udp};
use crate::http::v1::Api;
use crate::networks::bare;

/// How often any free port is looked for, since one must be free twice.
const TRIES: usize = 16;

/// One port, twice.
#[derive(Debug)]
pub(super) struct DnsSockets {
    udp: UdpSocket,
    tcp: TcpListener,
}

impl DnsSockets {
    /// Takes the port of DNS, if there is to be one: on the address of its own, or that of the
    /// server.
    pub(super) async fn bind(config: &Config, own: IpAddr) -> Result<Option<Self>> {
        let Some(port) = config.dns.port else { return Ok(None) };
        let named = || format!("cannot listen on port {port} for DNS (dns.port)");
        let address = match bare(config.dns.bind.trim()) {
            "" => SocketAddr::new(own, port),
            host => {
                let mut found = lookup_host((host, port)).await.with_context(named)?;
                found.next().with_context(|| format!("{host:?} has no address (dns.bind)"))?
            }
        };
        let tries = if port == 0 { TRIES } else { 1 };
        let mut outcome = Self::bind_both(address);
        for _ in 1..tries {
            if outcome.is_ok() {
                break;
            }
            outcome = Self::bind_both(address);
        }
        outcome.map(Some).map_err(hint).with_context(named)
    }

    fn bind_both(address: SocketAddr) -> std::io::Result<Self> {
        let tcp = bind_to(address)?.listen(BACKLOG)?;
        let udp = push_socket(tcp.local_addr()?)?;
        Ok(Self { udp, tcp })
    }

    pub(super) fn address(&self) -> Option<SocketAddr> {
        self.tcp.local_addr().ok()
    }

    /// Answers until `shutdown`.
    pub(super) async fn serve(self, front: Arc<DnsFront>, shutdown: CancellationToken) {
        let Self { udp, tcp } = self;
        let udp = serve_udp(Arc::clone(&front), udp, shutdown.clone());
        tokio::join!(udp, serve_tcp(front, tcp, shutdown));
    }
}

/// The front, whose metrics the API shows.
///
/// # Errors
/// The suffix is no name; no random numbers.
pub(super) fn front(config: &Config, api: &Api, address: &str) -> Result<Arc<DnsFront>> {
    let naming = Arc::clone(api.naming());
    let front = DnsFront::new(naming, &config.dns.suffix, address, config.dns.settings())?;
    let front = Arc::new(front);
    api.show_metrics(Arc::clone(&front) as _);
    Ok(front)
}
