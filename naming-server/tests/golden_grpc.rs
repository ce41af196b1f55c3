//! Replays the recorded transcripts of `tests/golden/grpc` against a server: one test per scenario.
//!
//! By default the server runs in this process, and each scenario is replayed twice: on a server
//! alone and on one of three members. With `GOLDEN_SERVER=http://host:port` the transcripts are
//! replayed against that server once, which takes gRPC at `GOLDEN_GRPC_PORT`, by default its port
//! and 1,000. `GOLDEN_CLIENT_IP` is the address under which it reaches us by UDP, and with
//! `GOLDEN_AGAINST=nacos` its answers are compared with what Nacos 2.5.1 answered.

#[path = "golden_grpc/mod.rs"]
mod golden_grpc;
mod golden_support;
#[path = "golden_support/target.rs"]
mod target;
#[path = "golden_support/trials.rs"]
mod trials;

use std::env;
use std::net::ToSocketAddrs;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use libtest_mimic::{Failed, Trial};

use golden_grpc::step;
use golden_grpc::story::GrpcReplay;
use golden_support::http::Endpoint;
use golden_support::scenario::{self, Scenario};
use target::{Kind, Place};
use trials::{Settings, verdict};

const TRANSCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/grpc");

/// What the server has of 3.x. The others want its client API over HTTP, and the abilities `lock`
/// and `mcp`.
const OF_3X: [&str; 2] = ["v3-fuzzy-patterns", "v3-fuzzy-watch"];

/// How far above its main port a server takes gRPC.
const PORT_OFFSET: u16 = 1_000;

/// Scenarios at a time.
const THREADS: usize = 16;

fn main() -> anyhow::Result<ExitCode> {
    let settings = Arc::new(Settings::from_environment(running)?);
    let found = scenario::load(Path::new(TRANSCRIPTS), step::check);
    let mut scenarios = found.map_err(anyhow::Error::msg)?;
    scenarios.sort_by_key(|(_, scenario)| scenario.as_ref().ok().map(Scenario::start_order));
    let trials = scenarios
        .into_iter()
        .flat_map(|(name, scenario)| trials_of(name, scenario, &settings))
        .collect();
    settings.conclude(THREADS, trials)
}

fn trials_of(
    name: String,
    scenario: Result<Scenario, String>,
    settings: &Arc<Settings>,
) -> Vec<Trial> {
    let scenario = match scenario {
        Ok(scenario) => Arc::new(scenario),
        Err(error) => return vec![Trial::test(name, || Err(Failed::from(error)))],
    };
    let reason = why_not(settings, &scenario);
    let trial = |is_member: bool| {
        let (scenario, settings) = (Arc::clone(&scenario), Arc::clone(settings));
        let name = if is_member { format!("{name}-member") } else { name.clone() };
        let trial = Trial::test(name, move || replay(&settings, is_member, &scenario));
        // `--ignored` runs it all the same.
        match reason {
            Some(reason) => trial.with_ignored_flag(true).with_kind(reason),
            None => trial,
        }
    };
    let kinds: &[bool] = if settings.target.is_running() { &[false] } else { &[false, true] };
    kinds.iter().map(|is_member| trial(*is_member)).collect()
}

/// Why a scenario is left out unless it is asked for.
fn why_not(settings: &Settings, scenario: &Scenario) -> Option<&'static str> {
    let is_running = settings.target.is_running();
    if scenario.needs("3.x") && !OF_3X.contains(&&*scenario.name) {
        return Some("needs a server with the additions of 3.x");
    }
    (is_running && scenario.needs_auth()).then_some("needs a server with users")
}

fn replay(settings: &Settings, is_member: bool, scenario: &Scenario) -> Result<(), Failed> {
    let (has_auth, has_short_tokens) = (scenario.needs_auth(), scenario.needs("short-token"));
    let kind = Kind { has_auth, has_short_tokens, is_member, ..Kind::default() };
    let failures = settings.target.with_server(kind, scenario.exclusive, |place| {
        let grpc = place.grpc.context("the server does not speak gRPC")?;
        anyhow::Ok(GrpcReplay { http: settings.replay_at(place), grpc }.run(scenario))
    });
    verdict(scenario, failures.flatten())
}

/// The server that the environment names.
fn running(http: Endpoint) -> anyhow::Result<Place> {
    let port = match env::var("GOLDEN_GRPC_PORT") {
        Ok(port) => port.parse().context("GOLDEN_GRPC_PORT")?,
        Err(_) => http.port.checked_add(PORT_OFFSET).context("the port of gRPC")?,
    };
    let mut found = (http.host.as_str(), port).to_socket_addrs()?;
    let grpc = Some(found.next().context("the server has no address")?);
    Ok(Place { http, console: None, grpc })
}
