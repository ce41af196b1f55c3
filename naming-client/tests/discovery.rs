//! Lists, subscriptions and pushes.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::Poll;
use std::time::Duration;

use naming_client::{
    EmptyPolicy, Error, Instance, NamingClient, ServiceName, ServiceQuery, Transport,
};
use support::fake::{Action, FakeServer, list};
use support::real::RealServer;
use support::{client, client_over, eventually, next, ports};

const SOON: Duration = Duration::from_secs(5);

over_both!(
    a_subscription_has_its_list_at_once_and_tells_each_change,
    namespaces_groups_and_clusters_do_not_mix,
    with_every_server_down_the_list_known_last_is_given_and_marked,
    a_stale_list_is_fresh_again_when_a_server_answers,
    a_subscription_moves_to_another_server_when_its_own_dies,
);

async fn a_subscription_has_its_list_at_once_and_tells_each_change(over: Transport) {
    let server = RealServer::start();
    let provider = client_over(over, [server.address()]).build().await.unwrap();
    let consumer = client_over(over, [server.address()]).build().await.unwrap();
    let first = provider.register("s", Instance::new("10.0.0.1", 1)).await.unwrap();
    let mut subscription = consumer.subscribe("s").await.unwrap();
    assert_eq!(ports(subscription.instances().all()), [1]);
    assert!(!subscription.instances().is_stale());

    let limit = Duration::from_secs(11);
    let second = provider.register("s", Instance::new("10.0.0.1", 2)).await.unwrap();
    assert_eq!(ports(&next(&mut subscription, limit).await.added), [2]);
    second.update(|instance| instance.weight = 9.0).await.unwrap();
    assert_eq!(next(&mut subscription, limit).await.modified[0].weight, 9.0);
    first.close().await.unwrap();
    assert_eq!(ports(&next(&mut subscription, limit).await.removed), [1]);
    assert_eq!(consumer.select("s").await.unwrap().port, 2);
    assert_eq!(subscription.choose().unwrap().port, 2);
    consumer.shutdown().await;
    assert_eq!(subscription.changed().await, None, "shutdown ends the stream");
}

async fn namespaces_groups_and_clusters_do_not_mix(over: Transport) {
    let server = RealServer::start();
    let here = client_over(over, [server.address()]).build().await.unwrap();
    let there = client_over(over, [server.address()]).namespace("other").build().await.unwrap();
    let near = Instance::new("10.0.0.1", 1).cluster("near");
    let far = Instance::new("10.0.0.1", 2).cluster("far");
    let _guards = [
        here.register("g@@s", near).await.unwrap(),
        here.register("g@@s", far).await.unwrap(),
        here.register("s", Instance::new("10.0.0.1", 3)).await.unwrap(),
        there.register("g@@s", Instance::new("10.0.0.1", 4)).await.unwrap(),
    ];
    let grouped = ServiceQuery::try_from("g@@s").unwrap();
    let of = |query: &ServiceQuery| {
        let (client, query) = (here.clone(), query.clone());
        async move { ports(client.instances(&query).await.unwrap().all()) }
    };
    assert_eq!(of(&grouped).await, [1, 2]);
    assert_eq!(of(&grouped.clone().clusters(["far"]).unwrap()).await, [2]);
    assert_eq!(of(&grouped.clone().clusters(["near", "far"]).unwrap()).await, [1, 2]);
    assert_eq!(of(&ServiceQuery::try_from("s").unwrap()).await, [3]);
    assert_eq!(ports(there.instances("g@@s").await.unwrap().all()), [4]);
    let only_near = grouped.clusters(["near"]).unwrap();
    let subscription = here.subscribe(only_near).await.unwrap();
    assert_eq!(ports(subscription.instances().all()), [1]);
    assert!(here.instances("nobody").await.unwrap().is_empty());
    assert!(matches!(here.select("nobody").await, Err(Error::NoInstance { .. })));
}

/// A service whose list a test can change. Its server asks to be polled every second.
fn changing() -> (Arc<AtomicU32>, impl Fn(&support::fake::Seen) -> Option<Action>) {
    let count = Arc::new(AtomicU32::new(1));
    let shared = count.clone();
    let script = move |seen: &support::fake::Seen| {
        seen.path.ends_with("/instance/list").then(|| {
            let ports: Vec<u16> = (1..).take(shared.load(Ordering::SeqCst) as usize).collect();
            Action::ok(list("s", &ports))
        })
    };
    (count, script)
}

