//! The link to the registry: finding a server that speaks gRPC, keeping one connection, moving
//! when it ends or is asked to, and telling everybody else how things are.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::Context;
use super::fuzzy::Watches;
use super::hold::Holder;
use super::messages::Reset;
use super::open::{Opened, open};
use super::session::Session;
use crate::error::{Attempt, Error};
use crate::servers::{Preference, Server, backoff};
use crate::transport::Transport;

/// Longest pause before the first round after a loss.
const SPREAD: Duration = Duration::from_millis(100);
/// Pause between two rounds over all servers, doubled with each up to the second.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LAST_PAUSE: Duration = Duration::from_secs(5);
/// Least pause between two rounds, however many callers wait.
const LEAST_PAUSE: Duration = Duration::from_millis(100);
/// Servers that spoke gRPC have so long to do it again before HTTP is used: while one starts, its
/// HTTP may answer first.
const GRACE: Duration = Duration::from_secs(5);
/// How often servers that speak HTTP are asked for gRPC, give or take half.
const UPGRADE_PERIOD: Duration = Duration::from_secs(15);
/// Longest time for the old connection to stay while the new one takes everything over.
const MOVE_TIME: Duration = Duration::from_secs(3);
/// Rounds that fail before a patient call gives up.
const PATIENT_ROUNDS: u64 = 3;

/// How things are between the client and the servers.
#[derive(Debug, Clone)]
pub(super) enum Mode {
    /// Looking for a server: rounds that failed since it was lost, and how the last one went.
    Seeking {
        rounds: u64,
        attempts: Arc<[Attempt]>,
    },
    Grpc(Arc<Session>),
    Http,
    Closed,
}

/// The protocol of the moment.
#[derive(Debug)]
pub(crate) enum Via {
    Grpc(Arc<Session>),
    Http,
}

/// What the threads of a client share about the link.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) holder: Holder,
    pub(crate) watches: Watches,
    mode: watch::Sender<Mode>,
    /// Told when somebody waits for a server.
    wake: Notify,
    /// Told when a server that failed over HTTP answers again.
    recovered: Notify,
    /// Where a server has asked us to go, if it named a place.
    reset: Mutex<Option<Reset>>,
    asked_to_move: Notify,
    /// Whether gRPC has ever worked.
    spoke: AtomicBool,
    transport: Transport,
}

impl Link {
    pub(crate) fn new(transport: Transport) -> Self {
        let mode = Mode::Seeking { rounds: 0, attempts: Arc::default() };
        Self {
            holder: Holder::default(),
            watches: Watches::default(),
            mode: watch::Sender::new(mode),
            wake: Notify::new(),
            recovered: Notify::new(),
            reset: Mutex::default(),
            asked_to_move: Notify::new(),
            spoke: AtomicBool::new(false),
            transport,
        }
    }

    /// Whether HTTP may be used for what gRPC does not do.
    pub(crate) fn may_use_http(&self) -> bool {
        self.transport == Transport::Auto
    }

    /// The connection of the moment, if there is one.
    pub(crate) fn session(&self) -> Option<Arc<Session>> {
        match &*self.mode.borrow() {
            Mode::Grpc(session) if !session.is_over() => Some(session.clone()),
            _ => None,
        }
    }

    /// Whether HTTP is spoken, and beats are due.
    pub(crate) fn is_http(&self) -> bool {
        matches!(*self.mode.borrow(), Mode::Http)
    }

    pub(super) fn mode(&self) -> watch::Receiver<Mode> {
        self.mode.subscribe()
    }

    /// Waits for a connection, or until HTTP has to be used.
    ///
    /// # Errors
    /// [`Error::NoServer`] at the deadline and after a number of rounds, one if not `patient`;
    /// [`Error::ShutDown`].
    pub(crate) async fn via(&self, deadline: Instant, patient: bool) -> Result<Via, Error> {
        let mut mode = self.mode.subscribe();
        let mut first = None;
        loop {
            let last = match &*mode.borrow_and_update() {
                Mode::Closed => return Err(Error::ShutDown),
                Mode::Http => return Ok(Via::Http),
                Mode::Grpc(session) if !session.is_over() => return Ok(Via::Grpc(session.clone())),
                Mode::Grpc(_) => None,
                Mode::Seeking { rounds, attempts } => {
                    // Who is not patient takes the word of the round before.
                    let first = *first.get_or_insert(if patient { *rounds } else { 0 });
                    let most = if patient { PATIENT_ROUNDS } else { 1 };
                    if rounds.saturating_sub(first) >= most {
                        return Err(Error::NoServer { attempts: attempts.to_vec() });
                    }
                    Some(attempts.clone())
                }
            };
            if patient {
                self.wake.notify_one();
            }
            if tokio::time::timeout_at(deadline, mode.changed()).await.is_err() {
                let attempts = last.map(|attempts| attempts.to_vec()).unwrap_or_default();
                return Err(Error::NoServer { attempts });
            }
        }
    }

    /// A server has asked us to go.
    pub(super) fn reset(&self, session: &Session, reset: Reset) {
        tracing::info!(server = session.place, target = ?reset.server_ip,
            "the server asks its clients to go elsewhere");
        *self.reset.lock() = Some(reset);
        self.asked_to_move.notify_one();
    }

    /// A server that failed over HTTP answers again: it may have come back as a newer one.
    pub(crate) fn server_is_back(&self) {
        self.recovered.notify_one();
    }
}

impl Context {
    pub(super) fn link(&self) -> &Link {
        &self.link
    }

    fn publish(&self, mode: Mode) {
        self.link.mode.send_replace(mode);
    }
}

/// Tells everybody who waits that there is nothing to wait for, however the thread ends.
pub(super) struct Closing(pub(super) Arc<Link>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.mode.send_replace(Mode::Closed);
        drop(self.0.holder.give_back());
    }
}

