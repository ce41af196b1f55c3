//! `cargo xtask <command>`: everything this repository automates.
#![allow(clippy::print_stdout)]

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

use xtask::{
    attacks, browser, chaos, cluster, conformance, deploy_check, image, instructions, sim, tidy,
};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Automation of this repository")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Checks the rules of the repository that the compiler does not know.
    Tidy,
    /// Measures the server against a static hyper server in the same run.
    #[command(disable_help_flag = true)]
    Bench {
        /// What to measure; `--help` tells.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Counts the instructions of hot paths and compares them with the baseline.
    Instructions(instructions::Arguments),
    /// Attacks the server and says what it held and what others noticed.
    Attacks(attacks::Arguments),
    /// Checks what is under `deploy/` with the tools of those who use it.
    DeployCheck(deploy_check::Arguments),
    /// Makes the container image, as an OCI layout and for `docker load`.
    Image(image::Arguments),
    /// Runs published SDKs against the server.
    Conformance(conformance::Arguments),
    /// Looks at the console in a real browser.
    Browser(browser::Arguments),
    /// Runs a cluster of servers on this machine and does to it what it is told.
    Cluster(cluster::Arguments),
    /// Breaks a cluster in every way we know and counts what its clients notice.
    Chaos(chaos::Arguments),
    /// Runs a program and ends it when standard input ends.
    #[command(hide = true)]
    Supervise(cluster::supervise::Arguments),
    /// Runs the simulation of the cluster with many seeds, or tells the story of one.
    Sim(sim::Arguments),
}

fn main() -> Result<ExitCode> {
    match Arguments::parse().command {
        Command::Tidy => run_tidy(),
        Command::Attacks(arguments) => attacks::run(&arguments, &repository()?),
        Command::Conformance(arguments) => conformance::run(&arguments, &repository()?),
        Command::DeployCheck(arguments) => deploy_check::run(&arguments, &repository()?),
        Command::Image(arguments) => image::run(&arguments, &repository()?),
        Command::Browser(arguments) => browser::run(&arguments, &repository()?),
        Command::Cluster(arguments) => cluster::run(&arguments, &repository()?),
        Command::Chaos(arguments) => chaos::run(&arguments, &repository()?),
        Command::Supervise(arguments) => cluster::supervise::run(&arguments),
        Command::Sim(arguments) => sim::run(&arguments, &repository()?),
        Command::Bench { arguments } => run_bench(&arguments),
        Command::Instructions(arguments) => instructions::run(&arguments, &repository()?),
    }
}

/// Becomes the release build of the benchmark, so that signals and the exit status need no passing
/// on.
fn run_bench(arguments: &[OsString]) -> Result<ExitCode> {
    use std::os::unix::process::CommandExt;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = std::process::Command::new(cargo);
    command.args(["run", "--release", "--quiet", "--package", "xtask-bench", "--manifest-path"]);
    command.arg(repository()?.join("Cargo.toml")).args(["--", "bench"]).args(arguments);
    Err(command.exec()).context("run cargo")
}

fn run_tidy() -> Result<ExitCode> {
    let violations = tidy::check(&repository()?)?;
    for violation in &violations {
        println!("{violation}");
    }
    println!("tidy: {} found", violations.len());
    Ok(if violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The root of the repository, wherever cargo was called from.
fn repository() -> Result<PathBuf> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    Ok(manifest.parent().context("xtask lies in the root of the repository")?.to_path_buf())
}
