//! Nobody gets more than he asked for.

use super::*;

/// Without a second packet before the first ack, but for tests that ask for it.
fn quick() -> PushSettings {
    PushSettings {
        debounce: Duration::ZERO,
        second_after: Duration::from_secs(3_600),
        ..PushSettings::default()
    }
}

fn ack_of(id: i64) -> String {
    json!({"type": "unknown-ack", "lastRefTime": id, "data": ""}).to_string()
}

#[tokio::test]
async fn before_the_first_ack_a_socket_gets_a_short_packet_and_all_news_afterwards() {
    let world = world(quick()).await;
    let client = Client::new().await;
    let services = ["g@@a", "g@@b", "g@@c"];
    for service in services {
        world.pusher.subscribe(client.subscriber(service), CACHE_TIME).unwrap();
    }
    world.change("g@@a");
    let first = client.push().await;
    assert!(first.datagram.len() <= 1_200);
    for service in services.into_iter().chain(services) {
        world.change(service);
        world.at_rest(service).await;
    }
    assert!(!client.has_push());
    assert_eq!((world.stats.sent.value(), world.stats.probes.value()), (1, 0));
    client.ack(&first).await;
    let mut told = Vec::new();
    while told.len() < services.len() {
        let push = client.push().await;
        assert_eq!(push.list["revision"], 7);
        told.push(push.list["dom"].as_str().unwrap().to_owned());
    }
    told.sort();
    assert_eq!(told, services);
    // From now on as ever.
    world.change("g@@a");
    world.change("g@@b");
    client.push().await;
    client.push().await;
}

#[tokio::test]
async fn before_the_first_ack_the_caller_gets_the_last_news_now_and_then() {
    let second_after = Duration::from_millis(300);
    let ack_timeout = Duration::from_secs(2);
    let world = world(PushSettings { second_after, ack_timeout, ..quick() }).await;
    let client = Client::new().await;
    world.pusher.subscribe(client.subscriber("g@@s"), CACHE_TIME).unwrap();
    let start = Instant::now();
    world.change("g@@s");
    assert_eq!(client.push().await.list["revision"], 1);
    (0..4).for_each(|_| _ = world.change("g@@s"));
    let revision = world.change("g@@s");
    assert_eq!(client.push().await.list["revision"], revision);
    assert!(start.elapsed() >= second_after);
    // Nothing more once all time-outs have passed.
    world.wait_for("the end of it", |stats| stats.failed.value() == 1).await;
    while client.has_push() {}
    world.change("g@@s");
    world.at_rest("g@@s").await;
    assert!(!client.has_push());
    assert_eq!(world.stats.sent.value(), 2);
}

#[tokio::test]
async fn before_the_first_ack_somebody_who_was_named_gets_the_last_news_instead_of_a_second_send() {
    let ack_timeout = Duration::from_millis(300);
    let world = world(PushSettings { ack_timeout, second_after: Duration::ZERO, ..quick() }).await;
    let client = Client::new().await;
    let subscriber = Subscriber { place: Place::Named, ..client.subscriber("g@@s") };
    world.pusher.subscribe(subscriber, CACHE_TIME).unwrap();
    let start = Instant::now();
    world.change("g@@s");
    let mut last = client.push().await.list;
    world.change("g@@s");
    while world.stats.failed.value() == 0 {
        if client.has_datagram() {
            assert!(start.elapsed() >= ack_timeout);
            last = client.push().await.list;
        }
        world.change("g@@s");
        sleep(Duration::from_millis(5)).await;
    }
    let stats = &world.stats;
    assert!(stats.sent.value() + stats.resent.value() <= 2, "{stats:?}");
    assert!(!client.has_datagram());
    assert!(last["revision"].as_u64().unwrap() >= 1);
}

