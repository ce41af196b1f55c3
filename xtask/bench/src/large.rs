//! Services with very many instances that change all the time.

use std::time::Duration;

use anyhow::Result;

use super::Bench;
use super::asking::Counts;
use super::compare::{fill, paced};
use super::contender::own;
use super::open::Stream;
use super::report::Report;
use super::request::{Kind, Load, Population};
use super::sample::Sample;
use super::subscribers::{Crowd, Manner};

const SCENARIO: &str = "large-service";
const CHANGES_PER_SECOND: u64 = 200;
const READERS: usize = 100;
/// Readers that are not told of changes are sent away for 3 s.
const POLL_S: u64 = 3;
const WARM_UP: Duration = Duration::from_secs(1);
const WINDOW: Duration = Duration::from_secs(9);
const RENDERED: &str = "naming_lists_rendered_total";
const SERVICE: &str = "DEFAULT_GROUP%40%40bench.service.000000";

/// 10,000 instances with readers that poll, then 2,000 with subscribers.
pub(super) async fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    polled(bench, report).await?;
    subscribed(bench, report).await
}

async fn polled(bench: &Bench, report: &mut Report) -> Result<()> {
    let population = Population::lasting(1, 10_000);
    let mut server = own(bench, &[]).await?;
    let address = server.server.address;
    fill(&mut server, population, &bench.arguments).await?;
    let load = |kinds| Load { kinds, population, scattered: true };
    let streams = vec![
        Stream {
            load: load(&[Kind::List]),
            per_second: READERS as u64 / POLL_S,
            connections: READERS,
        },
        Stream { load: load(&[Kind::Change]), per_second: CHANGES_PER_SECOND, connections: 8 },
    ];
    let tally = server.tally();
    let before = Counts::ask(address).await?.value(RENDERED)?;
    let sample = paced(&mut server, streams, &tally, WARM_UP, WINDOW).await?;
    let rendered = Counts::ask(address).await?.value(RENDERED)? - before;
    // A reader sees all that was answered before it asked, so nothing but reads and changes bounds
    // this: of neither may there be fewer than of lists rendered.
    let reads = READERS as u64 / POLL_S;
    let least = reads.min(CHANGES_PER_SECOND) as f64;
    let each = rendered / (WARM_UP + WINDOW).as_secs_f64() / least;
    let what = "10,000 instances: lists rendered for each read or change, whichever are fewer";
    report.judge(SCENARIO, what, (each, ""), 1.05);
    let p99 = sample.latencies.value_at_quantile(0.99) as f64 / 1e6;
    report.figure(SCENARIO, "10,000 instances: p99 of their lists", (p99, "ms"));
    let what = "10,000 instances, 200 changes/s, 100 readers";
    report.judge(SCENARIO, what, (cores(&sample), "cores"), 1.0);
    Ok(())
}

async fn subscribed(bench: &Bench, report: &mut Report) -> Result<()> {
    let population = Population::lasting(1, 2_000);
    let mut server = own(bench, &[]).await?;
    let address = server.server.address;
    fill(&mut server, population, &bench.arguments).await?;
    let crowd = Crowd::open(address, SERVICE, READERS, Manner::Acknowledge).await?;
    let load = Load { kinds: &[Kind::Change], population, scattered: true };
    let streams = vec![Stream { load, per_second: CHANGES_PER_SECOND, connections: 8 }];
    let before = Counts::ask(address).await?;
    let tally = server.tally();
    // A subscription outlasts the window.
    let sample = paced(&mut server, streams, &tally, WARM_UP, WINDOW).await?;
    let after = Counts::ask(address).await?;
    let grown = |name: &str| Ok::<_, anyhow::Error>(after.value(name)? - before.value(name)?);
    let seconds = (WARM_UP + WINDOW).as_secs_f64();
    let rendered = (grown(RENDERED)? / seconds, "1/s");
    report.judge(SCENARIO, "2,000 instances: lists rendered for notices", rendered, 10.5);
    let rounds = grown("naming_pushes_sent_total")? / READERS as f64 / seconds;
    report.figure(SCENARIO, "2,000 instances: packets received", (crowd.packets() as f64, ""));
    let what = "2,000 instances: notices per subscriber and second";
    // The debounce of 100 ms allows ten, and one more at the beginning.
    report.judge(SCENARIO, what, (rounds, "1/s"), 10.5);
    let too_large = (grown("naming_pushes_too_large_total")?, "");
    report.judge(SCENARIO, "2,000 instances: notices too large", too_large, 0.0);
    let what = "2,000 instances, 200 changes/s, 100 subscribers";
    report.judge(SCENARIO, what, (cores(&sample), "cores"), 1.0);
    Ok(())
}

fn cores(sample: &Sample) -> f64 {
    sample.cpu.as_secs_f64() / sample.elapsed.as_secs_f64()
}
