//! A client of 2.x that behaves like the Java SDK, whatever becomes of its servers.
//!
//! ```text
//!    ┌── back-off ◄── fails
//!    ▼                 │
//! choose ─► connect ─► check, introduce, wait for the ack ─► listen and work ─┐
//!    ▲                                    5 s without a sign: health check    │
//!    │                                    every 3 s: what is not done yet     │
//!    └──────── the server sends it away, ends the stream or is silent ◄───────┘
//! ```

mod wants;

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use tokio::time::{
    Instant, Interval, MissedTickBehavior, interval_at, sleep, sleep_until, timeout,
};
use xtask_grpc::messages::message;
use xtask_grpc::{Connection, Payload, Stream, is_success};

pub(super) use self::wants::Wants;

/// How often the client looks whether its server has been told everything.
const REDO_PERIOD: Duration = Duration::from_secs(3);
/// After so long without a sign of the server the client asks for one.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// For one call.
const DEADLINE: Duration = Duration::from_secs(3);
/// For the answer to the setup.
const SETUP: Duration = Duration::from_secs(5);
/// How often the client asks for a sign before it gives the server up.
const HEALTH_TRIES: usize = 4;
/// After each round through the list of servers the client waits so much longer, up to the limit.
const BACK_OFF: Duration = Duration::from_millis(100);
const MOST_BACK_OFFS: u32 = 50;
/// The code of a server that does not know the connection.
const UNREGISTERED: &[u8] = b"\"errorCode\":301";

/// The world of a client.
pub(super) trait Site {
    /// The servers on its list: number, and address for gRPC.
    fn servers(&self) -> Vec<(usize, SocketAddr)>;

    /// Whether packets between it and a server arrive. Nobody is told when they do not.
    fn reaches(&self, node: usize) -> bool;

    /// Something has happened.
    fn hear(&self, event: Event<'_>);
}

/// What happens to a client.
pub(super) enum Event<'a> {
    /// A connection was set up.
    Connected,
    /// A call was answered as it should be.
    Answered,
    /// A wish was fulfilled.
    Done { begun: Instant, answer: &'a Payload },
    /// A server gave a sign of life, and knows everything that the client wants.
    Alive { node: usize },
    /// A server pushed a list.
    Pushed(&'a [u8]),
    /// A call brought nothing, or a connection ended that nobody wanted to end. `since` is when it
    /// was begun to be made.
    Failed { node: usize, begun: Instant, since: Instant, what: String },
}

/// One client; it lives while [`Self::live`] is awaited.
pub(super) struct Sdk<S> {
    pub(super) site: S,
    pub(super) wants: Wants,
    app: String,
    /// The server that is tried next, counted through the list.
    next: Cell<usize>,
    last_sign: Cell<Instant>,
    line: RefCell<Weak<Line>>,
    /// What cannot be closed since packets get lost: the servers do not hear that it is over.
    buried: RefCell<Vec<(Rc<Line>, Stream)>>,
}

/// A connection that was set up.
struct Line {
    node: usize,
    connection: Connection,
    since: Instant,
}

/// Why a connection is no longer used.
enum End {
    Lost,
    /// The server asked for it, and named another one or did not.
    SentAway(Option<SocketAddr>),
}

/// Where a server sends a client.
#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Reset {
    server_ip: Option<String>,
    server_port: Option<String>,
}

impl<S: Site> Sdk<S> {
    /// A client of the application `app`, which no other client is; it begins at the server with
    /// this place on its list.
    pub(super) fn new(site: S, app: String, first: usize, wants: Wants) -> Self {
        Self {
            site,
            wants,
            app,
            next: Cell::new(first),
            last_sign: Cell::new(Instant::now()),
            line: RefCell::new(Weak::new()),
            buried: RefCell::default(),
        }
    }

    /// Lives until it is dropped; its connection ends with that.
    pub(super) async fn live(&self) {
        let phase = REDO_PERIOD.mul_f64(fastrand::f64());
        let mut redo = interval_at(Instant::now() + phase, REDO_PERIOD);
        redo.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let (mut target, mut left) = (None, None);
        // What an application asks for is not left to the timer.
        self.wants.wake();
        loop {
            let (line, mut stream) = self.connect(target.take()).await;
            // Closed only now, when another one stands.
            drop(left.take());
            self.wants.begin_anew();
            *self.line.borrow_mut() = Rc::downgrade(&line);
            let end = tokio::select! {
                end = self.listen(&line, &mut stream) => end,
                end = self.work(&line, &mut redo) => end,
            };
            match end {
                End::SentAway(to) => (target, left) = (to, Some((line, stream))),
                End::Lost if !self.site.reaches(line.node) => {
                    self.buried.borrow_mut().push((line, stream));
                }
                End::Lost => {}
            }
        }
    }

    /// A call of the application over the connection that stands; `None` without one.
    pub(super) async fn call(&self, payload: &Payload) -> Option<Result<Payload>> {
        let line = self.line.borrow().upgrade()?;
        let (begun, answer) = (Instant::now(), self.call_over(&line, payload).await);
        match &answer {
            Ok(_) => self.site.hear(Event::Answered),
            Err(error) => self.failed(&line, begun, format!("{}: {error:#}", payload.kind())),
        }
        Some(answer)
    }

