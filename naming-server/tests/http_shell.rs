//! The program as its operator sees it: starting, refusing to start, many connections, stopping.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const LIVENESS: &str = "GET /nacos/v1/console/health/liveness HTTP/1.1\r\nHost: h\r\n\r\n";
/// No step takes nearly as long; it is there so that a failure is no hang.
const PATIENCE: Duration = Duration::from_secs(20);

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_naming-server"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("NAMING_")) {
        command.env_remove(name);
    }
    // Whoever forgets to say where its data goes must not find the user's.
    command.env("XDG_DATA_HOME", "/dev/null");
    command
}

fn run(arguments: &[&str]) -> Output {
    program().args(arguments).output().unwrap()
}

/// One line on standard error, nothing on standard output, code 1.
fn complaint(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(text.trim_end().lines().count(), 1, "{text}");
    text
}

struct Server {
    child: Child,
    address: SocketAddr,
    banner: String,
    _stdout: BufReader<ChildStdout>,
}

impl Server {
    fn start(arguments: &[&str]) -> Self {
        Self::start_with(arguments, Stdio::null())
    }

    fn start_with(arguments: &[&str], log: Stdio) -> Self {
        let mut child = program()
            .args(["--bind", "127.0.0.1", "--port", "0", "--in-memory"])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut banner = String::new();
        let address = loop {
            let before = banner.len();
            assert!(stdout.read_line(&mut banner).unwrap() > 0, "no address in {banner:?}");
            if let Some((_, rest)) = banner[before..].split_once("listening on ") {
                break rest.split(')').next().unwrap().parse().unwrap();
            }
        };
        while !banner.contains("docs ") {
            assert!(stdout.read_line(&mut banner).unwrap() > 0, "{banner:?}");
        }
        Self { child, address, banner, _stdout: stdout }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    fn signal(&self, name: &str) {
        let process = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &process]).status().unwrap().success());
    }

    fn exit_code(&mut self) -> Option<i32> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < deadline, "it did not end");
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn is_alive(stream: &mut TcpStream) -> bool {
    stream.write_all(LIVENESS.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let mut buffer = [0; 1024];
    while !answer.ends_with(b"\r\n\r\nOK") {
        match stream.read(&mut buffer) {
            Ok(count) if count > 0 => answer.extend_from_slice(&buffer[..count]),
            _ => return false,
        }
    }
    answer.starts_with(b"HTTP/1.1 200 ")
}

#[test]
fn help_and_version_are_there() {
    let help = String::from_utf8(run(&["--help"]).stdout).unwrap();
    for part in ["--bind", "--port", "--data-dir", "--in-memory", "--config", "--set", "Examples:"]
    {
        assert!(help.contains(part), "{help}");
    }
    let version = String::from_utf8(run(&["--version"]).stdout).unwrap();
    assert_eq!(version.trim(), concat!("naming-server ", env!("CARGO_PKG_VERSION")));
}

#[test]
fn printed_settings_start_a_server() {
    let printed = run(&["--set", "context_path=/other", "--print-config"]);
    assert!(printed.status.success(), "{printed:?}");
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&printed.stdout).unwrap();
    let server = Server::start(&["--config", file.path().to_str().unwrap()]);
    assert!(server.banner.contains("/other  (listening on 127.0.0.1:"), "{}", server.banner);
    assert!(server.banner.contains("in memory") && server.banner.contains("auth"));
}

#[test]
fn a_port_in_use_is_one_clear_line() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let text = complaint(&["--bind", "127.0.0.1", "--port", &port]);
    assert!(text.contains(&port) && text.contains("in use"), "{text}");
}

#[test]
fn bad_settings_are_one_clear_line() {
    let text = complaint(&["--set", "http.max_conections=1"]);
    assert!(text.contains("max_conections"), "{text}");
    let text = complaint(&["--set", "http.max_connections=0"]);
    assert!(text.contains("http.max_connections must be from 1"), "{text}");
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"[http]\nmax_conections = 1\n").unwrap();
    let text = complaint(&["--config", file.path().to_str().unwrap()]);
    assert!(text.contains("max_conections"), "{text}");
    let text = complaint(&["--config", "/no/such/file"]);
    assert!(text.contains("/no/such/file"), "{text}");
    let text = complaint(&["--bind", "300.1.2.3"]);
    assert!(text.contains("300.1.2.3"), "{text}");

    let output = program().env("NAMING_HTTP__MAX_CONECTIONS", "1").output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(String::from_utf8(output.stderr).unwrap().contains("max_conections"));
}

