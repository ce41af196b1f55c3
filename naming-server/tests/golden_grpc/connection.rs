//! One connection of a client: its own TCP, calls, and the stream.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use h2::{Reason, RecvStream, SendStream};
use hyper::{HeaderMap, Request, Response};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::AbortHandle;
use tokio::time::{interval, timeout};

use super::inbox::Inbox;
use super::payload::{Incoming, Outgoing, Reader};
use super::relay::Relay;
use super::step::Acks;

/// Longest time for connecting, and for a call.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often an idle SDK asks whether the connection is well.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// What an SDK leaves the end of its stream before it closes the connection.
const BEFORE_CLOSE: Duration = Duration::from_millis(20);
/// More than any story sends at once.
const WINDOW_BYTES: u32 = 64 << 20;

/// Where the connections of all stories live.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("threads")
});

/// An answer, or the status of a call that failed, with its text.
pub(crate) type Answer = Result<Incoming, (String, String)>;

/// A connection to the server under test.
pub(crate) struct Connection {
    pub(crate) relay: Relay,
    pub(crate) inbox: Arc<Inbox>,
    /// The request of the server that a step took last.
    pub(crate) last: Option<Incoming>,
    caller: Caller,
    stream: Option<UnboundedSender<Written>>,
    acks: Arc<Mutex<Acks>>,
    tasks: Vec<AbortHandle>,
}

/// What is written into the stream.
enum Written {
    Message(Bytes),
    End,
}

/// Makes calls.
#[derive(Clone)]
struct Caller {
    /// `None` once the connection is closed.
    requests: Arc<Mutex<Option<SendRequest<Bytes>>>>,
    authority: String,
    client_ip: String,
}

impl Connection {
    /// Connects to a server, without a stream.
    pub(crate) fn open(target: SocketAddr, client_ip: &str, acks: Acks) -> Result<Self, String> {
        RUNTIME.block_on(async {
            let relay = Relay::start(target).await.map_err(|error| error.to_string())?;
            let connect = async {
                let tcp = TcpStream::connect((Ipv4Addr::LOCALHOST, relay.port)).await;
                let tcp = tcp.map_err(|error| error.to_string())?;
                tcp.set_nodelay(true).map_err(|error| error.to_string())?;
                let mut builder = h2::client::Builder::new();
                builder
                    .initial_window_size(WINDOW_BYTES)
                    .initial_connection_window_size(WINDOW_BYTES);
                builder.handshake::<_, Bytes>(tcp).await.map_err(|error| error.to_string())
            };
            let connected = timeout(PATIENCE, connect).await;
            let (requests, driver) = connected.map_err(|_| "no connection in time")??;
            // How it ends is seen by the calls and the stream on it.
            let driver = tokio::spawn(async move { drop(driver.await) });
            let caller = Caller {
                requests: Arc::new(Mutex::new(Some(requests))),
                authority: target.to_string(),
                client_ip: client_ip.to_owned(),
            };
            let tasks = vec![driver.abort_handle()];
            let (inbox, acks) = (Arc::default(), Arc::new(Mutex::new(acks)));
            Ok(Self { relay, inbox, last: None, caller, stream: None, acks, tasks })
        })
    }

    /// Makes one call.
    pub(crate) fn call(&self, message: &Outgoing) -> Answer {
        RUNTIME.block_on(self.caller.call(message))
    }

    /// Opens the stream. Requests of the server are answered as [`Self::set_acks`] says.
    pub(crate) fn open_stream(&mut self) -> Result<(), String> {
        let (written, queue) = mpsc::unbounded_channel();
        let reader = Stream {
            inbox: Arc::clone(&self.inbox),
            acks: Arc::clone(&self.acks),
            written: written.clone(),
            client_ip: self.caller.client_ip.clone(),
        };
        let begin = self.caller.begin("/BiRequestStream/requestBiStream");
        let (response, send) =
            RUNTIME.block_on(begin).map_err(|(status, text)| format!("{status}: {text}"))?;
        let tasks = [
            RUNTIME.spawn(write(send, queue)).abort_handle(),
            RUNTIME.spawn(reader.run(response)).abort_handle(),
        ];
        self.tasks.extend(tasks);
        self.stream = Some(written);
        Ok(())
    }

    /// Sends a message on the stream.
    pub(crate) fn send(&self, message: &Outgoing) -> Result<(), String> {
        let stream = self.stream.as_ref().ok_or("there is no stream")?;
        let message = message.clone().or_from(&self.caller.client_ip);
        // A stream that the server has ended takes no more; stories say themselves what follows.
        let _ = stream.send(Written::Message(message.encode()));
        Ok(())
    }

