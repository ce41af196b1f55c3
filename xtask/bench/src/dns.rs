//! DNS at a fixed rate: how late answers are, and what they cost.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};

use super::Bench;
use super::contender::own;
use super::report::Report;
use super::sample::{Latencies, latencies};
use super::wire::{Connection, is_expected, unexpected};

const SCENARIO: &str = "dns";
/// Questions a second.
const RATE: u64 = 20_000;
/// For how long.
const LENGTH: Duration = Duration::from_secs(10);
/// How long answers may take after the last question.
const DRAIN: Duration = Duration::from_secs(1);
/// All questions of a tick are due at its beginning.
const TICK: Duration = Duration::from_micros(500);
/// Services that are asked for in turns.
const SERVICES: u64 = 100;
const INSTANCES: u64 = 10;
/// Questions under way are told apart by 16 bits.
const IDS: usize = 1 << 16;
const TYPE_A: u16 = 1;
const TYPE_SRV: u16 = 33;

/// Addresses and service records of services with ten instances, open loop.
pub(super) async fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let port = free_port()?;
    let setting = format!("dns.port={port}");
    let mut server = own(bench, &[&setting]).await?;
    fill(server.server.address).await?;
    let dns = SocketAddr::from(([127, 0, 0, 1], port));
    for (name, kind) in [("A", TYPE_A), ("SRV", TYPE_SRV)] {
        let before = server.server.cpu_time()?;
        let asked = tokio::task::spawn_blocking(move || ask(dns, kind)).await??;
        let spent = server.server.cpu_time()?.total - before.total;
        server.server.check_alive()?;
        let each = spent.as_secs_f64() * 1e6 / asked.sent.max(1) as f64;
        let core = spent.as_secs_f64() * 100.0 / LENGTH.as_secs_f64();
        let lost = (asked.sent - asked.latencies.len()) as f64;
        let ms = |quantile| (asked.latencies.value_at_quantile(quantile) as f64 / 1e6, "ms");
        report.figure(SCENARIO, format!("{name} at {RATE}/s, processor time each"), (each, "us"));
        report.figure(SCENARIO, format!("{name} at {RATE}/s, of one core"), (core, "%"));
        report.figure(SCENARIO, format!("{name} at {RATE}/s, p50"), ms(0.5));
        report.judge(SCENARIO, format!("{name} at {RATE}/s, p99"), ms(0.99), 1.0);
        report.judge(SCENARIO, format!("{name} at {RATE}/s, without answer"), (lost, ""), 0.0);
    }
    Ok(())
}

async fn fill(address: SocketAddr) -> Result<()> {
    let mut connection = Connection::open(address).await?;
    for number in 0..SERVICES * INSTANCES {
        let (service, instance) = (number / INSTANCES, number % INSTANCES);
        let request = format!(
            "POST /nacos/v1/ns/instance?serviceName=bench-{service}&ip=10.0.{service}.{instance}\
             &port=8080 HTTP/1.1\r\nHost: bench\r\nContent-Length: 0\r\n\r\n"
        );
        connection.send(request.as_bytes()).await?;
        let judge = |status, _: &[u8], body: &[u8]| match is_expected(status, body, b"ok") {
            true => Ok(()),
            false => Err(anyhow!(unexpected(status, body))),
        };
        connection.receive(judge).await??;
    }
    Ok(())
}

/// A port that is free for both transports at this moment.
fn free_port() -> Result<u16> {
    for _ in 0..20 {
        let tcp = TcpListener::bind("127.0.0.1:0")?;
        let address = tcp.local_addr()?;
        if UdpSocket::bind(address).is_ok() {
            return Ok(address.port());
        }
    }
    bail!("no port is free for UDP and TCP")
}

struct Asked {
    sent: u64,
    latencies: Latencies,
}

/// When the question with each id was due, in nanoseconds since the start; 0 once it is answered.
struct Due(Vec<AtomicU64>);

fn ask(server: SocketAddr, kind: u16) -> Result<Asked> {
    let socket = Arc::new(UdpSocket::bind("127.0.0.1:0")?);
    socket.connect(server)?;
    socket.set_read_timeout(Some(Duration::from_millis(50)))?;
    let due = Arc::new(Due((0..IDS).map(|_| AtomicU64::new(0)).collect()));
    let (start, is_over) = (Instant::now(), Arc::new(AtomicBool::new(false)));
    let reader = {
        let (socket, due, is_over) = (Arc::clone(&socket), Arc::clone(&due), Arc::clone(&is_over));
        thread::spawn(move || read(&socket, &due, start, &is_over))
    };
    let questions: Vec<_> = (0..SERVICES).map(|service| question(service, kind)).collect();
    let (mut sent, mut bytes) = (0_u64, Vec::new());
    while start.elapsed() < LENGTH {
        let tick = start.elapsed().as_nanos() / TICK.as_nanos() + 1;
        let wanted = u64::try_from(tick * TICK.as_nanos() * u128::from(RATE) / 1_000_000_000)?;
        let at = TICK * u32::try_from(tick)?;
        thread::sleep(at.saturating_sub(start.elapsed()));
        // What should have been sent in ticks that were missed counts from when it was due.
        for number in sent..wanted {
            let due_ns = number * 1_000_000_000 / RATE;
            let id = number as usize % IDS;
            due.0[id].store(due_ns.max(1), Relaxed);
            bytes.clear();
            bytes.extend(u16::try_from(id)?.to_be_bytes());
            bytes.extend(&questions[(number % SERVICES) as usize]);
            socket.send(&bytes).context("sending a question")?;
        }
        sent = sent.max(wanted);
    }
    thread::sleep(DRAIN);
    is_over.store(true, Relaxed);
    let latencies = reader.join().map_err(|_| anyhow!("the reader panicked"))??;
    Ok(Asked { sent, latencies })
}

fn read(socket: &UdpSocket, due: &Due, start: Instant, is_over: &AtomicBool) -> Result<Latencies> {
    let (mut found, mut bytes) = (latencies(), [0; 4_096]);
    while !is_over.load(Relaxed) {
        let Ok(length) = socket.recv(&mut bytes) else { continue };
        let now_ns = u64::try_from(start.elapsed().as_nanos())?;
        ensure!(length > 12, "an answer of {length} bytes");
        let [code, cut, answers] = [bytes[3] & 15, bytes[2] & 2, bytes[7]];
        let good = code == 0 && cut == 0 && u64::from(answers) == INSTANCES;
        ensure!(good, "an answer with code {code}, cut {cut}, {answers} records");
        let id = usize::from(u16::from_be_bytes([bytes[0], bytes[1]]));
        match due.0[id].swap(0, Relaxed) {
            0 => {}
            due_ns => found.saturating_record(now_ns.saturating_sub(due_ns).max(1)),
        }
    }
    Ok(found)
}

/// A question with EDNS, without its id.
fn question(service: u64, kind: u16) -> Vec<u8> {
    // Flags: recursion is wanted, as stubs do. One question, one additional record.
    let mut bytes = vec![1, 0, 0, 1, 0, 0, 0, 0, 0, 1];
    for label in [&*format!("bench-{service}"), "nacos", "internal"] {
        bytes.push(label.len() as u8);
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes.extend(kind.to_be_bytes());
    bytes.extend([0, 1]);
    // Room for 1,232 bytes.
    bytes.extend([0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]);
    bytes
}
