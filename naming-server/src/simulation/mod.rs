//! The server in simulation: several members and their clients on the hosts of one simulated
//! network, in one thread, in virtual time.
//!
//! What runs is what the program runs: driver, upkeep, pusher, handlers and hyper. Only the sockets
//! are those of turmoil, the clock starts at a made-up time, and chance comes from the seed. The
//! clients hold every answer against what must be true ([`ledger`]), in the order in which they
//! come.
//!
//! A run can be repeated: the same seed tells the same story, line by line. What differs from run
//! to run (nonces and keys of the sessions between members, times of the day in answers, the order
//! within hash tables) decides nothing and is not told.
//!
//! `SEED=7 cargo test -p naming-server --lib simulation::partition -- --nocapture` runs one seed and
//! prints its story.

mod caller;
mod checks;
mod client;
mod cluster;
mod connected;
mod crash;
mod held;
mod join;
mod ledger;
mod network;
mod one_way;
mod partition;
mod process;
mod push;
mod restart;
mod story;
mod truth;
mod work;

use std::net::Ipv4Addr;

use self::story::Story;

/// Where members listen.
const PORT: u16 = 8_848;
/// Where they listen for clients of 2.x.
const GRPC_PORT: u16 = 9_848;

/// The seeds of a scenario, if none is named.
const SEEDS: std::ops::RangeInclusive<u64> = 1..=3;

fn member_ip(member: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, member as u8 + 1)
}

fn client_ip(side: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 1, side as u8 + 1)
}

/// Runs a scenario with its seeds, or with that of the environment.
fn run_seeds(scenario: fn(u64, Story)) {
    match std::env::var("SEED") {
        Ok(seed) => drop(run_seed(scenario, seed.parse().expect("SEED is a number"), true)),
        Err(_) => SEEDS.for_each(|seed| drop(run_seed(scenario, seed, false))),
    }
}

/// Runs a scenario with one seed; its story.
fn run_seed(scenario: fn(u64, Story), seed: u64, is_wanted: bool) -> String {
    /// Prints the story even if the scenario fails.
    struct Printer(Story, bool);
    impl Drop for Printer {
        fn drop(&mut self) {
            if self.1 {
                eprint!("{}", self.0.text());
            }
        }
    }
    let story = Story::default();
    let _printer = Printer(story.clone(), is_wanted);
    let _log = story.take_log();
    scenario(seed, story.clone());
    story.text()
}

/// The first line in which two stories differ.
fn difference(one: &str, other: &str) -> Option<String> {
    let mut pairs = one.lines().zip(other.lines()).enumerate();
    let differing = pairs.find(|(_, (one, other))| one != other);
    match differing {
        Some((line, (one, other))) => Some(format!("line {}:\n{one}\n{other}", line + 1)),
        None => (one != other).then(|| "one ends earlier".to_owned()),
    }
}

#[test]
fn a_seed_tells_the_same_story_again() {
    for scenario in [partition::scenario, crash::scenario, one_way::held] {
        let [first, second] = [(); 2].map(|()| run_seed(scenario, 11, false));
        assert!(first.lines().count() > 1_000, "{} lines", first.lines().count());
        assert_eq!(difference(&first, &second), None);
    }
    let [one, other] = [11, 12].map(|seed| run_seed(one_way::held, seed, false));
    assert!(difference(&one, &other).is_some(), "the seed decides something");
}
