//! Automation of this repository: `cargo xtask <command>`.

use std::process::ExitCode;

use clap::Parser;

mod conformance;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Automation of this repository")]
enum Command {
    /// Run published SDKs against the server
    Conformance(conformance::ConformanceArgs),
}

fn main() -> anyhow::Result<ExitCode> {
    match Command::parse() {
        Command::Conformance(args) => conformance::run(&args),
    }
}
