//! Protection against empty lists.

use std::time::{Duration, Instant};

use naming_server::{Config, RegistryConfig};
use serde_json::{Value, json};

use crate::client::{Client, about, instance};
use crate::server_support::{TestServer, wait_for};

fn listed(server: &TestServer, service: &str) -> usize {
    let list = server.get(&format!("instance/list?serviceName={service}")).json();
    list["hosts"].as_array().unwrap().len()
}

fn events(server: &TestServer, service: &str) -> Vec<String> {
    let page = server.get(&format!("operator/events?serviceName={service}")).json();
    let events = page["events"].as_array().unwrap().iter().rev();
    events.map(|event| event["event"].as_str().unwrap().to_owned()).collect()
}

fn protecting(seconds: u64) -> TestServer {
    let registry =
        RegistryConfig { empty_protection_seconds: seconds, ..RegistryConfig::default() };
    TestServer::start_with(Config { registry, ..Config::default() })
}

/// What comes next, and the moment of it.
async fn pushed(subscriber: &mut Client, hosts: usize) -> (Value, Instant) {
    (subscriber.until_pushed(hosts).await, Instant::now())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_list_is_held_when_all_have_died_and_not_when_they_left() {
    let server = protecting(4);
    let address = server.grpc.unwrap();
    let mut subscriber = Client::set_up(address, "subscriber").await;
    subscriber.subscribe("s").await;
    let provider = Client::set_up(address, "provider").await;
    provider.register("s", instance("10.0.0.1")).await;
    subscriber.until_pushed(1).await;
    provider.die().await;
    let died = Instant::now();
    wait_for("it has lapsed", || events(&server, "s").contains(&"held".to_owned()));
    assert_eq!((listed(&server, "s"), subscriber.hosts("s").await.len()), (1, 1));
    let (_, at) = pushed(&mut subscriber, 0).await;
    let held = at - died;
    assert!((Duration::from_secs(4)..Duration::from_secs(8)).contains(&held), "{held:?}");
    assert_eq!((listed(&server, "s"), subscriber.hosts("s").await.len()), (0, 0));
    let mut noted = events(&server, "s");
    assert_eq!(noted.pop().as_deref(), Some("released"));
    noted.sort();
    assert_eq!(noted, ["held", "lapsed", "registered"]);
    // Those that leave are gone at once.
    let provider = Client::set_up(address, "other").await;
    provider.register("s", instance("10.0.0.2")).await;
    subscriber.until_pushed(1).await;
    provider.ok("InstanceRequest", about("s", "deregisterInstance", instance("10.0.0.2"))).await;
    assert_eq!((listed(&server, "s"), subscriber.hosts("s").await.len()), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_held_makes_way_for_who_comes_and_for_the_word_of_an_operator() {
    let server = protecting(600);
    let address = server.grpc.unwrap();
    let both = Client::set_up(address, "both").await;
    let batch = json!({"serviceName": "s", "type": "batchRegisterInstance",
        "instances": [instance("10.0.0.1"), instance("10.0.0.2")]});
    both.ok("BatchInstanceRequest", batch).await;
    both.die().await;
    wait_for("both have lapsed", || {
        events(&server, "s").iter().filter(|event| *event == "lapsed").count() == 2
    });
    let reader = Client::set_up(address, "reader").await;
    assert!(listed(&server, "s") >= 1, "the last list is shown");
    let next = Client::set_up(address, "next").await;
    next.register("s", instance("10.0.0.3")).await;
    assert_eq!(reader.hosts("s").await, ["10.0.0.3"]);
    next.die().await;
    wait_for("it is held", || events(&server, "s").iter().filter(|e| *e == "held").count() >= 2);
    assert_eq!(reader.hosts("s").await, ["10.0.0.3"]);
    assert_eq!(server.call("DELETE", "service?serviceName=s").status, 200);
    assert_eq!((listed(&server, "s"), reader.hosts("s").await.len()), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_says_for_itself_whether_it_is_protected() {
    let server = TestServer::start();
    let address = server.grpc.unwrap();
    let metadata = "%7B%22preserved.empty.protection.seconds%22%3A%22600%22%7D";
    let made = server.call("POST", &format!("service?serviceName=held&metadata={metadata}"));
    assert_eq!(made.status, 200);
    let provider = Client::set_up(address, "provider").await;
    for service in ["held", "bare"] {
        provider.register(service, instance("10.0.0.1")).await;
    }
    provider.die().await;
    wait_for("both have lapsed", || {
        ["held", "bare"].iter().all(|name| events(&server, name).contains(&"lapsed".to_owned()))
    });
    assert_eq!((listed(&server, "held"), listed(&server, "bare")), (1, 0));
}
