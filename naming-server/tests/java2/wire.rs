//! The server side of the cluster port of a Java member, as plain as can be.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use h2::RecvStream;
use h2::server::SendResponse;
use hyper::http::Response;
use naming_model::payload::{Payload, Prefix};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// Who answers.
pub(crate) trait Answerer: Send + Sync + 'static {
    fn answer(
        &self,
        kind: &str,
        headers: &BTreeMap<String, String>,
        body: &Value,
    ) -> (String, Value);
    fn is_frozen(&self) -> bool;
    /// Whether it acks a setup. Those before 2.3 do not, and send not even the head of the stream
    /// before they ask something.
    fn acks_setups(&self) -> bool;
}

pub(crate) async fn serve<A: Answerer>(listener: TcpListener, answerer: Arc<A>) {
    while let Ok((socket, _)) = listener.accept().await {
        let answerer = Arc::clone(&answerer);
        tokio::spawn(async move {
            let Ok(mut connection) = h2::server::handshake(socket).await else { return };
            while let Some(Ok((request, respond))) = connection.accept().await {
                let is_stream = request.uri().path().ends_with("requestBiStream");
                let (answerer, body) = (Arc::clone(&answerer), request.into_body());
                tokio::spawn(async move {
                    match is_stream {
                        true => stream(body, respond, answerer).await,
                        false => call(body, respond, answerer).await,
                    }
                });
            }
        });
    }
}

async fn thawed(answerer: &impl Answerer) {
    while answerer.is_frozen() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn call(
    mut body: RecvStream,
    mut respond: SendResponse<Bytes>,
    answerer: Arc<impl Answerer>,
) {
    let mut buffered = BytesMut::new();
    while let Some(Ok(chunk)) = body.data().await {
        let _ = body.flow_control().release_capacity(chunk.len());
        buffered.extend_from_slice(&chunk);
    }
    thawed(&*answerer).await;
    let Some((kind, headers, body)) = take(&mut buffered) else { return };
    let (kind, reply) = answerer.answer(&kind, &headers, &body);
    let head = Response::builder().header("content-type", "application/grpc").body(()).unwrap();
    let Ok(mut stream) = respond.send_response(head, false) else { return };
    let _ = stream.send_data(frame(&kind, &reply), false);
    let mut trailers = hyper::HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().unwrap());
    let _ = stream.send_trailers(trailers);
}

async fn stream(
    mut body: RecvStream,
    mut respond: SendResponse<Bytes>,
    answerer: Arc<impl Answerer>,
) {
    if !answerer.acks_setups() {
        while let Some(Ok(chunk)) = body.data().await {
            let _ = body.flow_control().release_capacity(chunk.len());
        }
        return;
    }
    let head = Response::builder().header("content-type", "application/grpc").body(()).unwrap();
    let Ok(mut stream) = respond.send_response(head, false) else { return };
    let mut buffered = BytesMut::new();
    while let Some(Ok(chunk)) = body.data().await {
        let _ = body.flow_control().release_capacity(chunk.len());
        buffered.extend_from_slice(&chunk);
        thawed(&*answerer).await;
        while let Some((kind, ..)) = take(&mut buffered) {
            if kind == "ConnectionSetupRequest" {
                let ack = json!({"headers": {}, "module": "internal",
                    "abilityTable": {"supportPersistentInstanceByGrpc": true}});
                let _ = stream.send_data(frame("SetupAckRequest", &ack), false);
            }
        }
    }
}

fn frame(kind: &str, body: &Value) -> Bytes {
    Payload::new(kind, body.to_string()).framed()
}

fn take(buffered: &mut BytesMut) -> Option<(String, BTreeMap<String, String>, Value)> {
    let message = Prefix::of(buffered)?.take(buffered)?;
    let (metadata, body) = Payload::read(message).unwrap().into_parts();
    let body = serde_json::from_slice(&body).unwrap();
    Some((metadata.kind, metadata.headers.into_iter().collect(), body))
}
