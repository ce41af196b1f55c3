//! Wiring: settings in, a running server out.

use std::future::Future;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpSocket, UdpSocket, lookup_host};
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::config::Config;
use crate::http::{self, ConnectionStats};

/// Connections that wait to be accepted; the system may cut it down.
const BACKLOG: u32 = 4_096;
/// Bytes asked for of each buffer of the push socket.
const PUSH_BUFFER: usize = 4 << 20;

/// A server that has its sockets and waits to be run.
#[derive(Debug)]
pub struct Server {
    config: Config,
    listener: TcpListener,
    push_socket: UdpSocket,
    address: SocketAddr,
    stats: Arc<ConnectionStats>,
}

impl Server {
    /// Takes the port. Clients may connect from now on; they are answered when it runs.
    ///
    /// # Errors
    /// An address that does not exist here or is in use.
    pub async fn bind(config: Config) -> Result<Self> {
        let target = format!("{} port {}", config.bind, config.port);
        let listener =
            listen(&config).await.with_context(|| format!("cannot listen on {target}"))?;
        let address = listener.local_addr()?;
        let push_port = config.push.bind_port;
        let push_socket = push_socket(SocketAddr::new(address.ip(), push_port))
            .with_context(|| format!("cannot bind UDP port {push_port} of {}", address.ip()))?;
        Ok(Self { config, listener, push_socket, address, stats: Arc::default() })
    }

    /// The address it listens on, with the real port.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Where clients find the API, for people to read and copy.
    pub fn url(&self) -> String {
        let mut address = self.address;
        if address.ip().is_unspecified() {
            address.set_ip(match address {
                SocketAddr::V4(_) => [127, 0, 0, 1].into(),
                SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
            });
        }
        format!("http://{address}{}", self.config.http_settings().context_path)
    }

    /// Serves until `shutdown` completes, then drains and returns, within
    /// `http.drain_timeout_ms`.
    ///
    /// # Errors
    /// None while it listens on one socket.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<()> {
        let token = CancellationToken::new();
        let app = App::new(&self.config, self.address, self.push_socket, Arc::clone(&self.stats));
        let settings = self.config.http_settings();
        let api = Arc::clone(&app.api);
        let serve = http::serve(self.listener, api, settings, self.stats, token.clone());
        let background = app.run(token.clone());
        let stop = async {
            shutdown.await;
            token.cancel();
        };
        tokio::join!(serve, background, stop);
        Ok(())
    }
}

async fn listen(config: &Config) -> Result<TcpListener> {
    let host = config.bind.trim();
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let mut failure = None;
    for address in lookup_host((host, config.port)).await.context("no such address")? {
        match listen_on(address) {
            Ok(listener) => return Ok(listener),
            Err(error) => failure = Some(error),
        }
    }
    match failure {
        Some(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            bail!("{error}; is another server running? --port chooses another port")
        }
        Some(error) => Err(error.into()),
        None => bail!("the name has no address"),
    }
}

fn listen_on(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A server that is started again must not wait for the old connections to be forgotten.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// The socket that pushes leave from and acks come to. Acks of many subscribers come all at once,
/// so its buffers are large; the system may cut them down.
fn push_socket(address: SocketAddr) -> std::io::Result<UdpSocket> {
    let domain = if address.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    if address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) {
        socket.set_only_v6(false)?;
    }
    socket.set_recv_buffer_size(PUSH_BUFFER)?;
    socket.set_send_buffer_size(PUSH_BUFFER)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}
