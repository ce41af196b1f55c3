//! Connections are shared out among the members by themselves, and nobody is missing meanwhile.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use crate::client::{Client, instance};
use crate::server_support::members::Cluster;
use crate::server_support::{send, wait_for_within};

/// As many clients as there are instances, all at the first member.
const CLIENTS: usize = 60;

fn connections(address: SocketAddr) -> u64 {
    let target = "/nacos/v3/admin/core/loader/cluster";
    let load = send(address, "GET", target, "", "").json();
    load["data"]["detail"][0]["sdkConCount"].as_u64().unwrap_or_else(|| panic!("{load}"))
}

/// One instance, whose client goes elsewhere when it is asked to, or only when its connection is
/// closed, and registers again a moment later. The next member is any of them, in turns.
async fn lives(members: Vec<SocketAddr>, n: usize, is_over: Arc<AtomicBool>) {
    let obeys = !n.is_multiple_of(3);
    let mut at = 0;
    while !is_over.load(Relaxed) {
        let mut client = Client::set_up(members[at], &format!("client {n}")).await;
        if at > 0 {
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
        client.register("s", instance(&format!("10.0.0.{n}"))).await;
        loop {
            match tokio::time::timeout(Duration::from_millis(300), client.asked_whenever()).await {
                Err(_) if is_over.load(Relaxed) => return,
                Err(_) => {}
                Ok(None) => break,
                Ok(Some((kind, _))) if kind == "ConnectResetRequest" && obeys => break,
                Ok(Some(told)) => client.ack(&told),
            }
        }
        at = 1 + (at + n) % (members.len() - 1);
        // The connection that it leaves is closed once the new one is there.
        let old = client;
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(500)).await;
            old.die().await;
        });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_member_that_has_too_many_clients_sends_some_away_and_nobody_is_missing() {
    let cluster = Cluster::start(3);
    let http: Vec<_> = cluster.alive().map(|server| server.address).collect();
    let grpc: Vec<_> = cluster.alive().map(|server| server.grpc.unwrap()).collect();
    let is_over = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> =
        (0..CLIENTS).map(|n| tokio::spawn(lives(grpc.clone(), n, Arc::clone(&is_over)))).collect();
    let listed = |address: SocketAddr| {
        let list = send(address, "GET", "instance/list?serviceName=s", "", "").json();
        list["hosts"].as_array().map_or(0, Vec::len)
    };
    let patience = Duration::from_secs(120);
    wait_for_within(patience, "all are there", || {
        http.iter().all(|address| listed(*address) == CLIENTS)
    });
    let missing = AtomicUsize::new(0);
    let most = (CLIENTS as u64 * 5).div_ceil(12);
    wait_for_within(patience, "the first member has its share", || {
        let lacks = http.iter().map(|address| CLIENTS - listed(*address)).sum::<usize>();
        missing.fetch_add(lacks, Relaxed);
        connections(http[0]) <= most
    });
    assert_eq!(missing.load(Relaxed), 0, "clients that are sent away are never missing");
    let page = send(http[0], "GET", "/metrics", "", "").body;
    let moved = page.lines().find_map(|line| line.strip_prefix("naming_grpc_moved_total "));
    assert!(moved.unwrap().parse::<u64>().unwrap() >= CLIENTS as u64 - most, "{moved:?}");
    is_over.store(true, Relaxed);
    for client in clients {
        client.await.unwrap();
    }
}
