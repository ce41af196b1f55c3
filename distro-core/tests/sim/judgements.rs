//! Stories of judgements that somebody makes who does not know enough, and of records that are in
//! doubt.

use distro_core::{Health, MemberId, Ring, Rules, Slot};

use crate::client::Client;
use crate::scenarios::{shows, three};
use crate::world::World;

/// More than a member of three waits before it judges while it cannot hear the two others.
const PATIENCE_MS: u64 = 200_000;

/// A tag that `whole` owns among three, and `pair` among the first two.
fn tag_of(world: &World, whole: usize, pair: usize) -> String {
    let ids: Vec<MemberId> = world.nodes.iter().map(|node| node.id).collect();
    let (all, two) = (Ring::new(&ids), Ring::new(&ids[..2]));
    let is_it =
        |slot: Slot| all.owner(slot) == Some(ids[whole]) && two.owner(slot) == Some(ids[pair]);
    let mut tags = (0..).map(|n| format!("tag-{n}"));
    tags.find(|tag| is_it(Slot::of(tag))).expect("there are tags for all")
}

/// Whether these members show the instance as healthy all the time, looked at closely.
fn stays_closely(world: &mut World, client: usize, nodes: &[usize], span_ms: u64) -> bool {
    let end = world.now + span_ms;
    while world.now < end {
        world.run_for(2);
        let is_well =
            |node: &usize| matches!(world.view(*node, client), Some((_, Health::Healthy)));
        if !nodes.iter().all(is_well) {
            return false;
        }
    }
    true
}

/// Cuts the third member off from the two others.
fn cut_third(world: &mut World) {
    world.cut(0, 2);
    world.cut(1, 2);
}

/// The third member and the second speak again, and the third and the first do not.
fn heal_in_part(world: &mut World) {
    world.heal();
    world.cut(0, 2);
}

/// An instance falls silent for a while, and is registered anew with the first of two members that
/// are together. The third, which is cut off, judges what it knows: the registration before.
fn registered_anew_in_a_cut(rules: Rules, heal: impl Fn(&mut World)) -> bool {
    (0..4).all(|n| {
        let mut world = three(rules);
        let mut client = Client::new(&tag_of(&world, 2, n % 2), "key");
        client.reach = vec![0];
        let client = world.add_client(client);
        world.run_for(20_000 + n as u64 * 300);
        cut_third(&mut world);
        world.die(client);
        world.run_for(10_000);
        world.write_again(client);
        world.run_for(PATIENCE_MS);
        assert_eq!(world.view(2, client), None);
        heal(&mut world);
        let is_well = stays_closely(&mut world, client, &[0, 1], 20_000);
        world.heal();
        is_well && stays_closely(&mut world, client, &[0, 1], 10_000) && {
            world.view(2, client) == Some((2, Health::Healthy)) && world.roots_agree()
        }
    })
}

#[test]
fn a_judgement_of_an_older_registration_does_not_end_a_newer_one() {
    let without = |rules: &mut Rules| rules.per_registration = false;
    shows(|rules| registered_anew_in_a_cut(rules, World::heal), without);
    // For as long as nobody who hears the instance is told of the judgement.
    shows(|rules| registered_anew_in_a_cut(rules, heal_in_part), without);
}

#[test]
fn a_judgement_that_comes_with_a_newer_registration_waits_like_any_other() {
    shows(
        |rules| {
            (0..12).all(|n| {
                let mut world = three(rules);
                let mut client = Client::new(&tag_of(&world, 2, 0), "key");
                client.reach = vec![0];
                let client = world.add_client(client);
                world.run_for(20_000 + n * 100);
                cut_third(&mut world);
                world.run_for(8_000);
                // It writes once where the others do not see it, and beats there no more.
                world.clients[client].reach = vec![2];
                world.write_again(client);
                world.run_for(1_000);
                world.clients[client].reach = vec![0];
                world.run_for(PATIENCE_MS);
                assert!(world.view(2, client).is_none() && world.view(1, client).is_some());
                world.heal();
                stays_closely(&mut world, client, &[0, 1], 10_000)
                    && world.view(1, client) == Some((2, Health::Healthy))
            })
        },
        |rules| rules.late_judges = false,
    );
}

