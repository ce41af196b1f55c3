//! `cargo xtask <command>`: everything this repository automates.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

use xtask::conformance;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Automation of this repository")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs published SDKs against the server.
    Conformance(conformance::Arguments),
}

fn main() -> Result<ExitCode> {
    match Arguments::parse().command {
        Command::Conformance(arguments) => conformance::run(&arguments, &repository()?),
    }
}

/// The root of the repository, wherever cargo was called from.
fn repository() -> Result<PathBuf> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    Ok(manifest.parent().context("xtask lies in the root of the repository")?.to_path_buf())
}
