//! How the cost of a request grows with what the server holds.
//!
//! What is asked about is always as many instances, spread over all that there are: asking about
//! ever more services measures the caches of the processor, which hold less and less of the lists.
//! That is measured as well, as the cost of asking about all.

use std::time::Duration;

use anyhow::Result;

use super::compare::{closed_loop, fill, order};
use super::contender::{Contender, Role, line_up_with};
use super::report::Report;
use super::request::{Kind, Load, Population};
use super::rounds::median;
use super::{Arguments, Bench};

const SCENARIO: &str = "growth";
const SIZES: [u64; 4] = [1_000, 10_000, 100_000, 1_000_000];
/// The sizes between which the cost is to stay flat.
const FLAT: (u64, u64) = (10_000, 1_000_000);
/// Instances asked about.
const SAMPLE: u64 = 10_000;
const WARM_UP: Duration = Duration::from_millis(300);
const WINDOW: Duration = Duration::from_secs(1);

const LIST: &[Kind] = &[Kind::List];
const REGISTER: &[Kind] = &[Kind::Register];

/// Lists and registrations over ever larger populations, beside a server whose work never grows.
pub(super) async fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let (arguments, load) =
        (&bench.arguments, |kinds, population| Load { kinds, population, scattered: true });
    let first = Population::lasting(1, 1);
    let probes = [load(REGISTER, first), load(LIST, first)];
    let mut contenders = line_up_with(bench, first, &probes, &[Role::Static]).await?;
    let mut costs: Vec<(u64, &str, f64)> = Vec::new();
    let mut used = 1;
    for instances in SIZES.into_iter().filter(|size| *size <= arguments.instances) {
        // Each population lies in services of its own, which makes the last one a tenth too large.
        let population =
            Population { first_service: used, ..Population::lasting(instances / 10, instances) };
        used += population.services;
        fill(&mut contenders[0], population, arguments).await?;
        let every = (instances / SAMPLE).max(1);
        let sample = Population { every, ..population };
        for (name, kinds, asked) in [
            ("register", REGISTER, sample),
            ("list", LIST, sample),
            ("register of all", REGISTER, population),
            ("list of all", LIST, population),
        ] {
            // A small population is its own sample.
            if every == 1 && name.ends_with("of all") {
                continue;
            }
            let cost = cost(&mut contenders, load(kinds, asked), arguments).await?;
            let what = format!("{name}: at {instances} instances, times static");
            report.figure(SCENARIO, what, (cost, "x"));
            costs.push((instances, name, cost));
        }
    }
    for name in ["register", "list"] {
        let at = |size| costs.iter().find(|(at, of, _)| *at == size && *of == name);
        let ratio = match (at(FLAT.0), at(FLAT.1)) {
            (Some((.., small)), Some((.., large))) => large / small,
            _ => f64::NAN,
        };
        let what = format!("{name}: cost at {} times that at {}", FLAT.1, FLAT.0);
        report.judge(SCENARIO, what, (ratio, "x"), 1.15);
    }
    Ok(())
}

/// Processor time per request over that of the static server.
async fn cost(contenders: &mut [Contender], load: Load, arguments: &Arguments) -> Result<f64> {
    let mut each = [Vec::new(), Vec::new()];
    for round in 0..arguments.rounds {
        for turn in order(contenders.len(), round) {
            let contender = &mut contenders[turn];
            let running = closed_loop(contender, load, None, arguments).start(&contender.tally());
            let sample = running.measure_window(&mut contender.server, WARM_UP, WINDOW);
            each[turn].push(sample.await?.cpu_per_request_us());
        }
    }
    let [own, fixed] = each;
    Ok(median(own.iter().zip(&fixed).map(|(own, fixed)| own / fixed).collect()))
}
