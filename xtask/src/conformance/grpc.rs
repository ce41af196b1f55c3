//! The SDKs that speak gRPC: a few at a time, and a restart of the server while they watch.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

use super::report::Outcome;
use super::sdk::Sdk;
use super::server::Server;
use super::{Places, interrupt, run_checks, side_by_side};

/// More programs than these keep two cores so busy that a push takes longer than the checks allow.
const AT_A_TIME: usize = 3;
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// An SDK, and why it cannot be run if it cannot.
pub(super) type Installed = (&'static Sdk, Result<(), Outcome>);

/// Runs the programs and gives their columns in the same order.
///
/// # Errors
///
/// If the server does not come back, or on SIGINT and SIGTERM.
pub(super) fn run(
    installed: Vec<Installed>,
    places: &Places,
    server: &mut Server,
    run_id: &str,
) -> Result<Vec<(&'static Sdk, Outcome)>> {
    let mut columns = Vec::new();
    let mut ready = Vec::new();
    for (sdk, state) in installed {
        match state {
            Ok(()) => ready.push(sdk),
            Err(outcome) => columns.push((sdk, outcome)),
        }
    }
    for some in ready.chunks(AT_A_TIME) {
        columns.extend(run_some(some, places, server, run_id)?);
    }
    Ok(columns)
}

fn run_some(
    sdks: &[&'static Sdk],
    places: &Places,
    server: &mut Server,
    run_id: &str,
) -> Result<Vec<(&'static Sdk, Outcome)>> {
    let runs: Vec<_> = sdks.iter().map(|sdk| places.directory(sdk).join("run")).collect();
    for run in &runs {
        // Of the run before: its files would say that the program is ready.
        let _ = fs::remove_dir_all(run);
    }
    let address = server.address().to_owned();
    let ended = AtomicUsize::new(0);
    thread::scope(|scope| {
        let programs = scope.spawn(|| {
            side_by_side(sdks.to_vec(), |sdk| {
                let outcome = run_checks(sdk, places, &address, run_id);
                ended.fetch_add(1, Ordering::Relaxed);
                (sdk, outcome)
            })
        });
        let restarted = restart_when_all_wait(&runs, &ended, places, server);
        let columns = super::joined(programs);
        restarted.map(|()| columns)
    })
}

/// Each program says with a file that it waits for the restart, and waits for another file.
fn restart_when_all_wait(
    runs: &[PathBuf],
    ended: &AtomicUsize,
    places: &Places,
    server: &mut Server,
) -> Result<()> {
    let waiting = || runs.iter().filter(|run| run.join("ready").exists()).count();
    while waiting() < runs.len() - ended.load(Ordering::Relaxed) {
        interrupt::check()?;
        thread::sleep(LOOK_INTERVAL);
    }
    let restarted = server.restart(places);
    // Also if it is not back: the programs then end, and say so.
    for run in runs.iter().filter(|run| run.exists()) {
        fs::write(run.join("restarted"), "").context("tell a program of the restart")?;
    }
    restarted
}
