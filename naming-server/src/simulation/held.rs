//! A connection of a client of 2.x over the simulated network.

use std::net::Ipv4Addr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use h2::client::SendRequest;
use h2::{RecvStream, SendStream};
use hyper::Request;
use naming_model::payload::{MOST_REQUEST_BYTES, Payload};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::network::SimulatedConnector;
use super::{GRPC_PORT, member_ip};

/// How long a call may take.
const CALL_TIME: Duration = Duration::from_secs(3);

/// A connection that has been set up. Dropping it ends it.
pub(super) struct Link {
    calls: SendRequest<Bytes>,
    send: SendStream<Bytes>,
    receive: RecvStream,
    buffered: BytesMut,
    connection: JoinHandle<()>,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Link {
    /// Connects to a member and says who it is. `None` if that fails.
    pub(super) async fn set_up(
        network: &SimulatedConnector,
        source: Ipv4Addr,
        member: usize,
        label: &str,
    ) -> Option<Self> {
        let address = format!("{}:{GRPC_PORT}", member_ip(member));
        let socket = network.open(source, &address).await.ok()?;
        let (calls, connection) = h2::client::handshake(socket).await.ok()?;
        let connection = tokio::task::spawn_local(async { drop(connection.await) });
        let mut ready = calls.clone().ready().await.ok()?;
        let stream = head("/BiRequestStream/requestBiStream");
        let (response, mut send) = ready.send_request(stream, false).ok()?;
        let labels = json!({"module": "naming", "who": label});
        let setup = json!({
            "clientVersion": "Nacos-Java-Client:v2.5.1", "labels": labels, "abilityTable": {},
        });
        send.send_data(message("ConnectionSetupRequest", &setup), false).ok()?;
        let receive = response.await.ok()?.into_body();
        let mut link = Self { calls, send, receive, buffered: BytesMut::new(), connection };
        // The answer to the setup, without which it is none.
        link.asked().await.map(|_| link)
    }

    /// Registers the one instance of this client in a service; whether that was done.
    pub(super) async fn register(&self, service: &str, port: u16) -> bool {
        let instance = json!({"ip": "10.9.0.1", "port": port, "weight": 1.0, "healthy": true,
            "enabled": true, "metadata": {}});
        let body = json!({"serviceName": service, "type": "registerInstance",
            "instance": instance});
        self.call("InstanceRequest", &body).await
    }

    /// Answers what the server asks, and calls now and then, until the connection is no good or the
    /// server wants the client to go.
    pub(super) async fn stay(&mut self, check: Duration) {
        loop {
            match timeout(check, self.asked()).await {
                Err(_) => {
                    if !self.call("HealthCheckRequest", &json!({})).await {
                        return;
                    }
                }
                Ok(None) => return,
                Ok(Some((kind, _))) if kind == "ConnectResetRequest" => return,
                Ok(Some((kind, body))) => {
                    let kind = kind.replace("Request", "Response");
                    let ack = json!({"requestId": body["requestId"], "resultCode": 200});
                    if self.send.send_data(message(&kind, &ack), false).is_err() {
                        return;
                    }
                }
            }
        }
    }

    /// What the server asks next; `None` if the stream is over.
    async fn asked(&mut self) -> Option<(String, Value)> {
        loop {
            if let Some(payload) = take(&mut self.buffered) {
                let (metadata, body) = payload.into_parts();
                return Some((metadata.kind, serde_json::from_slice(&body).ok()?));
            }
            let chunk = self.receive.data().await?.ok()?;
            let _ = self.receive.flow_control().release_capacity(chunk.len());
            self.buffered.extend_from_slice(&chunk);
        }
    }

    /// Whether a call succeeds in time.
    async fn call(&self, kind: &str, body: &Value) -> bool {
        let call = async {
            let mut calls = self.calls.clone().ready().await.ok()?;
            let (response, mut send) = calls.send_request(head("/Request/request"), false).ok()?;
            send.send_data(message(kind, body), true).ok()?;
            let (mut body, mut buffered) = (response.await.ok()?.into_body(), BytesMut::new());
            while let Some(chunk) = body.data().await {
                buffered.extend_from_slice(&chunk.ok()?);
            }
            let answer: Value = serde_json::from_slice(take(&mut buffered)?.body()).ok()?;
            Some(answer["resultCode"] == 200)
        };
        timeout(CALL_TIME, call).await.ok().flatten().unwrap_or(false)
    }
}

fn head(path: &str) -> Request<()> {
    let request = Request::post(format!("http://server{path}"));
    let request = request.header("content-type", "application/grpc").header("te", "trailers");
    request.body(()).expect("a request of ours is well-formed")
}

fn message(kind: &str, body: &Value) -> Bytes {
    Payload::new(kind, body.to_string()).framed()
}

fn take(buffered: &mut BytesMut) -> Option<Payload> {
    Payload::take(buffered, MOST_REQUEST_BYTES).ok()?
}
