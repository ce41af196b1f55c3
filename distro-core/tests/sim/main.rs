//! The cluster in simulation: real cores and stores, one virtual clock, and a network, processes
//! and clients that misbehave as a seed says.
//!
//! `SEED=7 cargo test -p distro-core --test sim -- random` replays one run and prints its story;
//! `SEEDS=10000` runs that many, from `FIRST=…` on; `WITHOUT=refute` leaves a rule out,
//! `FLAW=answers_early` puts a bug in. `DIGESTS=FILE` appends a number for each run to a file: a
//! change that should change nothing leaves all of them as they are.

mod client;
mod connections;
mod digest;
mod disk;
mod heal;
mod invariants;
mod judgements;
mod keeping;
mod net;
mod node;
mod random;
mod removals;
mod scenarios;
mod world;
