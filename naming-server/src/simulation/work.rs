//! The load under which faults happen.

use std::time::Duration;

use super::client::Client;
use super::cluster::{Cluster, Task};
use super::ledger::Name;

/// Applications that stay, and those that come and go, for each service and side.
const STAYING: usize = 2;

/// Clients in one place, of all kinds, who know these members.
pub(super) fn begin_work(cluster: &mut Cluster, side: usize, members: &[usize]) {
    let mut clients: Vec<Task> = Vec::new();
    let services = cluster.services.clone();
    for number in 0..services.len() {
        for light in 0..STAYING {
            let (client, name) = (cluster.client(side, members), cluster.name(number));
            clients.push(Box::pin(client.stay(name, light % 2 == 0)));
        }
    }
    for number in 0..2 {
        let (client, name) = (cluster.client(side, members), cluster.name(number));
        clients.push(Box::pin(client.come_and_go(name)));
    }
    for (number, member) in members.iter().copied().enumerate() {
        let (reader, subscriber) = (cluster.client(side, members), cluster.client(side, members));
        clients.push(Box::pin(reader.read(services.clone())));
        let service = services[number % services.len()].clone();
        clients.push(Box::pin(async move {
            subscriber.subscribe(member, service).await.expect("the network of the simulation");
        }));
        if side == 0 {
            let watcher = cluster.client(side, members);
            clients.push(Box::pin(watcher.watch_start(member, services.clone())));
        }
    }
    cluster.add_side(side, clients);
}

/// Starts the work on so many sides, and waits until it goes well.
pub(super) fn begin(cluster: &mut Cluster, sides: usize) {
    let members: Vec<usize> = (0..cluster.processes.len()).collect();
    for side in 0..sides {
        begin_work(cluster, side, &members);
    }
    cluster.run_until_ready(Duration::from_secs(20));
    cluster.run(Duration::from_secs(20));
}

/// Waits until nothing is under way, and then until all members hold the same.
pub(super) fn settle(cluster: &mut Cluster, within: Duration) {
    cluster.ledger.borrow_mut().is_quiet = true;
    cluster.run(Duration::from_secs(12));
    cluster.run_until_equal(within);
    cluster.ledger.borrow_mut().is_quiet = false;
}

/// Asks a new member whether it is ready, from a place of its own.
pub(super) fn watch(cluster: &mut Cluster, side: usize, member: usize) {
    let services = cluster.services.clone();
    let watcher = cluster.client(side, &[member]);
    cluster.add_side(side, vec![Box::pin(watcher.watch_start(member, services))]);
}

/// What a client of its own does with each name, from a place of its own.
pub(super) fn script<F: Future<Output = ()> + 'static>(
    cluster: &mut Cluster,
    side: usize,
    members: &[usize],
    names: &[Name],
    act: fn(Client, Name) -> F,
) {
    let tasks = names.iter().map(|name| {
        let task: Task = Box::pin(act(cluster.client(side, members), name.clone()));
        task
    });
    let tasks = tasks.collect();
    cluster.add_side(side, tasks);
}
