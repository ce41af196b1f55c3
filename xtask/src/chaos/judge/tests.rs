//! Observations made up by hand.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// Three ready nodes, two services of three instances that live since the beginning.
fn judge() -> Judge {
    let mut judge = Judge::new(3, 2, 3);
    for node in 0..3 {
        judge.node_is(node, State::Ready { since: At::ZERO });
    }
    for id in 0..6 {
        judge.instance(id).unwrap().acknowledged(At::ZERO, 0);
    }
    judge.arm(At::ZERO);
    judge
}

fn heard_until(judge: &mut Judge, seconds: u32) {
    (0..6).for_each(|id| judge.instance(id).unwrap().heard = SECOND * seconds);
}

fn read(judge: &mut Judge, node: usize, at: u32, hosts: &[(usize, bool)]) {
    see(judge, node, Channel::Read, at, hosts);
}

fn see(judge: &mut Judge, node: usize, channel: Channel, at: u32, hosts: &[(usize, bool)]) {
    let begun = SECOND * at;
    let received = begun + Duration::from_millis(5);
    judge.seen(&Seen { node, channel, service: 0, begun, received, hosts });
}

fn fail(judge: &mut Judge, node: usize, begun: u32, ended: u32) {
    let (begun, ended) = (SECOND * begun, SECOND * ended);
    judge.call_failed(&Failure { node, begun, ended, what: "status 500" });
}

const ALL: &[(usize, bool)] = &[(0, true), (1, true), (2, true)];

#[test]
fn full_lists_are_clean() {
    let mut judge = judge();
    read(&mut judge, 0, 1, ALL);
    see(&mut judge, 2, Channel::Push, 2, ALL);
    assert!(judge.tally().is_clean());
    assert_eq!((judge.tally().reads, judge.tally().pushes), (1, 1));
}

#[test]
fn each_living_instance_that_is_missing_or_unhealthy_counts_once() {
    let mut judge = judge();
    read(&mut judge, 0, 1, &[(0, true), (1, false)]);
    read(&mut judge, 1, 2, &[(0, true), (2, false)]);
    let tally = judge.tally();
    assert_eq!((tally.missing.len(), tally.unhealthy.len(), tally.hurt()), (2, 2, 2));
    assert!(tally.told[0].starts_with("1.00 s: list read from node 1 (2 hosts) of service 0"));
}

#[test]
fn a_finding_says_when_the_instance_was_last_heard_and_seen_and_where() {
    let mut judge = judge();
    judge.instance(2).unwrap().acknowledged(SECOND * 3, 1);
    read(&mut judge, 2, 4, ALL);
    read(&mut judge, 0, 5, &[(0, true), (1, true)]);
    let told = &judge.tally().told[0];
    let expected = "heard by node 2 at 3.00 s; seen at node 1 never, node 2 never, node 3 at 4.0";
    assert!(told.contains(expected), "{told}");
}

#[test]
fn nothing_counts_before_the_row_is_armed() {
    let mut judge = judge();
    judge.arm(SECOND * 10);
    read(&mut judge, 0, 9, &[]);
    fail(&mut judge, 0, 9, 11);
    assert!(judge.tally().is_clean());
    read(&mut judge, 0, 10, &[]);
    assert_eq!((judge.tally().empty_lists, judge.tally().hurt()), (1, 3));
}

#[test]
fn an_instance_that_could_not_beat_is_counted_apart() {
    let mut judge = judge();
    read(&mut judge, 0, 13, &[(0, true), (1, true)]);
    assert_eq!((judge.tally().unheard.len(), judge.tally().hurt()), (1, 0));
    assert!(!judge.tally().is_clean());
    heard_until(&mut judge, 5);
    read(&mut judge, 0, 14, &[(0, true), (1, true)]);
    assert_eq!(judge.tally().missing.len(), 1);
}

#[test]
fn only_nodes_that_were_ready_all_the_time_have_to_answer() {
    let mut judge = judge();
    fail(&mut judge, 0, 1, 2);
    assert_eq!(judge.tally().failed_calls, 1);
    for state in [State::Down, State::Paused, State::NotReady, State::Ready { since: SECOND * 6 }] {
        judge.node_is(0, state);
        fail(&mut judge, 0, 5, 7);
    }
    assert_eq!((judge.tally().failed_calls, judge.tally().failed_elsewhere), (1, 4));
    fail(&mut judge, 0, 6, 7);
    assert_eq!(judge.tally().failed_calls, 2);
}

#[test]
fn the_first_seconds_after_a_fault_are_counted_apart() {
    let mut judge = judge();
    judge.broken(SECOND * 10, true);
    fail(&mut judge, 1, 12, 20);
    assert_eq!((judge.tally().failed_calls, judge.tally().failed_early), (0, 1));
    fail(&mut judge, 1, 13, 14);
    assert_eq!(judge.tally().failed_calls, 1);
    judge.mended(SECOND * 20, true);
    fail(&mut judge, 1, 21, 22);
    assert_eq!(judge.tally().failed_calls, 2);
}

