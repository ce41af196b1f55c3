//! All members stop at once and come back without memory.

use std::time::Duration;

use super::cluster::Cluster;
use super::story::Story;
use super::{run_seeds, work};

#[test]
fn a_cluster_that_lost_its_memory_is_told_anew_and_never_shows_nothing() {
    run_seeds(scenario);
}

pub(super) fn scenario(seed: u64, story: Story) {
    let mut cluster = Cluster::new(seed, story, 3, 4);
    work::begin(&mut cluster, 2);
    for member in 0..3 {
        if seed.is_multiple_of(2) { cluster.kill(member) } else { cluster.crash(member) }
    }
    let now = cluster.now();
    cluster.ledger.borrow_mut().all_crashed(now);
    let away = Duration::from_millis(cluster.random.u64(0..20_000));
    cluster.run(away);
    for member in 0..3 {
        cluster.restart(member);
    }
    cluster.run_until_ready(Duration::from_secs(30));
    cluster.run(Duration::from_secs(25));
    assert!(cluster.ledger.borrow().unknown_beats > 0, "light beats tell who is unknown");
    work::settle(&mut cluster, Duration::from_secs(6));
    cluster.finish();
}
