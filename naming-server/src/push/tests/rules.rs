use super::*;

#[tokio::test]
async fn a_change_is_pushed_and_a_subscription_is_not() {
    let world = world(PushSettings::default()).await;
    let clients = [Client::new().await, Client::new().await];
    for quiet in 0..50 {
        let subscriber = subscriber("g@@s", ([127, 1, 0, quiet], 9).into());
        world.pusher.subscribe(subscriber, CACHE_TIME).unwrap();
    }
    for (client, service) in clients.iter().zip(["g@@a", "g@@b"]) {
        world.listen(client, service);
    }
    let revision = world.change("g@@a");
    let push = clients[0].push().await;
    assert_eq!(push.list["dom"], "g@@a");
    assert_eq!(push.list["revision"], revision);
    assert!(!clients[1].has_push());
    assert_eq!((world.stats.sent.value(), world.stats.subscribers.value()), (1, 52));
    world.change("g@@nobody");
    assert_eq!(world.source.renders.load(SeqCst), 1);
}

#[tokio::test]
async fn changes_within_the_window_are_merged_at_its_end() {
    let debounce = Duration::from_millis(300);
    let world = world(PushSettings { debounce, ..PushSettings::default() }).await;
    let client = Client::new().await;
    world.listen(&client, "g@@s");
    let start = Instant::now();
    world.change("g@@s");
    assert_eq!(client.push().await.list["revision"], 1);
    assert!(start.elapsed() < debounce, "the first change does not wait");
    for _ in 0..5 {
        world.change("g@@s");
    }
    assert_eq!(client.push().await.list["revision"], 6);
    assert!(start.elapsed() >= debounce, "the others do");
    // Two windows later there was nothing more, and a change goes at once again.
    sleep(2 * debounce).await;
    assert!(!client.has_push());
    let start = Instant::now();
    world.change("g@@s");
    assert_eq!(client.push().await.list["revision"], 7);
    assert!(start.elapsed() < debounce);
    assert_eq!(world.stats.sent.value(), 3);
}

#[tokio::test]
async fn a_push_right_after_a_poll_is_repeated_once_the_answer_has_been_read() {
    let world = world(PushSettings::default()).await;
    let (polling, other) = (Client::new().await, Client::new().await);
    for client in [&polling, &other, &polling] {
        world.listen(client, "g@@s");
    }
    let polled = Instant::now();
    world.change("g@@s");
    for client in [&polling, &other] {
        let push = client.push().await;
        assert_eq!(push.list["revision"], 1);
        client.ack(&push).await;
    }
    assert_eq!(polling.push().await.list["revision"], 1);
    assert!(polled.elapsed() >= Duration::from_millis(290), "{:?}", polled.elapsed());
    assert!(!other.has_push(), "its first list came before it subscribed");
}

#[tokio::test]
async fn a_change_while_a_push_is_running_is_pushed_too() {
    let world = world(PushSettings::default()).await;
    let client = Client::new().await;
    world.listen(&client, "g@@s");
    let (pusher, source) = (world.pusher.clone(), Arc::clone(&world.source));
    *world.source.while_rendering.lock() = Some(Box::new(move || {
        source.revision.fetch_add(1, SeqCst);
        pusher.changed(key("g@@s").as_str());
    }));
    world.change("g@@s");
    assert_eq!(client.push().await.list["revision"], 1);
    assert_eq!(client.push().await.list["revision"], 2);
}

