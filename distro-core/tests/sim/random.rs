//! Runs at random: faults for a while, then none, and then everything must be well.

use std::sync::atomic::{AtomicBool, Ordering};

use distro_core::{Health, OwnerPolicy, Rules};

use crate::client::{Client, Life};
use crate::node::{Acks, Ask, Flaws};
use crate::world::World;

const SEEDS: u64 = 200;
const CLIENTS: u64 = 8;
/// Of clients that register over a connection.
const LINKED: u64 = 6;
const KEEPERS: u64 = 8;
/// Nodes that are not members at first.
const SPARE: usize = 2;
/// The last node learns at most so much later of a change of members.
const SLOWEST_LIST_MS: u64 = 60_000;

/// How long everything has to become well.
const LIVENESS_MS: u64 = 70_000;

#[allow(clippy::disallowed_methods, reason = "the variables choose what to run, not how it goes")]
fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// All rules but the one that `WITHOUT` names: to see how soon random runs miss it.
#[allow(clippy::disallowed_methods, reason = "the variable chooses what to run")]
fn rules() -> Rules {
    match std::env::var("WITHOUT").unwrap_or_default().as_str() {
        "" => Rules::default(),
        name => Rules::without(name).unwrap_or_else(|| panic!("there is no rule {name}")),
    }
}

/// What may be wrong with how servers keep durable records: the same for that.
#[allow(clippy::disallowed_methods, reason = "the variable chooses what to run")]
fn flaws() -> Flaws {
    let mut flaws = Flaws::default();
    match std::env::var("FLAW").unwrap_or_default().as_str() {
        "" => {}
        "answers_early" => flaws.answers_early = true,
        "holds_early" => flaws.holds_early = true,
        "forgets_removals" => flaws.forgets_removals = true,
        "loads_nothing" => flaws.loads_nothing = true,
        other => panic!("there is no flaw {other}"),
    }
    flaws
}

#[test]
fn random_runs_keep_every_promise() {
    if let Some(seed) = variable("SEED") {
        let world = run(seed);
        // Shown with the failure only, or on demand.
        assert!(variable("STORY").is_none(), "{}", story(&world));
        return;
    }
    let count = variable("SEEDS").unwrap_or(SEEDS);
    let first = variable("FIRST").unwrap_or(0);
    let is_over = AtomicBool::new(false);
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    #[allow(clippy::disallowed_methods, reason = "runs do not share anything")]
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let is_over = &is_over;
            scope.spawn(move || {
                let mine = (first..first + count).filter(|seed| seed % threads == thread);
                for seed in mine.take_while(|_| !is_over.load(Ordering::Relaxed)) {
                    // Stays set if the run panics, so that the others stop, too.
                    is_over.fetch_or(
                        std::panic::catch_unwind(|| run(seed)).is_err(),
                        Ordering::Relaxed,
                    );
                }
            });
        }
    });
    assert!(!is_over.load(Ordering::Relaxed), "a run failed, see above");
}

#[test]
fn a_run_can_be_replayed() {
    assert_eq!(story(&run(3)), story(&run(3)));
}

fn story(world: &World) -> String {
    world.story()
}

/// A number that differs between the tags of these runs.
fn length_and_last(tag: &str) -> u32 {
    u32::from(tag.bytes().last().unwrap_or(0)) + tag.len() as u32
}

fn run(seed: u64) -> World {
    let mut world = World::new(SPARE + 3 + (seed % 3) as usize, seed, rules());
    let count = world.nodes.len() - SPARE;
    if seed % 4 == 3 {
        world.setup.store.owner_policy = OwnerPolicy::Tags(length_and_last);
    }
    world.set_members(&(0..count).collect::<Vec<_>>());
    for node in 0..world.nodes.len() {
        // Less than from one write of a client to its next: two members that are cut off from
        // each other cannot order them otherwise.
        world.nodes[node].skew_ms = world.chance.range(0, 200) as i64 - 100;
    }
    world.setup.acks = if seed.is_multiple_of(2) { Acks::Local } else { Acks::Majority };
    world.setup.flaws = flaws();
    if world.chance.permille(300) {
        world.nodes[2].is_old = true;
    }
    set_limits(&mut world);
    (0..count).for_each(|node| world.start(node));
    if world.chance.permille(300) {
        world.run_for(8_000);
    }
    for n in 0..CLIENTS {
        let tag = format!("tag-{}", n % 5);
        let mut client = Client::new(&tag, &format!("key-{n}"));
        client.full_beats = world.chance.permille(400);
        if world.chance.permille(150) {
            // One that speaks to a member or two only.
            let some = world.chance.shuffled(count);
            client.reach = some.into_iter().take(1 + (n % 2) as usize).collect();
        }
        world.add_client(client);
    }
    for n in 0..LINKED {
        let mut client = Client::linked(&format!("link-{}", n % 4), &format!("key-{n}"));
        if world.chance.permille(150) {
            client.reach = world.chance.shuffled(count).into_iter().take(2).collect();
        }
        world.add_client(client);
    }
    // Who removes the record of a datum as a whole closes it, so that one is by itself.
    for (tag, key) in [("keep", ""), ("tag", "!a"), ("tag", "!b")] {
        world.add_client(Client::keeper(tag, key));
    }
    for n in 0..KEEPERS {
        world.add_client(Client::keeper("#users", &format!("user-{n}")));
    }
    for n in 0..3 {
        world.add_client(Client::counter(if n < 2 { "counter" } else { "tag-1" }));
    }
    world.run_for(20_000);
    if seed % 16 == 5 {
        long_cut(&mut world, count);
    }
    let steps = world.chance.range(4, 10);
    for _ in 0..steps {
        disturb(&mut world);
        clients_do_something(&mut world);
        operators_do_something(&mut world);
        let span = world.chance.range(1_000, 25_000);
        world.run_for(span);
        clients_do_something(&mut world);
        if world.chance.permille(600) {
            mend(&mut world);
            let span = world.chance.range(500, 30_000);
            world.run_for(span);
        }
    }
    let members: Vec<usize> = world.members().iter().copied().collect();
    world.set_members(&members);
    mend(&mut world);
    world.run_for(LIVENESS_MS);
    for client in &mut world.clients {
        client.life = match client.life {
            Life::Counting => Life::Resting,
            Life::Keeping => Life::Kept,
            other => other,
        };
    }
    world.run_for(5_000);
    all_is_well(&world);
    world
}

