//! `cargo xtask bench`: the server measured beside others in the same run. A crate of its own, so
//! that who checks the rules of the repository need not build it.
//!
//! Absolute numbers of a shared machine mean little; a ratio of two servers that took turns within
//! seconds of each other does. What is compared is the processor time per request, read from the
//! kernel, so the load generator may share the machine without being part of the number.
//!
//! ```text
//! start server ─► fill it ─► probe its replies ─► start static hyper and a bare epoll loop with
//!                                                 those replies, fill the servers of others
//!                                                   │
//!              A B C D, D C B A, B C D A ... windows ◄──┘   ─► median of the ratios
//! ```

#![warn(missing_docs)]
// This is a command line tool: its tables and progress lines are meant for the terminal.
#![allow(clippy::print_stdout)]

mod asking;
mod boot;
mod checks;
mod closed;
mod cluster;
mod compare;
pub mod connect_loop;
mod console;
mod contender;
mod dns;
mod durable;
mod epoll_server;
mod expiry;
mod fanout;
mod growth;
pub mod grpc;
mod large;
#[cfg(test)]
mod loop_tests;
mod machine;
mod majority;
mod member_growth;
mod members;
mod memory;
mod open;
mod peers;
mod process;
mod push;
mod replication;
mod report;
mod request;
mod rounds;
mod sample;
mod start;
pub mod static_server;
mod steady;
mod subscribers;
mod svg;
mod tally;
mod wire;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};

use compare::ClosedLoop;
use contender::Foreign;
use report::{Limits, Report};
use request::{Kind, Population};

