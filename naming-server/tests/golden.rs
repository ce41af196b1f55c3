//! Replays the recorded transcripts of `tests/golden` against a server: one test per scenario.
//! Those of 1.4.8 (`v1`) go by their names, those of 2.5.1 and 3.0.3 by `v2/NAME` and `v3/NAME`.
//!
//! By default the server runs in this process, and each scenario is replayed twice: on a server
//! alone and on one of three members. Scenarios that change server-wide switches get servers of
//! their own. With `GOLDEN_SERVER=http://host:port` the transcripts are replayed
//! against that server, `GOLDEN_CONSOLE` being its port for consoles, `GOLDEN_CLIENT_IP` the address
//! under which it reaches us by UDP, and with `GOLDEN_AGAINST=nacos` its answers are compared with
//! what Nacos answered.

mod golden_support;
#[path = "golden_support/target.rs"]
mod target;
#[path = "golden_support/trials.rs"]
mod trials;

use std::env;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Failed, Trial};
use naming_server::LogConfig;

use golden_support::http::Endpoint;
use golden_support::report::StepFailure;
use golden_support::scenario::{self, Scenario, Step};
use target::{IDENTITY, Kind, Place};
use trials::{Settings, verdict};

const TRANSCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden");

/// The folders of transcripts, and what stands before the names of their scenarios.
const FOLDERS: [(&str, &str); 3] = [("v1", ""), ("v2", "v2/"), ("v3", "v3/")];

/// What is not replayed on a member: scenario, reason.
const SKIPPED: [(&str, &str); 1] =
    [("instance-ids", "the smallest free number is given by the owner of the service only")];

/// What is replayed on a server with authentication, each request with the header of the operator:
/// scenario, reason.
const BY_OPERATOR: [(&str, &str); 1] =
    [("v3/auth-users", "nobody plants users while authentication is off")];

/// Steps that this server means to answer otherwise: scenario, step, reason.
const OTHERWISE: [(&str, &str, &str); 2] = [
    ("v2/console-health", "step 6", "a client of 1.x gets all counts, as from 1.4.8"),
    ("v3/admin-state", "step 7", "a client of 1.x gets all counts, as from 1.4.8"),
];

/// Steps that name a single node by their nature, and so must not hold on a member: scenario, step,
/// reason.
const ALONE_ONLY: [(&str, &str, &str); 9] = [
    ("console-health", "step 3", "the mode is `standalone`"),
    ("core-cluster", "step 2", "the list of members has one entry"),
    ("core-cluster", "step 4", "the list of addresses has one entry"),
    ("v2/naming-mode", "step 1", "the mode is `standalone`"),
    ("v2/v1-console", "step 1", "the mode is `standalone`"),
    ("v3/admin-state", "step 1", "the mode is `standalone`"),
    ("v3/console-core", "step 15", "the mode is `standalone`"),
    ("v3/naming-mode-v3", "step 1", "the mode is `standalone`"),
    ("v3/naming-mode-v3", "step 2", "the mode is `standalone`"),
];

/// Scenarios at a time.
const THREADS: usize = 32;

fn main() -> anyhow::Result<ExitCode> {
    let settings = Arc::new(Settings::from_environment(running)?);
    // Levels can be changed only where logging is ours.
    naming_server::start_logging(&LogConfig { level: "off".to_owned(), ..LogConfig::default() })?;
    let mut scenarios = Vec::new();
    for (folder, prefix) in FOLDERS {
        let found = scenario::load(&Path::new(TRANSCRIPTS).join(folder), Step::check);
        let found = found.map_err(anyhow::Error::msg)?.into_iter();
        scenarios.extend(found.map(|(name, scenario)| (format!("{prefix}{name}"), scenario)));
    }
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
    // It asks for what a server refuses that makes no checks of MySQL.
    let is_of_another_build = cfg!(not(feature = "mysql")) && name == "cluster-update";
    let is_by_operator = BY_OPERATOR.iter().any(|(operator, _)| *operator == name);
    let has_auth = scenario.needs_auth() || is_by_operator;
    let is_fresh = scenario.needs_no_user();
    let needs_users = (has_auth || is_fresh) && settings.target.is_running();
    let skipped = SKIPPED.iter().find(|(skipped, _)| *skipped == name);
    let is_for_members = !settings.target.is_running();
    let trial = |is_member: bool| {
        let kind = Kind { has_auth, is_member, is_fresh, ..Kind::default() };
        let (scenario, settings) = (Arc::clone(&scenario), Arc::clone(settings));
        let title = if is_member { format!("{name}-member") } else { name.clone() };
        let name = name.clone();
        let trial = Trial::test(title, move || replay(&settings, kind, &name, &scenario));
        // `--ignored` runs it all the same.
        match skipped.filter(|_| is_member) {
            Some((_, reason)) => trial.with_ignored_flag(true).with_kind(*reason),
            None if is_of_another_build => {
                trial.with_ignored_flag(true).with_kind("with the feature mysql")
            }
            None if needs_users => {
                trial.with_ignored_flag(true).with_kind("needs a server with users")
            }
            None => trial,
        }
    };
    let kinds: &[bool] = if is_for_members { &[false, true] } else { &[false] };
    kinds.iter().map(|is_member| trial(*is_member)).collect()
}

/// The server that the environment names.
fn running(http: Endpoint) -> anyhow::Result<Place> {
    let console = env::var("GOLDEN_CONSOLE").ok();
    let console = console.map(|url| Endpoint::parse(&url).map_err(anyhow::Error::msg));
    Ok(Place { http, console: console.transpose()?, grpc: None })
}

fn replay(settings: &Settings, kind: Kind, name: &str, scenario: &Scenario) -> Result<(), Failed> {
    let exclusive = scenario.exclusive || kind.is_fresh;
    let failures = settings.target.with_server(kind, exclusive, |server| {
        let mut replay = settings.replay_at(server);
        replay.console.clone_from(&server.console);
        if BY_OPERATOR.iter().any(|(operator, _)| *operator == name) {
            replay.headers = vec![IDENTITY.map(str::to_owned).into()];
        }
        replay.run(scenario)
    });
    let failures = failures.map(|failures| {
        let failures = except(&OTHERWISE, name, failures);
        match kind.is_member {
            true => except(&ALONE_ONLY, name, failures),
            false => failures,
        }
    });
    verdict(scenario, failures)
}

/// Takes out the failures of steps that must not hold. If such a step does not fail, that is a
/// failure.
fn except(
    steps: &[(&str, &str, &str)],
    scenario: &str,
    failures: Vec<StepFailure>,
) -> Vec<StepFailure> {
    let listed = steps.iter().filter(|(name, _, _)| *name == scenario);
    let (due, mut rest): (Vec<_>, Vec<_>) = failures
        .into_iter()
        .partition(|failure| listed.clone().any(|(_, place, _)| *place == failure.place));
    let held = listed.filter(|(_, place, _)| due.iter().all(|failure| failure.place != *place));
    rest.extend(held.map(|(_, place, reason)| StepFailure {
        place: (*place).to_owned(),
        what: "holds".to_owned(),
        note: None,
        differences: vec![format!("listed as not holding there: {reason}")],
    }));
    rest
}