/// Some members have hardly room for anything, or look for empty datums very often.
fn set_limits(world: &mut World) {
    let store = &mut world.setup.store;
    match world.seed % 8 {
        1 => {
            // All that is removed is forgotten after the compensation window.
            (store.tombstone_bytes, store.tombstones_per_slot) = (0, 0);
            world.is_short_of_memory = true;
        }
        2 => {
            // Nothing is, unless all peers have been told of it.
            (store.tombstone_bytes, store.tombstones_per_slot) = (3_000, 0);
            world.is_short_of_memory = true;
        }
        4 => {
            store.journal_keys = 6;
            let config = &mut world.setup.config;
            (config.queue_keys, config.batch_keys) = (4, 3);
        }
        _ => {}
    }
    if world.seed.is_multiple_of(3) {
        world.clean_up_ms = 2_000;
    }
}

/// The members fall apart into two sides for minutes, and each client reaches one side, or both.
fn long_cut(world: &mut World, count: usize) {
    let order = world.chance.shuffled(count);
    let (few, many) = order.split_at(world.chance.range(1, count as u64) as usize);
    let reaches: Vec<Vec<usize>> =
        world.clients.iter().map(|client| client.reach.clone()).collect();
    for client in &mut world.clients {
        client.reach = match world.chance.range(0, 3) {
            0 => few.to_vec(),
            1 => many.to_vec(),
            _ => Vec::new(),
        };
    }
    for one in few {
        many.iter().for_each(|other| world.cut(*one, *other));
    }
    let minutes = if world.chance.permille(300) { 20 } else { 7 };
    world.run_for(minutes * 60_000);
    mend(world);
    world.run_for(30_000);
    for (client, reach) in world.clients.iter_mut().zip(reaches) {
        client.reach = reach;
    }
}

/// One more thing goes wrong.
fn disturb(world: &mut World) {
    let count = world.nodes.len();
    let (a, b) = (
        world.chance.range(0, count as u64) as usize,
        world.chance.range(0, count as u64) as usize,
    );
    match world.chance.range(0, 19) {
        0 | 1 if a != b => world.cut(a, b),
        2 if a != b => world.cut_one_way(a, b),
        3 => (0..count).filter(|other| *other != a).for_each(|other| world.cut(a, other)),
        4 => {
            let half = world.chance.range(1, count as u64) as usize;
            for one in 0..half {
                (half..count).for_each(|other| world.cut(one, other));
            }
        }
        5 | 6 if world.nodes[a].process.is_some() => world.kill(a),
        7 if world.nodes[a].process.is_some() && world.chance.permille(500) => {
            world.pause_in_round(a);
        }
        7 if world.nodes[a].process.is_some() && !world.nodes[a].is_paused => world.suspend(a),
        8 if world.nodes[a].process.is_some() && !world.nodes[a].is_paused => world.leave(a),
        9 => {
            world.net.loss = world.chance.range(0, 50);
            world.net.duplicates = world.chance.range(0, 100);
            world.net.stragglers = world.chance.range(0, 20);
            world.net.slowest_ms = world.chance.range(2, 80);
            world.tell("the network turns bad");
        }
        11 => join(world, a),
        12 => decommission(world, a),
        13 => {
            world.slowest_flush_ms = world.chance.range(1, 2_500);
            world.tell("disks turn slow");
        }
        14 => lose(world, a),
        15 | 16 => power_cut(world),
        17 if a != b => {
            let for_ms = world.chance.range(100, 10_000);
            world.omit(a, b, for_ms);
        }
        _ => mend(world),
    }
}

