//! Accepting connections, keeping each within its limits, and letting go of all at the end.

use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::task::Poll;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::accept::{Accept, Stream, accept_each};
use super::exchange::Exchange;
use super::shared::{OtherProtocol, Peeked};
use super::socket::{HeadBudget, Progress, Standing, WatchedSocket};
use super::source::{Place, Sources, Visit};
use super::tls::{Welcomed, welcome};
use super::{Handler, HttpSettings};
use crate::tls::Port;

/// For how long a draining connection may go on sending a request it has only begun.
const DRAIN_GRACE: Duration = Duration::from_secs(1);

/// Counts of connections, for metrics.
#[derive(Debug, Default)]
pub(crate) struct ConnectionStats {
    /// Open now.
    pub(crate) open: AtomicUsize,
    /// Served since the start.
    pub(crate) accepted_total: AtomicU64,
    /// Closed at once since the start, because there were too many.
    pub(crate) refused_total: AtomicU64,
    /// Open now, of members; these are not among the others.
    pub(crate) members: AtomicUsize,
    /// Open now, of those that are kept free for members and have not proved to be of one.
    pub(crate) reserved: AtomicUsize,
}

/// Connections beyond the limit that are kept free for members of a cluster, and how many of them
/// one address may have.
const RESERVE: usize = 256;
const RESERVE_OF_SOURCE: usize = 32;
/// For how long one of these may be open before it has proved to be of a member.
const RESERVE_TIME: Duration = Duration::from_secs(5);

/// What a port speaks besides HTTP/1 in plain.
#[derive(Default)]
pub(crate) struct Protocols {
    /// Serves connections that begin with the preface of HTTP/2, or agree on it within TLS.
    pub(crate) http2: Option<Arc<dyn OtherProtocol>>,
    /// Begins connections in TLS.
    pub(crate) tls: Option<Arc<Port>>,
}

/// Serves `listener` until `shutdown`, then drains: no new connections, idle ones are closed,
/// requests that were begun are answered. Returns when the last connection is gone, at the latest
/// after `drain_timeout`, whatever the clients do. Dropping the future stops accepting but leaves
/// the open connections alone.
pub(crate) async fn serve<H: Handler>(
    listener: impl Accept,
    handler: Arc<H>,
    protocols: Protocols,
    settings: HttpSettings,
    stats: Arc<ConnectionStats>,
    shutdown: CancellationToken,
) {
    let drain_timeout = settings.drain_timeout;
    let front = Arc::new(Front {
        http: parser(&settings),
        heads: HeadBudget::new(settings.max_buffered_header_bytes),
        sources: Arc::default(),
        exchange: Exchange::new(handler, settings),
        stats,
        protocols,
        drain: Drain::default(),
    });
    let connections = TaskTracker::new();
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = accept_each(&listener, |stream, peer| admit(stream, peer, &front, &connections)) => {}
    }
    drop(listener);

    front.drain.start();
    connections.close();
    if timeout(drain_timeout, connections.wait()).await.is_err() {
        let open = connections.len();
        tracing::warn!(open, "connections were still open when the drain time was over");
    }
}

/// What the accept loop and all connections share.
struct Front<H> {
    http: http1::Builder,
    heads: HeadBudget,
    sources: Arc<Sources>,
    exchange: Exchange<H>,
    stats: Arc<ConnectionStats>,
    protocols: Protocols,
    drain: Drain,
}

/// Tells the connections to come to an end. The flag is what they look at whenever they are woken,
/// the token is only there to wake them: looking at it takes a lock they would all share.
#[derive(Default)]
struct Drain {
    started: AtomicBool,
    wake: CancellationToken,
}

impl Drain {
    fn start(&self) {
        self.started.store(true, Relaxed);
        self.wake.cancel();
    }
}

fn parser(settings: &HttpSettings) -> http1::Builder {
    let mut http = http1::Builder::new();
    // A limit of the buffer below that of the head would win; hyper insists on 8 KiB.
    http.max_header_size(settings.max_header_bytes)
        .max_buf_size(settings.max_header_bytes.max(8 << 10) + (8 << 10))
        // Half-closing clients are answered.
        .half_close(true);
    http
}

