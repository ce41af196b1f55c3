//! Writers of many durable records: each registers and removes persistent instances of a service
//! of its own, one write after the other, and keeps a ledger of what it was told.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use hyper::Method;
use serde::Deserialize;
use tokio::time::sleep;

use super::Shared;
use super::ledger::{DurableTally, Write};
use crate::chaos::judge::State;

/// Each writes a service of its own.
pub(in crate::chaos) const CLERKS: usize = 16;
/// Records that each writes at most: a list of them is read again and again.
const MOST_RECORDS: usize = 1_500;
/// From the answer to one write to the next, unless there is a hurry.
const REST_MS: std::ops::Range<u64> = 100..400;
/// From a write that failed to the next.
const AFTER_FAILURE: Duration = Duration::from_millis(50);
/// The share of removals.
const REMOVALS: f64 = 0.25;
/// How often everything is read from every node.
const READ_INTERVAL: Duration = Duration::from_secs(2);

/// Writes until the task is aborted.
pub(super) async fn write_for_ever(shared: Rc<Shared>, id: usize) {
    while !has_no_checks(&shared, id).await {
        sleep(AFTER_FAILURE).await;
    }
    loop {
        if !shared.is_hurried.get() {
            sleep(Duration::from_millis(fastrand::u64(REST_MS))).await;
        }
        let Some(write) = decide(&shared, id) else { return };
        if !is_done(&shared, id, write).await {
            // Not written again: it may take effect, and stays unsure.
            sleep(AFTER_FAILURE).await;
        }
    }
}

/// Reads the records of one writer at one node, until the task is aborted.
pub(super) async fn read_for_ever(shared: Rc<Shared>, id: usize, node: usize) {
    loop {
        sleep(READ_INTERVAL.mul_f64(0.5 + fastrand::f64())).await;
        let begun = shared.now();
        let Some(shown) = shown_at(&shared, node, id).await else { continue };
        // What it shows may be from before it was frozen or killed.
        let is_ready =
            matches!(shared.judge.borrow().state(node), State::Ready { since } if since <= begun);
        if is_ready {
            shared.ledgers.borrow_mut()[id].seen(node, begun, &shown);
        }
    }
}

/// What became of all writes, by what these nodes show, and what is wrong in words.
pub(super) async fn settle(shared: &Shared, nodes: &[usize]) -> (DurableTally, Vec<String>) {
    let (mut tally, mut wrong) = (DurableTally::default(), Vec::new());
    for id in 0..CLERKS {
        let mut lost = HashSet::new();
        for &node in nodes {
            let Some(shown) = shown_at(shared, node, id).await else {
                wrong.push(format!("node {} does not list the records of writer {id}", node + 1));
                continue;
            };
            lost.extend(shared.ledgers.borrow_mut()[id].settle(&shown));
        }
        shared.ledgers.borrow()[id].count(&mut tally);
        tally.lost += lost.len();
    }
    tally.alone = shared.acknowledged_alone.get();
    (tally, wrong)
}

fn decide(shared: &Shared, id: usize) -> Option<Write> {
    let ledger = &mut shared.ledgers.borrow_mut()[id];
    let removal = match fastrand::f64() < REMOVALS {
        true => ledger.remove(fastrand::usize(..ledger.len().max(1))),
        false => None,
    };
    removal.or_else(|| (ledger.len() < MOST_RECORDS).then(|| ledger.register()))
}

async fn is_done(shared: &Shared, id: usize, write: Write) -> bool {
    let Some((node, address)) = running(shared) else { return false };
    let (method, number) = match write {
        Write::Register(number) => (Method::POST, number),
        Write::Remove(number) => (Method::DELETE, number),
    };
    let path = format!(
        "/nacos/v1/ns/instance?{}&ip=127.0.0.1&port={}&ephemeral=false",
        service(id),
        number + 1
    );
    let was_alone = shared.alone.get();
    let reply = shared.http.call(&method, address, &path).await;
    if !reply.is_ok_and(|reply| reply.status == 200) {
        return false;
    }
    shared.ledgers.borrow_mut()[id].done(write, shared.now());
    if was_alone == Some(node) && shared.alone.get() == was_alone {
        shared.acknowledged_alone.set(shared.acknowledged_alone.get() + 1);
    }
    true
}

/// One of the nodes that are not known to be down: what is asked of those is surely not done.
fn running(shared: &Shared) -> Option<(usize, SocketAddr)> {
    let judge = shared.judge.borrow();
    let mut nodes = shared.listed.borrow().clone();
    nodes.retain(|node| judge.state(*node) != State::Down);
    let node = fastrand::choice(nodes)?;
    Some((node, shared.address(node)?))
}

/// Nobody listens where the instances are said to be, and thousands of checks would be a load of
/// another kind.
async fn has_no_checks(shared: &Shared, id: usize) -> bool {
    let Some((_, address)) = running(shared) else { return false };
    let service = service(id);
    let create = format!("/nacos/v1/ns/service?{service}");
    // It may have been made at the last try.
    let _ = shared.http.call(&Method::POST, address, &create).await;
    let checker = "healthChecker=%7B%22type%22%3A%22NONE%22%7D";
    let path = format!(
        "/nacos/v1/ns/cluster?{service}&clusterName=DEFAULT&checkPort=80\
         &useInstancePort4Check=true&{checker}"
    );
    let reply = shared.http.call(&Method::PUT, address, &path).await;
    reply.is_ok_and(|reply| reply.status == 200)
}

fn service(id: usize) -> String {
    format!("namespaceId=public&serviceName=DEFAULT_GROUP%40%40written-{id}")
}

#[derive(Deserialize)]
struct List {
    hosts: Vec<Host>,
}

#[derive(Deserialize)]
struct Host {
    port: usize,
}

/// The numbers of the records that a node shows; `None` if there is no answer that makes sense.
async fn shown_at(shared: &Shared, node: usize, id: usize) -> Option<HashSet<usize>> {
    let path = format!("/nacos/v1/ns/instance/list?{}&healthyOnly=false", service(id));
    let reply = shared.http.get(shared.address(node)?, &path).await.ok()?;
    shown_in(&reply.body).filter(|_| reply.status == 200)
}

fn shown_in(body: &[u8]) -> Option<HashSet<usize>> {
    let list: List = serde_json::from_slice(body).ok()?;
    list.hosts.iter().map(|host| host.port.checked_sub(1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_shows_the_numbers_of_records() {
        let list = br#"{"hosts":[{"ip":"127.0.0.1","port":1},{"port":12,"ip":"b"}]}"#;
        assert_eq!(shown_in(list), Some([0, 11].into()));
        assert_eq!(shown_in(br#"{"hosts":[],"name":"a"}"#), Some(HashSet::new()));
        assert_eq!(shown_in(br#"{"hosts":[{"port":0}]}"#), None);
        assert_eq!(shown_in(b"caused: busy"), None);
    }
}
