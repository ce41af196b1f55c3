//! The scenarios in which servers take turns under the same load.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::fixed::FixedAnswer;
use super::fleet::{Fleet, Job};
use super::requests::{Asks, Kind};
use super::{APP, beside, start_own};
use crate::compare::{fill, order};
use crate::contender::{Contender, Role, start_peers};
use crate::process::Server;
use crate::report::{Limits, Report};
use crate::request::Population;
use crate::rounds::Rounds;
use crate::sample::{Sample, Snapshot};
use crate::{Arguments, Bench};
use xtask_grpc::Connection;

const WARM_UP: Duration = Duration::from_millis(500);
/// Those of the scenarios over HTTP.
const POPULATION: Population = Population::lasting(500, 5_000);
/// Services in which each connection of `grpc-churn` has one instance.
const CHURN_SERVICES: u64 = 1_000;

/// One kind of request with so many under way on each connection.
pub(crate) struct Plan {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) in_flight: usize,
    pub(crate) limits: Limits,
}

/// A server and the clients that are connected to it.
struct Side {
    contender: Contender,
    fleet: Option<Fleet>,
}

/// As fast as each server can.
pub(crate) async fn closed(plan: &Plan, bench: &Bench, report: &mut Report) -> Result<()> {
    let asks = plan.kind.asks();
    let mut sides = line_up(bench, asks).await?;
    let job = Job { in_flight: plan.in_flight, ..job(asks, &bench.arguments) };
    let mut rounds = Rounds::new(plan.name, sides.iter().map(|side| &side.contender));
    for round in 0..bench.arguments.rounds {
        for turn in order(sides.len(), round) {
            let sample = window(&mut sides[turn], &job, &bench.arguments).await?;
            rounds.keep(turn, sample);
        }
    }
    let contenders: Vec<_> = sides.into_iter().map(|side| side.contender).collect();
    rounds.finish(&contenders, &plan.limits, None, report);
    Ok(())
}

async fn window(side: &mut Side, job: &Job, arguments: &Arguments) -> Result<Option<Sample>> {
    let Some(fleet) = &side.fleet else { return Ok(None) };
    let running = fleet.start(job, &side.contender.tally());
    let window = Duration::from_secs(arguments.seconds);
    let sample = running.measure_window(&mut side.contender.server, WARM_UP, window).await;
    side.contender.judge(sample)
}

/// Registers instances that are new and removes them again: two scenarios in one.
pub(crate) async fn churn(bench: &Bench, report: &mut Report) -> Result<()> {
    let arguments = &bench.arguments;
    let mut sides = line_up(bench, Asks::Register).await?;
    let names = || sides.iter().map(|side| &side.contender);
    let mut registered = Rounds::new("grpc-new", names());
    let mut removed = Rounds::new("grpc-remove", names());
    for round in 0..arguments.rounds {
        for turn in order(sides.len(), round) {
            for (asks, kept) in
                [(Asks::Register, &mut registered), (Asks::Deregister, &mut removed)]
            {
                kept.keep(turn, each_once(&mut sides[turn], asks, arguments).await?);
            }
        }
    }
    let contenders: Vec<_> = sides.into_iter().map(|side| side.contender).collect();
    let limits = |over_static| Limits { over_static: Some(over_static), over_peer: None };
    registered.finish(&contenders, &limits(1.6), None, report);
    removed.finish(&contenders, &limits(1.5), None, report);
    Ok(())
}

/// Every client asks for each of its services once.
async fn each_once(side: &mut Side, asks: Asks, arguments: &Arguments) -> Result<Option<Sample>> {
    let Some(fleet) = &side.fleet else { return Ok(None) };
    let services = CHURN_SERVICES;
    let job = Job { services, each: Some(services), ..job(asks, arguments) };
    let tally = side.contender.tally();
    tally.record(true);
    let count = services * arguments.connections as u64;
    let start = Snapshot::take(&side.contender.server, &tally)?;
    let running = fleet.start(&job, &tally);
    let sample = running.measure_count(&mut side.contender.server, count, start, |_| {}).await;
    side.contender.judge(sample)
}

fn job(asks: Asks, arguments: &Arguments) -> Job {
    Job {
        asks,
        services: POPULATION.services,
        in_flight: 1,
        may_sleep: arguments.sleeping_generator,
        each: None,
    }
}

/// This server, bare h2 with what this server answers, and the peers.
async fn line_up(bench: &Bench, asks: Asks) -> Result<Vec<Side>> {
    let mut own = start_own(bench, &[]).await?;
    fill(&mut own, POPULATION, &bench.arguments).await?;
    let answer = probe(beside(own.server.address), asks).await?;
    let fixed = Contender::new("bare h2", Role::Static, start_fixed(&answer).await?);
    let mut all = vec![own, fixed];
    for mut peer in start_peers(bench).await? {
        let filled = fill(&mut peer, POPULATION, &bench.arguments).await;
        peer.judge(filled)?;
        all.push(peer);
    }
    let mut sides = Vec::new();
    for mut contender in all {
        let address = grpc_address(&contender);
        let (connections, threads) = (bench.arguments.connections, bench.arguments.client_threads);
        let fleet = match contender.failure {
            Some(_) => None,
            None => contender.judge(Fleet::connect(address, connections, threads).await)?,
        };
        sides.push(Side { contender, fleet });
    }
    Ok(sides)
}

fn grpc_address(contender: &Contender) -> SocketAddr {
    match contender.role {
        Role::Static | Role::Epoll => contender.server.address,
        Role::Own | Role::Peer => beside(contender.server.address),
    }
}

/// What this server answers.
async fn probe(address: SocketAddr, asks: Asks) -> Result<FixedAnswer> {
    let connection = Connection::open(address).await?;
    let _stream = connection.set_up(APP).await?;
    let answer = connection.call(&asks.payload(0, 0, POPULATION.services)).await?;
    let body = String::from_utf8(answer.body().to_vec()).context("an answer is text")?;
    Ok(FixedAnswer { kind: answer.kind().to_owned(), body })
}

/// Starts bare h2. It answers the question for health likewise, which is taken for a yes.
pub(super) async fn start_fixed(answer: &FixedAnswer) -> Result<Server> {
    let own = std::env::current_exe().context("asking where this program lies")?;
    let mut line = serde_json::to_string(answer)?;
    line.push('\n');
    let mut command = Command::new(own);
    command.arg("static-h2");
    Server::start(&mut command, &line, |line| line.parse().ok()).await
}