#[tokio::test]
async fn lists_are_rendered_once_for_each_kind() {
    let world = world(PushSettings::default()).await;
    let clients = [Client::new().await, Client::new().await];
    let mut expected = Vec::new();
    for (flavour, dom) in [(Flavour::Grouped, "g@@s"), (Flavour::Ungrouped, "s")] {
        for clusters in ["", "a,b"] {
            expected.push((dom.to_owned(), clusters.to_owned()));
            // Agents that differ in nothing else at one socket get one packet.
            for (client, agent) in clients.iter().flat_map(|c| [(c, "agent 1"), (c, "agent 2")]) {
                let subscriber = client.subscriber("g@@s");
                let (clusters, agent) = (clusters.into(), format!("{agent} {flavour:?}").into());
                let subscriber = Subscriber { flavour, clusters, agent, ..subscriber };
                world.pusher.subscribe(subscriber, CACHE_TIME).unwrap();
            }
        }
    }
    expected.sort();
    clients.iter().for_each(|client| world.pusher.prove(client.address()));
    world.change("g@@s");
    for client in &clients {
        let (mut seen, mut ids) = (Vec::new(), Vec::new());
        for _ in 0..4 {
            let push = client.push().await;
            let text = |field: &str| push.list[field].as_str().unwrap().to_owned();
            seen.push((text("dom"), text("clusters")));
            ids.push(push.id);
        }
        seen.sort();
        assert_eq!(seen, expected);
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 4, "each has an id of its own");
    }
    assert_eq!(world.source.renders.load(SeqCst), 4);
    assert_eq!((world.stats.subscribers.value(), world.stats.sent.value()), (16, 8));
}

#[tokio::test]
async fn acks_count_as_numbers_and_as_texts() {
    let ack_timeout = Duration::from_millis(200);
    let world = world(PushSettings { ack_timeout, ..PushSettings::default() }).await;
    let clients = [Client::new().await, Client::new().await, Client::new().await];
    for client in &clients {
        world.listen(client, "g@@s");
    }
    world.change("g@@s");
    let text = clients[0].push().await;
    clients[0].ack(&text).await;
    let number = clients[1].push().await;
    let ack = json!({"type": "push-ack", "lastRefTime": number.id, "data": ""});
    clients[1].send(number.source, ack.to_string().as_bytes()).await;
    let silent = clients[2].push().await;
    // Somebody else's ack of the right packet does not count.
    clients[0].ack(&silent).await;

    let again = clients[2].push().await;
    assert_eq!(again.datagram, silent.datagram, "the same packet again");
    world.wait_for("giving up", |stats| stats.failed.value() == 1).await;
    let stats = &world.stats;
    assert_eq!((stats.sent.value(), stats.acked.value(), stats.resent.value()), (3, 2, 1));
    assert_eq!(stats.unknown_acks.value(), 1);
    assert!(clients.iter().all(|client| !client.has_push()), "who acked gets nothing twice");
    let packets = world.pusher.shared.udp.outstanding(10);
    assert!(packets.is_empty(), "nothing is kept: {packets:?}");
}

#[tokio::test]
async fn who_never_acks_is_parked_until_a_probe_is_acked() {
    let world = world(PushSettings {
        debounce: Duration::ZERO,
        ack_timeout: Duration::from_millis(40),
        park_after_misses: 2,
        probe_interval: Duration::from_millis(1_500),
        ..PushSettings::default()
    })
    .await;
    let (mute, live) = (Client::new().await, Client::new().await);
    world.listen(&mute, "g@@s");
    for misses in 1..=2 {
        world.change("g@@s");
        mute.push().await;
        mute.push().await;
        world.wait_for("a miss", |stats| stats.failed.value() == misses).await;
    }
    world.wait_for("parking", |stats| stats.parked.value() == 1).await;
    let refused = world.pusher.subscribe(mute.subscriber("g@@s"), CACHE_TIME);
    assert_eq!(refused, Err(SubscribeRefused::Parked));

    world.listen(&live, "g@@s");
    world.change("g@@s");
    let push = live.push().await;
    live.ack(&push).await;
    world.wait_for("the ack", |stats| stats.acked.value() == 1).await;
    assert!(!mute.has_push(), "nothing for who is parked");
    // A new address is another subscriber and starts afresh.
    let moved = Client::new().await;
    assert_eq!(world.pusher.subscribe(moved.subscriber("g@@t"), CACHE_TIME), Ok(()));
    world.change("g@@t");
    let push = moved.push().await;
    moved.ack(&push).await;

    // Time for a probe comes; polling alone changes nothing.
    let end = Instant::now() + DEADLINE;
    let probe = loop {
        assert!(Instant::now() < end, "no probe");
        world.change("g@@s");
        let push = live.push().await;
        live.ack(&push).await;
        let subscribed = world.pusher.subscribe(mute.subscriber("g@@s"), CACHE_TIME);
        assert_eq!(subscribed, Err(SubscribeRefused::Parked));
        let waiting = timeout(Duration::from_millis(50), mute.push());
        if let Ok(push) = waiting.await {
            break push;
        }
    };
    mute.ack(&probe).await;
    world.wait_for("the ack of the probe", |stats| stats.parked.value() == 0).await;
    assert_eq!(world.pusher.subscribe(mute.subscriber("g@@s"), CACHE_TIME), Ok(()));
    let revision = world.change("g@@s");
    assert_eq!(mute.push().await.list["revision"], revision);
}

