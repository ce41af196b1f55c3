//! The server the SDKs talk to.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::process::Running;
use super::{Places, interrupt};

/// The release profile optimises across crates, on a slow machine for minutes.
const BUILD_LIMIT: Duration = Duration::from_secs(1200);
const READY_LIMIT: Duration = Duration::from_secs(30);
const PROBE_INTERVAL: Duration = Duration::from_millis(50);
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);
/// Where SDKs look for gRPC, from the main port.
const GRPC_OFFSET: u16 = 1_000;
const FREE_PORT_TRIES: usize = 20;

/// A ready server on the loopback interface; stopped on drop if it was started here.
pub(crate) struct Server {
    address: String,
    process: Option<Running>,
}

impl Server {
    /// A server someone else runs, given as `http://127.0.0.1:PORT`.
    pub(super) fn running(url: &str) -> Result<Self> {
        let address = url.strip_prefix("http://").unwrap_or(url).trim_end_matches('/');
        let socket: SocketAddrV4 = address
            .parse()
            .with_context(|| format!("`{url}` is not of the form http://127.0.0.1:PORT"))?;
        // The programs ask for pushes to the loopback address.
        ensure!(socket.ip().is_loopback(), "`{url}` is not on this machine's loopback interface");
        ensure!(is_ready(socket.into()), "no ready server at {url}");
        Ok(Self { address: socket.to_string(), process: None })
    }

    /// Builds the release server, starts it on a free port and waits until it is ready.
    pub(super) fn build_and_start(places: &Places) -> Result<Self> {
        Self::build(places)?;
        // Of the run before, if there was one.
        let _ = fs::remove_file(log(places));
        Self::start_with(places, &[])
    }

    /// Builds the release server.
    pub(crate) fn build(places: &Places) -> Result<()> {
        println!("building the server");
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut build = Command::new(cargo);
        build.args(["build", "--quiet", "--release", "--package", "naming-server"]);
        build.current_dir(&places.root);
        Running::start(&mut build)?.succeed(BUILD_LIMIT).context("build the server")
    }

    /// Starts the release server on a free port with more `arguments`, and waits until it is ready.
    pub(crate) fn start_with(places: &Places, arguments: &[&str]) -> Result<Self> {
        fs::create_dir_all(&places.work).context("make the folder of the server")?;
        let socket = free_port()?;
        let process = start(socket, places, arguments)?;
        Ok(Self { address: socket.to_string(), process: Some(process) })
    }

    /// Where it listens.
    pub(crate) fn socket(&self) -> Result<SocketAddr> {
        self.address.parse().context("read the address of the server")
    }

    /// Its process; none if someone else runs it.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Running::pid)
    }

    /// Whether a server that was started here has not ended.
    pub(crate) fn is_running(&mut self) -> Result<bool> {
        self.process.as_mut().map_or(Ok(false), |process| Ok(process.ended()?.is_none()))
    }

    /// Whether the server was started here, so that it can be started again.
    pub(super) fn is_own(&self) -> bool {
        self.process.is_some()
    }

    /// Kills the server, as `kill -9` does, and starts it again at the same address.
    ///
    /// # Errors
    ///
    /// If it does not come back. A server that someone else runs is left alone without an error.
    pub(super) fn restart(&mut self, places: &Places) -> Result<()> {
        if let Some(process) = self.process.take() {
            drop(process);
            self.process = Some(start(self.address.parse()?, places, &[])?);
        }
        Ok(())
    }

    /// `host:port`.
    pub(super) fn address(&self) -> &str {
        &self.address
    }
}

fn log(places: &Places) -> PathBuf {
    places.work.join("server.log")
}

/// Starts the release server and waits until it is ready.
fn start(socket: SocketAddr, places: &Places, arguments: &[&str]) -> Result<Running> {
    let log = log(places);
    let mut command = Command::new(places.target.join("release/naming-server"));
    command
        .args(["--bind", &socket.ip().to_string()])
        .args(["--port", &socket.port().to_string(), "--in-memory"])
        .args(arguments)
        .current_dir(&places.work);
    let mut process = Running::start_logged(&mut command, &log, &log)?;
    let deadline = Instant::now() + READY_LIMIT;
    while !is_ready(socket) {
        interrupt::check()?;
        if let Some(status) = process.ended()? {
            bail!("the server ended with {status}, see {}", log.display());
        }
        ensure!(Instant::now() < deadline, "the server is not ready, see {}", log.display());
        thread::sleep(PROBE_INTERVAL);
    }
    Ok(process)
}

/// A port nobody listens on now, nor on the port of gRPC above it. Another process can take one
/// before the server does; the server then ends at once and says so.
fn free_port() -> Result<SocketAddr> {
    for _ in 0..FREE_PORT_TRIES {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("find a free port")?;
        let socket = listener.local_addr()?;
        let grpc = socket.port().checked_add(GRPC_OFFSET);
        if grpc.is_some_and(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()) {
            return Ok(socket);
        }
    }
    bail!("no free port with another one free {GRPC_OFFSET} above it")
}

fn is_ready(socket: SocketAddr) -> bool {
    readiness_status_line(socket).is_ok_and(|line| line.starts_with(b"HTTP/1.1 200"))
}

fn readiness_status_line(socket: SocketAddr) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&socket, PROBE_TIMEOUT)?;
    stream.set_read_timeout(Some(PROBE_TIMEOUT))?;
    let path = "/nacos/v1/console/health/readiness";
    let request = format!("GET {path} HTTP/1.1\r\nHost: {socket}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut line = vec![0; "HTTP/1.1 200".len()];
    stream.read_exact(&mut line)?;
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers one request with `reply` and returns the address to ask.
    fn answer_once(reply: &'static str) -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let socket = listener.local_addr().unwrap();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            // To its end: a connection closed with unread bytes is reset, and the reply lost.
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                request.extend(byte);
            }
            assert!(request.starts_with(b"GET /nacos/v1/console/health/readiness "));
            stream.write_all(reply.as_bytes()).unwrap();
        });
        socket
    }

    #[test]
    fn only_a_ready_server_is_used() {
        let ready = answer_once("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nOK");
        let server = Server::running(&format!("http://{ready}/")).unwrap();
        assert_eq!(server.address(), ready.to_string());
        let loading = answer_once("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n");
        assert!(Server::running(&format!("http://{loading}")).is_err());
    }

    #[test]
    fn server_elsewhere_is_refused_without_a_call() {
        for url in [
            "http://192.0.2.1:8848",
            "http://[::1]:8848",
            "http://example.invalid:8848",
            "127.0.0.1",
        ] {
            assert!(Server::running(url).is_err(), "{url}");
        }
    }
}
