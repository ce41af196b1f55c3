//! The scenarios in which servers take turns under the same load.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;

use super::closed::Closed;
use super::contender::{Contender, line_up};
use super::open::{self, Stream};
use super::report::{Limits, Report};
use super::request::{Kind, Load, Population};
use super::rounds::Rounds;
use super::sample::{Sample, Snapshot};
use super::tally::Tally;
use super::{Arguments, Bench};

const WARM_UP: Duration = Duration::from_millis(500);
/// Requests under way at once on a connection while a server is filled.
const PIPELINE: u64 = 16;

/// Kinds of requests in a closed loop over one population.
pub(super) struct ClosedLoop {
    pub(super) name: &'static str,
    pub(super) kinds: &'static [Kind],
    pub(super) population: Population,
    pub(super) limits: Limits,
}

/// As fast as each server can, then once more at a fixed rate for the latencies.
pub(super) async fn closed(plan: &ClosedLoop, bench: &Bench, report: &mut Report) -> Result<()> {
    let arguments = &bench.arguments;
    let load = Load { kinds: plan.kinds, population: plan.population, scattered: true };
    let mut contenders = line_up(bench, plan.population, &[load]).await?;
    let mut rounds = Rounds::new(plan.name, &contenders);
    for round in 0..arguments.rounds {
        for turn in order(contenders.len(), round) {
            let contender = &mut contenders[turn];
            if contender.failure.is_none() {
                let sample = closed_window(contender, load, arguments).await;
                rounds.keep(turn, contender.judge(sample)?);
            }
        }
    }
    if arguments.latency_rate > 0 {
        for (turn, contender) in contenders.iter_mut().enumerate() {
            if contender.failure.is_none() {
                let sample = paced_window(contender, load, arguments).await;
                rounds.keep_paced(turn, contender.judge(sample)?);
            }
        }
    }
    rounds.finish(&contenders, &plan.limits, Some(arguments.latency_rate), report);
    Ok(())
}

async fn closed_window(
    contender: &mut Contender,
    load: Load,
    arguments: &Arguments,
) -> Result<Sample> {
    refill(contender, load.population, arguments).await?;
    let tally = contender.tally();
    let running = closed_loop(contender, load, None, arguments).start(&tally);
    let window = Duration::from_secs(arguments.seconds);
    running.measure_window(&mut contender.server, WARM_UP, window).await
}

async fn paced_window(
    contender: &mut Contender,
    load: Load,
    arguments: &Arguments,
) -> Result<Sample> {
    refill(contender, load.population, arguments).await?;
    let per_second = arguments.latency_rate;
    let stream = Stream { load, per_second, connections: arguments.connections };
    let running = open::start(contender.server.address, vec![stream], &contender.tally());
    let window = Duration::from_secs(arguments.seconds);
    running.measure_window(&mut contender.server, WARM_UP, window).await
}

/// Registers instances that are new and removes them again: two scenarios in one.
pub(super) async fn churn(bench: &Bench, report: &mut Report) -> Result<()> {
    let arguments = &bench.arguments;
    let load =
        |kind: &'static [Kind], population| Load { kinds: kind, population, scattered: true };
    let small = super::SMALL;
    let probes = [load(&[Kind::Register], small), load(&[Kind::Deregister], small)];
    let mut contenders = line_up(bench, small, &probes).await?;
    let mut registered = Rounds::new("register-new", &contenders);
    let mut deregistered = Rounds::new("deregister", &contenders);
    let mut first = small.instances;
    for round in 0..arguments.rounds {
        for turn in order(contenders.len(), round) {
            let contender = &mut contenders[turn];
            if contender.failure.is_some() {
                continue;
            }
            let instances = arguments.churn;
            let population = Population { first, ..Population::lasting(5_000, instances) };
            first += instances;
            for (kinds, kept) in
                [(&[Kind::Register], &mut registered), (&[Kind::Deregister], &mut deregistered)]
            {
                let sample = count(contender, load(kinds, population), 1, arguments).await;
                kept.keep(turn, contender.judge(sample)?);
                if contender.failure.is_some() {
                    break;
                }
            }
        }
    }
    let limits = Limits { over_static: Some(1.5), over_peer: Some(0.25) };
    registered.finish(&contenders, &limits, None, report);
    deregistered.finish(&contenders, &limits, None, report);
    Ok(())
}

/// Registers a whole population, each instance once.
pub(super) async fn fill(
    contender: &mut Contender,
    population: Population,
    arguments: &Arguments,
) -> Result<Sample> {
    fill_with(contender, &[Kind::Register], population, arguments).await
}

/// The same with other kinds of writes.
pub(super) async fn fill_with(
    contender: &mut Contender,
    kinds: &'static [Kind],
    population: Population,
    arguments: &Arguments,
) -> Result<Sample> {
    let load = Load { kinds, population, scattered: false };
    count(contender, load, PIPELINE, arguments).await
}

/// Registers everyone again where something may have expired meanwhile.
pub(super) async fn refill(
    contender: &mut Contender,
    population: Population,
    arguments: &Arguments,
) -> Result<()> {
    if contender.is_registry() {
        fill(contender, population, arguments).await?;
    }
    Ok(())
}

/// Asks the whole population of `load` once.
pub(super) async fn count(
    contender: &mut Contender,
    load: Load,
    pipeline: u64,
    arguments: &Arguments,
) -> Result<Sample> {
    let count = load.population.instances;
    let tally = contender.tally();
    tally.record(true);
    let start = Snapshot::take(&contender.server, &tally)?;
    let plan = Closed { pipeline, ..closed_loop(contender, load, Some(count), arguments) };
    let mut announced = 0;
    let progress = |done: u64| {
        // A tenth at a time, and only where it takes long.
        const LONG: u64 = 500_000;
        const STEP: u64 = 100_000;
        if count >= LONG && done / STEP > announced {
            announced = done / STEP;
            eprintln!("  {:?}: {done} of {count}", load.kinds);
        }
    };
    plan.start(&tally).measure_count(&mut contender.server, count, start, progress).await
}

pub(super) fn closed_loop(
    contender: &Contender,
    load: Load,
    count: Option<u64>,
    arguments: &Arguments,
) -> Closed {
    Closed {
        address: contender.server.address,
        connections: arguments.connections,
        threads: arguments.client_threads,
        pipeline: 1,
        load,
        may_sleep: arguments.sleeping_generator,
        count,
    }
}

/// Who goes first, second and so on: in turn forwards and backwards, another one first each time.
pub(super) fn order(contenders: usize, round: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..contenders).collect();
    if contenders > 0 {
        order.rotate_left(round / 2 % contenders);
    }
    if round % 2 == 1 {
        order.reverse();
    }
    order
}

/// Several streams at their fixed rates over one window.
pub(super) async fn paced(
    contender: &mut Contender,
    streams: Vec<Stream>,
    tally: &Arc<Tally>,
    warm_up: Duration,
    window: Duration,
) -> Result<Sample> {
    let running = open::start(contender.server.address, streams, tally);
    running.measure_window(&mut contender.server, warm_up, window).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_take_turns_in_going_first() {
        assert_eq!(order(2, 0), [0, 1]);
        assert_eq!(order(2, 1), [1, 0]);
        assert_eq!(order(3, 2), [1, 2, 0]);
        assert_eq!(order(3, 3), [0, 2, 1]);
    }
}
