//! Members that speak TLS to each other.

use std::net::SocketAddr;

use naming_server::{Config, MemberTlsConfig, TlsMode};

use crate::pki::{Authority, TlsClient, write};
use crate::server_support::members::{Cluster, metric};
use crate::server_support::{TestServer, send, wait_for};

const MEMBER_PORT: u16 = 7_848;

/// The settings of a member with a certificate of this authority for its address.
fn config(
    cluster: &Cluster,
    member: u8,
    authority: &Authority,
    change: impl FnOnce(&mut MemberTlsConfig),
) -> Config {
    let ip = cluster.ip(member);
    let own = authority.issue(&format!("member {member}"), &[&ip]);
    let place = |name: &str, text: &str| {
        write(&cluster.folder.path().join(format!("{name}-{member}")), text)
    };
    let mut config = cluster.config(member);
    config.cluster.bind_port = MEMBER_PORT;
    config.cluster.tls = MemberTlsConfig {
        mode: TlsMode::Required,
        connect: None,
        certificate: place("certificate", &own.chain),
        key: place("key", &own.key),
        ca: place("ca", &authority.pem),
    };
    change(&mut config.cluster.tls);
    config
}

fn register(server: &TestServer, service: &str) {
    let target = format!("instance?serviceName={service}&ip=10.0.0.1&port=80&ephemeral=true");
    assert_eq!(server.call("POST", &target).body, "ok");
}

fn hosts(server: &TestServer, service: &str) -> usize {
    let answer = server.get(&format!("instance/list?serviceName={service}"));
    match answer.status {
        200 => answer.json()["hosts"].as_array().unwrap().len(),
        _ => 0,
    }
}

/// A cluster of so many that are all started with what `config` gives.
fn start(count: u8, authority: &Authority) -> Cluster {
    let mut cluster = Cluster::start(0);
    cluster.list(0..count);
    for member in 0..count {
        let server = TestServer::start_at(config(&cluster, member, authority, |_| {}));
        cluster.members.push(Some(server));
    }
    cluster.wait_until_ready();
    cluster
}

fn address(cluster: &Cluster, member: u8, port: u16) -> SocketAddr {
    format!("{}:{port}", cluster.ip(member)).parse().unwrap()
}

#[test]
fn three_members_replicate_over_mutual_tls_and_a_stranger_is_refused() {
    let authority = Authority::new("members");
    let mut cluster = start(3, &authority);
    for (service, member) in [("a", 0), ("b", 1), ("c", 2)] {
        register(cluster.member(member), service);
    }
    for service in ["a", "b", "c"] {
        wait_for("all know it", || cluster.alive().all(|server| hosts(server, service) == 1));
    }
    cluster.wait_until_equal();
    // The usual port answers members no more, and the port for members is for those alone.
    let usual = address(&cluster, 0, 8_848);
    let refused = send(usual, "POST", "/distro/v1/hello", "", "");
    assert_eq!(refused.status, 403, "{refused:?}");
    assert!(refused.body.contains("TLS"), "{refused:?}");
    let own = address(&cluster, 0, MEMBER_PORT);
    assert_eq!(send(own, "POST", "/distro/v1/hello", "", "").status, 400);
    let nameless = TlsClient::new(&authority, None).ask(own, "/distro/v1/hello");
    assert!(nameless.unwrap_err().to_string().contains("CertificateRequired"));

    // It has the secret, the list and a certificate; but another authority signed that.
    cluster.take(2).kill();
    wait_for("the third is gone", || {
        cluster.alive().all(|server| server.get("/nacos/v1/ns/operator/metrics").status == 200)
    });
    let others = Authority::new("others");
    let with_own_ca = config(&cluster, 2, &others, |_| {});
    // The worse one trusts the others, so that nothing but their refusal stands between.
    let mut trusting = config(&cluster, 2, &others, |_| {});
    trusting.cluster.tls.ca =
        write(&cluster.folder.path().join("ca-of-all"), &(authority.pem.clone() + &others.pem));
    for (config, trusts) in [(with_own_ca, false), (trusting, true)] {
        let mut stranger = Err(String::new());
        wait_for("the address is free", || {
            stranger = TestServer::try_start_at(config.clone());
            stranger.is_ok()
        });
        let stranger = stranger.unwrap();
        let failed = "naming_tls_connections_total{port=\"members\",outcome=\"failed\"}";
        let count = |server: &TestServer| {
            let page = server.get("/metrics").body;
            let line = page.lines().find(|line| line.starts_with(failed)).unwrap();
            line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()
        };
        let before: Vec<u64> = cluster.alive().map(count).collect();
        wait_for("both sides refuse it", || {
            cluster.alive().zip(&before).all(|(server, before)| count(server) > before + 2)
                && count(&stranger) > 2
        });
        let dialed = metric(&stranger, "naming_tls_dials_failed_total");
        // Who trusts them is told by the first answer, after the handshake.
        assert_eq!(dialed.ends_with(" 0"), trusts, "{dialed}");
        let service = "of-members";
        register(cluster.member(0), service);
        wait_for("members know", || cluster.alive().all(|server| hosts(server, service) == 1));
        assert_eq!(hosts(&stranger, "a") + hosts(&stranger, service), 0, "it learns nothing");
        stranger.kill();
    }
}

