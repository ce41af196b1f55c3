//! Questions by TCP: each behind its length, one after the other.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{DnsFront, MOST_QUESTION_BYTES, Way};
use crate::http::{Place, Visit, accept_each};

/// What the last answers may take when the server stops.
const DRAIN: Duration = Duration::from_millis(200);

/// Serves connections until `shutdown`.
pub(crate) async fn serve(
    front: Arc<DnsFront>,
    listener: TcpListener,
    shutdown: CancellationToken,
) {
    let connections = TaskTracker::new();
    let admit = |stream: TcpStream, peer: SocketAddr| match Open::new(&front, peer) {
        Some(open) => {
            let shutdown = shutdown.clone();
            connections.spawn(async move {
                tokio::select! {
                    // Broken, silent or over: the client asks again if it wants to know.
                    _ = converse(&open.front, stream, peer) => {}
                    () = shutdown.cancelled() => {}
                }
                drop(open);
            });
        }
        None => {
            front.stats.refused.fetch_add(1, Relaxed);
        }
    };
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = accept_each(&listener, admit) => {}
    }
    drop(listener);
    connections.close();
    let _ = timeout(DRAIN, connections.wait()).await;
}

/// A connection, counted as long as this lives.
struct Open {
    front: Arc<DnsFront>,
    _visit: Visit,
}

impl Open {
    /// `None` if there are too many.
    fn new(front: &Arc<DnsFront>, peer: SocketAddr) -> Option<Self> {
        let settings = front.settings.load();
        let ip = peer.ip();
        let is_near = settings.trusted_networks.contain(ip);
        let most = if is_near { usize::MAX } else { settings.max_connections_per_source };
        let is_room = front.stats.open.load(Relaxed) < settings.max_connections;
        let visit = is_room.then(|| front.sources.enter(ip, Place::Usual, most)).flatten()?;
        front.stats.open.fetch_add(1, Relaxed);
        Some(Self { front: Arc::clone(front), _visit: visit })
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.front.stats.open.fetch_sub(1, Relaxed);
    }
}

/// Answers question after question. Whoever asks none for long, sends one too slowly or does not
/// read its answer is let go.
async fn converse(front: &DnsFront, mut stream: TcpStream, peer: SocketAddr) -> io::Result<()> {
    let _ = stream.set_nodelay(true);
    let mut question = Vec::new();
    loop {
        let patience = front.settings.load().idle_timeout;
        timeout(patience, read(&mut stream, &mut question)).await??;
        let Some(answer) = front.respond(&question, peer, Way::Tcp) else { return Ok(()) };
        let length = u16::try_from(answer.len()).map_err(io::Error::other)?;
        let mut message = Vec::with_capacity(2 + answer.len());
        message.extend(length.to_be_bytes());
        message.extend(answer);
        timeout(patience, stream.write_all(&message)).await??;
    }
}

/// Reads one question. What is longer than a question can be is none.
async fn read(stream: &mut TcpStream, question: &mut Vec<u8>) -> io::Result<()> {
    let length = usize::from(stream.read_u16().await?);
    if length > MOST_QUESTION_BYTES {
        return Err(io::ErrorKind::InvalidData.into());
    }
    question.resize(length, 0);
    stream.read_exact(question).await.map(drop)
}