#[tokio::test]
async fn without_any_push_a_change_is_seen_within_cache_millis() {
    let (count, script) = changing();
    let server = FakeServer::ready(script).await;
    let client = client([server.address()]).build().await.unwrap();
    let mut subscription = client.subscribe("s").await.unwrap();
    for instances in 2..5 {
        count.store(instances, Ordering::SeqCst);
        // The server says 1,000 ms; the rest is for a busy machine.
        let change = next(&mut subscription, Duration::from_millis(1_800)).await;
        assert_eq!(change.added.len(), 1);
    }
}

#[tokio::test]
async fn an_empty_list_is_believed_when_it_is_confirmed() {
    let (count, script) = changing();
    let server = FakeServer::ready(script).await;
    let confirm = |ms| EmptyPolicy::Confirm(Duration::from_millis(ms));
    let client = client([server.address()]).empty_policy(confirm(1_500)).build().await.unwrap();
    let mut subscription = client.subscribe("s").await.unwrap();
    count.store(0, Ordering::SeqCst);
    let before = server.count("GET", "/list");
    let asked = || async { server.count("GET", "/list") > before };
    eventually("the empty list is read", SOON, asked).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(subscription.instances().len(), 1, "it is not believed yet");
    let change = next(&mut subscription, SOON).await;
    assert_eq!(change.removed.len(), 1);

    // One that comes back meanwhile was never gone.
    count.store(2, Ordering::SeqCst);
    next(&mut subscription, SOON).await;
    count.store(0, Ordering::SeqCst);
    let before = server.count("GET", "/list");
    let asked = || async { server.count("GET", "/list") > before };
    eventually("the empty list is read", SOON, asked).await;
    count.store(2, Ordering::SeqCst);
    let quiet = tokio::time::timeout(Duration::from_secs(3), subscription.changed()).await;
    assert!(quiet.is_err(), "{quiet:?}");
}

#[tokio::test]
async fn a_restarted_server_never_shows_its_empty_list_to_the_application() {
    let mut server = RealServer::start();
    let provider = client([server.address()]).build().await.unwrap();
    let consumer = client([server.address()]).push(false).build().await.unwrap();
    // One that believes everything, to show that there was something not to be believed.
    let naive = client([server.address()]).push(false).empty_policy(EmptyPolicy::Believe);
    let naive = naive.build().await.unwrap();
    // At the usual interval of 5 s, so that the server stays empty for a while.
    let instances = (1..=5).map(|port| ("s".parse().unwrap(), Instance::new("10.0.0.1", port)));
    let guards = provider.register_all(instances).await;
    let mut subscription = consumer.subscribe("s").await.unwrap();
    let credulous = naive.subscribe("s").await.unwrap();
    server.kill();
    // Noticing the loss makes the subscriptions poll until a server answers.
    for client in [&consumer, &naive] {
        assert!(client.instances("s").await.unwrap().is_stale());
    }
    server.restart();
    let was_empty = AtomicBool::new(false);
    let all_back = || async {
        assert!(!subscription.instances().is_empty());
        was_empty.fetch_or(credulous.instances().is_empty(), Ordering::SeqCst);
        // Either may have asked while the last beat was still on its way, so both are awaited.
        let list = subscription.instances();
        credulous.instances().len() == 5 && list.len() == 5 && !list.is_stale()
    };
    eventually("all are back", Duration::from_secs(20), all_back).await;
    assert!(was_empty.into_inner(), "the naive one saw the empty list");
    // Between, instances may come back one by one, but never were there none.
    while let Ok(Some(change)) =
        tokio::time::timeout(Duration::from_millis(10), subscription.changed()).await
    {
        assert!(change.removed.len() < 5, "{change:?}");
    }
    drop(guards);
}

