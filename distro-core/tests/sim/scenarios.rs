//! Stories written by hand. Each rule has one that ends badly without it.

use std::time::Duration;

use distro_core::{Beat, Health, MemberId, Operation, OwnerPolicy, Request, Ring, Rules, Slot};

use crate::client::{Client, Life};
use crate::node::{Ask, LATER};
use crate::world::World;

/// A story told with all rules ends well; told without one of them it does not.
pub(crate) fn shows(story: impl Fn(Rules) -> bool, without: impl Fn(&mut Rules)) {
    assert!(story(Rules::default()), "ends badly although all rules hold");
    let mut rules = Rules::default();
    without(&mut rules);
    assert!(!story(rules), "ends well without the rule, too");
}

/// Three members that know each other. The story looks for its own end.
pub(crate) fn three(rules: Rules) -> World {
    let mut world = World::settled(3, 1, rules);
    world.invariants.are_off = true;
    world
}

/// A client of a tag that `owner` owns, which speaks to these members only.
fn client_of(world: &mut World, owner: usize, reach: &[usize]) -> usize {
    let tag = world.tag_owned_by(owner, owner);
    let mut client = Client::new(&tag, "key");
    client.reach = reach.to_vec();
    let client = world.add_client(client);
    world.run_for(2_000);
    client
}

/// Whether all these members show the instance as healthy all the time, while they show anything.
pub(crate) fn stays(world: &mut World, client: usize, nodes: &[usize], span_ms: u64) -> bool {
    let (start, end) = (world.now, world.now + span_ms);
    while world.now < end {
        // Clients return quickly: at first it is looked at closely.
        world.run_for(if world.now < start + 100 { 1 } else { 20 });
        let is_well = |n: &usize| {
            !world.is_ready(*n) || matches!(world.view(*n, client), Some((_, Health::Healthy)))
        };
        if !nodes.iter().all(is_well) {
            return false;
        }
    }
    true
}

fn nobody_shows(world: &World, client: usize) -> bool {
    (0..world.nodes.len()).all(|node| world.view(node, client).is_none())
}

fn everybody_shows(world: &World, client: usize, version: u32) -> bool {
    let expected = Some((version, Health::Healthy));
    (0..world.nodes.len()).all(|node| world.view(node, client) == expected)
}

#[test]
fn a_live_instance_that_only_one_member_hears_stays_on_all() {
    shows(
        |rules| {
            let mut world = three(rules);
            let client = client_of(&mut world, 0, &[1]);
            stays(&mut world, client, &[0, 1, 2], 60_000)
        },
        |rules| rules.renew = false,
    );
}

#[test]
fn a_member_that_owns_nothing_of_it_does_not_judge_what_it_does_not_hear() {
    shows(
        |rules| {
            let mut world = three(rules);
            let client = client_of(&mut world, 0, &[0]);
            stays(&mut world, client, &[1, 2], 60_000)
        },
        |rules| rules.owner_judges = false,
    );
}

#[test]
fn a_new_owner_of_a_tag_waits_before_it_judges() {
    shows(
        |rules| {
            (0..15).all(|offset| {
                let mut world = World::new(3, 1, rules);
                world.setup.store.owner_policy = OwnerPolicy::Tags(|tag| tag.len() as u32);
                world.invariants.are_off = true;
                (0..3).for_each(|node| world.start(node));
                world.run_for(10_000);
                // Of three members the first owns it, of the last two their first. That one has
                // not heard the beats.
                let tag = "length";
                assert_eq!([0, 1, 2].map(|node| world.owner(node, tag)), [Some(0); 3]);
                let mut client = Client::new(tag, "key");
                client.reach = vec![2];
                let client = world.add_client(client);
                world.run_for(60_000 + offset * 1_000);
                world.kill(0);
                let is_well = stays(&mut world, client, &[1, 2], 60_000);
                assert_eq!(world.owner(2, tag), Some(1));
                is_well
            })
        },
        |rules| rules.takeover_grace = false,
    );
}

