//! `cargo xtask conformance`: published SDKs, installed by their ordinary package managers, run
//! against a real server. What is checked and how to read the table: `docs/conformance.md`.

mod failover;
mod grpc;
mod interrupt;
mod own;
mod process;
mod report;
mod sdk;
mod sdks;
mod server;
mod tools;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};

use self::report::{CheckLine, Outcome, Report};
use self::sdk::Sdk;
pub(crate) use self::server::Server;

/// With cold caches and busy cores the slowest, Go, takes about a minute.
const INSTALL_LIMIT: Duration = Duration::from_secs(300);

/// The longest checks take about 50 s, most of it waiting for an instance to expire.
const RUN_LIMIT: Duration = Duration::from_secs(150);

/// What `cargo xtask conformance` takes.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Run only this SDK, or all of this language, or `naming-client`, or `tools`; may be given several
    /// times.
    #[arg(long = "sdk", value_name = "NAME")]
    sdks: Vec<String>,

    /// Use a server that runs on this machine instead of building and starting one.
    #[arg(long, value_name = "http://127.0.0.1:PORT")]
    server: Option<String>,

    /// Instead of the checks: a Java application with the addresses of three servers, each of which
    /// is killed and started again. Takes about a minute.
    #[arg(long, conflicts_with_all = ["sdks", "server"])]
    failover: bool,
}

