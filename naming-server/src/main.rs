//! The `naming-server` program.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use naming_server::{
    Arguments, CheckArguments, Command, Config, Import, ImportArguments, MigrateCommand,
    MigrationCheck, MigrationPlan, MigrationStatus, NewUser, Password, PlanArguments,
    RemoteAdministrator, RestoreArguments, Server, StatusArguments, UserAddArguments, UserCommand,
};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What the runtime may take to end after the drain; only a blocked thread could take longer.
const RUNTIME_SHUTDOWN: Duration = Duration::from_millis(200);
/// What writing the last log lines may take.
const LAST_LINES: Duration = Duration::from_millis(100);

#[cfg(all(unix, feature = "jemalloc"))]
mod allocator {
    //! An allocator that gives memory back when instances go: that of the C library keeps whatever
    //! lies below something still in use.

    use tikv_jemalloc_ctl::{Access, AsName, Result};

    #[global_allocator]
    static JEMALLOC: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

    /// How long freed pages are kept for reuse, in milliseconds. They are given back bit by bit over
    /// this time, by a thread beside.
    const DECAY_MS: isize = 2_000;

    /// Makes freed memory go back soon. Failing that it goes back after 10 s.
    pub(super) fn configure() -> Result<()> {
        // For arenas that threads open from now on, and for the one that is there already.
        b"arenas.dirty_decay_ms\0".name().write(DECAY_MS)?;
        b"arena.0.dirty_decay_ms\0".name().write(DECAY_MS)
    }
}

