//! Durable data as its users see it: what was acknowledged is there after whatever ends the
//! process, and a folder that cannot be used is named and left alone.

use std::fs;
use std::path::Path;
use std::time::Duration;

use naming_server::{Config, DataConfig, EmptyServiceConfig};

mod program;
mod server_support;

use program::{Ledger, Program};
use server_support::members::READY;
use server_support::{Door, TestServer, wait_for};

/// Kills of one test, unless the environment asks for another number.
const KILLS: u32 = 12;
const KILLS_VARIABLE: &str = "NAMING_TEST_KILLS";

#[test]
fn killing_it_while_it_writes_loses_nothing_that_was_acknowledged() {
    let kills = std::env::var(KILLS_VARIABLE).map_or(KILLS, |text| text.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let mut ledgers: Vec<Ledger> = (0..6).map(Ledger::new).collect();
    let (mut random, mut acknowledged) = (fastrand::Rng::new(), 0);
    for _ in 0..kills {
        let program = Program::start(folder.path(), &[]);
        let address = program.address;
        for ledger in &mut ledgers {
            ledger.check(address);
        }
        std::thread::scope(|scope| {
            let writers: Vec<_> = ledgers
                .iter_mut()
                .map(|ledger| scope.spawn(move || ledger.write_until_it_breaks(address)))
                .collect();
            std::thread::sleep(Duration::from_millis(random.u64(20..200)));
            program.kill();
            acknowledged += writers.into_iter().map(|writer| writer.join().unwrap()).sum::<u32>();
        });
    }
    let program = Program::start(folder.path(), &[]);
    ledgers.iter_mut().for_each(|ledger| ledger.check(program.address));
    assert!(acknowledged > kills, "{acknowledged} writes in {kills} lives");
}

#[test]
fn what_was_written_is_there_after_a_stop() {
    let folder = tempfile::tempdir().unwrap();
    let config = || Config { data: DataConfig::at(folder.path()), ..Config::default() };
    let server = TestServer::start_with(config());
    let create = "service?serviceName=kept&protectThreshold=0.5&metadata=zone%3Db";
    server.call("POST", create).expect(200);
    server.put("service?serviceName=kept&protectThreshold=0.7&metadata=zone%3Dc").expect(200);
    server.call("POST", "service?serviceName=gone").expect(200);
    server.call("DELETE", "service?serviceName=gone").expect(200);
    server.put("operator/switches?entry=pushCacheMillis&value=12345").expect(200);
    let space = "/nacos/v1/console/namespaces?customNamespaceId=dev&namespaceName=Dev";
    server.call("POST", space).expect(200);
    let shown = server.get("service?serviceName=kept").json();
    server.stop();

    let server = TestServer::start_with(config());
    assert_eq!(server.get("service?serviceName=kept").json(), shown);
    assert_eq!(shown["metadata"]["zone"], "c");
    server.get("service?serviceName=gone").expect(404);
    assert_eq!(server.get("operator/switches").json()["defaultPushCacheMillis"], 12_345);
    assert!(server.get("/nacos/v1/console/namespaces").body.contains("\"Dev\""));
    // And it can be changed as before.
    server.put("service?serviceName=kept&protectThreshold=0.1").expect(200);
    server.call("POST", "service?serviceName=gone").expect(200);
}

#[test]
fn a_service_that_an_operator_made_outlives_restarts_and_clean_ups() {
    let folder = tempfile::tempdir().unwrap();
    let empty_service =
        EmptyServiceConfig { auto_clean: true, initial_delay_ms: 0, period_ms: 100 };
    let data = DataConfig::at(folder.path());
    let config =
        || Config { data: data.clone(), empty_service: empty_service.clone(), ..Config::default() };
    let server = TestServer::start_with(config());
    server.call("POST", "service?serviceName=made").expect(200);
    server.stop();
    let server = TestServer::start_with(config());
    let instance = "instance?serviceName=passing&ip=10.0.0.1&port=80";
    server.call("POST", instance).expect(200);
    server.call("DELETE", instance).expect(200);
    let is_there = |name: &str| server.get(&format!("service?serviceName={name}")).status == 200;
    assert!(is_there("passing"));
    wait_for("the clean-up of the other", || !is_there("passing"));
    assert!(is_there("made"));
}

#[test]
fn persistent_instances_are_back_after_a_kill_and_are_checked_again() {
    let folder = tempfile::tempdir().unwrap();
    let door = Door::open(0);
    let port = door.address.port();
    let target = format!("instance?serviceName=s&ip=127.0.0.1&port={port}");
    let program = Program::start(folder.path(), &[]);
    program.call("POST", &format!("{target}&ephemeral=false&weight=3")).expect(200);
    program.call("POST", "instance?serviceName=s&ip=127.0.0.2&port=1").expect(200);
    program.kill();

    let hosts = |program: &Program| {
        let list = program.call("GET", "instance/list?serviceName=s").json();
        list["hosts"].as_array().unwrap().clone()
    };
    let program = Program::start(folder.path(), &[]);
    let back = hosts(&program);
    assert_eq!(back.len(), 1, "{back:?}");
    assert_eq!((&back[0]["weight"], &back[0]["healthy"]), (&3.0.into(), &true.into()));
    let times = || program.call("GET", "catalog/rt/service?serviceName=s").json();
    let is_checked = || times()["clusters"][0]["checkRTBest"].as_i64() >= Some(0);
    wait_for("its first check", is_checked);
    drop(door);
    let is_healthy = || program.call("GET", &target).json()["healthy"] == true;
    wait_for("the check that fails", || !is_healthy());
}

#[test]
fn the_first_lines_name_the_folder() {
    let home = tempfile::tempdir().unwrap();
    let program = Program::start_in_home(home.path());
    let name = format!("naming-server/127.0.0.1_{}", program.address.port());
    let folder = home.path().canonicalize().unwrap().join(name);
    assert!(program.banner.contains(folder.to_str().unwrap()), "{}", program.banner);
    assert!(folder.join("registry.redb").is_file());
}

#[test]
fn two_servers_on_one_folder_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let _first = Program::start(folder.path(), &[]);
    let text = Program::complaint(folder.path());
    assert!(text.contains("another server uses"), "{text}");
    assert!(text.contains(folder.path().to_str().unwrap()) && text.contains("--data-dir"));
}

