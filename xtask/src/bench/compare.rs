//! The scenarios that are measured against the static server.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;

use super::Arguments;
use super::closed::Closed;
use super::open::{self, Stream};
use super::process::Server;
use super::report::{Comparison, Pairs};
use super::request::{Kind, Load, Population};
use super::sample::{Sample, Snapshot};
use super::start::{start_server, start_static};
use super::tally::Tally;

/// The population of the closed loops: 500 services of 10 instances.
const SMALL: Population = Population { services: 500, instances: 5_000, first: 0 };
const WARM_UP: Duration = Duration::from_millis(500);
/// Long enough to open a thousand connections and for the first beats to be over.
const WARM_UP_OPEN: Duration = Duration::from_secs(2);
/// Requests under way at once on a connection while a server is filled.
const PIPELINE: u64 = 16;

/// Runs `kind` over a small population as fast as both servers can.
pub(super) async fn closed(
    scenario: &'static str,
    kind: Kind,
    bar: Option<f64>,
    program: &Path,
    arguments: &Arguments,
) -> Result<Comparison> {
    let mut server = start_server(program).await?;
    fill(&mut server, SMALL, arguments).await?;
    let load = Load { kind, population: SMALL, scattered: true };
    let mut fixed = start_static(&server, &[load]).await?;
    let mut pairs = Pairs::default();
    for on_server in order(arguments.rounds) {
        let target = if on_server { &mut server } else { &mut fixed };
        let tally = Arc::new(Tally::default());
        let running = closed_loop(target, load, None, arguments).start(&tally);
        let window = Duration::from_secs(arguments.seconds);
        let sample = running.measure_window(target, WARM_UP, window).await?;
        keep(scenario, &mut pairs, on_server, sample);
    }
    Ok(pairs.compare(scenario, bar))
}

/// Registers instances that are new and removes them again: two scenarios in one.
pub(super) async fn churn(program: &Path, arguments: &Arguments) -> Result<Vec<Comparison>> {
    const BAR: Option<f64> = Some(1.6);
    let mut server = start_server(program).await?;
    fill(&mut server, SMALL, arguments).await?;
    let load = |kind, population| Load { kind, population, scattered: true };
    let probes = [load(Kind::Register, SMALL), load(Kind::Deregister, SMALL)];
    let mut fixed = start_static(&server, &probes).await?;
    let (mut registered, mut deregistered) = (Pairs::default(), Pairs::default());
    let mut first = SMALL.instances;
    for on_server in order(arguments.rounds) {
        let target = if on_server { &mut server } else { &mut fixed };
        let population = Population { services: 5_000, instances: arguments.churn, first };
        first += arguments.churn;
        let sample = count(target, load(Kind::Register, population), 1, arguments).await?;
        keep("register-new", &mut registered, on_server, sample);
        let sample = count(target, load(Kind::Deregister, population), 1, arguments).await?;
        keep("deregister", &mut deregistered, on_server, sample);
    }
    Ok(vec![registered.compare("register-new", BAR), deregistered.compare("deregister", None)])
}

/// Beats at a fixed rate, with some lists asked for meanwhile.
pub(super) async fn beats_open(program: &Path, arguments: &Arguments) -> Result<Comparison> {
    const SCENARIO: &str = "beats-open";
    const BAR: Option<f64> = Some(1.4);
    let instances = arguments.beating_instances;
    let population = Population { services: (instances / 10).max(1), instances, first: 0 };
    let mut server = start_server(program).await?;
    fill(&mut server, population, arguments).await?;
    let load = |kind| Load { kind, population, scattered: false };
    let loads = [load(Kind::BeatLight), load(Kind::List)];
    let mut fixed = start_static(&server, &loads).await?;
    let [beats, lists] = loads;
    let streams = vec![
        Stream { load: beats, per_second: arguments.rate, connections: arguments.open_connections },
        Stream { load: lists, per_second: arguments.list_rate, connections: 50 },
    ];
    let mut pairs = Pairs::default();
    for on_server in order(arguments.open_rounds) {
        let target = if on_server { &mut server } else { &mut fixed };
        let tally = Arc::new(Tally::default());
        let running = open::start(target.address, streams.clone(), &tally);
        let window = Duration::from_secs(arguments.open_seconds);
        let sample = running.measure_window(target, WARM_UP_OPEN, window).await?;
        keep(SCENARIO, &mut pairs, on_server, sample);
    }
    Ok(pairs.compare(SCENARIO, BAR))
}

/// Registers a whole population, each instance once.
pub(super) async fn fill(
    server: &mut Server,
    population: Population,
    arguments: &Arguments,
) -> Result<Sample> {
    let load = Load { kind: Kind::Register, population, scattered: false };
    count(server, load, PIPELINE, arguments).await
}

/// Asks the whole population of `load` once.
async fn count(
    server: &mut Server,
    load: Load,
    pipeline: u64,
    arguments: &Arguments,
) -> Result<Sample> {
    let count = load.population.instances;
    let tally = Arc::new(Tally::default());
    tally.record(true);
    let start = Snapshot::take(server, &tally)?;
    let plan = Closed { pipeline, ..closed_loop(server, load, Some(count), arguments) };
    let mut announced = 0;
    let progress = |done: u64| {
        // A tenth at a time, and only where it takes long.
        const LONG: u64 = 500_000;
        const STEP: u64 = 100_000;
        if count >= LONG && done / STEP > announced {
            announced = done / STEP;
            println!("  {:?}: {done} of {count}", load.kind);
        }
    };
    plan.start(&tally).measure_count(server, count, start, progress).await
}

fn closed_loop(server: &Server, load: Load, count: Option<u64>, arguments: &Arguments) -> Closed {
    Closed {
        address: server.address,
        connections: arguments.connections,
        threads: arguments.client_threads,
        pipeline: 1,
        load,
        may_sleep: arguments.sleeping_generator,
        count,
    }
}

/// Which server has its turn: A B, B A, A B, so that neither always goes first.
fn order(rounds: usize) -> impl Iterator<Item = bool> {
    (0..rounds).flat_map(|round| if round % 2 == 0 { [true, false] } else { [false, true] })
}

fn keep(scenario: &str, pairs: &mut Pairs, on_server: bool, sample: Sample) {
    let side = if on_server { "server" } else { "static" };
    println!(
        "  {scenario} {side}: {:.0} requests/s, {:.2} us of processor each",
        sample.requests_per_second(),
        sample.cpu_per_request_us()
    );
    if on_server { pairs.server.push(sample) } else { pairs.fixed.push(sample) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_take_turns_in_going_first() {
        let turns: Vec<bool> = order(3).collect();
        assert_eq!(turns, [true, false, false, true, true, false]);
    }
}