/// Members that have no room to remember removals are shown one that they have forgotten, cannot
/// hear whoever shows it for a while, and hear it again. Whether nobody else shows it all the time.
fn doubts(rules: Rules, seed: u64) -> bool {
    let mut world = World::new(3, seed, rules);
    world.setup.store.tombstone_bytes = 0;
    world.setup.store.tombstones_per_slot = 0;
    (0..3).for_each(|node| world.start(node));
    world.run_for(10_000);
    world.invariants.are_off = true;
    let owner = seed as usize % 2;
    let mut client = Client::new(&tag_of(&world, owner, owner), "key");
    client.reach = vec![0, 1];
    let client = world.add_client(client);
    world.run_for(20_000);
    cut_third(&mut world);
    world.run_for(8_000);
    world.deregister(client);
    world.run_for(65_000);
    assert!([0, 1].iter().all(|node| world.record(*node, client).is_none()), "it is forgotten");
    world.heal();
    let mut is_well = true;
    let mut watch = |world: &mut World, span_ms: u64| {
        for _ in 0..span_ms / 20 {
            world.run_for(20);
            is_well &= [0, 1].iter().all(|node| world.view(*node, client).is_none());
        }
    };
    watch(&mut world, 20_000);
    assert!(world.view(2, client).is_some());
    cut_third(&mut world);
    watch(&mut world, 30_000);
    world.heal();
    watch(&mut world, 45_000);
    is_well && world.view(2, client).is_none() && world.roots_agree()
}

#[test]
fn what_is_in_doubt_waits_for_its_owner_anew_after_each_event() {
    shows(|rules| (0..10).all(|seed| doubts(rules, seed)), |rules| rules.doubt_anew = false);
}

#[test]
fn a_beat_that_falls_into_a_brief_cut_reaches_the_owner_when_that_is_over() {
    shows(
        |rules| {
            // Whenever in the round of probes it happens, and for how long.
            (0..50).all(|n| {
                let mut world = three(rules);
                world.run_for(n / 10 * 200);
                let mut client = Client::new(&world.tag_owned_by(0, 0), "key");
                client.reach = vec![1];
                let client = world.add_client(client);
                world.run_for(20_000);
                let heard = world.clients[client].last_heard;
                assert!(world.run_until(6_000, |world| world.clients[client].last_heard > heard));
                let heard = world.clients[client].last_heard;
                // Just before its next beat, the last before it dies. The owner takes no notice.
                world.run_for(heard + 4_950 - world.now);
                world.cut(0, 1);
                world.cut(1, 2);
                world.run_for(2_000 + n % 10 * 100);
                let last_beat = world.clients[client].last_heard;
                assert!(last_beat > heard);
                world.die(client);
                world.heal();
                world.run_for(last_beat + 34_000 - world.now);
                (0..3).all(|node| world.view(node, client).is_none())
            })
        },
        |rules| rules.strand = false,
    );
}

/// Clients speak to the first member alone. The third, which hears nobody, gives them up, and is
/// heard again by the second first, for a minute by that one only. Whether those that live stay on
/// the first two.
fn heals_in_part(rules: Rules, owner: usize) -> bool {
    (0..4).all(|n| {
        let mut world = three(rules);
        let tag = tag_of(&world, owner, 0);
        let clients: Vec<usize> = (0..5)
            .map(|key| {
                let mut client = Client::new(&tag, &format!("key-{key}"));
                client.reach = vec![0];
                world.run_for(1_000);
                world.add_client(client)
            })
            .collect();
        world.run_for(20_000 + n * 300);
        cut_third(&mut world);
        world.run_for(PATIENCE_MS);
        assert!(clients.iter().all(|client| world.view(2, *client).is_none()));
        heal_in_part(&mut world);
        let mut is_well = true;
        let mut watch = |world: &mut World, span_ms: u64| {
            for _ in 0..span_ms / 5 {
                world.run_for(5);
                let is_shown = |(client, node): (&usize, usize)| {
                    matches!(world.view(node, *client), Some((1, Health::Healthy)))
                };
                is_well &= clients.iter().all(|c| is_shown((c, 0)) && is_shown((c, 1)));
            }
        };
        watch(&mut world, 60_000);
        world.heal();
        watch(&mut world, 20_000);
        is_well && world.roots_agree()
    })
}

#[test]
fn a_judgement_from_within_a_cut_is_shown_to_the_owner_who_hears_everybody() {
    shows(|rules| heals_in_part(rules, 0), |rules| rules.show_owner = false);
}

#[test]
fn a_judgement_from_within_a_cut_waits_until_every_instance_that_lives_has_beaten() {
    // The judge is the owner itself, or becomes that in a moment: nobody else is shown the judgement.
    let unshown = |rules| Rules { show_owner: false, ..rules };
    shows(|rules| heals_in_part(unshown(rules), 2), |rules| rules.late_judges = false);
}
