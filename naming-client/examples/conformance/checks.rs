//! The checks. Each has services of its own, so that all can run at once.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use naming_client::{
    Change, Instance, InstanceKey, NamingClient, ServiceName, ServiceQuery, Subscription, Transport,
};

use crate::services::{closed_and_opened_for_calls, service_administration, services_by_pattern};
use crate::{Check, Outcome, Problem, Target};

/// Servers show a write to readers a little later than they answer it.
pub(crate) const VISIBLE: Duration = Duration::from_secs(5);
/// Nacos 1.x pushes one second after a change; without pushes a poll finds it after 10 s.
pub(crate) const NOTICED: Duration = Duration::from_secs(12);
const PUSHED: Duration = Duration::from_millis(2_500);

macro_rules! checks {
    ($($name:ident),* $(,)?) => {
        /// All checks by name.
        pub(crate) const ALL: &[(&str, Check)] =
            &[$((stringify!($name), |target| Box::pin($name(target)))),*];
    };
}

checks!(
    register_and_list,
    update_in_place,
    metadata_of_all_kinds,
    weighted_choice,
    groups_clusters_and_namespaces,
    push_of_a_change,
    push_of_a_hundred_instances,
    polling_without_push,
    default_beats_past_forty_seconds,
    quick_beats,
    expiry_of_a_silent_instance,
    registration_comes_back,
    batch_of_two_hundred,
    deregistration_by_close_and_drop,
    last_known_list_from_disk,
    service_administration,
    bad_names_are_refused,
    services_by_pattern,
    closed_and_opened_for_calls,
);

pub(crate) fn ensure(condition: bool, problem: impl Into<String>) -> Result<(), Problem> {
    if condition { Ok(()) } else { Err(problem.into().into()) }
}

pub(crate) fn ip(last: u16) -> Instance {
    Instance::new("10.9.8.7", last)
}

/// Beats each second, unhealthy after 3 s, gone after 6 s: servers check every 5 s.
fn quick(port: u16) -> Instance {
    ip(port)
        .metadata("preserved.heart.beat.interval", "1000")
        .metadata("preserved.heart.beat.timeout", "3000")
        .metadata("preserved.ip.delete.timeout", "6000")
}

async fn count(client: &NamingClient, service: &str) -> Result<usize, Problem> {
    Ok(client.instances(service).await?.len())
}