#[tokio::test]
async fn packets_an_agent_cannot_read_are_skipped() {
    let world = world(PushSettings { debounce: Duration::ZERO, ..PushSettings::default() }).await;
    let (go, java) = (Client::new().await, Client::new().await);
    let go_subscriber = Subscriber { family: AgentFamily::Go, ..go.subscriber("g@@s") };
    world.pusher.subscribe(go_subscriber.clone(), CACHE_TIME).unwrap();
    world.pusher.prove(go.address());
    world.listen(&java, "g@@s");
    *world.source.padding.lock() = noise(8_000);
    world.change("g@@s");
    let push = java.push().await;
    assert!((4_025..20_000).contains(&push.datagram.len()), "{}", push.datagram.len());
    world.wait_for("the skip", |stats| stats.too_large.value() == 1).await;
    assert!(!go.has_push());
    let subscribed = world.pusher.subscribe(go_subscriber.clone(), CACHE_TIME);
    assert_eq!(subscribed, Err(SubscribeRefused::TooLarge));

    *world.source.padding.lock() = noise(200_000);
    world.change("g@@s");
    world.wait_for("both skips", |stats| stats.too_large.value() == 3).await;

    world.source.padding.lock().clear();
    let revision = world.change("g@@s");
    assert_eq!(go.push().await.list["revision"], revision);
    assert_eq!(java.push().await.list["revision"], revision);
    assert_eq!(world.pusher.subscribe(go_subscriber, CACHE_TIME), Ok(()));
}

#[tokio::test]
async fn acks_keep_a_subscriber_who_does_not_poll() {
    let lifetime = Duration::from_millis(600);
    let world = world(PushSettings {
        debounce: Duration::ZERO,
        ack_timeout: Duration::from_millis(80),
        lifetime_margin: lifetime,
        ..PushSettings::default()
    })
    .await;
    let client = Client::new().await;
    world.pusher.subscribe(client.subscriber("g@@s"), Duration::ZERO).unwrap();
    let end = Instant::now() + 3 * lifetime;
    while Instant::now() < end {
        world.change("g@@s");
        let push = client.push().await;
        client.ack(&push).await;
        sleep(lifetime / 6).await;
    }
    assert_eq!(world.stats.subscribers.value(), 1);
    assert_eq!(subscribers(&world).len(), 1);
    world.wait_for("expiry", |stats| stats.subscribers.value() == 0).await;
    let sent = world.stats.sent.value();
    world.change("g@@s");
    assert_eq!(world.stats.sent.value(), sent);
    assert!(subscribers(&world).is_empty());
}

