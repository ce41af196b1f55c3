//! Clients that misbehave: they lose their connection, and nobody else notices.

use std::cell::Cell;
use std::time::{Duration, Instant};

use bytes::Bytes;
use naming_server::{Config, GrpcConfig};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::client::{Client, PATIENCE, frame, head, instance};
use crate::server_support::{TestServer, wait_for};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";

/// One frame of HTTP/2.
fn raw_frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Sends bytes as long as the server takes them. Returns when it has closed the connection.
async fn flood(server: &TestServer, bytes: impl Fn(u32) -> Vec<u8>) {
    let socket = TcpStream::connect(server.grpc.unwrap()).await.unwrap();
    let (mut read, mut write) = socket.into_split();
    write.write_all(PREFACE).await.unwrap();
    let reader = async {
        let mut scratch = [0; 16 << 10];
        while !matches!(read.read(&mut scratch).await, Ok(0) | Err(_)) {}
    };
    let writer = async {
        for n in 0.. {
            if write.write_all(&bytes(n)).await.is_err() {
                break;
            }
        }
    };
    let closed = async { tokio::join!(reader, writer) };
    timeout(PATIENCE, closed).await.expect("the server ends the connection");
}

async fn serves_others(server: &TestServer) {
    let client = Client::set_up(server.grpc.unwrap(), "another").await;
    client.register("s", instance("10.0.0.1")).await;
    assert_eq!(client.hosts("s").await, ["10.0.0.1"]);
}