#[test]
fn members_change_to_tls_one_by_one_and_nothing_is_missed() {
    let authority = Authority::new("members");
    let mut cluster = Cluster::start(0);
    cluster.list(0..3);
    let steps: [fn(&mut MemberTlsConfig); 4] = [
        |tls| *tls = MemberTlsConfig::default(),
        |tls| tls.mode = TlsMode::Compatibility,
        |tls| (tls.mode, tls.connect) = (TlsMode::Compatibility, Some(true)),
        |_| {},
    ];
    for member in 0..3 {
        let server = TestServer::start_at(config(&cluster, member, &authority, steps[0]));
        cluster.members.push(Some(server));
    }
    cluster.wait_until_ready();
    register(cluster.member(0), "first");
    wait_for("all know it", || cluster.alive().all(|server| hosts(server, "first") == 1));
    for (number, step) in steps.iter().enumerate().skip(1) {
        for member in 0..3 {
            cluster.take(member).stop();
            let mut server = Err(String::new());
            wait_for("the address is free", || {
                server = TestServer::try_start_at(config(&cluster, member, &authority, step));
                server.is_ok()
            });
            cluster.members[usize::from(member)] = Some(server.unwrap());
            // Members of two steps are one cluster.
            cluster.wait_until_ready();
            let service = format!("step-{number}-{member}");
            register(cluster.member(member), &service);
            wait_for("all know it", || cluster.alive().all(|server| hosts(server, &service) == 1));
            for server in cluster.alive() {
                let page = server.get("/metrics").body;
                let of_members = "naming_tls_connections_total{port=\"members\",outcome=";
                for failed in ["\"failed\"}", "\"plain_refused\"}", "\"late\"}"] {
                    let name = format!("{of_members}{failed}");
                    let line = page.lines().find(|line| line.starts_with(&name));
                    assert!(line.is_none_or(|line| line.ends_with(" 0")), "{line:?} in {service}");
                }
            }
        }
    }
    let plain = send(address(&cluster, 0, MEMBER_PORT), "POST", "/distro/v1/hello", "", "");
    assert_eq!(plain.status, 400, "the last step leaves TLS alone");
}

#[test]
fn members_take_a_new_authority_while_they_serve() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let cluster = start(2, &old);
    let place = |name: &str, member: u8, text: &str| {
        write(&cluster.folder.path().join(format!("{name}-{member}")), text)
    };
    let taken = |server: &TestServer| {
        let page = server.get("/metrics").body;
        let of = "naming_tls_reloads_total{keys=\"cluster.tls\",outcome=\"taken\"}";
        let line = page.lines().find(|line| line.starts_with(of)).unwrap().to_owned();
        line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()
    };
    let both = old.pem.clone() + &new.pem;
    let still_one = |what: &str| {
        register(cluster.member(0), what);
        wait_for(what, || cluster.alive().all(|server| hosts(server, what) == 1));
    };
    (0..2).for_each(|member| drop(place("ca", member, &both)));
    wait_for("both authorities", || cluster.alive().all(|server| taken(server) == 1));
    still_one("both-authorities");
    for member in 0..2 {
        let own = new.issue("renewed", &[&cluster.ip(member)]);
        place("key", member, &own.key);
        place("certificate", member, &own.chain);
    }
    wait_for("new certificates", || cluster.alive().all(|server| taken(server) >= 2));
    still_one("new-certificates");
    (0..2).for_each(|member| drop(place("ca", member, &new.pem)));
    wait_for("the new authority alone", || cluster.alive().all(|server| taken(server) >= 3));
    still_one("new-authority");
    // One that names another host is not taken: the others would refuse it.
    let of_another = new.issue("another", &["127.255.255.1"]);
    place("certificate", 0, &of_another.chain);
    place("key", 0, &of_another.key);
    wait_for("it is refused", || {
        let page = cluster.member(0).get("/metrics").body;
        let of = "naming_tls_reloads_total{keys=\"cluster.tls\",outcome=\"refused\"}";
        page.lines().any(|line| line.starts_with(of) && !line.ends_with(" 0"))
    });
    still_one("no-other-host");
}

#[test]
fn a_member_whose_certificate_names_another_host_does_not_start() {
    let authority = Authority::new("members");
    let cluster = Cluster::start(0);
    cluster.list(0..2);
    let mut config = config(&cluster, 0, &authority, |_| {});
    let of_another = authority.issue("another", &["127.255.255.1"]);
    config.cluster.tls.certificate =
        write(&cluster.folder.path().join("another"), &of_another.chain);
    config.cluster.tls.key = write(&cluster.folder.path().join("another-key"), &of_another.key);
    let refusal = TestServer::try_start_at(config).err().expect("it does not start");
    assert!(refusal.contains("cluster.tls.certificate"), "{refusal}");
    assert!(refusal.contains(&cluster.ip(0)), "{refusal}");
}
