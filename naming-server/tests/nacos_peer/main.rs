//! Servers of this process among stand-ins of servers of Nacos 1.4, which are as strict as those.

use std::collections::BTreeMap;
use std::time::Duration;

use libtest_mimic::{Arguments, Trial};
use serde_json::Value;

mod flock;
#[path = "../grpc/client.rs"]
mod grpc_client;
mod java;
mod later;
mod migration;
mod moves;
#[path = "../server_support/mod.rs"]
mod server_support;
mod site;

use java::Pace;
use java::data::{Instance, now_ms};
use java::http::Request;
use site::{Site, call, count, eventually, hosts, key, within};

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// For what ours believe of Java only when members have not come or gone for 35 s: it may be that
/// Java lost an instance that lives.
const SETTLED: Duration = Duration::from_secs(120);

fn main() {
    let mut arguments = Arguments::from_args();
    // They wait for most of their time.
    arguments.test_threads.get_or_insert(4);
    let tests: [(&str, fn()); 26] = [
        // Those that take long begin first.
        (
            "nothing_is_lost_on_the_way_back_after_java_is_gone",
            migration::nothing_is_lost_on_the_way_back_after_java_is_gone,
        ),
        ("nothing_is_lost_in_place_to_the_end", migration::nothing_is_lost_in_place_to_the_end),
        (
            "nothing_is_lost_on_the_way_back_while_java_is_there",
            migration::nothing_is_lost_on_the_way_back_while_java_is_there,
        ),
        (
            "nothing_is_lost_on_the_way_to_addresses_before_those_of_java",
            migration::nothing_is_lost_on_the_way_to_addresses_before_those_of_java,
        ),
        (
            "nothing_is_lost_on_the_way_to_addresses_between_those_of_java",
            migration::nothing_is_lost_on_the_way_to_addresses_between_those_of_java,
        ),
        (
            "nothing_is_lost_on_the_way_to_addresses_after_those_of_java",
            migration::nothing_is_lost_on_the_way_to_addresses_after_those_of_java,
        ),
        (
            "java_removes_the_living_if_it_judges_beats_while_members_come",
            migration::java_removes_the_living_if_it_judges_beats_while_members_come,
        ),
        (
            "calls_fail_for_a_moment_if_java_stops_while_it_is_listed",
            migration::calls_fail_for_a_moment_if_java_stops_while_it_is_listed,
        ),
        (
            "a_list_that_is_written_line_by_line_loses_a_member_and_the_check_names_it",
            migration::a_list_that_is_written_line_by_line_loses_a_member_and_the_check_names_it,
        ),
        (
            "what_got_lost_on_the_way_is_found_by_comparing",
            what_got_lost_on_the_way_is_found_by_comparing,
        ),
        (
            "registrations_go_everywhere_whichever_member_takes_them",
            registrations_go_everywhere_whichever_member_takes_them,
        ),
        (
            "two_hundred_instances_stay_for_twenty_seconds",
            moves::two_hundred_instances_stay_for_twenty_seconds,
        ),
        ("java_is_replaced_at_new_addresses", moves::java_is_replaced_at_new_addresses),
        (
            "what_a_connection_holds_at_java_lives_as_long_as_the_connection",
            later::what_a_connection_holds_at_java_lives_as_long_as_the_connection,
        ),
        (
            "a_client_that_changes_connections_is_never_missing_at_java",
            later::a_client_that_changes_connections_is_never_missing_at_java,
        ),
        (
            "what_a_connection_holds_of_a_dead_java_ends_with_the_connection",
            later::what_a_connection_holds_of_a_dead_java_ends_with_the_connection,
        ),
        (
            "writes_over_later_apis_reach_their_java_owner",
            later::writes_over_later_apis_reach_their_java_owner,
        ),
        ("health_is_told_in_both_directions", health_is_told_in_both_directions),
        (
            "what_a_dead_java_owned_is_taken_over_and_given_back",
            moves::what_a_dead_java_owned_is_taken_over_and_given_back,
        ),
        (
            "one_of_ours_that_is_killed_and_comes_back_loses_nothing",
            moves::one_of_ours_that_is_killed_and_comes_back_loses_nothing,
        ),
        ("members_of_ours_stay_one_among_java", moves::members_of_ours_stay_one_among_java),
        ("stand_ins_among_themselves_find_no_fault", stand_ins_among_themselves_find_no_fault),
        (
            "what_java_holds_is_loaded_before_anybody_may_ask",
            what_java_holds_is_loaded_before_anybody_may_ask,
        ),
        (
            "a_client_of_ours_reads_its_own_writes_whoever_owns_the_service",
            a_client_of_ours_reads_its_own_writes_whoever_owns_the_service,
        ),
        (
            "a_redirected_write_that_is_not_ours_is_taken_and_reaches_its_owner",
            a_redirected_write_that_is_not_ours_is_taken_and_reaches_its_owner,
        ),
        (
            "two_hundred_instances_stay_for_five_minutes",
            moves::two_hundred_instances_stay_for_five_minutes,
        ),
    ];
    let trial = |(name, test): (&str, fn())| {
        let takes_minutes = name.ends_with("five_minutes");
        let trial = Trial::test(name, move || {
            test();
            Ok(())
        });
        trial.with_ignored_flag(takes_minutes)
    };
    libtest_mimic::run(&arguments, tests.into_iter().map(trial).collect()).exit();
}