async fn with_every_server_down_the_list_known_last_is_given_and_marked(over: Transport) {
    let directory = tempfile::tempdir().unwrap();
    let server = RealServer::start();
    // Without pushes polls come each 3 s, so that the silence shows soon.
    let build =
        || client_over(over, [server.address()]).cache_directory(directory.path()).push(false);
    let provider = client_over(over, [server.address()]).build().await.unwrap();
    let _guard = provider.register("s", Instance::new("10.0.0.1", 1)).await.unwrap();
    let _other = provider.register("once", Instance::new("10.0.0.1", 2)).await.unwrap();

    let first = build().build().await.unwrap();
    let subscription = first.subscribe("s").await.unwrap();
    assert_eq!(first.instances("once").await.unwrap().len(), 1);
    server.kill();
    let list = first.instances("s").await.unwrap();
    assert!(list.is_stale() && ports(list.all()) == [1]);
    let marked = || async { subscription.instances().is_stale() };
    eventually("the subscription is marked", Duration::from_secs(12), marked).await;
    assert_eq!(first.select("s").await.unwrap().port, 1);
    first.shutdown().await;

    // Another process that starts while everything is down.
    assert!(matches!(build().build().await, Err(Error::NoServer { .. })));
    let second = build().lazy().build().await.unwrap();
    let from_disk = second.subscribe("s").await.unwrap();
    assert!(from_disk.instances().is_stale());
    assert_eq!(from_disk.instances().age(), None);
    assert_eq!(ports(from_disk.instances().all()), [1]);
    assert_eq!(ports(second.instances("once").await.unwrap().all()), [2]);
    assert!(matches!(second.subscribe("never-seen").await, Err(Error::NoServer { .. })));
}

async fn a_stale_list_is_fresh_again_when_a_server_answers(over: Transport) {
    let directory = tempfile::tempdir().unwrap();
    let mut server = RealServer::start();
    let provider = client_over(over, [server.address()]).build().await.unwrap();
    let _guard = provider.register("s", Instance::new("10.0.0.1", 1)).await.unwrap();
    let build = || client_over(over, [server.address()]).cache_directory(directory.path());
    build().build().await.unwrap().subscribe("s").await.unwrap();
    let saved = || async {
        std::fs::read_dir(directory.path().join("public")).is_ok_and(|files| {
            files.flatten().any(|file| file.path().extension().is_some_and(|e| e == "json"))
        })
    };
    eventually("the list is on disk", SOON, saved).await;
    server.kill();
    let consumer = build().lazy().build().await.unwrap();
    let subscription = consumer.subscribe("s").await.unwrap();
    assert!(subscription.instances().is_stale());
    server.restart();
    let fresh = || async { !subscription.instances().is_stale() };
    eventually("it is confirmed", Duration::from_secs(15), fresh).await;
    assert_eq!(subscription.instances().len(), 1);
}

async fn a_subscription_moves_to_another_server_when_its_own_dies(over: Transport) {
    let servers = [RealServer::start(), RealServer::start(), RealServer::start()];
    let consumer =
        client_over(over, servers.iter().map(RealServer::address)).build().await.unwrap();
    // The servers know nothing of each other: a provider for each.
    let mut guards = Vec::new();
    for server in &servers {
        let provider = client_over(over, [server.address()]).build().await.unwrap();
        guards.push(provider.register("s", Instance::new("10.0.0.1", 1)).await.unwrap());
    }
    let subscription = consumer.subscribe("s").await.unwrap();
    let preferred = consumer.servers()[0].clone();
    servers.iter().find(|server| server.address() == preferred).unwrap().kill();
    let killed = tokio::time::Instant::now();
    // Any call notices the death; the subscription then moves without waiting for its next poll.
    assert_eq!(consumer.instances("s").await.unwrap().len(), 1);
    assert_ne!(consumer.servers()[0], preferred);
    let fresh = || async {
        let list = subscription.instances();
        !list.is_stale() && list.age().is_some_and(|age| age < killed.elapsed())
    };
    eventually("it has asked the new server", Duration::from_secs(2), fresh).await;
}

