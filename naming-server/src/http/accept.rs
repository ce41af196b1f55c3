//! Where connections come from: the seam where simulated sockets plug in.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

/// Pause after a failed accept: out of descriptors, the listener stays readable and would spin.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

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

/// Accepts for ever. Cancelling it between two connections loses none.
pub(crate) async fn accept_each<L: Accept>(
    listener: &L,
    mut take: impl FnMut(L::Stream, SocketAddr),
) {
    let mut failing = false;
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                failing = false;
                // On a socket for both kinds, IPv4 peers come in the guise of IPv6.
                take(stream, SocketAddr::new(peer.ip().to_canonical(), peer.port()));
            }
            Err(error) if is_about_one_connection(&error) => {}
            Err(error) => {
                if !failing {
                    tracing::warn!(%error, "cannot accept connections; trying again");
                }
                failing = true;
                sleep(ACCEPT_BACKOFF).await;
            }
        }
    }
}

fn is_about_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
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
