//! Writes to all members of a cluster of three, and a member that joins it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::Bench;
use super::cluster::Cluster;
use super::members::fill;
use super::open::{self, Stream};
use super::report::Report;
use super::request::{Kind, Load, Population};
use super::sample::{Latencies, latencies};
use super::tally::Tally;
use super::wire::{Connection, is_expected, unexpected};

const REPLICATION: &str = "replication";
const JOIN: &str = "join";
const WRITES_PER_SECOND: u64 = 10_000;
const WARM_UP: Duration = Duration::from_secs(1);
const WINDOW: Duration = Duration::from_secs(10);
const BEATS_PER_SECOND: u64 = 2_000;
/// An instance as a list shows it, and as members of Nacos send it to each other.
const JSON: &str = "{\"ip\":\"10.0.0.1\",\"port\":8080,\"valid\":true,\"healthy\":true,\
    \"marked\":false,\"instanceId\":\"10.0.0.1#8080#DEFAULT#DEFAULT_GROUP@@bench.service.000001\",\
    \"metadata\":{\"preserved.heart.beat.timeout\":\"86400000\",\
    \"preserved.ip.delete.timeout\":\"86400000\"},\"enabled\":true,\"weight\":1.0,\
    \"clusterName\":\"DEFAULT\",\"serviceName\":\"DEFAULT_GROUP@@bench.service.000001\",\
    \"ephemeral\":true}";

/// New instances at a fixed rate, a third of them at each member.
pub(super) async fn replicate(bench: &Bench, report: &mut Report) -> Result<()> {
    let mut cluster = Cluster::prepare(3)?;
    for member in 0..3 {
        cluster.start(bench, member).await?;
    }
    for member in 0..3 {
        cluster.wait_until_ready(member).await?;
    }
    let addresses = [0, 1, 2].map(|member| cluster.running(member).map(|server| server.address));
    let [first, second, third] = addresses;
    let (first, second, third) = (first?, second?, third?);
    let mut running = Vec::new();
    for (turn, address) in (0..).zip([first, second, third]) {
        let part = Population { first: turn << 21, ..Population::lasting(2_000, 1 << 20) };
        let load = Load { kinds: &[Kind::Register], population: part, scattered: false };
        let stream = Stream { load, per_second: WRITES_PER_SECOND / 3, connections: 32 };
        let tally = Arc::new(Tally::default());
        running.push((open::start(address, vec![stream], &tally), tally));
    }
    tokio::time::sleep(WARM_UP).await;
    let before = (cluster.bytes(), done(&running), cluster.cpu_time()?, Instant::now());
    let lag = lags(second, third, WINDOW).await?;
    let (bytes, written) = (cluster.bytes() - before.0, done(&running) - before.1);
    let (spent, elapsed) = (cluster.cpu_time()? - before.2, before.3.elapsed());
    let mut unanswered = 0;
    for (turn, (running, _)) in running.into_iter().enumerate() {
        let server = cluster.running(turn)?;
        let sample = running.measure_window(server, Duration::ZERO, Duration::ZERO).await?;
        unanswered += sample.unanswered;
    }
    ensure!(unanswered == 0, "{unanswered} writes were not answered");
    let rate = written as f64 / elapsed.as_secs_f64();
    report.figure(REPLICATION, "writes over three members", (rate, "1/s"));
    let each = (spent.as_secs_f64() * 1e6 / written as f64, "us");
    report.figure(REPLICATION, "processor time of all members per write", each);
    let lag_ms = |quantile| (lag.value_at_quantile(quantile) as f64 / 1e6, "ms");
    report.figure(REPLICATION, "lag to another member, p50", lag_ms(0.5));
    report.judge(REPLICATION, "lag to another member, p99", lag_ms(0.99), 200.0);
    let short = WRITES_PER_SECOND as f64 / rate;
    report.judge(REPLICATION, "writes wanted over writes done", (short, "x"), 1.02);
    let each = bytes as f64 / written as f64 / 2.0;
    report.figure(REPLICATION, "bytes to each other member per write", (each, "bytes"));
    let times = (each / JSON.len() as f64, "x");
    let what = format!("the same, times the JSON of {} bytes", JSON.len());
    report.judge(REPLICATION, what, times, 0.6);
    Ok(())
}

fn done(running: &[(super::sample::Running, Arc<Tally>)]) -> u64 {
    running.iter().map(|(_, tally)| tally.done()).sum()
}

