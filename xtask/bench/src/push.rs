//! How long it takes from a registration to the datagram that tells a subscriber.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::net::UdpSocket;
use tokio::time::timeout;

use super::Bench;
use super::asking::Counts;
use super::contender::{Contender, own};
use super::report::Report;
use super::sample::{Latencies, latencies};
use super::subscribers::{Crowd, Manner};
use super::wire::{Connection, is_expected, unexpected};

const SCENARIO: &str = "push";
const GROUPED_SERVICE: &str = "DEFAULT_GROUP%40%40bench.push";
const SERVICE: &str = "serviceName=DEFAULT_GROUP%40%40bench.push&namespaceId=public";
/// How long a datagram may take before it counts as lost.
const PATIENCE: Duration = Duration::from_secs(5);
/// A subscription lasts 10 s.
const RENEWAL: Duration = Duration::from_secs(4);
/// Other subscribers of the same service, in the comparison of stalled ones with others.
const OTHERS: usize = 1_000;
const QUIET: usize = 50;

/// From a registration to the datagram: alone, beside many subscribers that acknowledge what they
/// are sent, and beside as many that do not. Then what quiet subscribers cost.
pub(super) async fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let pushes = bench.arguments.pushes;
    let mut server = own(bench, &[]).await?;
    let alone = measure(&mut server, pushes, None).await?;
    report.judge(SCENARIO, "register sent to datagram received, p50", ms(&alone, 0.5), 3.0);
    report.judge(SCENARIO, "register sent to datagram received, p99", ms(&alone, 0.99), 15.0);
    let mut p99 = Vec::new();
    for (manner, name) in [(Manner::Acknowledge, "that acknowledge"), (Manner::Stall, "stalled")] {
        let mut server = own(bench, &[]).await?;
        let address = server.server.address;
        let crowd = Crowd::open(address, GROUPED_SERVICE, OTHERS, manner).await?;
        let found = measure(&mut server, pushes / 2, Some(&crowd)).await?;
        for (quantile, word) in [(0.5, "p50"), (0.99, "p99")] {
            let what = format!("the same beside {OTHERS} {name}, {word}");
            report.figure(SCENARIO, what, ms(&found, quantile));
        }
        p99.push(ms(&found, 0.99).0);
    }
    // Both send a thousand packets for each change; stalled ones are sent some of them twice.
    let above = (p99[1] - p99[0], "ms");
    report.judge(SCENARIO, "p99 beside stalled ones above that beside others", above, 2.0);
    quiet(bench, report).await
}

/// Subscribers that come one by one to a service that does not change.
async fn quiet(bench: &Bench, report: &mut Report) -> Result<()> {
    const SETTLE: Duration = Duration::from_secs(2);
    let server = own(bench, &[]).await?;
    let address = server.server.address;
    let mut one = Subscriber::open(address).await?;
    one.ask("POST", "10.9.9.9").await?;
    one.wait_for(|hosts| !hosts.is_empty()).await?;
    let before = sends(address).await?;
    let mut crowds = Vec::new();
    for _ in 0..QUIET {
        crowds.push(Crowd::open(address, GROUPED_SERVICE, 1, Manner::Acknowledge).await?);
    }
    tokio::time::sleep(SETTLE).await;
    let sent = sends(address).await? - before;
    report.judge(SCENARIO, format!("sends for {QUIET} quiet subscribers"), (sent, ""), 50.0);
    Ok(())
}

async fn sends(address: SocketAddr) -> Result<f64> {
    let counts = Counts::ask(address).await?;
    Ok(counts.value("naming_pushes_sent_total")? + counts.value("naming_pushes_resent_total")?)
}

fn ms(found: &Latencies, quantile: f64) -> (f64, &'static str) {
    (found.value_at_quantile(quantile) as f64 / 1e3, "ms")
}

/// Registers and removes one instance after the other; microseconds until one subscriber knows.
async fn measure(
    contender: &mut Contender,
    pushes: u64,
    crowd: Option<&Crowd>,
) -> Result<Latencies> {
    let server = &mut contender.server;
    let mut subscriber = Subscriber::open(server.address).await?;
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut found = latencies();
    let mut renewed = Instant::now();
    for number in 0..pushes {
        subscriber.rest(Duration::from_millis(random.between(150, 300))).await?;
        if let Some(crowd) = crowd.filter(|_| renewed.elapsed() > RENEWAL) {
            renewed = Instant::now();
            crowd.renew(server.address).await?;
        }
        let ip = format!("10.9.{}.{}", number / 256 % 256, number % 256);
        let sent = subscriber.ask("POST", &ip).await?;
        let received = subscriber.wait_for(|hosts| hosts.iter().any(|host| host["ip"] == *ip));
        let received = received.await?;
        found.saturating_record(microseconds(received - sent));
        subscriber.ask("DELETE", &ip).await?;
        subscriber.wait_for(<[Value]>::is_empty).await?;
        server.check_alive()?;
        if number % 50 == 49 {
            eprintln!("  push: {} of {pushes}", number + 1);
        }
    }
    Ok(found)
}

