//! One of three members stops without warning and comes back without memory.

use std::time::Duration;

use super::cluster::Cluster;
use super::story::Story;
use super::{run_seeds, work};

#[test]
fn nobody_suffers_from_the_crash_of_a_member_and_it_loads_before_it_answers() {
    run_seeds(scenario);
}

pub(super) fn scenario(seed: u64, story: Story) {
    let mut cluster = Cluster::new(seed, story, 3, 4);
    work::begin(&mut cluster, 2);
    let member = cluster.random.usize(..3);
    // The machine or the process: a silent address, or one that refuses.
    if seed.is_multiple_of(2) {
        cluster.kill(member)
    } else {
        cluster.crash(member)
    }
    let away = Duration::from_millis(cluster.random.u64(500..30_000));
    cluster.run(away);
    let refused = cluster.ledger.borrow().refused;
    cluster.restart(member);
    cluster.run_until_ready(Duration::from_secs(15));
    let has_refused = cluster.ledger.borrow().refused > refused;
    assert!(has_refused, "it was asked before it was ready");
    cluster.run(Duration::from_secs(25));
    work::settle(&mut cluster, Duration::from_secs(6));
    cluster.finish();
}