/// Registers at one member and asks another until it knows, again and again for `span`.
pub(super) async fn lags(
    source: SocketAddr,
    target: SocketAddr,
    span: Duration,
) -> Result<Latencies> {
    const STEP: Duration = Duration::from_millis(1);
    const PATIENCE: Duration = Duration::from_secs(10);
    let (mut writer, mut reader) =
        (Connection::open(source).await?, Connection::open(target).await?);
    let mut found = latencies();
    let begun = Instant::now();
    for number in 0.. {
        if begun.elapsed() >= span {
            break;
        }
        let service = format!("serviceName=bench.lag.{number}");
        let sent = Instant::now();
        let query = format!("{service}&ip=10.9.9.9&port=1");
        ask(&mut writer, "POST", &format!("?{query}"), b"ok").await?;
        while !ask(&mut reader, "GET", &format!("/list?{service}"), b"\"hosts\":").await? {
            ensure!(sent.elapsed() < PATIENCE, "a registration does not get to another member");
            tokio::time::sleep(STEP).await;
        }
        found.saturating_record(u64::try_from(sent.elapsed().as_nanos()).unwrap_or(u64::MAX));
    }
    Ok(found)
}

/// Whether the reply holds the instance.
pub(super) async fn ask(
    connection: &mut Connection,
    method: &str,
    rest: &str,
    expected: &[u8],
) -> Result<bool> {
    let request = format!("{method} /nacos/v1/ns/instance{rest} HTTP/1.1\r\nHost: bench\r\n\r\n");
    connection.send(request.as_bytes()).await?;
    let judge = |status, _: &[u8], body: &[u8]| {
        ensure!(is_expected(status, body, expected), unexpected(status, body));
        Ok(memchr::memmem::find(body, b"10.9.9.9").is_some())
    };
    connection.receive(judge).await?
}

/// A member without data joins two that hold very many instances and serve beats meanwhile.
pub(super) async fn join(bench: &Bench, report: &mut Report) -> Result<()> {
    const FILL: Duration = Duration::from_secs(120);
    const LOAD: Duration = Duration::from_secs(60);
    const SETTLE: Duration = Duration::from_secs(10);
    const QUIET: Duration = Duration::from_secs(12);
    const PAIRS: f64 = 3.0;
    let instances = bench.arguments.instances;
    let population = Population::lasting((instances / 10).max(1), instances);
    let mut cluster = Cluster::prepare(3)?;
    for member in [0, 1] {
        cluster.start(bench, member).await?;
    }
    for member in [0, 1] {
        cluster.wait_until_ready(member).await?;
    }
    let load = |kinds| Load { kinds, population, scattered: true };
    fill(bench, cluster.running(0)?, population).await?;
    cluster.wait_for_instances(1, instances, FILL).await?;

    let beats = load(&[Kind::BeatLight]);
    let mut running = Vec::new();
    for member in [0, 1] {
        let address = cluster.running(member)?.address;
        let per_second = BEATS_PER_SECOND / 2;
        let stream = Stream { load: beats, per_second, connections: 50 };
        running.push(open::start(address, vec![stream], &Arc::default()));
    }
    tokio::time::sleep(WARM_UP).await;
    let begun = Instant::now();
    cluster.start(bench, 2).await?;
    cluster.wait_until_ready(2).await?;
    cluster.wait_for_instances(2, instances, LOAD).await?;
    let took = begun.elapsed();
    for (member, running) in running.into_iter().enumerate() {
        let server = cluster.running(member)?;
        running.measure_window(server, Duration::ZERO, Duration::ZERO).await?;
    }
    let what = format!("start to serving {instances} instances");
    report.judge(JOIN, what, (took.as_secs_f64(), "s"), 10.0);
    let joined = cluster.running(2)?;
    let peak = joined.peak_bytes()? as f64 / joined.resident_bytes()? as f64;
    report.judge(JOIN, "its peak of memory over what it holds then", (peak, "x"), 1.3);
    // Nothing changes any more: what is left is probes and comparisons.
    tokio::time::sleep(SETTLE).await;
    let before = cluster.bytes();
    tokio::time::sleep(QUIET).await;
    let each = (cluster.bytes() - before) as f64 / QUIET.as_secs_f64() / PAIRS;
    let what = format!("between two members at rest with {instances} instances");
    report.judge(JOIN, what, (each / 1024.0, "KiB/s"), 2.0);
    Ok(())
}
