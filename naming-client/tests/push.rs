//! Pushes: applied, acknowledged, put in order.

mod support;

use std::time::Duration;

use naming_client::Instance;
use support::fake::{Action, FakeServer, list_at};
use support::real::RealServer;
use support::{client, next, ports};

const SOON: Duration = Duration::from_secs(5);

#[tokio::test]
async fn a_push_is_applied_acknowledged_and_not_undone_by_an_older_one() {
    let server = FakeServer::ready(|seen| {
        seen.path.ends_with("/list").then(|| {
            let slow =
                list_at("s", &[1], 1_000).replace("\"cacheMillis\":1000", "\"cacheMillis\":60000");
            Action::ok(slow)
        })
    })
    .await;
    let client = client([server.address()]).build().await.unwrap();
    let mut subscription = client.subscribe("s").await.unwrap();
    let seen = server.seen();
    let poll = seen.iter().find(|seen| seen.path.ends_with("/list")).unwrap();
    let target = ("127.0.0.1", poll.parameter("udpPort").unwrap().parse::<u16>().unwrap());
    let pusher = tokio::net::UdpSocket::bind(("127.0.0.1", 0)).await.unwrap();
    let push = async |ports: &[u16], at: i64, number: u64| {
        let packet = serde_json::json!({
            "type": "dom", "data": list_at("s", ports, at), "lastRefTime": number});
        pusher.send_to(packet.to_string().as_bytes(), target).await.unwrap();
        let mut buffer = [0; 1_000];
        let received = tokio::time::timeout(SOON, pusher.recv_from(&mut buffer)).await;
        let (length, _) = received.expect("an acknowledgement").unwrap();
        let ack: serde_json::Value = serde_json::from_slice(&buffer[..length]).unwrap();
        assert_eq!(ack["type"], "push-ack");
        assert_eq!(ack["lastRefTime"], number.to_string());
    };
    push(&[1, 2], 2_000, 11).await;
    assert_eq!(ports(&next(&mut subscription, SOON).await.added), [2]);
    push(&[1], 1_500, 12).await;
    push(&[1, 2, 3], 2_500, 13).await;
    assert_eq!(ports(&next(&mut subscription, SOON).await.added), [3]);
    // A list that could not be worked out is no empty list.
    let broken = serde_json::json!({"type": "dom", "lastRefTime": 14,
        "data": r#"{"name":"DEFAULT_GROUP@@s","lastRefTime":3000,"cacheMillis":10000}"#});
    pusher.send_to(broken.to_string().as_bytes(), target).await.unwrap();
    pusher.recv(&mut [0; 100]).await.unwrap();
    assert_eq!(subscription.instances().len(), 3);
}

#[tokio::test]
async fn everything_works_over_ipv6() {
    if std::net::TcpListener::bind(("::1", 0)).is_err() {
        eprintln!("skipped: this machine has no IPv6 loopback");
        return;
    }
    let server = RealServer::start_with(|config| config.bind = "::1".to_owned());
    assert!(server.address().starts_with("[::1]:"));
    let client = client([server.address()]).push_bind(std::net::Ipv6Addr::LOCALHOST.into());
    let client = client.build().await.unwrap();
    let mut subscription = client.subscribe("s").await.unwrap();
    let guard = client.register("s", Instance::new("::1", 1)).await.unwrap();
    // Well below the polling period, so this is a push.
    let change = next(&mut subscription, Duration::from_secs(3)).await;
    assert_eq!(change.added[0].authority(), "[::1]:1");
    guard.update(|instance| instance.weight = 2.0).await.unwrap();
    assert_eq!(next(&mut subscription, Duration::from_secs(3)).await.modified.len(), 1);
    guard.close().await.unwrap();
}

#[tokio::test]
async fn a_real_push_comes_long_before_the_next_poll() {
    let server = RealServer::start();
    let client = client([server.address()]).build().await.unwrap();
    let mut subscription = client.subscribe("s").await.unwrap();
    let instances = (1..=100).map(|port| {
        ("s".parse().unwrap(), Instance::new("10.0.0.1", port).metadata("a", "b".repeat(50)))
    });
    let guards = client.register_all(instances).await;
    // One hundred instances with metadata come gzip-compressed.
    let complete = async {
        while subscription.instances().len() < guards.len() {
            subscription.changed().await;
        }
    };
    let limit = Duration::from_secs(4);
    tokio::time::timeout(limit, complete).await.expect("pushes, since polls come each 9 s");
}

#[tokio::test]
async fn with_pushes_lost_on_the_way_polling_converges_within_cache_millis() {
    // The pushes go where nobody listens, and the server does not know that.
    let server = RealServer::start_with(|config| {
        config.push.client_networks = "127.0.0.3".parse().unwrap();
    });
    let consumer = client([server.address()]).push_address([127, 0, 0, 3].into());
    let consumer = consumer.build().await.unwrap();
    let provider = client([server.address()]).build().await.unwrap();
    let mut subscription = consumer.subscribe("s").await.unwrap();
    let _guard = provider.register("s", Instance::new("10.0.0.1", 1)).await.unwrap();
    // Servers that believe in their pushes say 10 s.
    let change = next(&mut subscription, Duration::from_secs(10)).await;
    assert_eq!(ports(&change.added), [1]);
}
