//! Calls with a deadline, over connections that are kept.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Method, Request};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

/// A client that hears nothing for so long tries the next server: the connect time-out of the
/// Java client, which waits longer for a reply. A beat that waits longer comes too late.
const DEADLINE: Duration = Duration::from_secs(3);
const IDLE: Duration = Duration::from_secs(15);
const LONGEST_REPLY: usize = 4 * 1024 * 1024;

pub(super) struct Http {
    client: Client<HttpConnector, Empty<Bytes>>,
}

pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) body: Bytes,
}

impl Http {
    pub(super) fn new() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .build(connector);
        Self { client }
    }

    pub(super) async fn get(&self, address: SocketAddr, path: &str) -> Result<Reply> {
        self.call(&Method::GET, address, path).await
    }

    /// A reply of any status is one.
    pub(super) async fn call(
        &self,
        method: &Method,
        address: SocketAddr,
        path: &str,
    ) -> Result<Reply> {
        let request = Request::builder()
            .method(method)
            .uri(format!("http://{address}{path}"))
            .header("User-Agent", "Nacos-Java-Client:v1.4.8")
            .header("Client-Version", "1.4.8")
            .body(Empty::new())
            .context("make a request")?;
        let call = async {
            let reply = self.client.request(request).await?;
            let status = reply.status().as_u16();
            let body = Limited::new(reply.into_body(), LONGEST_REPLY).collect().await;
            let body = body.map_err(|error| anyhow::anyhow!("body: {error}"))?.to_bytes();
            Ok(Reply { status, body })
        };
        tokio::time::timeout(DEADLINE, call).await.context("no reply in time")?
    }
}

/// The text at `path`, if that is answered with 200.
pub(in crate::chaos) async fn fetch_text(
    shared: &super::Shared,
    node: usize,
    path: &str,
) -> Option<String> {
    let reply = shared.http.get(shared.address(node)?, path).await.ok()?;
    (reply.status == 200).then(|| String::from_utf8_lossy(&reply.body).into_owned())
}
