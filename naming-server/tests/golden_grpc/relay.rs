//! A TCP relay for exactly one connection, so that a story can reset, freeze and watch it.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// How the server has closed a connection, and when.
pub(crate) type Closed = (&'static str, Instant);

/// The relay of a connection.
#[derive(Debug)]
pub(crate) struct Relay {
    /// Where the client connects to.
    pub(crate) port: u16,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// The port that the server sees.
    local_port: AtomicU16,
    is_frozen: AtomicBool,
    is_aborted: AtomicBool,
    closed: Mutex<Option<Closed>>,
    abort: CancellationToken,
    destroy: CancellationToken,
}

impl Relay {
    /// Listens for one connection to `target`. To be called within a runtime.
    pub(crate) async fn start(target: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let (port, shared) = (listener.local_addr()?.port(), Arc::<Shared>::default());
        tokio::spawn(Arc::clone(&shared).run(listener, target));
        Ok(Self { port, shared })
    }

    /// The client port as the server sees it; 0 until the connection is there.
    pub(crate) fn local_port(&self) -> u16 {
        self.shared.local_port.load(SeqCst)
    }

    /// How and when the server has closed the connection.
    pub(crate) fn closed(&self) -> Option<Closed> {
        *self.shared.lock()
    }

    /// From now on nothing passes in either direction, and no end of either side.
    pub(crate) fn freeze(&self) {
        self.shared.is_frozen.store(true, SeqCst);
    }

    /// Resets the connection to the server.
    pub(crate) fn abort(&self) {
        self.shared.is_aborted.store(true, SeqCst);
        self.shared.note("aborted by us");
        self.shared.abort.cancel();
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.destroy.cancel();
    }
}

impl Shared {
    async fn run(self: Arc<Self>, listener: TcpListener, target: SocketAddr) {
        let accepted = tokio::select! {
            () = self.destroy.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        drop(listener);
        let Ok((mut client, _)) = accepted else { return };
        let Ok(mut server) = TcpStream::connect(target).await else {
            self.note("refused");
            return;
        };
        for socket in [&client, &server] {
            // Only slower without.
            let _ = socket.set_nodelay(true);
        }
        let local_port = server.local_addr().map_or(0, |address| address.port());
        self.local_port.store(local_port, SeqCst);
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let both = async {
            tokio::join!(
                self.pump(from_server, to_client, true),
                self.pump(from_client, to_server, false),
            )
        };
        tokio::select! {
            _ = both => {}
            () = self.destroy.cancelled() => {}
            () = self.abort.cancelled() => {
                // Turns the close into a reset.
                let linger = socket2::SockRef::from(&server).set_linger(Some(Duration::ZERO));
                linger.expect("a socket takes SO_LINGER");
            }
        }
    }

    async fn pump(&self, mut source: ReadHalf<'_>, mut sink: WriteHalf<'_>, is_from_server: bool) {
        let mut buffer = vec![0; 64 << 10];
        let how = loop {
            match source.read(&mut buffer).await {
                Ok(0) => break "fin",
                Ok(_) if self.is_frozen.load(SeqCst) => {}
                Ok(length) => {
                    if sink.write_all(&buffer[..length]).await.is_err() {
                        break "unwritable";
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => break "rst",
                Err(_) => break "error",
            }
        };
        if is_from_server {
            self.note(how);
        }
        if !self.is_frozen.load(SeqCst) && !self.is_aborted.load(SeqCst) {
            // The other side may have gone as well.
            let _ = sink.shutdown().await;
        }
    }

    fn note(&self, how: &'static str) {
        self.lock().get_or_insert_with(|| (how, Instant::now()));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Closed>> {
        self.closed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
