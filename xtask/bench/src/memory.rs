//! What instances, their rendered lists and what is left of them cost in memory.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::Bench;
use super::asking::Counts;
use super::compare::{count, fill};
use super::contender::{Contender, own};
use super::report::Report;
use super::request::{Kind, Load, Population};

const SCENARIO: &str = "memory";
const MIB: f64 = (1 << 20) as f64;
/// `registry.rendered_bytes` as it is by default, and documented.
const RENDERED_MIB: f64 = 256.0;
/// Beats late by less than this must be held back, so nothing is forgotten sooner.
const SHORT_RETENTION: &[&str] = &[
    "health.compensation_window_ms=1000",
    "store.tombstone_retention_ms=10000",
    "empty_service.initial_delay_ms=0",
    "empty_service.period_ms=1000",
];
const PIPELINE: u64 = 16;

/// Registers many instances in services of ten, lists each service, removes everything.
pub(super) async fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let arguments = &bench.arguments;
    let instances = arguments.instances;
    let services = (instances / 10).max(1);
    let population = Population::lasting(services, instances);
    let mut server = own(bench, SHORT_RETENTION).await?;
    let idle = settled_bytes(&mut server).await?;
    report.judge(SCENARIO, "resident when idle", (idle / MIB, "MiB"), 15.0);

    let sample = fill(&mut server, population, arguments).await?;
    let rate = (sample.requests_per_second(), "1/s");
    report.figure(SCENARIO, format!("registrations of {instances}"), rate);
    let filled = settled_bytes(&mut server).await?;
    let each = (filled - idle) / instances as f64;
    report.judge(SCENARIO, format!("each of {instances} instances"), (each, "bytes"), 450.0);

    let lists = Population { instances: services, ..population };
    let load = Load { kinds: &[Kind::List], population: lists, scattered: false };
    count(&mut server, load, PIPELINE, arguments).await?;
    // At once: lists that nobody asks for again are let go soon.
    let listed = server.server.resident_bytes()? as f64;
    let limit = (idle + 450.0 * instances as f64) / MIB + RENDERED_MIB;
    report.judge(SCENARIO, "after each service was listed", (listed / MIB, "MiB"), limit.round());

    let load = Load { kinds: &[Kind::Deregister], population, scattered: false };
    count(&mut server, load, PIPELINE, arguments).await?;
    wait_until(&mut server, |counts| {
        Ok(counts.value("naming_tombstones")? + counts.value("naming_services")? == 0.0)
    })
    .await?;
    let after = settled_bytes(&mut server).await?;
    report.judge(SCENARIO, "after removal and clean-up, times idle", (after / idle, "x"), 1.1);
    tombstones(bench, report).await
}

/// Registers and removes in small steps, so that nothing but tombstones ever gets many.
async fn tombstones(bench: &Bench, report: &mut Report) -> Result<()> {
    const STEP: u64 = 5_000;
    const SERVICES: u64 = 500;
    let arguments = &bench.arguments;
    let removed = (arguments.instances / 4).max(STEP);
    let retention = "store.tombstone_retention_ms=600000";
    let mut server = own(bench, &[retention, "empty_service.auto_clean=false"]).await?;
    // The first step brings the services and whatever else does not grow with the number.
    let mut idle = 0.0;
    for step in 0..=removed / STEP {
        let population = Population { first: step * STEP, ..Population::lasting(SERVICES, STEP) };
        fill(&mut server, population, arguments).await?;
        let load = Load { kinds: &[Kind::Deregister], population, scattered: false };
        count(&mut server, load, PIPELINE, arguments).await?;
        if step == 0 {
            idle = settled_bytes(&mut server).await?;
        }
    }
    let kept = Counts::ask(server.server.address).await?.value("naming_tombstones")?;
    let filled = settled_bytes(&mut server).await?;
    let each = (filled - idle) / (kept - STEP as f64).max(1.0);
    report.judge(SCENARIO, format!("each of {kept} tombstones"), (each, "bytes"), 100.0);
    Ok(())
}

async fn wait_until(
    contender: &mut Contender,
    reached: impl Fn(&Counts) -> Result<bool>,
) -> Result<()> {
    const PATIENCE: Duration = Duration::from_secs(120);
    let deadline = Instant::now() + PATIENCE;
    while !reached(&Counts::ask(contender.server.address).await?)? {
        contender.server.check_alive()?;
        anyhow::ensure!(Instant::now() < deadline, "not cleaned up in {} s", PATIENCE.as_secs());
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    Ok(())
}

/// The resident memory once it has stopped to change. The allocator gives freed pages back over
/// two seconds and now and then a little later, so a moment without a change says nothing.
async fn settled_bytes(contender: &mut Contender) -> Result<f64> {
    const PATIENCE: Duration = Duration::from_secs(20);
    const UNCHANGED: Duration = Duration::from_secs(3);
    const STEP: Duration = Duration::from_millis(500);
    /// Less than this is no change.
    const NOISE: u64 = 64 << 10;
    let server = &mut contender.server;
    let start = Instant::now();
    let (mut settled, mut since) = (server.resident_bytes()?, start);
    while since.elapsed() < UNCHANGED && start.elapsed() < PATIENCE {
        tokio::time::sleep(STEP).await;
        server.check_alive()?;
        let now = server.resident_bytes()?;
        if now.abs_diff(settled) > NOISE {
            (settled, since) = (now, Instant::now());
        }
    }
    Ok(settled as f64)
}
