//! A connection to another member at its cluster port: the handshake, calls, and answers to
//! whatever it asks on the stream.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use h2::client::SendRequest;
use h2::{RecvStream, SendStream};
use hyper::Request;
use hyper::header::{CONTENT_TYPE, HeaderValue, TE};
use naming_model::payload::{Payload, frame};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::request::Reply;

/// How long each step of the handshake may take.
const STEP_TIME: Duration = Duration::from_secs(3);
/// Bytes that a member may send on one stream before they are read, and on all.
const WINDOW: u32 = 4 << 20;
/// Bytes of a message on the stream, which carries small requests only.
const MOST_ASKED_BYTES: usize = 1 << 20;

/// A request over a connection that is not set up yet is refused with this.
const UNREGISTERED: i32 = 301;
/// Until that is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(50);

/// Why a member does not answer as it should.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LinkError {
    /// Nobody listens there.
    #[error("the connection is refused")]
    Refused,
    /// Nobody is reached there.
    #[error("no connection within {0:?}")]
    Unreached(Duration),
    /// It did not answer in time.
    #[error("no answer within {0:?}")]
    Late(Duration),
    /// The connection is over.
    #[error("the connection is over: {0}")]
    Lost(String),
    /// It answers with what is no answer, or with more bytes than are taken.
    #[error("{0}")]
    Strange(String),
    /// It says no.
    #[error("it answers {code}: {text}")]
    No {
        /// The code of the error.
        code: i32,
        /// Its text.
        text: String,
    },
}

/// Who calls, as members are told.
#[derive(Debug, Clone)]
pub(crate) struct LinkIdentity {
    /// The address of this member without its port.
    pub(crate) own_ip: String,
    /// The version that this member claims.
    pub(crate) version: String,
    /// Name and value of the header that proves a member, spelled exactly so.
    pub(crate) header: Option<(String, String)>,
}

/// A connection that has been set up.
pub(crate) struct Link {
    calls: SendRequest<Bytes>,
    own_ip: String,
    headers: HashMap<String, String>,
    over: CancellationToken,
    _end: DropGuard,
}

impl Link {
    /// Connects and introduces this member.
    ///
    /// # Errors
    /// The member is not there, or does not do as members do.
    pub(crate) async fn open(target: SocketAddr, who: &LinkIdentity) -> Result<Self, LinkError> {
        let connect = timeout(STEP_TIME, TcpStream::connect(target)).await;
        let socket = connect.map_err(|_| LinkError::Unreached(STEP_TIME))?.map_err(refused)?;
        socket.set_nodelay(true).map_err(lost)?;
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(WINDOW).initial_connection_window_size(WINDOW);
        let handshake = within(STEP_TIME, builder.handshake::<_, Bytes>(socket)).await?;
        let (calls, connection) = handshake.map_err(lost)?;
        let over = CancellationToken::new();
        let ended = over.clone();
        tokio::spawn(async move {
            tokio::select! {
                _ = connection => ended.cancel(),
                () = ended.cancelled() => {}
            }
        });
        let headers = who.header.clone().into_iter().collect();
        let end = over.clone().drop_guard();
        let link = Self { calls, own_ip: who.own_ip.clone(), headers, over, _end: end };
        let check = json!({ "headers": {}, "module": "internal" });
        let known = link.call("ServerCheckRequest", &check, STEP_TIME, MOST_ASKED_BYTES).await?;
        link.set_up(&who.version, known.support_ability_negotiation == Some(true)).await?;
        Ok(link)
    }

    /// Waits for the end of the connection.
    pub(crate) async fn ended(&self) {
        self.over.cancelled().await;
    }

    /// Asks whether the connection is known there.
    pub(crate) async fn check_health(&self) -> Result<(), LinkError> {
        let body = json!({ "headers": {}, "module": "internal" });
        self.call("HealthCheckRequest", &body, STEP_TIME, MOST_ASKED_BYTES).await.map(drop)
    }

