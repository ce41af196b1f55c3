//! Writes that are answered when they are on disk, and how soon they are there again.

use std::fs::File;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::Bench;
use super::asking::Counts;
use super::compare::{closed_loop, fill_with};
use super::contender::{Contender, own_on_disk};
use super::report::Report;
use super::request::{Kind, Load, Population};
use super::rounds::median;
use super::tally::Tally;
use super::wire::{Connection, is_expected, unexpected};

const DURABLE: &str = "durable";
const RESTART: &str = "restart";
/// Bytes of a record, about.
const RECORD: usize = 200;
const FLUSHES: usize = 300;
const WARM_UP: Duration = Duration::from_secs(1);
const WINDOW: Duration = Duration::from_secs(10);
const STARTS: usize = 5;
/// At 5 MiB/s.
const SAVING: Duration = Duration::from_secs(240);

/// Changes of persistent instances, each connection one after the other, beside what the disk
/// takes to make one small write lasting.
pub(super) async fn write(bench: &Bench, report: &mut Report) -> Result<()> {
    let folder = folder(bench)?;
    let (typical, slow) = flush_times(folder.path())?;
    report.figure(DURABLE, "one flush of the disk, median", (typical, "ms"));
    report.figure(DURABLE, "one flush of the disk, p99", (slow, "ms"));
    let mut own = started(bench, folder.path()).await?;
    let population = Population::lasting(500, 5_000);
    let load = Load { kinds: &[Kind::Persist], population, scattered: true };
    let tally = Arc::new(Tally::default());
    let running = closed_loop(&own, load, None, &bench.arguments).start(&tally);
    let sample = running.measure_window(&mut own.server, WARM_UP, WINDOW).await?;
    ensure!(sample.errors == 0, "{} writes failed", sample.errors);
    let rate = sample.requests_per_second();
    let connections = bench.arguments.connections;
    report.figure(DURABLE, format!("writes over {connections} connections"), (rate, "1/s"));
    report.figure(DURABLE, "processor time of a write", (sample.cpu_per_request_us(), "us"));
    report.judge(DURABLE, "time for 2,000 writes", (2_000.0 / rate, "s"), 1.0);
    let ms = |quantile| sample.latencies.value_at_quantile(quantile) as f64 / 1e6;
    report.figure(DURABLE, "a write, p50", (ms(0.5), "ms"));
    report.judge(DURABLE, "a write, p99", (ms(0.99), "ms"), 20.0);
    Ok(())
}

/// From the start of the process to its first answer: killed before, with many durable records in
/// its file; and stopped before, with many ephemeral instances that it has saved.
pub(super) async fn restart(bench: &Bench, report: &mut Report) -> Result<()> {
    const INSTANCES: u64 = 100_000;
    let folder = folder(bench)?;
    let mut own = started(bench, folder.path()).await?;
    let population = Population::lasting(INSTANCES / 10, INSTANCES);
    let sample = fill_with(&mut own, &[Kind::Persist], population, &bench.arguments).await?;
    let rate = (sample.requests_per_second(), "1/s");
    report.figure(RESTART, format!("writes of {INSTANCES}, many at a time"), rate);
    drop(own);
    let typical = (start_again(bench, folder.path(), INSTANCES).await?, "s");
    report.judge(RESTART, format!("start with {INSTANCES} persistent instances"), typical, 3.0);
    for instances in [INSTANCES, INSTANCES * 10] {
        warm_restart(bench, report, instances).await?;
    }
    Ok(())
}

async fn warm_restart(bench: &Bench, report: &mut Report, instances: u64) -> Result<()> {
    let folder = folder(bench)?;
    let mut own = own_on_disk(bench, folder.path()).await?;
    let population = Population::lasting(instances / 10, instances);
    fill_with(&mut own, &[Kind::Register], population, &bench.arguments).await?;
    wait_until_saved(own.server.address).await?;
    own.server.stop()?;
    let typical = (start_again(bench, folder.path(), instances).await?, "s");
    report.figure(RESTART, format!("warm start with {instances} ephemeral instances"), typical);
    Ok(())
}

/// A stop has little time for what is not saved by then.
async fn wait_until_saved(server: SocketAddr) -> Result<()> {
    let deadline = Instant::now() + SAVING;
    while Counts::ask(server).await?.value("naming_cache_waiting")? > 0.0 {
        ensure!(Instant::now() < deadline, "instances are not saved in {SAVING:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

/// Starts a server on this folder again and again, and kills it each time; the median, in seconds.
async fn start_again(bench: &Bench, folder: &Path, instances: u64) -> Result<f64> {
    let mut found = Vec::new();
    for _ in 0..STARTS {
        let begun = Instant::now();
        let own = own_on_disk(bench, folder).await?;
        found.push(begun.elapsed().as_secs_f64());
        let there = Counts::ask(own.server.address).await?;
        let there = there.value("naming_instances")?;
        ensure!(there == instances as f64, "{there} of {instances} instances are there again");
    }
    Ok(median(found))
}

/// Beside the program, since the folder for temporary files may be in memory.
pub(super) fn folder(bench: &Bench) -> Result<tempfile::TempDir> {
    let beside = bench.program.parent().context("the program lies in a folder")?;
    Ok(tempfile::tempdir_in(beside)?)
}

/// A server that checks nobody: the addresses of the load are nobody's.
async fn started(bench: &Bench, folder: &Path) -> Result<Contender> {
    let own = own_on_disk(bench, folder).await?;
    stop_checks(own.server.address).await?;
    Ok(own)
}

/// Has nobody checked: the addresses of the load are nobody's.
pub(super) async fn stop_checks(server: SocketAddr) -> Result<()> {
    let mut connection = Connection::open(server).await?;
    let request = b"PUT /nacos/v1/ns/operator/switches?entry=check&value=false HTTP/1.1\r\n\
                    Host: bench\r\nContent-Length: 0\r\n\r\n";
    connection.send(request).await?;
    let judge = |status, _: &[u8], body: &[u8]| {
        ensure!(is_expected(status, body, b"ok"), unexpected(status, body));
        Ok(())
    };
    connection.receive(judge).await?
}

/// Milliseconds that the disk takes for a small write that is to last: the median and the 99th
/// percentile.
fn flush_times(folder: &Path) -> Result<(f64, f64)> {
    let mut file = File::create(folder.join("flushes"))?;
    let mut found = Vec::new();
    for _ in 0..FLUSHES {
        let begun = Instant::now();
        file.write_all(&[0x2a; RECORD])?;
        file.sync_data()?;
        found.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    found.sort_by(f64::total_cmp);
    Ok((found[FLUSHES / 2], found[FLUSHES * 99 / 100]))
}
