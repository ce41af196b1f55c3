//! `naming`: look into a registry and register things by hand.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "printing is what it is for")]

mod arguments;
mod commands;
mod operate;
mod output;
mod profiles;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use crate::arguments::{Arguments, Command};

/// What went wrong, in words.
pub(crate) type Problem = Box<dyn std::error::Error>;

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

async fn run(arguments: &Arguments) -> Result<(), Problem> {
    if let Command::Completions { shell } = &arguments.command {
        let mut command = Arguments::command();
        clap_complete::generate(*shell, &mut command, "naming", &mut std::io::stdout());
        return Ok(());
    }
    let client = arguments.connection.client().await?;
    let output = arguments.connection.output;
    match &arguments.command {
        Command::Services { group } => commands::services(&client, group, output).await,
        Command::Service(command) => operate::service(&client, command, output).await,
        Command::Instances(query) => commands::instances(&client, query, output).await,
        Command::Register(wanted) => commands::register(&client, wanted, output).await,
        Command::Set(change) => {
            change.make(&client).await?;
            output::show_done(output, "set")
        }
        Command::Clients { id } => operate::clients(&client, id.as_deref(), output).await,
        Command::Members => operate::members(&client, output).await,
        Command::Watch(query) => commands::watch(&client, query, output).await,
        Command::WatchServices { pattern } => {
            commands::watch_services(&client, pattern, output).await
        }
        Command::Why { service, limit } => commands::why(&client, service, *limit, output).await,
        Command::Ns(command) => operate::namespaces(&client, command, output).await,
        Command::Users(command) => operate::users(&client, command, output).await,
        Command::Status => operate::status(&client, output),
        Command::Completions { .. } => Ok(()),
    }
}
