//! The seam where real or simulated sockets plug in.

use std::future::Future;
use std::io;
use std::pin::Pin;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// A connection to another member.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// What [`Connector::connect`] returns.
pub type Connecting<'a> = Pin<Box<dyn Future<Output = io::Result<Box<dyn Io>>> + Send + 'a>>;

/// Opens connections to other members.
pub trait Connector: Send + Sync {
    /// Connects to an address, `host:port`. The error kind
    /// [`ConnectionRefused`](io::ErrorKind::ConnectionRefused) means that nobody listens there:
    /// the process is gone. The caller sets the deadline and drops the future when it is over.
    fn connect<'a>(&'a self, address: &'a str) -> Connecting<'a>;
}

/// Connects over TCP; small requests are not held back (`TCP_NODELAY`).
#[derive(Debug, Clone, Copy, Default)]
pub struct TcpConnector;

impl Connector for TcpConnector {
    fn connect<'a>(&'a self, address: &'a str) -> Connecting<'a> {
        Box::pin(async move {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as Box<dyn Io>)
        })
    }
}
