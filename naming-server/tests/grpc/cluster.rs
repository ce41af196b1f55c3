//! Clients of 2.x and several members.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::client::{Client, instance};
use crate::server_support::members::Cluster;
use crate::server_support::{send, wait_for};

fn count(address: std::net::SocketAddr, service: &str) -> usize {
    let target = format!("instance/list?serviceName={service}");
    let list = send(address, "GET", &target, "", "").json();
    list["hosts"].as_array().map_or(0, Vec::len)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_end_is_seen_on_every_member_and_a_client_that_moves_is_never_missing() {
    let mut cluster = Cluster::start(3);
    let http: Vec<_> = cluster.alive().map(|server| server.address).collect();
    let grpc: Vec<_> = cluster.alive().map(|server| server.grpc.unwrap()).collect();

    let client = Client::set_up(grpc[0], "one").await;
    for n in 0..8 {
        client.register(&format!("s{n}"), instance("10.0.0.1")).await;
    }
    let all = |services: std::ops::Range<usize>, wanted: usize| {
        http.iter()
            .all(|address| services.clone().all(|n| count(*address, &format!("s{n}")) == wanted))
    };
    wait_for("all members know", || all(0..8, 1));
    client.die().await;
    let ended = Instant::now();
    wait_for("all members know of the end", || all(0..8, 0));
    assert!(ended.elapsed() < Duration::from_secs(4), "{:?}", ended.elapsed());

    // Another client changes servers: it is back 2 s later, as from a timer.
    let client = Client::set_up(grpc[1], "two").await;
    client.register("moving", instance("10.0.0.2")).await;
    wait_for("all members know", || http.iter().all(|address| count(*address, "moving") == 1));
    let (is_over, missing) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let watchers: Vec<_> = http
        .iter()
        .map(|address| {
            let (address, is_over, missing) =
                (*address, Arc::clone(&is_over), Arc::clone(&missing));
            std::thread::spawn(move || {
                while !is_over.load(Relaxed) {
                    missing.fetch_add(1 - count(address, "moving").min(1), Relaxed);
                    std::thread::sleep(Duration::from_millis(10));
                }
            })
        })
        .collect();
    client.die().await;
    let client = Client::set_up(grpc[2], "two").await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    client.register("moving", instance("10.0.0.2")).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    is_over.store(true, Relaxed);
    watchers.into_iter().for_each(|watcher| watcher.join().unwrap());
    assert_eq!(missing.load(Relaxed), 0, "a client that changes servers is never missing");

    // A member that dies with its connections ends nothing.
    cluster.take(2).kill();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(http[..2].iter().all(|address| count(*address, "moving") == 1));
}
