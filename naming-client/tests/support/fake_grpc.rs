//! A scripted server of 2.x: it sets connections up, answers calls with what a closure says, and
//! says on the stream what a test wants.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use naming_model::payload::{MOST_REQUEST_BYTES, Payload};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{broadcast, mpsc};
use tokio::task::JoinHandle;

use super::real::own_address;

/// What the server saw: a call, or a message on the stream.
#[derive(Debug, Clone)]
pub(crate) struct Heard {
    pub(crate) kind: String,
    pub(crate) body: Value,
    pub(crate) token: Option<String>,
    /// Which connection it came over, in the order in which they came.
    pub(crate) connection: usize,
}

/// What a call is answered.
pub(crate) enum Reply {
    /// What a server says that has no instances.
    Usual,
    /// Kind and body.
    Say(&'static str, Value),
    /// A failure of the kind that belongs to the request.
    Fail(i32, &'static str),
    /// Nothing, ever.
    Hang,
}

type Script = dyn Fn(&Heard) -> Reply + Send + Sync;

pub(crate) struct FakeGrpc {
    address: SocketAddr,
    heard: Arc<Mutex<Vec<Heard>>>,
    tell: broadcast::Sender<(String, Value)>,
    task: JoinHandle<()>,
}

impl FakeGrpc {
    /// `negotiates`: as servers since 2.3 do.
    pub(crate) async fn start(
        negotiates: bool,
        script: impl Fn(&Heard) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let address = own_address();
        let listener = TcpListener::bind((address.ip(), address.port() + 1_000)).await.unwrap();
        let heard: Arc<Mutex<Vec<Heard>>> = Arc::default();
        let (tell, _) = broadcast::channel(64);
        let (script, log, said): (Arc<Script>, _, _) =
            (Arc::new(script), heard.clone(), tell.clone());
        let task = tokio::spawn(async move {
            let (mut connections, mut number) = (tokio::task::JoinSet::new(), 0);
            while let Ok((socket, _)) = listener.accept().await {
                number += 1;
                let place = Place {
                    script: script.clone(),
                    log: log.clone(),
                    said: said.clone(),
                    negotiates,
                    number,
                };
                connections.spawn(serve(socket, place));
            }
        });
        Self { address, heard, tell, task }
    }

    /// The address of HTTP, where nobody is.
    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    pub(crate) fn heard(&self) -> Vec<Heard> {
        self.heard.lock().unwrap().clone()
    }

    pub(crate) fn count(&self, kind: &str) -> usize {
        self.heard().iter().filter(|heard| heard.kind == kind).count()
    }

    /// Says something on the streams of all connections.
    pub(crate) fn tell(&self, kind: &str, body: Value) {
        self.tell.send((kind.to_owned(), body)).expect("a connection");
    }

    /// Ends: connections are cut and refused from now on.
    pub(crate) fn stop(&self) {
        self.task.abort();
    }
}

impl Drop for FakeGrpc {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Clone)]
struct Place {
    script: Arc<Script>,
    log: Arc<Mutex<Vec<Heard>>>,
    said: broadcast::Sender<(String, Value)>,
    negotiates: bool,
    number: usize,
}

async fn serve(socket: TcpStream, place: Place) {
    let Ok(mut connection) = h2::server::handshake(socket).await else { return };
    let mut calls = tokio::task::JoinSet::new();
    while let Some(Ok((request, respond))) = connection.accept().await {
        let is_stream = request.uri().path().ends_with("requestBiStream");
        let place = place.clone();
        match is_stream {
            true => calls.spawn(stream(request.into_body(), respond, place)),
            false => calls.spawn(unary(request.into_body(), respond, place)),
        };
    }
}

async fn unary(
    mut body: h2::RecvStream,
    mut respond: h2::server::SendResponse<Bytes>,
    place: Place,
) {
    let mut buffered = BytesMut::new();
    while let Some(Ok(chunk)) = body.data().await {
        let _ = body.flow_control().release_capacity(chunk.len());
        buffered.extend_from_slice(&chunk);
    }
    let Some(heard) = take(&mut buffered, place.number) else { return };
    let own = kind_of_answer(&heard.kind);
    let (kind, body) = match (place.script)(&heard) {
        Reply::Usual => usual(&heard, place.negotiates),
        Reply::Say(kind, body) => (kind, body),
        Reply::Fail(code, text) => {
            (own, json!({"resultCode": 500, "errorCode": code, "message": text}))
        }
        Reply::Hang => {
            place.log.lock().unwrap().push(heard);
            tokio::time::sleep(Duration::from_secs(600)).await;
            return;
        }
    };
    place.log.lock().unwrap().push(heard);
    let head = hyper::Response::builder().header("content-type", "application/grpc").body(());
    let Ok(mut send) = respond.send_response(head.unwrap(), false) else { return };
    let mut trailers = hyper::HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().unwrap());
    let _ = send.send_data(frame(kind, &body), false);
    let _ = send.send_trailers(trailers);
}

