//! Stories of clients that register over a connection, and of what becomes of that when it ends.

use distro_core::{Health, Rules};

use crate::client::Client;
use crate::scenarios::{shows, stays, three};
use crate::world::World;

/// What is published reaches all within this, where nothing is wrong.
const SPREAD_MS: u64 = 500;
/// What a connection held is gone everywhere so long after its end, where nothing is wrong.
const LAPSED_MS: u64 = 1_000 + SPREAD_MS;

/// A client whose connection a member holds, with a tag that another one owns.
fn client_of(world: &mut World, owner: usize, holder: usize) -> usize {
    let tag = world.tag_owned_by(owner, owner);
    let mut client = Client::linked(&tag, "key");
    client.reach = vec![holder];
    let client = world.add_client(client);
    world.run_for(2_000);
    assert_eq!(world.holder(client), Some(holder));
    client
}

fn everybody_shows(world: &World, client: usize) -> bool {
    world.members().iter().all(|n| matches!(world.view(*n, client), Some((_, Health::Healthy))))
}

fn nobody_shows(world: &World, client: usize) -> bool {
    (0..world.nodes.len()).all(|n| world.view(n, client).is_none())
}

#[test]
fn an_instance_lives_as_long_as_its_connection_whoever_owns_it() {
    shows(
        |rules| {
            let mut world = three(rules);
            let client = client_of(&mut world, 0, 1);
            stays(&mut world, client, &[0, 1, 2], 120_000)
        },
        |rules| rules.renew = false,
    );
}

#[test]
fn an_instance_whose_client_was_killed_is_gone_within_a_second_and_its_way() {
    shows(
        |rules| {
            let mut world = three(rules);
            let client = client_of(&mut world, 0, 1);
            world.run_for(20_000);
            world.die(client);
            let stayed = stays(&mut world, client, &[0, 1, 2], 500);
            world.run_for(LAPSED_MS - 500);
            stayed && nobody_shows(&world, client)
        },
        |rules| rules.lapses = false,
    );
}

#[test]
fn an_instance_whose_client_vanished_is_gone_after_a_question_and_stays_until_then() {
    shows(
        |rules| {
            let mut world = three(rules);
            let client = client_of(&mut world, 0, 1);
            world.run_for(20_000);
            world.vanish(client);
            let stayed = stays(&mut world, client, &[0, 1, 2], 15_000);
            let went = world.run_until(13_000, |world| nobody_shows(world, client));
            world.run_for(60_000);
            stayed && went && nobody_shows(&world, client)
        },
        |rules| rules.lapses = false,
    );
}

/// A client whose connection breaks without notice goes to another member. Runs until it has
/// registered there.
fn moves_unnoticed(world: &mut World, client: usize, to: usize) {
    world.sever(client);
    world.clients[client].reach = vec![to];
    assert!(world.run_until(14_000, |world| world.holder(client) == Some(to)));
}

#[test]
fn the_late_end_of_a_connection_ends_nothing_that_its_client_has_registered_elsewhere_since() {
    shows(
        |rules| {
            let mut world = three(rules);
            let client = client_of(&mut world, 0, 1);
            moves_unnoticed(&mut world, client, 2);
            stays(&mut world, client, &[0, 1, 2], 60_000)
        },
        |rules| rules.bound_lapses = false,
    );
}

#[test]
fn an_end_in_a_cut_ends_nothing_that_was_registered_outside_whichever_came_first() {
    for skew_ms in [0, 5_000] {
        shows(
            |rules| {
                let mut world = World::new(3, 1, rules);
                world.invariants.are_off = true;
                world.nodes[1].skew_ms = skew_ms;
                (0..3).for_each(|node| world.start(node));
                world.run_for(10_000);
                let client = client_of(&mut world, 0, 1);
                world.cut(1, 0);
                world.cut(1, 2);
                if skew_ms == 0 {
                    moves_unnoticed(&mut world, client, 2);
                    world.run_for(30_000);
                } else {
                    // The end is noticed at once, by a clock that is ahead of the next registration.
                    world.clients[client].reach = vec![2];
                    world.change_servers(client);
                    world.run_for(4_000);
                }
                world.heal();
                world.run_for(SPREAD_MS);
                stays(&mut world, client, &[0, 1, 2], 60_000)
            },
            |rules| rules.bound_lapses = false,
        );
    }
}

