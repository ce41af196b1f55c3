//! Three servers of this process as members of one cluster.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use naming_server::Config;
use serde_json::Value;

mod server_support;

use server_support::members::{Cluster, READY, digest, metric, states};
use server_support::{Answer, Door, TestServer, wait_for};

fn hosts(server: &TestServer, service: &str) -> Vec<Value> {
    let list = server.get(&format!("instance/list?serviceName={service}")).expect(200);
    let list: Value = serde_json::from_str(&list).unwrap();
    list["hosts"].as_array().unwrap().clone()
}

fn instance(server: &TestServer, method: &str, service: &str, rest: &str) -> Answer {
    server.call(method, &format!("instance?serviceName={service}&ip=10.0.0.1&port=80{rest}"))
}

/// So many services that each of three members owns some.
fn services() -> impl Iterator<Item = String> {
    (0..12).map(|number| format!("s{number}"))
}

#[test]
fn any_member_takes_any_call_and_a_client_reads_its_own_writes() {
    let cluster = Cluster::start(3);
    for (number, service) in (0_u8..).zip(services()) {
        let [here, there] = [number % 3, (number + 1) % 3].map(|member| cluster.member(member));
        assert_eq!(instance(here, "POST", &service, "&weight=2").expect(200), "ok");
        assert_eq!(hosts(here, &service).len(), 1, "its own write");
        wait_for("it is everywhere", || cluster.alive().all(|s| hosts(s, &service).len() == 1));
        instance(there, "PATCH", &service, "&weight=3").expect(200);
        assert_eq!(hosts(there, &service)[0]["weight"], 3.0);
        let beat = format!("instance/beat?serviceName={service}&ip=10.0.0.1&port=80");
        assert_eq!(cluster.member(2).put(&beat).json()["code"], 10_200);
        if number % 2 == 0 {
            instance(there, "DELETE", &service, "").expect(200);
            assert_eq!(hosts(there, &service).len(), 0, "its own removal");
            wait_for("it is gone", || cluster.alive().all(|s| hosts(s, &service).is_empty()));
        }
    }
    let nobody = "instance/beat?serviceName=nobody&ip=10.0.0.1&port=80";
    assert!(cluster.alive().all(|server| server.put(nobody).json()["code"] == 20_404));
    assert!(
        cluster
            .alive()
            .any(|server| metric(server, "distro_forwarded") != "distro_forwarded_total 0")
    );
    cluster.wait_until_equal();
}

#[test]
fn an_instance_that_beats_through_any_member_stays_and_one_that_does_not_goes() {
    let cluster = Cluster::start(3);
    // The dead one is given up soon. The other beats far more often than it must, so that a busy
    // machine does not make it late, and is looked at for longer than its time-outs.
    const LIVING_TIMEOUT: Duration = Duration::from_millis(6_000);
    let started = Instant::now();
    for service in services() {
        for (port, unhealthy_ms, gone_ms) in [(80, 6_000, 7_000), (81, 1_500, 2_500)] {
            let metadata = format!(
                "%7B%22preserved.heart.beat.interval%22%3A%22500%22%2C\
                 %22preserved.heart.beat.timeout%22%3A%22{unhealthy_ms}%22%2C\
                 %22preserved.ip.delete.timeout%22%3A%22{gone_ms}%22%7D"
            );
            let instance = format!("ip=10.0.0.1&port={port}&metadata={metadata}");
            let target = format!("instance?serviceName={service}&{instance}");
            cluster.member(0).call("POST", &target).expect(200);
        }
    }
    // What was just registered elsewhere may still be on its way.
    cluster.wait_until_equal();
    let dead_are_gone = || {
        for service in services() {
            // Heard by a member that owns a third of the services.
            let beat = format!("instance/beat?serviceName={service}&ip=10.0.0.1&port=80");
            assert_eq!(cluster.member(1).put(&beat).json()["code"], 10_200);
            for server in cluster.alive() {
                let hosts = hosts(server, &service);
                let living = hosts.iter().find(|host| host["port"] == 80);
                assert_eq!(living.map(|host| &host["healthy"]), Some(&Value::Bool(true)));
            }
        }
        services().all(|service| cluster.alive().all(|server| hosts(server, &service).len() == 1))
            && started.elapsed() > LIVING_TIMEOUT * 2
    };
    wait_for("the dead are gone everywhere", dead_are_gone);
    let actors: Vec<String> = cluster
        .alive()
        .map(|server| metric(server, "naming_removals_total{reason=\"expired\""))
        .collect();
    let counts = actors.iter().map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap());
    assert_eq!(counts.sum::<u64>(), 12, "each by one member: {actors:?}");
    cluster.wait_until_equal();
}

