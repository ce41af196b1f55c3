//! `cargo xtask <command>`: everything this repository automates.
#![allow(clippy::print_stdout)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

use xtask::{bench, chaos, cluster, conformance, sim, tidy};

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
    Bench(bench::Arguments),
    /// Counts the instructions of hot paths and compares them with the baseline.
    Instructions(bench::instructions::Arguments),
    /// Serves the fixed replies read from standard input: the yardstick of `bench`.
    #[command(hide = true)]
    StaticServer {
        /// From a bare epoll loop instead of hyper.
        #[arg(long)]
        epoll: bool,
    },
    /// Connects and closes as standard input says: the yardstick of `bench checks`.
    #[command(hide = true)]
    ConnectLoop,
    /// Runs published SDKs against the server.
    Conformance(conformance::Arguments),
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
        Command::Conformance(arguments) => conformance::run(&arguments, &repository()?),
        Command::Cluster(arguments) => cluster::run(&arguments, &repository()?),
        Command::Chaos(arguments) => chaos::run(&arguments, &repository()?),
        Command::Supervise(arguments) => cluster::supervise::run(&arguments),
        Command::Sim(arguments) => sim::run(&arguments, &repository()?),
        Command::Bench(arguments) => bench::run(&arguments, &repository()?),
        Command::Instructions(arguments) => bench::instructions::run(&arguments, &repository()?),
        Command::ConnectLoop => bench::connect_loop::run().map(|()| ExitCode::SUCCESS),
        Command::StaticServer { epoll } => {
            bench::static_server::run(epoll).map(|()| ExitCode::SUCCESS)
        }
    }
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
