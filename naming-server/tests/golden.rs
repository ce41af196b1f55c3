//! Replays the recorded transcripts of `tests/golden/v1` against a server: one test per scenario.
//!
//! By default the server runs in this process, and scenarios that change server-wide switches get
//! a server of their own. With `GOLDEN_SERVER=http://host:port` the transcripts are replayed
//! against that server, `GOLDEN_CLIENT_IP` being the address under which it reaches us by UDP, and
//! with `GOLDEN_AGAINST=nacos` its answers are compared with what Nacos 1.4.8 answered.

mod golden_support;
#[path = "golden_support/target.rs"]
mod target;

use std::env;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use libtest_mimic::{Arguments, Failed, Trial};

use golden_support::http::Endpoint;
use golden_support::report;
use golden_support::runner::Replay;
use golden_support::scenario::{self, Scenario, Side};
use target::Target;

const TRANSCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/v1");

/// Scenarios spend their time asleep, so the number of cores does not matter.
const THREADS: usize = 32;

fn main() -> anyhow::Result<ExitCode> {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(THREADS);
    let settings = Arc::new(Settings::from_environment()?);
    let mut scenarios = scenario::load(Path::new(TRANSCRIPTS)).map_err(anyhow::Error::msg)?;
    scenarios.sort_by_key(|(_, scenario)| scenario.as_ref().ok().map(Scenario::start_order));
    let trials = scenarios
        .into_iter()
        .map(|(name, scenario)| trial(name, scenario, Arc::clone(&settings)))
        .collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    settings.target.stop()?;
    Ok(conclusion.exit_code())
}

fn trial(name: String, scenario: Result<Scenario, String>, settings: Arc<Settings>) -> Trial {
    let scenario = match scenario {
        Ok(scenario) => scenario,
        Err(error) => return Trial::test(name, || Err(Failed::from(error))),
    };
    let later = scenario.later_release();
    let trial = Trial::test(name, move || settings.replay(&scenario));
    match later {
        // `--ignored` runs it all the same.
        Some(reason) => trial.with_ignored_flag(true).with_kind(reason),
        None => trial,
    }
}

/// What the environment says about the replay.
struct Settings {
    target: Target,
    side: Side,
    client_ip: IpAddr,
}

impl Settings {
    fn from_environment() -> anyhow::Result<Self> {
        let target = match env::var("GOLDEN_SERVER") {
            Ok(url) => Target::running(Endpoint::parse(&url).map_err(anyhow::Error::msg)?),
            Err(_) => Target::in_process(),
        };
        let side = match env::var("GOLDEN_AGAINST").as_deref() {
            Ok("nacos") => Side::Nacos,
            Ok("want") | Err(_) => Side::Want,
            Ok(other) => anyhow::bail!("GOLDEN_AGAINST is nacos or want, not {other:?}"),
        };
        let client_ip = match env::var("GOLDEN_CLIENT_IP") {
            Ok(address) => address.parse().context("GOLDEN_CLIENT_IP")?,
            Err(_) => Ipv4Addr::LOCALHOST.into(),
        };
        Ok(Self { target, side, client_ip })
    }

    fn replay(&self, scenario: &Scenario) -> Result<(), Failed> {
        let failures = self.target.with_server(scenario.exclusive, |server| {
            let mut replay = Replay::new(server.clone());
            (replay.side, replay.client_ip) = (self.side, self.client_ip);
            replay.run(scenario)
        });
        match failures {
            Ok(failures) if failures.is_empty() => Ok(()),
            Ok(failures) => Err(report::report(scenario, &failures).into()),
            Err(error) => Err(format!("no server: {error:#}").into()),
        }
    }
}