/// What to measure and how hard.
#[derive(Args, Debug, Clone)]
pub struct Arguments {
    /// Scenarios to run; all of them if none is named.
    scenarios: Vec<Scenario>,
    /// Run the scenarios that have a bar, r-nacos beside, and say of each bar whether it holds.
    #[arg(long, conflicts_with = "scenarios")]
    bars: bool,
    /// Length of each window of a closed loop, in seconds.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Windows of each server in a closed loop.
    #[arg(long, default_value_t = 5, value_parser = positive())]
    rounds: usize,
    /// Requests per second at which latencies are taken after each closed loop; 0 takes none.
    #[arg(long, default_value_t = 4_000)]
    latency_rate: u64,
    /// Connections of a closed loop.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Threads of the load generator in a closed loop.
    #[arg(long, default_value_t = 2, value_parser = positive())]
    client_threads: usize,
    /// Let the threads of a closed loop sleep; the servers are then charged for waking them.
    #[arg(long)]
    sleeping_generator: bool,
    /// Instances that `register-new` and `deregister` add and remove in each round.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    churn: u64,
    /// Beats per second of `beats-open`.
    #[arg(long, default_value_t = 20_000)]
    rate: u64,
    /// Lists per second asked for during `beats-open`.
    #[arg(long, default_value_t = 500)]
    list_rate: u64,
    /// Instances that beat in `beats-open`.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    beating_instances: u64,
    /// Connections that beat in `beats-open`.
    #[arg(long, default_value_t = 1_000, value_parser = positive())]
    open_connections: usize,
    /// Length of each window of `beats-open`, in seconds.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=600))]
    open_seconds: u64,
    /// Windows of each server in `beats-open`.
    #[arg(long, default_value_t = 2, value_parser = positive())]
    open_rounds: usize,
    /// Instances registered by `memory`, `growth` and `mass-expiry`, in services of ten.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    instances: u64,
    /// Registrations measured by `push`.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(2..=100_000))]
    pushes: u64,
    /// The program to measure, instead of the release build of this repository.
    #[arg(long)]
    program: Option<PathBuf>,
    /// A server that is running already and takes part, as `name=URL@PID`; may be repeated.
    #[arg(long)]
    server: Vec<Foreign>,
    /// Install r-nacos, if it is not there yet, and let it take part.
    #[arg(long)]
    with_peers: bool,
    /// File to draw the comparisons to as SVG.
    #[arg(long)]
    svg: Option<PathBuf>,
    /// File to write the results to as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

fn positive() -> impl clap::builder::TypedValueParser<Value = usize> {
    use clap::builder::TypedValueParser;
    clap::value_parser!(u64).range(1..=100_000).map(|number| number as usize)
}

/// One thing to measure.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
enum Scenario {
    /// From the start of the process to its first answer; the size of the program.
    Start,
    /// Lists of 10 instances with 2 metadata entries each.
    List10,
    /// Lists of 100 instances.
    List100,
    /// Lists of 1,000 instances.
    List1000,
    /// Lists of 10,000 instances.
    List10000,
    /// Beats without a body.
    BeatLight,
    /// Beats with the instance as a form field.
    BeatFull,
    /// Registrations of instances that are there already, unchanged.
    Register,
    /// Registrations of new instances, and their removal.
    #[value(aliases = ["register-new", "deregister"])]
    Churn,
    /// 80 light beats, 15 lists and 5 changes out of 100 requests.
    Mixed,
    /// 9 lists to each change of one of their services.
    ListChurn,
    /// Light beats at a fixed rate over many connections, with lists meanwhile.
    BeatsOpen,
    /// Registration to datagram, alone and beside stalled subscribers.
    Push,
    /// Until the last of many subscribers knows.
    FanOut,
    /// Very large services under changes.
    LargeService,
    /// Cost of a request as instances grow in number.
    Growth,
    /// Bytes of instances, lists and tombstones.
    Memory,
    /// Requests while very many instances expire.
    MassExpiry,
    /// Pages of the console over 100,000 services, and an open overview.
    Console,
    /// Questions over DNS at a fixed rate.
    Dns,
    /// Health checks of very many persistent instances.
    Checks,
    /// Writes that are answered when they are on disk.
    Durable,
    /// Writes that are answered when two of three members have them on disk.
    Majority,
    /// Until a server that was killed has its durable records again.
    Restart,
    /// Three members: lag, pushes from one to the other, and what beats cost them.
    Members,
    /// Cost of a request as members grow in number.
    MemberGrowth,
    /// Writes to three members: lag and bytes between them.
    Replication,
    /// A member joins two that are full.
    Join,
    /// Lists of 10 instances over gRPC, one and 16 under way on each connection.
    GrpcQuery10,
    /// Registrations over gRPC of what is registered already.
    GrpcRegister,
    /// Registrations of new instances over gRPC, and their removal.
    GrpcChurn,
    /// Registration to list over a stream, alone and beside stalled subscribers.
    GrpcPush,
    /// Until the last of many subscribers on streams knows.
    GrpcFanOut,
    /// 15,000 connections that ask whether the server is there.
    GrpcIdle,
}

/// The population of the closed loops.
const SMALL: Population = Population::lasting(500, 5_000);

/// 16 beats, 3 lists and 1 change.
const MIXED: &[Kind] = {
    use Kind::{BeatLight as B, Change as C, List as L};
    &[B, B, B, B, B, L, B, B, B, B, B, B, L, B, B, B, L, B, B, C]
};
const LIST_CHURN: &[Kind] = {
    use Kind::{Change as C, List as L};
    &[L, L, L, L, L, L, L, L, L, C]
};

/// Runs the benchmark of the repository at `repository`. This program should be a release build.
///
/// # Errors
///
/// If something does not build or start, or this server answers other than expected: a run in
/// which requests fail measures nothing.
pub fn run(arguments: &Arguments, repository: &Path) -> Result<ExitCode> {
    if arguments.program.is_none() {
        start::build(repository)?;
    }
    let with_peers = arguments.with_peers || arguments.bars;
    let bench = Bench {
        program: contender::program(arguments.program.as_ref())?,
        rnacos: with_peers.then(|| peers::install_rnacos(repository)).transpose()?,
        arguments: arguments.clone(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = runtime.block_on(until_interrupted(measure(&bench)))?;
    println!("{report}");
    if let Some(path) = &arguments.json {
        let json = serde_json::to_vec_pretty(&report)?;
        std::fs::write(path, json).with_context(|| format!("writing {}", path.display()))?;
    }
    if let Some(path) = &arguments.svg {
        let picture = svg::draw(&report.comparisons);
        std::fs::write(path, picture).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What the scenarios are run with.
struct Bench {
    arguments: Arguments,
    /// The server of this repository.
    program: PathBuf,
    rnacos: Option<PathBuf>,
}

/// Dropping `work` ends the servers it started, so an interrupted run leaves nothing behind.
async fn until_interrupted<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let mut terminated = signal(SignalKind::terminate())?;
    tokio::select! {
        finished = work => finished,
        _ = tokio::signal::ctrl_c() => bail!("interrupted"),
        _ = terminated.recv() => bail!("terminated"),
    }
}

async fn measure(bench: &Bench) -> Result<Report> {
    let command = std::env::args().skip(1).collect::<Vec<_>>().join(" ");
    let mut report = Report::new(format!("cargo xtask {command}"));
    let all = Scenario::value_variants();
    let named = &bench.arguments.scenarios;
    let wanted = |scenario: &&Scenario| {
        if bench.arguments.bars { scenario.has_bar() } else { true }
    };
    for scenario in if named.is_empty() { all } else { named }.iter().filter(wanted) {
        eprintln!("{scenario:?}");
        let context = || format!("in scenario {scenario:?}");
        scenario.run(bench, &mut report).await.with_context(context)?;
    }
    Ok(report)
}

impl Scenario {
    fn has_bar(self) -> bool {
        use Scenario::{List100, List1000, List10000, ListChurn, Majority, MemberGrowth, Mixed};
        !matches!(
            self,
            List100 | List1000 | List10000 | Mixed | ListChurn | Majority | MemberGrowth
        )
    }

    /// The closed loop that it is, with its limits; `None` of others.
    fn closed_loop(self) -> Option<ClosedLoop> {
        const NONE: Limits = Limits { over_static: None, over_peer: None };
        let limits = |over_static, over_peer| Limits { over_static: Some(over_static), over_peer };
        let of = |services| Population::lasting(services, 5_000);
        let one = Population::lasting(1, 10_000);
        let (name, kinds, population, limits): (_, &'static [Kind], _, _) = match self {
            Self::List10 => ("list10", &[Kind::List], SMALL, limits(1.15, Some(0.2))),
            Self::List100 => ("list100", &[Kind::List], of(50), NONE),
            Self::List1000 => ("list1000", &[Kind::List], of(5), NONE),
            Self::List10000 => ("list10000", &[Kind::List], one, NONE),
            Self::BeatLight => ("beat-light", &[Kind::BeatLight], SMALL, limits(1.25, Some(0.25))),
            Self::BeatFull => ("beat-full", &[Kind::BeatFull], SMALL, limits(1.45, None)),
            Self::Register => ("register", &[Kind::Register], SMALL, limits(1.5, Some(0.25))),
            Self::Mixed => ("mixed", MIXED, SMALL, NONE),
            Self::ListChurn => ("list-churn", LIST_CHURN, SMALL, NONE),
            _ => return None,
        };
        Some(ClosedLoop { name, kinds, population, limits })
    }

    async fn run(self, bench: &Bench, report: &mut Report) -> Result<()> {
        if let Some(plan) = self.closed_loop() {
            return compare::closed(&plan, bench, report).await;
        }
        match self {
            Self::Churn => compare::churn(bench, report).await,
            Self::BeatsOpen => steady::run(bench, report).await,
            Self::Push => push::run(bench, report).await,
            Self::FanOut => fanout::run(bench, report).await,
            Self::LargeService => large::run(bench, report).await,
            Self::Growth => growth::run(bench, report).await,
            Self::Memory => memory::run(bench, report).await,
            Self::MassExpiry => expiry::run(bench, report).await,
            Self::Start => boot::run(bench, report).await,
            Self::Console => console::run(bench, report).await,
            Self::Dns => dns::run(bench, report).await,
            Self::Checks => checks::run(bench, report).await,
            Self::Durable => durable::write(bench, report).await,
            Self::Majority => majority::run(bench, report).await,
            Self::Restart => durable::restart(bench, report).await,
            Self::Members => members::run(bench, report).await,
            Self::MemberGrowth => member_growth::run(bench, report).await,
            Self::Replication => replication::replicate(bench, report).await,
            Self::Join => replication::join(bench, report).await,
            Self::GrpcQuery10 => {
                for (name, in_flight, over_static) in
                    [("grpc-query10", 1, 1.25), ("grpc-query10x16", 16, 1.3)]
                {
                    let limits = Limits { over_static: Some(over_static), over_peer: Some(0.5) };
                    let kind = grpc::Kind::Query;
                    grpc::closed(&grpc::Plan { name, kind, in_flight, limits }, bench, report)
                        .await?;
                }
                Ok(())
            }
            Self::GrpcRegister => {
                let limits = Limits { over_static: Some(1.4), over_peer: None };
                let (name, kind) = ("grpc-register", grpc::Kind::Register);
                grpc::closed(&grpc::Plan { name, kind, in_flight: 1, limits }, bench, report).await
            }
            Self::GrpcChurn => grpc::churn(bench, report).await,
            Self::GrpcPush => grpc::push(bench, report).await,
            Self::GrpcFanOut => grpc::fan_out(bench, report).await,
            Self::GrpcIdle => grpc::idle(bench, report).await,
            Self::List10 | Self::List100 | Self::List1000 | Self::List10000 => Ok(()),
            Self::BeatLight | Self::BeatFull | Self::Register => Ok(()),
            Self::Mixed | Self::ListChurn => Ok(()),
        }
    }
}