#[test]
fn the_dead_may_stay_for_a_while_after_death_and_heal() {
    let mut judge = judge();
    judge.instance(0).unwrap().life = Life::Dead { since: SECOND * 10 };
    heard_until(&mut judge, 200);
    judge.broken(SECOND * 5, true);
    read(&mut judge, 0, 100, ALL);
    judge.mended(SECOND * 100, true);
    read(&mut judge, 0, 110, ALL);
    assert!(judge.tally().is_clean());
    read(&mut judge, 0, 111, ALL);
    assert_eq!(judge.tally().left_dead.len(), 1);
    // Unhealthy ones are there, too; absent ones are not.
    read(&mut judge, 1, 112, &[(0, false), (1, true), (2, true)]);
    read(&mut judge, 1, 113, &ALL[1..]);
    assert_eq!(judge.tally().left_dead.len(), 1);
}

#[test]
fn who_died_just_before_the_heal_may_stay_for_its_lease() {
    let mut judge = judge();
    judge.instance(0).unwrap().life = Life::Dead { since: SECOND * 90 };
    heard_until(&mut judge, 200);
    judge.broken(SECOND * 5, true);
    judge.mended(SECOND * 100, true);
    read(&mut judge, 0, 125, ALL);
    assert!(judge.tally().is_clean());
    read(&mut judge, 0, 126, ALL);
    assert_eq!(judge.tally().left_dead.len(), 1);
}

#[test]
fn a_node_need_not_know_who_lives_on_the_other_side_of_a_cut() {
    let mut judge = judge();
    heard_until(&mut judge, 200);
    judge.broken(SECOND * 5, true);
    // The clients of both services are on the side of nodes 2 and 3.
    judge.split(Sides { alone: 0, services: 0 });
    read(&mut judge, 0, 50, &[]);
    assert!(judge.tally().is_clean());
    read(&mut judge, 1, 50, &ALL[1..]);
    assert_eq!((judge.tally().missing.len(), judge.tally().empty_lists), (1, 0));
    judge.mended(SECOND * 100, true);
    read(&mut judge, 0, 110, &[]);
    assert_eq!((judge.tally().missing.len(), judge.tally().empty_lists), (1, 0));
    read(&mut judge, 0, 111, &[]);
    assert_eq!((judge.tally().missing.len(), judge.tally().empty_lists), (3, 1));
}

#[test]
fn the_deregistered_must_not_come_back() {
    let mut judge = judge();
    judge.instance(0).unwrap().life = Life::Gone { since: SECOND * 10 };
    judge.broken(SECOND * 5, true);
    // Node 2 cannot know yet.
    read(&mut judge, 1, 11, ALL);
    read(&mut judge, 0, 11, &ALL[1..]);
    assert!(judge.tally().is_clean());
    // Node 1 knew.
    read(&mut judge, 0, 12, ALL);
    assert_eq!(judge.tally().resurrected.len(), 1);
}

#[test]
fn the_deregistered_are_gone_everywhere_soon_after_the_heal() {
    let mut judge = judge();
    judge.instance(0).unwrap().life = Life::Gone { since: SECOND * 10 };
    judge.broken(SECOND * 5, true);
    heard_until(&mut judge, 60);
    read(&mut judge, 1, 30, ALL);
    judge.mended(SECOND * 50, true);
    read(&mut judge, 1, 60, ALL);
    assert!(judge.tally().is_clean());
    read(&mut judge, 1, 61, ALL);
    assert_eq!(judge.tally().resurrected.len(), 1);
}

#[test]
fn a_push_may_be_a_little_old() {
    let mut judge = judge();
    judge.instance(0).unwrap().life = Life::Gone { since: SECOND };
    see(&mut judge, 0, Channel::Push, 2, &ALL[1..]);
    see(&mut judge, 0, Channel::Push, 3, ALL);
    assert!(judge.tally().is_clean());
    see(&mut judge, 0, Channel::Push, 5, ALL);
    assert_eq!(judge.tally().resurrected.len(), 1);
}

#[test]
fn a_list_without_hosts_is_right_when_nobody_lives() {
    let mut judge = judge();
    (0..3).for_each(|id| judge.instance(id).unwrap().life = Life::Leaving);
    read(&mut judge, 0, 1, &[]);
    assert!(judge.tally().is_clean());
}

#[test]
fn an_acknowledged_beat_of_a_dead_one_does_not_wake_it() {
    let mut instance = Instance { life: Life::Dead { since: SECOND }, ..Instance::default() };
    instance.acknowledged(SECOND * 2, 0);
    assert_eq!(instance.life, Life::Dead { since: SECOND });
}