#[test]
fn a_new_owner_waits_before_it_judges() {
    shows(
        // Whenever in the round of its looks it takes over.
        |rules| {
            (0..15).all(|offset| {
                let mut world = three(rules);
                // The first owner hears of the beats, the next one does not.
                let ids: Vec<MemberId> = world.nodes.iter().map(|node| node.id).collect();
                let (now, then) = (Ring::new(&ids), Ring::new(&ids[1..]));
                let is_it = |slot: Slot| {
                    now.owner(slot) == Some(ids[0]) && then.owner(slot) == Some(ids[1])
                };
                let mut tags = (0..).map(|n| format!("tag-{n}"));
                let tag = tags.find(|tag| is_it(Slot::of(tag))).expect("there are tags for all");
                let mut client = Client::new(&tag, "key");
                client.reach = vec![2];
                let client = world.add_client(client);
                world.run_for(60_000 + offset * 1_000);
                world.kill(0);
                stays(&mut world, client, &[1, 2], 60_000)
            })
        },
        |rules| rules.takeover_grace = false,
    );
}

#[test]
fn who_heard_an_instance_refutes_that_it_is_gone_and_its_last_write_stays() {
    let story = |rules, writes: bool| {
        let mut world = three(rules);
        let client = client_of(&mut world, 0, &[1, 2]);
        world.cut(0, 1);
        world.cut(0, 2);
        world.run_for(1_000);
        if writes {
            world.write_again(client);
        }
        // So long that the owner gives it up, although it waits for more beats than usual.
        world.run_for(240_000);
        let is_given_up = world.view(0, client).is_none();
        world.heal();
        stays(&mut world, client, &[1, 2], 20_000)
            && is_given_up
            && everybody_shows(&world, client, if writes { 2 } else { 1 })
    };
    shows(|rules| story(rules, false), |rules| rules.refute = false);
    // What was written meanwhile is not what the owner has judged.
    let both = |rules: &mut Rules| (rules.refute, rules.per_registration) = (false, false);
    shows(|rules| story(rules, true), both);
}

#[test]
fn who_cannot_hear_everybody_waits_for_more_beats() {
    shows(
        |rules| {
            let mut world = three(rules);
            let clients: Vec<usize> =
                (0..12).map(|n| world.add_client(Client::new("tag", &format!("k{n}")))).collect();
            world.run_for(5_000);
            world.cut(0, 1);
            world.cut(0, 2);
            let end = world.now + 60_000;
            let mut is_well = true;
            while world.now < end {
                is_well &= clients.iter().all(|client| stays_now(&world, *client));
                world.run_for(100);
            }
            is_well
        },
        |rules| rules.patience = false,
    );
}

fn stays_now(world: &World, client: usize) -> bool {
    (0..world.nodes.len()).all(|n| matches!(world.view(n, client), Some((_, Health::Healthy))))
}

#[test]
fn who_hears_everybody_again_waits_for_what_the_others_heard() {
    shows(
        |rules| {
            // Whenever in the round of its looks the owner hears the others again.
            (0..15).all(|second| {
                let mut world = three(rules);
                let client = client_of(&mut world, 0, &[1, 2]);
                world.cut(0, 1);
                world.cut(0, 2);
                world.run_for(60_000 + second * 1_000);
                world.heal();
                stays(&mut world, client, &[0, 1, 2], 30_000)
            })
        },
        |rules| rules.regain_grace = false,
    );
}

fn chain(rules: Rules, one_way: bool) -> bool {
    let mut world = three(rules);
    let client = client_of(&mut world, 0, &[1]);
    if one_way {
        world.cut_one_way(1, 0);
    } else {
        world.cut(0, 1);
    }
    stays(&mut world, client, &[0, 1, 2], 200_000)
}

#[test]
fn beats_go_round_by_a_member_that_reaches_the_owner() {
    shows(|rules| chain(rules, false), |rules| rules.relay = false);
    shows(|rules| chain(rules, true), |rules| rules.relay = false);
}

