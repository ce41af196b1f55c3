//! Stories of instances that die while something else is wrong. When that is over, members put
//! together what each of them has heard; without that the dead stay for full time-outs more.

use distro_core::{Health, Rules};

use crate::client::Client;
use crate::node::Ask;
use crate::world::World;

/// How many instances die, and how many live on.
const DYING: usize = 6;
const LIVING: usize = 10;
/// The dead are gone so long after they were last heard, or after the last event.
const SILENT_MS: u64 = 35_000;
const SETTLED_MS: u64 = 10_000;

/// A story told with all rules ends well, whenever in the round of beats and looks it happens; told
/// without accounts it does not.
fn shows(disturb: impl Fn(&mut World)) {
    let tell = |rules| (0..12).try_for_each(|n| dead_go_and_live_stay(rules, n * 700, &disturb));
    if let Err(broken) = tell(Rules::default()) {
        panic!("although all rules hold: {broken}");
    }
    let without = Rules { accounts: false, ..Rules::default() };
    assert!(tell(without).is_err(), "ends well without accounts, too");
}

fn dead_go_and_live_stay(
    rules: Rules,
    offset_ms: u64,
    disturb: impl Fn(&mut World),
) -> Result<(), String> {
    let mut world = World::new(4, offset_ms, rules);
    world.set_members(&[0, 1, 2]);
    world.invariants.are_off = true;
    (0..3).for_each(|node| world.start(node));
    world.run_for(10_000);
    for n in 0..DYING + LIVING {
        world.add_client(Client::new(&format!("tag-{n}"), "key"));
    }
    world.run_for(20_000 + offset_ms);
    disturb(&mut world);
    let end = world.now + 60_000;
    while world.now < end {
        let late = is_late(&world).then_some("a dead one is still there");
        let gone = (!are_well(&world)).then_some("one that lives is not");
        if let Some(broken) = late.or(gone) {
            return Err(format!("{}{:>8} {broken}", world.story(), world.now));
        }
        world.run_for(100);
    }
    Ok(())
}

fn die(world: &mut World) {
    (0..DYING).for_each(|client| world.die(client));
}

fn are_well(world: &World) -> bool {
    let is_well = |n: usize, client: usize| {
        !world.is_ready(n) || matches!(world.view(n, client), Some((_, Health::Healthy)))
    };
    let living = DYING..DYING + LIVING;
    living.into_iter().all(|client| world.members().iter().all(|n| is_well(*n, client)))
}

fn is_late(world: &World) -> bool {
    let is_late = |client: usize| {
        let gone_by = world.silent_since(client) + SILENT_MS;
        let is_shown = world.members().iter().any(|n| world.view(*n, client).is_some());
        is_shown && world.now > gone_by.max(world.disturbed_at + SETTLED_MS)
    };
    (0..DYING).any(is_late)
}

#[test]
fn the_dead_of_a_cut_are_gone_ten_seconds_after_it() {
    shows(|world| {
        world.cut(0, 1);
        world.cut(0, 2);
        world.run_for(18_000);
        die(world);
        world.run_for(15_000);
        world.heal();
    });
}

#[test]
fn the_dead_of_a_cut_whose_sides_know_different_instances_are_gone_ten_seconds_after_it() {
    shows(|world| {
        // Each side has registered some that the other learns of when the cut is over.
        world.cut(0, 1);
        world.cut(0, 2);
        world.run_for(10_000);
        (0..DYING + LIVING).for_each(|client| {
            world.clients[client].reach = vec![client % 3];
            world.write_again(client);
        });
        world.run_for(10_000);
        die(world);
        world.run_for(13_000);
        world.heal();
        (0..DYING + LIVING).for_each(|client| world.clients[client].reach.clear());
    });
}

#[test]
fn the_dead_of_a_time_when_a_member_was_stopped_are_gone_ten_seconds_after_it() {
    shows(|world| {
        world.pause(0);
        world.run_for(18_000);
        die(world);
        world.run_for(15_000);
        world.resume(0);
    });
}

#[test]
fn the_dead_are_gone_ten_seconds_after_a_member_has_come_back() {
    shows(|world| {
        die(world);
        world.run_for(15_000);
        world.kill(0);
        world.run_for(2_500);
        world.start(0);
    });
}

#[test]
fn the_dead_are_gone_ten_seconds_after_all_members_have_come_back_one_by_one() {
    shows(|world| {
        die(world);
        world.run_for(5_000);
        for node in 0..3 {
            world.kill(node);
            world.run_for(1_000);
            world.start(node);
            world.run_for(5_000);
        }
    });
}

