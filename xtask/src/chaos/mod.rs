//! `cargo xtask chaos`: three real servers, thousands of clients, and one fault after another.
//! What the table says, and how it came about: `docs/fault-matrix.md`.

mod agreement;
mod between;
mod docs;
mod inside;
mod judge;
mod load;
mod names;
mod network;
mod played;
mod report;
mod rotation;
mod rows;
mod scenes;
mod sdk;
mod stage;
mod streams;
mod upgrade;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;

use self::load::Size;
use self::network::Network;
use self::played::Played;
use self::report::{Agreement, Outcome, Report, Verdict};
use self::rows::{MOST_NODES, NODES, Row};
use self::stage::{Means, Stage};
use crate::cluster::interrupts::Interrupts;
use crate::cluster::server::{self, Profile};

/// 3,000 instances, 600 beats per second.
const FULL: Size = Size { services: 300, per_service: 10 };
const QUICK: Size = Size { services: 60, per_service: 5 };
/// Seconds to watch after the heal of a quick row.
const QUICK_TAIL: u64 = 20;
/// Times that a row is played until its load generator has kept up.
const ATTEMPTS: usize = 2;

/// What `cargo xtask chaos` takes.
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    /// Play only this row; may be given several times.
    #[arg(long = "row", value_enum, value_name = "NAME")]
    rows: Vec<Row>,

    /// Play with few clients and watch for a shorter time; without `--row` one short row: `kill`.
    #[arg(long, conflicts_with = "write_docs")]
    quick: bool,

    /// Write the table to `docs/fault-matrix.md`. A run that was interrupted goes on with the rows
    /// that the same server has not passed yet.
    #[arg(long, conflicts_with = "rows")]
    write_docs: bool,

    /// How to build the server.
    #[arg(long, value_enum, default_value_t = Profile::Release)]
    profile: Profile,

    /// A setting of every node, as the server takes it: to see what becomes of a row without it.
    #[arg(long = "set", value_name = "KEY=VALUE", conflicts_with = "write_docs")]
    settings: Vec<String>,

    /// A server of an earlier commit, for the row `rolling-upgrade`. Without it that of the last tag is
    /// built; if there is no tag, the row is left out.
    #[arg(long, value_name = "PATH")]
    old_binary: Option<PathBuf>,

    /// Use the loopback interface even if network namespaces could be made.
    #[arg(long)]
    loopback: bool,

    /// The process runs in namespaces of its own.
    #[arg(long, hide = true)]
    inside: bool,
}

/// Plays the rows and prints the table.
///
/// The exit code is 1 if a bar is missed or a row could not be played.
///
/// # Errors
///
/// If the server does not build, or on SIGINT and SIGTERM. No process and no network namespace is
/// left behind in any case.
pub fn run(arguments: &Arguments, root: &Path) -> Result<ExitCode> {
    if cfg!(debug_assertions) && !arguments.quick {
        // The load of the whole table takes an optimised program.
        return run_again_as_release(root);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(run_here(arguments.clone(), root));
    // A thread may still be reading the input.
    runtime.shutdown_background();
    result
}

async fn run_here(mut arguments: Arguments, root: &Path) -> Result<ExitCode> {
    if !arguments.inside {
        server::build(root, arguments.profile)?;
        let old = match wants_old(&arguments) {
            true => upgrade::program(arguments.old_binary.as_deref(), root)?,
            false => None,
        };
        if !arguments.loopback && inside::is_possible().await {
            return inside::run(old.filter(|_| arguments.old_binary.is_none())).await;
        }
        arguments.old_binary = old;
        println!("no network namespaces here: one loopback interface, and no row with a cut");
    }
    let mut interrupts = Interrupts::listen()?;
    tokio::select! {
        result = play_all(&arguments, root) => result,
        () = interrupts.wait() => bail!("interrupted"),
        () = inside::outside_ended(), if arguments.inside => bail!("interrupted"),
    }
}

/// Replaces this process, so that signals and the exit status need no passing on.
fn run_again_as_release(root: &Path) -> Result<ExitCode> {
    use std::os::unix::process::CommandExt;
    println!("building the load generator (release)");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["run", "--release", "--quiet", "--package", "xtask", "--manifest-path"]);
    command.arg(root.join("Cargo.toml")).arg("--").args(std::env::args_os().skip(1));
    Err(command.exec()).context("run cargo")
}

