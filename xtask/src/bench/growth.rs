//! How the cost of a request grows with what the server holds.

use std::time::Duration;

use anyhow::Result;

use super::Bench;
use super::compare::{closed_loop, fill, order};
use super::contender::{Role, line_up_with};
use super::report::Report;
use super::request::{Kind, Load, Population};
use super::rounds::median;

const SCENARIO: &str = "growth";
const SIZES: [u64; 4] = [1_000, 10_000, 100_000, 1_000_000];
/// The sizes between which the cost is to stay flat.
const FLAT: (u64, u64) = (10_000, 1_000_000);
const WARM_UP: Duration = Duration::from_millis(300);
const WINDOW: Duration = Duration::from_secs(2);

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
        for (name, kinds) in [("register", REGISTER), ("list", LIST)] {
            let mut each = [Vec::new(), Vec::new()];
            for round in 0..arguments.rounds {
                for turn in order(contenders.len(), round) {
                    let contender = &mut contenders[turn];
                    let tally = contender.tally();
                    let plan = closed_loop(contender, load(kinds, population), None, arguments);
                    let running = plan.start(&tally);
                    let sample = running.measure_window(&mut contender.server, WARM_UP, WINDOW);
                    each[turn].push(sample.await?.cpu_per_request_us());
                }
            }
            let [own, fixed] = each;
            let ratios = own.iter().zip(&fixed).map(|(own, fixed)| own / fixed).collect();
            let cost = median(ratios);
            let what = format!("{name} at {instances} instances, times static");
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