    /// Answers the request of the server that a step took last: as told, or with success.
    pub(crate) fn reply(&self, kind: Option<&str>, body: Option<&Value>) -> Result<(), String> {
        let request = self.last.as_ref().ok_or("no request of the server was taken")?;
        self.send(&answer_to(request, kind, body, &self.caller.client_ip))
    }

    /// Which requests of the server are answered at once from now on.
    pub(crate) fn set_acks(&self, acks: Acks) {
        *self.acks.lock().unwrap_or_else(PoisonError::into_inner) = acks;
    }

    /// Asks every 5 s whether the connection is well, as SDKs do.
    pub(crate) fn keep_alive(&mut self) {
        let caller = self.caller.clone();
        let inbox = Arc::clone(&self.inbox);
        let task = RUNTIME.spawn(async move {
            let mut ticks = interval(KEEP_ALIVE);
            ticks.tick().await;
            while inbox.ended().is_none() {
                ticks.tick().await;
                // What it says is of no interest.
                drop(caller.call(&health_check()).await);
            }
        });
        self.tasks.push(task.abort_handle());
    }

    /// Ends our side of the stream.
    pub(crate) fn half_close(&self) {
        if let Some(stream) = &self.stream {
            // The server may have ended it before.
            let _ = stream.send(Written::End);
        }
    }

    /// Ends it as SDKs do: the stream first, then TCP.
    pub(crate) fn close(&mut self) {
        self.half_close();
        thread::sleep(BEFORE_CLOSE);
        self.destroy();
    }

    fn destroy(&mut self) {
        self.caller.requests.lock().unwrap_or_else(PoisonError::into_inner).take();
        // The driver comes last: what it may still send says that we go.
        for task in self.tasks.drain(..).rev() {
            task.abort();
        }
        self.stream = None;
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.destroy();
    }
}

/// What an idle SDK asks.
pub(crate) fn health_check() -> Outgoing {
    let body = br#"{"headers":{},"module":"internal"}"#.to_vec();
    Outgoing { kind: "HealthCheckRequest".to_owned(), body, ..Outgoing::default() }
}

/// What an SDK asks first.
pub(crate) fn server_check(headers: &HashMap<String, String>) -> Outgoing {
    let kind = "ServerCheckRequest".to_owned();
    Outgoing { kind, headers: headers.clone(), ..health_check() }
}

impl Caller {
    async fn call(&self, message: &Outgoing) -> Answer {
        let called = timeout(PATIENCE, self.exchange(message)).await;
        called.unwrap_or_else(|_| Err(("DEADLINE_EXCEEDED".to_owned(), "no answer".to_owned())))
    }

    async fn exchange(&self, message: &Outgoing) -> Answer {
        let message = message.clone().or_from(&self.client_ip);
        let (response, mut send) = self.begin("/Request/request").await?;
        send.send_data(message.encode(), true).map_err(failed)?;
        let response = response.await.map_err(failed)?;
        let (parts, mut body) = response.into_parts();
        if let Some(status) = status_in(&parts.headers) {
            return Err(status);
        }
        let mut reader = Reader::default();
        while let Some(data) = body.data().await {
            take(&mut body, &data.map_err(failed)?, &mut reader);
        }
        let trailers = body.trailers().await.map_err(failed)?.unwrap_or_default();
        match status_in(&trailers) {
            Some((status, _)) if status == "OK" => {
                let message = reader.next().map_err(|error| ("INTERNAL".to_owned(), error))?;
                message.ok_or_else(|| ("INTERNAL".to_owned(), "no message".to_owned()))
            }
            Some(status) => Err(status),
            None => Err(("UNKNOWN".to_owned(), "no status".to_owned())),
        }
    }

    /// Begins a request whose messages follow.
    async fn begin(
        &self,
        path: &str,
    ) -> Result<(h2::client::ResponseFuture, SendStream<Bytes>), (String, String)> {
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let requests = requests.ok_or_else(|| unavailable("the connection is closed"))?;
        let mut requests = requests.ready().await.map_err(failed)?;
        let request = Request::post(format!("http://{}{path}", self.authority))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())
            .map_err(|error| unavailable(&error.to_string()))?;
        requests.send_request(request, false).map_err(failed)
    }
}

/// The receiving end of a stream.
struct Stream {
    inbox: Arc<Inbox>,
    acks: Arc<Mutex<Acks>>,
    written: UnboundedSender<Written>,
    client_ip: String,
}

