//! Servers for the tests: real ones that can be killed, and scripted ones that misbehave.

#![allow(dead_code, reason = "each test file uses its part")]

pub(crate) mod fake;
pub(crate) mod fake_grpc;
pub(crate) mod proxy;
pub(crate) mod real;

use std::future::Future;
use std::time::Duration;

use naming_client::{Change, ClientBuilder, Instance, NamingClient, Subscription, Transport};
use tokio::time::Instant;

/// A client for tests that speaks HTTP: loopback only, short time-outs.
pub(crate) fn client<A: ToString>(servers: impl IntoIterator<Item = A>) -> ClientBuilder {
    client_over(Transport::Http, servers)
}

/// The same over any transport.
pub(crate) fn client_over<A: ToString>(
    transport: Transport,
    servers: impl IntoIterator<Item = A>,
) -> ClientBuilder {
    NamingClient::builder()
        .transport(transport)
        .servers(servers)
        .connect_timeout(Duration::from_millis(500))
        .request_timeout(Duration::from_secs(1))
        .call_timeout(Duration::from_secs(4))
        .push_bind([127, 0, 0, 1].into())
}

/// Waits until `condition` holds; fails the test with `what` if it does not within `limit`. Gives
/// the time it took.
pub(crate) async fn eventually<F>(
    what: &str,
    limit: Duration,
    mut condition: impl FnMut() -> F,
) -> Duration
where
    F: Future<Output = bool>,
{
    let start = Instant::now();
    while !condition().await {
        assert!(start.elapsed() < limit, "not within {limit:?}: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    start.elapsed()
}

/// The next change of a subscription, which must come within `limit`.
pub(crate) async fn next(subscription: &mut Subscription, limit: Duration) -> Change {
    let change = tokio::time::timeout(limit, subscription.changed()).await;
    change.expect("a change within the limit").expect("the client is open")
}

/// The ports of instances, in their order.
pub(crate) fn ports(list: &[Instance]) -> Vec<u16> {
    list.iter().map(|instance| instance.port).collect()
}

/// Makes a test for each transport of functions that take one.
#[macro_export]
macro_rules! over_both {
    ($($(#[$attribute:meta])* $name:ident,)*) => {
        mod over_http {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                $(#[$attribute])*
                async fn $name() {
                    super::$name(naming_client::Transport::Http).await;
                }
            )*
        }
        mod over_grpc {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                $(#[$attribute])*
                async fn $name() {
                    super::$name(naming_client::Transport::Grpc).await;
                }
            )*
        }
    };
}