fn admit<H: Handler>(
    stream: impl Stream,
    peer: SocketAddr,
    front: &Arc<Front<H>>,
    connections: &TaskTracker,
) {
    let stats = &front.stats;
    let Some(open) = front.take_in(peer.ip()) else {
        if stats.refused_total.fetch_add(1, Relaxed) == 0 {
            tracing::warn!(%peer, "connection limit reached; closing further connections");
        }
        return;
    };
    stats.accepted_total.fetch_add(1, Relaxed);
    stream.send_at_once();
    let front = Arc::clone(front);
    let Protocols { http2, tls } = &front.protocols;
    if http2.is_some() || tls.is_some() {
        connections.spawn(async move { begin(&front, stream, peer, open).await });
        return;
    }
    connections.spawn(async move {
        converse(&front, stream, peer, open).await;
    });
}

/// Serves a connection to a port that speaks more than HTTP/1 in plain.
async fn begin<H: Handler>(
    front: &Front<H>,
    stream: impl Stream,
    peer: SocketAddr,
    open: OpenConnection,
) {
    let Some(tls) = &front.protocols.tls else {
        return tell_apart(front, Peeked::new(stream), peer, open).await;
    };
    let patience = front.exchange.settings().idle_timeout;
    let patience = if open.is_reserved() { patience.min(RESERVE_TIME) } else { patience };
    let source = open.visit.as_ref().map(|visit| &*visit.source);
    let welcomed = tokio::select! {
        welcomed = welcome(tls, stream, peer, source, patience) => welcomed,
        // It has asked for nothing yet.
        () = front.drain.wake.cancelled() => None,
    };
    match welcomed {
        Some(Welcomed::Plain(stream)) => tell_apart(front, stream, peer, open).await,
        Some(Welcomed::Secured { stream, is_http2 }) => {
            begin_secured(front, stream, is_http2, peer, open).await;
        }
        None => {}
    }
}

async fn begin_secured<H: Handler>(
    front: &Front<H>,
    stream: Box<dyn Stream>,
    is_http2: Option<bool>,
    peer: SocketAddr,
    open: OpenConnection,
) {
    match (is_http2, &front.protocols.http2) {
        (Some(true), Some(other)) => {
            drop(open);
            Arc::clone(other).serve(stream, peer).await;
        }
        (None, Some(_)) => tell_apart(front, Peeked::new(stream), peer, open).await,
        _ => converse(front, stream, peer, open).await,
    }
}

/// Has a connection served by the one whose protocol it begins with.
async fn tell_apart<H: Handler>(
    front: &Front<H>,
    mut stream: Peeked<impl Stream>,
    peer: SocketAddr,
    open: OpenConnection,
) {
    let Some(other) = &front.protocols.http2 else {
        return converse(front, stream, peer, open).await;
    };
    let first_bytes = async {
        tokio::select! {
            told = timeout(front.exchange.settings().idle_timeout, stream.is_http2()) => told,
            () = front.drain.wake.cancelled() => Ok(Ok(false)),
        }
    };
    match first_bytes.await {
        Ok(Ok(true)) => {
            drop(open);
            Arc::clone(other).serve(Box::new(stream), peer).await;
        }
        Ok(Ok(false)) => converse(front, stream, peer, open).await,
        // It is broken, or says nothing.
        Ok(Err(_)) | Err(_) => {}
    }
}

impl<H: Handler> Front<H> {
    /// Counts a connection, if there is room for it: among all, or among those that are kept free
    /// for members.
    fn take_in(&self, ip: IpAddr) -> Option<OpenConnection> {
        let limits = &self.exchange.settings().connections;
        let is_room = limits.have_room(self.stats.open.load(Relaxed));
        let enter = || self.sources.enter(ip, Place::Usual, limits.of(ip));
        let usual = is_room.then(enter).flatten();
        if let Some(visit) = usual {
            return Some(OpenConnection::new(&self.stats, visit, Place::Usual));
        }
        let is_room = self.exchange.has_members() && self.stats.reserved.load(Relaxed) < RESERVE;
        let reserved = is_room.then(|| self.sources.enter(ip, Place::Reserve, RESERVE_OF_SOURCE));
        Some(OpenConnection::new(&self.stats, reserved.flatten()?, Place::Reserve))
    }
}

