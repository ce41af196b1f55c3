//! Stories of removals: what a member does by itself never outdoes what others know better, and
//! nothing that was removed comes back.

use distro_core::{Health, Rules};

use crate::client::Client;
use crate::node::Ask;
use crate::scenarios::{shows, stays, three};
use crate::world::World;

const MINUTE_MS: u64 = 60_000;

/// Which members the clients reach.
#[derive(Debug, Clone, Copy)]
enum Reach {
    /// Those two that stay together.
    Majority,
    /// The one that is cut off.
    CutOff,
    /// Some these, some that one.
    Either,
    /// All of them.
    Both,
}

/// One of three members is cut off for long, while housekeeping runs everywhere. Whether no live
/// instance goes missing from where it was shown once the cut is over, and all show it soon.
fn survives_a_long_cut(rules: Rules, reach: Reach, minutes: u64) -> bool {
    survives_with(1, rules, reach, minutes)
}

fn survives_with(seed: u64, rules: Rules, reach: Reach, minutes: u64) -> bool {
    let mut world = World::settled(3, seed, rules);
    world.invariants.are_off = true;
    let clients: Vec<usize> = (0..9)
        .map(|n| {
            let mut client = Client::new(&world.tag_owned_by(n % 3, 0), &format!("key-{n}"));
            client.reach = match reach {
                Reach::Majority => vec![0, 1],
                Reach::CutOff => vec![2],
                Reach::Either if n < 5 => vec![0, 1],
                Reach::Either => vec![2],
                Reach::Both => vec![],
            };
            world.add_client(client)
        })
        .collect();
    world.run_for(20_000);
    world.cut(0, 2);
    world.cut(1, 2);
    world.run_for(minutes * MINUTE_MS);
    let shown: Vec<Vec<usize>> = clients.iter().map(|client| who_shows(&world, *client)).collect();
    assert!(shown.iter().all(|nodes| !nodes.is_empty()), "{reach:?}: {shown:?}");
    world.heal();
    let mut is_well = true;
    // Clients return within milliseconds of being told that they are unknown.
    for step in 0..1_500 {
        world.run_for(if step < 1_400 { 5 } else { 200 });
        let stays = |(client, nodes): (&usize, &Vec<usize>)| {
            nodes.iter().all(|node| is_healthy(&world, *node, *client))
        };
        is_well = is_well && clients.iter().zip(&shown).all(stays);
    }
    let is_everywhere = |client: &usize| (0..3).all(|node| is_healthy(&world, node, *client));
    is_well && clients.iter().all(is_everywhere) && world.roots_agree()
}

fn is_healthy(world: &World, node: usize, client: usize) -> bool {
    matches!(world.view(node, client), Some((_, Health::Healthy)))
}

fn who_shows(world: &World, client: usize) -> Vec<usize> {
    (0..3).filter(|node| is_healthy(world, *node, client)).collect()
}

#[test]
fn clean_up_in_a_cut_ends_nothing_that_the_others_hear() {
    for minutes in [7, 20] {
        shows(
            |rules| survives_a_long_cut(rules, Reach::Majority, minutes),
            |rules| rules.local_cleanup = false,
        );
    }
}

#[test]
fn clean_up_by_the_others_ends_nothing_that_only_the_cut_off_member_hears() {
    for minutes in [7, 20] {
        shows(
            |rules| survives_a_long_cut(rules, Reach::CutOff, minutes),
            |rules| rules.local_cleanup = false,
        );
    }
}

#[test]
fn a_long_cut_with_clients_on_either_side_or_on_both_costs_nobody_anything() {
    for minutes in [7, 20] {
        for reach in [Reach::Either, Reach::Both] {
            assert!((1..6).all(|seed| survives_with(seed, Rules::default(), reach, minutes)));
        }
    }
}

#[test]
fn a_judgement_from_within_a_cut_is_believed_by_nobody_before_it_can_be_taken_back() {
    shows(
        |rules| (1..80).all(|seed| survives_with(seed, rules, Reach::Either, 7)),
        |rules| rules.late_judges = false,
    );
}

