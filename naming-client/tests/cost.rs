//! What the client costs and how quick it is. These measure for a while, so they run only on
//! request:
//!
//! `cargo test -p naming-client --test cost -- --ignored --nocapture --test-threads 1`

#![allow(clippy::print_stdout, reason = "the numbers are the result")]

mod support;

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use naming_client::{Instance, ServiceName, Transport};
use support::real::RealServer;
use support::{client, client_over};

/// CPU time of the threads of clients that speak gRPC.
#[cfg(target_os = "linux")]
fn client_cpu() -> Duration {
    let threads = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let of = |path: std::path::PathBuf| -> Option<Duration> {
        let name = std::fs::read_to_string(path.join("comm")).ok()?;
        let text = std::fs::read_to_string(path.join("schedstat")).ok()?;
        let nanos = text.split(' ').next()?.parse().ok()?;
        (name.trim() == "naming-client").then_some(Duration::from_nanos(nanos))
    };
    threads.filter_map(|thread| of(thread.path())).sum()
}

#[cfg(target_os = "linux")]
#[tokio::test]
#[ignore = "measures for 40 s"]
async fn a_thousand_registrations_over_grpc_cost_at_most_a_hundredth_of_a_core() {
    const TIME: Duration = Duration::from_secs(30);
    let server = RealServer::start();
    let client = client_over(Transport::Grpc, [server.address()]).build().await.unwrap();
    for (what, services) in [("in one service", 1), ("in a thousand services", 1_000)] {
        let instances = (0..1_000_u16).map(|number| {
            let service: ServiceName = format!("many-{}", number % services).parse().unwrap();
            (service, Instance::new("10.0.0.1", number + 1))
        });
        let registrations = client.register_all(instances).await;
        assert!(registrations.iter().all(Result::is_ok));
        tokio::time::sleep(Duration::from_secs(6)).await;
        let before = thread_cpu() + client_cpu();
        tokio::time::sleep(TIME).await;
        let used = thread_cpu() + client_cpu() - before;
        let share = used.as_secs_f64() / TIME.as_secs_f64();
        println!("1,000 registrations {what} over gRPC: {:.2} % of a core", share * 100.0);
        assert!(share <= 0.01, "{share}");
        for registration in registrations {
            registration.unwrap().close().await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "makes 20,000 registrations"]
async fn ten_thousand_registrations_are_back_within_five_seconds_of_a_servers_return() {
    for (what, services) in [("in one service", 1), ("in ten thousand services", 10_000)] {
        let mut server = RealServer::start();
        let client = client_over(Transport::Grpc, [server.address()]).build().await.unwrap();
        let instances = (0..10_000_u16).map(|number| {
            let service: ServiceName = format!("many-{}", number % services).parse().unwrap();
            (service, Instance::new("10.0.0.1", number + 1))
        });
        let start = Instant::now();
        let registrations = client.register_all(instances).await;
        assert!(registrations.iter().all(Result::is_ok));
        let registered = start.elapsed();
        server.restart();
        let start = Instant::now();
        let back = || registrations.iter().flatten().all(|one| one.status().registrations >= 2);
        while !back() {
            assert!(start.elapsed() < Duration::from_secs(60), "not within a minute");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let time = start.elapsed();
        println!("10,000 registrations {what}: made in {registered:?}, back after {time:?}");
        assert!(time <= Duration::from_secs(5), "{time:?}");
        client.shutdown().await;
    }
}

/// CPU time this thread has used. The client of a single-threaded test runs on it alone; the
/// server has threads of its own.
#[cfg(target_os = "linux")]
fn thread_cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}

#[cfg(target_os = "linux")]
#[tokio::test]
#[ignore = "measures for 20 s"]
async fn the_beats_of_a_thousand_registrations_cost_at_most_a_twentieth_of_a_core() {
    const TIME: Duration = Duration::from_secs(20);
    let server = RealServer::start();
    let client = client([server.address()]).build().await.unwrap();
    let service: ServiceName = "many".parse().unwrap();
    let instances = (1..=1_000).map(|port| (service.clone(), Instance::new("10.0.0.1", port)));
    let registrations = client.register_all(instances).await;
    assert!(registrations.iter().all(Result::is_ok));
    // The usual interval of 5 s; the first round is spread out before the measurement.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let before = thread_cpu();
    tokio::time::sleep(TIME).await;
    let used = thread_cpu() - before;
    let share = used.as_secs_f64() / TIME.as_secs_f64();
    println!(
        "1,000 registrations: {:.2} % of a core, {:.0} us per beat",
        share * 100.0,
        used.as_secs_f64() * 1e6 / (200.0 * TIME.as_secs_f64())
    );
    assert!(registrations.iter().flatten().all(|one| one.status().failures == 0));
    assert!(share <= 0.05, "{share}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures for 30 s"]
async fn a_pushed_change_is_seen_within_fifty_milliseconds() {
    let server = RealServer::start();
    let provider = client([server.address()]).build().await.unwrap();
    let consumer = client([server.address()]).build().await.unwrap();
    let registration = provider.register("s", Instance::new("10.0.0.1", 1)).await.unwrap();
    let mut subscription = consumer.subscribe("s").await.unwrap();
    let mut times = Histogram::<u64>::new(3).unwrap();
    for round in 2..=201 {
        // Servers gather changes that follow each other closely; these do not.
        tokio::time::sleep(Duration::from_millis(130)).await;
        let start = Instant::now();
        registration.update(|instance| instance.weight = f64::from(round)).await.unwrap();
        let change = tokio::time::timeout(Duration::from_secs(12), subscription.changed()).await;
        assert_eq!(change.unwrap().unwrap().modified[0].weight, f64::from(round));
        times.record(u64::try_from(start.elapsed().as_micros()).unwrap()).unwrap();
    }
    let at = |share| times.value_at_quantile(share);
    println!(
        "from the call to the subscriber: p50 {} us, p99 {} us, max {} us",
        at(0.5),
        at(0.99),
        times.max()
    );
    assert!(at(0.99) <= 50_000, "p99 {} us", at(0.99));
}
