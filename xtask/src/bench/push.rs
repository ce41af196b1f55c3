//! How long it takes from a registration to the datagram that tells a subscriber.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::net::UdpSocket;
use tokio::time::timeout;

use super::Arguments;
use super::report::Figure;
use super::sample::latencies;
use super::start::start_server;
use super::wire::{Connection, is_expected, unexpected};

const SCENARIO: &str = "push";
const BAR_P99_MS: f64 = 20.0;
const SERVICE: &str = "serviceName=DEFAULT_GROUP%40%40bench.push&namespaceId=public";
/// How long a datagram may take before it counts as lost.
const PATIENCE: Duration = Duration::from_secs(5);
/// A subscription lasts 10 s.
const RENEWAL: Duration = Duration::from_secs(4);

/// Registers and removes one instance after the other on an idle server, with one subscriber.
pub(super) async fn run(program: &Path, arguments: &Arguments) -> Result<Vec<Figure>> {
    let mut server = start_server(program).await?;
    let mut subscriber = Subscriber::open(server.address).await?;
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let (mut since_sent, mut since_answered) = (latencies(), latencies());
    for number in 0..arguments.pushes {
        subscriber.rest(Duration::from_millis(random.between(150, 300))).await?;
        let ip = format!("10.9.{}.{}", number / 256 % 256, number % 256);
        let registered = subscriber.ask("POST", &ip).await?;
        let received = subscriber.wait_for(|hosts| hosts.iter().any(|host| host["ip"] == *ip));
        let received = received.await?;
        since_sent.saturating_record(microseconds(received - registered.sent));
        // The datagram may overtake the answer: then nothing was waited for.
        let after_answer = received.saturating_duration_since(registered.answered);
        since_answered.saturating_record(microseconds(after_answer));
        subscriber.ask("DELETE", &ip).await?;
        subscriber.wait_for(<[Value]>::is_empty).await?;
        server.check_alive()?;
        if number % 50 == 49 {
            println!("  push: {} of {}", number + 1, arguments.pushes);
        }
    }
    let milliseconds = |histogram: &super::sample::Latencies, quantile| {
        (histogram.value_at_quantile(quantile) as f64 / 1e3, "ms")
    };
    Ok(vec![
        Figure::new(SCENARIO, "sent to received, p50", milliseconds(&since_sent, 0.5), None),
        Figure::new(
            SCENARIO,
            "sent to received, p99",
            milliseconds(&since_sent, 0.99),
            Some(BAR_P99_MS),
        ),
        Figure::new(
            SCENARIO,
            "answered to received, p50",
            milliseconds(&since_answered, 0.5),
            None,
        ),
        Figure::new(
            SCENARIO,
            "answered to received, p99",
            milliseconds(&since_answered, 0.99),
            None,
        ),
    ])
}

struct Subscriber {
    connection: Connection,
    socket: UdpSocket,
    port: u16,
    renewed: Instant,
}

struct Asked {
    sent: Instant,
    answered: Instant,
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

    async fn ask(&mut self, method: &str, ip: &str) -> Result<Asked> {
        let query = format!("ip={ip}&port=8080&clusterName=DEFAULT&ephemeral=true");
        self.exchange(method, "", &query, b"ok").await
    }

    async fn exchange(
        &mut self,
        method: &str,
        path: &str,
        query: &str,
        expected: &[u8],
    ) -> Result<Asked> {
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
        Ok(Asked { sent, answered: Instant::now() })
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
