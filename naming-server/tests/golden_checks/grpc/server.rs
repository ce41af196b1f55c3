//! A small gRPC server that answers in a few fixed ways.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use hyper::{HeaderMap, Request, Response};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;

use crate::golden_grpc::payload::{Incoming, Outgoing, Reader};

/// Nothing here takes that long unless it never comes.
const PATIENCE: Duration = Duration::from_secs(10);

/// Serves until it is dropped.
pub(crate) struct FakeGrpc {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    runtime: Option<Runtime>,
}

#[derive(Default)]
struct Shared {
    counted: AtomicU64,
    pushed: AtomicU64,
    /// What clients answered to pushes, and how their connections and streams ended.
    seen: Mutex<Seen>,
    changed: Condvar,
}

#[derive(Default)]
struct Seen {
    acks: Vec<String>,
    ends: Vec<String>,
}

impl FakeGrpc {
    pub(crate) fn start() -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a thread");
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
        let listener = listener.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let shared = Arc::<Shared>::default();
        let serving = Arc::clone(&shared);
        runtime.spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                tokio::spawn(Connection::serve(tcp, Arc::clone(&serving)));
            }
        });
        Self { address, shared, runtime: Some(runtime) }
    }

    /// How often it was asked to count.
    pub(crate) fn counted(&self) -> u64 {
        self.shared.counted.load(SeqCst)
    }

    /// Waits for so many answers to pushes: each `requestId`, after its type if it is no usual one.
    pub(crate) fn acked(&self, count: usize) -> Vec<String> {
        self.wait(|seen| (seen.acks.len() >= count).then(|| seen.acks.clone())).unwrap_or_default()
    }

    /// Waits until a connection or a stream has ended in this way.
    pub(crate) fn saw_end(&self, how: &str) -> bool {
        self.wait(|seen| seen.ends.iter().any(|end| end == how).then_some(())).is_some()
    }

    fn wait<T>(&self, look: impl Fn(&Seen) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + PATIENCE;
        let mut seen = self.shared.lock();
        loop {
            if let Some(found) = look(&seen) {
                return Some(found);
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            let waited = self.shared.changed.wait_timeout(seen, left);
            seen = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for FakeGrpc {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }
}

#[derive(Clone)]
struct Connection {
    shared: Arc<Shared>,
    stream: Arc<Mutex<Option<SendStream<Bytes>>>>,
    cut: CancellationToken,
}

impl Connection {
    async fn serve(tcp: TcpStream, shared: Arc<Shared>) {
        let Ok(mut connection) = h2::server::handshake(tcp).await else { return };
        let own = Self { shared, stream: Arc::default(), cut: CancellationToken::new() };
        let end = loop {
            let accepted = tokio::select! {
                () = own.cut.cancelled() => return,
                accepted = connection.accept() => accepted,
            };
            match accepted {
                Some(Ok((request, respond))) => {
                    let own = own.clone();
                    tokio::spawn(async move {
                        // A client that has gone needs no answer.
                        let _ = own.answer(request, respond).await;
                    });
                }
                Some(Err(error)) if error.is_io() => break "reset",
                Some(Err(_)) | None => break "closed",
            }
        };
        own.shared.note(|seen| seen.ends.push(end.to_owned()));
    }

    async fn answer(
        self,
        request: Request<RecvStream>,
        mut respond: SendResponse<Bytes>,
    ) -> Result<(), h2::Error> {
        let is_stream = request.uri().path() == "/BiRequestStream/requestBiStream";
        let mut body = request.into_body();
        if is_stream {
            let send = respond.send_response(head(HeaderMap::new()), false)?;
            *self.stream.lock().unwrap_or_else(PoisonError::into_inner) = Some(send);
            return self.listen(body).await;
        }
        let mut reader = Reader::default();
        while let Some(data) = body.data().await {
            reader.push(&data?);
        }
        let message = reader.next().ok().flatten().expect("a message");
        let Some(answer) = self.answer_to(&message) else {
            respond.send_response(head(status("8")), true)?;
            return Ok(());
        };
        let mut send = respond.send_response(head(HeaderMap::new()), false)?;
        let kind = message.kind.replace("Request", "Response");
        send.send_data(encoded(&kind, &answer), false)?;
        send.send_trailers(status("0"))?;
        if message.kind == "EndRequest" {
            self.end(message.body["how"] == "tcp").await?;
        }
        Ok(())
    }

    /// `None` fails the call.
    fn answer_to(&self, message: &Incoming) -> Option<Value> {
        Some(match &*message.kind {
            "ServerCheckRequest" => json!({"connectionId": "id-1", "resultCode": 200}),
            "EchoRequest" => message.body.clone(),
            "LengthRequest" => json!({"length": message.body.to_string().len()}),
            "CountRequest" => json!({"count": self.shared.counted.fetch_add(1, SeqCst) + 1}),
            "PushRequest" => {
                let id = self.shared.pushed.fetch_add(1, SeqCst) + 1;
                let body = json!({"requestId": id.to_string(), "serviceInfo": message.body});
                self.push("NotifySubscriberRequest", &body);
                json!({})
            }
            "FailRequest" => return None,
            _ => json!({"resultCode": 200}),
        })
    }

    async fn listen(&self, mut body: RecvStream) -> Result<(), h2::Error> {
        let mut reader = Reader::default();
        while let Some(data) = body.data().await {
            reader.push(&data?);
            while let Some(message) = reader.next().ok().flatten() {
                self.hear(&message);
            }
        }
        self.shared.note(|seen| seen.ends.push("half-closed".to_owned()));
        Ok(())
    }

    fn hear(&self, message: &Incoming) {
        let id = message.body["requestId"].as_str().unwrap_or_default();
        match &*message.kind {
            "ConnectionSetupRequest" if message.body["abilityTable"].is_object() => {
                self.push("SetupAckRequest", &json!({"abilityTable": {}}));
            }
            "ConnectionSetupRequest" => {}
            "NotifySubscriberResponse" => self.shared.note(|seen| seen.acks.push(id.to_owned())),
            kind => self.shared.note(|seen| seen.acks.push(format!("{kind} {id}"))),
        }
    }

    fn push(&self, kind: &str, body: &Value) {
        let mut stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        let stream = stream.as_mut().expect("the client has a stream");
        stream.send_data(encoded(kind, body), false).expect("the stream is open");
    }

    async fn end(&self, ends_tcp: bool) -> Result<(), h2::Error> {
        if ends_tcp {
            // The answer leaves first.
            tokio::time::sleep(Duration::from_millis(50)).await;
            self.cut.cancel();
            return Ok(());
        }
        let stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner).take();
        stream.map_or(Ok(()), |mut stream| stream.send_trailers(status("0")))
    }
}

fn encoded(kind: &str, body: &Value) -> Bytes {
    let (kind, headers) = (kind.to_owned(), HashMap::new());
    let body = body.to_string().into_bytes();
    Outgoing { kind, body, headers, ..Outgoing::default() }.encode()
}

fn head(headers: HeaderMap) -> Response<()> {
    let mut response = Response::new(());
    *response.headers_mut() = headers;
    response
}

fn status(code: &'static str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("grpc-status", code.parse().expect("a number"));
    headers
}