#[test]
fn every_service_counts_for_the_one_member_that_is_responsible() {
    let cluster = Cluster::start(3);
    for service in services() {
        instance(cluster.member(0), "POST", &service, "").expect(200);
    }
    cluster.wait_until_equal();
    let counts = |server: &TestServer| {
        let metrics = server.get("operator/metrics").json();
        let count = |name: &str| metrics[name].as_u64().unwrap();
        [count("responsibleServiceCount"), count("responsibleInstanceCount")]
    };
    let all = cluster.alive().map(counts).collect::<Vec<_>>();
    let sums = [0, 1].map(|of| all.iter().map(|counts| counts[of]).sum::<u64>());
    assert_eq!(sums, [12, 12], "{all:?}");
    for service in services().take(6) {
        instance(cluster.member(1), "DELETE", &service, "").expect(200);
    }
    cluster.wait_until_equal();
    let instances = cluster.alive().map(|server| counts(server)[1]).sum::<u64>();
    assert_eq!(instances, 6);
}

#[test]
fn patches_through_all_members_at_once_lose_nothing() {
    const EACH: u32 = 20;
    // Who does not hear of the owner in time patches what it knows itself.
    let cluster = Cluster::start_patient(3);
    for service in ["a", "b", "c"] {
        instance(cluster.member(0), "POST", service, "").expect(200);
        wait_for("it is everywhere", || cluster.alive().all(|s| hosts(s, service).len() == 1));
        std::thread::scope(|scope| {
            for (member, server) in cluster.alive().enumerate() {
                scope.spawn(move || {
                    for number in 0..EACH {
                        let metadata = format!("%7B%22m{member}-{number}%22%3A%22x%22%7D");
                        let target = format!(
                            "instance/metadata/batch?serviceName={service}&consistencyType=ephemeral\
                             &metadata={metadata}"
                        );
                        let updated = server.put(&target).json();
                        assert_eq!(updated["updated"].as_array().unwrap().len(), 1, "{updated}");
                    }
                });
            }
        });
        cluster.wait_until_equal();
        let metadata = &hosts(cluster.member(0), service)[0]["metadata"];
        assert_eq!(metadata.as_object().unwrap().len(), 3 * EACH as usize, "{metadata}");
    }
}

#[test]
fn settings_of_services_are_those_of_the_cluster() {
    let cluster = Cluster::start(3);
    for (number, service) in (0_u8..).zip(services()) {
        let [here, there] = [number % 3, (number + 1) % 3].map(|member| cluster.member(member));
        let target = format!("service?serviceName={service}&protectThreshold=0.5");
        here.call("POST", &target).expect(200);
        let known = |server: &TestServer| server.get(&format!("service?serviceName={service}"));
        wait_for("it is everywhere", || cluster.alive().all(|server| known(server).status == 200));
        assert_eq!(known(there).json()["protectThreshold"], 0.5);
        assert!(there.call("POST", &target).expect(400).contains("already exists"));
        there.put(&format!("service?serviceName={service}&protectThreshold=0.7")).expect(200);
        assert_eq!(known(there).json()["protectThreshold"], 0.7);
        there.call("DELETE", &format!("service?serviceName={service}")).expect(200);
        assert_eq!(known(there).status, 404);
        wait_for("it is gone", || cluster.alive().all(|server| known(server).status == 404));
    }
    cluster.wait_until_equal();
}

fn set_switch(server: &TestServer, entry: &str, value: &str) {
    server.put(&format!("operator/switches?entry={entry}&value={value}")).expect(200);
}

fn switches(server: &TestServer) -> Value {
    server.get("operator/switches").json()
}