#[test]
fn whom_others_hear_keeps_its_slots() {
    // The member in the middle beats for the owner; who does not hear that owner must not judge.
    let story = |rules| {
        let mut world = three(rules);
        let client = client_of(&mut world, 0, &[2]);
        world.cut(0, 1);
        stays(&mut world, client, &[0, 1, 2], 200_000)
            && world.owner(1, "tag") == world.owner(2, "tag")
            && (0..20).all(|n| {
                let tag = format!("tag-{n}");
                world.owner(0, &tag) == world.owner(1, &tag)
            })
    };
    shows(story, |rules| rules.hearsay = false);
}

/// A client asks a member that is stopped to register it, gives up, and deregisters at another one:
/// whether nobody shows it once the stopped one runs again.
fn is_gone_after_a_late_registration(world: &mut World) -> bool {
    let client = client_of(world, 0, &[]);
    world.pause(1);
    world.ask(client, 1, Ask::Register(1));
    world.run_for(4_000);
    world.clients[client].reach = vec![0, 2];
    world.deregister(client);
    world.run_for(30_000);
    world.resume(1);
    world.run_for(10_000);
    nobody_shows(world, client)
}

#[test]
fn a_write_in_the_buffer_of_a_member_that_was_stopped_is_refused() {
    shows(
        |rules| {
            let mut world = three(rules);
            is_gone_after_a_late_registration(&mut world)
        },
        |rules| rules.pause = false,
    );
}

#[test]
fn a_write_that_is_read_long_after_a_stop_is_refused_if_its_client_has_given_up() {
    shows(
        |rules| {
            (0..10).all(|seed| {
                let mut world = World::settled(3, seed, rules);
                world.invariants.are_off = true;
                is_gone_after_a_late_registration(&mut world)
            })
        },
        |rules| rules.late_calls = false,
    );
}

/// Found by seed 5932 of the random runs.
#[test]
fn a_write_that_is_read_after_a_brief_stop_is_refused_if_its_client_has_hung_up() {
    shows(
        |rules| {
            (0..20).all(|seed| {
                let mut world = World::settled(3, seed, rules);
                world.invariants.are_off = true;
                let client = client_of(&mut world, 0, &[]);
                world.pause(1);
                world.ask(client, 1, Ask::Register(1));
                world.run_for(800);
                world.clients[client].reach = vec![0, 2];
                world.deregister(client);
                world.run_for(800);
                world.resume(1);
                world.run_for(10_000);
                nobody_shows(&world, client)
            })
        },
        |rules| rules.late_calls = false,
    );
}

#[test]
fn a_late_full_beat_after_a_freeze_registers_nothing() {
    shows(
        // In whatever order the member gets at what waits for it.
        |rules| {
            (0..10).all(|seed| {
                let mut world = World::settled(3, seed, rules);
                world.invariants.are_off = true;
                world.pause(1);
                world.run_for(10_000);
                let client = client_of(&mut world, 1, &[0, 2]);
                world.ask(client, 1, Ask::Beat(Some(1)));
                world.run_for(5_000);
                world.deregister(client);
                world.run_for(20_000);
                world.resume(1);
                world.run_for(10_000);
                nobody_shows(&world, client)
            })
        },
        |rules| rules.pause = false,
    );
}

#[test]
fn a_member_that_was_stopped_judges_nobody_by_its_own_silence() {
    shows(
        // Alone: with others there, more than one rule holds it back.
        |rules| {
            (0..10).all(|seed| {
                let mut world = World::settled(1, seed, rules);
                world.invariants.are_off = true;
                let client = client_of(&mut world, 0, &[]);
                world.pause(0);
                world.run_for(40_000);
                world.resume(0);
                stays(&mut world, client, &[0], 30_000)
            })
        },
        |rules| rules.pause = false,
    );
}

