//! `cargo xtask bench`: the server measured against a static hyper server in the same run.
//!
//! Absolute numbers of a shared machine mean little; a ratio of two servers that took turns within
//! seconds of each other does. What is compared is the processor time per request, read from the
//! kernel, so the load generator may share the machine without being part of the number.
//!
//! ```text
//! start server ─► fill it ─► probe one reply ─► start static server with that reply
//!                                                   │
//!                    A B, B A, A B ... windows ◄────┘   ─► median of the ratios
//! ```

mod closed;
mod compare;
#[cfg(test)]
mod loop_tests;
mod machine;
mod memory;
mod open;
mod process;
mod push;
mod report;
mod request;
mod sample;
mod start;
pub mod static_server;
mod tally;
mod wire;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};

use machine::Machine;
use report::Report;
use request::Kind;

/// What to measure and how hard.
#[derive(Args, Debug, Clone)]
pub struct Arguments {
    /// Scenarios to run; all of them if none is named.
    scenarios: Vec<Scenario>,
    /// Length of each window of a closed loop, in seconds.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Pairs of windows (server and static server) of a closed loop.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Connections of a closed loop.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Threads of the load generator in a closed loop.
    #[arg(long, default_value_t = 2, value_parser = positive())]
    client_threads: usize,
    /// Let the threads of a closed loop sleep; the servers are then charged for waking them.
    #[arg(long)]
    sleeping_generator: bool,
    /// Instances that `register-new` and `deregister` add and remove in each round.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    churn: u64,
    /// Beats per second of `beats-open`.
    #[arg(long, default_value_t = 20_000)]
    rate: u64,
    /// Lists per second asked for during `beats-open`.
    #[arg(long, default_value_t = 500)]
    list_rate: u64,
    /// Instances that beat in `beats-open`.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    beating_instances: u64,
    /// Connections that beat in `beats-open`.
    #[arg(long, default_value_t = 1_000, value_parser = positive())]
    open_connections: usize,
    /// Length of each window of `beats-open`, in seconds.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=600))]
    open_seconds: u64,
    /// Pairs of windows of `beats-open`.
    #[arg(long, default_value_t = 2)]
    open_rounds: usize,
    /// Instances registered by `memory`, in services of ten.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    instances: u64,
    /// Registrations measured by `push`.
    #[arg(long, default_value_t = 300)]
    pushes: u64,
    /// The server to measure, instead of the release build of this repository.
    #[arg(long)]
    server: Option<PathBuf>,
    /// File to write the results to as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

fn positive() -> impl clap::builder::TypedValueParser<Value = usize> {
    use clap::builder::TypedValueParser;
    clap::value_parser!(u64).range(1..=100_000).map(|number| number as usize)
}

/// One thing to measure.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
enum Scenario {
    /// Lists of 10 instances with 2 metadata entries each.
    List10,
    /// Beats without a body.
    BeatLight,
    /// Beats with the instance as a form field.
    BeatFull,
    /// Registrations of instances that are there already.
    Register,
    /// Registrations of new instances, and their removal.
    #[value(aliases = ["register-new", "deregister"])]
    Churn,
    /// Light beats at a fixed rate over many connections.
    BeatsOpen,
    /// Bytes per instance.
    Memory,
    /// Registration to datagram.
    Push,
}

/// Runs the benchmark of the repository at `repository`, first turning itself into a release
/// build if it is none.
///
/// # Errors
///
/// If something does not build or start, or a server answers other than expected: a run in which
/// requests fail measures nothing.
pub fn run(arguments: &Arguments, repository: &Path) -> Result<ExitCode> {
    if cfg!(debug_assertions) {
        return run_again_as_release(repository);
    }
    let program = match &arguments.server {
        Some(program) => program.clone(),
        None => {
            start::build(repository)?;
            start::built_server()?
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = runtime.block_on(until_interrupted(measure(arguments, &program)))?;
    println!("\n{report}");
    if let Some(path) = &arguments.json {
        let json = serde_json::to_vec_pretty(&report)?;
        std::fs::write(path, json).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Replaces this process, so that signals and the exit status need no passing on.
fn run_again_as_release(repository: &Path) -> Result<ExitCode> {
    use std::os::unix::process::CommandExt;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let manifest = repository.join("Cargo.toml");
    let error = Command::new(cargo)
        .args(["run", "--release", "--quiet", "--package", "xtask", "--manifest-path"])
        .arg(manifest)
        .arg("--")
        .args(std::env::args_os().skip(1))
        .exec();
    Err(error).context("running cargo")
}

/// Dropping `work` ends the servers it started, so an interrupted run leaves nothing behind.
async fn until_interrupted<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let mut terminated = signal(SignalKind::terminate())?;
    tokio::select! {
        finished = work => finished,
        _ = tokio::signal::ctrl_c() => bail!("interrupted"),
        _ = terminated.recv() => bail!("terminated"),
    }
}

async fn measure(arguments: &Arguments, program: &Path) -> Result<Report> {
    let command = std::env::args().skip(1).collect::<Vec<_>>().join(" ");
    let mut report = Report {
        machine: Machine::look(),
        command: format!("cargo xtask {command}"),
        comparisons: Vec::new(),
        figures: Vec::new(),
    };
    let all = Scenario::value_variants();
    let chosen = if arguments.scenarios.is_empty() { all } else { &arguments.scenarios };
    for scenario in chosen {
        println!("{scenario:?}");
        let context = || format!("in scenario {scenario:?}");
        scenario.run(program, arguments, &mut report).await.with_context(context)?;
    }
    Ok(report)
}

impl Scenario {
    async fn run(self, program: &Path, arguments: &Arguments, report: &mut Report) -> Result<()> {
        let closed = |name, kind, bar| compare::closed(name, kind, Some(bar), program, arguments);
        match self {
            Self::List10 => report.comparisons.push(closed("list10", Kind::List, 1.25).await?),
            Self::BeatLight => {
                report.comparisons.push(closed("beat-light", Kind::BeatLight, 1.6).await?);
            }
            Self::BeatFull => {
                let found = compare::closed("beat-full", Kind::BeatFull, None, program, arguments);
                report.comparisons.push(found.await?);
            }
            Self::Register => {
                report.comparisons.push(closed("register", Kind::Register, 1.6).await?);
            }
            Self::Churn => {
                report.comparisons.extend(compare::churn(program, arguments).await?);
            }
            Self::BeatsOpen => {
                report.comparisons.push(compare::beats_open(program, arguments).await?);
            }
            Self::Memory => report.figures.extend(memory::run(program, arguments).await?),
            Self::Push => report.figures.extend(push::run(program, arguments).await?),
        }
        Ok(())
    }
}
