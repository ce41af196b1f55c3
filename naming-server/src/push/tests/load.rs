//! Many subscribers. The numbers are printed; what is asserted holds on any machine.

use std::net::Ipv4Addr;

use super::*;

/// The whole of 127.0.0.0/8 is this machine: one socket stands for many subscribers.
fn loopback(number: u32, port: u16) -> SocketAddr {
    (Ipv4Addr::from(0x7f01_0000 + number), port).into()
}

fn percentile(delays: &mut [Duration], share: f64) -> Duration {
    delays.sort_unstable();
    delays[((delays.len() - 1) as f64 * share) as usize]
}

const DEBOUNCE: Duration = Duration::from_millis(20);

/// Changes the service again and again, outside of its window; how long each push took.
async fn delays(world: &World, client: &Client, changes: usize) -> Vec<Duration> {
    let mut delays = Vec::new();
    for _ in 0..changes {
        sleep(DEBOUNCE + Duration::from_millis(2)).await;
        let start = Instant::now();
        let revision = world.change("g@@live");
        loop {
            let push = client.push().await;
            client.ack(&push).await;
            // An ack that was late has the push before sent once more.
            if push.list["revision"] == revision {
                break;
            }
        }
        delays.push(start.elapsed());
    }
    delays
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stalled_subscribers_do_not_delay_the_others() {
    let world = world(PushSettings {
        debounce: DEBOUNCE,
        ack_timeout: Duration::from_millis(250),
        ..PushSettings::default()
    })
    .await;
    let live = Client::new().await;
    world.listen(&live, "g@@live");
    let mut alone = delays(&world, &live, 60).await;

    // Half of them never read, nobody is there at the ports of the others; half of each listen
    // to the same service as the live one.
    let unread = UdpSocket::bind("0.0.0.0:0").await.unwrap();
    let unread_port = unread.local_addr().unwrap().port();
    for number in 0..1_000 {
        let service = if number % 4 < 2 { "g@@live" } else { "g@@stalled" };
        let port = if number % 2 == 0 { unread_port } else { 9 };
        let subscriber = subscriber(service, loopback(number, port));
        let address = subscriber.address;
        world.pusher.subscribe(subscriber, CACHE_TIME).unwrap();
        world.pusher.prove(address);
    }
    let mut beside = Vec::new();
    for _ in 0..60 {
        world.change("g@@stalled");
        beside.append(&mut delays(&world, &live, 1).await);
    }
    println_delays("alone", &mut alone);
    println_delays("beside 1,000 stalled", &mut beside);
    assert!(percentile(&mut beside, 1.0) < Duration::from_secs(2));

    // In the end they are parked and cost nothing.
    let end = Instant::now() + DEADLINE;
    while world.stats.parked.value() < 1_000 {
        assert!(Instant::now() < end, "{:?}", world.stats);
        world.change("g@@stalled");
        delays(&world, &live, 1).await;
    }
    world.at_rest("g@@live").await;
    world.at_rest("g@@stalled").await;
    let sent = world.stats.sent.value();
    let mut parked = delays(&world, &live, 60).await;
    world.at_rest("g@@live").await;
    println_delays("beside 1,000 parked", &mut parked);
    assert_eq!(world.stats.sent.value(), sent + 60);
}

fn println_delays(title: &str, delays: &mut [Duration]) {
    let (p50, p99) = (percentile(delays, 0.5), percentile(delays, 0.99));
    let max = percentile(delays, 1.0);
    eprintln!("register to push, {title}: p50 {p50:?}, p99 {p99:?}, max {max:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_subscribers_of_a_service_are_told_with_one_packet() {
    const SUBSCRIBERS: u32 = 10_000;
    let world = world(PushSettings::default()).await;
    *world.source.padding.lock() = "some instances ".repeat(2_000);
    let socket = UdpSocket::bind("0.0.0.0:0").await.unwrap();
    let port = socket.local_addr().unwrap().port();
    let other = Client::new().await;
    world.listen(&other, "g@@other");
    for number in 0..SUBSCRIBERS {
        let subscriber = subscriber("g@@s", loopback(number, port));
        world.pusher.subscribe(subscriber, CACHE_TIME).unwrap();
        world.pusher.prove(loopback(number, port));
    }
    let start = Instant::now();
    world.change("g@@s");
    let subscribed = Instant::now() + DEADLINE;
    while world.stats.sent.value() == 0 {
        assert!(Instant::now() < subscribed);
        tokio::task::yield_now().await;
    }
    world.change("g@@other");
    other.push().await;
    let other_after = start.elapsed();
    world.wait_for("all", |stats| stats.sent.value() == u64::from(SUBSCRIBERS) + 1).await;
    eprintln!(
        "10,000 subscribers: all sent within {:?} of the change; another service changed \
         meanwhile after {other_after:?}",
        start.elapsed()
    );
    assert_eq!(world.source.renders.load(SeqCst), 2);
    assert_eq!((world.stats.send_errors.value(), world.stats.too_large.value()), (0, 0));
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_change_of_every_service_is_always_pushed() {
    const SERVICES: usize = 20;
    let world = Arc::new(
        world(PushSettings { debounce: Duration::from_millis(3), ..PushSettings::default() }).await,
    );
    let mut clients = Vec::new();
    for service in 0..SERVICES {
        let client = Client::new().await;
        let subscriber = client.subscriber(&format!("g@@s{service}"));
        world.pusher.subscribe(subscriber, CACHE_TIME).unwrap();
        clients.push(client);
    }
    let changes = (0..4).map(|_| {
        let world = Arc::clone(&world);
        tokio::spawn(async move {
            let mut last = [0; SERVICES];
            for turn in 0..2_000 {
                let service = turn % SERVICES;
                last[service] = world.change(&format!("g@@s{service}"));
                if turn % 40 == 0 {
                    sleep(Duration::from_millis(1)).await;
                }
            }
            last
        })
    });
    let readers = clients.into_iter().map(|client| {
        tokio::spawn(async move {
            let mut seen = 0;
            while let Ok(push) = timeout(Duration::from_millis(1_500), client.push()).await {
                let revision = push.list["revision"].as_u64().unwrap();
                assert!(revision >= seen, "never back");
                seen = revision;
                client.ack(&push).await;
            }
            seen
        })
    });
    let (changes, readers): (Vec<_>, Vec<_>) = (changes.collect(), readers.collect());
    let mut last = [0; SERVICES];
    for change in changes {
        for (last, one) in last.iter_mut().zip(change.await.unwrap()) {
            *last = one.max(*last);
        }
    }
    for (reader, last) in readers.into_iter().zip(last) {
        assert!(reader.await.unwrap() >= last, "the subscriber knows the last change");
    }
    assert!(world.stats.sent.value() < 8_000, "changes are merged");
}
