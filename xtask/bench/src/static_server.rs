//! The yardstick: plain hyper that answers fixed bytes and does nothing else.
//!
//! It has what any server on this stack must have (a multi-threaded tokio runtime, `NODELAY`, the
//! request parsed and its body read) and nothing more, so "1.3 times the static server" means that
//! the registry's own work costs a third of what HTTP costs anyway.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::header::{HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::epoll_server;

/// By how much one connection is ahead of the next in its turns.
const APART: usize = 61;

/// A reply to give for a method and a path, whatever the query.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FixedReply {
    /// Upper case.
    pub method: String,
    /// Without the query.
    pub path: String,
    /// Names and values, without those that hyper adds by itself.
    pub headers: Vec<(String, String)>,
    /// The body; its length is stated by hyper.
    pub body: String,
    /// How many copies of the body lie in memory, to be sent in turn. Sending the same bytes again
    /// and again is cheaper than what they cost who keeps a list for each service: they lie in the
    /// nearest cache.
    pub copies: usize,
}

/// Serves the replies given as one line of JSON on standard input, on a free port of the loopback
/// interface that it prints, until standard input ends: it cannot outlive whoever started it.
/// With `epoll` the bytes come from a bare epoll loop instead of hyper.
///
/// # Errors
///
/// If the line is not understood or no socket can be had.
pub fn run(epoll: bool) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut input = BufReader::new(tokio::io::stdin());
        let mut line = String::new();
        input.read_line(&mut line).await?;
        let replies = serde_json::from_str(&line).context("a line of replies as JSON")?;
        let (address, serving) = if epoll {
            (epoll_server::serve(replies)?, tokio::spawn(std::future::pending()))
        } else {
            serve(replies).await?
        };
        println!("{address}");
        tokio::select! {
            ended = serving => ended?,
            _ = input.read_u8() => {}
        }
        Ok(())
    })
}

/// Starts to serve `replies` on a free port of the loopback interface.
///
/// # Errors
///
/// If a header is none or no socket can be had.
pub async fn serve(replies: Vec<FixedReply>) -> Result<(SocketAddr, tokio::task::JoinHandle<()>)> {
    let prepared: Result<Vec<Prepared>> = replies.into_iter().map(Prepared::new).collect();
    let prepared: Arc<[Prepared]> = prepared?.into();
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    Ok((address, tokio::spawn(accept(listener, prepared))))
}

async fn accept(listener: TcpListener, replies: Arc<[Prepared]>) {
    for connection in 0.. {
        // Out of descriptors, or the peer was gone before we came: try the next one.
        let Ok((stream, _)) = listener.accept().await else { continue };
        tokio::spawn(serve_connection(stream, Arc::clone(&replies), connection * APART));
    }
}

async fn serve_connection(stream: TcpStream, replies: Arc<[Prepared]>, first: usize) {
    let _ = stream.set_nodelay(true);
    let answered = AtomicUsize::new(first);
    let service = service_fn(|request| {
        // Only this task counts: no need for an operation that all cores see.
        let turn = answered.load(Relaxed);
        answered.store(turn.wrapping_add(1), Relaxed);
        answer(request, &replies, turn)
    });
    // Ends with an error whenever the load generator closes its end: nothing to report.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(
    request: Request<Incoming>,
    replies: &[Prepared],
    turn: usize,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let found = replies.iter().find(|reply| {
        reply.path == request.uri().path() && reply.method == request.method().as_str()
    });
    let response = found.map_or_else(not_found, |reply| reply.response(turn));
    if !request.body().is_end_stream() {
        let _ = request.into_body().collect().await;
    }
    Ok(response)
}

fn not_found() -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::new()));
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}

struct Prepared {
    method: String,
    path: String,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// At least one.
    bodies: Vec<Bytes>,
}

impl Prepared {
    fn new(reply: FixedReply) -> Result<Self> {
        let headers: Result<Vec<_>> =
            reply.headers.iter().map(|(name, value)| Ok((name.parse()?, value.parse()?))).collect();
        let FixedReply { method, path, body, copies, .. } = reply;
        let copy = |_| Bytes::copy_from_slice(body.as_bytes());
        let bodies = (0..copies.max(1)).map(copy).collect();
        Ok(Self { method, path, headers: headers?, bodies })
    }

    fn response(&self, turn: usize) -> Response<Full<Bytes>> {
        let body = self.bodies[turn % self.bodies.len()].clone();
        let mut response = Response::new(Full::new(body));
        for (name, value) in &self.headers {
            response.headers_mut().append(name.clone(), value.clone());
        }
        response
    }
}
