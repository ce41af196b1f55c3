//! Where connections come from: the seam where simulated sockets plug in.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};

/// A listening socket.
pub(crate) trait Accept: Send + Sync + 'static {
    /// What it accepts.
    type Stream: Stream;

    /// Waits for the next connection. Cancelling it loses none.
    fn accept(&self) -> impl Future<Output = io::Result<(Self::Stream, SocketAddr)>> + Send;
}

/// The connection of a client.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {
    /// An answer must not wait for the acknowledgement of the one before.
    fn send_at_once(&self) {}
}

impl Accept for TcpListener {
    type Stream = TcpStream;

    async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        self.accept().await
    }
}

impl Stream for TcpStream {
    fn send_at_once(&self) {
        // It fails only on a connection that is gone already.
        let _ = self.set_nodelay(true);
    }
}