pub(crate) fn instance(ip: &str) -> Instance {
    Instance {
        ip: ip.to_owned(),
        port: 80,
        weight: 1.0,
        healthy: true,
        enabled: true,
        cluster: "DEFAULT".to_owned(),
        metadata: BTreeMap::new(),
        last_beat_ms: now_ms(),
    }
}

#[track_caller]
pub(crate) fn write(address: &str, method: &str, service: &str, rest: &str) {
    let target = format!("instance?serviceName=DEFAULT_GROUP%40%40{service}&port=80{rest}");
    let answer = call(address, method, &target).unwrap();
    assert_eq!((answer.status, &*answer.body), (200, "ok"), "{method} {target} at {address}");
}

pub(crate) fn beat(address: &str, service: &str, ip: &str) -> u64 {
    let target = format!("instance/beat?serviceName=DEFAULT_GROUP%40%40{service}&ip={ip}&port=80");
    let answer = call(address, "PUT", &target).unwrap();
    let body: Value = serde_json::from_str(&answer.body).unwrap_or_default();
    body["code"].as_u64().unwrap_or_else(|| panic!("{target} at {address}: {answer:?}"))
}

/// How many instances a stand-in has of a service.
fn count_of(site: &Site, java: u8, service: &str) -> usize {
    site.java(java).list(&key(service)).len()
}

/// What is expected of ours is what the stand-ins do.
fn stand_ins_among_themselves_find_no_fault() {
    let mut site = Site::start(3, 0, Pace::QUICK);
    let all: Vec<String> = site.running().collect();
    for owner in 0..3 {
        for (taker, service) in all.iter().zip(site.services_of(owner, 3)) {
            write(taker, "POST", &service, "&ip=10.0.0.1&metadata=%7B%22z%22%3A%22%C3%A4%22%7D");
            eventually("it is everywhere", || {
                all.iter().all(|address| count(address, &service) == 1)
            });
        }
    }
    site.javas.remove(&2).unwrap().kill();
    let dead = site.address(2);
    eventually("it is missed", || {
        site.javas.values().all(|java| java.sight(&dead) == java::Sight::Down)
    });
    site.start_java(2);
    site.wait_until_whole();
    let service = &site.services_of(0, 1)[0];
    eventually("it has all again", || count(&dead, service) == 1);
    site.assert_no_fault();
}