#[test]
fn a_damaged_file_is_refused_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let program = Program::start(folder.path(), &[]);
    program.call("POST", "service?serviceName=kept").expect(200);
    program.stop();
    let path = folder.path().join("registry.redb");
    let mut bytes = fs::read(&path).unwrap();
    // Wherever the record is, more than once since the file keeps what it replaces.
    let name = b"kept";
    for at in 0..bytes.len() - name.len() {
        if &bytes[at..at + name.len()] == name {
            bytes[at] ^= 1;
        }
    }
    fs::write(&path, &bytes).unwrap();
    let text = Program::complaint(folder.path());
    assert!(text.contains("damaged") && text.contains(path.to_str().unwrap()), "{text}");
    assert!(fs::read(&path).unwrap() == bytes, "left as it is");
}

#[test]
fn a_folder_that_cannot_be_written_to_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let text = Program::complaint(&file.path().join("data"));
    assert!(text.contains(file.path().to_str().unwrap()) && text.contains("--data-dir"), "{text}");
    let folder = tempfile::tempdir().unwrap();
    let closed = folder.path().join("closed");
    fs::create_dir(&closed).unwrap();
    let mut permissions = fs::metadata(&closed).unwrap().permissions();
    permissions.set_readonly(true);
    fs::set_permissions(&closed, permissions).unwrap();
    if fs::write(closed.join("x"), "x").is_ok() {
        eprintln!("skipped: nothing is closed to this user");
        return;
    }
    let text = Program::complaint(&closed);
    assert!(text.contains("closed") && text.contains("ermission"), "{text}");
}

#[test]
fn without_room_it_does_not_start_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let text = Program::complaint_with_room(folder.path(), 16);
    assert!(text.contains("no room left for") && text.contains("--data-dir"), "{text}");
    assert!(!folder.path().join("registry.redb").exists());
    Program::start(folder.path(), &[]).stop();
}

#[test]
fn a_disk_that_fills_up_fails_writes_and_loses_none_that_was_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    Program::start(folder.path(), &[]).stop();
    let room = fs::metadata(folder.path().join("registry.redb")).unwrap().len() + (256 << 10);
    let program = Program::start_with_room(folder.path(), room);
    assert_eq!(program.call("GET", READY).expect(200), "OK");
    let bulk = "x".repeat(20_000);
    let create = |n: u32| {
        let target = format!("service?serviceName=s{n}&metadata=a%3D{bulk}");
        program.call("POST", &target)
    };
    let failed = (0..10_000).find_map(|n| {
        let answer = create(n);
        (answer.status != 200).then_some((n, answer))
    });
    let (acknowledged, answer) = failed.unwrap();
    assert!(acknowledged > 0);
    assert_eq!(answer.status, 503, "{answer:?}");
    for part in ["not on disk", "no room left for", "may still take effect"] {
        assert!(answer.body.contains(part), "{answer:?}");
    }
    let metrics = program.call("GET", "/nacos/metrics").body;
    assert!(metrics.contains("naming_durable_failing 1"), "{metrics}");
    // It is as ready as before, and says what it cannot do.
    let note = program.call("GET", READY).expect(200);
    assert!(note.starts_with("OK, degraded: durable data"), "{note}");
    // An instance that is to last waits for the disk, too, when its first beat registers it.
    let beat = "%7B%22ip%22:%2210.0.0.2%22,%22port%22:80,%22ephemeral%22:false%7D";
    let beat = program.call("PUT", &format!("instance/beat?serviceName=p&beat={beat}"));
    assert_eq!(beat.status, 503, "{beat:?}");
    // What needs no disk goes on.
    program.call("POST", "instance?serviceName=e&ip=10.0.0.1&port=80").expect(200);
    program.call("GET", "service?serviceName=s0").expect(200);
    program.kill();
    let program = Program::start(folder.path(), &[]);
    for n in 0..acknowledged {
        program.call("GET", &format!("service?serviceName=s{n}")).expect(200);
    }
}

#[test]
fn a_wrong_folder_in_the_configuration_is_one_clear_line() {
    let text = Program::complaint(Path::new("/dev/null/data"));
    assert!(text.contains("/dev/null/data"), "{text}");
}
