//! Durable data of several members: on how many disks it is before it is answered, and what
//! becomes of it when members die, for a while or for good.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use naming_server::{Acks, Config, DataConfig, DurableConfig};
use redb::ReadableTable;
use serde_json::Value;

mod server_support;

use server_support::members::{Cluster, states};
use server_support::{Answer, TestServer, wait_for};

fn majority() -> DurableConfig {
    DurableConfig { acks: Acks::Majority, ack_timeout_ms: 2_000, ..DurableConfig::default() }
}

fn persistent(server: &TestServer, method: &str, service: &str, port: u16) -> Answer {
    let place = format!("serviceName={service}&ip=10.0.0.1&port={port}&ephemeral=false");
    server.call(method, &format!("instance?{place}"))
}

fn ports(server: &TestServer, service: &str) -> Vec<u64> {
    let list = server.get(&format!("instance/list?serviceName={service}")).json();
    let mut ports: Vec<u64> = list["hosts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|host| host["port"].as_u64().unwrap())
        .collect();
    ports.sort_unstable();
    ports
}

fn namespace(id: &str) -> String {
    format!("/nacos/v1/console/namespaces?customNamespaceId={id}&namespaceName=of-{id}")
}

fn namespaces(server: &TestServer) -> Vec<String> {
    let list = server.get("/nacos/v1/console/namespaces").json();
    let id = |item: &Value| item["namespace"].as_str().unwrap().to_owned();
    list["data"].as_array().unwrap().iter().map(id).filter(|id| !id.is_empty()).collect()
}

fn wait_until_down(server: &TestServer, count: usize) {
    wait_for("they are seen to be down", || {
        states(server).iter().filter(|state| *state == "DOWN").count() == count
    });
}

#[test]
fn what_a_majority_has_on_disk_outlives_whoever_answered() {
    let mut cluster = Cluster::start_durable(3, majority());
    let services: Vec<String> = (0..6).map(|number| format!("s{number}")).collect();
    let first = cluster.member(0);
    for service in &services {
        persistent(first, "POST", service, 80).expect(200);
        persistent(first, "POST", service, 81).expect(200);
    }
    first.call("POST", &namespace("old")).expect(200);
    first.call("POST", "service?serviceName=gone&protectThreshold=0.5").expect(200);
    persistent(first, "POST", "gone", 80).expect(200);
    cluster.wait_until_equal();

    // Two of three: enough. Also while the third is not yet known to be dead.
    cluster.take(2).kill();
    let first = cluster.member(0);
    for service in &services {
        persistent(first, "POST", service, 82).expect(200);
        persistent(first, "DELETE", service, 80).expect(200);
        persistent(first, "PUT", service, 81).expect(200);
    }
    persistent(first, "DELETE", "gone", 80).expect(200);
    first.call("DELETE", "service?serviceName=gone").expect(200);
    first.call("POST", &namespace("new")).expect(200);
    first.call("DELETE", "/nacos/v1/console/namespaces?namespaceId=old").expect(200);

    // Who answered is gone for good, and the other was stopped in the midst of what it did.
    cluster.take(0).kill();
    cluster.take(1).kill();
    cluster.restart(1);
    let is_whole = |server: &TestServer| {
        services.iter().all(|service| ports(server, service) == [81, 82])
            && namespaces(server) == ["new"]
            && server.get("service?serviceName=gone").status == 404
    };
    let second = cluster.member(1);
    wait_for("it is ready", || second.get("instance/list?serviceName=s0").status == 200);
    assert!(
        is_whole(second),
        "{:?}",
        services.iter().map(|s| ports(second, s)).collect::<Vec<_>>()
    );

    // Who was away had on disk what was removed meanwhile.
    cluster.restart(2);
    wait_for("it has what it missed", || {
        let third = cluster.member(2);
        third.get("instance/list?serviceName=s0").status == 200 && is_whole(third)
    });
    assert!(is_whole(cluster.member(1)), "nothing came back");
}

#[test]
fn without_a_majority_a_change_is_answered_503_and_stays() {
    let mut cluster = Cluster::start_durable(3, majority());
    persistent(cluster.member(0), "POST", "s", 80).expect(200);
    let by_hand = "cluster?serviceName=s&clusterName=DEFAULT&checkPort=80\
                   &useInstancePort4Check=true&healthChecker=%7B%22type%22:%22NONE%22%7D";
    cluster.member(0).call("PUT", by_hand).expect(200);
    cluster.wait_until_equal();
    cluster.take(1).kill();
    cluster.take(2).kill();
    let first = cluster.member(0);
    let text = persistent(first, "POST", "s", 81).expect(503);
    assert!(text.contains("on 1 of 3 members"), "{text}");
    assert!(text.contains("the change may still take effect"), "{text}");
    wait_until_down(first, 2);
    for (method, target) in [
        ("DELETE", "instance?serviceName=s&ip=10.0.0.1&port=80&ephemeral=false"),
        ("POST", "service?serviceName=t"),
        ("POST", &*namespace("n")),
        ("PUT", "operator/switches?entry=pushCacheMillis&value=12345"),
        ("PUT", "health/instance?serviceName=s&ip=10.0.0.1&port=81&healthy=false"),
        // As it is already, but not on the disks where it should be.
        ("PUT", "health/instance?serviceName=s&ip=10.0.0.1&port=81&healthy=false"),
    ] {
        let text = first.call(method, target).expect(503);
        assert!(text.contains("may still take effect"), "{method} {target}: {text}");
    }
    // What needs no disk goes on.
    first.call("POST", "instance?serviceName=e&ip=10.0.0.1&port=80").expect(200);
    // And it did take effect, everywhere once they are back.
    cluster.restart(1);
    wait_for("the majority is back", || {
        persistent(cluster.member(0), "POST", "s", 82).status == 200
    });
    wait_for("the other has it all", || {
        let second = cluster.member(1);
        second.get("instance/list?serviceName=s").status == 200
            && ports(second, "s") == [81, 82]
            && second.get("service?serviceName=t").status == 200
            && namespaces(second) == ["n"]
    });
}

const DAY: Duration = Duration::from_secs(86_400);

/// Makes the file of a server that has stopped say that it was alive so long ago.
fn age(folder: &Path, by: Duration) {
    let database = redb::Database::open(folder.join("registry.redb")).unwrap();
    let transaction = database.begin_write().unwrap();
    {
        let meta = redb::TableDefinition::<&str, u64>::new("meta");
        let mut meta = transaction.open_table(meta).unwrap();
        let alive_ms = meta.get("alive_ms").unwrap().unwrap().value();
        meta.insert("alive_ms", alive_ms - u64::try_from(by.as_millis()).unwrap()).unwrap();
    }
    transaction.commit().unwrap();
}

fn set_aside(folder: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.to_str().unwrap().contains("registry.redb.stale-")).collect()
}

