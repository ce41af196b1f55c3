//! Where connections come from: the seam where simulated sockets plug in.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;

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

    /// Whether the client is known to send no more, beyond what was read.
    fn has_ended(&self) -> bool {
        false
    }
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

    fn has_ended(&self) -> bool {
        // Asked of the system: of a connection that was just accepted the runtime knows nothing
        // yet. That takes three calls of the system, and is for rare occasions.
        let Ok(same) = self.as_fd().try_clone_to_owned() else { return false };
        matches!(std::net::TcpStream::from(same).peek(&mut [0]), Ok(0))
    }
}