#[test]
fn a_member_that_is_stopped_between_two_slices_of_judging_judges_as_of_before() {
    shows(
        |rules| {
            (0..10).all(|seed| {
                let mut world = World::settled(1, seed, rules);
                world.invariants.are_off = true;
                let clients: Vec<usize> = (0..10)
                    .map(|n| world.add_client(Client::new(&format!("tag-{n}"), "key")))
                    .collect();
                world.run_for(20_000 + seed * 500);
                world.pause_in_round(0);
                world.run_for(60_000);
                assert!(world.nodes[0].is_paused, "it was stopped in a round");
                world.resume(0);
                let mut is_well = true;
                for _ in 0..300 {
                    is_well &= clients.iter().all(|client| stays_now(&world, *client));
                    world.run_for(if is_well { 5 } else { 1_000 });
                }
                is_well
            })
        },
        |rules| rules.one_tick = false,
    );
}

#[test]
fn a_write_in_the_buffer_of_a_frozen_owner_does_not_undo_a_deregistration() {
    let story = |retention: Duration| {
        // Or it is refused for being late.
        let mut world = World::new(3, 1, Rules { refuse_late: false, ..Rules::default() });
        world.setup.store.tombstone_retention = retention;
        world.setup.store.rules.keep_queued_removals = false;
        world.setup.store.compensation_window = retention.min(Duration::from_secs(10));
        (0..3).for_each(|node| world.start(node));
        world.run_for(10_000);
        world.invariants.are_off = true;
        world.pause(0);
        // The members do not know yet: the write waits at the owner, and is then taken here.
        let client = client_of(&mut world, 0, &[1]);
        let is_taken = everybody_else_shows(&world, client);
        world.deregister(client);
        world.run_for(30_000);
        world.resume(0);
        world.run_for(10_000);
        is_taken && nobody_shows(&world, client)
    };
    assert!(story(Duration::from_secs(3_600)));
    assert!(!story(Duration::from_millis(1)), "without memory of removals it comes back");
}

fn everybody_else_shows(world: &World, client: usize) -> bool {
    [1, 2].iter().all(|node| world.view(*node, client).is_some())
}

/// A member is away for longer than removals are remembered, and an instance is deregistered
/// meanwhile: whether nobody shows it once the member is back.
fn is_gone_when_somebody_is_back(rules: Rules, goes: impl Fn(&mut World, usize)) -> bool {
    let mut world = World::new(3, 1, rules);
    world.setup.store.tombstone_retention = Duration::from_secs(60);
    world.setup.store.rules.keep_queued_removals = false;
    world.setup.config.absent_after = Duration::from_secs(55);
    (0..3).for_each(|node| world.start(node));
    world.run_for(10_000);
    world.invariants.are_off = true;
    let client = client_of(&mut world, 0, &[1, 2]);
    goes(&mut world, 0);
    // Nothing is sent to it any more that could wait for it.
    world.run_for(10_000);
    world.deregister(client);
    world.run_for(200_000);
    world.resume(0);
    // Before its silence, of which the members tell each other, ends it.
    world.run_for(5_000);
    nobody_shows(&world, client)
}

#[test]
fn who_comes_back_after_the_others_have_forgotten_brings_nothing_back() {
    shows(
        |rules| is_gone_when_somebody_is_back(rules, World::pause),
        |rules| rules.forget_after_absence = false,
    );
}

#[test]
fn who_slept_until_the_others_had_forgotten_brings_nothing_back() {
    shows(
        |rules| is_gone_when_somebody_is_back(rules, World::suspend),
        |rules| rules.counts_sleep = false,
    );
}

#[test]
fn a_member_whose_machine_slept_shows_nothing_before_it_has_compared() {
    shows(
        |rules| {
            let mut world = three(rules);
            let client = client_of(&mut world, 1, &[1, 2]);
            world.suspend(0);
            world.run_for(10_000);
            world.deregister(client);
            world.run_for(60_000);
            world.resume(0);
            let mut is_well = true;
            for _ in 0..5_000 {
                world.run_for(1);
                is_well &= !world.is_ready(0) || world.view(0, client).is_none();
            }
            is_well && world.is_ready(0)
        },
        |rules| rules.counts_sleep = false,
    );
}

