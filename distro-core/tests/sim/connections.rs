//! Stories of clients that register over a connection, and of what becomes of that when it ends.

use distro_core::{Health, Rules};

use crate::client::{Client, Life};
use crate::node::Ask;
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
    let mut world = three(Rules::default());
    let client = client_of(&mut world, 0, 1);
    world.run_for(20_000);
    world.die(client);
    assert!(stays(&mut world, client, &[0, 1, 2], 500));
    world.run_for(LAPSED_MS - 500);
    assert!(nobody_shows(&world, client));
}

#[test]
fn an_instance_whose_client_vanished_is_gone_after_a_question_and_stays_until_then() {
    let mut world = three(Rules::default());
    let client = client_of(&mut world, 0, 1);
    world.run_for(20_000);
    world.vanish(client);
    assert!(stays(&mut world, client, &[0, 1, 2], 15_000));
    assert!(world.run_until(13_000, |world| nobody_shows(world, client)));
    world.run_for(60_000);
    assert!(nobody_shows(&world, client));
}
