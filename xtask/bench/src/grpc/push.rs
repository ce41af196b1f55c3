//! How long it takes from a registration to the list that a subscriber gets over its stream.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use memchr::memmem;
use tokio::time::timeout;

use super::{APP, beside, start_own};
use crate::Bench;
use crate::contender::{Role, start_peers};
use crate::report::Report;
use crate::sample::{Latencies, latencies};
use xtask_grpc::messages::{instance, message, subscribe};
use xtask_grpc::{Connection, Stream};

const SCENARIO: &str = "grpc-push";
const SERVICE: &str = "bench.push";
const PATIENCE: Duration = Duration::from_secs(10);
/// Subscribers of the same service that take no notice of what they are sent.
const STALLED: usize = 1_000;

/// From a registration to the list: alone, beside stalled subscribers, and at the peers.
pub(crate) async fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let pushes = bench.arguments.pushes;
    let own = start_own(bench, &[]).await?;
    let address = beside(own.server.address);
    let alone = measure(address, pushes).await?;
    report.judge(SCENARIO, "register sent to list received, p50", ms(&alone, 0.5), 2.0);
    report.judge(SCENARIO, "register sent to list received, p99", ms(&alone, 0.99), 10.0);
    drop(own);

    let settings = ["grpc.max_setups_per_second_per_source=100000"];
    let own = start_own(bench, &settings).await?;
    let address = beside(own.server.address);
    let mut stalled = Vec::new();
    for _ in 0..STALLED {
        stalled.push(subscriber(address).await?);
    }
    let beside_stalled = measure(address, pushes / 2).await?;
    drop(stalled);
    let above = ms(&beside_stalled, 0.99).0 - ms(&alone, 0.99).0;
    let what = format!("p99 beside {STALLED} stalled ones above that alone");
    report.judge(SCENARIO, what, (above, "ms"), 2.0);
    drop(own);

    for mut peer in start_peers(bench).await? {
        debug_assert_eq!(peer.role, Role::Peer);
        let found = measure(beside(peer.server.address), pushes.min(30)).await;
        if let Some(found) = peer.judge(found)? {
            let what = format!("the same at {}, p50", peer.name);
            report.figure(SCENARIO, what, ms(&found, 0.5));
        }
    }
    Ok(())
}

fn ms(found: &Latencies, quantile: f64) -> (f64, &'static str) {
    (found.value_at_quantile(quantile) as f64 / 1e3, "ms")
}

/// A client that has subscribed and got the first list.
pub(super) async fn subscriber(address: SocketAddr) -> Result<(Connection, Stream)> {
    let connection = Connection::open(address).await?;
    let stream = connection.set_up(APP).await?;
    let payload = message("SubscribeServiceRequest", subscribe(SERVICE));
    connection.ask(&payload, b"\"resultCode\":200").await?;
    Ok((connection, stream))
}

/// Registers and removes one instance after the other; microseconds until one subscriber knows.
async fn measure(address: SocketAddr, pushes: u64) -> Result<Latencies> {
    let (_subscriber, mut stream) = subscriber(address).await?;
    let publisher = Connection::open(address).await?;
    let _publishes = publisher.set_up(APP).await?;
    let mut found = latencies();
    for number in 0..pushes {
        // Longer than pushes are merged for.
        tokio::time::sleep(Duration::from_millis(600)).await;
        let ip = format!("10.9.{}.{}", number / 256 % 256, number % 256);
        let named = format!("\"ip\":\"{ip}\"");
        let ask = |action: &str| message("InstanceRequest", instance(action, SERVICE, &ip, 8_080));
        let sent = Instant::now();
        let asked = async { publisher.ask(&ask("registerInstance"), b"\"resultCode\":200").await };
        let received = async {
            wait_for(&mut stream, |body| memmem::find(body, named.as_bytes()).is_some()).await?;
            anyhow::Ok(sent.elapsed())
        };
        let ((), took) = tokio::try_join!(asked, received)?;
        found.saturating_record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        publisher.ask(&ask("deregisterInstance"), b"\"resultCode\":200").await?;
        wait_for(&mut stream, |body| memmem::find(body, named.as_bytes()).is_none()).await?;
    }
    Ok(found)
}

/// Takes lists until one is as wanted.
pub(super) async fn wait_for(stream: &mut Stream, wanted: impl Fn(&[u8]) -> bool) -> Result<()> {
    let wait = async {
        while !wanted(stream.next_list().await?.body()) {}
        anyhow::Ok(())
    };
    timeout(PATIENCE, wait).await.context("no list came")?
}