async fn play_all(arguments: &Arguments, root: &Path) -> Result<ExitCode> {
    let means = Means {
        network: match arguments.inside {
            true => Network::namespaces(MOST_NODES).await?,
            false => Network::loopback(MOST_NODES)?,
        },
        server: server::path(root, arguments.profile),
        old: arguments.old_binary.clone(),
        supervisor: std::env::current_exe().context("find this program")?,
        settings: arguments.settings.clone(),
        logs: logs(root)?,
    };
    let mut report = Report::default();
    let played = Played::by(&means.server, &means.logs)?;
    let mut rows = chosen(arguments, means.network.can_cut())?;
    if means.old.is_none() && rows.contains(&Row::RollingUpgrade) {
        ensure!(arguments.rows.is_empty(), "{}: {}", Row::RollingUpgrade.name(), upgrade::NONE);
        rows.retain(|row| *row != Row::RollingUpgrade);
        let skipped = format!("{}: {}", Row::RollingUpgrade.title(false), upgrade::NONE);
        println!("left out: {skipped}");
        report.skipped.push(skipped);
    }
    let seconds: u64 = rows.iter().map(|row| row.seconds()).sum();
    println!("rows: {}, about {} min", rows.len(), seconds.div_ceil(60));
    for row in rows {
        let before = played.find(row).filter(|_| arguments.write_docs);
        let outcome = match before {
            Some(outcome) => outcome,
            None => play(row, &means, arguments.quick).await,
        };
        // What was played in another way than the page says does not count for it.
        if !arguments.quick && arguments.settings.is_empty() {
            played.keep(row, &outcome)?;
        }
        report.outcomes.push(outcome);
    }
    print!("\n{report}");
    if arguments.write_docs {
        let told = report.outcomes.len() + report.skipped.len();
        let complete = told == Row::value_variants().len();
        ensure!(complete, "the documentation shows all rows, and some cannot be played here");
        docs::write(root, &report)?;
    }
    Ok(if report.passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn logs(root: &Path) -> Result<PathBuf> {
    let directory = server::target(root).join("chaos");
    std::fs::create_dir_all(&directory).context("make the directory of the logs")?;
    Ok(directory)
}

fn wants_old(arguments: &Arguments) -> bool {
    match arguments.rows.is_empty() {
        true => !arguments.quick,
        false => arguments.rows.contains(&Row::RollingUpgrade),
    }
}

fn chosen(arguments: &Arguments, can_cut: bool) -> Result<Vec<Row>> {
    if arguments.quick && arguments.rows.is_empty() {
        return Ok(vec![Row::Kill]);
    }
    let all = Row::value_variants();
    let rows = if arguments.rows.is_empty() { all } else { &arguments.rows };
    if let Some(row) = arguments.rows.iter().find(|row| row.needs_cut() && !can_cut) {
        bail!("{} needs network namespaces: Linux, root and the program `ip`", row.name());
    }
    Ok(rows.iter().copied().filter(|row| can_cut || !row.needs_cut()).collect())
}

/// Plays a row, once more if the machine was too busy to say anything.
async fn play(row: Row, means: &Means, is_quick: bool) -> Outcome {
    let mut attempt = 1;
    loop {
        println!("{}: {}", row.name(), row.title(is_quick));
        // Tasks that share what only one thread may touch; they end with the set.
        let tasks = tokio::task::LocalSet::new();
        let outcome = tasks.run_until(play_once(row, means, is_quick)).await;
        tell(&outcome);
        if outcome.verdict() != Verdict::Void || attempt == ATTEMPTS {
            return outcome;
        }
        attempt += 1;
    }
}

async fn play_once(row: Row, means: &Means, is_quick: bool) -> Outcome {
    let mut outcome = Outcome {
        title: row.title(is_quick).to_owned(),
        tally: judge::Tally::default(),
        agreement: Agreement::Never,
        worst_lag: Duration::ZERO,
        agreement_limit: row.agreement_limit(),
        durable: None,
        notes: Vec::new(),
        problem: None,
    };
    let size = if is_quick || row.is_crowded() { QUICK } else { FULL };
    let mut stage = match Stage::set(means, row, size, NODES, MOST_NODES).await {
        Ok(stage) => stage,
        Err(error) => {
            outcome.problem = Some(format!("{error:#}"));
            return outcome;
        }
    };
    let played = row.play(&mut stage, is_quick).await;
    // While somebody writes, the nodes never hold the same for long.
    stage.load.stop_durable_writes();
    let healed = stage.healed.unwrap_or_else(|| stage.load.shared.now());
    if let Some(time) = agreement::wait(&stage.load, stage.nodes(), healed).await {
        outcome.agreement = Agreement::After(time);
    }
    let tail = Duration::from_secs(if is_quick { QUICK_TAIL } else { row.tail() });
    let watched = stage.load.shared.now().saturating_sub(healed);
    tokio::time::sleep(tail.saturating_sub(watched)).await;
    let mut problems: Vec<_> = stage.settle().await;
    let problem = played.and_then(|()| stage.check_alive()).err();
    problems.extend(problem.map(|error| format!("{error:#}")));
    problems.extend(stage.load.wrong_durables(stage.nodes()).await);
    outcome.durable = stage.load.settle_durables(stage.nodes(), &mut problems).await;
    outcome.problem = problems.into_iter().reduce(|all, one| format!("{all}; {one}"));
    outcome.notes = stage.take_notes();
    outcome.worst_lag = stage.load.take_worst_lag();
    outcome.tally = stage.load.shared.judge.borrow().tally().clone();
    stage.clear().await;
    outcome
}

fn tell(outcome: &Outcome) {
    let tally = &outcome.tally;
    if let Some(problem) = &outcome.problem {
        println!("  {problem}");
    }
    for text in tally.told.iter().chain(&outcome.notes) {
        println!("  {text}");
    }
    if let Some(durable) = &outcome.durable {
        println!("  {durable:?}");
    }
    println!(
        "  {:?}: agreement {:?}, lag {:?}, {} reads, {} pushes, {} of these over gRPC, {} connections, \
         {} registered again, {} could not beat, failed calls {} late, {} early, {} at nodes that were down, frozen or not ready",
        outcome.verdict(),
        outcome.agreement,
        outcome.worst_lag,
        tally.reads,
        tally.pushes,
        tally.streamed,
        tally.connected,
        tally.registered_again,
        tally.unheard.len(),
        tally.failed_calls,
        tally.failed_early,
        tally.failed_elsewhere,
    );
}