fn what_java_holds_is_loaded_before_anybody_may_ask() {
    let mut site = Site::new(3, Pace::QUICK);
    site.start_java(0);
    site.start_java(1);
    site.wait_until_whole();
    let services: Vec<String> = (0..3).flat_map(|member| site.services_of(member, 10)).collect();
    for service in &services {
        write(&site.address(0), "POST", service, "&ip=10.0.0.1");
        write(&site.address(1), "POST", service, "&ip=10.0.0.2");
    }
    eventually("both have all", || {
        services
            .iter()
            .all(|service| site.javas.values().all(|java| java.list(&key(service)).len() == 2))
    });
    site.start_ours(2);
    let own = site.address(2);
    eventually("the port is open", || call(&own, "GET", "instance/list?serviceName=x").is_ok());
    for service in &services {
        assert_eq!(count(&own, service), 2, "{service} from the first answer on");
        assert_eq!(beat(&own, service, "10.0.0.1"), 10_200, "nobody has to register again");
    }
    site.wait_until_whole();
    // From the first report on.
    for service in &services {
        for java in [0, 1] {
            assert_eq!(beat(&site.address(java), service, "10.0.0.2"), 10_200, "{service}");
        }
    }
    assert!(site.javas.values().any(|java| java.count("get datums") > 0));
    assert!(site.javas.values().all(|java| java.knows_version(&own) && java.count("report") > 0));
    site.assert_no_fault();
}

fn registrations_go_everywhere_whichever_member_takes_them() {
    let site = Site::start(2, 1, Pace::QUICK);
    let all: Vec<String> = site.running().collect();
    for owner in 0..3 {
        for (taker, service) in all.iter().zip(site.services_of(owner, 3)) {
            // Our own part takes 0.4 s; a busy machine is given a little more.
            let patience = if owner == 2 { 3 * SECOND } else { 4 * SECOND };
            write(
                taker,
                "POST",
                &service,
                "&ip=10.0.0.1&weight=2.5&metadata=%7B%22z%22%3A%22%C3%A4%22%7D",
            );
            within(patience, "it is everywhere", || {
                all.iter().all(|address| {
                    hosts(address, &service).is_ok_and(|hosts| {
                        hosts.len() == 1
                            && hosts[0]["weight"] == 2.5
                            && hosts[0]["metadata"]["z"] == "ä"
                    })
                })
            });
            assert_eq!(beat(taker, &service, "10.0.0.1"), 10_200);
            assert_eq!(beat(taker, &service, "10.0.0.9"), 20_404, "of nobody");
            write(taker, "POST", &service, "&ip=10.0.0.2");
            within(patience, "both are everywhere", || {
                all.iter().all(|address| count(address, &service) == 2)
            });
        }
    }
    let mut left = Vec::new();
    for owner in 0..3 {
        for (taker, service) in all.iter().zip(site.services_of(owner, 3)) {
            write(taker, "DELETE", &service, "&ip=10.0.0.1");
            left.push(service);
        }
    }
    within(SETTLED, "they are gone everywhere", || {
        // The others live.
        for service in &left {
            assert_eq!(beat(&all[2], service, "10.0.0.2"), 10_200, "{service}");
        }
        left.iter().all(|service| all.iter().all(|address| count(address, service) == 1))
    });
    assert!(site.javas.values().all(|java| java.count("put datum") > 0));
    assert!(site.javas.values().any(|java| java.count("redirect") > 0));
    site.assert_no_fault();
}

fn a_client_of_ours_reads_its_own_writes_whoever_owns_the_service() {
    let site = Site::start(2, 1, Pace::QUICK);
    let own = site.address(2);
    for owner in 0..3 {
        for service in site.services_of(owner, 4) {
            write(&own, "POST", &service, "&ip=10.0.0.1");
            assert_eq!(count(&own, &service), 1, "its own registration, of {owner}");
            write(&own, "DELETE", &service, "&ip=10.0.0.1");
            assert_eq!(count(&own, &service), 0, "its own removal, of {owner}");
        }
    }
    site.assert_no_fault();
}