#[test]
fn every_member_takes_an_empty_service_off_its_own_list() {
    let mut world = three(Rules::default());
    let client = world.add_client(Client::new("tag", "key"));
    world.run_for(20_000);
    world.die(client);
    world.run_for(40_000);
    let is_listed = |world: &World, node: usize| {
        let store = &world.nodes[node].process.as_ref().expect("it runs").store;
        store.find("tag").is_some_and(|datum| datum.read(|reader| reader.is_open()))
    };
    assert!((0..3).all(|node| is_listed(&world, node)));
    world.run_for(5 * 30_000 + 1_000);
    assert!((0..3).all(|node| !is_listed(&world, node)));
    // It comes back by itself.
    world.write_again(client);
    world.run_for(1_000);
    assert!((0..3).all(|node| is_listed(&world, node) && is_healthy(&world, node, client)));
}

#[test]
fn a_member_that_starts_does_not_list_what_is_only_remembered() {
    let mut world = three(Rules::default());
    let client = world.add_client(Client::new("tag", "key"));
    world.run_for(20_000);
    world.deregister(client);
    world.run_for(5 * 30_000 + 50_000);
    world.kill(1);
    world.run_for(5_000);
    world.start(1);
    assert!(world.run_until(20_000, |world| world.is_ready(1)));
    let store = &world.nodes[1].process.as_ref().expect("it runs").store;
    let datum = store.find("tag").expect("it was told of the removal");
    assert!(datum.read(|reader| reader.find("key").is_some() && !reader.is_open()));
    assert!(stays_gone(&mut world, client));
}

fn stays_gone(world: &mut World, client: usize) -> bool {
    !stays(world, client, &[0], 100) && (0..3).all(|node| world.view(node, client).is_none())
}

/// Many instances of one service are removed while a member is cut off, more than the memory of
/// removals has room for. Returns how long after the heal the last one was shown anywhere, and how
/// long by a member that had taken it out.
fn crowded(rules: Rules, budget: u64) -> (u64, u64) {
    const COUNT: usize = 40;
    let mut world = World::new(3, 1, rules);
    world.setup.store.tombstone_bytes = budget;
    world.setup.store.tombstones_per_slot = 10;
    (0..3).for_each(|node| world.start(node));
    world.run_for(10_000);
    world.invariants.are_off = true;
    let tag = world.tag_owned_by(0, 0);
    let clients: Vec<usize> =
        (0..COUNT).map(|n| world.add_client(Client::new(&tag, &format!("key-{n}")))).collect();
    world.run_for(20_000);
    world.cut(0, 2);
    world.cut(1, 2);
    world.run_for(8_000);
    for client in &clients {
        world.clients[*client].reach = vec![0, 1];
        world.deregister(*client);
    }
    world.run_for(2 * MINUTE_MS);
    let shows = |world: &World, node: usize| {
        clients.iter().any(|client| world.view(node, *client).is_some())
    };
    assert!(shows(&world, 2) && !shows(&world, 0) && !shows(&world, 1));
    world.heal();
    let healed = world.now;
    let (mut last, mut last_of_others) = (0, 0);
    while world.now < healed + 2 * MINUTE_MS {
        world.run_for(20);
        if (0..3).any(|node| shows(&world, node)) {
            last = world.now - healed;
        }
        if [0, 1].iter().any(|node| shows(&world, *node)) {
            last_of_others = world.now - healed;
        }
    }
    assert!(world.roots_agree());
    (last, last_of_others)
}

#[test]
fn a_removal_is_remembered_while_a_peer_has_yet_to_be_told_of_it() {
    shows(|rules| crowded(rules, 2_000).0 < 10_000, |rules| rules.keep_queued_removals = false);
}

#[test]
fn who_had_to_forget_removals_early_does_not_show_the_dead_again() {
    shows(
        |rules| {
            let (last, last_of_others) = crowded(rules, 500);
            last_of_others == 0 && last < 45_000
        },
        |rules| rules.doubt = false,
    );
}