#[tokio::test]
async fn garbage_is_counted_and_hurts_nobody() {
    let world = world(PushSettings::default()).await;
    let client = Client::new().await;
    world.listen(&client, "g@@s");
    world.change("g@@s");
    let push = client.push().await;
    let long = format!(r#"{{"lastRefTime":{},"data":"{}"}}"#, push.id, "x".repeat(4_096));
    let nested = "[".repeat(2_000);
    for garbage in [&b""[..], b"\xff\xfe", b"{}", long.as_bytes(), nested.as_bytes()] {
        client.send(push.source, garbage).await;
    }
    client.send(push.source, br#"{"lastRefTime":"1"}"#).await;
    world.wait_for("garbage", |stats| stats.garbage.value() == 5).await;
    world.wait_for("unknown acks", |stats| stats.unknown_acks.value() == 1).await;
    client.ack(&push).await;
    client.ack(&push).await;
    world.wait_for("a doubled ack", |stats| stats.unknown_acks.value() == 2).await;
    assert_eq!(world.stats.acked.value(), 1);
}

#[tokio::test]
async fn nothing_is_sent_while_pushing_is_off() {
    let world = world(PushSettings { debounce: Duration::ZERO, ..PushSettings::default() }).await;
    let client = Client::new().await;
    world.listen(&client, "g@@s");
    world.pusher.set_enabled(false);
    let refused = world.pusher.subscribe(client.subscriber("g@@t"), CACHE_TIME);
    assert_eq!(refused, Err(SubscribeRefused::Disabled));
    world.change("g@@s");
    // Once the driver has seen it and gone to rest, the next change is a new one.
    world.at_rest("g@@s").await;
    world.pusher.set_enabled(true);
    let revision = world.change("g@@s");
    assert_eq!(client.push().await.list["revision"], revision);
    assert_eq!(world.stats.sent.value(), 1);
}

#[tokio::test]
async fn addresses_of_nobody_or_of_many_are_refused_and_counted() {
    let world = world(PushSettings { max_subscribers: 1, ..PushSettings::default() }).await;
    for address in ["127.0.0.1:0", "255.255.255.255:9", "239.0.0.1:9", "[::1]:9"] {
        let refused =
            world.pusher.subscribe(subscriber("g@@s", address.parse().unwrap()), CACHE_TIME);
        assert_eq!(refused, Err(SubscribeRefused::Address), "{address}");
    }
    let subscribed = |port| {
        world.pusher.subscribe(subscriber("g@@s", ([127, 0, 0, 1], port).into()), CACHE_TIME)
    };
    assert_eq!(subscribed(1), Ok(()));
    assert_eq!(subscribed(2), Err(SubscribeRefused::TableFull));
    assert_eq!(world.stats.refused.value(), 5);
}

#[tokio::test]
async fn the_state_counts_from_its_reset() {
    let world = world(PushSettings { debounce: Duration::ZERO, ..PushSettings::default() }).await;
    let client = Client::new().await;
    assert_eq!(world.pusher.state(false).ratio(), 0.0);
    world.listen(&client, "g@@s");
    world.change("g@@s");
    let push = client.push().await;
    client.ack(&push).await;
    world.wait_for("the ack", |stats| stats.acked.value() == 1).await;
    *world.source.padding.lock() = "x".repeat(2_000);
    world.change("g@@s");
    let push = client.push().await;
    world.wait_for("the count", |stats| stats.sent.value() == 2).await;
    let state = world.pusher.state(true);
    assert_eq!((state.succeed, state.total, state.ratio()), (1, 2, 0.5));
    let shown: Vec<Value> =
        state.outstanding.iter().map(|text| serde_json::from_str(text).unwrap()).collect();
    assert_eq!(shown.len(), 1);
    assert_eq!(shown[0]["lastRefTime"], push.id);
    world.pusher.reset();
    assert_eq!((world.pusher.state(false).total, world.stats.sent.value()), (0, 2));
    assert_eq!(world.stats.delay.buckets().iter().sum::<u64>(), 2);
}

#[tokio::test]
async fn a_socket_of_both_families_reaches_both_and_knows_their_acks() {
    let socket = socket2::Socket::new(socket2::Domain::IPV6, socket2::Type::DGRAM, None);
    let Ok(socket) = socket else { return };
    socket.set_only_v6(false).unwrap();
    socket.set_nonblocking(true).unwrap();
    let any: SocketAddr = "[::]:0".parse().unwrap();
    if socket.bind(&any.into()).is_err() {
        // No IPv6 on this machine.
        return;
    }
    let world = world_on(UdpSocket::from_std(socket.into()).unwrap(), PushSettings::default());
    let mut clients = vec![Client::new().await];
    if let Ok(socket) = UdpSocket::bind("[::1]:0").await {
        clients.push(Client { socket });
    }
    for client in &clients {
        world.listen(client, "g@@s");
    }
    world.change("g@@s");
    for client in &clients {
        let push = client.push().await;
        client.ack(&push).await;
    }
    world.wait_for("acks", |stats| stats.acked.value() == clients.len() as u64).await;
    let found = subscribers(&world);
    assert!(found.iter().any(|found| found.address == clients[0].address()));
}

#[tokio::test]
async fn the_pusher_ends_on_shutdown() {
    let World { pusher, shutdown, running, .. } = world(PushSettings::default()).await;
    drop(shutdown);
    timeout(DEADLINE, running).await.unwrap().unwrap();
    drop(pusher);
}
