//! Opening a connection: TCP, HTTP/2, who are you, this is me, what can you do.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use h2::{RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Context;
use super::messages::{Request, ServerCheck, SetupAck, setup};
use super::session::{Abilities, Beginning, Condition, STREAM, Session, broken, head};
use super::stream::Reader;
use super::wire::frame;
use crate::error::{Error, Failure};
use crate::servers::Server;

/// Bytes that a server may send before we have read them: of one call, and of all together.
const WINDOW: u32 = 1 << 20;
const WINDOW_OF_ALL: u32 = 4 << 20;
/// Pause before a server that does not negotiate is asked whether it knows us, doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// Silence after which the server is asked whether it is there.
const SILENCE: Duration = Duration::from_secs(5);
/// Health checks in a row that may fail.
const CHECKS: u32 = 2;

/// A connection and the tasks that keep it. Dropping it closes the connection.
pub(super) struct Opened {
    pub(super) session: Arc<Session>,
    _tasks: JoinSet<()>,
}

/// Opens a connection to `server`, sets it up and begins to read what it says.
///
/// # Errors
/// What went wrong; the connection is closed then.
pub(super) async fn open(context: &Arc<Context>, server: &Arc<Server>) -> Result<Opened, Failure> {
    let core = &context.core;
    let place = server.address.grpc_place(context.port_offset);
    let (host, port) = place.as_ref().map_err(|reason| Failure::Unreachable(reason.clone()))?;
    let place = crate::address::authority(host, *port);
    let host = *host;
    let socket = tokio::time::timeout(context.connect_timeout, connect(host, *port));
    let socket = socket.await.map_err(|_| {
        Failure::Unreachable(format!("no connection within {:?}", context.connect_timeout))
    })??;
    let ends = socket.local_addr().and_then(|local| Ok((local, socket.peer_addr()?)));
    let (local, remote) = ends.map_err(|error| Failure::Unreachable(error.to_string()))?;
    let source = SocketAddr::new(remote.ip(), local.port());
    let timeout = core.request_timeout.max(context.connect_timeout);
    let begin = async {
        #[cfg(feature = "tls")]
        if server.address.is_tls() {
            let socket = encrypt(context, host, socket).await?;
            return set_up(context, server, place, source, socket).await;
        }
        set_up(context, server, place, source, socket).await
    };
    let limit = timeout * 2;
    tokio::time::timeout(limit, begin).await.unwrap_or(Err(Failure::TimedOut(limit)))
}

async fn connect(host: &str, port: u16) -> Result<TcpStream, Failure> {
    let found = tokio::net::lookup_host((host, port)).await;
    let found = found.map_err(|error| Failure::Unresolvable(error.to_string()))?;
    let mut failure = Failure::Unresolvable("no address".to_owned());
    for address in found {
        match TcpStream::connect(address).await {
            Ok(socket) => {
                // A missing option costs some milliseconds.
                let _ = socket.set_nodelay(true);
                return Ok(socket);
            }
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
                failure = Failure::ConnectionRefused;
            }
            Err(error) => failure = Failure::Unreachable(error.to_string()),
        }
    }
    Err(failure)
}

#[cfg(feature = "tls")]
async fn encrypt(
    context: &Context,
    host: &str,
    socket: TcpStream,
) -> Result<tokio_rustls::client::TlsStream<TcpStream>, Failure> {
    let unreachable = |error: String| Failure::Unreachable(error);
    let name = rustls::pki_types::ServerName::try_from(host.to_owned());
    let name = name.map_err(|error| unreachable(error.to_string()))?;
    let config = context.tls.clone().ok_or_else(|| {
        // An address endpoint may have named the server after the client was built.
        unreachable("no certificate authority was read for it".to_owned())
    })?;
    let connector = tokio_rustls::TlsConnector::from(config);
    connector.connect(name, socket).await.map_err(|error| unreachable(error.to_string()))
}