/// Waits until the service has so many instances; gives the time that took.
pub(crate) async fn reaches(
    client: &NamingClient,
    service: &str,
    expected: usize,
    limit: Duration,
) -> Result<Duration, Problem> {
    let start = Instant::now();
    loop {
        let found = count(client, service).await?;
        if found == expected {
            return Ok(start.elapsed());
        }
        let problem = format!("{service} has {found} instances and not {expected} after {limit:?}");
        ensure(start.elapsed() < limit, problem)?;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn next_change(subscription: &mut Subscription) -> Result<(Change, Duration), Problem> {
    let start = Instant::now();
    let change = tokio::time::timeout(NOTICED, subscription.changed()).await;
    let change = change.map_err(|_| format!("no change within {NOTICED:?}"))?;
    Ok((change.ok_or("the client was shut down")?, start.elapsed()))
}

async fn register_and_list(target: Target) -> Outcome {
    let (client, service) = (target.client().await?, target.service("list"));
    let instance = ip(1).weight(2.5).cluster("c1").metadata("a", "b");
    let _guard = client.register(service.as_str(), instance.clone()).await?;
    let time = reaches(&client, &service, 1, VISIBLE).await?;
    let list = client.instances(service.as_str()).await?;
    ensure(list.all() == [instance], format!("listed as {:?}", list.all()))?;
    ensure(!list.is_stale(), "the list is marked as stale")?;
    Ok(format!("visible after {time:?}"))
}

async fn update_in_place(target: Target) -> Outcome {
    let (client, service) = (target.client().await?, target.service("update"));
    let guard = client.register(service.as_str(), ip(1).metadata("version", "1")).await?;
    reaches(&client, &service, 1, VISIBLE).await?;
    let change = |instance: &mut Instance| {
        instance.weight = 7.0;
        instance.metadata.insert("version".to_owned(), "2".to_owned());
    };
    guard.update(change).await?;
    let start = Instant::now();
    loop {
        let list = client.instances(service.as_str()).await?;
        ensure(list.len() == 1, format!("{} instances during the update", list.len()))?;
        let key = InstanceKey { ip: "10.9.8.7", port: 1, cluster: "DEFAULT" };
        if list.find(key) == Some(&guard.instance()) {
            return Ok(format!("visible after {:?}", start.elapsed()));
        }
        ensure(start.elapsed() < VISIBLE, format!("still {:?}", list.all()))?;
    }
}

async fn metadata_of_all_kinds(target: Target) -> Outcome {
    let (client, service) = (target.client().await?, target.service("metadata"));
    let odd =
        [("space", "a b"), ("equals", "a=b,c=d"), ("quote", "\"x\"\\"), ("text", "é 中 &?#%+")];
    let instance = odd.iter().fold(ip(1), |instance, (key, value)| instance.metadata(*key, *value));
    let _guard = client.register(service.as_str(), instance.clone()).await?;
    reaches(&client, &service, 1, VISIBLE).await?;
    let list = client.instances(service.as_str()).await?;
    ensure(list.all() == [instance], format!("listed as {:?}", list.all()))?;
    Ok("came back as it went".to_owned())
}

async fn weighted_choice(target: Target) -> Outcome {
    let (client, service) = (target.client().await?, target.service("weights"));
    let name: ServiceName = service.parse()?;
    let instances = [(1, 1.0), (2, 3.0), (3, 0.0)];
    let all = instances.map(|(port, weight)| (name.clone(), ip(port).weight(weight)));
    let _guards: Vec<_> = client.register_all(all).await.into_iter().collect::<Result<_, _>>()?;
    reaches(&client, &service, 3, VISIBLE).await?;
    let subscription = client.subscribe(&name).await?;
    let mut counts = BTreeMap::new();
    for _ in 0..10_000 {
        let chosen = subscription.choose().ok_or("nothing to choose")?;
        *counts.entry(chosen.port).or_insert(0_u32) += 1;
    }
    ensure(!counts.contains_key(&3), "weight 0 was chosen")?;
    // Expected 2,500 of 10,000 with a deviation of 43; 300 is seven of them.
    let first = counts.get(&1).copied().unwrap_or(0);
    ensure(first.abs_diff(2_500) < 300, format!("weights 1 and 3 gave {counts:?}"))?;
    Ok(format!("weights 1 and 3 gave {counts:?}"))
}

async fn groups_clusters_and_namespaces(target: Target) -> Outcome {
    let (client, service) = (target.client().await?, target.service("names"));
    let space = format!("conformance-{}", target.run);
    let there = target.builder().namespace(space).build().await?;
    let bare = format!("names-{}", target.run);
    let _guards = [
        client.register(service.as_str(), ip(1).cluster("near")).await?,
        client.register(service.as_str(), ip(2).cluster("far")).await?,
        client.register(bare.as_str(), ip(3)).await?,
        there.register(service.as_str(), ip(4)).await?,
    ];
    reaches(&client, &service, 2, VISIBLE).await?;
    reaches(&client, &bare, 1, VISIBLE).await?;
    reaches(&there, &service, 1, VISIBLE).await?;
    let near = ServiceQuery::try_from(service.as_str())?.clusters(["near"])?;
    let list = client.instances(near).await?;
    ensure(list.len() == 1 && list.all()[0].port == 1, format!("near: {:?}", list.all()))?;
    let list = there.instances(service.as_str()).await?;
    ensure(list.all()[0].port == 4, format!("the other namespace: {:?}", list.all()))?;
    Ok("kept apart".to_owned())
}

async fn push_of_a_change(target: Target) -> Outcome {
    let (client, service) = (target.client().await?, target.service("push"));
    let _first = client.register(service.as_str(), ip(1)).await?;
    reaches(&client, &service, 1, VISIBLE).await?;
    let mut subscription = client.subscribe(service.as_str()).await?;
    let second = client.register(service.as_str(), ip(2)).await?;
    let (change, came) = next_change(&mut subscription).await?;
    ensure(change.added.len() == 1, format!("{change:?}"))?;
    ensure(came < PUSHED, format!("the change came after {came:?}, so by a poll"))?;
    second.close().await?;
    let (change, went) = next_change(&mut subscription).await?;
    ensure(change.removed.len() == 1, format!("{change:?}"))?;
    ensure(went < PUSHED, format!("the removal came after {went:?}, so by a poll"))?;
    Ok(format!("registration after {came:?}, removal after {went:?}"))
}

async fn push_of_a_hundred_instances(target: Target) -> Outcome {
    let (client, service) = (target.client().await?, target.service("hundred"));
    let mut subscription = client.subscribe(service.as_str()).await?;
    let name: ServiceName = service.parse()?;
    let all = (1..=100).map(|port| (name.clone(), ip(port).metadata("port", port.to_string())));
    let start = Instant::now();
    let guards: Vec<_> = client.register_all(all).await.into_iter().collect::<Result<_, _>>()?;
    let registered = start.elapsed();
    while subscription.instances().len() < guards.len() {
        next_change(&mut subscription).await?;
    }
    let complete = start.elapsed() - registered;
    ensure(complete < PUSHED, format!("complete after {complete:?}, so by a poll"))?;
    Ok(format!("registered in {registered:?}, all known {complete:?} later"))
}

async fn polling_without_push(target: Target) -> Outcome {
    let service = target.service("poll");
    let client = target.builder().push(false).build().await?;
    let mut subscription = client.subscribe(service.as_str()).await?;
    let _guard = client.register(service.as_str(), ip(1)).await?;
    let (_, time) = next_change(&mut subscription).await?;
    // Servers say how often they want to be asked: each 3 s those of 1.x, each 10 s later ones.
    ensure(time < NOTICED, format!("the change came after {time:?}"))?;
    Ok(format!("noticed after {time:?}"))
}

async fn stays_healthy(
    client: &NamingClient,
    service: &str,
    time: Duration,
) -> Result<(), Problem> {
    let start = Instant::now();
    while start.elapsed() < time {
        let list = client.instances(service).await?;
        let well = list.len() == 1 && list.all()[0].healthy;
        ensure(well, format!("after {:?}: {:?}", start.elapsed(), list.all()))?;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}

async fn default_beats_past_forty_seconds(target: Target) -> Outcome {
    let (client, service) = (target.client().await?, target.service("beats"));
    let guard = client.register(service.as_str(), ip(1)).await?;
    reaches(&client, &service, 1, VISIBLE).await?;
    stays_healthy(&client, &service, Duration::from_secs(45)).await?;
    let status = guard.status();
    ensure(status.failures == 0 && status.registrations == 1, format!("{status:?}"))?;
    Ok(format!("listed and healthy for 45 s, beating every {:?}", status.beat_interval))
}

async fn quick_beats(target: Target) -> Outcome {
    let (client, service) = (target.client().await?, target.service("quick"));
    let guard = client.register(service.as_str(), quick(1)).await?;
    reaches(&client, &service, 1, VISIBLE).await?;
    stays_healthy(&client, &service, Duration::from_secs(20)).await?;
    let interval = guard.status().beat_interval;
    ensure(interval == Duration::from_secs(1), format!("beats every {interval:?}"))?;
    Ok("the interval in the metadata is followed".to_owned())
}

/// Registers in a runtime that then ends without a word, as a killed process does.
fn register_and_die(target: &Target, service: &str) -> Result<(), Problem> {
    let (target, service) = (target.clone(), service.to_owned());
    let doomed = std::thread::spawn(move || -> Result<(), Problem> {
        let runtime = tokio::runtime::Runtime::new()?;
        let guard = runtime.block_on(async {
            Ok::<_, Problem>(target.client().await?.register(service.as_str(), quick(1)).await?)
        })?;
        std::mem::forget(guard);
        runtime.shutdown_background();
        Ok(())
    });
    doomed.join().map_err(|_| "the thread of the doomed client failed")?
}

async fn expiry_of_a_silent_instance(target: Target) -> Outcome {
    let (client, service) = (target.client().await?, target.service("expiry"));
    register_and_die(&target, &service)?;
    let start = Instant::now();
    reaches(&client, &service, 1, VISIBLE).await?;
    // 6 s, checked every 5 s.
    reaches(&client, &service, 0, Duration::from_secs(20)).await?;
    let time = start.elapsed();
    if client.status().transport != Some(Transport::Http) {
        ensure(time < Duration::from_secs(10), format!("gone only after {time:?}"))?;
        return Ok(format!("gone {time:?} after its connection"));
    }
    ensure(time > Duration::from_secs(5), format!("gone after {time:?} already"))?;
    Ok(format!("gone after {time:?}"))
}

async fn registration_comes_back(target: Target) -> Outcome {
    let (client, service) = (target.client().await?, target.service("again"));
    let guard = client.register(service.as_str(), quick(1)).await?;
    reaches(&client, &service, 1, VISIBLE).await?;
    // Another client takes the instance out behind this one's back.
    let other = target.client().await?;
    other.register(service.as_str(), quick(1)).await?.close().await?;
    let start = Instant::now();
    if client.status().transport != Some(Transport::Http) {
        // Servers of 2.x keep what each connection has registered, so ours may never have gone.
        reaches(&other, &service, 1, Duration::from_secs(30)).await?;
        let back = start.elapsed();
        stays_healthy(&other, &service, Duration::from_secs(3)).await?;
        return Ok(format!("there after {back:?}"));
    }
    while guard.status().registrations < 2 {
        let problem = format!("not registered again: {:?}", guard.status());
        ensure(start.elapsed() < Duration::from_secs(20), problem)?;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    reaches(&other, &service, 1, VISIBLE).await?;
    Ok(format!("back after {:?}", start.elapsed()))
}

async fn batch_of_two_hundred(target: Target) -> Outcome {
    let (client, service) = (target.client().await?, target.service("batch"));
    let name: ServiceName = service.parse()?;
    let start = Instant::now();
    let results = client.register_all((1..=200).map(|port| (name.clone(), ip(port)))).await;
    let time = start.elapsed();
    let guards: Vec<_> = results.into_iter().collect::<Result<_, _>>()?;
    reaches(&client, &service, 200, VISIBLE).await?;
    let observer = target.client().await?;
    client.shutdown().await;
    reaches(&observer, &service, 0, VISIBLE).await?;
    drop(guards);
    Ok(format!("registered in {time:?}"))
}

async fn deregistration_by_close_and_drop(target: Target) -> Outcome {
    let (client, service) = (target.client().await?, target.service("end"));
    let first = client.register(service.as_str(), ip(1)).await?;
    let second = client.register(service.as_str(), ip(2)).await?;
    reaches(&client, &service, 2, VISIBLE).await?;
    first.close().await?;
    let closed = reaches(&client, &service, 1, VISIBLE).await?;
    drop(second);
    let dropped = reaches(&client, &service, 0, VISIBLE).await?;
    Ok(format!("gone {closed:?} after close, {dropped:?} after drop"))
}

async fn last_known_list_from_disk(target: Target) -> Outcome {
    let service = target.service("disk");
    let directory = std::env::temp_dir().join(format!("conformance-{}", target.run));
    let client = target.builder().cache_directory(&directory).build().await?;
    let _guard = client.register(service.as_str(), ip(1)).await?;
    reaches(&client, &service, 1, VISIBLE).await?;
    client.subscribe(service.as_str()).await?;
    client.shutdown().await;
    // Port 1 of this machine: nobody is there.
    let blind = NamingClient::builder().server("127.0.0.1:1").cache_directory(&directory);
    let list = blind.lazy().build().await?.instances(service.as_str()).await;
    std::fs::remove_dir_all(&directory)?;
    let list = list?;
    ensure(list.is_stale() && list.len() == 1, format!("{list:?}"))?;
    Ok("found and marked as stale".to_owned())
}

async fn bad_names_are_refused(target: Target) -> Outcome {
    let client = target.client().await?;
    for name in ["", "a b", "@@x", "g@@", "ä"] {
        ensure(client.instances(name).await.is_err(), format!("{name:?} was taken"))?;
    }
    let heavy = ip(1).metadata("k", "x".repeat(100_000));
    let error = client.register("conformance@@heavy", heavy).await.err();
    let error = error.ok_or("100 KB of metadata were taken")?;
    ensure(!error.may_have_had_effect(), "the refusal leaves doubt")?;
    Ok("refused before anything was sent".to_owned())
}
