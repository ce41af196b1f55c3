//! The load generator tried on the static server within the same process.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::closed::Closed;
use super::open::{self, Stream};
use super::process::Server;
use super::request::{Kind, Load, Population};
use super::sample::{Sample, Snapshot};
use super::static_server::{FixedReply, serve};
use super::tally::Tally;

const POPULATION: Population = Population::lasting(10, 100);
const BEATS: Load = Load { kinds: &[Kind::BeatLight], population: POPULATION, scattered: true };

fn reply(body: &str) -> FixedReply {
    FixedReply {
        method: Kind::BeatLight.method().to_owned(),
        path: Kind::BeatLight.path().to_owned(),
        headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        body: body.to_owned(),
        copies: 1,
    }
}

/// The server in process behind the handle of some other process: its cost is not looked at.
fn handle(address: SocketAddr) -> Server {
    let child = Command::new("sleep").arg("60").spawn().expect("sleep can be run");
    Server::adopt(child, address)
}

async fn closed_loop(body: &str, count: u64, pipeline: u64) -> Result<Sample> {
    let (address, _serving) = serve(vec![reply(body)]).await?;
    let mut server = handle(address);
    let tally = Arc::new(Tally::default());
    tally.record(true);
    let start = Snapshot::take(&server, &tally)?;
    let may_sleep = pipeline > 1;
    let plan = Closed {
        address,
        connections: 5,
        threads: 2,
        pipeline,
        load: BEATS,
        may_sleep,
        count: Some(count),
    };
    plan.start(&tally).measure_count(&mut server, count, start, |_| {}).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_loop_asks_as_often_as_it_was_told() {
    for pipeline in [1, 16] {
        let sample = closed_loop("{\"code\":10200}", 1_003, pipeline).await.unwrap();
        assert_eq!(sample.requests, 1_003);
        assert_eq!(sample.latencies.len(), 1_003);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_with_wrong_replies_measures_nothing() {
    let error = closed_loop("{\"code\":20404}", 1_000, 1).await.unwrap_err();
    assert!(error.to_string().contains("unexpected reply 200: {\"code\":20404}"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_gone_ends_the_run() {
    let (address, serving) = serve(vec![]).await.unwrap();
    serving.abort();
    let _ = serving.await;
    let tally = Arc::new(Tally::default());
    let plan = Closed {
        address,
        connections: 1,
        threads: 1,
        pipeline: 1,
        load: BEATS,
        may_sleep: true,
        count: None,
    };
    let window = Duration::from_secs(60);
    let mut server = handle(address);
    let running = plan.start(&tally);
    let started = Instant::now();
    assert!(running.measure_window(&mut server, Duration::ZERO, window).await.is_err());
    assert!(started.elapsed() < window);
}

fn stream(per_second: u64) -> Stream {
    Stream { load: BEATS, per_second, connections: 7 }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_loop_keeps_its_rate() {
    let (address, _serving) = serve(vec![reply("{\"code\":10200}")]).await.unwrap();
    let mut server = handle(address);
    let running = open::start(address, vec![stream(1_000), stream(500)], &Arc::default());
    let (warm_up, window) = (Duration::from_millis(200), Duration::from_secs(1));
    let sample = running.measure_window(&mut server, warm_up, window).await.unwrap();
    // The machine may be busy; the schedule may not drift.
    let rate = sample.requests_per_second();
    assert!((1_300.0..1_700.0).contains(&rate), "{rate}");
    assert_eq!(sample.unanswered, 0);
}

/// Answers every request of one connection at once, but is away for a while after the first 100.
async fn serve_with_a_pause(listener: TcpListener, pause: Duration) -> Result<()> {
    let (mut stream, _) = listener.accept().await?;
    let reply = "HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n{\"code\":10200}";
    let mut input = vec![0; 4096];
    for number in 0.. {
        if number == 100 {
            tokio::time::sleep(pause).await;
        }
        // One request is under way at a time, and it is small enough to come in one piece.
        if stream.read(&mut input).await? == 0 {
            break;
        }
        stream.write_all(reply.as_bytes()).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_of_the_server_is_charged_to_every_request_that_was_due() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let pause = Duration::from_millis(400);
    tokio::spawn(serve_with_a_pause(listener, pause));
    let mut server = handle(address);
    let one = Stream { connections: 1, ..stream(200) };
    let running = open::start(address, vec![one], &Arc::default());
    let window = Duration::from_millis(1_500);
    let sample = running.measure_window(&mut server, Duration::ZERO, window).await.unwrap();
    // 80 requests fell due during the pause; half of them waited for more than half of it.
    let slow = sample.latencies.count_between(200_000_000, u64::MAX);
    assert!((30..=60).contains(&slow), "{slow} slow requests");
}