impl Stream {
    async fn run(self, response: h2::client::ResponseFuture) {
        let status = self.read(response).await.unwrap_or_else(|(status, _)| status);
        self.inbox.end(status);
    }

    /// Reads to the end; the status.
    async fn read(&self, response: h2::client::ResponseFuture) -> Result<String, (String, String)> {
        let response: Response<RecvStream> = response.await.map_err(failed)?;
        let (parts, mut body) = response.into_parts();
        if let Some((status, _)) = status_in(&parts.headers) {
            return Ok(status);
        }
        let mut reader = Reader::default();
        while let Some(data) = body.data().await {
            take(&mut body, &data.map_err(failed)?, &mut reader);
            while let Some(message) = reader.next().map_err(|error| unavailable(&error))? {
                let ack = self.ack_of(&message);
                // Before the ack: what follows from it is later.
                self.inbox.push(message);
                if let Some(ack) = ack {
                    // The end of the stream is noted where it is read.
                    let _ = self.written.send(Written::Message(ack.encode()));
                }
            }
        }
        let trailers = body.trailers().await.map_err(failed)?.unwrap_or_default();
        Ok(status_in(&trailers).map_or_else(|| "UNKNOWN".to_owned(), |(status, _)| status))
    }

    fn ack_of(&self, message: &Incoming) -> Option<Outgoing> {
        // Of the setup there is no ack.
        let is_request = message.kind.ends_with("Request") && message.kind != "SetupAckRequest";
        let acks = self.acks.lock().unwrap_or_else(PoisonError::into_inner);
        let is_acked = is_request && acks.take(&message.kind);
        is_acked.then(|| answer_to(message, None, None, &self.client_ip))
    }
}

async fn write(mut send: SendStream<Bytes>, mut queue: UnboundedReceiver<Written>) {
    while let Some(written) = queue.recv().await {
        let sent = match written {
            Written::Message(bytes) => send.send_data(bytes, false),
            Written::End => send.send_data(Bytes::new(), true),
        };
        if sent.is_err() {
            return;
        }
    }
    // Kept open: dropping it would reset the stream.
    std::future::pending::<()>().await;
}

/// An answer of a client: as told, or success.
fn answer_to(
    request: &Incoming,
    kind: Option<&str>,
    body: Option<&Value>,
    client_ip: &str,
) -> Outgoing {
    let usual = match &*request.kind {
        "NamingFuzzyWatchSyncRequest" => "NamingFuzzyWatchChangeNotifyResponse".to_owned(),
        kind => kind.replace("Request", "Response"),
    };
    let success = json!({"resultCode": 200, "errorCode": 0, "success": true});
    let mut body = body.cloned().unwrap_or(success);
    if let (Value::Object(fields), Some(id)) = (&mut body, request.body.get("requestId")) {
        fields.entry("requestId").or_insert_with(|| id.clone());
    }
    Outgoing {
        kind: kind.map_or(usual, str::to_owned),
        body: body.to_string().into_bytes(),
        client_ip: client_ip.to_owned(),
        ..Outgoing::default()
    }
}

fn take(body: &mut RecvStream, data: &Bytes, reader: &mut Reader) {
    reader.push(data);
    // Room for more: never fails for what was received.
    let _ = body.flow_control().release_capacity(data.len());
}

/// The status of gRPC, if there is one.
fn status_in(headers: &HeaderMap) -> Option<(String, String)> {
    const NAMES: [&str; 17] = [
        "OK",
        "CANCELLED",
        "UNKNOWN",
        "INVALID_ARGUMENT",
        "DEADLINE_EXCEEDED",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
        "UNAUTHENTICATED",
    ];
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let code = text("grpc-status")?.parse::<usize>().ok();
    let name = code.and_then(|code| NAMES.get(code)).copied().unwrap_or("UNKNOWN");
    Some((name.to_owned(), text("grpc-message").unwrap_or_default().to_owned()))
}

/// The status that gRPC has for a failure of HTTP/2.
fn failed(error: h2::Error) -> (String, String) {
    let status = match error.reason() {
        Some(Reason::CANCEL) => "CANCELLED",
        Some(Reason::ENHANCE_YOUR_CALM) => "RESOURCE_EXHAUSTED",
        Some(Reason::INADEQUATE_SECURITY) => "PERMISSION_DENIED",
        Some(Reason::REFUSED_STREAM) | None => "UNAVAILABLE",
        Some(_) => "INTERNAL",
    };
    (status.to_owned(), error.to_string())
}

fn unavailable(text: &str) -> (String, String) {
    ("UNAVAILABLE".to_owned(), text.to_owned())
}