#[test]
fn switches_are_those_of_the_cluster() {
    let mut cluster = Cluster::start(3);
    set_switch(cluster.member(0), "clientBeatInterval", "7000");
    set_switch(cluster.member(1), "defaultCacheMillis", "4000");
    set_switch(cluster.member(2), "check", "false");
    cluster.member(2).put("operator/switches?entry=pushEnabled&value=false&debug=true").expect(200);
    let is_set = |server: &TestServer| {
        let shown = switches(server);
        [&shown["clientBeatInterval"], &shown["defaultCacheMillis"]] == [7_000, 4_000]
            && shown["healthCheckEnabled"] == false
    };
    wait_for("all hold everywhere", || cluster.alive().all(is_set));
    let pushes: Vec<bool> =
        cluster.alive().map(|server| switches(server)["pushEnabled"] == true).collect();
    assert_eq!(pushes, [true, true, false]);

    // No member judges what it owns, until it is told to.
    let short = "&metadata=%7B%22preserved.heart.beat.interval%22%3A%22100%22%2C\
                 %22preserved.heart.beat.timeout%22%3A%22300%22%2C\
                 %22preserved.ip.delete.timeout%22%3A%221000%22%7D";
    for service in services() {
        instance(cluster.member(0), "POST", &service, short).expect(200);
    }
    std::thread::sleep(Duration::from_secs(2));
    for service in services() {
        wait_for("it is everywhere", || cluster.alive().all(|s| hosts(s, &service).len() == 1));
    }

    // Who comes later learns of them.
    cluster.take(0).kill();
    cluster.restart(0);
    cluster.wait_until_ready();
    assert!(is_set(cluster.member(0)), "{}", switches(cluster.member(0)));
    set_switch(cluster.member(0), "check", "true");
    for service in services() {
        wait_for("it is gone", || cluster.alive().all(|s| hosts(s, &service).is_empty()));
    }
    for server in cluster.alive() {
        let names = server.get("service/list?pageNo=1&pageSize=100&groupName=*").json();
        assert_eq!(names["count"], 12, "switches are no services");
    }
    cluster.wait_until_equal();
}

#[test]
fn namespaces_have_the_same_names_on_all_members() {
    let mut cluster = Cluster::start(3);
    let path = "/nacos/v1/console/namespaces";
    let names = |server: &TestServer| {
        let list = server.get(path).json();
        let name = |item: &Value| item["namespaceShowName"].as_str().unwrap().to_owned();
        list["data"].as_array().unwrap().iter().map(name).collect::<Vec<_>>()
    };
    let create = |server: &TestServer, id: &str| {
        let target = format!("{path}?customNamespaceId={id}&namespaceName=of-{id}");
        server.call("POST", &target).expect(200)
    };
    for (member, id) in [(0, "a"), (1, "b"), (2, "c")] {
        assert_eq!(create(cluster.member(member), id), "true");
        assert_eq!(names(cluster.member(member)).len(), usize::from(member) + 2, "its own write");
        wait_for("it is everywhere", || {
            cluster.alive().all(|server| create(server, id) == "false")
        });
    }
    let update = format!("{path}?namespace=a&namespaceShowName=new");
    assert_eq!(cluster.member(2).put(&update).expect(200), "true");
    cluster.member(1).call("DELETE", &format!("{path}?namespaceId=c")).expect(200);
    let expected = ["public", "new", "of-b"];
    wait_for("all agree", || cluster.alive().all(|server| names(server) == expected));
    cluster.take(1).kill();
    cluster.restart(1);
    cluster.wait_until_ready();
    assert_eq!(names(cluster.member(1)), expected);
    cluster.wait_until_equal();
}

#[test]
fn no_call_fails_when_a_member_is_killed_and_a_new_one_loads_first() {
    let mut cluster = Cluster::start(3);
    for service in services() {
        instance(cluster.member(0), "POST", &service, "").expect(200);
    }
    cluster.wait_until_equal();
    cluster.take(2).kill();
    wait_for("it is seen to be down", || {
        for service in services() {
            for server in cluster.alive() {
                assert_eq!(hosts(server, &service).len(), 1);
                instance(server, "POST", &service, "&weight=5").expect(200);
                let beat = format!("instance/beat?serviceName={service}&ip=10.0.0.1&port=80");
                assert_eq!(server.put(&beat).json()["code"], 10_200);
            }
        }
        cluster.alive().all(|server| states(server).contains(&"DOWN".to_owned()))
    });
    instance(cluster.member(0), "DELETE", "s0", "").expect(200);
    cluster.restart(2);
    wait_for("it is ready", || {
        let server = cluster.member(2);
        let list = server.get("instance/list?serviceName=s1");
        // Never an empty list: either it refuses, or it knows.
        match list.status {
            503 => false,
            _ => {
                assert_eq!(list.json()["hosts"].as_array().unwrap().len(), 1);
                server.get(READY).status == 200
            }
        }
    });
    assert_eq!(hosts(cluster.member(2), "s0").len(), 0, "removed while it was away");
    cluster.wait_until_ready();
    cluster.wait_until_equal();
}

#[test]
fn a_member_that_stops_hands_over_and_nothing_fails() {
    let mut cluster = Cluster::start(3);
    for service in services() {
        instance(cluster.member(0), "POST", &service, "").expect(200);
    }
    let leaving = cluster.take(1);
    // What it took last must not end with it.
    instance(&leaving, "POST", "last", "").expect(200);
    leaving.stop();
    for server in cluster.alive() {
        assert_eq!(hosts(server, "last").len(), 1);
        instance(server, "POST", "later", "").expect(200);
        wait_for("it is known to be gone", || states(server).iter().any(|state| state != "UP"));
    }
    cluster.wait_until_equal();
}

