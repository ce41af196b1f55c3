//! An HTTP client on the simulated network, as careful as the usual ones: kept connections, a
//! time-out, and a second try when a kept connection turns out to be closed.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::Ipv4Addr;
use std::time::Duration;

use super::network::SimulatedConnector;
use super::process::address;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;

/// How long a client waits for a connection and an answer together.
pub(super) const CLIENT_TIMEOUT: Duration = Duration::from_secs(3);

/// An answer: status and body.
pub(super) type Answer = (u16, Bytes);

/// Speaks to the members, one request at a time.
pub(super) struct Caller {
    source: Ipv4Addr,
    network: SimulatedConnector,
    kept: BTreeMap<usize, SendRequest<Empty<Bytes>>>,
}

impl Caller {
    pub(super) fn new(source: Ipv4Addr, network: SimulatedConnector) -> Self {
        Self { source, network, kept: BTreeMap::new() }
    }

    /// One call to one member.
    pub(super) async fn call(
        &mut self,
        member: usize,
        method: &str,
        target: &str,
    ) -> Result<Answer, String> {
        // A connection that did not answer in time is not used again.
        let kept = self.kept.remove(&member).filter(|sender| !sender.is_closed());
        let exchange = async {
            if let Some(mut sender) = kept
                && let Ok(answer) = exchange(&mut sender, member, method, target).await
            {
                return Ok((sender, answer));
            }
            let mut sender = self.connect(member).await?;
            let answer = exchange(&mut sender, member, method, target).await?;
            Ok((sender, answer))
        };
        let (sender, answer) = within(CLIENT_TIMEOUT, exchange).await?;
        self.kept.insert(member, sender);
        Ok(answer)
    }

    async fn connect(&self, member: usize) -> Result<SendRequest<Empty<Bytes>>, String> {
        let address = address(member);
        let stream = self.network.open(self.source, &address).await;
        let stream = stream.map_err(|error| error.to_string())?;
        let handshake = http1::handshake(TokioIo::new(stream)).await;
        let (sender, connection) = handshake.map_err(|error| error.to_string())?;
        tokio::task::spawn_local(async move {
            // How it ends is seen by who uses it.
            let _ = connection.await;
        });
        Ok(sender)
    }
}

async fn within<T>(
    limit: Duration,
    call: impl Future<Output = Result<T, String>>,
) -> Result<T, String> {
    tokio::time::timeout(limit, call).await.unwrap_or_else(|_| Err("no answer".to_owned()))
}

async fn exchange(
    sender: &mut SendRequest<Empty<Bytes>>,
    member: usize,
    method: &str,
    target: &str,
) -> Result<Answer, String> {
    let request = Request::builder()
        .method(method)
        .uri(format!("/nacos/v1/{target}"))
        .header("host", address(member))
        .header("user-agent", "Nacos-Java-Client:v1.4.8")
        .body(Empty::new())
        .expect("a request of ours is well-formed");
    let answer = async {
        sender.ready().await?;
        let (head, body) = sender.send_request(request).await?.into_parts();
        Ok((head.status.as_u16(), body.collect().await?.to_bytes()))
    };
    answer.await.map_err(|error: hyper::Error| error.to_string())
}