#[test]
fn what_one_member_cannot_tell_another_goes_by_a_third() {
    shows(
        |rules| {
            let mut world = three(rules);
            world.cut(1, 2);
            let client = client_of(&mut world, 1, &[1]);
            world.run_for(10_000);
            everybody_shows(&world, client, 1)
        },
        |rules| rules.verify = false,
    );
}

#[test]
fn a_member_that_starts_shows_nothing_before_it_has_what_the_others_have() {
    shows(
        |rules| {
            let mut world = three(rules);
            let client = client_of(&mut world, 0, &[1, 2]);
            world.kill(0);
            world.run_for(10_000);
            world.start(0);
            stays(&mut world, client, &[0, 1, 2], 10_000) && world.is_ready(0)
        },
        |rules| rules.load = false,
    );
}

/// A member joins, and its list omits these members once, in the middle of its load: whether it
/// becomes ready, and shows what there is and nothing less.
fn joins_although_its_list_omits(omitted: &[usize], for_ms: u64, rules: Rules) -> bool {
    let mut world = three(rules);
    let clients: Vec<usize> = (0..40)
        .map(|n| world.add_client(Client::new(&format!("tag-{n}"), &format!("k{n}"))))
        .collect();
    world.kill(2);
    world.clients.iter_mut().for_each(|client| client.reach = vec![0, 1]);
    world.run_for(20_000);
    world.start(2);
    let parts_left = |world: &World| {
        world.nodes[2].process.as_ref().map_or(0, |process| process.distro.load_left())
    };
    // Well into the load, calls to both sources under way.
    while parts_left(&world) == 32 || parts_left(&world) == 0 {
        world.run_for(1);
    }
    while parts_left(&world) > 20 {
        world.run_for(1);
    }
    world.configure(2, [0, 1, 2].into_iter().filter(|node| !omitted.contains(node)).collect());
    let mut is_well = true;
    let mut watch = |world: &mut World, span_ms| {
        let end = world.now + span_ms;
        while world.now < end {
            world.run_for(20);
            is_well &=
                !world.is_ready(2) || clients.iter().all(|client| world.view(2, *client).is_some());
        }
    };
    watch(&mut world, for_ms);
    world.configure(2, [0, 1, 2].into());
    watch(&mut world, 20_000);
    is_well && world.is_ready(2)
}

#[test]
fn a_member_joins_although_the_one_it_loads_from_is_missing_in_a_list_once() {
    let without = |rules: &mut Rules| rules.end_calls = false;
    shows(|rules| joins_although_its_list_omits(&[0], 1_000, rules), without);
    // Whether it is back before or after the call to it would have been given up.
    shows(|rules| joins_although_its_list_omits(&[1], 5_000, rules), without);
    shows(|rules| joins_although_its_list_omits(&[0, 1], 3_000, rules), without);
}

/// Two members run a later release than the third, and one instance says something that only they
/// can read. Returns how often records were compared in the last minute, once all others are known
/// everywhere; `None` if they are not.
fn comparisons_with_an_early_member(early: usize, reads_all_or_nothing: bool) -> Option<u64> {
    let mut world = three(Rules::default());
    world.setup.flaws.reads_all_or_nothing = reads_all_or_nothing;
    world.kill(early);
    let others: Vec<usize> = (0..3).filter(|node| *node != early).collect();
    // Of one slot, so that they are in the messages that the one is in.
    let tag = world.tag_owned_by(others[0], others[0]);
    let clients: Vec<usize> =
        (0..20).map(|n| world.add_client(Client::new(&tag, &format!("k{n:02}")))).collect();
    let mut later = Client::new(&tag, "k10-of-a-later-release");
    later.version = LATER;
    let later = world.add_client(later);
    world.clients.iter_mut().for_each(|client| client.reach = others.clone());
    world.run_for(20_000);
    world.nodes[early].is_early = true;
    world.start(early);
    let is_joined = world.run_until(15_000, |world| {
        world.is_ready(early) && clients.iter().all(|one| world.view(early, *one).is_some())
    });
    // What is new and what changes gets there, too.
    let new = world.add_client(Client::new(&tag, "new"));
    world.clients[new].reach = others;
    world.write_again(clients[3]);
    let knows_news = world.run_until(10_000, |world| {
        let changed = world.view(early, clients[3]).is_some_and(|(version, _)| version == 2);
        changed && world.view(early, new).is_some()
    });
    world.run_for(10_000);
    assert!(!is_joined || world.view(early, later).is_none(), "nobody makes anything of it");
    let before = world.comparisons;
    world.run_for(60_000);
    (is_joined && knows_news).then_some(world.comparisons - before)
}

