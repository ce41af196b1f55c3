//! Registrations against servers of this project: kept alive, brought back, moved, ended.

mod support;

use std::time::{Duration, Instant as StdInstant};

use naming_client::{ClientBuilder, Error, Instance, NamingClient, ServiceName, Transport};
use support::fake::{Action, FakeServer};
use support::real::RealServer;
use support::{client, client_over, eventually};

const SOON: Duration = Duration::from_secs(5);

/// An instance that beats ten times a second and is gone after 2 s without a beat.
fn quick(port: u16) -> Instance {
    Instance::new("10.0.0.1", port)
        .metadata("preserved.heart.beat.interval", "100")
        .metadata("preserved.heart.beat.timeout", "1000")
        .metadata("preserved.ip.delete.timeout", "2000")
}

/// A client of its own, which sees only what the registry tells.
fn other_client(server: &RealServer) -> ClientBuilder {
    client([server.address()])
}

async fn listed(observer: &NamingClient, service: &str) -> usize {
    observer.instances(service).await.map_or(0, |list| list.len())
}

over_both!(
    a_registration_is_seen_updated_and_closed,
    a_persistent_instance_needs_no_beats_and_stays_until_it_is_closed,
    the_same_instance_is_registered_once_and_again_after_its_end,
    a_server_that_forgot_the_instance_gets_it_again,
    all_instances_are_back_after_a_restart_without_the_application_doing_anything,
    closing_twice_dropping_late_and_shutting_down_are_harmless,
    a_guard_keeps_the_client_going_and_the_last_handle_ends_it,
    an_instance_is_closed_for_calls_before_it_leaves,
);

async fn a_registration_is_seen_updated_and_closed(over: Transport) {
    let server = RealServer::start();
    let client = client_over(over, [server.address()]).build().await.unwrap();
    let registration = client
        .register("shop@@orders", Instance::new("10.0.0.1", 80).metadata("zone", "a"))
        .await
        .unwrap();
    let seen = || async { client.instances("shop@@orders").await.unwrap() };
    assert_eq!(seen().await.all(), [registration.instance()]);

    registration
        .update(|instance| {
            instance.weight = 3.0;
            instance.metadata.insert("zone".to_owned(), "b".to_owned());
        })
        .await
        .unwrap();
    let list = seen().await;
    assert_eq!((list.len(), list.all()[0].weight), (1, 3.0));
    assert_eq!(list.all()[0].metadata["zone"], "b");
    let error = registration.update(|instance| instance.port = 81).await.unwrap_err();
    assert!(matches!(error, Error::Identity { .. }));
    assert!(registration.update(|instance| instance.weight = -1.0).await.is_err());
    assert_eq!(registration.instance().weight, 3.0, "a refused update changes nothing");

    registration.close().await.unwrap();
    assert!(seen().await.is_empty());
    assert_eq!(client.load().registrations, 0);
}