#[test]
fn a_client_that_changes_servers_is_missing_nowhere() {
    shows(
        |rules| {
            (0..6).all(|seed| {
                let mut world = World::settled(3, seed, rules);
                world.invariants.are_off = true;
                let client = client_of(&mut world, 0, 1);
                world.run_for(8_000);
                world.clients[client].reach = vec![2];
                world.change_servers(client);
                stays(&mut world, client, &[0, 1, 2], 30_000)
            })
        },
        |rules| rules.arrivals = false,
    );
}

/// A cut that is longer than others wait for what they do not hear, around the holder of a client
/// that reaches all members.
fn stays_in_a_cut(rules: Rules, owner: usize, nodes: &[usize]) -> bool {
    let mut world = three(rules);
    let client = client_of(&mut world, owner, 1);
    world.clients[client].reach = vec![0, 1, 2];
    world.cut(1, 0);
    world.cut(1, 2);
    let stayed = stays(&mut world, client, nodes, 420_000);
    world.heal();
    stayed && stays(&mut world, client, nodes, 60_000) && everybody_shows(&world, client)
}

#[test]
fn a_client_whose_member_is_cut_off_goes_to_the_others_before_they_give_it_up() {
    for owner in 0..2 {
        shows(
            |rules| stays_in_a_cut(rules, owner, &[0, 2]),
            |rules| rules.sends_away_in_cut = false,
        );
    }
}

#[test]
fn what_a_member_that_is_cut_off_has_sent_away_stays_there_until_it_hears_the_others() {
    for owner in 0..2 {
        shows(|rules| stays_in_a_cut(rules, owner, &[1]), |rules| rules.holds_in_cut = false);
    }
}

#[test]
fn a_client_that_died_elsewhere_during_a_cut_is_gone_soon_after_it() {
    let mut world = three(Rules::default());
    let client = client_of(&mut world, 0, 1);
    world.clients[client].reach = vec![0, 1, 2];
    world.cut(1, 0);
    world.cut(1, 2);
    world.run_for(60_000);
    assert!(matches!(world.holder(client), Some(0 | 2)));
    world.die(client);
    world.run_for(2_000);
    assert!(world.view(1, client).is_some(), "nobody could tell it");
    world.heal();
    world.run_for(10_000);
    assert!(nobody_shows(&world, client));
}

#[test]
fn a_client_that_reaches_only_a_member_that_is_cut_off_comes_back_to_it() {
    let mut world = three(Rules::default());
    let client = client_of(&mut world, 0, 1);
    world.cut(1, 0);
    world.cut(1, 2);
    assert!(stays(&mut world, client, &[1], 420_000));
    assert_eq!(world.holder(client), Some(1));
    world.heal();
    assert!(world.run_until(5_000, |world| everybody_shows(world, client)));
    assert!(stays(&mut world, client, &[0, 1, 2], 60_000));
}

#[test]
fn a_client_that_comes_back_and_does_not_register_is_gone_in_time() {
    shows(
        |rules| {
            let mut world = three(rules);
            let client = client_of(&mut world, 0, 1);
            world.run_for(8_000);
            world.clients[client].reach = vec![2];
            world.change_servers(client);
            world.run_for(20);
            world.die(client);
            world.run_for(5_000 + SPREAD_MS);
            nobody_shows(&world, client)
        },
        |rules| rules.lapses = false,
    );
}

/// The holder is stopped. What a client said to it meanwhile waits in the socket; then the client is
/// gone without notice.
#[test]
fn a_holder_that_wakes_believes_nothing_that_was_said_while_it_was_stopped() {
    shows(
        |rules| {
            (0..5).all(|seed| {
                let mut world = World::settled(3, seed, rules);
                world.invariants.are_off = true;
                let client = client_of(&mut world, 0, 1);
                world.run_for(10_000);
                world.pause(1);
                // Long enough to say something, and to wait for an answer in vain.
                world.run_for(6_000);
                world.vanish(client);
                world.run_for(60_000);
                let is_gone = world.view(0, client).is_none() && world.view(2, client).is_none();
                world.resume(1);
                let end = world.now + 60_000;
                let mut stays_gone = is_gone;
                while world.now < end {
                    world.run_for(20);
                    let is_shown = |n: usize| world.is_ready(n) && world.view(n, client).is_some();
                    stays_gone &= !(0..3).any(is_shown);
                }
                stays_gone
            })
        },
        |rules| rules.signs_after_stop = false,
    );
}