#[test]
fn a_record_of_a_later_release_holds_up_neither_a_load_nor_a_comparison() {
    for early in 0..3 {
        let comparisons = comparisons_with_an_early_member(early, false);
        assert!(comparisons.is_some(), "the others come");
        // Two members ask a third, each of the others, every three seconds: without a memory of
        // what is in vain these are eighty.
        assert!(comparisons <= Some(8), "{comparisons:?}");
        assert_eq!(comparisons_with_an_early_member(early, true), None);
    }
}

#[test]
fn a_clock_an_hour_or_centuries_ahead_or_behind_costs_nothing() {
    const CENTURY_MS: i64 = 3_155_760_000_000;
    for skew in [3_600_000, -3_600_000, 3 * CENTURY_MS, -CENTURY_MS, i64::MAX] {
        let mut world = World::new(3, 1, Rules::default());
        world.nodes[0].skew_ms = skew;
        (0..3).for_each(|node| world.start(node));
        world.run_for(10_000);
        let client = client_of(&mut world, 1, &[0]);
        // Its next writes go to a member with another clock, at once.
        world.clients[client].reach = vec![2];
        world.write_again(client);
        world.run_for(1_000);
        assert!(everybody_shows(&world, client, 2));
        world.deregister(client);
        world.run_for(1_000);
        assert!(nobody_shows(&world, client));
        // It starts again, with a clock that has jumped.
        world.kill(0);
        world.nodes[0].skew_ms = -skew;
        world.start(0);
        world.run_for(10_000);
        world.clients[client].reach = vec![0];
        world.write_again(client);
        world.run_for(1_000);
        assert!(everybody_shows(&world, client, 3));
    }
}

#[test]
fn two_joining_members_do_not_wait_for_each_other() {
    let mut world = World::new(3, 1, Rules::default());
    world.start(0);
    world.start(1);
    assert!(world.run_until(10_000, |world| world.is_ready(0) && world.is_ready(1)));
    // A silent third is waited for, but not for ever.
    let mut world = World::new(3, 1, Rules::default());
    world.start(2);
    world.cut(0, 2);
    world.cut(1, 2);
    world.start(0);
    world.start(1);
    assert!(world.run_until(15_000, |world| (0..3).all(|node| world.is_ready(node))));
}

#[test]
fn the_dead_go_although_owners_change_in_quick_succession() {
    let mut world = World::settled(3, 1, Rules::default());
    let client = client_of(&mut world, 0, &[]);
    world.die(client);
    for _ in 0..5 {
        world.kill(0);
        world.run_for(8_000);
        world.start(0);
        world.run_for(8_000);
    }
    assert!(matches!(world.clients[client].life, Life::Dead(_)));
    assert!(world.run_until(45_000, |world| nobody_shows(world, client)));
}

#[test]
fn a_member_that_leaves_hands_over_and_nobody_notices() {
    let mut world = World::settled(3, 1, Rules::default());
    let clients: Vec<usize> = (0..20)
        .map(|n| world.add_client(Client::new(&format!("tag-{n}"), &format!("k{n}"))))
        .collect();
    world.run_for(20_000);
    world.leave(0);
    assert!(world.run_until(5_100, |world| world.nodes[0].left));
    for _ in 0..600 {
        world.run_for(100);
        let is_well = |client: &usize| {
            [1, 2].iter().all(|n| matches!(world.view(*n, *client), Some((_, Health::Healthy))))
        };
        assert!(clients.iter().all(is_well));
    }
}

