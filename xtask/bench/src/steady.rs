//! Many clients that beat at their fixed rate, as in the life of a registry.

use std::time::Duration;

use anyhow::Result;

use super::Bench;
use super::asking::Counts;
use super::compare::{order, paced, refill};
use super::contender::{Role, line_up_with};
use super::open::Stream;
use super::report::{Limits, Report};
use super::request::{Kind, Load, Population, Terms};
use super::rounds::Rounds;

const SCENARIO: &str = "beats-open";
/// Long enough to open a thousand connections and for the first beats to be over.
const WARM_UP: Duration = Duration::from_secs(2);
const LIST_CONNECTIONS: usize = 50;

/// Light beats at a fixed rate while lists are asked for, with the usual time-outs: whoever is
/// not heard in time turns unhealthy, which must not happen. The latencies are those of the lists.
pub(super) async fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let arguments = &bench.arguments;
    let instances = arguments.beating_instances;
    let services = (instances / 10).max(1);
    let population =
        Population { terms: Terms::Defaults, ..Population::lasting(services, instances) };
    let load = |kinds: &'static [Kind]| Load { kinds, population, scattered: false };
    let (beats, lists) = (load(&[Kind::BeatLight]), load(&[Kind::List]));
    let mut contenders = line_up_with(bench, population, &[beats, lists], &[Role::Static]).await?;
    let mut rounds = Rounds::new(SCENARIO, &contenders);
    let mut flips = 0.0;
    let mut list_p99_ms = Vec::new();
    for round in 0..arguments.open_rounds {
        for turn in order(contenders.len(), round) {
            let contender = &mut contenders[turn];
            refill(contender, population, arguments).await?;
            let before = flips_of(contender.server.address, contender.role).await?;
            let streams = vec![
                Stream {
                    load: lists,
                    per_second: arguments.list_rate,
                    connections: LIST_CONNECTIONS,
                },
                Stream {
                    load: beats,
                    per_second: arguments.rate,
                    connections: arguments.open_connections,
                },
            ];
            let window = Duration::from_secs(arguments.open_seconds);
            let tally = contender.tally();
            let sample = paced(contender, streams, &tally, WARM_UP, window).await?;
            flips += flips_of(contender.server.address, contender.role).await? - before;
            if contender.role == Role::Own {
                list_p99_ms.push(sample.latencies.value_at_quantile(0.99) as f64 / 1e6);
            }
            rounds.keep(turn, Some(sample));
        }
    }
    let limits = Limits { over_static: Some(1.3), over_peer: None };
    rounds.finish(&contenders, &limits, Some(arguments.list_rate + arguments.rate), report);
    let seconds = arguments.open_seconds * arguments.open_rounds as u64;
    let what = format!("health flips in {seconds} s of {} beats/s", arguments.rate);
    report.judge(SCENARIO, what, (flips, ""), 0.0);
    let p99 = super::rounds::median(list_p99_ms);
    report.judge(SCENARIO, "p99 of lists asked meanwhile", (p99, "ms"), 5.0);
    Ok(())
}

/// How many instances turned unhealthy or went for silence so far.
async fn flips_of(address: std::net::SocketAddr, role: Role) -> Result<f64> {
    if role != Role::Own {
        return Ok(0.0);
    }
    let counts = Counts::ask(address).await?;
    let of = |kind: &str| counts.value(&format!("naming_events_total{{event=\"{kind}\"}}"));
    Ok(of("unhealthy")? + of("expired")?)
}