#[test]
fn the_list_of_members_can_change_while_they_run() {
    let mut cluster = Cluster::start(2);
    instance(cluster.member(0), "POST", "s", "").expect(200);
    cluster.list(0..3);
    let third = TestServer::start_at(cluster.config(2));
    cluster.members.push(Some(third));
    cluster.wait_until_ready();
    assert_eq!(hosts(cluster.member(2), "s").len(), 1);
    cluster.take(0).stop();
    cluster.list(1..3);
    wait_for("it is forgotten", || cluster.alive().all(|server| states(server).len() == 2));
    cluster.wait_until_ready();
    assert!(cluster.alive().all(|server| hosts(server, "s").len() == 1));
}

#[test]
fn slow_uploads_of_strangers_turn_no_member_away() {
    use std::io::Write;
    const BODY: usize = 100_000;
    let mut cluster = Cluster::start(2);
    cluster.list(0..3);
    let mut config = cluster.config(2);
    config.http.max_body_bytes = BODY;
    config.http.max_buffered_body_bytes = 32 * BODY;
    cluster.members.push(Some(TestServer::start_at(config)));
    cluster.wait_until_ready();
    let turned_away = || {
        let outcomes = ["rejected", "not_taken", "refused"];
        let names = outcomes.map(|of| format!("distro_calls_total{{outcome=\"{of}\"}}"));
        let count = |server: &TestServer, name: &String| -> u64 {
            let line = metric(server, name);
            line.rsplit(' ').next().unwrap().parse().unwrap()
        };
        let callers = [cluster.member(0), cluster.member(1)];
        names.iter().flat_map(|name| callers.map(|server| count(server, name))).sum::<u64>()
    };
    let before = turned_away();

    // More than there is room for; each is held open.
    let address = cluster.address(2);
    let head = format!(
        "POST /nacos/v1/ns/instance HTTP/1.1\r\nHost: h\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {BODY}\r\n\r\n"
    );
    let upload = format!("{head}{}", "x".repeat(BODY - 1));
    let mut strangers = Vec::new();
    for _ in 0..500 {
        let mut stream = std::net::TcpStream::connect(&address).unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(5))).unwrap();
        // Who is turned away is closed in the middle.
        let _ = stream.write_all(upload.as_bytes());
        strangers.push(stream);
    }

    let start = Instant::now();
    let mut written = 0;
    wait_for("two seconds of writing", || {
        for member in 0..2 {
            written += 1;
            // Long enough for messages that are no small ones.
            let metadata = format!("&metadata=%7B%22a%22%3A%22{}%22%7D", "x".repeat(5_000));
            let service = format!("s{written}");
            instance(cluster.member(member), "POST", &service, &metadata).expect(200);
        }
        start.elapsed() > Duration::from_secs(2)
    });
    assert_eq!(turned_away(), before);
    drop(strangers);
    cluster.wait_until_equal();
    assert_eq!(turned_away(), before);
}

#[test]
fn a_member_that_is_full_refuses_its_own_clients_and_nothing_that_members_say() {
    let mut cluster = Cluster::start(1);
    cluster.list(0..2);
    let mut config = cluster.config(1);
    config.registry.max_instance_bytes = 2_048;
    cluster.members.push(Some(TestServer::start_at(config)));
    cluster.wait_until_ready();
    let [open, full] = [0, 1].map(|member| cluster.member(member));
    let metadata = |bytes| format!("&metadata=k%3D{}", "x".repeat(bytes));
    instance(open, "POST", "filler", &metadata(2_000)).expect(200);
    wait_for("it is everywhere", || hosts(full, "filler").len() == 1);
    // Some of them are its own, the others go to the other member.
    for service in services() {
        for (method, target) in [
            ("POST", format!("instance?serviceName={service}&ip=10.0.0.1&port=80")),
            ("POST", format!("service?serviceName={service}&protectThreshold=0")),
        ] {
            let refused = full.call(method, &target).expect(503);
            assert!(refused.contains("registry.max_instance_bytes"), "{refused}");
        }
        assert!(hosts(open, &service).is_empty());
        instance(open, "POST", &service, &metadata(100)).expect(200);
        wait_for("it is taken in", || hosts(full, &service).len() == 1);
        let refused = instance(full, "PATCH", &service, &metadata(101)).expect(503);
        assert!(refused.contains("registry.max_instance_bytes"), "{refused}");
        let beat = format!("instance/beat?serviceName={service}&ip=10.0.0.1&port=80");
        assert_eq!(full.put(&beat).json()["code"], 10_200);
        instance(full, "POST", &service, &metadata(100)).expect(200);
        instance(full, "PATCH", &service, &metadata(50)).expect(200);
        let shown = || hosts(open, &service)[0]["metadata"]["k"].as_str().map(str::len);
        wait_for("it has shrunk everywhere", || shown() == Some(50));
    }
    cluster.wait_until_equal();
}

