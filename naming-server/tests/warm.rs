//! Warm restart as clients see it: ephemeral instances are there at once when the server is back,
//! as they were, and go if nobody beats for them.

use std::fs;
use std::time::{Duration, Instant};

use naming_server::{Config, DataConfig};
use serde_json::Value;

mod program;
mod server_support;

use program::Program;
use server_support::{TestServer, send, wait_for};

const LIST: &str = "instance/list?serviceName=warm";

fn hosts(answer: &Value) -> Vec<Value> {
    let hosts = answer["hosts"].as_array().cloned().unwrap_or_default();
    // When it was last heard is not saved.
    hosts
        .into_iter()
        .map(|mut host| {
            host.as_object_mut().unwrap().remove("lastBeat");
            host
        })
        .collect()
}

fn register(program: &Program) {
    for (ip, rest) in [
        ("10.0.0.1", "&weight=3.5&metadata=zone%3Db"),
        ("10.0.0.2", "&healthy=false&clusterName=other&enabled=true"),
        ("10.0.0.3", ""),
        ("10.0.0.4", "&ephemeral=false"),
    ] {
        let target = format!("instance?serviceName=warm&ip={ip}&port=80{rest}");
        program.call("POST", &target).expect(200);
    }
    program.call("DELETE", "instance?serviceName=warm&ip=10.0.0.3&port=80").expect(200);
}

/// Waits until everything that happened so far is in the file.
fn wait_until_saved(program: &Program) {
    wait_for("all is saved", || {
        program.call("GET", "/nacos/metrics").body.contains("naming_cache_waiting 0.0")
    });
}

#[test]
fn a_restart_shows_nobody_an_empty_list() {
    let folder = tempfile::tempdir().unwrap();
    let program = Program::start(folder.path(), &[]);
    register(&program);
    let before = hosts(&program.call("GET", LIST).json());
    program.stop();
    let program = Program::start(folder.path(), &[]);
    let after = hosts(&program.call("GET", LIST).json());
    assert_eq!(after, before);
    let health: Vec<_> = after.iter().map(|host| &host["healthy"]).collect();
    assert_eq!((after.len(), health.contains(&&Value::Bool(false))), (3, true), "{after:?}");
    let events = program.call("GET", "operator/events?serviceName=warm").json();
    assert_eq!(events["count"], 2, "{events}");
    assert_eq!(events["events"][0]["event"], "restored");
    // A beat of what is there is answered as if nothing had been.
    let beat = "instance/beat?serviceName=warm&ip=10.0.0.1&port=80";
    assert_eq!(program.call("PUT", beat).json()["code"], 10_200);
}

#[test]
fn so_does_kill_9_within_seconds_of_a_change() {
    let folder = tempfile::tempdir().unwrap();
    let program = Program::start(folder.path(), &[]);
    register(&program);
    wait_until_saved(&program);
    let before = hosts(&program.call("GET", LIST).json());
    program.kill();
    let program = Program::start(folder.path(), &[]);
    assert_eq!(hosts(&program.call("GET", LIST).json()), before);
    // What is in the file by now goes, too.
    program.call("DELETE", "instance?serviceName=warm&ip=10.0.0.1&port=80").expect(200);
    wait_until_saved(&program);
    program.kill();
    let program = Program::start(folder.path(), &[]);
    assert_eq!(hosts(&program.call("GET", LIST).json()).len(), 2);
}

#[test]
fn after_a_kill_a_list_is_not_empty_before_clients_had_time_to_beat() {
    let folder = tempfile::tempdir().unwrap();
    let program = Program::start(folder.path(), &[]);
    register(&program);
    wait_until_saved(&program);
    program.kill();
    let began = Instant::now();
    let program = Program::start(folder.path(), &[]);
    assert_eq!(hosts(&program.call("GET", LIST).json()).len(), 3, "what is known is shown");
    let unknown = "instance/list?serviceName=late";
    for target in [
        unknown,
        "/nacos/v2/ns/instance/list?serviceName=late",
        "/nacos/v3/client/ns/instance/list?serviceName=late",
    ] {
        program.call("GET", target).expect(503);
    }
    program.call("POST", "instance?serviceName=early&ip=10.0.0.1&port=80").expect(200);
    program.call("GET", "instance/list?serviceName=early").expect(200);
    wait_for("an answer about a service of which nobody was heard", || {
        program.call("GET", unknown).status == 200
    });
    assert!(began.elapsed() > Duration::from_secs(5), "a beat interval: {:?}", began.elapsed());
    program.stop();
    let program = Program::start(folder.path(), &[]);
    program.call("GET", "instance/list?serviceName=other").expect(200);
}

