//! Stories of durable records. Each ends badly with the flaw that it is about.

use std::time::Duration;

use distro_core::Rules;

use crate::client::{Client, Life};
use crate::node::{Acks, Ask, Setup};
use crate::world::World;

/// A story of a sound server ends well; of one with a flaw it does not.
fn shows(story: impl Fn(World) -> bool, flaw: impl Fn(&mut Setup)) {
    /// How long a flush takes is up to chance.
    const SEEDS: u64 = 8;
    let ends_well = |change: &dyn Fn(&mut Setup)| (0..SEEDS).all(|seed| story(three(seed, change)));
    assert!(ends_well(&|_| {}), "ends badly although nothing is wrong");
    assert!(!ends_well(&flaw), "ends well although something is wrong");
}

/// Three members that know each other. Removals are forgotten sooner than in earnest. The story
/// looks for its own end.
fn three(seed: u64, change: impl Fn(&mut Setup)) -> World {
    let mut world = World::new(3, seed, Rules::default());
    let seconds = Duration::from_secs;
    world.setup.store.tombstone_retention = seconds(60);
    world.setup.store.durable_retention = seconds(600);
    change(&mut world.setup);
    world.invariants.are_off = true;
    (0..3).for_each(|node| world.start(node));
    world.run_for(10_000);
    world
}

/// Somebody whose durable record was written by member 0, and who rests since.
fn keeper(world: &mut World, tag: &str, key: &str) -> usize {
    let client = world.add_client(Client { life: Life::Kept, ..Client::keeper(tag, key) });
    world.ask(client, 0, Ask::Save(1));
    world.run_for(1_000);
    client
}

/// Asks a member for something, and waits until it is told to be done.
fn is_done(world: &mut World, client: usize, node: usize, ask: Ask) -> bool {
    let before = world.clients[client].acked_at;
    world.expect(client, node, ask);
    let end = world.now + 3_000;
    while world.now < end && world.clients[client].acked_at == before {
        world.run_for(1);
    }
    world.clients[client].acked_at > before
}

fn shown(world: &World, client: usize) -> [Option<u32>; 3] {
    [0, 1, 2].map(|node| world.view(node, client).map(|(number, _)| number))
}

fn restart(world: &mut World, nodes: &[usize]) {
    nodes.iter().for_each(|node| world.start(*node));
    world.run_for(10_000);
}

#[test]
fn what_one_member_has_told_to_be_done_survives_its_restart() {
    shows(
        |mut world| {
            world.setup.acks = Acks::Local;
            let client = keeper(&mut world, "#users", "root");
            // Nobody else hears of it.
            world.cut(0, 1);
            world.cut(0, 2);
            world.run_for(3_000);
            assert!(is_done(&mut world, client, 0, Ask::Save(2)));
            world.kill(0);
            world.heal();
            restart(&mut world, &[0]);
            shown(&world, client) == [Some(2); 3]
        },
        |setup| setup.flaws.answers_early = true,
    );
}

#[test]
fn what_is_told_to_be_done_survives_that_the_power_fails_everywhere() {
    shows(
        |mut world| {
            let client = keeper(&mut world, "#users", "root");
            assert!(is_done(&mut world, client, 1, Ask::Save(2)));
            (0..3).for_each(|node| world.kill(node));
            world.run_for(1_000);
            restart(&mut world, &[0, 1, 2]);
            shown(&world, client) == [Some(2); 3]
        },
        |setup| setup.flaws.loads_nothing = true,
    );
}

/// The member that took a write dies for good, the others at the same time, but they come back.
fn taker_dies_for_good(mut world: World) -> bool {
    let client = keeper(&mut world, "#users", "root");
    world.slowest_flush_ms = 500;
    assert!(is_done(&mut world, client, 0, Ask::Save(2)));
    world.wipe(0);
    world.kill(1);
    world.kill(2);
    world.run_for(1_000);
    restart(&mut world, &[0, 1, 2]);
    shown(&world, client) == [Some(2); 3]
}