#[test]
fn members_speak_over_a_port_of_their_own_where_they_have_one() {
    let mut cluster = Cluster::start(1);
    cluster.list(0..3);
    for member in 1..3 {
        let mut config = cluster.config(member);
        config.cluster.bind_port = 7_848;
        cluster.members.push(Some(TestServer::start_at(config)));
    }
    cluster.wait_until_ready();
    instance(cluster.member(0), "POST", "s", "").expect(200);
    cluster.wait_until_equal();
    // The first has none and knows of none: it is asked, and asks, on the usual port.
    let connections = |server: &TestServer| {
        let line = metric(server, "naming_member_connections");
        line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()
    };
    wait_for("both ask the first", || connections(cluster.member(0)) >= 2.0);
    let port = format!("{}:7848", cluster.ip(1)).parse().unwrap();
    let ask = |path: &str| server_support::send(port, "GET", path, "", "").status;
    assert_eq!((ask("/metrics"), ask("/nacos/v1/ns/instance/list?serviceName=s")), (404, 501));
    // Between the two others nothing goes over the usual port.
    cluster.take(0).kill();
    wait_for("only those of the first were there", || {
        cluster.alive().all(|server| connections(server) == 0.0)
    });
    instance(cluster.member(1), "POST", "t", "").expect(200);
    wait_for("it is known", || hosts(cluster.member(2), "t").len() == 1);
}

#[test]
fn the_secret_is_changed_by_its_files_while_the_members_serve() {
    let cluster = Cluster::start(3);
    let sum = |server: &TestServer, of: &str| {
        let page = server.get("/metrics").expect(200);
        let lines = page.lines().filter(|line| line.starts_with(of));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum::<u64>()
    };
    let sessions = |server: &TestServer| sum(server, "distro_sessions_total");
    let failed = || {
        let of = "distro_calls_total{outcome=\"rejected\"}";
        cluster.alive().map(|server| sum(server, of)).sum::<u64>()
    };
    let before = failed();
    let mut written = 0;
    let mut write_while = |what: &str, mut condition: Box<dyn FnMut() -> bool + '_>| {
        wait_for(what, || {
            for server in cluster.alive() {
                written += 1;
                instance(server, "POST", &format!("s{written}"), "").expect(200);
            }
            condition()
        });
    };
    let place = |text: &[u8], path: &std::path::Path| {
        let fresh = path.with_extension("new");
        std::fs::write(&fresh, text).unwrap();
        std::fs::rename(fresh, path).unwrap();
    };

    let old = std::fs::read(cluster.secret_file()).unwrap();
    place(&old, &cluster.previous_secret_file());
    place(b"the next secret, of thirty-two bytes and more", &cluster.secret_file());
    let start = Instant::now();
    write_while("two looks at the files", Box::new(|| start.elapsed() > Duration::from_secs(4)));
    // When the old one is taken away all begin anew, by the new one.
    let begun: Vec<u64> = cluster.alive().map(sessions).collect();
    std::fs::remove_file(cluster.previous_secret_file()).unwrap();
    let have_begun =
        || cluster.alive().zip(&begun).all(|(server, begun)| sessions(server) > *begun);
    write_while("sessions begin anew", Box::new(have_begun));
    assert_eq!(failed(), before, "no call was turned away");
    cluster.wait_until_equal();

    // The old one opens nothing any more.
    let stranger = cluster.folder.path().join("old");
    place(&old, &stranger);
    cluster.list(0..4);
    let mut config = cluster.config(3);
    config.cluster.secret_file = stranger.to_str().unwrap().to_owned();
    let _stranger = TestServer::start_at(config);
    let refused =
        |server: &TestServer| sum(server, "distro_refusals_total{reason=\"wrong_secret\"}") > 0;
    wait_for("it is refused", || cluster.alive().all(refused));
}

