//! A client of 2.x, as plain as can be: calls, the stream, and an end without a word.

// Each test program uses its part of this.
#![allow(dead_code)]

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use h2::client::SendRequest;
use h2::{RecvStream, SendStream};
use hyper::Request;
use naming_model::payload::{Payload, Prefix};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// No step takes nearly as long; it is there so that a failure is no hang.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A message: its kind and its body.
pub(crate) type Told = (String, Value);

/// A connection.
pub(crate) struct Client {
    calls: SendRequest<Bytes>,
    connection: JoinHandle<()>,
    stream: Option<Stream>,
}

struct Stream {
    send: SendStream<Bytes>,
    receive: RecvStream,
    buffered: BytesMut,
}

impl Client {
    /// Connects, and says nothing more.
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self::connect_with(address, &h2::client::Builder::new()).await
    }

    pub(crate) async fn connect_with(address: SocketAddr, h2: &h2::client::Builder) -> Self {
        let socket = TcpStream::connect(address).await.unwrap();
        socket.set_nodelay(true).unwrap();
        Self::over(socket, h2).await.unwrap()
    }

    /// Speaks over a stream that is open; `None` if that ends.
    pub(crate) async fn over<S>(stream: S, h2: &h2::client::Builder) -> Option<Self>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (calls, connection) = h2.handshake(stream).await.ok()?;
        let connection = tokio::spawn(async { drop(connection.await) });
        Some(Self { calls, connection, stream: None })
    }

    /// Connects and sets up, with a label that tells this client from others at this address.
    pub(crate) async fn set_up(address: SocketAddr, label: &str) -> Self {
        Self::connect(address).await.introduced(label).await
    }

    /// Sets up.
    pub(crate) async fn introduced(mut self, label: &str) -> Self {
        let client = &mut self;
        client.open_stream().await;
        let labels = json!({"module": "naming", "source": "sdk", "who": label});
        let setup = json!({
            "clientVersion": "Nacos-Java-Client:v2.5.1", "labels": labels, "abilityTable": {},
        });
        client.tell("ConnectionSetupRequest", setup);
        let (kind, ack) = client.asked().await.expect("an answer to the setup");
        assert_eq!(kind, "SetupAckRequest", "{ack}");
        self
    }

    pub(crate) async fn open_stream(&mut self) {
        let head = head("/BiRequestStream/requestBiStream");
        let (response, send) = self.calls.send_request(head, false).unwrap();
        let receive = timeout(PATIENCE, response).await.unwrap().unwrap().into_body();
        self.stream = Some(Stream { send, receive, buffered: BytesMut::new() });
    }

    /// Sends a message on the stream.
    pub(crate) fn tell(&mut self, kind: &str, body: Value) {
        let message = frame(kind, &[], body.to_string().into());
        self.stream.as_mut().unwrap().send.send_data(message, false).unwrap();
    }

    /// The next request of the server; `None` if the stream is over.
    pub(crate) async fn asked(&mut self) -> Option<Told> {
        timeout(PATIENCE, self.asked_whenever()).await.expect("a request in time")
    }

    /// The same, however long it takes.
    pub(crate) async fn asked_whenever(&mut self) -> Option<Told> {
        let Stream { receive, buffered, .. } = self.stream.as_mut().unwrap();
        loop {
            if let Some(told) = take(buffered) {
                return Some(told);
            }
            let chunk = receive.data().await?.ok()?;
            let _ = receive.flow_control().release_capacity(chunk.len());
            buffered.extend_from_slice(&chunk);
        }
    }

    /// Answers a request of the server with success.
    pub(crate) fn ack(&mut self, (kind, body): &Told) {
        let kind = kind.replace("Request", "Response");
        self.tell(&kind, json!({"requestId": body["requestId"], "resultCode": 200}));
    }

    /// Answers all requests of the server until one is as wanted.
    pub(crate) async fn until(&mut self, what: &str, wanted: impl Fn(&Told) -> bool) -> Told {
        let found = async {
            loop {
                let told = self.asked().await.unwrap_or_else(|| panic!("the end, not {what}"));
                if told.0 != "SetupAckRequest" {
                    self.ack(&told);
                }
                if wanted(&told) {
                    return told;
                }
            }
        };
        timeout(PATIENCE, found).await.unwrap_or_else(|_| panic!("waited in vain for {what}"))
    }

    /// Waits for a list with so many hosts, and answers it.
    pub(crate) async fn until_pushed(&mut self, hosts: usize) -> Value {
        let wanted = |(kind, body): &Told| {
            let found = body["serviceInfo"]["hosts"].as_array().map_or(0, Vec::len);
            kind == "NotifySubscriberRequest" && found == hosts
        };
        self.until(&format!("a list of {hosts}"), wanted).await.1
    }

    /// Calls, and gives kind and body of the answer.
    pub(crate) async fn call(&self, kind: &str, body: Value) -> Told {
        self.call_with(kind, &[], body.to_string().into()).await.unwrap()
    }

    /// The same with headers and any body; or the status of the call.
    pub(crate) async fn call_with(
        &self,
        kind: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Told, String> {
        let mut calls = self.calls.clone().ready().await.map_err(|error| error.to_string())?;
        let (response, mut send) =
            calls.send_request(head("/Request/request"), false).map_err(|e| e.to_string())?;
        send.send_data(frame(kind, headers, body), true).map_err(|e| e.to_string())?;
        let answer = async {
            let response = response.await.map_err(|error| error.to_string())?;
            if let Some(status) = response.headers().get("grpc-status") {
                return Err(status.to_str().unwrap().to_owned());
            }
            let (mut body, mut buffered) = (response.into_body(), BytesMut::new());
            while let Some(chunk) = body.data().await {
                let chunk = chunk.map_err(|error| error.to_string())?;
                let _ = body.flow_control().release_capacity(chunk.len());
                buffered.extend_from_slice(&chunk);
            }
            let trailers = body.trailers().await.map_err(|error| error.to_string())?;
            assert_eq!(trailers.unwrap()["grpc-status"], "0");
            Ok(take(&mut buffered).expect("a whole message"))
        };
        timeout(PATIENCE, answer).await.expect("an answer in time")
    }

    /// As [`Self::call`], for what must succeed.
    pub(crate) async fn ok(&self, kind: &str, body: Value) -> Value {
        let (kind, body) = self.call(kind, body).await;
        assert_eq!(body["resultCode"], 200, "{kind} {body}");
        body
    }

    /// Registers an instance.
    pub(crate) async fn register(&self, service: &str, instance: Value) -> Value {
        self.ok("InstanceRequest", about(service, "registerInstance", instance)).await
    }

    pub(crate) async fn subscribe(&self, service: &str) -> Value {
        let body = json!({"serviceName": service, "subscribe": true, "clusters": ""});
        self.ok("SubscribeServiceRequest", body).await
    }

    /// The addresses of a service.
    pub(crate) async fn hosts(&self, service: &str) -> Vec<String> {
        let body = self.ok("ServiceQueryRequest", json!({"serviceName": service})).await;
        let hosts = body["serviceInfo"]["hosts"].as_array().unwrap().iter();
        hosts.map(|host| host["ip"].as_str().unwrap().to_owned()).collect()
    }

    /// For calls that are no calls.
    pub(crate) fn raw_calls(&self) -> SendRequest<Bytes> {
        self.calls.clone()
    }

    /// Ends without a word: the TCP connection is closed.
    pub(crate) async fn die(self) {
        self.connection.abort();
        let _ = self.connection.await;
    }

    /// Waits until the server has closed the TCP connection.
    pub(crate) async fn until_closed(self) {
        timeout(PATIENCE, self.connection).await.expect("closed in time").unwrap();
    }
}

/// The body of a request that registers or removes an instance.
pub(crate) fn about(service: &str, action: &str, instance: Value) -> Value {
    json!({"serviceName": service, "type": action, "instance": instance})
}

pub(crate) fn instance(ip: &str) -> Value {
    json!({"ip": ip, "port": 80, "weight": 1.0, "healthy": true, "enabled": true, "metadata": {}})
}

pub(crate) fn head(path: &str) -> Request<()> {
    let request = Request::post(format!("http://server{path}"));
    request.header("content-type", "application/grpc").header("te", "trailers").body(()).unwrap()
}

pub(crate) fn frame(kind: &str, headers: &[(&str, &str)], body: Bytes) -> Bytes {
    Payload::new(kind, body).with_headers(headers.iter().copied()).framed()
}

fn take(buffered: &mut BytesMut) -> Option<Told> {
    // Of any length: the list of a large service may be longer than requests may be.
    let message = Prefix::of(buffered)?.take(buffered)?;
    let (metadata, body) = Payload::read(message).unwrap().into_parts();
    Some((metadata.kind, serde_json::from_slice(&body).unwrap()))
}