    /// Calls, and takes an answer of so many bytes at most.
    ///
    /// # Errors
    /// The answer is late, none, or says no.
    pub(crate) async fn call(
        &self,
        kind: &str,
        body: &impl serde::Serialize,
        deadline: Duration,
        most: usize,
    ) -> Result<Reply, LinkError> {
        let body =
            serde_json::to_vec(body).map_err(|error| LinkError::Strange(error.to_string()))?;
        let reply = tokio::select! {
            reply = within(deadline, self.exchange(kind, body.into(), most)) => reply??,
            () = self.over.cancelled() => return Err(LinkError::Lost("it has ended".to_owned())),
        };
        match reply.is_success() {
            true => Ok(reply),
            false => Err(LinkError::No {
                code: reply.error_code,
                text: reply.message.unwrap_or_default(),
            }),
        }
    }

    async fn exchange(&self, kind: &str, body: Bytes, most: usize) -> Result<Reply, LinkError> {
        let mut calls = self.calls.clone().ready().await.map_err(lost)?;
        let (response, mut send) =
            calls.send_request(head("/Request/request"), false).map_err(lost)?;
        let bytes = self.message(kind, body);
        send_all(&mut send, bytes, true).await?;
        let response = response.await.map_err(lost)?;
        if let Some(status) = response.headers().get("grpc-status") {
            let status = status.to_str().unwrap_or_default().to_owned();
            return Err(LinkError::Strange(format!("the call ends with gRPC status {status}")));
        }
        let mut incoming = Incoming::new(response.into_body(), most);
        let Some(payload) = incoming.next().await? else {
            return Err(LinkError::Strange("the call ends without an answer".to_owned()));
        };
        serde_json::from_slice(payload.body())
            .map_err(|error| LinkError::Strange(error.to_string()))
    }

    /// Introduces this member. Servers before 2.3 do not ack that, nor send anything on the stream
    /// before they ask something: there a health check tells when the connection is known.
    async fn set_up(&self, version: &str, is_acked: bool) -> Result<(), LinkError> {
        let mut calls = self.calls.clone().ready().await.map_err(lost)?;
        let (response, mut send) =
            calls.send_request(head("/BiRequestStream/requestBiStream"), false).map_err(lost)?;
        let setup = json!({
            "headers": {},
            "clientVersion": format!("Nacos-Server:v{version}"),
            "labels": { "source": "cluster" },
            "abilityTable": {},
            "module": "internal",
        });
        let setup = self.message("ConnectionSetupRequest", setup.to_string().into());
        send_all(&mut send, setup, false).await?;
        let (own_ip, over) = (self.own_ip.clone(), self.over.clone());
        if is_acked {
            let response = within(STEP_TIME, response).await?.map_err(lost)?;
            let mut incoming = Incoming::new(response.into_body(), MOST_ASKED_BYTES);
            within(STEP_TIME, await_ack(&mut incoming)).await??;
            let work = async move { answer_all(incoming, send, &own_ip).await };
            tokio::spawn(until_over(work, over));
            return Ok(());
        }
        let work = async move {
            if let Ok(response) = response.await {
                let incoming = Incoming::new(response.into_body(), MOST_ASKED_BYTES);
                answer_all(incoming, send, &own_ip).await;
            }
        };
        tokio::spawn(until_over(work, over));
        within(STEP_TIME, self.wait_until_registered()).await?
    }

    async fn wait_until_registered(&self) -> Result<(), LinkError> {
        loop {
            match self.check_health().await {
                Err(LinkError::No { code: UNREGISTERED, .. }) => sleep(ASK_AGAIN).await,
                answer => return answer,
            }
        }
    }

    fn message(&self, kind: &str, body: Bytes) -> Bytes {
        let headers = self.headers.clone();
        Payload::new(kind, body).with_headers(headers).with_client_ip(&self.own_ip).framed()
    }
}

