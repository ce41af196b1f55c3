//! One member and its clients are cut off from the other two and theirs.

use std::time::Duration;

use super::client::Client;
use super::cluster::{Cluster, Cut};
use super::ledger::Name;
use super::story::Story;
use super::{client_ip, member_ip, run_seeds, work};

/// Two verify periods.
const EQUAL_WITHIN: Duration = Duration::from_secs(6);

#[test]
fn both_sides_of_a_cut_serve_theirs_and_agree_afterwards() {
    run_seeds(scenario);
}

pub(super) fn scenario(seed: u64, story: Story) {
    let mut cluster = Cluster::new(seed, story, 3, 4);
    work::begin(&mut cluster, 2);
    let members = [0, 1, 2];
    for side in [2, 3] {
        let names: Vec<Name> = (0..3).map(|service| cluster.name(service)).collect();
        work::script(&mut cluster, side, &members, &names, Client::die);
    }
    let alone = cluster.random.usize(..3);
    let some = [member_ip(alone), client_ip(0), client_ip(2)];
    let others =
        [member_ip((alone + 1) % 3), member_ip((alone + 2) % 3), client_ip(1), client_ip(3)];
    let kind = Cut::any(&mut cluster.random);
    cluster.cut(&some, &others, kind);
    // Short cuts end before anybody is given up, long ones after.
    let cut = Duration::from_secs(cluster.random.u64(10..90));
    cluster.run(cut);
    // Who is about to change something does so before the links are mended.
    cluster.ledger.borrow_mut().is_quiet = true;
    cluster.run(Duration::from_secs(15));
    cluster.mend(&some, &others);
    cluster.run_until_equal(EQUAL_WITHIN);
    cluster.ledger.borrow_mut().is_quiet = false;
    // The dead are gone in time, and nobody else is.
    cluster.run(Duration::from_secs(50));
    work::settle(&mut cluster, EQUAL_WITHIN);
    cluster.finish();
}
