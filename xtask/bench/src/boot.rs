//! From the start of the process to the first answer.

use std::time::Instant;

use anyhow::Result;

use super::Bench;
use super::report::Report;
use super::rounds::median;
use super::start::start_server;

const SCENARIO: &str = "start";
const STARTS: usize = 15;

/// Starts the server some times and looks at the size of its program.
pub(super) async fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let mut found = Vec::new();
    for _ in 0..STARTS {
        let begun = Instant::now();
        start_server(&bench.program, &[]).await?;
        found.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    let worst = found.iter().copied().fold(0.0, f64::max);
    report.figure(SCENARIO, "start to first answer, worst", (worst, "ms"));
    let typical = (median(found), "ms");
    report.judge(SCENARIO, format!("start to first answer, median of {STARTS}"), typical, 150.0);
    let size = std::fs::metadata(&bench.program)?.len() as f64 / f64::from(1 << 20);
    report.judge(SCENARIO, "size of the program", (size, "MiB"), 15.0);
    Ok(())
}