async fn stream(
    mut body: h2::RecvStream,
    mut respond: h2::server::SendResponse<Bytes>,
    place: Place,
) {
    let mut said = place.said.subscribe();
    let (out, mut outgoing) = mpsc::channel(16);
    let own = place.clone();
    let reading = async move {
        let mut buffered = BytesMut::new();
        while let Some(Ok(chunk)) = body.data().await {
            let _ = body.flow_control().release_capacity(chunk.len());
            buffered.extend_from_slice(&chunk);
            while let Some(heard) = take(&mut buffered, own.number) {
                if heard.kind == "ConnectionSetupRequest" && own.negotiates {
                    let abilities = json!({"supportPersistentInstanceByGrpc": true});
                    let _ = out.send(("SetupAckRequest", json!({"abilityTable": abilities}))).await;
                }
                own.log.lock().unwrap().push(heard);
            }
        }
    };
    // As servers in Java: the head of the answer comes with the first message.
    let writing = async move {
        let mut send = None;
        loop {
            let (kind, body) = tokio::select! {
                Some((kind, body)) = outgoing.recv() => (kind.to_owned(), body),
                Ok(told) = said.recv() => told,
                else => return,
            };
            if send.is_none() {
                let head = hyper::Response::builder().header("content-type", "application/grpc");
                send = respond.send_response(head.body(()).unwrap(), false).ok();
            }
            let Some(send) = &mut send else { return };
            if send.send_data(frame(&kind, &body), false).is_err() {
                return;
            }
        }
    };
    tokio::join!(reading, writing);
}

fn kind_of_answer(kind: &str) -> &'static str {
    match kind {
        "ServerCheckRequest" => "ServerCheckResponse",
        "HealthCheckRequest" => "HealthCheckResponse",
        "InstanceRequest" | "PersistentInstanceRequest" => "InstanceResponse",
        "BatchInstanceRequest" => "BatchInstanceResponse",
        "SubscribeServiceRequest" => "SubscribeServiceResponse",
        "ServiceQueryRequest" => "QueryServiceResponse",
        _ => "ErrorResponse",
    }
}

fn usual(heard: &Heard, negotiates: bool) -> (&'static str, Value) {
    let mut body = json!({"resultCode": 200, "errorCode": 0, "success": true});
    match heard.kind.as_str() {
        "ServerCheckRequest" => {
            body["connectionId"] = format!("fake_{}", heard.connection).into();
            body["supportAbilityNegotiation"] = negotiates.into();
        }
        "SubscribeServiceRequest" | "ServiceQueryRequest" => {
            body["serviceInfo"] = list(&heard.body["serviceName"], &[]);
        }
        _ => {}
    }
    (kind_of_answer(&heard.kind), body)
}

/// A list of instances on 10.0.0.1 with these ports.
pub(crate) fn list(service: &Value, ports: &[u16]) -> Value {
    let host = |port: &u16| json!({"ip": "10.0.0.1", "port": port, "metadata": {}});
    let hosts: Vec<Value> = ports.iter().map(host).collect();
    json!({"name": service, "groupName": "DEFAULT_GROUP", "clusters": "", "cacheMillis": 10_000,
        "hosts": hosts, "lastRefTime": 1, "checksum": ""})
}

fn frame(kind: &str, body: &Value) -> Bytes {
    Payload::new(kind, body.to_string()).framed()
}

fn take(buffered: &mut BytesMut, connection: usize) -> Option<Heard> {
    let payload = Payload::take(buffered, MOST_REQUEST_BYTES).unwrap()?;
    let (metadata, body) = payload.into_parts();
    let body = serde_json::from_slice(&body).unwrap();
    let token = metadata.headers.get("accessToken").cloned();
    Some(Heard { kind: metadata.kind, body, token, connection })
}
