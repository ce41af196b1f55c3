//! What a write and a beat cost as members are added: all members together, and their rest.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::Bench;
use super::cluster::Cluster;
use super::members::fill;
use super::open::{self, Stream};
use super::report::Report;
use super::request::{Kind, Load, Population};

const SCENARIO: &str = "member-growth";
const MEMBERS: [usize; 4] = [1, 2, 3, 5];
/// Few enough that five members on two cores keep up.
const WRITES_PER_SECOND: u64 = 2_000;
const BEATS_PER_SECOND: u64 = 10_000;
const LISTS_PER_SECOND: u64 = 5_000;
const CONNECTIONS: usize = 20;
const KNOWN: Population = Population::lasting(1_000, 10_000);
/// As many as a run can register, one after the other; each member gets others.
const NEW: Population = Population { first: 1 << 20, ..Population::lasting(2_000, 1 << 18) };
const WARM_UP: Duration = Duration::from_secs(2);
const WINDOW: Duration = Duration::from_secs(6);
const FILL: Duration = Duration::from_secs(60);

/// The same load on clusters of one to five members, spread evenly over them.
pub(super) async fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    for members in MEMBERS {
        let mut cluster = Cluster::prepare(members)?;
        for member in 0..members {
            cluster.start(bench, member).await?;
        }
        for member in 0..members {
            cluster.wait_until_ready(member).await?;
        }
        fill(bench, cluster.running(0)?, KNOWN).await?;
        for member in 0..members {
            cluster.wait_for_instances(member, KNOWN.instances, FILL).await?;
        }
        let rest = rest(&mut cluster).await?;
        let what = format!("{members} members at rest, all together");
        report.figure(SCENARIO, what, (rest * 1e3, "ms/s"));
        for (name, kind, per_second) in [
            ("light beat", Kind::BeatLight, BEATS_PER_SECOND),
            ("list", Kind::List, LISTS_PER_SECOND),
            ("new instance", Kind::Register, WRITES_PER_SECOND),
        ] {
            let each = cost(&mut cluster, kind, per_second, rest).await?;
            let what = format!("{members} members: {name} at any of them");
            report.figure(SCENARIO, what, (each * 1e6, "us"));
        }
    }
    Ok(())
}

/// Cores that all members use together without load.
async fn rest(cluster: &mut Cluster) -> Result<f64> {
    tokio::time::sleep(WARM_UP).await;
    let (before, begun) = (cluster.cpu_time()?, Instant::now());
    tokio::time::sleep(WINDOW).await;
    let spent = cluster.cpu_time()? - before;
    Ok(spent.as_secs_f64() / begun.elapsed().as_secs_f64())
}

/// Seconds of processor time that a request costs all members together, without their `rest`.
async fn cost(cluster: &mut Cluster, kind: Kind, per_second: u64, rest: f64) -> Result<f64> {
    let kinds: &'static [Kind] = match kind {
        Kind::BeatLight => &[Kind::BeatLight],
        Kind::List => &[Kind::List],
        _ => &[Kind::Register],
    };
    let members = cluster.members.len() as u64;
    let mut running = Vec::new();
    for member in 0..members {
        let population = match kind {
            Kind::Register => Population { first: NEW.first + member * NEW.instances, ..NEW },
            _ => KNOWN,
        };
        let load = Load { kinds, population, scattered: kind != Kind::Register };
        let stream = Stream { load, per_second: per_second / members, connections: CONNECTIONS };
        let tally = Arc::default();
        let address = cluster.running(member as usize)?.address;
        running.push((open::start(address, vec![stream], &tally), tally));
    }
    tokio::time::sleep(WARM_UP).await;
    let done = |running: &[(_, Arc<super::tally::Tally>)]| -> u64 {
        running.iter().map(|(_, tally)| tally.done()).sum()
    };
    let before = (cluster.cpu_time()?, done(&running), Instant::now());
    tokio::time::sleep(WINDOW).await;
    let spent = (cluster.cpu_time()? - before.0).as_secs_f64();
    let (answered, elapsed) = (done(&running) - before.1, before.2.elapsed().as_secs_f64());
    for (member, (running, _)) in running.into_iter().enumerate() {
        let server = cluster.running(member)?;
        let sample = running.measure_window(server, Duration::ZERO, Duration::ZERO).await?;
        ensure!(sample.unanswered == 0, "{} requests were not answered", sample.unanswered);
    }
    Ok((spent - rest * elapsed) / answered as f64)
}
