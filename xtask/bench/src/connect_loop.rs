//! The yardstick of health checks: connects to addresses in turn and closes, at a fixed rate.

use std::io::BufRead;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio::time::{Instant, MissedTickBehavior, interval};

/// Connections of so much time begin together, as the checks of the server do.
const TICK: Duration = Duration::from_millis(10);

/// What to do, as a line of JSON on standard input.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Plan {
    pub(super) targets: Vec<SocketAddr>,
    pub(super) per_second: f64,
}

/// Reads a plan, says that it begins by printing the first address, and goes on until it is ended.
///
/// # Errors
///
/// If standard input holds no plan.
#[allow(clippy::print_stdout)]
pub fn run() -> Result<()> {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    let plan: Plan = serde_json::from_str(&line).context("reading the plan")?;
    println!("{}", plan.targets.first().context("a plan has targets")?);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    // Of its own: the main thread is no worker.
    runtime.block_on(async { tokio::spawn(connect(plan)).await })?;
    Ok(())
}

async fn connect(plan: Plan) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut targets = plan.targets.into_iter().cycle();
    let (start, mut begun) = (Instant::now(), 0);
    loop {
        ticks.tick().await;
        let wanted = (start.elapsed().as_secs_f64() * plan.per_second) as u64;
        for target in targets.by_ref().take((wanted - begun) as usize) {
            tokio::spawn(async move { drop(TcpStream::connect(target).await) });
        }
        begun = wanted;
    }
}