/// Keeps the link for as long as it is polled.
pub(super) async fn keep(context: &Arc<Context>) {
    let mut rounds = 0;
    let mut http_since = None;
    loop {
        let mut attempts = match round(context, None).await {
            Ok(opened) => {
                (rounds, http_since) = (0, None);
                stay(context, opened).await;
                lost(context).await;
                continue;
            }
            Err(attempts) => attempts,
        };
        if context.link.may_use_http()
            && let Some(server) = answers_http(context, &mut attempts).await
        {
            let since = *http_since.get_or_insert_with(Instant::now);
            let spoke = context.link.spoke.load(Ordering::Relaxed);
            if !spoke || since.elapsed() >= GRACE {
                let opened = speak_http(context, &server).await;
                (rounds, http_since) = (0, None);
                stay(context, opened).await;
                lost(context).await;
                continue;
            }
        }
        rounds += 1;
        context.publish(Mode::Seeking { rounds, attempts: attempts.into() });
        let failures = u32::try_from(rounds).unwrap_or(u32::MAX);
        let pause = backoff(FIRST_PAUSE, LAST_PAUSE, failures).max(LEAST_PAUSE);
        let least = tokio::time::sleep(LEAST_PAUSE);
        let woken = async {
            least.await;
            context.link.wake.notified().await;
        };
        // A permit of an earlier round wakes nobody.
        let _ = tokio::time::timeout(Duration::ZERO, context.link.wake.notified()).await;
        let _ = tokio::time::timeout(pause, woken).await;
    }
}

async fn lost(context: &Context) {
    context.core.counters.note_loss();
    context.publish(Mode::Seeking { rounds: 0, attempts: Arc::default() });
    context.topics.move_all();
    // The clients of a server that died do not all come at once.
    tokio::time::sleep(SPREAD.mul_f64(fastrand::f64())).await;
}

/// Asks all servers once, those that may answer first.
async fn round(context: &Arc<Context>, besides: Option<&Session>) -> Result<Opened, Vec<Attempt>> {
    let mut servers = context.core.servers.order(Preference::Sticky);
    servers.sort_by_cached_key(|server| server.grpc_retry_at());
    if let Some(target) = context.link.reset.lock().take() {
        servers.sort_by_key(|server| !is_target(server, &target));
    }
    let mut attempts = Vec::new();
    for server in servers {
        if besides.is_some_and(|session| Arc::ptr_eq(&session.server, &server)) {
            continue;
        }
        match open(context, &server).await {
            Ok(opened) => {
                server.note_grpc(true);
                return Ok(opened);
            }
            Err(failure) => {
                server.note_grpc(false);
                let place = server.address.grpc_place(context.port_offset);
                let place = place.map(|(host, port)| crate::address::authority(host, port));
                let place = place.unwrap_or_else(|_| server.address.authority());
                tracing::debug!(server = place, %failure, "no gRPC");
                attempts.push(Attempt { server: place, failure });
            }
        }
    }
    Err(attempts)
}

/// Whether `server` is where we were asked to go.
fn is_target(server: &Server, target: &Reset) -> bool {
    let (host, port) = server.address.place();
    let named = target.server_port.as_ref().map(|port| match port {
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    });
    let is_host = target.server_ip.as_deref().is_some_and(|ip| {
        let known = server.known_route().map(|route| route.remote.to_canonical());
        ip == host || ip.parse::<IpAddr>().ok().is_some_and(|ip| Some(ip.to_canonical()) == known)
    });
    is_host && named.is_none_or(|named| named.is_empty() || named == port.to_string())
}

/// Uses a connection, and those that take its place, until one is lost.
async fn stay(context: &Arc<Context>, mut opened: Opened) {
    begin(context, &opened);
    loop {
        tokio::select! {
            () = opened.session.over() => return,
            () = context.link.asked_to_move.notified() => {}
        }
        if let Ok(next) = round(context, Some(&opened.session)).await {
            begin(context, &next);
            // The old one holds everything until the new one does.
            let end = Instant::now() + MOVE_TIME;
            while context.link.holder.pending() > 0 && Instant::now() < end {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            opened = next;
        }
    }
}

fn begin(context: &Context, opened: &Opened) {
    let session = &opened.session;
    tracing::info!(server = session.place, id = session.id, "connected over gRPC");
    context.link.spoke.store(true, Ordering::Relaxed);
    context.core.servers.succeeded(&session.server, Preference::Sticky);
    context.link.holder.adopt(context.beats.kept());
    context.link.holder.begin_connection();
    context.publish(Mode::Grpc(session.clone()));
    context.topics.move_all();
}

async fn answers_http(context: &Context, attempts: &mut Vec<Attempt>) -> Option<Arc<Server>> {
    for server in context.core.servers.order(Preference::Sticky) {
        match context.core.probe(&context.http, &server).await {
            Ok(()) => return Some(server),
            Err(failure) => {
                attempts.push(Attempt { server: server.address.authority(), failure });
            }
        }
    }
    None
}

/// Speaks HTTP until a server has come to speak gRPC; gives the connection to it.
async fn speak_http(context: &Arc<Context>, server: &Arc<Server>) -> Opened {
    tracing::info!(server = server.address.authority(), "no server speaks gRPC, using HTTP");
    context.core.servers.succeeded(server, Preference::Sticky);
    context.publish(Mode::Http);
    context.beats.take_back(context.link.holder.give_back());
    context.topics.move_all();
    loop {
        let pause = backoff(UPGRADE_PERIOD * 3 / 2, UPGRADE_PERIOD * 3 / 2, 1);
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = context.link.recovered.notified() => {}
        }
        if let Ok(opened) = round(context, None).await {
            return opened;
        }
    }
}