/// Installs the chosen SDKs, runs them side by side against one server and prints the table.
///
/// The exit code is 1 if a check failed and, under `CI=true`, if a toolchain is missing.
///
/// # Errors
///
/// If an SDK of that name is not known, or if the server cannot be built, started or reached, or on
/// SIGINT and SIGTERM. Every process started is stopped in each case.
pub fn run(arguments: &Arguments, root: &Path) -> Result<ExitCode> {
    if arguments.failover {
        let places = Places::new(root, "conformance");
        fs::create_dir_all(&places.work).context("create the directory of the builds")?;
        interrupt::listen()?;
        return failover::run(&places);
    }
    let is_named = |name: &str| arguments.sdks.iter().any(|sdk| sdk == name);
    let (with_own, with_tools) = match arguments.sdks.is_empty() {
        true => (true, true),
        false => (is_named(own::NAME), is_named(tools::NAME)),
    };
    let mut foreign = arguments.sdks.clone();
    foreign.retain(|name| ![own::NAME, tools::NAME].contains(&&**name));
    let all_are_ours = foreign.is_empty() && (!arguments.sdks.is_empty());
    let sdks = if all_are_ours { vec![] } else { sdk::select(&foreign)? };
    let places = Places::new(root, "conformance");
    fs::create_dir_all(&places.work).context("create the directory of the builds")?;
    interrupt::listen()?;
    // Everything is built before anything is run: some checks measure time.
    let mut server = match &arguments.server {
        Some(url) => Server::running(url)?,
        None => Server::build_and_start(&places)?,
    };
    let installed = side_by_side(sdks, |sdk| (sdk, install(sdk, &places)));
    println!("running the checks against {}, about two minutes", server.address());
    let run_id = format!("{:x}", SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs());
    let (grpc, http): (Vec<_>, Vec<_>) =
        installed.into_iter().partition(|(sdk, _)| sdk.speaks_grpc());
    let (own, mut columns) = thread::scope(|scope| {
        let own = with_own.then(|| scope.spawn(|| own::run(&places, server.address())));
        let columns = side_by_side(http, |(sdk, ready)| match ready {
            Ok(()) => (sdk, run_checks(sdk, &places, server.address(), &run_id)),
            Err(outcome) => (sdk, outcome),
        });
        (own.map(joined), columns)
    });
    let tools = match with_tools {
        true => tools::run(&places, server.address(), &run_id),
        false => Vec::new(),
    };
    columns.extend(grpc::run(grpc, &places, &mut server, &run_id)?);
    interrupt::check()?;
    let restarts = server.is_own();
    let report = Report { columns, own, tools, skip_is_failure: skip_is_failure(), restarts };
    print!("{report}");
    Ok(if report.passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Whether it counts as a failure that a tool is missing.
fn skip_is_failure() -> bool {
    std::env::var("CI").is_ok_and(|value| value == "true")
}

/// Where the sources of the programs are and where what is built from them goes.
pub(crate) struct Places {
    /// The workspace.
    root: PathBuf,
    /// Cargo's own output.
    target: PathBuf,
    /// `target/conformance`, one directory per SDK; what other programs write beside it.
    work: PathBuf,
}

impl Places {
    /// `work` is the folder below `target` for what the programs write.
    pub(crate) fn new(root: &Path, work: &str) -> Self {
        let target = match std::env::var_os("CARGO_TARGET_DIR") {
            Some(directory) => root.join(directory),
            None => root.join("target"),
        };
        Self { root: root.to_owned(), work: target.join(work), target }
    }

    fn sources(&self, directory: &str) -> PathBuf {
        self.root.join("xtask/sdk").join(directory)
    }

    fn directory(&self, sdk: &Sdk) -> PathBuf {
        self.work.join(sdk.name)
    }
}

/// Brings an SDK into its directory, unless the same is there already.
fn install(sdk: &'static Sdk, places: &Places) -> Result<(), Outcome> {
    if let Some(tool) = sdk.missing_tool() {
        return Err(Outcome::Skipped(format!("`{tool}` is not installed")));
    }
    install_changed(sdk, places).map_err(|error| Outcome::Broken(format!("install: {error:#}")))
}

fn install_changed(sdk: &Sdk, places: &Places) -> Result<()> {
    let directory = places.directory(sdk);
    let stamp = directory.join("installed");
    let wanted = sdk.stamp(places)?;
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    println!("installing {} {} for {}", sdk.package, sdk.version, sdk.name);
    if directory.exists() {
        fs::remove_dir_all(&directory)?;
    }
    fs::create_dir_all(&directory)?;
    let log = directory.join("install.log");
    for mut command in sdk.install_commands(places) {
        process::run_logged(&mut command, &log, &log, INSTALL_LIMIT)?;
    }
    fs::write(&stamp, wanted)?;
    Ok(())
}

/// Runs the program of one SDK and gathers what it says of each check.
fn run_checks(sdk: &'static Sdk, places: &Places, address: &str, run_id: &str) -> Outcome {
    let directory = places.directory(sdk);
    let (checks, log) = (directory.join("checks.jsonl"), directory.join("run.log"));
    // Of the run before; what cannot be removed now is complained of when it is opened.
    let _ = fs::remove_dir_all(directory.join("run"));
    let _ = fs::create_dir_all(directory.join("run"));
    for file in [&checks, &log] {
        let _ = fs::remove_file(file);
    }
    // A name of its own for each SDK and run, so that no run meets the instances of another.
    // Clients of 3.x take no dot in the name of a namespace.
    let prefix = format!("{}-{run_id}", sdk.name.replace('.', "_"));
    let mut command = sdk.run_command(places, address, &prefix);
    let ended = process::run_logged(&mut command, &checks, &log, RUN_LIMIT);
    let lines = fs::read_to_string(&checks).unwrap_or_default();
    let lines: Vec<CheckLine> = lines.lines().filter_map(CheckLine::parse).collect();
    let reason = match ended {
        Ok(()) => format!("not reported, see {}", log.display()),
        Err(error) => format!("not reported: {error:#}"),
    };
    Outcome::Ran { lines, reason }
}

/// Does the same to every item at once, each in a thread, and keeps their order.
fn side_by_side<T: Send, R: Send>(items: Vec<T>, work: impl Fn(T) -> R + Sync) -> Vec<R> {
    thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> =
            items.into_iter().map(|item| scope.spawn(move || work(item))).collect();
        threads.into_iter().map(joined).collect()
    })
}

fn joined<R>(thread: thread::ScopedJoinHandle<'_, R>) -> R {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