#[test]
fn ipv6_is_served_with_and_without_brackets() {
    if TcpListener::bind("[::1]:0").is_err() {
        eprintln!("skipped: this machine has no IPv6");
        return;
    }
    for bind in ["::1", "[::1]"] {
        // The later of two equal flags would be refused; --set wins over a flag.
        let server = Server::start(&["--set", &format!("bind={bind}")]);
        assert!(server.address.is_ipv6(), "{}", server.banner);
        assert!(is_alive(&mut server.connect()));
    }
}

#[test]
fn sigterm_ends_it_within_five_seconds_whatever_clients_do() {
    stops_in_time("-TERM");
}

#[test]
fn sigint_ends_it_within_five_seconds_whatever_clients_do() {
    stops_in_time("-INT");
}

fn stops_in_time(signal: &str) {
    let mut server = Server::start(&[]);
    let mut idle = server.connect();
    assert!(is_alive(&mut idle));
    let mut stuck = server.connect();
    let head = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n";
    stuck.write_all(head.as_bytes()).unwrap();
    let mut buffer = [0; 64];
    assert!(stuck.read(&mut buffer).unwrap() > 0, "its request is with the server");
    let started = Instant::now();
    server.signal(signal);
    assert_eq!(server.exit_code(), Some(0));
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    assert_eq!(idle.read(&mut buffer).unwrap(), 0);
}

/// A terminal that was paused, or a collector of logs that hangs.
#[test]
fn a_log_that_nobody_reads_stops_nothing() {
    let mut server = Server::start_with(&[], Stdio::piped());
    let mut stream = server.connect();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // Each writes a line of more than 100 bytes; a pipe takes 64 KiB.
    let request = "PUT /nacos/v1/ns/operator/switches?entry=check&value=true HTTP/1.1\r\n\
                   Host: h\r\nContent-Length: 0\r\n\r\n";
    let mut buffer = [0; 1_024];
    for n in 0..2_000 {
        stream.write_all(request.as_bytes()).unwrap();
        let length = stream.read(&mut buffer).unwrap_or_else(|error| panic!("{n}: {error}"));
        assert!(buffer[..length].starts_with(b"HTTP/1.1 200"), "{n}");
    }
    let started = Instant::now();
    server.signal("-TERM");
    assert_eq!(server.exit_code(), Some(0));
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    let mut log = String::new();
    server.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    assert!(log.len() > 32 << 10, "it was full: {}", log.len());
}

#[test]
fn an_idle_server_stops_at_once() {
    let mut server = Server::start(&[]);
    let mut idle = server.connect();
    assert!(is_alive(&mut idle));
    let started = Instant::now();
    server.signal("-TERM");
    assert_eq!(server.exit_code(), Some(0));
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
}

/// As many files as this process, and so the server it starts, may open.
fn file_limit() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find(|line| line.starts_with("Max open files"));
    line.and_then(|line| line.split_whitespace().nth(3)?.parse().ok()).unwrap_or(1_024)
}

#[test]
fn ten_thousand_idle_connections_are_held_while_others_are_answered() {
    let count = file_limit().saturating_sub(200).min(10_000);
    let server = Server::start(&[]);
    let mut idle: Vec<_> = (0..count).map(|_| server.connect()).collect();
    let mut other = server.connect();
    assert!(is_alive(&mut other), "answered beside {count} idle connections");
    for stream in idle.iter_mut().step_by((count / 100).max(1)) {
        assert!(is_alive(stream), "an idle connection can still be used");
    }
}

#[test]
fn a_server_that_was_stopped_gives_everybody_a_full_time_out() {
    let server = Server::start(&["--set", "health.pause_threshold_ms=1000"]);
    let ask = |request: &str| {
        let mut stream = server.connect();
        let head = "HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
        write!(stream, "{request} {head}").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    let service = "/nacos/v1/ns/instance";
    let metadata = "preserved.heart.beat.interval=1000,preserved.heart.beat.timeout=1500,\
                    preserved.ip.delete.timeout=2000";
    let instance = "serviceName=s&ip=10.0.0.1&port=1";
    let registered = ask(&format!("POST {service}?{instance}&metadata={metadata}"));
    assert!(registered.ends_with("ok"), "{registered}");

    server.signal("-STOP");
    thread::sleep(Duration::from_secs(4));
    let resumed = Instant::now();
    server.signal("-CONT");
    let mut gone_after = None;
    while gone_after.is_none() {
        let list = ask(&format!("GET {service}/list?serviceName=s"));
        let elapsed = resumed.elapsed();
        gone_after = list.contains("\"hosts\":[]").then_some(elapsed);
        assert!(elapsed < PATIENCE, "the instance stays: {list}");
        thread::sleep(Duration::from_millis(20));
    }
    // Twice its removal time-out has passed before; it counts anew from the end of the pause.
    let gone_after = gone_after.unwrap();
    assert!(gone_after >= Duration::from_millis(1_900), "gone after {gone_after:?}");
}