#[test]
fn who_does_not_belong_changes_nothing() {
    let cluster = Cluster::start(2);
    instance(cluster.member(0), "POST", "s", "").expect(200);
    cluster.wait_until_equal();
    let before = digest(cluster.member(0));

    // The same member elsewhere.
    let twin = Config { bind: cluster.ip(5), advertise: cluster.address(0), ..cluster.config(0) };
    let refusal = TestServer::try_start_at(twin).err().unwrap();
    assert!(refusal.contains("another server answers"), "{refusal}");

    // On the list, but without the secret.
    cluster.list(0..3);
    let mut config = cluster.config(2);
    config.cluster.secret_file.clear();
    let refusal = TestServer::try_start_at(config.clone()).err().unwrap();
    assert!(refusal.contains("openssl rand") && refusal.contains("secret_file"), "{refusal}");
    let wrong = cluster.folder.path().join("wrong");
    std::fs::write(&wrong, "quite another secret of at least 32 bytes").unwrap();
    config.cluster.secret_file = wrong.to_str().unwrap().to_owned();
    let stranger = TestServer::start_at(config);
    instance(&stranger, "POST", "evil", "").expect(200);
    let refused = |server: &TestServer| {
        let page = server.get("/metrics").expect(200);
        let refusals = page.lines().filter(|line| line.starts_with("distro_refusals_total"));
        refusals.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum::<u64>()
    };
    wait_for("it is refused", || cluster.alive().all(|server| refused(server) > 0));

    for (path, body) in [("call", "x"), ("hello", ""), ("nonsense", "")] {
        let answer = cluster.member(0).send("POST", &format!("/distro/v1/{path}"), "", body);
        assert!((400..500).contains(&answer.status), "{answer:?}");
    }
    assert!(cluster.alive().all(|server| digest(server) == before));
    assert_eq!(hosts(cluster.member(0), "evil").len(), 0);
    stranger.kill();
}

#[test]
fn a_change_is_pushed_to_subscribers_of_other_members() {
    let cluster = Cluster::start(3);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let port = socket.local_addr().unwrap().port();
    for service in services() {
        let target = format!("instance/list?serviceName={service}&udpPort={port}");
        let agent = "User-Agent: Nacos-Java-Client:v1.4.8\r\n";
        cluster.member(1).send("GET", &target, agent, "").expect(200);
        instance(cluster.member(0), "POST", &service, "").expect(200);
        let mut buffer = [0; 4_096];
        let length = socket.recv(&mut buffer).expect("a push");
        let packet: Value = serde_json::from_slice(&buffer[..length]).unwrap();
        let data: Value = serde_json::from_str(packet["data"].as_str().unwrap()).unwrap();
        assert_eq!(data["hosts"].as_array().unwrap().len(), 1, "{data}");
        assert!(data["name"].as_str().unwrap().ends_with(&service), "{data}");
    }
}

#[test]
fn switches_and_namespaces_are_those_of_the_cluster() {
    let mut cluster = Cluster::start(3);
    let switches = |server: &TestServer| server.get("operator/switches").json();
    cluster.member(1).put("operator/switches?entry=clientBeatInterval&value=7000").expect(200);
    cluster.member(2).put("operator/switches?entry=pushEnabled&value=false").expect(200);
    cluster
        .member(0)
        .put("operator/switches?entry=lightBeatEnabled&value=false&debug=true")
        .expect(200);
    let namespaces = "/nacos/v1/console/namespaces";
    let create = format!("{namespaces}?customNamespaceId=dev&namespaceName=Development");
    assert_eq!(cluster.member(1).call("POST", &create).expect(200), "true");
    assert_eq!(cluster.member(1).call("POST", &create).expect(200), "false");
    let knows = |server: &TestServer| {
        let switches = switches(server);
        switches["clientBeatInterval"] == 7_000
            && switches["pushEnabled"] == false
            && server.get(namespaces).body.contains("Development")
    };
    wait_for("all know", || cluster.alive().all(knows));
    assert_eq!(switches(cluster.member(0))["lightBeatEnabled"], false);
    assert_eq!(switches(cluster.member(1))["lightBeatEnabled"], true, "set on one member alone");
    cluster.take(2).kill();
    cluster.restart(2);
    cluster.wait_until_ready();
    assert!(knows(cluster.member(2)), "after a restart");
    cluster.member(2).call("DELETE", &format!("{namespaces}?namespaceId=dev")).expect(200);
    let forgot = |server: &TestServer| !server.get(namespaces).body.contains("Development");
    wait_for("all forget", || cluster.alive().all(forgot));
}

