//! The attacks.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::wire::{ask, ask_again, connect, request};

/// One attack.
#[derive(Debug)]
pub(super) struct Attack {
    pub(super) name: &'static str,
    /// Of the server, besides its defaults.
    pub(super) settings: &'static [&'static str],
    /// What the bounds named in `docs/bounds.md` allow, in MiB.
    pub(super) bound_mib: f64,
    /// Fills the server with what the attack needs; not measured.
    pub(super) prepare: fn(SocketAddr) -> Result<()>,
    /// Plays it; what came of it.
    pub(super) play: fn(SocketAddr) -> Result<String>,
}

/// In the order of `docs/bounds.md`.
pub(super) const ALL: &[Attack] = &[
    Attack {
        name: "idle-connections",
        settings: &[],
        // 16 KiB of each.
        bound_mib: 64.0,
        prepare: nothing,
        play: idle_connections,
    },
    // `http.max_connections` times 16 KiB, and `http.max_buffered_header_bytes`.
    Attack {
        name: "slow-heads",
        settings: &[],
        bound_mib: 64.0 + 64.0,
        prepare: nothing,
        play: slow_heads,
    },
    // `http.max_buffered_body_bytes`.
    Attack {
        name: "slow-bodies",
        settings: &[],
        bound_mib: 256.0,
        prepare: nothing,
        play: slow_bodies,
    },
    // Bodies under way, and the 64 MiB that one batch may carry.
    Attack {
        name: "metadata-batch",
        settings: &[],
        bound_mib: 8.0 * 8.0 * 2.0 + 64.0,
        prepare: some_services,
        play: metadata_batch,
    },
    Attack {
        name: "many-parameters",
        settings: &[],
        bound_mib: 8.0 * 8.0 * 2.0,
        prepare: nothing,
        play: many_parameters,
    },
    // `registry.max_instance_bytes`, and as much again for the tree around it.
    Attack {
        name: "large-metadata",
        settings: &["registry.max_instance_bytes=67108864"],
        bound_mib: 2.0 * 64.0,
        prepare: nothing,
        play: large_metadata,
    },
    // Answers above 64 KiB until they are sent.
    Attack {
        name: "unread-lists",
        settings: &[],
        bound_mib: 512.0,
        prepare: many_services,
        play: unread_lists,
    },
    // `push.max_subscriber_bytes`, and the table of 200,000.
    Attack {
        name: "subscriptions",
        settings: &[],
        bound_mib: 256.0 + 64.0,
        prepare: some_services,
        play: subscriptions,
    },
    // `store.tombstone_bytes`.
    Attack { name: "removals", settings: &[], bound_mib: 256.0, prepare: nothing, play: removals },
    Attack {
        name: "grpc-connections",
        settings: &[],
        // 64 KiB of each, before it is set up.
        bound_mib: 4_000.0 / 16.0,
        prepare: nothing,
        play: grpc_connections,
    },
];

pub(super) fn names() -> String {
    ALL.iter().map(|attack| attack.name).collect::<Vec<_>>().join(", ")
}

/// How long an attack that repeats itself goes on.
const LASTS: Duration = Duration::from_secs(10);
const ATTACKERS: usize = 8;
const CONNECTIONS: usize = 4_000;
const INSTANCE: &str = "/nacos/v1/ns/instance";

fn nothing(_: SocketAddr) -> Result<()> {
    Ok(())
}

fn some_services(target: SocketAddr) -> Result<()> {
    register(target, 100)
}

fn many_services(target: SocketAddr) -> Result<()> {
    register(target, 10_000)
}

fn register(target: SocketAddr, services: usize) -> Result<()> {
    let mut stream = connect(target)?;
    for service in 0..services {
        let path = format!("{INSTANCE}?serviceName=attacked.{service}&ip=10.0.0.1&port=80");
        let status = ask_again(&mut stream, "POST", &path, b"")?;
        anyhow::ensure!(status == 200, "a registration is answered {status}");
    }
    Ok(())
}

/// Opens connections and holds them.
fn idle_connections(target: SocketAddr) -> Result<String> {
    let (held, _) = hold(target, |_| Ok(()));
    thread::sleep(Duration::from_secs(3));
    Ok(format!("{} connections held", held.len()))
}