#[test]
fn members_come_and_go_under_load() {
    let mut world = World::new(5, 1, Rules::default());
    world.set_members(&[0, 1, 2]);
    (0..3).for_each(|node| world.start(node));
    world.run_for(10_000);
    for n in 0..20 {
        world.add_client(Client::new(&format!("tag-{n}"), &format!("k{n}")));
    }
    world.run_for(20_000);
    world.set_members(&[0, 1, 2, 3, 4]);
    world.start(3);
    world.start(4);
    world.run_for(40_000);
    assert!((0..5).all(|node| world.is_ready(node)) && world.roots_agree());
    world.leave(0);
    world.leave(1);
    world.run_for(5_200);
    world.set_members(&[2, 3, 4]);
    // The invariants watch over all of it.
    world.run_for(60_000);
    assert!(world.roots_agree());
}

#[test]
fn members_whose_lists_differ_lose_nothing_meanwhile() {
    // Node 0 has not been told of node 2 and takes itself for the owner, in its place.
    let story = |rules, is_told: bool| {
        let mut world = three(rules);
        let ring = Ring::new(&[world.nodes[0].id, world.nodes[1].id]);
        let is_taken = |tag: &String| {
            world.owner(1, tag) == Some(2) && ring.owner(Slot::of(tag)) == Some(world.nodes[0].id)
        };
        let tag = (0..).map(|n| format!("tag-{n}")).find(is_taken).expect("there are tags for all");
        let mut client = Client::new(&tag, "key");
        client.reach = vec![1];
        let client = world.add_client(client);
        world.run_for(20_000);
        if !is_told {
            world.configure(0, [0, 1].into());
        }
        let is_well = stays(&mut world, client, &[0, 1, 2], 60_000);
        world.configure(0, [0, 1, 2].into());
        let stays_well = stays(&mut world, client, &[0, 1, 2], 60_000);
        world.die(client);
        is_well && stays_well && world.run_until(45_000, |world| nobody_shows(world, client))
    };
    assert!(story(Rules { lists: false, ..Rules::default() }, true));
    shows(|rules| story(rules, false), |rules| rules.lists = false);
}

#[test]
fn closing_ends_what_only_a_member_in_a_cut_holds() {
    shows(
        |rules| {
            let mut world = three(rules);
            let tag = world.tag_owned_by(0, 0);
            let counter = world.add_client(Client::counter(&tag));
            world.clients[counter].life = Life::Resting;
            world.cut(0, 2);
            world.cut(1, 2);
            world.run_for(3_000);
            world.ask(counter, 2, Ask::Count(0));
            world.run_for(1_000);
            assert_eq!(world.view(2, counter), Some((1, Health::Healthy)));
            world.operate(counter, 1, Ask::Close);
            world.run_for(1_000);
            world.heal();
            world.run_for(20_000);
            nobody_shows(&world, counter)
        },
        |rules| rules.close_all = false,
    );
}

#[test]
fn a_batch_of_beats_that_comes_late_does_not_keep_the_dead_for_ever() {
    let mut world = World::settled(3, 1, Rules::default());
    let client = client_of(&mut world, 0, &[1]);
    world.run_for(20_000);
    let record = world.record(1, client).expect("it is registered");
    world.die(client);
    // Timed out on one connection, and overtaken there by all that came later on another.
    let beat = Beat {
        tag: world.clients[client].tag.as_str().into(),
        key: world.clients[client].key.as_str().into(),
        age_ms: 100,
        hops: 1,
        written: record.registration.time(),
    };
    world.deliver(1, 0, Request::Renew(vec![beat]), 10_000);
    world.clients[client].last_heard = world.now + 10_000;
    assert!(world.run_until(45_000, |world| nobody_shows(world, client)));
}