/// Does the work of a connection until it ends, which ends the connection, or the connection does.
async fn until_over(work: impl Future<Output = ()>, over: CancellationToken) {
    tokio::select! {
        () = work => over.cancel(),
        () = over.cancelled() => {}
    }
}

async fn await_ack(incoming: &mut Incoming) -> Result<(), LinkError> {
    let Some(ack) = incoming.next().await? else {
        return Err(LinkError::Strange("the stream ends before the setup is acked".to_owned()));
    };
    match ack.kind() {
        "SetupAckRequest" => Ok(()),
        kind => Err(LinkError::Strange(format!("a {kind} in the place of the ack"))),
    }
}

/// Answers what the other side asks on the stream, until that ends. Nobody sends this member
/// elsewhere: it knows where the others are.
async fn answer_all(mut incoming: Incoming, mut send: SendStream<Bytes>, own_ip: &str) {
    #[derive(Deserialize, Default)]
    #[serde(rename_all = "camelCase", default)]
    struct Asked {
        request_id: Value,
    }
    while let Ok(Some(payload)) = incoming.next().await {
        let Some(name) = payload.kind().strip_suffix("Request").filter(|name| *name != "SetupAck")
        else {
            continue;
        };
        let asked: Asked = serde_json::from_slice(payload.body()).unwrap_or_default();
        let answer = json!({
            "resultCode": 200, "errorCode": 0, "success": true, "requestId": asked.request_id,
        });
        let answer = frame(&format!("{name}Response"), own_ip, &[answer.to_string().into()]);
        if send_all(&mut send, answer.concat().into(), false).await.is_err() {
            return;
        }
    }
}

/// The messages of a stream.
struct Incoming {
    body: RecvStream,
    buffered: BytesMut,
    most: usize,
}

impl Incoming {
    fn new(body: RecvStream, most: usize) -> Self {
        Self { body, buffered: BytesMut::new(), most }
    }

    async fn next(&mut self) -> Result<Option<Payload>, LinkError> {
        loop {
            let payload = Payload::take(&mut self.buffered, self.most);
            let payload = payload.map_err(|error| LinkError::Strange(error.to_string()))?;
            if payload.is_some() {
                return Ok(payload);
            }
            let Some(chunk) = self.body.data().await else { return Ok(None) };
            let chunk = chunk.map_err(lost)?;
            let _ = self.body.flow_control().release_capacity(chunk.len());
            self.buffered.extend_from_slice(&chunk);
        }
    }
}

/// Sends as fast as the other side takes it.
async fn send_all(
    stream: &mut SendStream<Bytes>,
    mut bytes: Bytes,
    is_last: bool,
) -> Result<(), LinkError> {
    while !bytes.is_empty() {
        stream.reserve_capacity(bytes.len());
        let capacity = std::future::poll_fn(|context| stream.poll_capacity(context)).await;
        let capacity =
            capacity.ok_or_else(|| LinkError::Lost("the stream has ended".to_owned()))?;
        let part = bytes.split_to(capacity.map_err(lost)?.min(bytes.len()));
        stream.send_data(part, is_last && bytes.is_empty()).map_err(lost)?;
    }
    Ok(())
}

fn head(path: &str) -> Request<()> {
    let mut request = Request::post(format!("http://member{path}"))
        .body(())
        .expect("the path is one of two constants");
    let headers = request.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(TE, HeaderValue::from_static("trailers"));
    request
}

async fn within<T>(deadline: Duration, work: impl Future<Output = T>) -> Result<T, LinkError> {
    timeout(deadline, work).await.map_err(|_| LinkError::Late(deadline))
}

fn lost(error: impl std::fmt::Display) -> LinkError {
    LinkError::Lost(error.to_string())
}

fn refused(error: std::io::Error) -> LinkError {
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => LinkError::Refused,
        _ => lost(error),
    }
}
