//! What no server should do, and what no caller should ask: typed errors, never a panic or an
//! endless loop.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use naming_client::{Error, Failure, Instance, NamingClient, ServiceName, ServiceSettings};
use support::fake::{Action, FakeServer, Seen, list};
use support::{client, eventually};
use tokio::time::Instant;

async fn refused_port() -> String {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    listener.local_addr().unwrap().to_string()
}

fn attempts(error: &Error) -> Vec<(String, Failure)> {
    let Error::NoServer { attempts } = error else { panic!("another error: {error}") };
    attempts.iter().map(|attempt| (attempt.server.clone(), attempt.failure.clone())).collect()
}

#[tokio::test]
async fn build_names_each_address_tried_and_why_it_failed() {
    let gone = refused_port().await;
    let sick = FakeServer::start(|_| Action::status(500, "boom")).await;
    let page = FakeServer::start(|_| Action::ok("<html>hello</html>")).await;
    let odd = "no-such-host.invalid:8848".to_owned();
    let error = client([gone.clone(), sick.address(), page.address(), odd.clone()])
        .build()
        .await
        .unwrap_err();
    let failures = attempts(&error);
    let of = |server: &str| &failures.iter().find(|(name, _)| name == server).unwrap().1;
    assert_eq!(of(&gone), &Failure::ConnectionRefused);
    assert!(matches!(of(&sick.address()), Failure::Status { status: 500, .. }));
    assert!(matches!(of(&page.address()), Failure::Malformed(_)));
    assert!(matches!(of(&odd), Failure::Unresolvable(_)), "{:?}", of(&odd));
    let text = error.to_string();
    for name in [&gone, &sick.address(), &page.address(), &odd] {
        assert!(text.contains(name.as_str()), "{name} is not in {text}");
    }
}

#[tokio::test]
async fn build_refuses_values_that_cannot_work() {
    let server = FakeServer::ready(|_| None).await;
    let bad = vec![
        NamingClient::builder(),
        #[cfg(not(feature = "tls"))]
        client(["https://127.0.0.1:1"]),
        client(["a b:1"]),
        client([server.address()]).request_timeout(Duration::ZERO),
        client([server.address()]).cache_directory("/proc/none/such"),
        client([server.address()]).push_bind([192, 0, 2, 1].into()),
    ];
    for builder in bad {
        let error = builder.clone().build().await.unwrap_err();
        assert!(matches!(error, Error::Setting { .. }), "{error} for {builder:?}");
    }
    let error = client([server.address()]).namespace("a##b").build().await.unwrap_err();
    assert!(matches!(error, Error::Name(_)));
}

#[tokio::test]
async fn names_and_instances_are_checked_before_anything_is_sent() {
    let server = FakeServer::ready(|_| None).await;
    let client = client([server.address()]).build().await.unwrap();
    let before = server.seen().len();
    let good = Instance::new("10.0.0.1", 80);
    for name in ["", "a b", "@@s", "ü", "g@@"] {
        let error = client.register(name, good.clone()).await.unwrap_err();
        assert!(matches!(error, Error::Name(_)), "{name:?}: {error}");
        assert!(client.instances(name).await.is_err());
        assert!(client.subscribe(name).await.is_err());
    }
    for bad in [good.clone().weight(f64::NAN), good.clone().cluster("a b"), Instance::new("", 1)] {
        let error = client.register("s", bad).await.unwrap_err();
        assert!(matches!(error, Error::Instance(_)), "{error}");
        assert!(!error.may_have_had_effect());
    }
    let settings = ServiceSettings { protect_threshold: 7.0, ..ServiceSettings::default() };
    let name: ServiceName = "s".parse().unwrap();
    assert!(matches!(client.services().create(&name, &settings).await, Err(Error::Setting { .. })));
    assert_eq!(server.seen().len(), before);
    assert_eq!(client.load().registrations, 0);
}

#[tokio::test]
async fn metadata_beyond_a_request_line_is_an_error() {
    let server = FakeServer::ready(|_| None).await;
    let client = client([server.address()]).build().await.unwrap();
    let heavy = Instance::new("10.0.0.1", 80).metadata("k", "x".repeat(100_000));
    assert!(matches!(client.register("s", heavy).await, Err(Error::Request(_))));
    assert_eq!(client.load().registrations, 0);
}

type Make = fn() -> Action;

/// Each misbehaviour of a server, and whether a write may have had an effect after it.
const MISBEHAVIOURS: [(&str, Make, bool); 9] = [
    ("500", || Action::status(500, "caused: boom;"), true),
    ("503", || Action::status(503, "server is STARTING now"), false),
    ("no JSON", || Action::ok("<html>"), true),
    ("other JSON", || Action::ok("[1,2]"), true),
    ("another's list", || Action::ok(list("other", &[1])), true),
    ("cut", || Action::Cut, true),
    ("cut halfway", || Action::CutHalfway, true),
    ("silence", || Action::Hang, true),
    ("garbage", || Action::Garbage, true),
];