fn main() -> ExitCode {
    match start(&Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("naming-server: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(arguments: &Arguments) -> Result<ExitCode> {
    match &arguments.command {
        None => serve(arguments).map(|()| ExitCode::SUCCESS),
        Some(Command::CheckConfig) => check_config(arguments).map(|()| ExitCode::SUCCESS),
        Some(Command::Export(arguments)) => {
            print(&runtime_of_command()?.block_on(naming_server::export(arguments))?)?;
            Ok(ExitCode::SUCCESS)
        }
        Some(Command::Restore(arguments)) => restore(arguments),
        Some(Command::Import(arguments)) => import(arguments),
        Some(Command::Migrate(MigrateCommand::Check(arguments))) => check_migration(arguments),
        Some(Command::Migrate(MigrateCommand::Plan(arguments))) => plan_migration(arguments),
        Some(Command::Migrate(MigrateCommand::Status(arguments))) => compare_lists(arguments),
        Some(Command::Probe { probe }) => {
            probe.ask(&Config::load(arguments)?).map(|()| ExitCode::SUCCESS)
        }
        Some(Command::User(UserCommand::Add(add))) => {
            add_user(arguments, add).map(|()| ExitCode::SUCCESS)
        }
    }
}

fn check_config(arguments: &Arguments) -> Result<()> {
    let config = Config::load(arguments)?;
    runtime_of_command()?.block_on(naming_server::check_config(&config))?;
    print("the settings can be used\n")
}

fn import(arguments: &ImportArguments) -> Result<ExitCode> {
    let import = Import::new(arguments)?;
    let report = runtime_of_command()?.block_on(import.run())?;
    print(&report.to_string())?;
    Ok(if report.is_complete() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn restore(arguments: &RestoreArguments) -> Result<ExitCode> {
    let report = runtime_of_command()?.block_on(naming_server::restore(arguments))?;
    print(&report.to_string())?;
    Ok(if report.is_complete() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn check_migration(arguments: &CheckArguments) -> Result<ExitCode> {
    let check = MigrationCheck::new(arguments).context("cannot begin")?;
    let report = runtime_of_command()?.block_on(check.run());
    print(&report.to_string())?;
    Ok(if report.may_go_on() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn plan_migration(arguments: &PlanArguments) -> Result<ExitCode> {
    let report = runtime_of_command()?.block_on(MigrationPlan::new(arguments).run());
    print(&report.to_string())?;
    Ok(if report.may_go_on() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn compare_lists(arguments: &StatusArguments) -> Result<ExitCode> {
    let report = runtime_of_command()?.block_on(MigrationStatus::new(arguments).run());
    print(&report.to_string())?;
    Ok(if report.is_settled() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// For commands, which have little to do at a time.
fn runtime_of_command() -> Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().context("cannot start the runtime")
}

fn add_user(arguments: &Arguments, add: &UserAddArguments) -> Result<()> {
    let runtime = runtime_of_command()?;
    if let (Some(server), Some(administrator)) = (&add.server, &add.as_user) {
        return runtime.block_on(add_user_at(server, administrator, add));
    }
    let config = Config::load(&add.server_arguments(arguments))?;
    let user = NewUser::new(&add.name, ask_password(add)?.reveal(), add.admin)?;
    let folder = runtime.block_on(naming_server::add_user(&config, &user))?;
    let note = match config.auth.enabled {
        true => "",
        false => "authentication is off in these settings: see auth.enabled\n",
    };
    let (name, folder) = (&add.name, folder.display());
    print(&format!("user {name} is in {folder} and counts when the server runs\n{note}"))
}

async fn add_user_at(server: &str, administrator: &str, add: &UserAddArguments) -> Result<()> {
    let prompt = format!("password of {administrator} at {server}: ");
    let file = add.as_password_file.as_deref();
    let password = Password::find(file, "USER_ADD_AS_PASSWORD", &prompt)?;
    let remote = RemoteAdministrator::log_in(server, administrator, password).await?;
    remote.add_user(&add.name, &ask_password(add)?, add.admin).await?;
    print(&format!("user {} is known at {server}\n", add.name))
}

/// Asked for twice if it is typed, since nobody sees what is.
fn ask_password(add: &UserAddArguments) -> Result<Password> {
    const VARIABLE: &str = "USER_ADD_PASSWORD";
    let find = |prompt: &str| Password::find(add.password_file.as_deref(), VARIABLE, prompt);
    let password = find(&format!("password of {}: ", add.name))?;
    ensure!(find("once more: ")?.reveal() == password.reveal(), "the passwords differ");
    Ok(password)
}

fn serve(arguments: &Arguments) -> Result<()> {
    let config = Config::load(arguments)?;
    if arguments.print_config {
        return print(&config.to_toml()?);
    }
    naming_server::start_logging(&config.log)?;
    for note in Config::environment_notes(arguments) {
        tracing::info!("{note}");
    }
    #[cfg(all(unix, feature = "jemalloc"))]
    if let Err(error) = allocator::configure() {
        tracing::warn!(%error, "the allocator keeps its own pace of giving memory back");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let result = runtime.block_on(run(config, arguments));
    runtime.shutdown_timeout(RUNTIME_SHUTDOWN);
    naming_server::finish_logging(LAST_LINES);
    result
}

async fn run(config: Config, arguments: &Arguments) -> Result<()> {
    // Before the port is taken: whoever sees it open may already stop us.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let _hangup = signal(SignalKind::hangup())?;
    let server = Server::bind(config).await?.supervised().reloading(arguments.clone())?;
    print(&banner(&server))?;
    server.run(stop_signal(&mut interrupt, &mut terminate)).await?;
    tracing::info!("stopped");
    Ok(())
}

async fn stop_signal(interrupt: &mut Signal, terminate: &mut Signal) {
    let name = tokio::select! {
        _ = interrupt.recv() => "SIGINT",
        _ = terminate.recv() => "SIGTERM",
    };
    naming_server::say_stopping();
    tracing::info!(signal = name, "stopping: finishing the requests in flight");
}

fn banner(server: &Server) -> String {
    let cluster = match server.members() {
        Some(members) => format!("{} of {members}", server.advertised()),
        None => "none; this server is alone".to_owned(),
    };
    let auth = match server.is_auth_on() {
        true => "on; every request about services needs a user",
        false => "off; whoever reaches the port may read and write",
    };
    let dns = server
        .dns_address()
        .map_or_else(String::new, |address| format!("dns      {address}, by UDP and TCP\n"));
    let data = match server.data_folder() {
        Some(folder) => format!("{}  (--data-dir chooses another)", folder.display()),
        None => "in memory only; clients register again after a restart".to_owned(),
    };
    format!(
        "naming-server {version}\n\
         serving  {url}  (listening on {address})\n\
         cluster  {cluster}\n\
         data     {data}\n\
         auth     {auth}\n\
         {dns}\
         docs     README.md and docs/ of the source; all settings: --print-config\n",
        version = env!("CARGO_PKG_VERSION"),
        url = server.url(),
        address = server.local_addr(),
    )
}

/// Writes to standard output. That nobody reads it is no reason to fail.
fn print(text: &str) -> Result<()> {
    let mut output = std::io::stdout();
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}
