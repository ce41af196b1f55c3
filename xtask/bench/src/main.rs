//! What `cargo xtask bench` runs, and the yardsticks that it starts as processes of their own.
#![allow(clippy::print_stdout)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measures the server against a static hyper server in the same run.
    Bench(Box<xtask_bench::Arguments>),
    /// Serves the fixed replies read from standard input: the yardstick of `bench`.
    #[command(hide = true)]
    StaticServer {
        /// From a bare epoll loop instead of hyper.
        #[arg(long)]
        epoll: bool,
    },
    /// Serves the fixed answer read from standard input over HTTP/2: the yardstick of `bench grpc-*`.
    #[command(hide = true)]
    StaticH2,
    /// Connects and closes as standard input says: the yardstick of `bench checks`.
    #[command(hide = true)]
    ConnectLoop,
}

fn main() -> Result<ExitCode> {
    match Arguments::parse().command {
        Command::Bench(arguments) => xtask_bench::run(&arguments, &repository()?),
        Command::ConnectLoop => xtask_bench::connect_loop::run().map(|()| ExitCode::SUCCESS),
        Command::StaticH2 => xtask_bench::grpc::fixed::run().map(|()| ExitCode::SUCCESS),
        Command::StaticServer { epoll } => {
            xtask_bench::static_server::run(epoll).map(|()| ExitCode::SUCCESS)
        }
    }
}

/// The root of the repository, wherever cargo was called from.
fn repository() -> Result<PathBuf> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = manifest.ancestors().nth(2);
    Ok(root.context("this crate lies two folders below the root of the repository")?.to_path_buf())
}
