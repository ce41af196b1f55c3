//! Three members of a cluster: how soon each knows, and what beats cost them together.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::Bench;
use super::closed::Closed;
use super::cluster::Cluster;
use super::contender::own;
use super::open::{self, Stream};
use super::process::Server;
use super::replication::{ask, lags};
use super::report::Report;
use super::request::{Kind, Load, Population};
use super::sample::{Latencies, Running, Snapshot, latencies};
use super::subscribers::{Crowd, Manner};
use super::tally::Tally;
use super::wire::Connection;

const SCENARIO: &str = "members";
const LAG_SPAN: Duration = Duration::from_secs(5);
const BEATS_PER_SECOND: u64 = 20_000;
const INSTANCES: u64 = 100_000;
const SERVICES: u64 = 10_000;
const CONNECTIONS: usize = 100;
const WARM_UP: Duration = Duration::from_secs(3);
const WINDOW: Duration = Duration::from_secs(10);
const FILL: Duration = Duration::from_secs(60);

/// Lag and pushes across members that have nothing else to do; then beats at all of them, and the
/// same beats at servers that are alone.
pub(super) async fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let mut cluster = Cluster::prepare(3)?;
    for member in 0..3 {
        cluster.start(bench, member).await?;
    }
    for member in 0..3 {
        cluster.wait_until_ready(member).await?;
    }
    let (first, second) = (cluster.running(0)?.address, cluster.running(1)?.address);
    let lag = lags(first, second, LAG_SPAN).await?;
    report.figure(SCENARIO, "idle: lag to another member, p50", ms(&lag, 0.5));
    report.judge(SCENARIO, "idle: lag to another member, p99", ms(&lag, 0.99), 50.0);
    let pushes = pushes(first, second, bench.arguments.pushes / 2).await?;
    let what = "register at one to datagram from another";
    report.figure(SCENARIO, format!("{what}, p50"), ms(&pushes, 0.5));
    report.judge(SCENARIO, format!("{what}, p99"), ms(&pushes, 0.99), 100.0);

    let together = beats_of_three(bench, &mut cluster).await?;
    drop(cluster);
    let alone = beats_alone(bench).await?;
    let micros = |time: Duration| (time.as_secs_f64() * 1e6 / beats_in_window(), "us");
    report.figure(SCENARIO, "processor time per beat, three members", micros(together));
    report.figure(SCENARIO, "processor time per beat, servers alone", micros(alone));
    let ratio = (together.as_secs_f64() / alone.as_secs_f64(), "x");
    report.judge(SCENARIO, "the same, members over servers alone", ratio, 1.4);
    Ok(())
}

fn beats_in_window() -> f64 {
    BEATS_PER_SECOND as f64 * WINDOW.as_secs_f64()
}

fn ms(found: &Latencies, quantile: f64) -> (f64, &'static str) {
    (found.value_at_quantile(quantile) as f64 / 1e6, "ms")
}

/// Registers at one member until a subscriber of another has the packet, again and again.
async fn pushes(source: SocketAddr, target: SocketAddr, count: u64) -> Result<Latencies> {
    const STEP: Duration = Duration::from_micros(100);
    const PATIENCE: Duration = Duration::from_secs(5);
    /// Longer than the debounce, so that each packet is about one change.
    const REST: Duration = Duration::from_millis(220);
    let mut writer = Connection::open(source).await?;
    let mut found = latencies();
    let name = |number| format!("DEFAULT_GROUP%40%40bench.across.{number}");
    for number in 0..count {
        let crowd = Crowd::open(target, &name(number), 1, Manner::Acknowledge).await?;
        tokio::time::sleep(REST).await;
        let query = format!("?serviceName={}&ip=10.9.9.9&port=1", name(number));
        let sent = Instant::now();
        ask(&mut writer, "POST", &query, b"ok").await?;
        while crowd.packets() == 0 {
            ensure!(sent.elapsed() < PATIENCE, "a change is not pushed by another member");
            tokio::time::sleep(STEP).await;
        }
        found.saturating_record(u64::try_from(sent.elapsed().as_nanos()).unwrap_or(u64::MAX));
    }
    Ok(found)
}

/// Processor time of three members in a window of beats, each of which comes to any of them.
async fn beats_of_three(bench: &Bench, cluster: &mut Cluster) -> Result<Duration> {
    let population = Population::lasting(SERVICES, INSTANCES);
    fill(bench, cluster.running(0)?, population).await?;
    for member in 0..3 {
        cluster.wait_for_instances(member, INSTANCES, FILL).await?;
    }
    let mut running = Vec::new();
    for member in 0..3 {
        running.push(beat(cluster.running(member)?.address, population));
    }
    tokio::time::sleep(WARM_UP).await;
    let before = cluster.cpu_time()?;
    tokio::time::sleep(WINDOW).await;
    let found = cluster.cpu_time()? - before;
    for (member, running) in running.into_iter().enumerate() {
        end(running, cluster.running(member)?).await?;
    }
    Ok(found)
}

/// Three times what one server alone spends on a third of the beats of a third of the instances.
async fn beats_alone(bench: &Bench) -> Result<Duration> {
    let population = Population::lasting(SERVICES / 3, INSTANCES / 3);
    let mut server = own(bench, &[]).await?.server;
    fill(bench, &mut server, population).await?;
    let running = beat(server.address, population);
    tokio::time::sleep(WARM_UP).await;
    let before = server.cpu_time()?.total;
    tokio::time::sleep(WINDOW).await;
    let found = server.cpu_time()?.total - before;
    end(running, &mut server).await?;
    Ok(found * 3)
}

fn beat(address: SocketAddr, population: Population) -> Running {
    let load = Load { kinds: &[Kind::BeatLight], population, scattered: true };
    let per_second = BEATS_PER_SECOND / 3;
    let stream = Stream { load, per_second, connections: CONNECTIONS };
    open::start(address, vec![stream], &Arc::default())
}

async fn end(running: Running, server: &mut Server) -> Result<()> {
    let sample = running.measure_window(server, Duration::ZERO, Duration::ZERO).await?;
    ensure!(sample.unanswered == 0, "{} beats were not answered", sample.unanswered);
    Ok(())
}

/// Registers the population at one server.
pub(super) async fn fill(bench: &Bench, server: &mut Server, population: Population) -> Result<()> {
    const PIPELINE: u64 = 16;
    let tally = Arc::new(Tally::default());
    let start = Snapshot::take(server, &tally)?;
    let plan = Closed {
        address: server.address,
        connections: bench.arguments.connections,
        threads: bench.arguments.client_threads,
        pipeline: PIPELINE,
        load: Load { kinds: &[Kind::Register], population, scattered: true },
        may_sleep: true,
        count: Some(population.instances),
    };
    plan.start(&tally).measure_count(server, population.instances, start, |_| {}).await?;
    Ok(())
}
