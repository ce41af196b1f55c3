//! `cargo xtask attacks`: what an attack costs the server in memory, and what others notice of it.
//!
//! Each attack of `docs/bounds.md` that wants to fill memory is played against a fresh release
//! server, while a probe asks for a list twenty times a second as a client of its own. The table
//! says how much memory the server held at its peak, beside the idle figure and what the bounds of
//! the attack allow. All traffic stays on the loopback interface, and each attack ends by itself.

mod memory;
mod played;
mod probe;
mod wire;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::conformance::{Places, Server};
use played::Attack;
use probe::Probe;

/// The server may hold this many times its idle memory, and what the bounds allow besides.
const IDLE_FACTOR: f64 = 1.5;

/// What to play.
#[derive(Args, Debug, Clone)]
pub struct Arguments {
    /// Play only this attack; may be given several times.
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
}

/// Plays the attacks and prints a table.
///
/// # Errors
///
/// If the server does not build or start, or ends by itself.
pub fn run(arguments: &Arguments, repository: &Path) -> Result<ExitCode> {
    let chosen = chosen(arguments)?;
    let places = Places::new(repository, "attacks");
    Server::build(&places)?;
    println!(
        "{:<20} {:>9} {:>9} {:>9} {:>9} {:>7} {:>12}  what came of it",
        "attack", "idle MiB", "peak MiB", "bound MiB", "most MiB", "answers", "probe p99 ms"
    );
    let mut holds = true;
    for attack in chosen {
        holds &= play(attack, &places)?;
    }
    Ok(if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn chosen(arguments: &Arguments) -> Result<Vec<&'static Attack>> {
    for name in &arguments.only {
        let is_known = played::ALL.iter().any(|attack| attack.name == name);
        ensure!(is_known, "no attack is named {name}: {}", played::names());
    }
    let is_chosen = |attack: &&Attack| {
        arguments.only.is_empty() || arguments.only.iter().any(|name| attack.name == name)
    };
    Ok(played::ALL.iter().filter(is_chosen).collect())
}

/// Plays one attack against a server of its own; whether its memory stayed within bounds and the
/// probe was answered.
fn play(attack: &Attack, places: &Places) -> Result<bool> {
    let settings: Vec<&str> = attack.settings.iter().flat_map(|set| ["--set", set]).collect();
    let mut server = Server::start_with(places, &settings)?;
    let target = server.socket()?;
    let pid = server.pid().context("the server was started here")?;
    (attack.prepare)(target)?;
    let idle = memory::held_mib(pid)?;
    memory::forget_peak(pid)?;
    let probe = Probe::start(target);
    let outcome = (attack.play)(target)?;
    let probed = probe.stop();
    let peak = memory::peak_mib(pid)?;
    ensure!(server.is_running()?, "{}: the server has ended", attack.name);
    let most = idle * IDLE_FACTOR + attack.bound_mib;
    let holds = peak <= most && probed.answers > 0 && probed.failures == 0;
    println!(
        "{:<20} {idle:>9.1} {peak:>9.1} {:>9.0} {most:>9.1} {:>7} {:>12.1}  {outcome}{}",
        attack.name,
        attack.bound_mib,
        probed.answers,
        probed.p99_ms,
        if holds { "" } else { "  MISSED" },
    );
    if probed.failures > 0 {
        println!("{:<20} {} probes failed: {}", "", probed.failures, probed.last_failure);
    }
    Ok(holds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_name_is_refused_with_the_known_ones() {
        let arguments = Arguments { only: vec!["nothing".to_owned()] };
        let error = chosen(&arguments).unwrap_err().to_string();
        assert!(error.contains("nothing") && error.contains("slow-heads"), "{error}");
        assert_eq!(chosen(&Arguments { only: Vec::new() }).unwrap().len(), played::ALL.len());
    }
}
