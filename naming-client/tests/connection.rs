//! What is peculiar to gRPC: one connection that carries everything, and moves.
#![cfg(feature = "grpc")]

mod support;

use std::time::Duration;

use naming_client::{
    ClientBuilder, EmptyPolicy, Error, Instance, NamingClient, ServiceName, Transport,
};
use serde_json::json;
use support::fake_grpc::{FakeGrpc, Reply, list};
use support::proxy::Proxy;
use support::real::RealServer;
use support::{client_over, eventually, next, ports};
use tokio::time::Instant;

const SOON: Duration = Duration::from_secs(10);

fn client<A: ToString>(servers: impl IntoIterator<Item = A>) -> ClientBuilder {
    client_over(Transport::Grpc, servers)
}

fn auto<A: ToString>(servers: impl IntoIterator<Item = A>) -> ClientBuilder {
    client_over(Transport::Auto, servers)
}

async fn listed(observer: &NamingClient, service: &str) -> usize {
    observer.instances(service).await.map_or(0, |list| list.len())
}

fn many(service: &str, ports: std::ops::RangeInclusive<u16>) -> Vec<(ServiceName, Instance)> {
    let service: ServiceName = service.parse().unwrap();
    ports.map(|port| (service.clone(), Instance::new("10.0.0.1", port))).collect()
}

