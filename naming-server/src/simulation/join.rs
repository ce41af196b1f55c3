//! A member joins and another leaves while clients work.

use std::time::Duration;

use super::cluster::Cluster;
use super::story::Story;
use super::{run_seeds, work};

#[test]
fn members_come_and_go_under_load() {
    run_seeds(scenario);
}

pub(super) fn scenario(seed: u64, story: Story) {
    let mut cluster = Cluster::new(seed, story, 3, 4);
    work::begin(&mut cluster, 1);
    let joining = cluster.add_member(&[0, 1, 2, 3]);
    cluster.list(&[0, 1, 2, 3]);
    // Clients in another place know all four.
    work::begin_work(&mut cluster, 1, &[0, 1, 2, 3]);
    work::watch(&mut cluster, 2, joining);
    cluster.run_until_ready(Duration::from_secs(15));
    cluster.run(Duration::from_secs(20));
    let leaving = cluster.random.usize(..3);
    cluster.leave(leaving, Duration::from_secs(10));
    let remaining: Vec<usize> = (0..4).filter(|member| *member != leaving).collect();
    cluster.list(&remaining);
    cluster.run(Duration::from_secs(25));
    work::settle(&mut cluster, Duration::from_secs(6));
    cluster.finish();
}
