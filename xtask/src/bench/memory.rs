//! What an instance costs in memory.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::Arguments;
use super::compare::fill;
use super::process::Server;
use super::report::Figure;
use super::request::Population;
use super::start::start_server;

const SCENARIO: &str = "memory";
const BAR_BYTES: f64 = 700.0;

/// Registers many instances in services of ten and looks at the resident memory.
pub(super) async fn run(program: &Path, arguments: &Arguments) -> Result<Vec<Figure>> {
    let instances = arguments.instances;
    let population = Population { services: (instances / 10).max(1), instances, first: 0 };
    let mut server = start_server(program).await?;
    let before = settled_bytes(&mut server).await?;
    let sample = fill(&mut server, population, arguments).await?;
    let after = settled_bytes(&mut server).await?;
    let each = after.saturating_sub(before) as f64 / instances as f64;
    let mebibytes = |bytes: u64| (bytes as f64 / f64::from(1 << 20), "MiB");
    Ok(vec![
        Figure::new(SCENARIO, "instances", (instances as f64, ""), None),
        Figure::new(SCENARIO, "resident before", mebibytes(before), None),
        Figure::new(SCENARIO, "resident after", mebibytes(after), None),
        Figure::new(SCENARIO, "per instance", (each, "bytes"), Some(BAR_BYTES)),
        Figure::new(SCENARIO, "time taken", (sample.elapsed.as_secs_f64(), "s"), None),
        Figure::new(SCENARIO, "registrations", (sample.requests_per_second(), "1/s"), None),
    ])
}

/// The resident memory once it has stopped to change, or after a few seconds.
async fn settled_bytes(server: &mut Server) -> Result<u64> {
    const PATIENCE: Duration = Duration::from_secs(5);
    const STEP: Duration = Duration::from_millis(500);
    let deadline = Instant::now() + PATIENCE;
    let mut last = server.resident_bytes()?;
    loop {
        tokio::time::sleep(STEP).await;
        server.check_alive()?;
        let now = server.resident_bytes()?;
        if now == last || Instant::now() > deadline {
            return Ok(now);
        }
        last = now;
    }
}
