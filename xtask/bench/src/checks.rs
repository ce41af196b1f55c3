//! What health checks cost, beside a loop that does nothing but connect and close.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::net::TcpListener;

use super::Bench;
use super::asking::Counts;
use super::connect_loop::Plan;
use super::contender::own;
use super::process::Server;
use super::report::Report;
use super::rounds::median;
use super::wire::{Connection, is_expected, unexpected};

const SCENARIO: &str = "checks";
const INSTANCES: usize = 10_000;
const PER_SERVICE: usize = 10;
/// Addresses to connect to: a connection that was closed keeps its local port for a minute, so
/// that one address would run out of them.
const DOORS: usize = 200;
/// The default pace for who answers at once: one second.
const FULL_RATE: f64 = INSTANCES as f64;
/// Until the pace has come down from that of the beginning.
const SETTLE: Duration = Duration::from_secs(60);
const WARM_UP: Duration = Duration::from_secs(1);
const WINDOW: Duration = Duration::from_secs(5);
const ROUNDS: usize = 5;

/// The processor time of 10,000 TCP checks at the default pace, over that of the same connections
/// made by a bare loop. They take turns; meanwhile the switch holds the checks back.
pub(super) async fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let taken = Arc::new(AtomicU64::new(0));
    let doors = open_doors(&taken).await?;
    let server = own(bench, &[]).await?.server;
    register(server.address, &doors).await?;
    let start = Instant::now();
    while rate(&taken, WARM_UP).await < FULL_RATE * 0.97 {
        ensure!(start.elapsed() < SETTLE, "the checks do not get to {FULL_RATE} per second");
    }
    let (mut ratios, mut costs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        switch(server.address, true).await?;
        let (per_second, checks_us) = measure(&server, &taken).await?;
        switch(server.address, false).await?;
        let plan = Plan { targets: doors.clone(), per_second };
        let yardstick = start_loop(&plan).await?;
        let (_, loop_us) = measure(&yardstick, &taken).await?;
        eprintln!("  {per_second:.0}/s: {checks_us:.1} us a check, {loop_us:.1} us in the loop");
        ratios.push(checks_us / loop_us);
        costs.push(checks_us);
    }
    let unhealthy = Counts::ask(server.address).await?;
    let unhealthy = unhealthy.value("naming_events_total{event=\"unhealthy\"}")?;
    report.figure(SCENARIO, "processor time of a check", (median(costs), "us"));
    report.judge(SCENARIO, "instances found unhealthy", (unhealthy, ""), 0.0);
    report.judge(SCENARIO, "times a bare loop", (median(ratios), "x"), 1.3);
    Ok(())
}

/// Takes connections and drops them, counting.
async fn open_doors(taken: &Arc<AtomicU64>) -> Result<Vec<SocketAddr>> {
    let mut doors = Vec::new();
    for _ in 0..DOORS {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        doors.push(listener.local_addr()?);
        let taken = Arc::clone(taken);
        tokio::spawn(async move {
            while listener.accept().await.is_ok() {
                taken.fetch_add(1, Relaxed);
            }
        });
    }
    Ok(doors)
}

async fn register(server: SocketAddr, doors: &[SocketAddr]) -> Result<()> {
    let mut connection = Connection::open(server).await?;
    for number in 0..INSTANCES {
        let (service, port) = (number / PER_SERVICE, doors[number % DOORS].port());
        let target = format!(
            "POST /nacos/v1/ns/instance?serviceName=checked.{service}&ip=127.0.0.1&port={port}\
             &ephemeral=false"
        );
        ask(&mut connection, &target).await?;
    }
    Ok(())
}

async fn switch(server: SocketAddr, is_on: bool) -> Result<()> {
    let target = format!("PUT /nacos/v1/ns/operator/switches?entry=check&value={is_on}");
    ask(&mut Connection::open(server).await?, &target).await
}

async fn ask(connection: &mut Connection, target: &str) -> Result<()> {
    let request = format!("{target} HTTP/1.1\r\nHost: bench\r\nContent-Length: 0\r\n\r\n");
    connection.send(request.as_bytes()).await?;
    let judge = |status, _: &[u8], body: &[u8]| {
        ensure!(is_expected(status, body, b"ok"), unexpected(status, body));
        Ok(())
    };
    connection.receive(judge).await?
}

async fn start_loop(plan: &Plan) -> Result<Server> {
    let own = std::env::current_exe().context("asking where this program lies")?;
    let line = serde_json::to_string(plan)? + "\n";
    Server::start(Command::new(own).arg("connect-loop"), &line, |line| line.parse().ok()).await
}

/// Connections per second, and what each cost the process.
async fn measure(process: &Server, taken: &AtomicU64) -> Result<(f64, f64)> {
    tokio::time::sleep(WARM_UP).await;
    let (before, cpu, start) = (taken.load(Relaxed), process.cpu_time()?, Instant::now());
    tokio::time::sleep(WINDOW).await;
    let (count, elapsed) = (taken.load(Relaxed) - before, start.elapsed());
    let spent = process.cpu_time()?.total - cpu.total;
    ensure!(count > 0, "nobody connects");
    Ok((count as f64 / elapsed.as_secs_f64(), spent.as_secs_f64() * 1e6 / count as f64))
}

async fn rate(taken: &AtomicU64, time: Duration) -> f64 {
    let (before, start) = (taken.load(Relaxed), Instant::now());
    tokio::time::sleep(time).await;
    (taken.load(Relaxed) - before) as f64 / start.elapsed().as_secs_f64()
}
