//! Persistent instances at the address of a member: it stops, and comes back.

use std::time::Duration;

use naming_model::ServiceKey;

use super::cluster::Cluster;
use super::story::Story;
use super::{member_ip, run_seeds};
use crate::registry::hosts;

#[test]
fn checks_go_on_whoever_stops_and_all_members_tell_what_they_find() {
    run_seeds(scenario);
}

pub(super) fn scenario(seed: u64, story: Story) {
    let mut cluster = Cluster::new(seed, story, 3, 8);
    cluster.run(Duration::from_secs(8));
    let member = cluster.random.usize(..3);
    let client = cluster.client(0, &[0, 1, 2]);
    let services = cluster.services.clone();
    cluster.add_side(0, vec![Box::pin(client.place_persistent(services, member_ip(member)))]);
    let limit = Duration::from_secs(60);
    cluster.run_until(limit, "all know them healthy", |cluster| are_all(cluster, true));
    cluster.run(Duration::from_secs(20));
    assert!(are_all(&cluster, true), "they answer");
    // Refused, or silent.
    if seed.is_multiple_of(2) {
        cluster.kill(member)
    } else {
        cluster.crash(member)
    }
    cluster.run_until(limit, "all know them unhealthy", |cluster| are_all(cluster, false));
    cluster.restart(member);
    cluster.run_until(limit, "all know them healthy again", |cluster| are_all(cluster, true));
    cluster.run_until_equal(Duration::from_secs(10));
    assert_eq!(cluster.ledger.borrow().violations, Vec::<String>::new(), "seed {seed}");
}

/// Whether every running member knows the instance of every service, with this health.
fn are_all(cluster: &Cluster, healthy: bool) -> bool {
    let running: Vec<_> = cluster.ledger.borrow().truth.running().into_iter().collect();
    !running.is_empty()
        && running.into_iter().all(|member| {
            let process = cluster.processes[member].running.borrow();
            let Some(running) = &*process else { return false };
            cluster.services.iter().all(|service| {
                let service = ServiceKey::grouping("public", service, "").expect("a name");
                running.registry.find(&service).is_some_and(|datum| {
                    datum.read(|reader| {
                        hosts(&reader).map(|host| host.healthy).collect::<Vec<_>>() == [healthy]
                    })
                })
            })
        })
}
