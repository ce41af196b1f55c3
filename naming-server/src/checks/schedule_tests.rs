use super::*;
use crate::registry::CheckPace;

const RULES: Rules =
    Rules { pace: CheckPace { max_ms: 5_000, min_ms: 1_000, factor: 0.75 }, times: 3 };
const LATEST: Tick = Tick::from_ms(7_000);

fn tag() -> Arc<str> {
    "public##g@@s".into()
}

fn key(port: u16) -> Key {
    format!("!10.0.0.1#{port}#c{}", port % 2).into()
}

fn keys(ports: &[u16]) -> BTreeSet<Key> {
    ports.iter().map(|port| key(*port)).collect()
}

fn report(finding: Finding) -> Report {
    Report::new(finding, "", Duration::from_millis(1))
}

fn schedule() -> Schedule {
    Schedule::new(7)
}

/// Takes all that are due by then.
fn take(schedule: &mut Schedule, now: Tick) -> BTreeSet<Key> {
    std::iter::from_fn(|| schedule.take_due(now)).map(|(_, key)| key).collect()
}

/// Has the one instance checked; what it is judged.
fn check(schedule: &mut Schedule, healthy: bool, finding: Finding) -> Option<bool> {
    let due = schedule.next_due().unwrap();
    let (tag, key) = schedule.take_due(due).unwrap();
    schedule.finish(&tag, &key, healthy, &report(finding), &RULES, due)
}

#[test]
fn first_checks_are_spread_over_two_to_seven_seconds() {
    let mut schedule = schedule();
    for port in 0..1_000 {
        schedule.set(&tag(), &key(port), true, true, Tick::ZERO);
    }
    assert_eq!(take(&mut schedule, Tick::from_ms(1_999)), keys(&[]));
    let early = take(&mut schedule, Tick::from_ms(3_000)).len();
    assert!((300..700).contains(&early), "{early}");
    assert_eq!(take(&mut schedule, LATEST).len(), 1_000 - early);
    assert_eq!((schedule.len(), schedule.next_due()), (1_000, None));
}

#[test]
fn who_comes_is_checked_and_who_goes_is_not() {
    let mut schedule = schedule();
    schedule.replace(&tag(), keys(&[1, 2]), true, Tick::ZERO);
    schedule.replace(&tag(), keys(&[2, 3]), true, Tick::ZERO);
    schedule.set(&tag(), &key(4), true, true, Tick::ZERO);
    schedule.set(&tag(), &key(4), true, true, Tick::ZERO);
    assert_eq!(schedule.len(), 3);
    assert_eq!(take(&mut schedule, LATEST), keys(&[2, 3, 4]));
    // Its check is under way.
    schedule.remove(&tag(), &key(2));
    let found = report(Finding::Refused);
    assert_eq!(schedule.finish(&tag(), &key(2), true, &found, &RULES, LATEST), None);
    assert!(schedule.times(&tag(), "c0").is_some());
    schedule.replace(&tag(), keys(&[3]), true, LATEST);
    assert_eq!((schedule.times(&tag(), "c0"), schedule.len()), (None, 1));
    schedule.set(&tag(), &key(3), false, true, LATEST);
    assert_eq!((schedule.services.len(), schedule.due.len(), schedule.len()), (0, 0, 0));
}

#[test]
fn only_what_is_ours_is_due() {
    let mut schedule = schedule();
    schedule.set(&tag(), &key(1), true, false, Tick::ZERO);
    assert_eq!((schedule.len(), schedule.next_due()), (0, None));
    schedule.follow(|_| true, Tick::from_ms(50));
    assert_eq!(schedule.len(), 1);
    assert!(schedule.next_due().is_some_and(|due| due >= Tick::from_ms(2_050)));
    assert_eq!(take(&mut schedule, Tick::from_ms(9_000)), keys(&[1]));
    schedule.follow(|_| false, Tick::from_ms(9_100));
    let found = report(Finding::Refused);
    let late = schedule.finish(&tag(), &key(1), true, &found, &RULES, Tick::from_ms(9_200));
    assert_eq!((late, schedule.len(), schedule.next_due()), (None, 0, None));
    assert_eq!(schedule.times(&tag(), "c1"), None);
}

