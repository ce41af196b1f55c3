use super::*;

const SHORT: Duration = Duration::from_millis(200);
/// Longer than any test: what is cut off within [`PATIENCE`] was not cut off by this.
const NEVER: Duration = Duration::from_secs(600);

/// Two connections of all.
fn two() -> Arc<ConnectionLimits> {
    Arc::new(ConnectionLimits::new(2, usize::MAX))
}

fn no_timeouts(settings: &mut HttpSettings) {
    settings.header_timeout = NEVER;
    settings.body_timeout = NEVER;
    settings.idle_timeout = NEVER;
}

#[tokio::test]
async fn half_sent_headers_are_cut_off_and_idle_connections_are_not() {
    let site = Site::start(|settings| {
        no_timeouts(settings);
        settings.header_timeout = SHORT;
    })
    .await;
    let mut fresh = site.connect().await;
    let mut idle = site.connect().await;
    assert_eq!(idle.get("/nacos/x").await.status, 200);
    let mut second_half_sent = site.connect().await;
    assert_eq!(second_half_sent.get("/nacos/x").await.status, 200);

    let started = Instant::now();
    let mut half_sent = site.connect().await;
    half_sent.send("GET /nacos/x HTTP/1.1\r\nHo").await;
    second_half_sent.send("GET /nacos/x HTTP/1.1\r\nHo").await;
    half_sent.closed().await;
    second_half_sent.closed().await;
    assert!(started.elapsed() >= SHORT);

    assert_eq!(idle.get("/nacos/x").await.status, 200);
    assert_eq!(fresh.get("/nacos/x").await.status, 200);
}