struct Subscriber {
    connection: Connection,
    socket: UdpSocket,
    port: u16,
    renewed: Instant,
}

impl Subscriber {
    async fn open(server: SocketAddr) -> Result<Self> {
        let socket = UdpSocket::bind(("127.0.0.1", 0)).await?;
        let port = socket.local_addr()?.port();
        let connection = Connection::open(server).await?;
        let mut subscriber = Self { connection, socket, port, renewed: Instant::now() };
        subscriber.renew().await?;
        Ok(subscriber)
    }

    async fn renew(&mut self) -> Result<()> {
        self.renewed = Instant::now();
        let query = format!("clusters=&udpPort={}&clientIP=127.0.0.1&healthyOnly=false", self.port);
        self.exchange("GET", "/list", &query, b"\"hosts\":").await?;
        Ok(())
    }

    /// The moment when it was sent; returns once it is answered.
    async fn ask(&mut self, method: &str, ip: &str) -> Result<Instant> {
        let query = format!("ip={ip}&port=8080&clusterName=DEFAULT&ephemeral=true");
        self.exchange(method, "", &query, b"ok").await
    }

    async fn exchange(
        &mut self,
        method: &str,
        path: &str,
        query: &str,
        expected: &[u8],
    ) -> Result<Instant> {
        let request = format!(
            "{method} /nacos/v1/ns/instance{path}?{SERVICE}&{query} HTTP/1.1\r\nHost: bench\r\n\
             User-Agent: Nacos-Java-Client:v1.4.8\r\n\r\n"
        );
        let sent = Instant::now();
        self.connection.send(request.as_bytes()).await?;
        let judge = |status, _: &[u8], body: &[u8]| {
            ensure!(is_expected(status, body, expected), unexpected(status, body));
            Ok(())
        };
        self.connection.receive(judge).await??;
        Ok(sent)
    }

    /// Pauses, and renews the subscription in time.
    async fn rest(&mut self, pause: Duration) -> Result<()> {
        tokio::time::sleep(pause).await;
        if self.renewed.elapsed() > RENEWAL { self.renew().await } else { Ok(()) }
    }

    /// The moment when a datagram arrives whose hosts are as `wanted`; all are acknowledged.
    async fn wait_for(&mut self, wanted: impl Fn(&[Value]) -> bool) -> Result<Instant> {
        let mut datagram = vec![0; 1 << 16];
        loop {
            let received = timeout(PATIENCE, self.socket.recv_from(&mut datagram)).await;
            let (length, source) = received.context("a datagram was lost")??;
            let at = Instant::now();
            let packet: Value = serde_json::from_slice(&datagram[..length])
                .context("a push of one instance is plain JSON")?;
            self.acknowledge(&packet, source).await?;
            if wanted(&hosts_of(&packet)?) {
                return Ok(at);
            }
        }
    }

    async fn acknowledge(&self, packet: &Value, source: SocketAddr) -> Result<()> {
        let reference = &packet["lastRefTime"];
        let ack = format!(r#"{{"type":"push-ack","lastRefTime":"{reference}","data":""}}"#);
        self.socket.send_to(ack.as_bytes(), source).await?;
        Ok(())
    }
}

/// The service object is a string of JSON within the packet.
fn hosts_of(packet: &Value) -> Result<Vec<Value>> {
    let data = packet["data"].as_str().context("a push has data")?;
    let service: Value = serde_json::from_str(data).context("the data of a push is JSON")?;
    Ok(service["hosts"].as_array().cloned().unwrap_or_default())
}

fn microseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// The same pauses in every run: xorshift.
struct Random(u64);

impl Random {
    fn between(&mut self, low: u64, high: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        low + self.0 % (high - low)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn hosts_are_found_in_the_string_within_the_packet() {
        let packet = json!({"type": "dom", "data": "{\"hosts\":[{\"ip\":\"10.9.0.1\"}]}"});
        assert_eq!(hosts_of(&packet).unwrap()[0]["ip"], "10.9.0.1");
        assert!(hosts_of(&json!({"data": 7})).is_err());
    }

    #[test]
    fn pauses_stay_in_their_range_and_vary() {
        let mut random = Random(1);
        let pauses: Vec<u64> = (0..100).map(|_| random.between(150, 300)).collect();
        assert!(pauses.iter().all(|pause| (150..300).contains(pause)));
        assert!(pauses.iter().any(|pause| *pause != pauses[0]));
    }
}
