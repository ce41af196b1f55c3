//! The yardstick: plain hyper that answers fixed bytes and does nothing else.
//!
//! It has what any server on this stack must have (a multi-threaded tokio runtime, `NODELAY`, the
//! request parsed and its body read) and nothing more, so "1.3 times the static server" means that
//! the registry's own work costs a third of what HTTP costs anyway.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

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
    loop {
        // Out of descriptors, or the peer was gone before we came: try the next one.
        let Ok((stream, _)) = listener.accept().await else { continue };
        tokio::spawn(serve_connection(stream, Arc::clone(&replies)));
    }
}

async fn serve_connection(stream: TcpStream, replies: Arc<[Prepared]>) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| answer(request, &replies));
    // Ends with an error whenever the load generator closes its end: nothing to report.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(
    request: Request<Incoming>,
    replies: &[Prepared],
) -> Result<Response<Full<Bytes>>, Infallible> {
    let found = replies.iter().find(|reply| {
        reply.path == request.uri().path() && reply.method == request.method().as_str()
    });
    let response = found.map_or_else(not_found, Prepared::response);
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
    body: Bytes,
}

impl Prepared {
    fn new(reply: FixedReply) -> Result<Self> {
        let headers: Result<Vec<_>> =
            reply.headers.iter().map(|(name, value)| Ok((name.parse()?, value.parse()?))).collect();
        let FixedReply { method, path, body, .. } = reply;
        Ok(Self { method, path, headers: headers?, body: body.into() })
    }

    fn response(&self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(self.body.clone()));
        for (name, value) in &self.headers {
            response.headers_mut().append(name.clone(), value.clone());
        }
        response
    }
}