#[test]
fn the_dead_are_gone_ten_seconds_after_a_member_has_died() {
    shows(|world| {
        die(world);
        world.run_for(15_000);
        world.kill(0);
        world.run_for(4_000);
    });
}

#[test]
fn the_dead_are_gone_ten_seconds_after_a_member_has_left() {
    shows(|world| {
        die(world);
        world.run_for(20_000);
        world.leave(0);
    });
}

#[test]
fn the_dead_are_gone_ten_seconds_after_a_member_has_joined() {
    shows(|world| {
        die(world);
        world.run_for(15_000);
        world.set_members(&[0, 1, 2, 3]);
        world.start(3);
    });
}

#[test]
fn the_dead_are_gone_ten_seconds_after_lists_of_members_were_the_same_again() {
    shows(|world| {
        die(world);
        world.configure(0, [0, 1].into());
        world.run_for(20_000);
        world.configure(0, [0, 1, 2].into());
    });
}

#[test]
fn the_dead_of_a_cut_in_which_a_member_started_anew_are_gone_ten_seconds_after_it() {
    shows(|world| {
        world.cut(0, 1);
        world.cut(0, 2);
        world.run_for(15_000);
        die(world);
        world.kill(0);
        world.start(0);
        world.run_for(18_000);
        world.heal();
        // By itself it knew nothing of the living.
        world.run_for(3_000);
    });
}

#[test]
fn the_dead_whom_only_a_slow_comparison_brings_are_gone_in_time() {
    shows(|world| {
        world.cut(0, 1);
        world.cut(0, 2);
        world.run_for(10_000);
        (0..DYING + LIVING).for_each(|client| {
            world.clients[client].reach = vec![1];
            world.write_again(client);
        });
        world.run_for(6_000);
        // What it would have replicated is forgotten; the third has it, but did not write it.
        world.kill(1);
        world.start(1);
        (0..DYING + LIVING).for_each(|client| world.clients[client].reach = vec![2]);
        world.run_for(4_000);
        die(world);
        world.run_for(13_000);
        world.net.slowest_ms = 450;
        world.heal();
        (0..DYING + LIVING).for_each(|client| world.clients[client].reach.clear());
        world.run_for(6_000);
    });
}

/// Its clients turn to others within a beat interval, but what they said to it is lost with it.
#[test]
fn the_clients_of_a_member_that_died_behind_a_cut_stay() {
    for offset in 0..15 {
        let mut world = World::settled(3, offset, Rules::default());
        world.invariants.are_off = true;
        let tag = world.tag_owned_by(0, 0);
        let mut client = Client::new(&tag, "key");
        client.reach = vec![2];
        let client = world.add_client(client);
        world.run_for(20_000);
        world.cut(0, 2);
        world.cut(1, 2);
        // Whenever in the round of its looks the owner learns of it.
        world.run_for(40_000 + offset * 1_000);
        world.kill(2);
        world.clients[client].reach = vec![0, 1];
        world.heal();
        let end = world.now + 40_000;
        while world.now < end {
            world.run_for(50);
            let is_well = |n| matches!(world.view(n, client), Some((_, Health::Healthy)));
            assert!(is_well(0) && is_well(1), "offset {offset}: {}", world.story());
        }
    }
}

/// Nobody was there to hear them: silence counts from when somebody was.
#[test]
fn instances_of_a_cluster_that_was_stopped_as_a_whole_get_a_full_time_out() {
    let mut world = World::settled(3, 1, Rules::default());
    world.invariants.are_off = true;
    let client = world.add_client(Client::new("tag", "key"));
    world.run_for(20_000);
    (0..3).for_each(|node| world.pause(node));
    world.run_for(60_000);
    world.die(client);
    (0..3).for_each(|node| world.resume(node));
    world.run_for(25_000);
    assert!((0..3).all(|node| world.view(node, client).is_some()));
    assert!(world.run_until(10_000, |world| (0..3).all(|n| world.view(n, client).is_none())));
}

/// The judgement of an operator is none of what members have heard.
#[test]
fn an_operator_who_calls_a_dead_instance_healthy_keeps_it_for_a_time_out() {
    let mut world = World::settled(3, 1, Rules::default());
    let client = world.add_client(Client::new("tag", "key"));
    world.run_for(20_000);
    world.die(client);
    world.run_for(20_000);
    world.operate(client, 1, Ask::Judge(Health::Healthy));
    world.run_for(25_000);
    assert!((0..3).all(|node| world.view(node, client).is_some()));
    assert!(world.run_until(10_000, |world| (0..3).all(|n| world.view(n, client).is_none())));
}