async fn set_up<S>(
    context: &Arc<Context>,
    server: &Arc<Server>,
    place: String,
    source: SocketAddr,
    socket: S,
) -> Result<Opened, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let core = &context.core;
    let mut tasks = JoinSet::new();
    let (over, ended) = oneshot::channel();
    let (mut calls, connection) = h2::client::Builder::new()
        .initial_window_size(WINDOW)
        .initial_connection_window_size(WINDOW_OF_ALL)
        .enable_push(false)
        .handshake(socket)
        .await
        .map_err(|error| broken(&error))?;
    tasks.spawn(async move {
        let outcome = connection.await;
        tracing::debug!(?outcome, "a gRPC connection is over");
        // Nobody listens if the session was given up before.
        let _ = over.send(());
    });
    // A session without abilities asks the first question.
    let beginning = |id, abilities, calls: &SendRequest<Bytes>| Beginning {
        server: server.clone(),
        place: place.clone(),
        abilities,
        source,
        id,
        calls: calls.clone(),
    };
    let first = Session::new(beginning(String::new(), Abilities::default(), &calls));
    let check = ask(&first, &Request::server_check(), core.request_timeout).await?;
    let check: ServerCheck =
        serde_json::from_slice(&check).map_err(|e| Failure::Malformed(e.to_string()))?;
    let (mut send, reader) = open_stream(&mut calls).await?;
    let message = setup(super::CLIENT_VERSION, &core.namespace, &core.application)
        .and_then(|body| frame("ConnectionSetupRequest", &[], body))
        .map_err(unwritable)?;
    send.send_data(message, false).map_err(|error| broken(&error))?;
    let mut reader = Reader::new(context.clone(), send, reader);
    let abilities = match check.support_ability_negotiation {
        true => abilities_of(&reader.setup_ack().await?),
        false => {
            until_known(&first, core.request_timeout).await?;
            Abilities::default()
        }
    };
    let id = check.connection_id.unwrap_or_default();
    let session = Arc::new(Session::new(beginning(id, abilities, &calls)));
    watch_over(&session, ended, reader, &mut tasks, core.request_timeout);
    Ok(Opened { session, _tasks: tasks })
}

fn unwritable(error: Error) -> Failure {
    Failure::Malformed(error.to_string())
}

async fn ask(session: &Session, request: &Request, timeout: Duration) -> Result<Bytes, Failure> {
    use super::session::Problem;
    session.exchange(request, None, timeout).await.map_err(|problem| match problem {
        Problem::Failed(failure) => failure,
        Problem::Final(error) => Failure::Malformed(error.to_string()),
    })
}

type Halves = (SendStream<Bytes>, h2::client::ResponseFuture);

async fn open_stream(calls: &mut SendRequest<Bytes>) -> Result<Halves, Failure> {
    let mut ready = calls.clone().ready().await.map_err(|error| broken(&error))?;
    let head = head("registry", STREAM)?;
    let (response, send) = ready.send_request(head, false).map_err(|error| broken(&error))?;
    Ok((send, response))
}

fn abilities_of(ack: &SetupAck) -> Abilities {
    let can = |name| ack.ability_table.as_ref().is_some_and(|table| table.get(name) == Some(&true));
    Abilities { persistent: can("supportPersistentInstanceByGrpc"), fuzzy_watch: can("fuzzyWatch") }
}

/// Waits until a server that says nothing to a setup knows the connection.
async fn until_known(session: &Session, timeout: Duration) -> Result<(), Failure> {
    let (end, mut pause) = (Instant::now() + timeout, FIRST_PAUSE);
    loop {
        tokio::time::sleep(pause).await;
        match ask(session, &Request::health_check(), timeout).await {
            Ok(_) => return Ok(()),
            Err(failure) if Instant::now() + pause > end => return Err(failure),
            Err(_) => pause *= 2,
        }
    }
}

/// Starts what keeps the connection: reading the stream, and asking after a silence.
fn watch_over(
    session: &Arc<Session>,
    ended: oneshot::Receiver<()>,
    reader: Reader,
    tasks: &mut JoinSet<()>,
    timeout: Duration,
) {
    let own = session.clone();
    tasks.spawn(async move {
        // Either way: it is over.
        let _ = ended.await;
        own.end();
    });
    let own = session.clone();
    tasks.spawn(async move {
        let failure = reader.run(&own).await;
        tracing::debug!(place = own.place, %failure, "the stream of a gRPC connection is over");
        own.end();
    });
    tasks.spawn(check_health(session.clone(), timeout));
}

async fn check_health(session: Arc<Session>, timeout: Duration) {
    let mut condition = session.condition();
    loop {
        let rest = SILENCE.saturating_sub(session.silent_for());
        let now = *condition.borrow_and_update();
        match now {
            Condition::Over => return,
            Condition::Suspect => {}
            Condition::Well => {
                tokio::select! {
                    _ = condition.changed() => continue,
                    () = tokio::time::sleep(rest) => {}
                }
                if session.silent_for() < SILENCE {
                    continue;
                }
            }
        }
        let mut failures = 0;
        while let Err(failure) = ask(&session, &Request::health_check(), timeout).await {
            failures += 1;
            if failures >= CHECKS || session.is_over() {
                tracing::warn!(server = session.place, %failure,
                    "the gRPC connection is given up");
                session.end();
                return;
            }
        }
        session.trust();
    }
}

/// The response of the stream, which servers may send no sooner than their first message.
pub(super) async fn body_of(response: h2::client::ResponseFuture) -> Result<RecvStream, Failure> {
    let response = response.await.map_err(|error| broken(&error))?;
    match response.status().is_success() {
        true => Ok(response.into_body()),
        false => Err(Failure::Malformed(format!("HTTP status {}", response.status()))),
    }
}
