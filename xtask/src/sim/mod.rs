//! `cargo xtask sim`: seeded lives of a simulated cluster, many of them, or one with its story.
//!
//! Each seed runs in a process of its own, as many at a time as there are cores: whatever a run
//! does (it fails, hangs, or takes all memory) says something about its seed alone.

mod executable;
mod sweep;

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

use self::sweep::Sweep;

/// The test that runs the seed named by the environment.
const TEST: &str = "random::random_runs_keep_every_promise";

/// What `cargo xtask sim` takes.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Seeds to run.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,

    /// The first of them.
    #[arg(long, default_value_t = 0)]
    first: u64,

    /// Runs this seed only and prints what happened in it.
    #[arg(long, conflicts_with_all = ["seeds", "first"])]
    seed: Option<u64>,

    /// Processes at a time; the number of cores if not given.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1024))]
    jobs: Option<u64>,
}

/// Builds the simulation optimised and runs the chosen seeds.
///
/// The exit code is 1 if a seed failed; its story is printed.
///
/// # Errors
///
/// If the simulation does not build, or cannot be started.
pub fn run(arguments: &Arguments, root: &Path) -> Result<ExitCode> {
    println!("building the simulation");
    let program = executable::build(root)?;
    if let Some(seed) = arguments.seed {
        return tell(&program, seed);
    }
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    let end = arguments.first.checked_add(arguments.seeds).context("seeds end at 2^64 - 1")?;
    let sweep = Sweep::new(arguments.first..end, arguments.jobs.unwrap_or(cores));
    let failed = sweep.run(&|seed| run_command(&program, seed))?;
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn run_command(program: &Path, seed: u64) -> Command {
    let mut command = Command::new(program);
    command.args(["--exact", TEST, "--nocapture"]).env("SEED", seed.to_string());
    // The story says where it went wrong; where the test was called from says nothing.
    command.env("RUST_BACKTRACE", "0");
    for variable in ["SEEDS", "FIRST", "STORY"] {
        command.env_remove(variable);
    }
    command
}

/// Runs one seed and prints its story, whether it fails or not.
fn tell(program: &Path, seed: u64) -> Result<ExitCode> {
    let output = run_command(program, seed).output().context("start the simulation")?;
    if !output.status.success() {
        print!("{}", String::from_utf8_lossy(&output.stderr));
        println!("seed {seed} FAILED, see the last lines of the story");
        return Ok(ExitCode::FAILURE);
    }
    // A run that keeps every promise tells its story by failing on demand.
    let mut command = run_command(program, seed);
    let output = command.env("STORY", "1").output().context("start the simulation")?;
    if output.status.success() {
        bail!("the simulation does not tell the story of seed {seed}");
    }
    print!("{}", String::from_utf8_lossy(&output.stderr));
    println!("seed {seed} kept every promise");
    Ok(ExitCode::SUCCESS)
}