#[test]
fn a_holder_that_was_stopped_for_a_moment_costs_its_clients_nothing() {
    shows(
        |rules| {
            (0..20).all(|seed| {
                let mut world = World::settled(3, seed, rules);
                world.invariants.are_off = true;
                let client = client_of(&mut world, 0, 1);
                world.clients[client].reach.clear();
                world.run_for(10_000 + 250 * seed);
                world.pause(1);
                world.run_for(4_000);
                world.resume(1);
                stays(&mut world, client, &[0, 1, 2], 60_000)
            })
        },
        |rules| rules.signs_after_stop = false,
    );
}

#[test]
fn a_connection_whose_renewals_do_not_reach_the_owner_has_them_go_round() {
    shows(
        |rules| {
            let mut world = three(rules);
            let client = client_of(&mut world, 0, 1);
            world.cut(0, 1);
            stays(&mut world, client, &[0, 1, 2], 200_000)
        },
        |rules| rules.relay = false,
    );
}

#[test]
fn an_owner_that_was_cut_off_from_a_holder_gives_up_nothing_for_good() {
    shows(
        |rules| {
            let mut world = three(rules);
            let client = client_of(&mut world, 0, 1);
            world.cut(0, 1);
            world.cut(0, 2);
            world.run_for(240_000);
            let is_given_up = world.view(0, client).is_none();
            world.heal();
            stays(&mut world, client, &[1, 2], 20_000)
                && is_given_up
                && everybody_shows(&world, client)
        },
        |rules| rules.refute = false,
    );
}

#[test]
fn what_a_holder_that_died_with_the_owner_held_stays_until_its_client_is_back() {
    shows(
        |rules| {
            // Whenever in the round of its looks a new owner takes over.
            (0..15).all(|offset| {
                let mut world = World::settled(4, offset, rules);
                world.invariants.are_off = true;
                let client = client_of(&mut world, 0, 1);
                world.run_for(60_000 + offset * 1_000);
                world.clients[client].reach = vec![2, 3];
                world.kill(0);
                world.kill(1);
                stays(&mut world, client, &[2, 3], 60_000)
            })
        },
        |rules| rules.takeover_grace = false,
    );
}

/// Nobody else has ever heard what the client registered, and all have listened for long.
#[test]
fn what_a_holder_held_that_owned_it_too_stays_for_the_lengthened_time_out_when_that_is_cut_off() {
    shows(
        |rules| {
            let mut world = three(rules);
            let client = client_of(&mut world, 0, 0);
            world.run_for(100_000);
            world.cut(0, 1);
            world.cut(0, 2);
            stays(&mut world, client, &[1, 2], 60_000)
        },
        |rules| rules.lost_hearing = false,
    );
}

#[test]
fn a_registration_that_died_with_its_holder_and_its_owner_is_back_with_the_client() {
    let mut world = three(Rules::default());
    let tag = world.tag_owned_by(0, 0);
    let mut client = Client::linked(&tag, "key");
    client.reach = vec![1];
    let client = world.add_client(client);
    assert!(world.run_until_each(1, 3_000, |world| world.holder(client) == Some(1)));
    world.kill(0);
    world.kill(1);
    world.clients[client].reach = vec![2];
    world.run_for(3_000 + SPREAD_MS);
    assert!(world.view(2, client).is_some() && stays(&mut world, client, &[2], 60_000));
}

/// One client beats for an address and another one holds it by a connection.
fn both(world: &mut World) -> (usize, usize) {
    let linked = client_of(world, 0, 1);
    let tag = world.clients[linked].tag.clone();
    let beating = world.add_client(Client::new(&tag, "key"));
    world.run_for(10_000);
    (linked, beating)
}

#[test]
fn the_end_of_a_connection_ends_nothing_that_another_client_has_registered_since_and_beats_for() {
    shows(
        |rules| {
            let mut world = three(rules);
            let (linked, beating) = both(&mut world);
            world.die(linked);
            stays(&mut world, beating, &[0, 1, 2], 60_000)
        },
        |rules| rules.bound_lapses = false,
    );
}

