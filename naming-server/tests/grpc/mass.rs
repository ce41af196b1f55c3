//! Many clients lose their member at once: all are back within ten seconds, and none is missing.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::client::{Client, instance};
use crate::server_support::members::Cluster;
use crate::server_support::{send, wait_for_within};

/// Of an SDK of Java, whose timer looks so often whether something is to be registered again.
const REDO_PERIOD: Duration = Duration::from_secs(3);
const BACK_WITHIN: Duration = Duration::from_secs(10);
/// Instances of one service.
const PER_SERVICE: usize = 250;

fn service(n: usize) -> String {
    format!("s{}", n / PER_SERVICE)
}

fn ip(n: usize) -> String {
    format!("10.{}.{}.{}", n >> 16, n >> 8 & 255, n & 255)
}

/// All addresses that a member lists.
fn listed(address: SocketAddr, clients: usize) -> BTreeSet<String> {
    let services = (0..clients.div_ceil(PER_SERVICE)).map(|n| format!("s{n}"));
    let hosts = services.flat_map(|service| {
        let target = format!("instance/list?serviceName={service}");
        let list = send(address, "GET", &target, "", "").json();
        let hosts = list["hosts"].as_array().cloned().unwrap_or_default();
        hosts.into_iter().map(|host| host["ip"].as_str().unwrap().to_owned())
    });
    hosts.collect()
}

/// Where a client connects, and what it has done.
struct Site {
    members: Vec<SocketAddr>,
    /// How often a connection has registered its instance.
    registrations: AtomicUsize,
    is_over: AtomicBool,
}

/// A client that is first at the last member, and at any of the others when that has gone.
async fn lives(site: Arc<Site>, n: usize) {
    let (last, others) = site.members.split_last().unwrap();
    let mut address = *last;
    loop {
        let mut client = Client::set_up(address, &format!("client {n}")).await;
        if address != *last {
            // Its timer fires at any time.
            tokio::time::sleep(REDO_PERIOD.mul_f64((n % 100) as f64 / 100.0)).await;
        }
        client.register(&service(n), instance(&ip(n))).await;
        site.registrations.fetch_add(1, Relaxed);
        while let Some(told) = client.asked_whenever().await {
            client.ack(&told);
        }
        if site.is_over.load(Relaxed) {
            return;
        }
        address = others[n % others.len()];
    }
}

async fn all_are_back_in_time(clients: usize) {
    let mut cluster = Cluster::start(3);
    let http: Vec<_> = cluster.alive().map(|server| server.address).collect();
    let members = cluster.alive().map(|server| server.grpc.unwrap()).collect();
    let site = Arc::new(Site {
        members,
        registrations: AtomicUsize::new(0),
        is_over: AtomicBool::new(false),
    });
    let patience = Duration::from_secs(300);
    let tasks: Vec<_> = (0..clients).map(|n| tokio::spawn(lives(Arc::clone(&site), n))).collect();
    wait_for_within(patience, "all are listed by the members that stay", || {
        http[..2].iter().all(|address| listed(*address, clients).len() == clients)
    });
    // Its machine is gone with all its connections; the kernel closes them.
    cluster.take(2).kill();
    let killed = Instant::now();
    let mut missing = 0;
    while site.registrations.load(Relaxed) < 2 * clients {
        missing += http[..2].iter().map(|one| clients - listed(*one, clients).len()).sum::<usize>();
        assert!(killed.elapsed() < patience, "{} are back", site.registrations.load(Relaxed));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let took = killed.elapsed();
    assert!(took < BACK_WITHIN, "it took {took:?}");
    // What lives by its lease alone would be gone by now.
    let until = Instant::now() + Duration::from_secs(5);
    while Instant::now() < until {
        missing += http[..2].iter().map(|one| clients - listed(*one, clients).len()).sum::<usize>();
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(missing, 0, "nobody is missing in any list");
    site.is_over.store(true, Relaxed);
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn clients_that_lose_their_member_at_once_are_back_and_never_missing() {
    all_are_back_in_time(200).await;
}

/// Takes 20,000 open files, and a machine that is not busy.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "takes a minute and 20,000 open files"]
async fn ten_thousand_clients_that_lose_their_member_at_once_are_back_in_ten_seconds() {
    all_are_back_in_time(10_000).await;
}