#[test]
fn who_had_to_forget_removals_early_loses_nobody_who_lives() {
    for (seed, reach) in (1..6).flat_map(|seed| [(seed, vec![2]), (seed, vec![])]) {
        let mut world = World::new(3, seed, Rules::default());
        world.setup.store.tombstone_bytes = 0;
        world.setup.store.tombstones_per_slot = 0;
        (0..3).for_each(|node| world.start(node));
        world.run_for(10_000);
        let tag = world.tag_owned_by(seed as usize % 3, 0);
        let goes: Vec<usize> =
            (0..5).map(|n| world.add_client(Client::new(&tag, &format!("key-{n}")))).collect();
        world.run_for(20_000);
        world.cut(0, 2);
        world.cut(1, 2);
        world.run_for(10_000);
        // It is registered before the others go, so its stamps are older than what is forgotten.
        let mut client = Client::new(&tag, "lives");
        client.reach = vec![2];
        let lives = world.add_client(client);
        world.run_for(5_000);
        for client in goes {
            world.clients[client].reach = vec![0, 1];
            world.deregister(client);
        }
        world.run_for(2 * MINUTE_MS);
        world.clients[lives].reach = reach;
        world.invariants.are_off = true;
        world.heal();
        assert!(world.run_until(5_000, |world| (0..3).all(|n| is_healthy(world, n, lives))));
        assert!(stays(&mut world, lives, &[0, 1, 2], 60_000));
        assert_eq!(world.view(2, lives).map(|(version, _)| version), Some(1));
    }
}

fn lists(world: &World, node: usize, tag: &str) -> bool {
    let store = &world.nodes[node].process.as_ref().expect("it runs").store;
    store.find(tag).is_some_and(|datum| datum.read(|reader| reader.is_open()))
}

/// A world with an empty service that all members list, and nobody cleans up.
fn with_an_empty_service(rules: Rules) -> (World, usize, String) {
    let mut world = World::new(3, 1, rules);
    world.clean_up_ms = 100 * MINUTE_MS;
    (0..3).for_each(|node| world.start(node));
    world.run_for(10_000);
    world.invariants.are_off = true;
    let tag = world.tag_owned_by(0, 0);
    let client = world.add_client(Client::new(&tag, "key"));
    world.run_for(10_000);
    world.deregister(client);
    world.run_for(5_000);
    assert!((0..3).all(|node| lists(&world, node, &tag)));
    (world, client, tag)
}

#[test]
fn a_member_that_missed_a_closing_lists_no_ghost() {
    let story = |rules: Rules| {
        let (mut world, client, tag) = with_an_empty_service(rules);
        world.cut(0, 2);
        world.cut(1, 2);
        world.run_for(8_000);
        world.operate(client, 0, Ask::Close);
        world.run_for(2_000);
        // Who would have told it starts again, and knows of nobody to tell.
        for node in [0, 1] {
            world.kill(node);
            world.run_for(2_000);
            world.start(node);
            world.run_for(15_000);
        }
        assert!(lists(&world, 2, &tag) && !lists(&world, 0, &tag) && !lists(&world, 1, &tag));
        world.heal();
        world.run_for(10_000);
        (0..3).all(|node| !lists(&world, node, &tag))
    };
    shows(story, |rules| rules.compare_open = false);
}

#[test]
fn members_that_clean_up_at_different_moments_do_not_compare_for_ever() {
    let (mut world, _, tag) = with_an_empty_service(Rules::default());
    let process = world.nodes[0].process.as_ref().expect("it runs");
    let datum = process.store.find(&tag).expect("it is listed");
    assert!(process.store.clean_up(&datum, 1, process.tick(world.now)));
    let before = world.comparisons;
    world.run_for(15_000);
    let settled = world.comparisons;
    // Each of the two others once, and each of them once in the other direction.
    assert!((1..=4).contains(&(settled - before)), "{}", settled - before);
    world.run_for(2 * MINUTE_MS);
    assert_eq!(world.comparisons, settled);
    assert!(!lists(&world, 0, &tag) && lists(&world, 1, &tag) && lists(&world, 2, &tag));
}