    async fn connect(&self, mut target: Option<SocketAddr>) -> (Rc<Line>, Stream) {
        let mut tries = 0;
        loop {
            let servers = self.site.servers();
            let wanted = target.take();
            let turn = self.next.replace(self.next.get().wrapping_add(1));
            let named = servers.iter().find(|(_, address)| Some(*address) == wanted);
            let chosen = named.or_else(|| servers.get(turn % servers.len().max(1)));
            if let Some(&(node, address)) = chosen {
                let begun = Instant::now();
                match self.try_connect(node, address).await {
                    Ok((connection, stream)) => {
                        self.site.hear(Event::Connected);
                        self.last_sign.set(Instant::now());
                        return (Rc::new(Line { node, connection, since: begun }), stream);
                    }
                    Err(error) => {
                        let what = format!("connect: {error:#}");
                        self.site.hear(Event::Failed { node, begun, since: begun, what });
                    }
                }
            }
            tries += 1;
            let rounds = tries / servers.len().max(1);
            let rounds = u32::try_from(rounds).unwrap_or(u32::MAX).saturating_add(1);
            sleep(BACK_OFF * rounds.min(MOST_BACK_OFFS)).await;
        }
    }

    async fn try_connect(&self, node: usize, address: SocketAddr) -> Result<(Connection, Stream)> {
        self.pass(node).await?;
        let open = async {
            let connection = Connection::open(address).await?;
            let stream = connection.introduce(&self.app).await?;
            anyhow::Ok((connection, stream))
        };
        let (connection, mut stream) = timeout(DEADLINE, open).await.context("no answer")??;
        let ack = timeout(SETUP, stream.next()).await.context("no answer to the setup")??;
        ensure!(ack.kind() == "SetupAckRequest", "{} instead of the ack", ack.kind());
        Ok((connection, stream))
    }

    async fn listen(&self, line: &Rc<Line>, stream: &mut Stream) -> End {
        loop {
            let message = match stream.next().await {
                _ if !self.site.reaches(line.node) => return std::future::pending().await,
                Ok(message) => message,
                Err(error) => {
                    self.failed(line, Instant::now(), format!("stream: {error:#}"));
                    return End::Lost;
                }
            };
            self.last_sign.set(Instant::now());
            if stream.answer(&message).is_err() {
                // The next read says what has become of the stream.
                continue;
            }
            match message.kind() {
                "NotifySubscriberRequest" => self.site.hear(Event::Pushed(message.body())),
                "ConnectResetRequest" => return End::SentAway(target(message.body())),
                _ => {}
            }
        }
    }

    async fn work(&self, line: &Rc<Line>, redo: &mut Interval) -> End {
        loop {
            let is_going = tokio::select! {
                () = sleep_until(self.last_sign.get() + KEEP_ALIVE) => {
                    self.last_sign.get().elapsed() < KEEP_ALIVE || self.check_health(line).await
                }
                _ = redo.tick() => self.fulfil(line).await,
                () = self.wants.woken() => self.fulfil(line).await,
            };
            if !is_going {
                return End::Lost;
            }
        }
    }

    /// Whether the server is there and knows the connection.
    async fn check_health(&self, line: &Rc<Line>) -> bool {
        let begun = Instant::now();
        let mut why = String::new();
        for _ in 0..HEALTH_TRIES {
            let check = message("HealthCheckRequest", xtask_grpc::messages::EMPTY);
            match self.call_over(line, &check).await {
                Ok(_) => {
                    self.site.hear(Event::Answered);
                    if self.wants.are_done() {
                        self.site.hear(Event::Alive { node: line.node });
                    }
                    return true;
                }
                Err(error) => why = format!("health check: {error:#}"),
            }
        }
        self.failed(line, begun, why);
        false
    }

    /// Tells the server what it has not been told yet. False if it does not know the connection.
    async fn fulfil(&self, line: &Rc<Line>) -> bool {
        for (number, wish) in self.wants.undone() {
            let begun = Instant::now();
            match self.call_over(line, &wish).await {
                Ok(answer) => {
                    self.wants.done(number, &wish);
                    self.site.hear(Event::Answered);
                    self.site.hear(Event::Done { begun, answer: &answer });
                }
                Err(error) => {
                    let what = format!("{}: {error:#}", wish.kind());
                    let is_unknown = what.as_bytes().windows(UNREGISTERED.len());
                    let is_unknown = is_unknown.into_iter().any(|part| part == UNREGISTERED);
                    self.failed(line, begun, what);
                    if is_unknown {
                        return false;
                    }
                }
            }
        }
        if self.wants.are_done() {
            self.site.hear(Event::Alive { node: line.node });
        }
        true
    }

    async fn call_over(&self, line: &Line, payload: &Payload) -> Result<Payload> {
        self.pass(line.node).await?;
        let answer =
            timeout(DEADLINE, line.connection.call(payload)).await.context("no answer")??;
        if !is_success(&answer) {
            let text: String = String::from_utf8_lossy(answer.body()).chars().take(200).collect();
            bail!("{} {text}", answer.kind());
        }
        self.last_sign.set(Instant::now());
        Ok(answer)
    }

    /// A packet on its way.
    async fn pass(&self, node: usize) -> Result<()> {
        if !self.site.reaches(node) {
            sleep(DEADLINE).await;
            bail!("no answer");
        }
        Ok(())
    }

    fn failed(&self, line: &Line, begun: Instant, what: String) {
        let (node, since) = (line.node, line.since);
        self.site.hear(Event::Failed { node, begun, since, what });
    }
}

/// The server that a reset names.
fn target(body: &[u8]) -> Option<SocketAddr> {
    let reset: Reset = serde_json::from_slice(body).ok()?;
    let ip = reset.server_ip?.parse().ok()?;
    Some(SocketAddr::new(ip, reset.server_port?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reset_names_a_server_or_none() {
        let named = br#"{"serverIp":"10.77.0.12","serverPort":"9848","requestId":"1"}"#;
        assert_eq!(target(named), Some(([10, 77, 0, 12], 9848).into()));
        assert_eq!(target(br#"{"requestId":"1"}"#), None);
        assert_eq!(target(br#"{"serverIp":null,"serverPort":null}"#), None);
    }
}