#[test]
fn a_health_that_was_said_stays_until_the_next_beat() {
    let cluster = Cluster::start(3);
    for (number, service) in (0_u8..).zip(services()) {
        let [here, there] = [number % 3, (number + 1) % 3].map(|member| cluster.member(member));
        instance(here, "POST", &service, "&healthy=false").expect(200);
        let second = format!("instance?serviceName={service}&ip=10.0.0.2&port=80&clusterName=c");
        here.call("POST", &second).expect(200);
        let checker =
            "checkPort=80&useInstancePort4Check=true&healthChecker=%7B%22type%22%3A%22NONE%22%7D";
        let target = format!("cluster?serviceName={service}&clusterName=c&{checker}");
        wait_for("the service is known there", || there.put(&target).status == 200);
        let beat = format!("instance/beat?serviceName={service}&ip=10.0.0.2&port=80&clusterName=c");
        wait_for("it is known there", || there.put(&beat).json()["code"] == 10_200);
        let health = format!(
            "health/instance?serviceName={service}&ip=10.0.0.2&port=80&clusterName=c&healthy=false"
        );
        wait_for("the checker is known here", || here.put(&health).status == 200);
    }
    cluster.wait_until_equal();
    // Longer than replication and renewals, shorter than a beat interval.
    std::thread::sleep(Duration::from_millis(700));
    for (service, server) in services().flat_map(|s| cluster.alive().map(move |m| (s.clone(), m))) {
        for ip in ["10.0.0.1", "10.0.0.2"] {
            let cluster = if ip == "10.0.0.1" { "DEFAULT" } else { "c" };
            let target =
                format!("instance?serviceName={service}&ip={ip}&port=80&clusterName={cluster}");
            assert_eq!(server.get(&target).json()["healthy"], false, "{ip} of {service}");
        }
    }
    let beat = "instance/beat?serviceName=s0&ip=10.0.0.2&port=80&clusterName=c";
    cluster.member(2).put(beat).expect(200);
    let target = "instance?serviceName=s0&ip=10.0.0.2&port=80&clusterName=c";
    let is_back = |server: &TestServer| server.get(target).json()["healthy"] == true;
    wait_for("the beat sets it right", || cluster.alive().all(is_back));
}

#[test]
fn persistent_instances_are_those_of_the_cluster() {
    let mut cluster = Cluster::start(3);
    // Nobody is there to answer.
    cluster.member(0).put("operator/switches?entry=check&value=false").expect(200);
    let kinds = |server: &TestServer, service: &str| {
        let kind = |host: Value| host["ephemeral"].as_bool().unwrap();
        hosts(server, service).into_iter().map(kind).collect::<Vec<_>>()
    };
    for (number, service) in (0_u8..).zip(services()) {
        let [here, there] = [number % 3, (number + 1) % 3].map(|member| cluster.member(member));
        instance(here, "POST", &service, "&ephemeral=false&weight=2").expect(200);
        assert_eq!(kinds(here, &service), [false], "its own write");
        instance(there, "POST", &service, "").expect(200);
        let both = |server: &TestServer| kinds(server, &service) == [false, true];
        wait_for("both are everywhere", || cluster.alive().all(both));
        instance(there, "PATCH", &service, "&weight=3").expect(200);
        assert_eq!(hosts(there, &service)[0]["weight"], 3.0);
        instance(there, "DELETE", &service, "").expect(200);
        wait_for("the other goes", || cluster.alive().all(|s| kinds(s, &service) == [false]));
        let beat = format!("instance/beat?serviceName={service}&ip=10.0.0.1&port=80");
        for server in cluster.alive() {
            assert_eq!(server.put(&beat).json()["code"], 10_200, "no beat is needed");
        }
        let whole = "%7B%22ip%22:%2210.0.0.9%22,%22port%22:80,%22ephemeral%22:false%7D";
        let beat = format!("instance/beat?serviceName={service}&beat={whole}");
        assert_eq!(there.put(&beat).json()["code"], 10_200);
        assert_eq!(kinds(there, &service), [false, false], "a beat registers it");
        let removal = format!("instance?serviceName={service}&ip=10.0.0.9&port=80&ephemeral=false");
        there.call("DELETE", &removal).expect(200);
    }
    cluster.wait_until_equal();
    // Whoever takes over judges by silence, and whoever is new loads first.
    cluster.take(1).kill();
    let still_there = |server: &TestServer| {
        services().all(|service| {
            let hosts = hosts(server, &service);
            hosts.len() == 1 && hosts[0]["weight"] == 3.0 && hosts[0]["healthy"] == true
        })
    };
    wait_for("the death is noticed", || {
        cluster.alive().all(|s| states(s).contains(&"DOWN".to_owned()))
    });
    assert!(cluster.alive().all(still_there));
    cluster.restart(1);
    cluster.wait_until_ready();
    assert!(still_there(cluster.member(1)), "it loaded them");
    for (number, service) in (0_u8..).zip(services()) {
        let server = cluster.member(number % 3);
        instance(server, "DELETE", &service, "&ephemeral=false").expect(200);
        wait_for("it is gone", || cluster.alive().all(|s| hosts(s, &service).is_empty()));
    }
    cluster.wait_until_equal();
}