/// A new member starts; the others learn of it sooner or later.
fn join(world: &mut World, node: usize) {
    if world.members().contains(&node) {
        return;
    }
    let mut members = world.members().clone();
    members.insert(node);
    world.change_members(members.clone(), SLOWEST_LIST_MS);
    world.configure(node, members);
    world.start(node);
}

/// A member goes for good: it leaves if it can.
fn decommission(world: &mut World, node: usize) {
    let mut members = world.members().clone();
    if !may_lose(world) || members.len() <= 3 || !members.remove(&node) {
        return;
    }
    world.has_lost_one = true;
    if world.is_running(node) {
        world.leave(node);
    } else if world.chance.permille(500) {
        world.wipe(node);
    } else {
        // It may come back one day, with all that it had.
        world.kill(node);
    }
    world.change_members(members, SLOWEST_LIST_MS);
}

/// A member dies for good. Another process takes its place in the end, and begins with nothing.
fn lose(world: &mut World, node: usize) {
    if may_lose(world) && world.members().contains(&node) {
        world.has_lost_one = true;
        world.wipe(node);
    }
}

/// All members die at once, and perhaps one of them for good. It strikes where it hurts most: while
/// disks are behind, and him who has just told somebody that something is on disk.
fn power_cut(world: &mut World) {
    world.slowest_flush_ms = world.chance.range(1, 2_500);
    let is_fresh = |world: &World, client: &Client| {
        client.life == Life::Keeping && client.acked_at + 200 > world.now
    };
    world.run_for(3_000);
    world.run_until(10_000, |world| world.clients.iter().any(|client| is_fresh(world, client)));
    let fresh = world.clients.iter().find(|client| is_fresh(world, client));
    let teller = fresh.map_or(0, |client| client.acked_by);
    world.tell("the power fails");
    let running: Vec<usize> =
        (0..world.nodes.len()).filter(|n| world.nodes[*n].process.is_some()).collect();
    running.into_iter().for_each(|node| world.kill(node));
    if world.chance.permille(700) {
        lose(world, teller);
    }
}

/// What one member alone has on disk may be all that there is of it, and so may what two have if
/// the other is lost already.
fn may_lose(world: &World) -> bool {
    world.setup.acks == Acks::Majority && !world.has_lost_one
}

fn operators_do_something(world: &mut World) {
    let node = world.chance.range(0, world.nodes.len() as u64) as usize;
    let client = world.chance.range(0, CLIENTS) as usize;
    if !world.is_running(node) || !world.members().contains(&node) {
        return;
    }
    match world.chance.range(0, 10) {
        0 => world.operate(client, node, Ask::Close),
        1 => world.operate(client, node, Ask::Judge(Health::Unhealthy)),
        2 => world.operate(client, node, Ask::Judge(Health::Healthy)),
        _ => {}
    }
}

fn mend(world: &mut World) {
    for node in 0..world.nodes.len() {
        if world.is_leaving(node) {
            world.kill(node);
        }
    }
    world.net.loss = 0;
    world.net.stragglers = 0;
    world.net.duplicates = 0;
    world.net.slowest_ms = 3;
    world.slowest_flush_ms = 20;
    world.heal();
    for node in 0..world.nodes.len() {
        world.nodes[node].pauses_in_round = false;
        if world.nodes[node].is_paused {
            world.resume(node);
        }
        if world.nodes[node].process.is_none() && world.members().contains(&node) {
            world.start(node);
        }
    }
}

fn clients_do_something(world: &mut World) {
    for client in 0..world.clients.len() {
        let is_alive = world.clients[client].life == Life::Alive;
        if is_alive && world.clients[client].is_linked {
            match world.chance.range(0, 12) {
                0 => world.sever(client),
                1 => world.vanish(client),
                2 | 3 => world.change_servers(client),
                _ => {}
            }
        }
        match world.chance.range(0, 12) {
            0 if is_alive => world.deregister(client),
            1 if is_alive => world.die(client),
            2 | 3 if is_alive => world.write_again(client),
            4 | 5 if matches!(world.clients[client].life, Life::Gone(_) | Life::Dead(_)) => {
                world.write_again(client);
            }
            _ => {}
        }
    }
}

fn all_is_well(world: &World) {
    if !world.roots_agree() {
        world.fail("members do not agree at the end");
    }
    for (c, client) in world.clients.iter().enumerate() {
        for node in world.members().iter().copied() {
            if matches!(client.life, Life::Resting | Life::Kept) {
                continue;
            }
            let view = world.view(node, c).map(|(version, _)| version);
            let expected = (client.life == Life::Alive).then_some(client.version);
            let is_excused = client.life == Life::Leaving || client.is_lost && view.is_some();
            if view != expected && !is_excused {
                world.fail(&format!("node {node}: client {c} is {view:?}, not {expected:?}"));
            }
            if !world.is_ready(node) {
                world.fail(&format!("node {node} is not ready"));
            }
        }
    }
}