#[test]
fn what_a_majority_has_survives_the_member_that_took_it() {
    shows(taker_dies_for_good, |setup| setup.acks = Acks::Local);
}

#[test]
fn a_member_that_is_asked_to_hold_answers_when_its_disk_has_it() {
    shows(taker_dies_for_good, |setup| setup.flaws.holds_early = true);
}

#[test]
fn without_a_majority_nobody_is_told_that_it_is_done_and_yet_it_may_be() {
    let mut world = three(1, |_| {});
    let client = keeper(&mut world, "#users", "root");
    world.kill(1);
    world.kill(2);
    world.run_for(10_000);
    assert!(!is_done(&mut world, client, 0, Ask::Save(2)));
    restart(&mut world, &[1, 2]);
    assert_eq!(shown(&world, client), [Some(2); 3]);
    world.cut(0, 1);
    world.cut(0, 2);
    world.run_for(10_000);
    assert!(!is_done(&mut world, client, 0, Ask::Save(3)));
    assert!(is_done(&mut world, client, 1, Ask::Save(4)));
}

#[test]
fn a_member_of_an_earlier_release_counts_as_not_holding() {
    let mut world = three(1, |_| {});
    let client = keeper(&mut world, "#users", "root");
    world.nodes[2].is_old = true;
    assert!(is_done(&mut world, client, 0, Ask::Save(2)));
    world.kill(1);
    world.run_for(10_000);
    assert!(!is_done(&mut world, client, 0, Ask::Save(3)));
}

/// While a member is away for longer than removals are usually remembered, what it has on disk is
/// removed.
fn comes_back_late(mut world: World, removal: Ask) -> bool {
    let client = keeper(&mut world, "service", "!10.0.0.1#80#a");
    world.kill(2);
    world.run_for(10_000);
    world.ask(client, 0, removal);
    world.run_for(200_000);
    restart(&mut world, &[2]);
    world.run_for(20_000);
    shown(&world, client) == [None; 3]
}

#[test]
fn who_comes_back_after_long_does_not_undo_a_removal() {
    shows(
        |world| comes_back_late(world, Ask::Erase(2)),
        |setup| {
            setup.store.durable_retention = setup.store.tombstone_retention;
            setup.store.rules.keep_queued_removals = false;
        },
    );
}

#[test]
fn who_comes_back_after_long_does_not_open_again_what_was_closed() {
    shows(
        |world| comes_back_late(world, Ask::Close),
        |setup| {
            setup.store.durable_retention = setup.store.tombstone_retention;
            setup.store.rules.keep_queued_removals = false;
        },
    );
}

#[test]
fn a_removal_that_only_a_disk_remembers_counts() {
    shows(
        |mut world| {
            world.setup.acks = Acks::Local;
            let client = keeper(&mut world, "#users", "root");
            world.cut(0, 1);
            world.cut(0, 2);
            world.run_for(3_000);
            assert!(is_done(&mut world, client, 0, Ask::Erase(2)));
            world.kill(0);
            world.heal();
            restart(&mut world, &[0]);
            shown(&world, client) == [None; 3]
        },
        |setup| setup.flaws.forgets_removals = true,
    );
}

#[test]
fn writes_after_a_restart_are_newer_than_what_was_on_disk_whatever_the_clock_says() {
    let mut world = three(1, |_| {});
    let client = keeper(&mut world, "#users", "root");
    (0..3).for_each(|node| world.kill(node));
    for node in &mut world.nodes {
        node.skew_ms = -1_000_000_000;
    }
    (0..3).for_each(|node| world.start(node));
    assert!(is_done(&mut world, client, 1, Ask::Save(2)));
    world.run_for(10_000);
    assert_eq!(shown(&world, client), [Some(2); 3]);
    assert!(is_done(&mut world, client, 2, Ask::Erase(3)));
    world.run_for(10_000);
    assert_eq!(shown(&world, client), [None; 3]);
}