/// Sends heads of 400 KiB that never end.
fn slow_heads(target: SocketAddr) -> Result<String> {
    let line = format!("X-Long: {}\r\n", "x".repeat(4_000));
    let begin = request("GET", "/nacos/v1/ns/instance/list", b"", "");
    let begin = begin[..begin.len() - 2].to_vec();
    let (held, refused) = hold(target, |stream| {
        stream.write_all(&begin)?;
        (0..100).try_for_each(|_| stream.write_all(line.as_bytes()))
    });
    thread::sleep(Duration::from_secs(3));
    Ok(format!("{} heads held, {refused} refused", held.len()))
}

/// Sends bodies of 8 MiB, less the last byte.
fn slow_bodies(target: SocketAddr) -> Result<String> {
    let body = vec![b'a'; 8 << 20];
    let whole = request("POST", INSTANCE, &body, "");
    let mut held = Vec::new();
    let mut refused = 0;
    for _ in 0..100 {
        let mut stream = connect(target)?;
        match stream.write_all(&whole[..whole.len() - 1]) {
            Ok(()) => held.push(stream),
            Err(_) => refused += 1,
        }
    }
    thread::sleep(Duration::from_secs(3));
    Ok(format!("{} bodies held, {refused} refused", held.len()))
}

/// Names 200,000 instances in a request that gives all of them new metadata.
fn metadata_batch(target: SocketAddr) -> Result<String> {
    let mut instances = String::from("[");
    for port in 0..100_000 {
        let _ = write!(instances, "{{\"ip\":\"10.0.0.1\",\"port\":{}}},", port % 65_536);
    }
    instances.pop();
    instances.push(']');
    let metadata = format!("{{\"k\":\"{}\"}}", "v".repeat(60_000));
    let body = format!(
        "serviceName=DEFAULT_GROUP@@attacked.1&consistencyType=&instances={instances}&metadata={metadata}"
    );
    repeat(target, "PUT", "/nacos/v1/ns/instance/metadata/batch", body.as_bytes())
}

/// Sends a form of 8 MiB that is nothing but parameters.
fn many_parameters(target: SocketAddr) -> Result<String> {
    let mut body = String::from("serviceName=attacked.parameters&ip=10.0.0.1&port=80");
    for number in 0..600_000 {
        let _ = write!(body, "&p{number}=v");
    }
    repeat(target, "POST", INSTANCE, body.as_bytes())
}

/// Registers instances with metadata of 32 KiB each.
fn large_metadata(target: SocketAddr) -> Result<String> {
    let value = "v".repeat(32_000);
    let answers = attack(|attacker| {
        let mut stream = connect(target)?;
        let mut answers = Answers::default();
        for number in 0..1_000 {
            let path = format!("{INSTANCE}?serviceName=attacked.{attacker}.{number}");
            let body = format!("ip=10.0.0.1&port=80&metadata=%7B%22k%22%3A%22{value}%22%7D");
            answers.note(ask_again(&mut stream, "POST", &path, body.as_bytes())?);
        }
        Ok(answers)
    });
    Ok(answers.to_string())
}

/// Asks for everything on many connections and reads nothing of it.
fn unread_lists(target: SocketAddr) -> Result<String> {
    let path = "/nacos/v1/ns/catalog/services?pageNo=1&pageSize=10000&withInstances=true\
                &namespaceId=public";
    let mut held = Vec::new();
    for _ in 0..1_000 {
        let mut stream = connect(target)?;
        stream.write_all(&request("GET", path, b"", ""))?;
        held.push(stream);
    }
    thread::sleep(Duration::from_secs(5));
    let mut answers = Answers::default();
    for mut stream in held {
        let mut head = [0; 12];
        if stream.read_exact(&mut head).is_ok() {
            answers.note(std::str::from_utf8(&head[9..])?.parse()?);
        }
    }
    Ok(answers.to_string())
}