/// Counts itself as long as it lives.
struct OpenConnection {
    stats: Arc<ConnectionStats>,
    place: Place,
    /// Ends when it proves to be that of a member.
    visit: Option<Visit>,
}

impl OpenConnection {
    fn new(stats: &Arc<ConnectionStats>, visit: Visit, place: Place) -> Self {
        let open = Self { stats: Arc::clone(stats), place, visit: Some(visit) };
        open.counter().fetch_add(1, Relaxed);
        open
    }

    fn is_reserved(&self) -> bool {
        self.place == Place::Reserve
    }

    /// Whether it has proved to be that of a member.
    fn is_of_member(&self) -> bool {
        self.visit.is_none()
    }

    /// It takes no room of strangers any more.
    fn proves(&mut self) {
        self.counter().fetch_sub(1, Relaxed);
        self.visit = None;
        self.counter().fetch_add(1, Relaxed);
    }

    fn counter(&self) -> &AtomicUsize {
        match (&self.visit, self.place) {
            (None, _) => &self.stats.members,
            (Some(_), Place::Usual) => &self.stats.open,
            (Some(_), Place::Reserve) => &self.stats.reserved,
        }
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.counter().fetch_sub(1, Relaxed);
    }
}

/// Serves one connection to its end: the client's, a time-out, or the drain. This future must be
/// a task of its own: it relies on always being polled with the same waker.
async fn converse<H: Handler>(
    front: &Front<H>,
    stream: impl Stream,
    peer: SocketAddr,
    mut open: OpenConnection,
) {
    let source = open.visit.as_ref().map(|visit| Arc::clone(&visit.source)).unwrap_or_default();
    let progress = Arc::new(Progress::new(source, open.is_reserved()));
    let may_be_late = || front.exchange.may_be_late();
    let socket = WatchedSocket::new(stream, Arc::clone(&progress), &may_be_late, &front.heads);
    let socket = TokioIo::new(socket);
    let service = service_fn(|request| front.exchange.respond(peer, &progress, request));
    let mut connection = pin!(front.http.serve_connection(socket, service));

    let HttpSettings { header_timeout, idle_timeout, drain_timeout, .. } =
        *front.exchange.settings();
    let mut since = Instant::now();
    let reserved_until = since + RESERVE_TIME;
    let mut alarm = pin!(sleep_until(since + idle_timeout));
    let mut alarm_is_set = false;
    let mut wake = pin!(front.drain.wake.cancelled());
    let mut wake_registered = false;
    let mut drain_since = None;

    poll_fn(|context| {
        if !wake_registered {
            wake_registered = true;
            let _ = wake.as_mut().poll(context);
        }
        if drain_since.is_none() && front.drain.started.load(Relaxed) {
            drain_since = Some(Instant::now());
            connection.as_mut().graceful_shutdown();
        }
        // Errors are the client's: it went away, or it spoke no HTTP and was told so.
        if connection.as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        if !open.is_of_member() && progress.standing() == Standing::Member {
            open.proves();
        }
        // The one clock reading of most requests.
        if progress.take_moved() {
            since = Instant::now();
        }
        let has_to_prove = open.is_reserved() && !open.is_of_member();
        loop {
            let deadline = match (progress.limit(header_timeout, idle_timeout), drain_since) {
                (Some(limit), None) => since + limit,
                (Some(limit), Some(drain)) => {
                    (since + limit).min(drain + DRAIN_GRACE.min(drain_timeout))
                }
                // The request being served limits itself; look again later.
                (None, None) if !has_to_prove => return Poll::Pending,
                (None, None) => reserved_until,
                (None, Some(drain)) => drain + drain_timeout,
            };
            let deadline = if has_to_prove { deadline.min(reserved_until) } else { deadline };
            // Moving the alarm takes a lock, so one that is early is left alone.
            if alarm_is_set && alarm.deadline() <= deadline && !alarm.is_elapsed() {
                return Poll::Pending;
            }
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            if alarm.deadline() > deadline || alarm.is_elapsed() {
                alarm.as_mut().reset(deadline);
            }
            alarm_is_set = alarm.as_mut().poll(context).is_pending();
            if alarm_is_set {
                return Poll::Pending;
            }
        }
    })
    .await;
}