fn what_got_lost_on_the_way_is_found_by_comparing() {
    let site = Site::start(2, 1, Pace::QUICK);
    let own = site.address(2);
    let [lost, claimed] = [site.services_of(0, 2)[0].clone(), site.services_of(1, 1)[0].clone()];
    let ours = site.services_of(2, 1)[0].clone();
    // A list that Java never sent.
    site.java(0).mute(&key(&lost), true);
    site.java(0).plant(&key(&lost), vec![instance("10.0.0.1"), instance("10.0.0.2")]);
    eventually("ours fetches it", || count(&own, &lost) == 2);
    // What one says of what another owns is not taken.
    let known = count(&own, &claimed);
    site.java(0).plant(&key(&claimed), vec![instance("10.0.0.7")]);
    // A list of ours that Java lost, wholly and in part.
    write(&own, "POST", &ours, "&ip=10.0.0.1");
    write(&own, "POST", &ours, "&ip=10.0.0.2");
    eventually("both have it", || {
        site.javas.values().all(|java| java.list(&key(&ours)).len() == 2)
    });
    site.java(0).forget(&key(&ours));
    site.java(1).plant(&key(&ours), vec![instance("10.0.0.1"), instance("10.0.0.9")]);
    eventually("Java fetches it again", || {
        site.javas.values().all(|java| {
            let list = java.list(&key(&ours));
            list.len() == 2 && list.iter().all(|instance| instance.ip != "10.0.0.9")
        })
    });
    assert_eq!(count(&own, &claimed), known);
    // What its owner no longer names is gone, though not at the first look.
    site.java(0).forget(&key(&lost));
    within(SETTLED, "ours forgets it", || count(&own, &lost) == 0);
    assert!(site.javas.values().all(|java| java.count("put checksum") > 0));
    assert!(site.javas.values().any(|java| java.count("get datum") > 0));
    site.assert_no_fault();
}

fn health_is_told_in_both_directions() {
    let site = Site::start(2, 1, Pace::QUICK);
    let all: Vec<String> = site.running().collect();
    let short = "%7B%22preserved.heart.beat.timeout%22%3A%222000%22%2C\
                 %22preserved.ip.delete.timeout%22%3A%22120000%22%7D";
    let services: Vec<String> =
        (0..3).map(|member| site.services_of(member, 1).remove(0)).collect();
    for service in &services {
        for ip in ["10.0.0.1", "10.0.0.2"] {
            write(&all[0], "POST", service, &format!("&ip={ip}&metadata={short}"));
        }
    }
    let health = |address: &str, service: &str, ip: &str| {
        let hosts = hosts(address, service).unwrap_or_default();
        let host = hosts.iter().find(|host| host["ip"] == *ip).cloned();
        host.map(|host| host["healthy"] == true)
    };
    let everywhere = |ip: &str, healthy: bool| {
        services
            .iter()
            .all(|service| all.iter().all(|address| health(address, service, ip) == Some(healthy)))
    };
    // One of two, so that no list has only unhealthy ones, which would be shown as healthy.
    let keep_second =
        || services.iter().all(|service| beat(&all[2], service, "10.0.0.2") == 10_200);
    eventually("the silent are unhealthy everywhere", || {
        keep_second();
        everywhere("10.0.0.1", false)
    });
    assert!(everywhere("10.0.0.2", true));
    for service in &services {
        assert_eq!(beat(&all[1], service, "10.0.0.1"), 10_200);
    }
    let again = || services.iter().all(|service| beat(&all[0], service, "10.0.0.1") == 10_200);
    eventually("those that speak again are healthy everywhere", || {
        keep_second() && again() && everywhere("10.0.0.1", true)
    });
    assert!(site.javas.values().all(|java| java.count("service status") > 0));
    assert!(site.javas.values().any(|java| java.count("instance statuses") > 0));
    site.assert_no_fault();
}

fn a_redirected_write_that_is_not_ours_is_taken_and_reaches_its_owner() {
    let site = Site::start(2, 1, Pace::QUICK);
    let own = site.address(2);
    let service = site.services_of(0, 1).remove(0);
    let target = format!(
        "/nacos/v1/ns/instance?serviceName=DEFAULT_GROUP%40%40{service}&ip=10.0.0.1&port=80\
         &encoding=UTF-8&nofix=1"
    );
    let answer = Request::new("POST", target)
        .header("User-Agent", "Nacos-Server:1.4.8")
        .header("Client-Version", "1.4.8")
        .header("Request-Source", &site.address(1))
        .header("Content-Type", "application/x-www-form-urlencoded;charset=UTF-8")
        .send(&own, 5 * SECOND)
        .unwrap();
    assert_eq!((answer.status, &*answer.body), (200, "ok"));
    assert_eq!(count(&own, &service), 1);
    eventually("its owner has it", || site.java(0).list(&key(&service)).len() == 1);
    std::thread::sleep(3 * SECOND);
    assert_eq!(count(&own, &service), 1, "and does not erase it");
    site.assert_no_fault();
}
