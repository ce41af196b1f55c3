//! Other requests while very many instances expire at the same moment.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::Bench;
use super::asking::Counts;
use super::compare::{fill, paced};
use super::contender::{Contender, own};
use super::open::Stream;
use super::report::Report;
use super::request::{Load, Population, Terms};
use super::sample::Sample;

const SCENARIO: &str = "mass-expiry";
const WARM_UP: Duration = Duration::from_millis(500);
/// Without and then with the expiry.
const WINDOW: Duration = Duration::from_secs(10);
/// From the beginning of the second window to the moment of the expiry.
const LEAD: Duration = Duration::from_secs(2);
const PER_SECOND: u64 = 4_000;

/// The p99.9 of a mixed load at a fixed rate, without and with the expiry.
pub(super) async fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let arguments = &bench.arguments;
    let small = super::SMALL;
    let mut server = own(bench, &[]).await?;
    fill(&mut server, small, arguments).await?;
    let end = fill_until(&mut server, bench).await?;

    let quiet = mixed(&mut server, small).await?;
    let begin = end - LEAD;
    ensure!(Instant::now() + WARM_UP < begin, "the machine is too busy: it is late already");
    tokio::time::sleep_until((begin - WARM_UP).into()).await;
    let before = expired(&server).await?;
    let busy = mixed(&mut server, small).await?;
    let gone = expired(&server).await? - before;
    report.figure(SCENARIO, "instances expired in the window", (gone, ""));
    ensure!(gone >= arguments.instances as f64 * 0.99, "only {gone} expired in the window");
    let p999 = |sample: &Sample| sample.latencies.value_at_quantile(0.999) as f64 / 1e6;
    report.figure(SCENARIO, "p99.9 without expiry", (p999(&quiet), "ms"));
    report.figure(SCENARIO, "p99.9 with expiry", (p999(&busy), "ms"));
    let longest = busy.latencies.max() as f64 / 1e6;
    report.figure(SCENARIO, "longest with expiry", (longest, "ms"));
    let above = (p999(&busy) - p999(&quiet), "ms");
    report.judge(SCENARIO, "p99.9 above that without expiry", above, 20.0);
    Ok(())
}

/// Registers many instances that all expire at the returned moment: late enough for the rest of
/// them and a window to come before it.
async fn fill_until(server: &mut Contender, bench: &Bench) -> Result<Instant> {
    let arguments = &bench.arguments;
    let instances = arguments.instances;
    let services = (instances / 10).max(1);
    // Services of their own, beside those that are asked about.
    let all = Population {
        first: super::SMALL.instances,
        first_service: super::SMALL.services,
        ..Population::lasting(services, instances)
    };
    let trial = Population { instances: (instances / 20).max(1), ..all };
    let pace = fill(server, trial, arguments).await?.elapsed;
    let end = Instant::now() + pace * 20 * 5 / 4 + WINDOW + WARM_UP * 2 + LEAD * 2;
    fill(server, Population { terms: Terms::Until(end), ..all }, arguments).await?;
    Ok(end)
}

async fn mixed(server: &mut Contender, population: Population) -> Result<Sample> {
    let load = Load { kinds: super::MIXED, population, scattered: true };
    let stream = Stream { load, per_second: PER_SECOND, connections: 64 };
    let tally = server.tally();
    paced(server, vec![stream], &tally, WARM_UP, WINDOW).await
}

async fn expired(server: &Contender) -> Result<f64> {
    let counts = Counts::ask(server.server.address).await?;
    counts.value("naming_events_total{event=\"expired\"}")
}