/// Registers more at once than the pace of writing takes until a stop (5 MiB a second), stops, and
/// gives the statuses of the lists and how many instances they have after the next start.
fn burst_and_restart(grace: &str) -> Vec<(u16, usize)> {
    const SERVICES: u32 = 400;
    let folder = tempfile::tempdir().unwrap();
    let program = Program::start(folder.path(), &["--set", grace]);
    let padding = "x".repeat(20_000);
    for number in 0..SERVICES {
        let target = format!(
            "instance?serviceName=burst-{number}&ip=10.0.0.1&port=80&metadata=p%3D{padding}"
        );
        program.call("POST", &target).expect(200);
    }
    program.stop();
    let program = Program::start(folder.path(), &[]);
    let lists = (0..SERVICES).map(|number| {
        let answer = program.call("GET", &format!("instance/list?serviceName=burst-{number}"));
        let count = if answer.status == 200 { hosts(&answer.json()).len() } else { 0 };
        (answer.status, count)
    });
    lists.collect()
}

#[test]
fn a_stop_saves_within_its_grace_period_all_that_has_just_changed() {
    let lists = burst_and_restart("data.stop_grace_ms=10000");
    assert!(lists.iter().all(|list| *list == (200, 1)), "{lists:?}");
    // Without the time for it nobody is shown an empty list.
    let lists = burst_and_restart("data.stop_grace_ms=0");
    assert!(lists.iter().all(|list| [(200, 1), (503, 0)].contains(list)), "{lists:?}");
    assert!(lists.contains(&(503, 0)), "there was no time to save all");
}

#[test]
fn who_does_not_beat_goes_after_a_full_time_out() {
    let folder = tempfile::tempdir().unwrap();
    let config = || Config { data: DataConfig::at(folder.path()), ..Config::default() };
    let server = TestServer::start_with(config());
    let metadata = "metadata=%7B%22preserved.heart.beat.timeout%22%3A%224000%22%2C\
                    %22preserved.ip.delete.timeout%22%3A%224000%22%7D";
    for ip in ["10.0.0.1", "10.0.0.2"] {
        let target = format!("instance?serviceName=warm&ip={ip}&port=80&{metadata}");
        server.call("POST", &target).expect(200);
    }
    // Most of its time is over; it begins anew.
    std::thread::sleep(Duration::from_millis(2_000));
    server.stop();
    let server = TestServer::start_with(config());
    let began = Instant::now();
    let ips = || -> Vec<String> {
        let hosts = hosts(&server.get(LIST).json());
        hosts.iter().map(|host| host["ip"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ips(), ["10.0.0.1", "10.0.0.2"]);
    wait_for("the silent one is gone", || {
        let beat = "instance/beat?serviceName=warm&ip=10.0.0.2&port=80";
        let answer = send(server.address, "PUT", beat, "", "").json();
        assert_eq!(answer["code"], 10_200, "the other is heard all the time");
        ips() == ["10.0.0.2"]
    });
    assert!(began.elapsed() > Duration::from_millis(3_500), "{:?}", began.elapsed());
}

#[test]
fn a_damaged_file_is_no_reason_not_to_start() {
    let folder = tempfile::tempdir().unwrap();
    let program = Program::start(folder.path(), &[]);
    register(&program);
    program.stop();
    let path = folder.path().join("instances.cache");
    assert!(fs::metadata(&path).unwrap().len() > 100);
    fs::write(&path, "something else").unwrap();
    let program = Program::start(folder.path(), &[]);
    let left = hosts(&program.call("GET", LIST).json());
    assert_eq!(left.len(), 1, "the persistent one: {left:?}");
    // What was in the file is not known, so nobody is shown an empty list.
    program.call("GET", "instance/list?serviceName=other").expect(503);
    register(&program);
    program.stop();
    let program = Program::start(folder.path(), &[]);
    assert_eq!(hosts(&program.call("GET", LIST).json()).len(), 3);
}

#[test]
fn it_can_be_turned_off() {
    let folder = tempfile::tempdir().unwrap();
    let off = ["--set", "data.save_instances=false"];
    let program = Program::start(folder.path(), &[]);
    register(&program);
    program.stop();
    let program = Program::start(folder.path(), &off);
    assert_eq!(hosts(&program.call("GET", LIST).json()).len(), 1);
    register(&program);
    program.stop();
    assert!(!folder.path().join("instances.cache").exists());
    let program = Program::start(folder.path(), &[]);
    assert_eq!(hosts(&program.call("GET", LIST).json()).len(), 1);
}