#[test]
fn a_member_that_was_away_shows_nothing_that_was_removed_meanwhile() {
    let mut cluster = Cluster::start(3);
    for service in services() {
        instance(cluster.member(0), "POST", &service, "").expect(200);
    }
    cluster.wait_until_equal();
    cluster.take(2).stop();
    let (gone, kept): (Vec<_>, Vec<_>) = services().partition(|service| service.len() == 2);
    for service in &gone {
        instance(cluster.member(0), "DELETE", service, "").expect(200);
    }
    cluster.restart(2);
    let server = cluster.member(2);
    let restored = metric(server, "naming_events_total{event=\"restored\"}");
    assert_eq!(restored.rsplit(' ').next(), Some("12"), "{restored}");
    wait_for("it is ready", || server.get(READY).status == 200);
    assert!(gone.iter().all(|service| hosts(server, service).is_empty()));
    assert!(kept.iter().all(|service| hosts(server, service).len() == 1));
    cluster.wait_until_ready();
    cluster.wait_until_equal();
}

#[test]
fn who_takes_over_goes_on_checking() {
    let mut cluster = Cluster::start(3);
    let fast = "%7B%22tcpHealthParams%22:%7B%22max%22:3000,%22min%22:500,%22factor%22:0.0%7D%7D";
    let fast = format!("operator/switches?entry=batch&value={fast}");
    cluster.member(0).put(&fast).expect(200);
    let door = Door::open(0);
    let port = door.address.port();
    for service in services() {
        let target = format!("instance?serviceName={service}&ip=127.0.0.1&port={port}");
        cluster.member(0).call("POST", &format!("{target}&ephemeral=false")).expect(200);
    }
    let checks_of = |server: &TestServer, service: &String| {
        let times = server.get(&format!("catalog/rt/service?serviceName={service}"));
        times.status == 200 && times.json()["clusters"][0]["checkRTBest"].as_i64() >= Some(0)
    };
    wait_for("each is checked by one member", || {
        services().all(|service| cluster.alive().filter(|s| checks_of(s, &service)).count() == 1)
    });
    // The true health: a list protects services of which nobody is left.
    let are_all = |server: &TestServer, healthy: bool| {
        services().all(|service| {
            let detail = format!("instance?serviceName={service}&ip=127.0.0.1&port={port}");
            server.get(&detail).json()["healthy"] == healthy
        })
    };
    let of_first: Vec<String> =
        services().filter(|service| checks_of(cluster.member(0), service)).collect();
    assert!(!of_first.is_empty(), "the first member checks some");
    cluster.take(0).kill();
    wait_for("others check those of the dead", || {
        of_first.iter().all(|service| cluster.alive().any(|server| checks_of(server, service)))
    });
    assert!(cluster.alive().all(|server| are_all(server, true)));
    drop(door);
    wait_for("all are unhealthy everywhere", || cluster.alive().all(|s| are_all(s, false)));
    let _door = Door::open(port);
    wait_for("all are healthy everywhere", || cluster.alive().all(|s| are_all(s, true)));
}

#[test]
fn numbers_as_ids_are_unique_whoever_gives_them() {
    let cluster = Cluster::start(3);
    let numbered = "%7B%22preserved.instance.id.generator%22%3A%22snowflake%22%7D";
    for service in services() {
        for (number, server) in cluster.alive().enumerate() {
            let rest = format!("ip=10.0.0.{number}&port=80&metadata={numbered}");
            let target = format!("instance?serviceName={service}&{rest}");
            server.call("POST", &target).expect(200);
        }
    }
    wait_for("all are everywhere", || {
        let all = |server| services().all(|service| hosts(server, &service).len() == 3);
        cluster.alive().all(all)
    });
    let id = |host: &Value| host["instanceId"].as_str().unwrap().parse::<u64>().unwrap();
    for service in services() {
        let mut ids: Vec<u64> = hosts(cluster.member(0), &service).iter().map(id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 3, "{service}: {ids:?}");
        let elsewhere: Vec<u64> = hosts(cluster.member(1), &service).iter().map(id).collect();
        assert!(elsewhere.iter().all(|id| ids.contains(id)), "{service}: {ids:?} {elsewhere:?}");
    }
}
