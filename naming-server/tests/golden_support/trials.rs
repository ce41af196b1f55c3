//! What both replays of transcripts do: reading the environment, running the trials, saying what
//! came of one.

use std::env;
use std::net::{IpAddr, Ipv4Addr};
use std::process::ExitCode;

use anyhow::Context;
use libtest_mimic::{Arguments, Failed, Trial};

use super::golden_support::http::Endpoint;
use super::golden_support::report::{self, StepFailure};
use super::golden_support::runner::Replay;
use super::golden_support::scenario::{Scenario, Side};
use super::target::{Place, Target};

/// What the environment says about a replay.
pub(crate) struct Settings {
    pub(crate) target: Target,
    side: Side,
    client_ip: IpAddr,
}

impl Settings {
    /// `running` says where the server is that `GOLDEN_SERVER` names.
    pub(crate) fn from_environment(
        running: impl FnOnce(Endpoint) -> anyhow::Result<Place>,
    ) -> anyhow::Result<Self> {
        let target = match env::var("GOLDEN_SERVER") {
            Ok(url) => {
                let http = Endpoint::parse(&url).map_err(anyhow::Error::msg)?;
                Target::running(running(http)?)
            }
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

    /// A replay against this server, over HTTP.
    pub(crate) fn replay_at(&self, place: &Place) -> Replay {
        let mut replay = Replay::new(place.http.clone());
        (replay.side, replay.client_ip) = (self.side, self.client_ip);
        replay
    }

    /// Runs the trials, so many at a time unless the command line says otherwise. They spend their
    /// time asleep, so the number of cores does not matter.
    pub(crate) fn conclude(&self, threads: usize, trials: Vec<Trial>) -> anyhow::Result<ExitCode> {
        let mut arguments = Arguments::from_args();
        arguments.test_threads.get_or_insert(threads);
        let conclusion = libtest_mimic::run(&arguments, trials);
        self.target.stop()?;
        Ok(conclusion.exit_code())
    }
}

/// What is said of a replay.
pub(crate) fn verdict(
    scenario: &Scenario,
    failures: anyhow::Result<Vec<StepFailure>>,
) -> Result<(), Failed> {
    match failures {
        Ok(failures) if failures.is_empty() => Ok(()),
        Ok(failures) => Err(report::report(scenario, &failures).into()),
        Err(error) => Err(format!("no server: {error:#}").into()),
    }
}