#[test]
fn failures_in_a_row_and_one_refusal_make_unhealthy() {
    let mut schedule = schedule();
    schedule.set(&tag(), &key(1), true, true, Tick::ZERO);
    let mut checks = |healthy, findings: &[Finding]| {
        findings.iter().map(|f| check(&mut schedule, healthy, *f)).collect::<Vec<_>>()
    };
    use Finding::{Failed, NotMade, Passed, Refused};
    assert_eq!(checks(true, &[Failed, Failed, Passed, Failed, Failed]), [None; 5]);
    assert_eq!(checks(true, &[NotMade, Failed]), [None, Some(false)]);
    assert_eq!(checks(true, &[Refused]), [Some(false)]);
    assert_eq!(checks(false, &[Refused, Passed, Passed, Failed, Passed, Passed]), [None; 6]);
    assert_eq!(checks(false, &[Passed]), [Some(true)]);
    // Two were against another health.
    assert_eq!(checks(true, &[Failed, Failed]), [None, None]);
    assert_eq!(checks(false, &[Passed, Passed]), [None, None]);
    assert_eq!(checks(true, &[Failed, Failed]), [None, None]);
}

#[test]
fn the_pace_of_a_cluster_says_when_the_next_check_is_due() {
    let mut schedule = schedule();
    schedule.set(&tag(), &key(1), true, true, Tick::ZERO);
    for _ in 0..20 {
        check(&mut schedule, true, Finding::Passed);
    }
    let due = schedule.next_due().unwrap();
    assert_eq!(schedule.times(&tag(), "c1").map(|times| times.pace_ms), Some(1_000));
    check(&mut schedule, true, Finding::Passed);
    assert_eq!(schedule.next_due().unwrap().since(due), Duration::from_secs(1));
    let (tag, key) = schedule.take_due(LATEST.after(Duration::from_secs(60))).unwrap();
    schedule.skip(&tag, &key);
    assert_eq!(schedule.next_due().unwrap().since(LATEST), Duration::from_secs(61));
    schedule.begin_anew(Tick::ZERO);
    assert!(schedule.next_due().is_some_and(|due| due <= LATEST) && schedule.due.len() == 1);
}

#[test]
fn who_is_behind_a_barrier_is_counted_and_told_of_once_for_each_cluster() {
    let mut schedule = schedule();
    // Of two clusters.
    schedule.replace(&tag(), keys(&[1, 2, 3]), true, Tick::ZERO);
    let bar = |schedule: &mut Schedule, barrier, may_tell| {
        let now = schedule.next_due().unwrap().after(Duration::from_secs(60));
        let due = take(schedule, now);
        assert_eq!(due.len(), 3);
        let told = due.iter().filter(|key| schedule.bar(&tag(), key, barrier, may_tell)).count();
        (told, schedule.barred())
    };
    assert_eq!(bar(&mut schedule, Barrier::Type, false), (0, [3, 0]));
    assert_eq!(bar(&mut schedule, Barrier::Type, true), (2, [3, 0]));
    assert_eq!(bar(&mut schedule, Barrier::Type, true), (0, [3, 0]));
    assert_eq!(bar(&mut schedule, Barrier::Network, true), (2, [0, 3]));
    schedule.remove(&tag(), &key(1));
    assert_eq!(schedule.barred(), [0, 2]);
    check(&mut schedule, true, Finding::Passed);
    assert_eq!(schedule.barred(), [0, 1]);
    schedule.follow(|_| false, Tick::ZERO);
    assert_eq!((schedule.barred(), schedule.len()), ([0, 0], 0));
    assert!(!schedule.bar(&tag(), &key(2), Barrier::Type, true), "it is elsewhere");
    assert_eq!(schedule.barred(), [0, 0]);
}
