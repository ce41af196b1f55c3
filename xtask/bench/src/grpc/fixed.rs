//! The yardstick: bare h2 that answers fixed bytes and does nothing else.
//!
//! It has what any server on this crate must have (a multi-threaded tokio runtime, `NODELAY`, a task
//! for each call, the message read to its end, three frames for an answer) and nothing more.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use hyper::header::{HeaderMap, HeaderValue};
use hyper::{Request, Response};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use xtask_grpc::messages::message;

/// What every call is answered with.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FixedAnswer {
    /// The class of the answer.
    pub kind: String,
    /// Its body.
    pub body: String,
}

/// Serves the answer given as one line of JSON on standard input, on a free port of the loopback
/// interface that it prints, until standard input ends: it cannot outlive whoever started it.
///
/// # Errors
///
/// If the line is not understood or no socket can be had.
pub fn run() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut input = BufReader::new(tokio::io::stdin());
        let mut line = String::new();
        input.read_line(&mut line).await?;
        let FixedAnswer { kind, body } =
            serde_json::from_str(&line).context("an answer as JSON")?;
        let answer = message(&kind, body).framed();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address: SocketAddr = listener.local_addr()?;
        println!("{address}");
        tokio::select! {
            () = accept(listener, answer) => {}
            _ = input.read_u8() => {}
        }
        Ok(())
    })
}

async fn accept(listener: TcpListener, answer: Bytes) {
    loop {
        // Out of descriptors, or the peer was gone before we came: try the next one.
        let Ok((stream, _)) = listener.accept().await else { continue };
        tokio::spawn(serve(stream, answer.clone()));
    }
}

async fn serve(stream: TcpStream, answer: Bytes) {
    let _ = stream.set_nodelay(true);
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    // Ends with an error whenever the load generator closes its end: nothing to report.
    while let Some(Ok((request, respond))) = connection.accept().await {
        tokio::spawn(reply(request, respond, answer.clone()));
    }
}

async fn reply(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    answer: Bytes,
) -> Option<()> {
    let is_unary = request.uri().path() == "/Request/request";
    let mut body = request.into_body();
    let mut response = Response::new(());
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    if !is_unary {
        // The stream stays open, and nothing comes over it.
        let _sends = respond.send_response(response, false).ok()?;
        while let Some(Ok(part)) = body.data().await {
            body.flow_control().release_capacity(part.len()).ok()?;
        }
        return Some(());
    }
    while let Some(Ok(part)) = body.data().await {
        body.flow_control().release_capacity(part.len()).ok()?;
    }
    let mut sends = respond.send_response(response, false).ok()?;
    sends.send_data(answer, false).ok()?;
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    sends.send_trailers(trailers).ok()
}