#[tokio::test]
async fn a_long_list_follows_the_ack_of_a_probe() {
    let world = world(quick()).await;
    let (client, dns) = (Client::new().await, Client::new().await);
    *world.source.padding.lock() = noise(2_500);
    world.pusher.subscribe(client.subscriber("g@@s"), CACHE_TIME).unwrap();
    let dns_subscriber = Subscriber { family: AgentFamily::Dns, ..dns.subscriber("g@@s") };
    world.pusher.subscribe(dns_subscriber.clone(), CACHE_TIME).unwrap();
    let revision = world.change("g@@s");
    let (probe, source) = client.datagram().await;
    let outer: Value = serde_json::from_slice(&probe).unwrap();
    assert_eq!((&outer["type"], &outer["data"]), (&json!("probe"), &json!("")));
    client.send(source, ack_of(outer["lastRefTime"].as_i64().unwrap()).as_bytes()).await;
    let push = client.push().await;
    assert!(push.datagram.len() > 1_200);
    assert_eq!(push.list["revision"], revision);
    // The DNS plugin takes a probe for a list: it polls.
    world.wait_for("the skip", |stats| stats.too_large.value() == 1).await;
    assert!(!dns.has_push());
    let subscribed = world.pusher.subscribe(dns_subscriber, CACHE_TIME);
    assert_eq!(subscribed, Err(SubscribeRefused::TooLarge));
    assert_eq!((world.stats.probes.value(), world.stats.sent.value()), (1, 1));
}

#[tokio::test]
async fn numbers_of_packets_to_others_prove_nothing() {
    let world = world(quick()).await;
    let (curious, victim) = (Client::new().await, Client::new().await);
    for client in [&curious, &victim] {
        world.pusher.subscribe(client.subscriber("g@@s"), CACHE_TIME).unwrap();
    }
    world.change("g@@s");
    let (seen, unseen) = (curious.push().await, victim.push().await);
    assert_eq!(seen.list, unseen.list);
    assert_ne!(seen.id, unseen.id);
    // As if somebody wrote the address of the victim on it.
    for guess in [seen.id, unseen.id - 1, unseen.id + 1] {
        victim.send(seen.source, ack_of(guess).as_bytes()).await;
    }
    world.wait_for("the acks", |stats| stats.unknown_acks.value() == 3).await;
    world.change("g@@s");
    world.at_rest("g@@s").await;
    assert!(!victim.has_push());
    victim.ack(&unseen).await;
    assert_eq!(victim.push().await.list["revision"], 2);
}

#[tokio::test]
async fn who_does_not_ack_gets_the_first_packet_twice_and_is_told_to_poll() {
    let ack_timeout = Duration::from_millis(500);
    let world = world(PushSettings { ack_timeout, ..quick() }).await;
    let mute = Client::new().await;
    for service in ["g@@a", "g@@b"] {
        world.pusher.subscribe(mute.subscriber(service), CACHE_TIME).unwrap();
    }
    let start = Instant::now();
    world.change("g@@a");
    let (first, second) = (mute.push().await, mute.push().await);
    assert_eq!(first.datagram, second.datagram);
    world.wait_for("the end of it", |stats| stats.failed.value() == 1).await;
    assert!(start.elapsed() >= 2 * ack_timeout);
    for service in ["g@@a", "g@@b"] {
        world.change(service);
        world.at_rest(service).await;
        let subscribed = world.pusher.subscribe(mute.subscriber(service), CACHE_TIME);
        assert_eq!(subscribed, Err(SubscribeRefused::Parked), "{service}");
    }
    assert!(!mute.has_push());
    assert_eq!((world.stats.sent.value(), world.stats.resent.value()), (1, 1));
}

#[tokio::test]
async fn an_address_gets_its_bytes_and_the_last_news_in_the_end() {
    let bytes = 4_000_u64;
    let world =
        world(PushSettings { limits_loopback: true, max_bytes_per_second: bytes, ..quick() }).await;
    let client = Client::new().await;
    world.listen(&client, "g@@s");
    *world.source.padding.lock() = "x".repeat(800);
    let (start, mut revision, mut received) = (Instant::now(), 0, 0);
    for _ in 0..50 {
        revision = world.change("g@@s");
        world.at_rest("g@@s").await;
    }
    loop {
        let push = client.push().await;
        client.ack(&push).await;
        received += push.datagram.len() as u64;
        if push.list["revision"] == revision {
            break;
        }
    }
    let allowed = bytes + bytes * u64::try_from(start.elapsed().as_millis()).unwrap() / 1_000;
    assert!(received <= allowed, "{received} of {allowed}");
    assert!(world.stats.over_budget.value() > 0);
}