#[test]
fn an_address_that_nobody_beats_for_any_more_lives_by_its_connection() {
    shows(
        |rules| {
            let mut world = three(rules);
            let (linked, beating) = both(&mut world);
            world.die(beating);
            stays(&mut world, linked, &[0, 1, 2], 60_000)
        },
        |rules| rules.renew = false,
    );
}

#[test]
fn a_beat_after_the_end_of_a_connection_is_no_late_one_and_registers_at_once() {
    shows(
        |rules| {
            let mut world = three(rules);
            let linked = client_of(&mut world, 0, 1);
            world.die(linked);
            world.run_for(LAPSED_MS);
            let mut beating = Client::new(&world.clients[linked].tag.clone(), "key");
            (beating.full_beats, beating.acked) = (true, 1);
            let beating = world.add_client(beating);
            world.run_for(SPREAD_MS);
            everybody_shows(&world, beating)
        },
        |rules| rules.bound_lapses = false,
    );
}

#[test]
fn a_holder_registers_anew_what_the_end_of_an_older_connection_took_with_it() {
    shows(
        |rules| {
            let mut world = World::new(3, 1, rules);
            world.invariants.are_off = true;
            // The clock of the first holder is ahead: what was registered there last counts as newer.
            world.nodes[1].skew_ms = 15_000;
            (0..3).for_each(|node| world.start(node));
            world.run_for(10_000);
            world.cut(1, 0);
            world.cut(1, 2);
            let client = client_of(&mut world, 0, 1);
            moves_unnoticed(&mut world, client, 2);
            world.heal();
            world.run_for(30_000);
            stays(&mut world, client, &[0, 1, 2], 60_000)
        },
        |rules| rules.reassert = false,
    );
}

#[test]
fn the_holder_of_an_older_connection_brings_nothing_back_whose_client_was_killed_elsewhere() {
    shows(
        |rules| {
            (0..5).all(|seed| {
                let mut world = World::settled(3, seed, rules);
                world.invariants.are_off = true;
                let client = client_of(&mut world, 0, 1);
                moves_unnoticed(&mut world, client, 2);
                world.die(client);
                world.run_for(LAPSED_MS);
                let end = world.now + 60_000;
                let mut is_gone = true;
                while world.now < end {
                    is_gone &= nobody_shows(&world, client);
                    world.run_for(100);
                }
                is_gone
            })
        },
        |rules| rules.speaks_since = false,
    );
}

#[test]
fn what_a_client_withdrew_is_brought_back_by_no_other_connection() {
    shows(
        |rules| {
            let mut world = three(rules);
            let first = client_of(&mut world, 0, 1);
            let mut second = Client::linked(&world.clients[first].tag.clone(), "key");
            second.reach = vec![2];
            let second = world.add_client(second);
            world.run_for(10_000);
            world.deregister(second);
            world.run_for(1_000);
            let end = world.now + 60_000;
            let mut is_gone = true;
            while world.now < end {
                is_gone &= nobody_shows(&world, first);
                world.run_for(100);
            }
            is_gone
        },
        |rules| rules.bound_removals = false,
    );
}

#[test]
fn a_rolling_restart_costs_no_client_anything() {
    shows(
        |rules| {
            (0..3).all(|seed| {
                let mut world = World::settled(3, seed, rules);
                world.invariants.are_off = true;
                let clients: Vec<usize> = (0..9)
                    .map(|n| world.add_client(Client::linked(&format!("tag-{n}"), "key")))
                    .collect();
                world.run_for(20_000);
                let mut is_well = true;
                for node in 0..3 {
                    world.leave(node);
                    is_well &= all_stay(&mut world, &clients, 6_000);
                    world.start(node);
                    is_well &= all_stay(&mut world, &clients, 20_000);
                }
                is_well && all_stay(&mut world, &clients, 40_000)
            })
        },
        |rules| rules.load = false,
    );
}

fn all_stay(world: &mut World, clients: &[usize], span_ms: u64) -> bool {
    let end = world.now + span_ms;
    let mut is_well = true;
    while world.now < end {
        world.run_for(20);
        let ready = world.members().iter().filter(|n| world.is_ready(**n));
        is_well &= ready.copied().all(|n| {
            let is_healthy =
                |client: &usize| matches!(world.view(n, *client), Some((_, Health::Healthy)));
            clients.iter().all(is_healthy)
        });
    }
    is_well
}