#[tokio::test]
async fn a_trickle_of_header_bytes_gains_no_time() {
    let site = Site::start(|settings| {
        no_timeouts(settings);
        settings.header_timeout = SHORT;
    })
    .await;
    let mut client = site.connect().await;
    client.send("GET / HTTP/1.1\r\n").await;
    let deadline = Instant::now() + PATIENCE;
    while client.stream.write_all(b"a: b\r\n").await.is_ok() {
        assert!(Instant::now() < deadline, "it went on for ever");
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn idle_connections_are_closed_in_the_end() {
    let site = Site::start(|settings| {
        no_timeouts(settings);
        settings.idle_timeout = SHORT;
    })
    .await;
    let mut unused = site.connect().await;
    let mut used = site.connect().await;
    assert_eq!(used.get("/nacos/x").await.status, 200);
    used.closed().await;
    unused.closed().await;
    site.until("none is open", |site| site.open() == 0).await;
}

#[tokio::test]
async fn a_client_that_does_not_read_is_dropped() {
    let site = Site::start(|settings| {
        no_timeouts(settings);
        settings.idle_timeout = SHORT;
    })
    .await;
    let mut client = site.connect().await;
    client.send("GET /nacos/big HTTP/1.1\r\nHost: h\r\n\r\n").await;
    site.until("it was served", |site| site.stats.accepted_total.load(Relaxed) == 1).await;
    site.until("none is open", |site| site.open() == 0).await;
}

#[tokio::test]
async fn a_slow_reader_that_reads_gets_everything() {
    let idle_timeout = Duration::from_secs(1);
    let site = Site::start(|settings| {
        no_timeouts(settings);
        settings.idle_timeout = idle_timeout;
    })
    .await;
    let mut client = site.connect().await;
    let started = Instant::now();
    client.send("GET /nacos/big HTTP/1.1\r\nHost: h\r\n\r\n").await;
    client.head().await;
    let mut left = BIG - client.unread.len();
    let mut piece = vec![0; 2 << 20];
    while left > 0 {
        let length = left.min(piece.len());
        let reading = client.stream.read_exact(&mut piece[..length]);
        timeout(PATIENCE, reading).await.unwrap().expect("closed although we read");
        left -= length;
        // The slowness is what is tested.
        sleep(Duration::from_millis(40)).await;
    }
    assert!(started.elapsed() > idle_timeout, "it was over before it could have been cut off");
}

#[tokio::test]
async fn a_body_that_does_not_come_is_answered_408() {
    let site = Site::start(|settings| {
        no_timeouts(settings);
        settings.body_timeout = SHORT;
    })
    .await;
    let mut client = site.connect().await;
    client.send("POST /nacos/x HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nhal").await;
    let answer = client.answer().await;
    assert_eq!(answer.status, 408, "{}", answer.body);
    client.stream.shutdown().await.unwrap();
    client.closed().await;
}

#[tokio::test]
async fn a_body_above_the_limit_is_refused_and_the_refusal_arrives() {
    let site = Site::start(|settings| {
        no_timeouts(settings);
        settings.max_body_bytes = 100_000;
    })
    .await;
    let body = "x".repeat(4 << 20);
    let sized = format!(
        "POST /nacos/x HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut client = site.connect().await;
    let sending = client.stream.write_all(sized.as_bytes());
    timeout(PATIENCE, sending).await.unwrap().expect("the rest is read, not answered by a reset");
    let answer = client.answer().await;
    assert_eq!(answer.status, 413);
    assert!(answer.body.contains("100000 bytes"), "{}", answer.body);
    let chunked = format!(
        "POST /nacos/x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}",
        body.len()
    );
    assert_eq!(site.ask(chunked).await.0, 413);
    // Not even told to go on.
    let expecting = "POST /nacos/x HTTP/1.1\r\nHost: h\r\nContent-Length: 100001\r\n\
                     Expect: 100-continue\r\n\r\n";
    assert_eq!(site.ask(expecting).await.0, 413);
    let fits = format!(
        "POST /nacos/x HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n{}",
        "x".repeat(100_000)
    );
    assert_eq!(site.ask(fits).await.0, 200);
}

#[tokio::test]
async fn many_large_bodies_share_one_limit() {
    let site = Site::start(|settings| {
        no_timeouts(settings);
        settings.max_body_bytes = 100_000;
        settings.max_buffered_body_bytes = 100_000;
    })
    .await;
    let head = "POST /nacos/x HTTP/1.1\r\nHost: h\r\nContent-Length: 60000\r\n\r\n";
    let whole = format!("{head}{}", "x".repeat(60_000));
    assert_eq!(site.ask(&whole).await.0, 200);
    let mut holder = site.connect().await;
    holder.send(&whole[..whole.len() - 1]).await;
    let deadline = Instant::now() + PATIENCE;
    while site.ask(&whole).await.0 != 503 {
        assert!(Instant::now() < deadline, "the bytes of the first body were never counted");
    }
    holder.send("x").await;
    assert_eq!(holder.answer().await.status, 200);
    assert_eq!(site.ask(&whole).await.0, 200, "the share was given back");
}

#[tokio::test]
async fn too_long_heads_are_refused_by_their_kind() {
    let site = Site::start(no_timeouts).await;
    let target =
        |bytes: usize| format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "x".repeat(bytes - 1));
    assert_eq!(site.ask(target(65_534)).await.0, 200);
    assert_eq!(site.ask(target(65_535)).await.0, 414);
    assert_eq!(site.ask(target(400_000)).await.0, 414);
    let header = |bytes| format!("GET / HTTP/1.1\r\nHost: h\r\nx: {}\r\n\r\n", "x".repeat(bytes));
    assert_eq!(site.ask(header(500_000)).await.0, 200);
    assert_eq!(site.ask(header(600_000)).await.0, 431);
    assert_eq!(site.ask(header(8 << 20)).await.0, 431);
    let flood = format!("GET / HTTP/1.1\r\nHost: h\r\n{}\r\n", "a: b\r\n".repeat(1_000));
    assert_eq!(site.ask(flood).await.0, 431);
}

#[tokio::test]
async fn a_connection_above_the_cap_is_closed_at_once() {
    let site = Site::start(|settings| settings.connections = two()).await;
    let mut first = site.connect().await;
    let mut second = site.connect().await;
    assert_eq!(first.get("/nacos/x").await.status, 200);
    assert_eq!(second.get("/nacos/x").await.status, 200);
    site.connect().await.closed().await;
    assert_eq!(site.stats.refused_total.load(Relaxed), 1);
    assert_eq!(second.get("/nacos/x").await.status, 200);
    drop(first);
    site.until("one is free again", |site| site.open() == 1).await;
    assert_eq!(site.connect().await.get("/nacos/x").await.status, 200);
    assert_eq!(site.stats.accepted_total.load(Relaxed), 3);
}

#[tokio::test]
async fn draining_answers_what_was_begun_and_closes_what_is_idle() {
    let site = Site::start(no_timeouts).await;
    let mut fresh = site.connect().await;
    let mut idle = site.connect().await;
    assert_eq!(idle.get("/nacos/x").await.status, 200);
    let mut busy = site.connect().await;
    let head = "POST /nacos/x HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n";
    busy.send(format!("{head}Expect: 100-continue\r\n\r\n")).await;
    // Its request is with the server now.
    assert!(busy.head().await.starts_with("HTTP/1.1 100 "));
    site.until("all are open", |site| site.open() == 3).await;

    site.shutdown.cancel();
    idle.closed().await;
    fresh.closed().await;
    assert!(TcpStream::connect(site.address).await.is_err());
    assert!(!site.task.is_finished());
    busy.send("hi").await;
    let answer = busy.answer().await;
    assert_eq!(answer.body, r#"POST /x true "-" "hi""#);
    assert!(answer.head.to_lowercase().contains("connection: close"), "{}", answer.head);
    busy.closed().await;
    timeout(PATIENCE, site.task).await.unwrap().unwrap();
}

#[tokio::test]
async fn draining_ends_whatever_the_clients_do() {
    let site = Site::start(|settings| {
        no_timeouts(settings);
        settings.drain_timeout = SHORT;
    })
    .await;
    let mut half_body = site.connect().await;
    half_body.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nhal").await;
    let mut half_head = site.connect().await;
    half_head.send("POST / HT").await;
    let mut not_reading = site.connect().await;
    not_reading.send("GET /nacos/big HTTP/1.1\r\nHost: h\r\n\r\n").await;
    let mut refused = site.connect().await;
    refused.send("hello\r\n\r\n").await;
    site.until("all are open", |site| site.open() == 4).await;
    site.shutdown.cancel();
    timeout(PATIENCE, site.task).await.unwrap().unwrap();
    let deadline = Instant::now() + PATIENCE;
    while site.stats.open.load(Relaxed) > 0 {
        assert!(Instant::now() < deadline, "a connection outlived the drain");
        sleep(Duration::from_millis(5)).await;
    }
}

fn members() -> Echo {
    Echo { has_members: true, ..Echo::default() }
}

/// Fills what there is for the bodies of strangers, and keeps it filled.
async fn slow_uploads(site: &Site, count: usize, bytes: usize) -> Vec<Client> {
    let mut holders = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    // Who comes while another is turned away may be turned away, too.
    while holders.len() < count || site.ask(post("/nacos/x", bytes)).await.0 != 503 {
        assert!(Instant::now() < deadline, "there is room for ever");
        let (mut holder, upload) = (site.connect().await, post("/nacos/x", bytes));
        holder.send(&upload[..upload.len() - 1]).await;
        holders.push(holder);
    }
    holders
}

#[tokio::test]
async fn slow_uploads_of_strangers_take_nothing_from_members() {
    for count in [32, 500] {
        let site = Site::start_with(members(), |settings| {
            no_timeouts(settings);
            settings.max_body_bytes = 50_000;
            settings.max_buffered_body_bytes = 32 * 50_000;
        })
        .await;
        let mut before = site.connect().await;
        assert_eq!(before.post("/members/hello", 100).await.status, 200);
        assert_eq!(before.post("/members/call", 100).await.status, 200);
        let _holders = slow_uploads(&site, count, 50_000).await;
        for _ in 0..20 {
            assert_eq!(before.post("/members/call", 150_000).await.status, 200);
        }
        let mut fresh = site.connect().await;
        assert_eq!(fresh.post("/members/hello", 100).await.status, 200);
        assert_eq!(fresh.post("/members/call", 150_000).await.status, 200);
    }
}

#[tokio::test]
async fn who_has_not_greeted_has_no_room_for_a_large_body_at_the_door_of_members() {
    let site = Site::start_with(members(), no_timeouts).await;
    for target in ["/members/call", "/members/hello"] {
        assert_eq!(site.ask(post(target, 4 << 10)).await.0, 200);
        assert_eq!(site.ask(post(target, (4 << 10) + 1)).await.0, 413);
    }
    let mut member = site.connect().await;
    assert_eq!(member.post("/members/hello", 100).await.status, 200);
    assert_eq!(member.post("/members/call", 150_000).await.status, 200);
    assert_eq!(member.post("/members/call", 200_001).await.status, 413);
}

#[tokio::test]
async fn members_find_room_when_strangers_hold_all_connections() {
    let site = Site::start_with(members(), |settings| {
        no_timeouts(settings);
        settings.connections = two();
    })
    .await;
    let mut strangers = [site.connect().await, site.connect().await];
    for stranger in &mut strangers {
        assert_eq!(stranger.get("/nacos/x").await.status, 200);
    }
    let mut third = site.connect().await;
    let refused = third.get("/nacos/x").await;
    assert_eq!((refused.status, refused.head.contains("connection: close")), (503, true));
    third.closed().await;

    let mut member = site.connect().await;
    assert_eq!(member.post("/members/hello", 100).await.status, 200);
    assert_eq!(site.stats.members.load(Relaxed), 0, "a greeting proves nothing");
    assert_eq!(member.post("/members/call", 150_000).await.status, 200);
    let reserved = |site: &Site| site.stats.reserved.load(Relaxed);
    site.until("it counts as a member", |site| site.stats.members.load(Relaxed) == 1).await;
    site.until("and takes no room", |site| (site.open(), reserved(site)) == (2, 0)).await;

    // One address cannot have all that is kept free, nor keep it.
    let mut held = Vec::new();
    for _ in 0..32 {
        held.push(site.connect().await);
    }
    site.until("they are taken in", |site| site.stats.reserved.load(Relaxed) == 32).await;
    site.connect().await.closed().await;
    for client in &mut held {
        client.closed().await;
    }
    site.until("they are gone", |site| site.stats.reserved.load(Relaxed) == 0).await;
    assert_eq!(member.post("/members/call", 150_000).await.status, 200, "the member stays");
    drop(member);
    site.until("it is gone", |site| site.stats.members.load(Relaxed) == 0).await;
}

#[tokio::test]
async fn bodies_from_one_address_share_a_limit_of_their_own() {
    let site = Site::start(|settings| {
        no_timeouts(settings);
        settings.max_body_bytes = 50_000;
        settings.max_buffered_body_bytes_per_source = 60_000;
    })
    .await;
    let holders = slow_uploads(&site, 1, 50_000).await;
    let (status, text) = site.ask(post("/nacos/x", 50_000)).await;
    assert!(status == 503 && text.contains("from one address"), "{status} {text}");
    drop(holders);
    let deadline = Instant::now() + PATIENCE;
    while site.ask(post("/nacos/x", 50_000)).await.0 != 200 {
        assert!(Instant::now() < deadline, "the share was never given back");
    }
}

#[tokio::test]
async fn many_large_heads_share_one_limit() {
    const HEAD: usize = 100_000;
    let site = Site::start(|settings| {
        no_timeouts(settings);
        settings.max_header_bytes = HEAD + 1_000;
        settings.max_buffered_header_bytes = HEAD + 1_000;
    })
    .await;
    let head = format!("GET /nacos/x HTTP/1.1\r\nHost: h\r\na: {}", "x".repeat(HEAD));
    let whole = format!("{head}\r\n\r\n");
    assert_eq!(site.ask(&whole).await.0, 200);
    let mut holder = site.connect().await;
    holder.send(&head).await;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut other = site.connect().await;
        other.send(&whole).await;
        if !other.fill().await {
            break;
        }
        assert!(Instant::now() < deadline, "the bytes of the first head were never counted");
    }
    // Those of usual size go on, and the one that was first comes to its end.
    for _ in 0..20 {
        assert_eq!(site.ask("GET /nacos/x HTTP/1.1\r\nHost: h\r\n\r\n").await.0, 200);
    }
    holder.send("\r\n\r\n").await;
    assert_eq!(holder.answer().await.status, 200);
    drop(holder);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut other = site.connect().await;
        other.send(&whole).await;
        if other.fill().await {
            return;
        }
        assert!(Instant::now() < deadline, "the share was never given back");
    }
}
