//! Members of this protocol among members of another one, in simulation: real cores and stores,
//! and a model of servers that keep whole lists without stamps, send them when they change, drop
//! what another one does not list, and judge by clocks that stood still (the ownership moves of
//! Java servers of Nacos 1.4).
//!
//! `SEED=7 cargo test -p distro-core --test mixed` replays one run and prints its story;
//! `SEEDS=1000` runs that many; `WITHOUT=absence_waits` leaves a rule out; `DIGESTS=FILE` appends a
//! number for each run to a file.

mod java;
mod ours;
mod world;

#[path = "../sim/net.rs"]
#[allow(dead_code, reason = "these runs need the source of chance alone")]
mod net;

#[path = "../sim/digest.rs"]
mod digest;

use distro_core::Rules;

use world::World;

const SEEDS: u64 = 40;

#[allow(clippy::disallowed_methods, reason = "the variables choose what to run, not how it goes")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn without(rule: &str) -> Rules {
    match rule {
        "" => Rules::default(),
        name => Rules::without(name).unwrap_or_else(|| panic!("there is no rule {name}")),
    }
}

/// What the first of the runs that break a promise says.
fn first_failure(rules: Rules, seeds: std::ops::Range<u64>) -> Option<String> {
    seeds.into_iter().find_map(|seed| World::run(seed, rules).err())
}

#[test]
fn random_runs_keep_every_promise() {
    let rules = without(&variable("WITHOUT").unwrap_or_default());
    let number = |name: &str| variable(name).and_then(|text| text.parse().ok());
    let seeds = match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => number("FIRST").unwrap_or(0)..number("SEEDS").unwrap_or(SEEDS),
    };
    if let Some(failure) = first_failure(rules, seeds) {
        panic!("{failure}");
    }
}

#[test]
fn a_run_can_be_replayed() {
    let [one, other] = [0, 1].map(|_| World::story_of(3, Rules::default()));
    assert_eq!(one, other);
}

#[test]
fn without_waiting_for_what_is_not_listed_live_instances_go_missing() {
    let is_missing = |end: String| end.contains("lives and is not shown");
    let misses = |seed| World::run(seed, without("absence_waits")).is_err_and(is_missing);
    assert!((0..SEEDS).any(misses));
}