#[tokio::test]
async fn a_misbehaving_server_gives_typed_errors_in_bounded_time() {
    let mut cases = tokio::task::JoinSet::new();
    for (name, make, effect) in MISBEHAVIOURS {
        cases.spawn(misbehave(name, make, effect));
    }
    while let Some(case) = cases.join_next().await {
        case.unwrap();
    }
}

async fn misbehave(name: &str, make: Make, effect: bool) {
    let script = move |seen: &Seen| (!seen.path.ends_with("/operator/metrics")).then(make);
    let server = FakeServer::ready(script).await;
    let client = client([server.address()])
        .request_timeout(Duration::from_millis(200))
        .build()
        .await
        .unwrap();
    let start = Instant::now();
    let error = client.register("s", Instance::new("10.0.0.1", 80)).await.unwrap_err();
    assert_eq!(error.may_have_had_effect(), effect, "{name}: {error}");
    assert_eq!(attempts(&error).len(), 3, "{name}: one server is asked three times");
    let error = client.instances("s").await.unwrap_err();
    assert!(matches!(error, Error::NoServer { .. }), "{name}: {error}");
    assert!(client.subscribe("s").await.is_err(), "{name}");
    assert!(start.elapsed() < Duration::from_secs(8), "{name} took {:?}", start.elapsed());
    let gone = || async { client.load().registrations + client.load().queries == 0 };
    eventually("nothing is left behind", Duration::from_secs(5), gone).await;
}

#[tokio::test]
async fn a_refusal_ends_the_call_and_keeps_the_servers_words() {
    let server = FakeServer::ready(|seen| {
        seen.is("POST", "/instance").then(|| Action::status(400, "caused: no such thing;"))
    })
    .await;
    let other = FakeServer::ready(|_| None).await;
    let client = client([server.address()]).build().await.unwrap();
    let error = client.register("s", Instance::new("10.0.0.1", 80)).await.unwrap_err();
    let Error::Refused { status: 400, message, .. } = &error else { panic!("{error}") };
    assert_eq!(message, "caused: no such thing;");
    assert!(!error.may_have_had_effect());
    assert_eq!(server.count("POST", "/instance"), 1);
    assert_eq!(other.seen().len(), 0);
}

#[tokio::test]
async fn not_found_is_told_apart() {
    let server = FakeServer::ready(|seen| match seen.path.as_str() {
        "/nacos/v1/ns/service" => {
            Some(Action::status(500, "caused: service DEFAULT_GROUP@@s is not found!;"))
        }
        _ => None,
    })
    .await;
    let client = client([server.address()]).build().await.unwrap();
    let name: ServiceName = "s".parse().unwrap();
    assert!(client.services().detail(&name).await.unwrap_err().is_not_found());
    // Deleting is not repeated after a 500, which may come from half-way.
    let deletes = server.count("DELETE", "/service");
    assert!(client.services().delete(&name).await.is_err());
    assert_eq!(server.count("DELETE", "/service"), deletes + 1);
}

#[tokio::test]
async fn a_wrong_password_is_told_at_the_start() {
    let server = FakeServer::ready(|seen| {
        seen.is("POST", "/auth/login").then(|| Action::status(403, "unknown user!"))
    })
    .await;
    let error = client([server.address()]).credentials("u", "wrong").build().await.unwrap_err();
    let Error::Credentials { user, message, .. } = &error else { panic!("{error}") };
    assert_eq!((user.as_str(), message.as_str()), ("u", "unknown user!"));
    assert!(!error.to_string().contains("wrong"), "the password is in no error");
    let builder = client([server.address()]).credentials("u", "wrong");
    assert!(!format!("{builder:?}").contains("wrong"), "nor in anything printed");
    assert!(server.seen().iter().all(|seen| !seen.query.contains("wrong")));
}

