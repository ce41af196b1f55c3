//! Accepting connections, and letting go of all at the end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use h2::server::{Builder, Connection as H2, SendResponse};
use h2::{Reason, RecvStream};
use hyper::header::CONTENT_TYPE;
use hyper::http::Request;
use hyper::{Method, StatusCode};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Front;
use super::budget::Account;
use super::connections::Connection;
use super::flow::{Flow, Metered};
use super::status::{Failure, Status, fail, refuse};
use super::{call, stream};
use crate::http::{Accept, OtherProtocol, Place, Stream, Visit, Welcomed, accept_each, welcome};
use crate::registry::Later;
use crate::tls::Port;

/// How long a client may take for the preface of HTTP/2.
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);
/// How long a connection may say nothing without having been set up.
const SETUP_TIME: Duration = Duration::from_secs(30);
/// How long the last frames of a connection that this server ends may take.
const GOODBYE_TIME: Duration = Duration::from_millis(100);

/// Bytes that a client may send on one stream, and on all of a connection, before they are read.
const STREAM_WINDOW: u32 = 64 << 10;
const CONNECTION_WINDOW: u32 = 256 << 10;
/// Bytes of the headers of a call. gRPC sends a few hundred; what Nacos sends is in the message.
const MOST_HEADER_BYTES: u32 = 16 << 10;
/// Bytes of one stream that wait in the connection for being sent.
const SEND_BUFFER: usize = 64 << 10;
/// Streams that were called off before they were looked at.
const MOST_CALLED_OFF: usize = 32;

/// Serves `listener`, in TLS too if there is any, until `shutdown`. Returns when the last connection is
/// gone, or shortly after it was cut off.
pub(crate) async fn serve(
    listener: impl Accept,
    front: Arc<Front>,
    tls: Option<Arc<Port>>,
    shutdown: CancellationToken,
) {
    let connections = TaskTracker::new();
    let take = |stream, peer| admit(&front, tls.as_ref(), stream, peer, &connections);
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = front.draining.cancelled() => {}
        () = accept_each(&listener, take) => {}
    }
    drop(listener);
    shutdown.cancelled().await;
    front.cut_all.cancel();
    connections.close();
    let _ = timeout(2 * GOODBYE_TIME, connections.wait()).await;
}

fn admit(
    front: &Arc<Front>,
    tls: Option<&Arc<Port>>,
    stream: impl Stream,
    peer: SocketAddr,
    connections: &TaskTracker,
) {
    let Some(visit) = front.enter(peer) else {
        if front.stats.refused.fetch_add(1, Relaxed) == 0 {
            tracing::warn!(%peer, "limit of gRPC connections reached; closing further ones");
        }
        return;
    };
    stream.send_at_once();
    let open = Open::new(front, visit);
    match tls.cloned() {
        Some(tls) => connections.spawn(begin(tls, stream, peer, open)),
        None => connections.spawn(converse(stream, peer, open)),
    };
}

/// Serves a connection to a port that speaks TLS.
async fn begin(tls: Arc<Port>, stream: impl Stream, peer: SocketAddr, open: Open) {
    let cut_all = open.front.cut_all.clone();
    let welcomed = tokio::select! {
        it = welcome(&tls, stream, peer, Some(&open.visit.source), HANDSHAKE_TIME) => it,
        () = cut_all.cancelled() => None,
    };
    match welcomed {
        Some(Welcomed::Plain(stream)) => converse(stream, peer, open).await,
        Some(Welcomed::Secured { stream, .. }) => converse(stream, peer, open).await,
        None => {}
    }
}

impl Front {
    /// Counts a connection, if there is room for it.
    pub(super) fn enter(&self, peer: SocketAddr) -> Option<Visit> {
        let most = if self.peers.is_some() { usize::MAX } else { self.limits.of(peer.ip()) };
        if self.peers.as_ref().is_some_and(|peers| !peers.may_connect(peer.ip())) {
            return None;
        }
        let is_room = self.limits.have_room(self.stats.open.load(Relaxed));
        is_room.then(|| self.sources.enter(peer.ip(), Place::Usual, most)).flatten()
    }
}

impl OtherProtocol for Front {
    fn serve(self: Arc<Self>, stream: Box<dyn Stream>, peer: SocketAddr) -> Later<()> {
        Box::pin(async move {
            if let Some(visit) = self.enter(peer) {
                converse(stream, peer, Open::new(&self, visit)).await;
            } else {
                self.stats.refused.fetch_add(1, Relaxed);
            }
        })
    }
}

