//! Writes that are answered when two of three members have them on disk.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::Bench;
use super::closed::Closed;
use super::cluster::Cluster;
use super::durable::{folder, stop_checks};
use super::report::Report;
use super::request::{Kind, Load, Population};
use super::tally::Tally;

const SCENARIO: &str = "majority";
const MEMBERS: usize = 3;
const WARM_UP: Duration = Duration::from_secs(1);
const WINDOW: Duration = Duration::from_secs(10);

/// Changes of persistent instances at one of three members, each connection one after the other:
/// answered when the disk of that member has them, then when those of two members have.
pub(super) async fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    for acks in ["local", "majority"] {
        measure(bench, report, acks).await?;
    }
    Ok(())
}

async fn measure(bench: &Bench, report: &mut Report, acks: &str) -> Result<()> {
    let folder = folder(bench)?;
    let settings = vec![format!("durable.acks={acks}")];
    let mut cluster = Cluster::prepare_on_disk(folder.path(), settings)?;
    for member in 0..MEMBERS {
        cluster.start(bench, member).await?;
    }
    for member in 0..MEMBERS {
        cluster.wait_until_ready(member).await?;
    }
    let address = cluster.running(0)?.address;
    stop_checks(address).await?;
    let plan = Closed {
        address,
        connections: bench.arguments.connections,
        threads: bench.arguments.client_threads,
        pipeline: 1,
        load: Load {
            kinds: &[Kind::Persist],
            population: Population::lasting(500, 5_000),
            scattered: true,
        },
        // The members need the processors.
        may_sleep: true,
        count: None,
    };
    let running = plan.start(&Arc::new(Tally::default()));
    tokio::time::sleep(WARM_UP).await;
    let before = spent(&mut cluster)?;
    let sample = running.measure_window(cluster.running(0)?, Duration::ZERO, WINDOW).await?;
    let cpu = spent(&mut cluster)? - before;
    ensure!(sample.errors == 0, "{} writes failed", sample.errors);
    let rate = sample.requests_per_second();
    let figure = |what: &str| format!("acks={acks}: {what}");
    let connections = bench.arguments.connections;
    let what = figure(&format!("writes over {connections} connections"));
    report.figure(SCENARIO, what, (rate, "1/s"));
    let ms = |quantile| sample.latencies.value_at_quantile(quantile) as f64 / 1e6;
    report.figure(SCENARIO, figure("a write, p50"), (ms(0.5), "ms"));
    report.figure(SCENARIO, figure("a write, p99"), (ms(0.99), "ms"));
    let each = cpu.as_secs_f64() * 1e6 / (rate * WINDOW.as_secs_f64());
    report.figure(SCENARIO, figure("processor time of a write, all members"), (each, "us"));
    Ok(())
}

fn spent(cluster: &mut Cluster) -> Result<Duration> {
    (0..MEMBERS).map(|member| Ok(cluster.running(member)?.cpu_time()?.total)).sum()
}
