//! `naming`: look into a registry and register things by hand.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "printing is what it is for")]

mod arguments;
mod commands;
mod output;

use std::process::ExitCode;

use clap::Parser;

use crate::arguments::{Arguments, Command};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("naming: {problem}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> Result<(), commands::Problem> {
    let client = arguments.connection.client().await?;
    let output = arguments.connection.output;
    match &arguments.command {
        Command::Services { group } => commands::services(&client, group, output).await,
        Command::Instances(query) => commands::instances(&client, query, output).await,
        Command::Register(wanted) => commands::register(&client, wanted, output).await,
        Command::Watch(query) => commands::watch(&client, query, output).await,
        Command::Why { service, limit } => commands::why(&client, service, *limit, output).await,
    }
}