#[test]
fn a_renewal_that_the_network_withheld_revives_nobody() {
    shows(
        |rules| {
            [35_000, 65_000, 100_000].into_iter().all(|withheld_ms| {
                let mut world = three(rules);
                let client = client_of(&mut world, 0, &[1]);
                world.run_for(20_000);
                let record = world.record(1, client).expect("it is registered");
                world.die(client);
                let beat = Beat {
                    tag: world.clients[client].tag.as_str().into(),
                    key: world.clients[client].key.as_str().into(),
                    age_ms: 100,
                    hops: 1,
                    written: record.registration.time(),
                };
                world.deliver(1, 0, Request::Renew(vec![beat]), withheld_ms);
                world.run_for(34_000);
                let mut is_well = nobody_shows(&world, client);
                while is_well && world.now < world.clients[client].last_contact + 140_000 {
                    world.run_for(200);
                    is_well &= nobody_shows(&world, client);
                }
                is_well
            })
        },
        |rules| rules.refuse_late = false,
    );
}

/// An instance died after its last beat was forwarded, and the network withholds that for so long.
fn with_a_withheld_beat(rules: Rules, withheld_ms: u64) -> (World, usize) {
    let mut world = three(rules);
    let client = client_of(&mut world, 0, &[1]);
    world.run_for(20_000);
    world.die(client);
    let (tag, key) = (&*world.clients[client].tag, &*world.clients[client].key);
    let beat = Request::Forward(Operation::hear(tag, key));
    world.deliver(1, 0, beat, withheld_ms);
    (world, client)
}

#[test]
fn a_forwarded_beat_that_the_network_withheld_counts_for_nothing() {
    shows(
        |rules| {
            // While the dead one is still shown, as unhealthy.
            let (mut world, client) = with_a_withheld_beat(rules, 24_000);
            world.run_for(34_000);
            nobody_shows(&world, client)
        },
        |rules| rules.refuse_late = false,
    );
}

#[test]
fn a_beat_ages_on_its_way() {
    shows(
        |rules| {
            // Not so late that it is refused: it counts as of when it was sent.
            let (mut world, client) = with_a_withheld_beat(rules, 2_900);
            world.run_for(15_700);
            matches!(world.view(0, client), Some((_, Health::Unhealthy)))
        },
        |rules| rules.refuse_late = false,
    );
}

#[test]
fn a_forwarded_write_that_comes_late_and_twice_undoes_nothing() {
    let mut world = World::settled(3, 1, Rules::default());
    let client = client_of(&mut world, 0, &[1]);
    let record = world.record(1, client).expect("it is registered");
    let (tag, key) = (&*world.clients[client].tag, &*world.clients[client].key);
    let value = record.value.expect("it is shown");
    let operation = Operation::register(tag, key, record.registration, value, Health::Healthy);
    world.write_again(client);
    world.run_for(1_000);
    world.deliver(1, 0, Request::Forward(operation.clone()), 1_000);
    world.run_for(2_000);
    assert!(everybody_shows(&world, client, 2));
    world.deregister(client);
    world.run_for(1_000);
    world.deliver(1, 0, Request::Forward(operation.clone()), 1_000);
    world.deliver(1, 0, Request::Forward(operation), 20_000);
    world.run_for(40_000);
    assert!(nobody_shows(&world, client));
}

#[test]
fn a_write_whose_answer_is_lost_is_where_it_was_made_and_everywhere() {
    // The owner does not tell the member of it that brought it, and nobody compares anything.
    let mut world = three(Rules { verify: false, ..Rules::default() });
    let client = client_of(&mut world, 0, &[1]);
    assert!(everybody_shows(&world, client, 1));
    world.cut_one_way(0, 1);
    world.write_again(client);
    assert!(world.run_until(400, |world| {
        matches!(world.view(0, client), Some((2, _)))
            && matches!(world.view(1, client), Some((1, _)))
    }));
    assert!(world.run_until(1_000, |world| everybody_shows(world, client, 2)));
    world.write_again(client);
    world.run_for(5_000);
    world.heal();
    assert!(world.run_until(10_000, |world| everybody_shows(world, client, 3)));
    world.run_for(1_000);
    assert!(world.roots_agree());
}
