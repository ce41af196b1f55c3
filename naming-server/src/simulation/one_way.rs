//! Two members that do not hear each other, or one not the other, and messages that come late.

use std::time::Duration;

use naming_model::ServiceKey;

use super::client::Client;
use super::cluster::{Cluster, Cut, MOST_AHEAD, Task};
use super::ledger::Name;
use super::story::Story;
use super::{member_ip, run_seeds, work};

#[test]
fn a_cut_between_two_is_gone_around() {
    run_seeds(one_way);
}

#[test]
fn a_write_that_was_held_up_does_not_undo_what_came_after() {
    run_seeds(held);
}

#[test]
fn a_removal_that_overtakes_the_registration_counts() {
    run_seeds(overtaken);
}

pub(super) fn one_way(seed: u64, story: Story) {
    let mut cluster = Cluster::new(seed, story, 3, 4);
    work::begin(&mut cluster, 2);
    let source = cluster.random.usize(..3);
    let target = (source + 1 + cluster.random.usize(..2)) % 3;
    let kind = Cut::any(&mut cluster.random);
    cluster.cut_one_way(member_ip(source), member_ip(target), kind);
    // Both ways at times: a chain, of which the third member is the middle.
    let is_chain = cluster.random.bool();
    if is_chain {
        cluster.cut_one_way(member_ip(target), member_ip(source), kind);
    }
    let cut = Duration::from_secs(cluster.random.u64(10..60));
    cluster.run(cut);
    cluster.mend_one_way(member_ip(source), member_ip(target));
    if is_chain {
        cluster.mend_one_way(member_ip(target), member_ip(source));
    }
    cluster.run(Duration::from_secs(15));
    work::settle(&mut cluster, Duration::from_secs(6));
    cluster.finish();
}

/// Writes of a client at one member are on their way to another, the owner, and do not arrive.
/// Meanwhile the client says the opposite elsewhere.
pub(super) fn held(seed: u64, story: Story) {
    let mut cluster = Cluster::new(seed, story, 3, 9);
    work::begin(&mut cluster, 1);
    let (owner, here, elsewhere) = (0, 1, 2);
    let owned = services_of(&cluster, owner);
    assert!(!owned.is_empty(), "nine services and three owners");
    let names: Vec<Name> = owned
        .into_iter()
        .flat_map(|service| [cluster.name(service), cluster.name(service)])
        .collect();
    // One of each pair is registered beforehand and removed while all is held up.
    let (fresh, known): (Vec<Name>, Vec<Name>) =
        names.into_iter().partition(|(_, port)| port % 2 == 0);
    work::script(&mut cluster, 1, &[here], &known, Client::register_once);
    cluster.run(Duration::from_secs(2));
    cluster.hold(owner, here);
    work::script(&mut cluster, 2, &[here], &fresh, Client::register_once);
    work::script(&mut cluster, 3, &[here], &known, Client::deregister_once);
    // Each takes its write itself when the owner does not answer in time.
    cluster.run(Duration::from_secs(3));
    work::script(&mut cluster, 4, &[elsewhere], &fresh, Client::deregister_once);
    work::script(&mut cluster, 5, &[elsewhere], &known, |client, name| client.stay(name, false));
    let held = Duration::from_millis(cluster.random.u64(1_000..4_000));
    cluster.run(held);
    cluster.release(owner, here);
    cluster.run(Duration::from_secs(12));
    work::settle(&mut cluster, Duration::from_secs(6));
    cluster.finish();
}

/// A client registers at one member, which cannot reach the owner, and soon deregisters at the
/// owner, which has not heard of the instance yet.
fn overtaken(seed: u64, story: Story) {
    let mut cluster = Cluster::new(seed, story, 3, 9);
    work::begin(&mut cluster, 1);
    let (owner, elsewhere) = (0, 2);
    let kind = Cut::any(&mut cluster.random);
    cluster.cut(&[member_ip(owner)], &[member_ip(elsewhere)], kind);
    let names: Vec<Name> =
        services_of(&cluster, owner).into_iter().map(|service| cluster.name(service)).collect();
    assert!(!names.is_empty(), "nine services and three owners");
    let tasks = names.into_iter().map(|name| {
        let there = cluster.client(1, &[elsewhere]);
        let here = cluster.client(1, &[owner]);
        let task: Task = Box::pin(async move {
            there.register_once(name.clone()).await;
            // Members that are cut off from each other order writes by their clocks.
            tokio::time::sleep(2 * MOST_AHEAD).await;
            here.deregister_once(name).await;
        });
        task
    });
    let tasks = tasks.collect();
    cluster.add_side(1, tasks);
    cluster.run(Duration::from_secs(15));
    cluster.mend(&[member_ip(owner)], &[member_ip(elsewhere)]);
    cluster.run(Duration::from_secs(12));
    work::settle(&mut cluster, Duration::from_secs(6));
    cluster.finish();
}

/// The services whose writes go to a member.
fn services_of(cluster: &Cluster, member: usize) -> Vec<usize> {
    let running = cluster.processes[member].running.borrow();
    let store = &running.as_ref().expect("it runs").registry.store;
    let owned = cluster.services.iter().enumerate().filter(|(_, service)| {
        let key = ServiceKey::parse("public", &format!("DEFAULT_GROUP@@{service}"));
        let key = key.expect("a name of ours");
        store.owns(key.as_str())
    });
    owned.map(|(number, _)| number).collect()
}