/// Subscribes with long texts, each time as somebody else.
fn subscriptions(target: SocketAddr) -> Result<String> {
    let text = "t".repeat(900);
    let answers = attack(|attacker| {
        let mut stream = connect(target)?;
        let mut answers = Answers::default();
        for number in 0..40_000 {
            let port = 1_024 + number % 60_000;
            let path = format!(
                "{INSTANCE}/list?serviceName=attacked.{}&udpPort={port}&clientIP=127.0.0.1\
                 &app={text}&tid={text}&clusters=c{attacker}",
                number % 100
            );
            let agent = "User-Agent: Nacos-Java-Client:v1.4.8\r\n";
            stream.write_all(&request("GET", &path, b"", agent))?;
            let mut part = [0; 65_536];
            let read = stream.read(&mut part)?;
            answers.note(if part[..read].starts_with(b"HTTP/1.1 200") { 200 } else { 0 });
        }
        Ok(answers)
    });
    Ok(answers.to_string())
}

/// Registers and removes without end, under names that are never used again.
fn removals(target: SocketAddr) -> Result<String> {
    let begun = Instant::now();
    let answers = attack(|attacker| {
        let mut stream = connect(target)?;
        let mut answers = Answers::default();
        let mut number = 0;
        while begun.elapsed() < 3 * LASTS {
            number += 1;
            let path =
                format!("{INSTANCE}?serviceName=attacked.{attacker}.{number}&ip=10.0.0.1&port=80");
            answers.note(ask_again(&mut stream, "POST", &path, b"")?);
            answers.note(ask_again(&mut stream, "DELETE", &path, b"")?);
        }
        Ok(answers)
    });
    Ok(answers.to_string())
}

/// Opens connections of HTTP/2 and says nothing more.
fn grpc_connections(target: SocketAddr) -> Result<String> {
    let port = SocketAddr::new(target.ip(), target.port() + 1_000);
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";
    let (held, refused) = hold(port, |stream| stream.write_all(preface));
    thread::sleep(Duration::from_secs(3));
    Ok(format!("{} connections held, {refused} refused", held.len()))
}

/// Opens connections and does something on each; those that are open, and how many failed.
fn hold(
    target: SocketAddr,
    begin: impl Fn(&mut TcpStream) -> io::Result<()>,
) -> (Vec<TcpStream>, usize) {
    let mut held = Vec::new();
    let mut refused = 0;
    for _ in 0..CONNECTIONS {
        let begun = connect(target).and_then(|mut stream| begin(&mut stream).map(|()| stream));
        match begun {
            Ok(stream) => held.push(stream),
            Err(_) => refused += 1,
        }
    }
    (held, refused)
}

/// All attackers send the same request again and again.
fn repeat(target: SocketAddr, method: &str, path: &str, body: &[u8]) -> Result<String> {
    let begun = Instant::now();
    let answers = attack(|_| {
        let mut answers = Answers::default();
        while begun.elapsed() < LASTS {
            answers.note(ask(target, method, path, body).unwrap_or(0));
        }
        Ok(answers)
    });
    Ok(answers.to_string())
}

/// How often each status came; 0 for a connection that was ended.
#[derive(Default)]
struct Answers(BTreeMap<u16, usize>);

impl Answers {
    fn note(&mut self, status: u16) {
        *self.0.entry(status).or_default() += 1;
    }
}

impl std::fmt::Display for Answers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (status, count) in &self.0 {
            match status {
                0 => write!(f, "{count} cut off ")?,
                status => write!(f, "{count} x {status} ")?,
            }
        }
        Ok(())
    }
}

/// What several attackers at a time got; whoever fails counts as one more that was cut off.
fn attack(each: impl Fn(usize) -> io::Result<Answers> + Sync) -> Answers {
    let all = Mutex::new(Answers::default());
    thread::scope(|scope| {
        for attacker in 0..ATTACKERS {
            let (each, all) = (&each, &all);
            scope.spawn(move || {
                let answers = each(attacker).unwrap_or_else(|_| Answers(BTreeMap::from([(0, 1)])));
                let mut all = all.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                for (status, count) in answers.0 {
                    *all.0.entry(status).or_default() += count;
                }
            });
        }
    });
    all.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}
