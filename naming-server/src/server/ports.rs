//! The sockets of a server.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use anyhow::{Context, Result, anyhow};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpSocket, UdpSocket, lookup_host};

use crate::config::Config;
use crate::networks::bare;

/// Connections that wait to be accepted; the system may cut it down.
pub(super) const BACKLOG: u32 = 4_096;
/// Bytes asked for of each buffer of the push socket.
const PUSH_BUFFER: usize = 4 << 20;

/// The socket of a server, which has its port.
#[derive(Debug)]
pub(super) enum Listening {
    /// Clients may connect.
    Now(TcpListener),
    /// Connections are refused until the server is ready.
    Later(TcpSocket),
}

impl Listening {
    pub(super) fn listen(self) -> std::io::Result<TcpListener> {
        match self {
            Self::Now(listener) => Ok(listener),
            Self::Later(socket) => socket.listen(BACKLOG),
        }
    }
}

/// Takes the port for consoles, if there is one: on the address of its own, or that of the server.
pub(super) async fn bind_console(config: &Config, own: IpAddr) -> Result<Option<TcpListener>> {
    let console = &config.console;
    if console.port == 0 {
        return Ok(None);
    }
    let named = || format!("cannot listen on port {} for consoles (console.port)", console.port);
    let address = match bare(console.bind.trim()) {
        "" => SocketAddr::new(own, console.port),
        host => {
            let mut found = lookup_host((host, console.port)).await.with_context(named)?;
            found.next().with_context(|| format!("{host:?} has no address (console.bind)"))?
        }
    };
    let listener = bind_to(address).and_then(|socket| socket.listen(BACKLOG));
    listener.map(Some).map_err(hint).with_context(named)
}

/// Takes the gRPC port without listening yet, if there is to be one.
pub(super) fn bind_grpc(config: &Config, main: SocketAddr) -> Result<Option<TcpSocket>> {
    // A main port that is any free one has any free one beside it.
    let Some(port) = config.grpc.port_beside(config.port)? else { return Ok(None) };
    let address = SocketAddr::new(main.ip(), port);
    bind_to(address).map(Some).map_err(hint).with_context(grpc_failure(Some(address)))
}

/// Takes the port for Java servers of 2.x and 3.x without listening yet, if they are members.
pub(super) fn bind_java2(config: &Config, main: SocketAddr) -> Result<Option<TcpSocket>> {
    let java2 = &config.cluster.java2;
    if !java2.is_enabled() {
        return Ok(None);
    }
    let address = SocketAddr::new(main.ip(), java2.port_beside(config.port)?);
    let named = || format!("cannot listen for Java members on {address} (cluster.java2.port)");
    bind_to(address).map(Some).map_err(hint).with_context(named)
}

pub(super) fn grpc_failure(address: Option<SocketAddr>) -> impl FnOnce() -> String {
    move || {
        let address = address.map_or_else(String::new, |address| address.to_string());
        format!("cannot listen for gRPC on {address}; grpc.port chooses another port, 0 none")
    }
}

/// Java servers take an open port for a member that is ready.
pub(super) fn listening(config: &Config, socket: TcpSocket) -> Result<Listening> {
    Ok(match config.cluster.speaks_nacos() || config.cluster.java2.is_enabled() {
        true => Listening::Later(socket),
        false => Listening::Now(socket.listen(BACKLOG).map_err(hint)?),
    })
}

/// Takes the port without listening yet.
pub(super) async fn bind(config: &Config) -> Result<TcpSocket> {
    let host = config.bind.trim();
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let mut failure = None;
    for address in lookup_host((host, config.port)).await.context("no such address")? {
        match bind_to(address) {
            Ok(socket) => return Ok(socket),
            Err(error) => failure = Some(error),
        }
    }
    Err(failure.map_or_else(|| anyhow!("the name has no address"), hint))
}

pub(super) fn bind_to(address: SocketAddr) -> std::io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A server that is started again must not wait for the old connections to be forgotten.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

pub(super) fn hint(error: std::io::Error) -> anyhow::Error {
    if error.kind() == std::io::ErrorKind::AddrInUse {
        return anyhow!("{error}; is another server running? --port chooses another port");
    }
    error.into()
}

/// The socket that pushes leave from and acks come to. Acks of many subscribers come all at once,
/// so its buffers are large; the system may cut them down.
pub(super) fn push_socket(address: SocketAddr) -> std::io::Result<UdpSocket> {
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