/// Puts a file into this folder that says something nobody else knows of.
fn write_ghost(folder: &Path) {
    let _ = fs::remove_dir_all(folder);
    let config = Config { data: DataConfig::at(folder), ..Config::default() };
    let server = TestServer::start_with(config);
    server.call("POST", &namespace("ghost")).expect(200);
    persistent(&server, "POST", "ghost", 80).expect(200);
    server.stop();
}

#[test]
fn who_was_away_for_longer_than_removals_are_remembered_brings_nothing_back() {
    let mut cluster = Cluster::start_durable(3, DurableConfig::default());
    persistent(cluster.member(0), "POST", "s", 80).expect(200);
    cluster.member(1).call("POST", &namespace("n")).expect(200);
    cluster.wait_until_equal();
    let folder = cluster.data_folder(2);
    for (days, brings_it) in [(8, false), (5, true)] {
        cluster.take(2).stop();
        // To the others that is as good as something whose removal they have forgotten.
        write_ghost(&folder);
        age(&folder, DAY * days);
        cluster.restart(2);
        cluster.wait_until_ready();
        cluster.wait_until_equal();
        let has_ghost = |server: &TestServer| {
            ports(server, "ghost") == [80] && namespaces(server).contains(&"ghost".to_owned())
        };
        if brings_it {
            wait_for("it is everywhere", || cluster.alive().all(has_ghost));
        }
        for server in cluster.alive() {
            assert_eq!(has_ghost(server), brings_it, "after {days} days");
            assert_eq!(ports(server, "s"), [80]);
        }
        let file = folder.join("registry.redb");
        wait_for("it has a file again", || file.exists());
        assert_eq!(set_aside(&folder).is_empty(), brings_it);
    }
    // What was taken from the others is on its disk.
    let server = cluster.member(2);
    server.call("POST", &namespace("last")).expect(200);
    cluster.take(2).kill();
    let mut data = None;
    wait_for("the folder is free", || {
        let config = Config { data: DataConfig::at(&folder), ..Config::default() };
        let address = Config { bind: "127.0.0.1".to_owned(), port: 0, ..config };
        data = TestServer::try_start_at(address).ok();
        data.is_some()
    });
    let server = data.unwrap();
    assert_eq!(ports(&server, "s"), [80]);
    assert_eq!(namespaces(&server), ["ghost", "last", "n"]);
}

#[test]
fn a_cluster_that_was_off_for_long_has_its_data() {
    let mut cluster = Cluster::start_durable(3, DurableConfig::default());
    persistent(cluster.member(0), "POST", "s", 80).expect(200);
    persistent(cluster.member(0), "POST", "s", 81).expect(200);
    cluster.wait_until_equal();
    persistent(cluster.member(1), "DELETE", "s", 81).expect(200);
    cluster.wait_until_equal();
    (0..3).for_each(|member| cluster.take(member).stop());
    for member in 0..3 {
        age(&cluster.data_folder(member), DAY * 100);
    }
    (0..3).for_each(|member| cluster.restart(member));
    cluster.wait_until_ready();
    wait_for("all have it", || cluster.alive().all(|server| ports(server, "s") == [80]));
    cluster.wait_until_equal();
    assert!(cluster.alive().all(|server| ports(server, "s") == [80]));
}

#[test]
fn a_server_alone_that_was_off_for_long_has_its_data() {
    let folder = tempfile::tempdir().unwrap();
    write_ghost(folder.path());
    age(folder.path(), DAY * 100);
    let config = Config { data: DataConfig::at(folder.path()), ..Config::default() };
    let server = TestServer::start_with(config);
    assert_eq!(
        (ports(&server, "ghost"), namespaces(&server)),
        (vec![80], vec!["ghost".to_owned()])
    );
    assert!(set_aside(folder.path()).is_empty());
}