/// Serves one connection to its end: the client's, or that which this server makes of it.
async fn converse<S: Stream>(stream: S, peer: SocketAddr, open: Open) {
    let Open { front, visit } = &open;
    let flow = Arc::new(Flow::new());
    let stream = Metered::new(stream, Arc::clone(&flow), Arc::clone(&front.stats));
    let handshake = parser(front).handshake::<_, Bytes>(stream);
    let Ok(Ok(mut h2)) = timeout(HANDSHAKE_TIME, handshake).await else { return };
    let most = front.settings.max_buffered_bytes_per_connection;
    let account = Account::new(most, Arc::clone(&front.budget), Arc::clone(&visit.source));
    let connection = {
        let (outbox, now) = (front.naming.pusher().outbox(), front.now());
        front.connections.open(peer, Arc::new(account), flow, outbox, now)
    };
    if exchange(front, &connection, &mut h2).await {
        h2.abrupt_shutdown(Reason::NO_ERROR);
        let closed = std::future::poll_fn(|context| h2.poll_closed(context));
        let _ = timeout(GOODBYE_TIME, closed).await;
    }
    front.end(&connection);
}

/// Takes calls until the connection is over. True if it is this server that ends it.
async fn exchange<S: Stream>(
    front: &Arc<Front>,
    connection: &Arc<Connection>,
    h2: &mut H2<Metered<S>, Bytes>,
) -> bool {
    let mut alarm = std::pin::pin!(sleep(SETUP_TIME));
    let mut cut = std::pin::pin!(connection.cut_off());
    let mut cut_all = std::pin::pin!(front.cut_all.cancelled());
    loop {
        let is_set_up = connection.client().is_some();
        tokio::select! {
            call = h2.accept() => match call {
                Some(Ok((request, respond))) => take(front, connection, request, respond),
                // Whatever it was, the connection is over.
                Some(Err(_)) | None => return false,
            },
            () = &mut cut => return true,
            () = &mut cut_all => return true,
            () = &mut alarm, if !is_set_up => {
                let silence = front.now().since(connection.last_heard());
                if silence >= SETUP_TIME {
                    return true;
                }
                alarm.set(sleep(SETUP_TIME - silence));
            }
        }
    }
}

/// Begins a call.
fn take(
    front: &Arc<Front>,
    connection: &Arc<Connection>,
    request: Request<RecvStream>,
    respond: SendResponse<Bytes>,
) {
    connection.flow.call();
    let (head, body) = request.into_parts();
    let is_grpc = head
        .headers
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
    if head.method != Method::POST || !is_grpc {
        let status = match is_grpc {
            true => StatusCode::METHOD_NOT_ALLOWED,
            false => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        };
        return refuse(respond, status);
    }
    let takes_gzip = head.headers.get("grpc-encoding").is_some_and(|name| name == "gzip");
    let (front, connection) = (Arc::clone(front), Arc::clone(connection));
    match head.uri.path() {
        "/Request/request" => {
            tokio::spawn(call::answer(front, connection, body, respond, takes_gzip));
        }
        "/BiRequestStream/requestBiStream" => {
            tokio::spawn(stream::serve(front, connection, body, respond, takes_gzip));
        }
        path => {
            let text = format!("there is no method {}", crate::text::cut(path, 200));
            fail(respond, &Failure::new(Status::Unimplemented, text));
        }
    }
}

fn parser(front: &Front) -> Builder {
    let mut parser = Builder::new();
    parser
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(front.settings.max_concurrent_calls)
        .max_header_list_size(MOST_HEADER_BYTES)
        .max_send_buffer_size(SEND_BUFFER)
        .max_pending_accept_reset_streams(MOST_CALLED_OFF);
    parser
}

/// A connection, counted as long as this lives.
struct Open {
    front: Arc<Front>,
    visit: Visit,
}

impl Open {
    fn new(front: &Arc<Front>, visit: Visit) -> Self {
        front.stats.open.fetch_add(1, Relaxed);
        front.stats.accepted.fetch_add(1, Relaxed);
        Self { front: Arc::clone(front), visit }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.front.stats.open.fetch_sub(1, Relaxed);
    }
}
