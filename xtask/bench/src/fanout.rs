//! One change, very many subscribers.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::Bench;
use super::compare::count;
use super::contender::own;
use super::report::Report;
use super::request::{Kind, Load, Population};
use super::rounds::median;
use super::subscribers::{Crowd, Manner};

const SCENARIO: &str = "fan-out";
const SUBSCRIBERS: [usize; 4] = [1, 100, 1_000, 10_000];
const CHANGES: u64 = 15;
const PATIENCE: Duration = Duration::from_secs(5);
/// Longer than the debounce: each change is to be sent at once.
const PAUSE: Duration = Duration::from_millis(400);
const POPULATION: Population = Population::lasting(1, 10);

/// How long it takes until the last subscriber of a service of ten instances has been told.
pub(super) async fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    for subscribers in SUBSCRIBERS {
        let mut server = own(bench, &[]).await?;
        let address = server.server.address;
        super::compare::fill(&mut server, POPULATION, &bench.arguments).await?;
        let service = "DEFAULT_GROUP%40%40bench.service.000000";
        let crowd = Crowd::open(address, service, subscribers, Manner::Acknowledge).await?;
        let (mut until_last_ms, mut cpu_us) = (Vec::new(), Vec::new());
        for change in 0..CHANGES {
            crowd.renew(address).await?;
            tokio::time::sleep(PAUSE).await;
            let (packets, cpu) = (crowd.packets(), server.server.cpu_time()?.total);
            let one = Population { first: 100 + change, instances: 1, ..POPULATION };
            let load = Load { kinds: &[Kind::Register], population: one, scattered: false };
            let begun = Instant::now();
            let mut single = bench.arguments.clone();
            (single.connections, single.client_threads) = (1, 1);
            count(&mut server, load, 1, &single).await?;
            let last = crowd.wait_for(packets + subscribers as u64, PATIENCE).await;
            let received = crowd.packets() - packets;
            ensure!(last.is_some(), "{received} of {subscribers} packets arrived");
            until_last_ms.extend(last.map(|last| (last - begun).as_secs_f64() * 1e3));
            let spent = server.server.cpu_time()?.total - cpu;
            cpu_us.push(spent.as_secs_f64() * 1e6 / subscribers as f64);
        }
        let worst = until_last_ms.iter().copied().fold(0.0, f64::max);
        let what = |word: &str| format!("{subscribers} subscribers: {word}");
        report.figure(SCENARIO, what("last one told, median"), (median(until_last_ms), "ms"));
        report.figure(SCENARIO, what("processor time each"), (median(cpu_us), "us"));
        if subscribers == 10_000 {
            let what = what(&format!("last one told, worst of {CHANGES}"));
            report.judge(SCENARIO, what, (worst, "ms"), 250.0);
        }
    }
    Ok(())
}