#[tokio::test]
async fn packets_go_where_the_request_came_from_or_where_the_operator_allows() {
    let client_networks = "10.1.0.0/16,fd00::/8".parse().unwrap();
    let world = world(PushSettings { client_networks, ..quick() }).await;
    let place = |peer: &str, named: &str| {
        let (ip, place) = world.pusher.place(peer.parse().unwrap(), named.parse().ok());
        (ip.to_string(), place)
    };
    let found = |ip: &str, place| (ip.to_owned(), place);
    use Place::{Caller, Guess, Named};
    assert_eq!(place("10.0.0.1", ""), found("10.0.0.1", Caller));
    assert_eq!(place("10.0.0.1", "10.0.0.1"), found("10.0.0.1", Caller));
    assert_eq!(place("::ffff:10.0.0.1", "10.0.0.1"), found("10.0.0.1", Caller));
    assert_eq!(place("10.0.0.1", "192.0.2.1"), found("10.0.0.1", Guess));
    assert_eq!(place("10.0.0.1", "10.1.2.3"), found("10.1.2.3", Named));
    assert_eq!(place("10.0.0.1", "::ffff:10.1.2.3"), found("10.1.2.3", Named));
    assert_eq!(place("10.0.0.1", "fd00::1"), found("fd00::1", Named));
}

#[tokio::test]
async fn who_names_another_address_is_told_to_poll_until_a_packet_has_arrived() {
    let world = world(quick()).await;
    let client = Client::new().await;
    let subscriber = Subscriber { place: Place::Guess, ..client.subscriber("g@@s") };
    let subscribe = || world.pusher.subscribe(subscriber.clone(), CACHE_TIME);
    assert_eq!(subscribe(), Err(SubscribeRefused::Unproved));
    assert_eq!(subscribe(), Err(SubscribeRefused::Unproved));
    world.change("g@@s");
    let push = client.push().await;
    client.ack(&push).await;
    world.wait_for("the ack", |stats| stats.acked.value() == 1).await;
    assert_eq!(subscribe(), Ok(()));
    assert_eq!(world.stats.refused.value(), 0, "it is a subscriber");
}

#[tokio::test]
async fn the_first_answer_says_whether_the_list_is_too_long_for_the_agent() {
    use AgentFamily::{Cpp, Dns, Go, Other};
    let world = world(quick()).await;
    let client = Client::new().await;
    let subscribe = |service: &str, family: AgentFamily| {
        let agent = format!("{family:?}").into();
        let subscriber = Subscriber { family, agent, ..client.subscriber(service) };
        world.pusher.subscribe(subscriber, CACHE_TIME)
    };
    let told = |service| [Go, Dns, Cpp, Other].map(|family| subscribe(service, family).is_ok());
    *world.source.padding.lock() = noise(1_000);
    assert_eq!(told("g@@short"), [true; 4]);
    // Above 4,024 bytes as a packet.
    *world.source.padding.lock() = noise(8_000);
    assert_eq!(told("g@@long"), [false, false, true, true]);
    // A short packet, which C++ cannot unpack.
    *world.source.padding.lock() = "x".repeat(655_359);
    assert_eq!(told("g@@repetitive")[2..], [false, true]);
    // Above 65,507 bytes as a packet.
    *world.source.padding.lock() = noise(200_000);
    assert_eq!(told("g@@longest"), [false; 4]);
    // Asking again changes nothing, a list that fits does.
    assert_eq!(told("g@@longest"), [false; 4]);
    world.pusher.prove(client.address());
    world.source.padding.lock().clear();
    world.change("g@@longest");
    client.push().await;
    world.at_rest("g@@longest").await;
    assert_eq!(told("g@@longest"), [true; 4]);
}