#[tokio::test]
async fn a_change_comes_over_the_stream_long_before_the_next_poll() {
    let server = RealServer::start();
    let provider = client([server.address()]).build().await.unwrap();
    let consumer = client([server.address()]).empty_policy(EmptyPolicy::Believe);
    let consumer = consumer.build().await.unwrap();
    let mut near = {
        let query = naming_client::ServiceQuery::try_from("s").unwrap();
        consumer.subscribe(query.clusters(["near"]).unwrap()).await.unwrap()
    };
    let mut all = consumer.subscribe("s").await.unwrap();
    let there = Instance::new("10.0.0.1", 1).cluster("near");
    let first = provider.register("s", there).await.unwrap();
    let _second = provider.register("s", Instance::new("10.0.0.1", 2)).await.unwrap();
    let limit = Duration::from_secs(5);
    assert_eq!(ports(&next(&mut near, limit).await.added), [1]);
    while all.instances().len() < 2 {
        next(&mut all, limit).await;
    }
    first.close().await.unwrap();
    assert_eq!(ports(&next(&mut near, limit).await.removed), [1]);
    assert_eq!(ports(&next(&mut all, limit).await.removed), [1]);
    // A subscription that is over, and begun again, is told as well.
    drop(all);
    let mut again = consumer.subscribe("s").await.unwrap();
    let _third = provider.register("s", Instance::new("10.0.0.1", 3)).await.unwrap();
    while !ports(again.instances().all()).contains(&3) {
        next(&mut again, limit).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_instances_of_one_service_are_kept_changed_and_ended_over_one_connection() {
    let server = RealServer::start();
    let client = client([server.address()]).build().await.unwrap();
    let observer = auto([server.address()]).build().await.unwrap();
    let results = client.register_all(many("s", 1..=1_000)).await;
    let mut guards: Vec<_> = results.into_iter().map(Result::unwrap).collect();
    assert_eq!(listed(&observer, "s").await, 1_000);
    guards[7].update(|instance| instance.weight = 7.0).await.unwrap();
    let list = observer.instances("s").await.unwrap();
    assert_eq!((list.len(), list.all()[7].weight), (1_000, 7.0), "the others stay as they are");
    guards.pop().unwrap().close().await.unwrap();
    assert_eq!(listed(&observer, "s").await, 999);
    client.shutdown().await;
    assert_eq!(listed(&observer, "s").await, 0);
}

#[tokio::test]
async fn of_many_registered_together_only_the_bad_ones_are_refused() {
    let server = RealServer::start();
    let client = client([server.address()]).build().await.unwrap();
    let mut instances = many("s", 1..=50);
    // More than servers take over gRPC.
    for bad in [3, 17, 18] {
        let instance = &mut instances[bad].1;
        *instance = instance.clone().metadata("long", "x".repeat(2_000));
    }
    let results = client.register_all(instances).await;
    let refused: Vec<usize> =
        results.iter().enumerate().filter(|(_, one)| one.is_err()).map(|(at, _)| at).collect();
    assert_eq!(refused, [3, 17, 18]);
    let error = results[3].as_ref().unwrap_err();
    assert!(matches!(error, Error::Refused { status: 400, .. }), "{error}");
    assert_eq!(listed(&client, "s").await, 47);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_is_back_soon_after_a_restart() {
    let mut server = RealServer::start();
    let client = client([server.address()]).build().await.unwrap();
    let mut instances = many("one", 1..=500);
    for number in 0..500 {
        instances.extend(many(&format!("s-{number}"), 1..=1));
    }
    let guards = client.register_all(instances).await;
    assert!(guards.iter().all(Result::is_ok));
    let mut subscription = client.subscribe("watched").await.unwrap();
    server.restart();
    let observer = auto([server.address()]).build().await.unwrap();
    let back = || async {
        listed(&observer, "one").await == 500
            && listed(&observer, "s-0").await == 1
            && listed(&observer, "s-499").await == 1
    };
    eventually("all are back", Duration::from_secs(20), back).await;
    // The subscription is back as well.
    let _guard = observer.register("watched", Instance::new("10.0.0.1", 9)).await.unwrap();
    assert_eq!(ports(&next(&mut subscription, SOON).await.added), [9]);
}

#[tokio::test]
async fn a_server_that_dies_is_left_for_another_with_everything() {
    let servers = [RealServer::start(), RealServer::start()];
    let client = client(servers.iter().map(RealServer::address)).build().await.unwrap();
    let _guard = client.register("s", Instance::new("10.0.0.1", 1)).await.unwrap();
    let preferred = client.servers()[0].clone();
    let (dead, alive) = match servers[0].address() == preferred {
        true => (&servers[0], &servers[1]),
        false => (&servers[1], &servers[0]),
    };
    dead.kill();
    let observer = auto([alive.address()]).build().await.unwrap();
    let moved = || async { listed(&observer, "s").await == 1 };
    eventually("it is registered there", SOON, moved).await;
    // The application notices nothing.
    client.register("t", Instance::new("10.0.0.1", 2)).await.unwrap();
}

#[tokio::test]
async fn a_connection_that_went_dead_is_given_up_and_replaced() {
    let servers = [RealServer::start(), RealServer::start()];
    let proxy = Proxy::start(servers[0].address()).await;
    let first = client([proxy.address()]).build().await.unwrap();
    let _guard = first.register("s", Instance::new("10.0.0.1", 1)).await.unwrap();
    let observer = auto([servers[0].address()]).build().await.unwrap();
    assert_eq!(listed(&observer, "s").await, 1);
    proxy.hold_up();
    let lost = Instant::now();
    // A call finds out before the next health check; it fails within its time-outs.
    let error = first.register("t", Instance::new("10.0.0.1", 2)).await.unwrap_err();
    assert!(matches!(error, Error::NoServer { .. }), "{error}");
    assert!(lost.elapsed() < Duration::from_secs(6), "{:?}", lost.elapsed());
    proxy.open();
    let works = || async { first.instances("s").await.is_ok_and(|list| !list.is_stale()) };
    eventually("it works again", SOON, works).await;
    let back = || async { listed(&observer, "s").await == 1 };
    eventually("the instance is there", SOON, back).await;
}

#[tokio::test]
async fn an_instance_that_somebody_else_took_out_comes_back() {
    let server = RealServer::start();
    let first = client([server.address()]).build().await.unwrap();
    let guard = first.register("s", Instance::new("10.0.0.1", 1)).await.unwrap();
    let other = client([server.address()]).build().await.unwrap();
    other.register("s", Instance::new("10.0.0.1", 1)).await.unwrap().close().await.unwrap();
    let back = || async { guard.status().registrations >= 2 && listed(&other, "s").await == 1 };
    eventually("it is registered again", Duration::from_secs(30), back).await;
}

#[tokio::test]
async fn a_client_follows_servers_from_http_to_grpc_and_back() {
    let mut server = RealServer::start_old();
    let client = auto([server.address()]).build().await.unwrap();
    let guard = client.register("s", Instance::new("10.0.0.1", 1)).await.unwrap();
    let mut subscription = client.subscribe("s").await.unwrap();
    assert_eq!(client.status().transport, Some(Transport::Http));
    server.restart();
    let observer = auto([server.address()]).build().await.unwrap();
    let is = |transport| {
        let (client, observer) = (client.clone(), observer.clone());
        move || {
            let (client, observer) = (client.clone(), observer.clone());
            async move {
                client.status().transport == Some(transport) && listed(&observer, "s").await == 1
            }
        }
    };
    eventually("it speaks gRPC", Duration::from_secs(40), is(Transport::Grpc)).await;
    let other = observer.register("s", Instance::new("10.0.0.1", 2)).await.unwrap();
    while subscription.instances().len() < 2 {
        next(&mut subscription, SOON).await;
    }
    drop(other);
    server.restart_with(|config| config.grpc.port = Some(0));
    eventually("it speaks HTTP again", Duration::from_secs(40), is(Transport::Http)).await;
    guard.update(|instance| instance.weight = 2.0).await.unwrap();
    assert_eq!(client.instances("s").await.unwrap().all()[0].weight, 2.0);
}

#[tokio::test]
async fn a_server_that_wants_its_clients_elsewhere_is_left() {
    let servers = [
        FakeGrpc::start(true, |_| Reply::Usual).await,
        FakeGrpc::start(true, |_| Reply::Usual).await,
    ];
    let client = client(servers.iter().map(FakeGrpc::address)).build().await.unwrap();
    let _guard = client.register("s", Instance::new("10.0.0.1", 1)).await.unwrap();
    let _subscription = client.subscribe("t").await.unwrap();
    let (here, there) = match servers[0].count("InstanceRequest") {
        1 => (&servers[0], &servers[1]),
        _ => (&servers[1], &servers[0]),
    };
    assert_eq!(there.count("InstanceRequest"), 0);
    here.tell("ConnectResetRequest", json!({"requestId": "7", "headers": {}}));
    let moved = || async {
        there.count("InstanceRequest") == 1 && there.count("SubscribeServiceRequest") >= 1
    };
    eventually("it has moved with everything", SOON, moved).await;
    let answer = here.heard().into_iter().find(|heard| heard.kind == "ConnectResetResponse");
    assert_eq!(answer.unwrap().body["requestId"], "7");
    here.stop();
    client.register("s", Instance::new("10.0.0.1", 2)).await.unwrap();
    assert_eq!(there.heard().last().unwrap().kind, "BatchInstanceRequest");
}

#[test]
fn a_server_finds_the_client_alive_while_the_application_starves_its_runtime() {
    let fakes = tokio::runtime::Runtime::new().unwrap();
    let server = fakes.block_on(FakeGrpc::start(true, |_| Reply::Usual));
    let application = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    application.block_on(async {
        let client = client([server.address()]).build().await.unwrap();
        let mut subscription = client.subscribe("s").await.unwrap();
        server.tell("ClientDetectionRequest", json!({"requestId": "8"}));
        let push = json!({"requestId": "9", "serviceInfo": list(&json!("s"), &[4])});
        server.tell("NotifySubscriberRequest", push);
        // The application does not let its runtime run.
        let end = std::time::Instant::now() + SOON;
        while server.count("NotifySubscriberResponse") == 0 {
            assert!(std::time::Instant::now() < end, "no answer while the runtime stands still");
            std::thread::sleep(Duration::from_millis(5));
        }
        let answer = server.heard().into_iter().find(|one| one.kind == "ClientDetectionResponse");
        let answer = answer.expect("questions are answered in their order").body;
        assert_eq!((&answer["requestId"], &answer["resultCode"]), (&json!("8"), &json!(200)));
        assert_eq!(ports(subscription.instances().all()), [4]);
        assert_eq!(next(&mut subscription, SOON).await.added.len(), 1);
    });
}

#[tokio::test]
async fn servers_before_2_3_are_spoken_to_without_negotiation() {
    let server = FakeGrpc::start(false, |_| Reply::Usual).await;
    let client = client([server.address()]).build().await.unwrap();
    client.register("s", Instance::new("10.0.0.1", 1)).await.unwrap();
    assert_eq!(server.count("InstanceRequest"), 1);
}

#[tokio::test]
async fn a_server_that_has_lost_the_connection_is_connected_to_anew() {
    // Whoever came first is forgotten.
    let server = FakeGrpc::start(true, |heard| match heard.kind.as_str() {
        "InstanceRequest" if heard.connection == 1 => {
            Reply::Say("ErrorResponse", json!({"resultCode": 500, "errorCode": 301}))
        }
        _ => Reply::Usual,
    })
    .await;
    let client = client([server.address()]).build().await.unwrap();
    let _guard = client.register("s", Instance::new("10.0.0.1", 1)).await.unwrap();
    let connections: Vec<usize> = server
        .heard()
        .iter()
        .filter(|heard| heard.kind == "InstanceRequest")
        .map(|heard| heard.connection)
        .collect();
    assert_eq!(connections, [1, 2]);
}

#[tokio::test]
async fn a_slow_server_costs_a_call_its_time_and_no_more() {
    let server = FakeGrpc::start(true, |heard| match heard.kind.as_str() {
        "ServiceQueryRequest" => Reply::Hang,
        _ => Reply::Usual,
    })
    .await;
    let client = client([server.address()]).build().await.unwrap();
    let start = Instant::now();
    let error = client.instances("s").await.unwrap_err();
    assert!(matches!(error, Error::NoServer { .. }) && error.may_have_had_effect(), "{error}");
    assert!(start.elapsed() < Duration::from_millis(4_500), "{:?}", start.elapsed());
    // Its health is fine, so the connection stays.
    client.register("s", Instance::new("10.0.0.1", 1)).await.unwrap();
    assert!(server.heard().iter().all(|heard| heard.connection == 1));
}

#[tokio::test]
async fn refusals_are_typed_and_not_repeated() {
    let server = FakeGrpc::start(true, |heard| match heard.kind.as_str() {
        "InstanceRequest" => Reply::Fail(400, "Param check invalid: no"),
        "ServiceQueryRequest" => Reply::Fail(403, "authorization failed!"),
        _ => Reply::Usual,
    })
    .await;
    let client = client([server.address()]).build().await.unwrap();
    let error = client.register("s", Instance::new("10.0.0.1", 1)).await.unwrap_err();
    assert!(
        matches!(&error, Error::Refused { status: 400, message, .. } if message.contains("no"))
    );
    assert!(!error.may_have_had_effect());
    assert_eq!(server.count("InstanceRequest"), 1);
    let error = client.instances("s").await.unwrap_err();
    assert!(matches!(error, Error::Refused { status: 403, .. }), "{error}");
    assert_eq!(client.load().registrations, 0);
}

#[tokio::test]
async fn a_service_that_is_not_taken_over_grpc_is_registered_over_http() {
    // As beside members of 1.x: what a server of theirs owns lives by beats.
    let real = RealServer::start_old();
    let fake = FakeGrpc::start(true, |heard| match heard.kind.as_str() {
        "InstanceRequest" => Reply::Fail(501, "a member of 1.x owns the service"),
        _ => Reply::Usual,
    })
    .await;
    let client = auto([fake.address(), real.address()]).build().await.unwrap();
    let speaks = || async { client.status().transport == Some(Transport::Grpc) };
    eventually("it speaks gRPC", Duration::from_secs(30), speaks).await;
    let instance = Instance::new("10.0.0.1", 1).metadata("preserved.heart.beat.interval", "200");
    let guard = client.register("s", instance).await.unwrap();
    let observer = client_over(Transport::Http, [real.address()]).build().await.unwrap();
    assert_eq!(listed(&observer, "s").await, 1);
    let beats = || async { guard.status().beat_interval == Duration::from_millis(200) };
    eventually("it beats", SOON, beats).await;
    guard.close().await.unwrap();
    assert_eq!(listed(&observer, "s").await, 0);
}

#[tokio::test]
async fn services_are_watched_by_a_pattern_over_either_transport() {
    for over in [Transport::Grpc, Transport::Http] {
        let server = RealServer::start();
        let provider = client([server.address()]).build().await.unwrap();
        let _first =
            provider.register("shop@@order-1", Instance::new("10.0.0.1", 1)).await.unwrap();
        let _other = provider.register("shop@@cart", Instance::new("10.0.0.1", 1)).await.unwrap();
        let client = client_over(over, [server.address()]).build().await.unwrap();
        let mut watch = client.watch_services("shop@@order-*").await.unwrap();
        let names = |list: &[ServiceName]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(names(&watch.services()), ["shop@@order-1"], "{over}");
        let second = format!("shop@@order-{over}");
        let _second =
            provider.register(second.as_str(), Instance::new("10.0.0.1", 2)).await.unwrap();
        let change = tokio::time::timeout(SOON, watch.changed()).await.unwrap().unwrap();
        assert_eq!((names(&change.added), change.removed.len()), (vec![second], 0));
        client.shutdown().await;
        assert_eq!(watch.changed().await, None, "{over}");
    }
}

#[tokio::test]
async fn a_watch_outlives_the_restart_of_its_server() {
    let mut server = RealServer::start();
    let provider = client([server.address()]).build().await.unwrap();
    let client = client([server.address()]).build().await.unwrap();
    let mut watch = client.watch_services("*").await.unwrap();
    assert!(watch.services().is_empty());
    server.restart();
    let _guard = provider.register("s", Instance::new("10.0.0.1", 1)).await.unwrap();
    let change = tokio::time::timeout(SOON, watch.changed()).await.unwrap().unwrap();
    assert_eq!(change.added, ["s".parse::<ServiceName>().unwrap()]);
}