#[tokio::test]
async fn ten_thousand_subscriptions_leave_nothing_behind() {
    let server = FakeServer::ready(|seen| {
        let name = seen.parameter("serviceName")?;
        let name = name.rsplit("%40").next().unwrap().to_owned();
        seen.path.ends_with("/list").then(|| Action::ok(list(&name, &[1])))
    })
    .await;
    let client = client([server.address()]).build().await.unwrap();
    let kept = client.subscribe("kept").await.unwrap();
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    for round in 0..10_000_u32 {
        let service: ServiceName = format!("s-{}", round % 7).parse().unwrap();
        let mut subscription = client.subscribe(service).await.unwrap();
        // Half of them go while they wait for a change.
        if round % 2 == 0 {
            let waiting = std::pin::pin!(subscription.changed());
            let mut waiting = waiting;
            std::future::poll_fn(|context| {
                assert!(waiting.as_mut().poll(context).is_pending());
                Poll::Ready(())
            })
            .await;
        }
    }
    assert_eq!(client.load().queries, 1);
    // A second pooled connection may have been opened; it has a task at each end.
    let settled = || async { tasks() <= before + 4 };
    eventually("no task is left over", SOON, settled).await;
    drop(kept);
    assert_eq!(client.load().queries, 0);
}

#[tokio::test]
async fn subscribers_of_one_query_share_one_poll() {
    let (count, script) = changing();
    let server = FakeServer::ready(script).await;
    let client = client([server.address()]).build().await.unwrap();
    let clones: Vec<NamingClient> = (0..20).map(|_| client.clone()).collect();
    let mut subscriptions = Vec::new();
    for clone in &clones {
        subscriptions.push(clone.subscribe("s").await.unwrap());
    }
    assert_eq!(server.count("GET", "/list"), 1);
    count.store(2, Ordering::SeqCst);
    for subscription in &mut subscriptions {
        assert_eq!(next(subscription, SOON).await.added.len(), 1);
    }
    assert!(server.count("GET", "/list") < 10);
}

#[tokio::test]
async fn a_stream_from_scratch_begins_with_the_whole_list() {
    let (_, script) = changing();
    let server = FakeServer::ready(script).await;
    let client = client([server.address()]).build().await.unwrap();
    let mut subscription = client.subscribe("s").await.unwrap().from_scratch();
    assert_eq!(next(&mut subscription, SOON).await.added.len(), 1);
    let more = tokio::time::timeout(Duration::from_millis(50), subscription.changed()).await;
    assert!(more.is_err());
}

#[tokio::test]
async fn the_servers_come_from_an_address_endpoint() {
    let server = RealServer::start();
    let target = server.address();
    let broken = Arc::new(AtomicBool::new(false));
    let state = broken.clone();
    let endpoint = FakeServer::start(move |seen| match seen.path.as_str() {
        "/nacos/serverlist" if !state.load(Ordering::SeqCst) => {
            Action::ok(format!("{target}\r\n{target}\n\n"))
        }
        _ => Action::status(404, "nothing here"),
    })
    .await;
    let found = client([""; 0]).address_endpoint(endpoint.address()).build().await.unwrap();
    assert_eq!(found.servers(), [server.address()]);
    assert!(found.instances("s").await.unwrap().is_empty());
    broken.store(true, Ordering::SeqCst);
    let error = client([""; 0]).address_endpoint(endpoint.address()).build().await;
    let text = error.unwrap_err().to_string();
    assert!(text.contains(&endpoint.address()) && text.contains("404"), "{text}");
}

#[tokio::test]
async fn a_warm_start_waits_for_no_server() {
    let directory = tempfile::tempdir().unwrap();
    let silent = Arc::new(AtomicBool::new(false));
    let state = silent.clone();
    let server = FakeServer::ready(move |seen| {
        let is_list = seen.path.ends_with("/instance/list");
        is_list.then(|| match state.load(Ordering::SeqCst) {
            true => Action::Hang,
            false => Action::ok(list("s", &[1])),
        })
    })
    .await;
    let build = || client([server.address()]).cache_directory(directory.path());
    let first = build().build().await.unwrap();
    first.subscribe("s").await.unwrap();
    first.shutdown().await;
    silent.store(true, Ordering::SeqCst);
    let warm = build().warm_start().build().await.unwrap();
    let start = tokio::time::Instant::now();
    let subscription = warm.subscribe("s").await.unwrap();
    assert!(start.elapsed() < Duration::from_millis(500), "{:?}", start.elapsed());
    assert!(subscription.instances().is_stale() && subscription.instances().len() == 1);
    silent.store(false, Ordering::SeqCst);
    let fresh = || async { !subscription.instances().is_stale() };
    eventually("a server has answered", SOON, fresh).await;
}