fn metric(server: &TestServer, name: &str) -> f64 {
    let page = server.get("/metrics").expect(200);
    let line = page.lines().find(|line| line.starts_with(name));
    let line = line.unwrap_or_else(|| panic!("no {name} in {page}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_pings_ends_the_connection() {
    let server = TestServer::start();
    let ping = raw_frame(6, 0, 0, &[7; 8]).repeat(1_000);
    flood(&server, |_| ping.clone()).await;
    wait_for("it is counted", || metric(&server, "naming_grpc_floods_total") == 1.0);
    serves_others(&server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_settings_ends_the_connection() {
    let server = TestServer::start();
    let settings = raw_frame(4, 0, 0, &[0, 4, 0, 0, 0xff, 0xff]).repeat(1_000);
    flood(&server, |_| settings.clone()).await;
    serves_others(&server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_without_end_end_the_connection() {
    let server = TestServer::start();
    let more = raw_frame(9, 0, 1, &[b'x'; 1_000]);
    // A header with a long name, of which nothing but the beginning ever comes.
    let begin = raw_frame(1, 0, 1, &[0x00, 0x7f, 0xff, 0xff, 0xff, 0x07]);
    flood(&server, |n| if n == 0 { begin.clone() } else { more.clone() }).await;
    serves_others(&server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_are_called_off_at_once_end_the_connection() {
    let server = TestServer::start();
    let client = Client::set_up(server.grpc.unwrap(), "impatient").await;
    let mut calls = client.raw_calls();
    let flood = async {
        loop {
            let Ok(ready) = calls.clone().ready().await else { return };
            calls = ready;
            match calls.send_request(head("/Request/request"), false) {
                Ok((_, mut send)) => send.send_reset(h2::Reason::CANCEL),
                Err(_) => return,
            }
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, flood).await.expect("the server ends the connection");
    serves_others(&server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_nobody_reads_hold_up_nobody_else() {
    let server = TestServer::start();
    let provider = Client::set_up(server.grpc.unwrap(), "provider").await;
    let many: Vec<_> =
        (0..2_000).map(|n| instance(&format!("10.0.{}.{}", n / 250, n % 250))).collect();
    let batch = json!({"serviceName": "big", "type": "batchRegisterInstance", "instances": many});
    provider.ok("BatchInstanceRequest", batch).await;
    let mut narrow = h2::client::Builder::new();
    narrow.initial_window_size(0);
    let mut client = Client::connect_with(server.grpc.unwrap(), &narrow).await;
    client.open_stream().await;
    client.tell("ConnectionSetupRequest", json!({"clientVersion": "x", "labels": {}}));
    let query = json!({"serviceName": "big"}).to_string();
    let mut waiting = Vec::new();
    for _ in 0..100 {
        let mut calls = client.raw_calls().ready().await.unwrap();
        let (response, mut send) = calls.send_request(head("/Request/request"), false).unwrap();
        send.send_data(frame("ServiceQueryRequest", &[], Bytes::from(query.clone())), true)
            .unwrap();
        waiting.push((response, send));
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let buffered = metric(&server, "naming_grpc_buffered_bytes");
    assert!(buffered <= (64 << 20) as f64, "{buffered}");
    serves_others(&server).await;
    assert_eq!(provider.hosts("big").await.len(), 2_000);
    client.die().await;
    wait_for("all is given back", || metric(&server, "naming_grpc_buffered_bytes") == 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_grpc_is_refused_and_the_connection_goes_on() {
    let server = TestServer::start();
    let client = Client::set_up(server.grpc.unwrap(), "odd").await;
    let mut calls = client.raw_calls().ready().await.unwrap();
    let (response, _) = calls.send_request(head("/Other/method"), true).unwrap();
    assert_eq!(response.await.unwrap().headers()["grpc-status"], "12");
    let request = hyper::Request::post("http://server/Request/request").body(()).unwrap();
    let (response, _) = calls.send_request(request, true).unwrap();
    assert_eq!(response.await.unwrap().status(), 415);
    let broken = client.call_with("InstanceRequest", &[], Bytes::from_static(b"{")).await.unwrap();
    assert_eq!((&*broken.0, &broken.1["errorCode"]), ("ErrorResponse", &json!(502)));
    let large = Bytes::from(vec![b' '; 10_485_760]);
    assert_eq!(client.call_with("HealthCheckRequest", &[], large).await.unwrap_err(), "8");
    client.ok("HealthCheckRequest", json!({})).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_goes_while_it_is_being_set_up_leaves_nothing() {
    let server = TestServer::start();
    for _ in 0..200 {
        let mut client = Client::connect(server.grpc.unwrap()).await;
        client.open_stream().await;
        client.tell("ConnectionSetupRequest", json!({"clientVersion": "hasty", "labels": {}}));
        tokio::task::yield_now().await;
        client.die().await;
    }
    wait_for("all are gone", || {
        !server.get("/metrics").body.contains("naming_grpc_clients{version=\"hasty\"}")
    });
    wait_for("all are closed", || metric(&server, "naming_grpc_connections") == 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_say_nothing_count_until_they_are_over() {
    let server = TestServer::start();
    let client = Client::set_up(server.grpc.unwrap(), "mute").await;
    let mut calls = Vec::new();
    for _ in 0..100 {
        let mut ready = client.raw_calls().ready().await.unwrap();
        calls.push(ready.send_request(head("/Request/request"), false).unwrap());
    }
    wait_for("they are counted", || {
        metric(&server, "naming_grpc_buffered_bytes") >= 100.0 * 4_096.0
    });
    client.die().await;
    wait_for("all is given back", || metric(&server, "naming_grpc_buffered_bytes") == 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_beyond_the_limit_are_closed_and_the_others_go_on() {
    let grpc = GrpcConfig { max_connections: 2, ..GrpcConfig::default() };
    let server = TestServer::start_with(Config { grpc, ..Config::default() });
    let first = Client::set_up(server.grpc.unwrap(), "first").await;
    let second = Client::set_up(server.grpc.unwrap(), "second").await;
    let mut third = TcpStream::connect(server.grpc.unwrap()).await.unwrap();
    let read = timeout(PATIENCE, third.read(&mut [0])).await.unwrap();
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    first.ok("HealthCheckRequest", json!({})).await;
    second.die().await;
    wait_for("there is room", || metric(&server, "naming_grpc_connections") == 1.0);
    assert_eq!(metric(&server, "naming_grpc_refused_total"), 1.0);
    serves_others(&server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_has_four_streams() {
    let server = TestServer::start();
    let client = Client::connect(server.grpc.unwrap()).await;
    let mut streams = Vec::new();
    for n in 1..=5 {
        let mut calls = client.raw_calls().ready().await.unwrap();
        let head = head("/BiRequestStream/requestBiStream");
        let (response, send) = calls.send_request(head, false).unwrap();
        let response = timeout(PATIENCE, response).await.unwrap().unwrap();
        let status = response.headers().get("grpc-status").map(|status| status.as_bytes());
        assert_eq!(status, (n > 4).then_some(&b"8"[..]), "stream {n}");
        streams.push((response, send));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_beyond_the_limit_is_refused_whole() {
    let server = TestServer::start();
    let client = Client::set_up(server.grpc.unwrap(), "provider").await;
    let wish = |n: usize| json!({"ip": format!("10.0.{}.{}", n / 250, n % 250), "port": 80});
    let batch = |count: usize| {
        let instances: Vec<_> = (0..count).map(wish).collect();
        json!({"serviceName": "s", "type": "batchRegisterInstance", "instances": instances})
    };
    let (kind, body) = client.call("BatchInstanceRequest", batch(10_001)).await;
    assert_eq!((&*kind, &body["errorCode"]), ("BatchInstanceResponse", &json!(400)), "{body}");
    assert!(body["message"].as_str().unwrap().contains("'instances'"), "{body}");
    assert!(client.hosts("s").await.is_empty());
    let long = json!({"k": "v".repeat(1_024)});
    let wish = json!({"ip": "10.0.0.1", "port": 80, "metadata": long});
    let request = json!({"serviceName": "s", "type": "registerInstance", "instance": wish});
    let (_, body) = client.call("InstanceRequest", request).await;
    assert!(body["message"].as_str().unwrap().contains("'metadata'"), "{body}");
}

/// A call whose head is there and whose message never comes, as the bytes of its frame.
fn open_call(stream: u32) -> Vec<u8> {
    let mut block = vec![0x83, 0x86];
    let mut literal = |start: &[u8], value: &str| {
        block.extend_from_slice(start);
        block.push(u8::try_from(value.len()).unwrap());
        block.extend_from_slice(value.as_bytes());
    };
    // Names by their place in the table of HPACK: path, authority and content type.
    literal(&[0x04], "/Request/request");
    literal(&[0x01], "server");
    literal(&[0x0f, 0x10], "application/grpc");
    raw_frame(1, 4, stream, &block)
}

/// Bytes that this process has in memory.
fn resident_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4_096
}

/// Somebody whose calls go on, however long it takes until the flood is over. How long the longest
/// of them took.
async fn serves_others_during(server: &TestServer, flood: impl Future<Output = ()>) -> Duration {
    let client = Client::set_up(server.grpc.unwrap(), "beside").await;
    client.register("beside", instance("10.0.0.7")).await;
    let longest = Cell::new(Duration::ZERO);
    let calls = async {
        loop {
            let asked = Instant::now();
            assert_eq!(client.hosts("beside").await, ["10.0.0.7"]);
            longest.set(longest.get().max(asked.elapsed()));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        () = calls => {}
        () = flood => {}
    }
    assert_eq!(client.hosts("beside").await, ["10.0.0.7"]);
    longest.get()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_calls_that_are_opened_at_once_take_bounded_memory() {
    let server = TestServer::start();
    let before = resident_bytes();
    let calls: Vec<u8> = (0..100_000).flat_map(|n| open_call(2 * n + 1)).collect();
    let opens = async {
        let socket = TcpStream::connect(server.grpc.unwrap()).await.unwrap();
        let (mut read, mut write) = socket.into_split();
        write.write_all(PREFACE).await.unwrap();
        let reader = async {
            let mut scratch = [0; 16 << 10];
            while !matches!(read.read(&mut scratch).await, Ok(0) | Err(_)) {}
        };
        let writer = async {
            // The server may end the connection before it has read all of them.
            let _ = write.write_all(&calls).await;
        };
        let both = async { tokio::join!(reader, writer) };
        // They are refused one by one, or the connection ends: nobody waits for the rest.
        let _ = timeout(Duration::from_secs(5), both).await;
    };
    let longest = serves_others_during(&server, opens).await;
    assert!(longest < PATIENCE, "{longest:?}");
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 128 << 20, "{} MiB more than before", grown >> 20);
    wait_for("all is given back", || metric(&server, "naming_grpc_buffered_bytes") == 0.0);
    serves_others(&server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_that_carry_nothing_end_the_connection_and_others_go_on() {
    // Windows that open a little, priorities, data without a byte, and settings acknowledged
    // that nobody sent.
    let floods: [(&str, Vec<u8>); 4] = [
        ("window updates", raw_frame(8, 0, 0, &[0, 0, 0, 1])),
        ("priorities", raw_frame(2, 0, 1, &[0, 0, 0, 0, 1])),
        ("empty data", raw_frame(0, 0, 1, &[])),
        ("unknown frames", raw_frame(0x42, 0, 0, &[1, 2, 3])),
    ];
    for (what, one) in floods {
        let server = TestServer::start();
        let before = resident_bytes();
        let (first, many) = (open_call(1), one.repeat(1_000));
        let bytes = |n| if n == 0 { first.clone() } else { many.clone() };
        let longest = serves_others_during(&server, flood(&server, bytes)).await;
        assert!(longest < PATIENCE, "{what}: {longest:?}");
        let grown = resident_bytes().saturating_sub(before);
        assert!(grown < 128 << 20, "{what}: {} MiB more than before", grown >> 20);
        serves_others(&server).await;
    }
}
