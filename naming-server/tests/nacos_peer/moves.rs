//! What happens to live instances when members come, go and are replaced.

use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use crate::flock::Flock;
use crate::java::{Pace, Sight};
use crate::site::{Site, call, eventually, hosts, key};
use crate::{SECOND, write};

pub(crate) fn what_a_dead_java_owned_is_taken_over_and_given_back() {
    let mut site = Site::start(2, 1, Pace::QUICK);
    let own = site.address(2);
    let services: Vec<String> = (0..3).flat_map(|member| site.services_of(member, 4)).collect();
    let flock = Flock::start(services.clone(), 2, 2 * SECOND, vec![own.clone()]);
    eventually("ours has all", || flock.is_whole_at(&own));
    eventually("Java has all", || flock.is_whole_at(&site.address(0)));
    flock.watch([own.clone()]);
    // Dead when its member dies: given up by the one who takes over, after a full time-out.
    let orphan = site.services_of(1, 4).pop().unwrap();
    let short = "%7B%22preserved.heart.beat.timeout%22%3A%223000%22%2C\
                 %22preserved.ip.delete.timeout%22%3A%225000%22%7D";
    write(&own, "POST", &orphan, &format!("&ip=10.9.9.9&metadata={short}"));
    let died = Instant::now();
    site.javas.remove(&1).unwrap().kill();
    eventually("Java has noticed", || {
        site.javas.values().all(|java| java.owner(&key(&orphan)) != site.address(1))
    });
    eventually("the dead is given up", || {
        let hosts = hosts(&own, &orphan).unwrap();
        hosts.iter().all(|host| host["ip"] != "10.9.9.9")
    });
    assert!(died.elapsed() > 4 * SECOND, "not before its time-out");
    eventually("all else is there", || flock.is_whole_at(&own));
    site.start_java(1);
    site.wait_until_whole();
    thread::sleep(5 * SECOND);
    flock.assert_nothing_missed();
    for service in &services {
        assert!(hosts(&own, service).unwrap().len() >= 2, "{service}");
    }
    site.assert_no_fault();
}

pub(crate) fn one_of_ours_that_is_killed_and_comes_back_loses_nothing() {
    let mut site = Site::start(2, 1, Pace::QUICK);
    let javas: Vec<String> = (0..2).map(|member| site.address(member)).collect();
    let own = site.address(2);
    let services: Vec<String> = (0..3).flat_map(|member| site.services_of(member, 4)).collect();
    let all: Vec<String> = site.running().collect();
    let flock = Flock::start(services, 2, SECOND, all.clone());
    eventually("all have all", || all.iter().all(|address| flock.is_whole_at(address)));
    flock.speak_to(javas.clone());
    site.ours.remove(&2).unwrap().kill();
    eventually("Java has noticed", || {
        site.javas.values().all(|java| java.sight(&own) == Sight::Down)
    });
    eventually("Java holds all", || javas.iter().all(|address| flock.is_whole_at(address)));
    let forgotten = || flock.tally().forgotten.load(Ordering::Relaxed);
    let before = forgotten();
    site.start_ours(2);
    eventually("the port is open", || call(&own, "GET", "instance/list?serviceName=x").is_ok());
    assert!(flock.is_whole_at(&own), "from the first answer on");
    flock.watch([own.clone()]);
    site.wait_until_whole();
    flock.speak_to(all.clone());
    eventually("all have all", || all.iter().all(|address| flock.is_whole_at(address)));
    thread::sleep(3 * SECOND);
    flock.assert_nothing_missed();
    assert_eq!(forgotten(), before, "nobody had to register again because ours came back");
    site.assert_no_fault();
}

pub(crate) fn members_of_ours_stay_one_among_java() {
    let site = Site::start(1, 2, Pace::QUICK);
    let all: Vec<String> = site.running().collect();
    let services: Vec<String> = (0..3).flat_map(|member| site.services_of(member, 6)).collect();
    let flock = Flock::start(services, 2, 2 * SECOND, all.clone());
    eventually("all have all", || all.iter().all(|address| flock.is_whole_at(address)));
    flock.watch([site.address(1), site.address(2)]);
    thread::sleep(8 * SECOND);
    flock.assert_nothing_missed();
    flock.assert_no_call_failed();
    site.assert_no_fault();
}

/// All lists are extended, ours are started, all lists are shortened, Java is stopped.
pub(crate) fn java_is_replaced_at_new_addresses() {
    let mut site = Site::new(4, Pace::QUICK);
    site.list(0..2);
    site.start_java(0);
    site.start_java(1);
    site.wait_until_whole();
    let [old, new] = [[0, 1], [2, 3]].map(|members| members.map(|member| site.address(member)));
    let services: Vec<String> = (0..40).map(|number| format!("move{number}")).collect();
    let flock = Flock::start(services, 2, 2 * SECOND, old.to_vec());
    eventually("Java has all", || old.iter().all(|address| flock.is_whole_at(address)));
    site.list(0..4);
    site.start_ours(2);
    site.start_ours(3);
    site.wait_until_whole();
    assert!(new.iter().all(|address| flock.is_whole_at(address)));
    flock.watch(new.clone());
    thread::sleep(3 * SECOND);
    flock.speak_to(new.clone());
    site.list(2..4);
    thread::sleep(2 * SECOND);
    site.javas.clear();
    thread::sleep(8 * SECOND);
    assert!(new.iter().all(|address| flock.is_whole_at(address)));
    flock.assert_nothing_missed();
    flock.assert_no_call_failed();
}

/// 200 instances in 40 services that beat through all members: none is missed or removed.
fn nothing_is_removed(how_long: Duration) {
    let site = Site::start(2, 1, Pace::REAL);
    let all: Vec<String> = site.running().collect();
    let services: Vec<String> = (0..40).map(|number| format!("long{number}")).collect();
    let flock = Flock::start(services, 5, 5 * SECOND, all.clone());
    eventually("all have all", || all.iter().all(|address| flock.is_whole_at(address)));
    flock.watch(all);
    thread::sleep(how_long);
    flock.assert_nothing_missed();
    flock.assert_no_call_failed();
    let forgotten = &flock.tally().forgotten;
    assert_eq!(forgotten.load(Ordering::Relaxed), 0);
    site.assert_no_fault();
}

pub(crate) fn two_hundred_instances_stay_for_twenty_seconds() {
    nothing_is_removed(20 * SECOND);
}

pub(crate) fn two_hundred_instances_stay_for_five_minutes() {
    nothing_is_removed(300 * SECOND);
}
