//! Clients of 2.x and 3.x at a member of ours, of services that a Java server of 1.x owns.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::grpc_client::{Client, about};
use crate::java::Pace;
use crate::java::data::owner_index;
use crate::site::{Site, call, count, eventually, key, within};
use crate::{SECOND, count_of};

/// Time-outs so short that a beat that is left out shows at once.
fn hasty(ip: &str) -> Value {
    let times = json!({
        "preserved.heart.beat.interval": "500", "preserved.heart.beat.timeout": "3000",
        "preserved.ip.delete.timeout": "4000",
    });
    json!({"ip": ip, "port": 80, "weight": 1.0, "healthy": true, "enabled": true, "metadata": times})
}

/// The gRPC port of one of ours.
fn grpc(site: &Site, member: u8) -> SocketAddr {
    let mut address: SocketAddr = site.address(member).parse().unwrap();
    address.set_port(address.port() + 1_000);
    address
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

pub(crate) fn writes_over_later_apis_reach_their_java_owner() {
    let site = Site::start(2, 1, Pace::QUICK);
    let own = site.address(2);
    let instance = |service: &str| format!("serviceName={service}&ip=10.0.0.1&port=80");
    let ok = |method: &str, target: String| {
        let answer = call(&own, method, &target).unwrap();
        assert_eq!(answer.status, 200, "{method} {target}: {answer:?}");
    };
    let apis = ["/nacos/v2/ns/instance", "/nacos/v3/client/ns/instance"];
    for (api, service) in apis.iter().zip(site.services_of(0, 2)) {
        let (of, listed) = (instance(&service), || site.java(0).list(&key(&service)));
        ok("POST", format!("{api}?{of}&weight=2.5"));
        assert_eq!(listed().len(), 1, "{api}: the owner has it when the client has its answer");
        assert_eq!(count(&own, &service), 1, "{api}: the client reads its own write");
        let before = listed()[0].last_beat_ms;
        eventually("a beat is passed on", || {
            match api.contains("v3") {
                true => ok("POST", format!("{api}?{of}&heartBeat=true")),
                false => {
                    let beat = "%7B%22ip%22%3A%2210.0.0.1%22%2C%22port%22%3A80%7D";
                    let name = format!("DEFAULT_GROUP%40%40{service}");
                    ok("PUT", format!("{api}/beat?serviceName={name}&beat={beat}"));
                }
            }
            listed()[0].last_beat_ms > before
        });
        ok("PUT", format!("/nacos/v3/admin/ns/instance?{of}&weight=4"));
        assert_eq!(listed()[0].weight, 4.0, "{api}: what an operator sets is told");
        ok("DELETE", format!("{api}?{of}"));
        assert_eq!((listed().len(), count(&own, &service)), (0, 0), "{api}");
    }
    site.assert_no_fault();
}

pub(crate) fn what_a_connection_holds_at_java_lives_as_long_as_the_connection() {
    let site = Site::start(2, 1, Pace::QUICK);
    let (own, service) = (site.address(2), site.services_of(0, 1).remove(0));
    let runtime = runtime();
    let client = runtime.block_on(Client::set_up(grpc(&site, 2), "provider"));
    runtime.block_on(client.register(&service, hasty("10.0.0.1")));
    let began = Instant::now();
    while began.elapsed() < 12 * SECOND {
        assert_eq!(count_of(&site, 0, &service), 1, "{:?} after it", began.elapsed());
        assert_eq!(count(&own, &service), 1);
        thread::sleep(Duration::from_millis(100));
    }
    assert!(site.java(0).list(&key(&service))[0].healthy);
    // A removal by the client itself.
    runtime.block_on(client.register(&format!("{service}x"), hasty("10.0.0.2")));
    let leave = about(&service, "deregisterInstance", hasty("10.0.0.1"));
    runtime.block_on(client.ok("InstanceRequest", leave));
    assert_eq!((count_of(&site, 0, &service), count(&own, &service)), (0, 0));
    runtime.block_on(client.register(&service, hasty("10.0.0.1")));
    assert_eq!(count_of(&site, 0, &service), 1);
    runtime.block_on(client.die());
    within(3 * SECOND, "it is gone with its connection", || {
        count_of(&site, 0, &service) == 0 && count(&own, &service) == 0
    });
    site.assert_no_fault();
}

pub(crate) fn a_client_that_changes_connections_is_never_missing_at_java() {
    let site = Site::start(1, 2, Pace::QUICK);
    let service = site.services_of(0, 1).remove(0);
    let runtime = runtime();
    let mut client = runtime.block_on(Client::set_up(grpc(&site, 1), "provider"));
    runtime.block_on(client.register(&service, hasty("10.0.0.1")));
    for member in [2, 1, 1, 2] {
        // As SDKs do: they have a new connection before the server notices the end of the old one,
        // and register again a while later.
        let next = runtime.block_on(Client::set_up(grpc(&site, member), "provider"));
        runtime.block_on(client.die());
        client = next;
        let until = Instant::now() + 2 * SECOND;
        while Instant::now() < until {
            assert_eq!(count_of(&site, 0, &service), 1, "on its way to {member}");
            thread::sleep(Duration::from_millis(50));
        }
        runtime.block_on(client.register(&service, hasty("10.0.0.1")));
        let until = Instant::now() + 7 * SECOND;
        while Instant::now() < until {
            assert_eq!(count_of(&site, 0, &service), 1, "at {member}");
            thread::sleep(Duration::from_millis(50));
        }
    }
    site.assert_no_fault();
}

pub(crate) fn what_a_connection_holds_of_a_dead_java_ends_with_the_connection() {
    let mut site = Site::start(2, 1, Pace::QUICK);
    let own = site.address(2);
    let mut left = [site.address(1), site.address(2)];
    left.sort();
    let is_next = |name: &String| left[owner_index(&format!("DEFAULT_GROUP@@{name}"), 2)] == own;
    let service = site.services_of(0, 50).into_iter().find(is_next).expect("half of them");
    let runtime = runtime();
    let client = runtime.block_on(Client::set_up(grpc(&site, 2), "provider"));
    let mut calm = hasty("10.0.0.1");
    calm["metadata"] = json!({});
    runtime.block_on(client.register(&service, calm));
    site.javas.remove(&0).unwrap().kill();
    let is_reclaimed = || {
        assert_eq!(count(&own, &service), 1);
        let page = call(&own, "GET", "/metrics").unwrap().body;
        page.contains("naming_grpc_reasserted_total 1")
    };
    within(30 * SECOND, "the connection holds it again", is_reclaimed);
    runtime.block_on(client.die());
    within(3 * SECOND, "it is gone with its connection", || count(&own, &service) == 0);
    within(20 * SECOND, "at Java, too", || count_of(&site, 1, &service) == 0);
    site.assert_no_fault();
}