async fn a_persistent_instance_needs_no_beats_and_stays_until_it_is_closed(over: Transport) {
    let server = RealServer::start();
    let client = client_over(over, [server.address()]).build().await.unwrap();
    let registration = client.register("s", quick(80).ephemeral(false)).await.unwrap();
    // An ephemeral one would have expired by then.
    let end = StdInstant::now() + Duration::from_secs(4);
    while StdInstant::now() < end {
        let list = client.instances("s").await.unwrap();
        assert!(list.len() == 1 && list.all()[0].healthy, "{list:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    registration.update(|instance| instance.weight = 2.0).await.unwrap();
    let list = client.instances("s").await.unwrap();
    assert_eq!(list.all(), [registration.instance()]);
    assert!(!list.all()[0].ephemeral);
    assert_eq!(registration.status().registrations, 2, "once, and for the update");
    registration.close().await.unwrap();
    assert_eq!(listed(&client, "s").await, 0);
}

async fn the_same_instance_is_registered_once_and_again_after_its_end(over: Transport) {
    let server = RealServer::start();
    let client = client_over(over, [server.address()]).build().await.unwrap();
    let first = client.register("s", quick(80)).await.unwrap();
    let error = client.register("s", quick(80)).await.unwrap_err();
    assert!(matches!(error, Error::AlreadyRegistered { .. }), "{error}");
    client.register("t", quick(80)).await.unwrap().close().await.unwrap();
    for _ in 0..20 {
        // The drop deregisters in the background; a registration right after it must win.
        drop(client.register("u", quick(80)).await.unwrap());
    }
    let last = client.register("u", quick(80)).await.unwrap();
    assert_eq!(listed(&client, "u").await, 1);
    drop((first, last));
    let gone = || async { listed(&client, "s").await + listed(&client, "u").await == 0 };
    eventually("dropped guards deregister", SOON, gone).await;
}

#[tokio::test]
async fn beats_keep_an_instance_past_its_time_outs() {
    let server = RealServer::start();
    let client = client([server.address()]).build().await.unwrap();
    let registration = client.register("s", quick(80)).await.unwrap();
    let end = StdInstant::now() + Duration::from_secs(5);
    while StdInstant::now() < end {
        let list = client.instances("s").await.unwrap();
        assert!(list.len() == 1 && list.all()[0].healthy, "{list:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let status = registration.status();
    assert_eq!(status.registrations, 1, "beats did it, not registering again");
    assert_eq!(status.beat_interval, Duration::from_millis(100));
    assert!(status.unconfirmed_for < Duration::from_secs(1), "{status:?}");
}

async fn a_server_that_forgot_the_instance_gets_it_again(over: Transport) {
    // A server may hold beats back for a while after an explicit deregistration.
    let server = RealServer::start_with(|config| config.health.compensation_window_ms = 500);
    let client = client_over(over, [server.address()]).build().await.unwrap();
    let registration = client.register("s", quick(80)).await.unwrap();
    // Somebody else takes it out behind the client's back.
    let other = other_client(&server).build().await.unwrap();
    other.register("s", quick(80)).await.unwrap().close().await.unwrap();
    let back = || async { listed(&other, "s").await == 1 };
    let beaten = || async { registration.status().registrations >= 2 };
    eventually("it is registered again", Duration::from_secs(15), beaten).await;
    eventually("it is listed again", SOON, back).await;
}

#[tokio::test]
async fn an_unknown_instance_is_registered_again_at_once_with_its_newest_values() {
    let server = FakeServer::ready(|seen| {
        seen.is("PUT", "/instance/beat")
            .then(|| Action::ok(r#"{"clientBeatInterval":100,"code":20404}"#))
    })
    .await;
    let client = client([server.address()]).build().await.unwrap();
    let registration = client.register("s", quick(80)).await.unwrap();
    registration.update(|instance| instance.weight = 7.0).await.unwrap();
    let again = || async { server.count("POST", "/instance") >= 4 };
    eventually("each 20404 brings a registration", SOON, again).await;
    let seen = server.seen();
    let last = seen.iter().rfind(|seen| seen.is("POST", "/instance")).unwrap();
    assert_eq!(last.parameter("weight"), Some("7"));
}

#[tokio::test]
async fn beats_are_light_when_the_server_says_so_and_full_otherwise() {
    let light = FakeServer::ready(|seen| {
        seen.is("PUT", "/instance/beat").then(|| {
            Action::ok(r#"{"clientBeatInterval":100,"code":10200,"lightBeatEnabled":true}"#)
        })
    })
    .await;
    let full = FakeServer::ready(|seen| {
        seen.is("PUT", "/instance/beat")
            .then(|| Action::ok(r#"{"clientBeatInterval":100,"code":10200}"#))
    })
    .await;
    for (server, is_light) in [(&light, true), (&full, false)] {
        let client = client([server.address()]).build().await.unwrap();
        let _registration = client.register("s", quick(80)).await.unwrap();
        let twice = || async { server.count("PUT", "/instance/beat") >= 2 };
        eventually("two beats", SOON, twice).await;
        let beats: Vec<_> =
            server.seen().into_iter().filter(|seen| seen.is("PUT", "/instance/beat")).collect();
        assert!(beats[0].body.is_empty(), "the first is light: {:?}", beats[0]);
        assert_eq!(beats[1].body.is_empty(), is_light);
        assert!(is_light || beats[1].body.starts_with("beat=%7B"), "{:?}", beats[1]);
    }
}

#[tokio::test]
async fn a_server_that_refuses_light_beats_gets_full_ones() {
    let server = FakeServer::ready(|seen| {
        (seen.is("PUT", "/instance/beat") && seen.body.is_empty())
            .then(|| Action::status(400, "caused: Param 'beat' is required.;"))
    })
    .await;
    let client = client([server.address()]).build().await.unwrap();
    let registration = client.register("s", quick(80)).await.unwrap();
    let full = || async { server.seen().iter().any(|seen| seen.body.starts_with("beat=%7B")) };
    eventually("a full beat", SOON, full).await;
    let confirmed = || async { registration.status().failures == 0 };
    eventually("it is taken", SOON, confirmed).await;
}

async fn all_instances_are_back_after_a_restart_without_the_application_doing_anything(
    over: Transport,
) {
    let mut server = RealServer::start();
    let client = client_over(over, [server.address()]).build().await.unwrap();
    let service: ServiceName = "s".parse().unwrap();
    // The usual interval of 5 s: what counts is the time until all are back.
    let instances = (1..=50).map(|port| (service.clone(), Instance::new("10.0.0.1", port)));
    let registrations: Vec<_> =
        client.register_all(instances).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(listed(&client, "s").await, 50);
    server.restart();
    let observer = other_client(&server).build().await.unwrap();
    let back = || async { listed(&observer, "s").await == 50 };
    eventually("all are back", Duration::from_secs(10), back).await;
    drop(registrations);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_death_of_one_server_of_three_costs_no_beat_interval() {
    let servers = [RealServer::start(), RealServer::start(), RealServer::start()];
    let client = client(servers.iter().map(RealServer::address)).build().await.unwrap();
    let beating = |port| quick(port).metadata("preserved.heart.beat.interval", "500");
    let instances = (1..=30).map(|port| ("s".parse().unwrap(), beating(port)));
    let registrations: Vec<_> =
        client.register_all(instances).await.into_iter().map(Result::unwrap).collect();
    let unconfirmed = || registrations.iter().map(|r| r.status().unconfirmed_for).max().unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    // The one the client prefers, which is the worst one to lose.
    let preferred = client.servers()[0].clone();
    servers.iter().find(|server| server.address() == preferred).unwrap().kill();
    let end = StdInstant::now() + Duration::from_secs(4);
    let mut worst = Duration::ZERO;
    while StdInstant::now() < end {
        worst = worst.max(unconfirmed());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // Beats come every 500 ms; a missed one would show as a second.
    assert!(worst < Duration::from_millis(950), "an instance went unconfirmed for {worst:?}");
    // And the calls of the application go on.
    client.register("t", quick(99)).await.unwrap();
}

#[tokio::test]
async fn a_silent_server_is_left_within_the_interval() {
    let silent = FakeServer::ready(|seen| {
        (!seen.path.ends_with("/operator/metrics")).then_some(Action::Hang)
    })
    .await;
    let good = FakeServer::ready(|seen| {
        seen.is("PUT", "/instance/beat").then(|| {
            Action::ok(r#"{"clientBeatInterval":1000,"code":10200,"lightBeatEnabled":true}"#)
        })
    })
    .await;
    // Beats must not wait for as long as other calls may.
    let client = client([silent.address(), good.address()])
        .request_timeout(Duration::from_secs(3))
        .call_timeout(Duration::from_secs(8))
        .build()
        .await
        .unwrap();
    let slow = Instance::new("10.0.0.1", 80).metadata("preserved.heart.beat.interval", "1000");
    let registration = client.register("s", slow).await.unwrap();
    let end = StdInstant::now() + Duration::from_secs(8);
    while StdInstant::now() < end {
        let unconfirmed = registration.status().unconfirmed_for;
        assert!(unconfirmed < Duration::from_millis(1_900), "unconfirmed for {unconfirmed:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn an_expired_instance_comes_back_when_the_server_can_be_reached_again() {
    // The server expires the instance while no beat reaches it: the client's only way to it is a
    // proxy that is closed for a while.
    let server = RealServer::start();
    let proxy = support::proxy::Proxy::start(server.address()).await;
    let client = client([proxy.address()]).build().await.unwrap();
    let observer = other_client(&server).build().await.unwrap();
    let registration = client.register("s", quick(80)).await.unwrap();
    assert_eq!(listed(&observer, "s").await, 1);
    proxy.close();
    let expired = || async { listed(&observer, "s").await == 0 };
    eventually("it expires", Duration::from_secs(8), expired).await;
    assert!(registration.status().failures > 0);
    assert!(registration.status().last_error.is_some());
    proxy.open();
    let back = || async { listed(&observer, "s").await == 1 };
    eventually("it is back", SOON, back).await;
    assert!(registration.status().registrations >= 2);
}

async fn closing_twice_dropping_late_and_shutting_down_are_harmless(over: Transport) {
    let server = RealServer::start();
    let client = client_over(over, [server.address()]).build().await.unwrap();
    let observer = other_client(&server).build().await.unwrap();
    let kept = client.register("s", quick(1)).await.unwrap();
    let closed = client.register("s", quick(2)).await.unwrap();
    assert_eq!(listed(&observer, "s").await, 2);
    client.shutdown().await;
    client.shutdown().await;
    assert_eq!(listed(&observer, "s").await, 0, "shutdown has deregistered them when it returns");
    closed.close().await.unwrap();
    assert!(matches!(kept.update(|_| {}).await, Err(Error::ShutDown)));
    drop(kept);
    assert!(matches!(client.register("s", quick(3)).await, Err(Error::ShutDown)));
    assert!(matches!(client.instances("s").await, Err(Error::ShutDown)));
    assert!(matches!(client.subscribe("s").await, Err(Error::ShutDown)));
}

async fn a_guard_keeps_the_client_going_and_the_last_handle_ends_it(over: Transport) {
    let server = RealServer::start();
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let observer = other_client(&server).build().await.unwrap();
    listed(&observer, "s").await;
    let before = tasks();
    let client = client_over(over, [server.address()]).build().await.unwrap();
    let registration = client.register("s", quick(1)).await.unwrap();
    drop(client);
    let end = StdInstant::now() + Duration::from_secs(3);
    while StdInstant::now() < end {
        assert_eq!(listed(&observer, "s").await, 1, "the guard alone keeps it registered");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    drop(registration);
    let gone = || async { listed(&observer, "s").await == 0 };
    eventually("the drop deregisters", SOON, gone).await;
    // Idle pooled connections have a task each; they end with the client's pool.
    let ended = || async { tasks() <= before };
    eventually("no task is left", SOON, ended).await;
}

#[tokio::test]
async fn a_thousand_registrations_need_few_tasks() {
    let server = RealServer::start();
    let client = client([server.address()]).build().await.unwrap();
    let service: ServiceName = "many".parse().unwrap();
    let instances = (1..=1_000).map(|port| {
        let instance = Instance::new("10.0.0.1", port);
        (service.clone(), instance.metadata("preserved.heart.beat.interval", "1000"))
    });
    let registrations = client.register_all(instances).await;
    assert!(registrations.iter().all(Result::is_ok));
    let mut most = 0;
    let end = StdInstant::now() + Duration::from_secs(3);
    while StdInstant::now() < end {
        most = most.max(tokio::runtime::Handle::current().metrics().num_alive_tasks());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // Beats in flight and their connections; far from one for each registration.
    assert!(most < 300, "{most} tasks");
    let all_beat = registrations.iter().flatten().all(|r| {
        let status = r.status();
        status.failures == 0 && status.unconfirmed_for < Duration::from_secs(2)
    });
    assert!(all_beat);
    client.shutdown().await;
}

async fn an_instance_is_closed_for_calls_before_it_leaves(over: Transport) {
    let server = RealServer::start();
    let client = client_over(over, [server.address()]).build().await.unwrap();
    let observer = other_client(&server).build().await.unwrap();
    let usable = || async { observer.instances("s").await.unwrap().usable().count() };
    let guard = client.register("s", Instance::new("10.0.0.1", 1)).await.unwrap();
    assert_eq!(usable().await, 1);
    guard.disable().await.unwrap();
    assert_eq!(usable().await, 0);
    guard.enable().await.unwrap();
    assert_eq!(usable().await, 1);
    let leaving = tokio::spawn(guard.leave(Duration::from_millis(500)));
    eventually("it is closed for calls", SOON, || async { usable().await == 0 }).await;
    assert!(!leaving.is_finished(), "it is there while calls end");
    leaving.await.unwrap().unwrap();
    assert_eq!((listed(&observer, "s").await, client.load().registrations), (0, 0));
}