#[tokio::test]
async fn a_token_that_ran_out_is_renewed_once() {
    let logins = Arc::new(AtomicU32::new(0));
    let count = logins.clone();
    let server = FakeServer::ready(move |seen| {
        if seen.is("POST", "/auth/login") {
            let number = count.fetch_add(1, Ordering::SeqCst) + 1;
            let text = format!(r#"{{"accessToken":"t{number}","tokenTtl":18000}}"#);
            return Some(Action::ok(text));
        }
        let secured = !seen.path.ends_with("/operator/metrics");
        let fresh = seen.head.to_ascii_lowercase().contains("authorization: bearer t2");
        (secured && !fresh).then(|| Action::status(403, "token expired!"))
    })
    .await;
    let client = client([server.address()]).credentials("u", "p").build().await.unwrap();
    let registration = client.register("s", Instance::new("10.0.0.1", 80)).await.unwrap();
    assert_eq!(logins.load(Ordering::SeqCst), 2);
    registration.close().await.unwrap();
    assert_eq!(logins.load(Ordering::SeqCst), 2, "the new token is kept");
}

#[tokio::test]
async fn a_token_is_renewed_before_it_runs_out() {
    let server = FakeServer::ready(|seen| {
        seen.is("POST", "/auth/login")
            .then(|| Action::ok(r#"{"accessToken":"t","tokenTtl":1,"globalAdmin":true}"#))
    })
    .await;
    let client = client([server.address()]).credentials("u", "p").build().await.unwrap();
    client.instances("s").await.unwrap();
    assert_eq!(server.count("POST", "/auth/login"), 1);
    tokio::time::sleep(Duration::from_millis(950)).await;
    client.instances("s").await.unwrap();
    assert_eq!(server.count("POST", "/auth/login"), 2, "nine tenths of its second are over");
}

#[tokio::test]
async fn a_user_without_the_right_gets_no_endless_log_ins() {
    let server = FakeServer::ready(|seen| match seen.path.as_str() {
        "/nacos/v1/auth/login" => {
            Some(Action::ok(r#"{"accessToken":"t","tokenTtl":18000,"globalAdmin":false}"#))
        }
        "/nacos/v1/ns/instance" => Some(Action::status(403, "authorization failed!")),
        _ => None,
    })
    .await;
    let client = client([server.address()]).credentials("u", "p").build().await.unwrap();
    let error = client.register("s", Instance::new("10.0.0.1", 80)).await.unwrap_err();
    assert!(matches!(error, Error::Refused { status: 403, .. }), "{error}");
    assert_eq!(server.count("POST", "/auth/login"), 2);
}

#[tokio::test]
async fn a_push_that_is_nonsense_or_forged_changes_nothing_by_itself() {
    let server = FakeServer::ready(|seen| {
        seen.path.ends_with("/instance/list").then(|| Action::ok(list("s", &[1])))
    })
    .await;
    let client = client([server.address()]).build().await.unwrap();
    let mut subscription = client.subscribe("s").await.unwrap();
    let seen = server.seen();
    let poll = seen.iter().find(|seen| seen.path.ends_with("/list")).unwrap();
    assert_eq!(poll.parameter("clientIP"), Some("127.0.0.1"));
    let port: u16 = poll.parameter("udpPort").unwrap().parse().unwrap();

    // 127.0.0.2 is loopback but no server's address.
    let forger = tokio::net::UdpSocket::bind(("127.0.0.2", 0)).await.unwrap();
    let forged =
        serde_json::json!({"type": "dom", "lastRefTime": 1, "data": list("s", &[6, 6, 6])});
    let target = ("127.0.0.1", port);
    for packet in [&b"\x1f\x8bgarbage"[..], b"", b"{", b"[]", b"{\"type\":1}"] {
        forger.send_to(packet, target).await.unwrap();
    }
    forger.send_to(forged.to_string().as_bytes(), target).await.unwrap();
    // The forged packet is acknowledged, which shows that it was read, and makes the client ask.
    let mut buffer = [0; 1_000];
    let (length, _) = forger.recv_from(&mut buffer).await.unwrap();
    assert!(String::from_utf8_lossy(&buffer[..length]).contains("push-ack"));
    let polls = server.count("GET", "/list");
    let asked = || async { server.count("GET", "/list") > polls };
    eventually("the client asks", Duration::from_secs(3), asked).await;
    assert_eq!(subscription.instances().len(), 1);
    let change = tokio::time::timeout(Duration::from_millis(100), subscription.changed()).await;
    assert!(change.is_err(), "{change:?}");
}

#[tokio::test]
async fn odd_beat_replies_do_not_hurt() {
    let intervals = [0_i64, 1, -5, i64::MAX];
    for interval in intervals {
        let server = FakeServer::ready(move |seen| {
            seen.is("PUT", "/instance/beat")
                .then(|| Action::ok(format!(r#"{{"clientBeatInterval":{interval},"code":10200}}"#)))
        })
        .await;
        let client = client([server.address()]).build().await.unwrap();
        let quick = Instance::new("10.0.0.1", 80).metadata("preserved.heart.beat.interval", "100");
        let registration = client.register("s", quick).await.unwrap();
        let beaten = || async { server.count("PUT", "/instance/beat") > 0 };
        eventually("a beat", Duration::from_secs(2), beaten).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert!(server.count("PUT", "/instance/beat") < 12, "beats at an interval of {interval}");
        registration.close().await.unwrap();
    }
}
