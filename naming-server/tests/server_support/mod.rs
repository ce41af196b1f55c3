//! A server of a test's own in this process, and a client that is as plain as can be.

// Each test program uses its part of this.
#![allow(dead_code)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use naming_server::{Config, NewUser, Server};
use serde_json::Value;
use tokio::sync::watch;

pub(crate) mod members;

/// No step takes nearly as long; it is there so that a failure is no hang.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server with threads of its own.
pub(crate) struct TestServer {
    pub(crate) address: SocketAddr,
    /// The gRPC port, if there is one.
    pub(crate) grpc: Option<SocketAddr>,
    /// The port of DNS, if there is one.
    pub(crate) dns: Option<SocketAddr>,
    end: Option<watch::Sender<Option<End>>>,
    thread: Option<JoinHandle<()>>,
}

/// How a server ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// In the middle of whatever it does.
    Killed,
    /// As by a signal.
    Stopped,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The body, of an answer that must have this status.
    pub(crate) fn expect(self, status: u16) -> String {
        assert_eq!(self.status, status, "{self:?}");
        self.body
    }
}

impl TestServer {
    pub(crate) fn start() -> Self {
        Self::start_with(Config::default())
    }

    /// On a free loopback port.
    pub(crate) fn start_with(config: Config) -> Self {
        Self::start_at(Config { bind: "127.0.0.1".to_owned(), port: 0, ..config })
    }

    /// On a free loopback port, with these users.
    pub(crate) fn start_with_users(config: Config, users: Vec<NewUser>) -> Self {
        let config = Config { bind: "127.0.0.1".to_owned(), port: 0, ..config };
        Self::try_start(config, users).unwrap_or_else(|refusal| panic!("{refusal}"))
    }

    /// Where the settings say.
    pub(crate) fn start_at(config: Config) -> Self {
        Self::try_start_at(config).unwrap_or_else(|refusal| panic!("{refusal}"))
    }

    /// The text of the error if it does not start.
    pub(crate) fn try_start_at(config: Config) -> Result<Self, String> {
        Self::try_start(config, Vec::new())
    }

    pub(crate) fn try_start(config: Config, users: Vec<NewUser>) -> Result<Self, String> {
        let (end, ended) = watch::channel(None);
        let (ready, address) = std::sync::mpsc::channel();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let server = match Server::bind(config).await {
                    Ok(server) => server,
                    Err(error) => return ready.send(Err(format!("{error:#}"))).unwrap(),
                };
                let server = users.into_iter().fold(server, Server::with_user);
                let (main, grpc) = (server.local_addr(), server.grpc_address());
                ready.send(Ok((main, grpc, server.dns_address()))).unwrap();
                let how = async |mut ended: watch::Receiver<Option<End>>| {
                    let told = ended.wait_for(Option::is_some).await;
                    // An error means that the test is gone, which is as good as a signal.
                    told.ok().and_then(|end| *end).unwrap_or(End::Stopped)
                };
                let stopped = async {
                    if how(ended.clone()).await == End::Killed {
                        std::future::pending().await
                    }
                };
                let running = server.run(stopped);
                let killed = async {
                    if how(ended.clone()).await == End::Stopped {
                        std::future::pending().await
                    }
                };
                tokio::select! {
                    ran = running => ran.unwrap(),
                    () = killed => {}
                }
            });
            runtime.shutdown_background();
        });
        let (address, grpc, dns) = address.recv_timeout(PATIENCE).unwrap()?;
        Ok(Self { address, grpc, dns, end: Some(end), thread: Some(thread) })
    }

    /// Ends it without a word to anybody; its connections break.
    pub(crate) fn kill(mut self) {
        if let Some(end) = self.end.take() {
            end.send(Some(End::Killed)).unwrap();
        }
    }

    /// Ends it as a signal does; returns when it has ended.
    pub(crate) fn stop(mut self) {
        if let Some(end) = self.end.take() {
            end.send(Some(End::Stopped)).unwrap();
        }
    }

    pub(crate) fn get(&self, target: &str) -> Answer {
        self.call("GET", target)
    }

    pub(crate) fn put(&self, target: &str) -> Answer {
        self.call("PUT", target)
    }

    /// `target` is below the naming API, or a whole path if it begins with a slash.
    pub(crate) fn call(&self, method: &str, target: &str) -> Answer {
        self.send(method, target, "", "")
    }

    pub(crate) fn send(&self, method: &str, target: &str, headers: &str, body: &str) -> Answer {
        send(self.address, method, target, headers, body)
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        drop(self.end.take());
        let ended = self.thread.take().unwrap().join();
        assert!(thread::panicking() || ended.is_ok(), "the server panicked");
    }
}

/// One request on a connection of its own; `headers` are whole lines.
pub(crate) fn send(
    address: SocketAddr,
    method: &str,
    target: &str,
    headers: &str,
    body: &str,
) -> Answer {
    let prefix = if target.starts_with('/') { "" } else { "/nacos/v1/ns/" };
    let length = body.len();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = format!(
        "{method} {prefix}{target} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\
         Content-Length: {length}\r\n{headers}\r\n{body}"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_lowercase(), body: body.to_owned() }
}

/// Waits until `condition` holds.
pub(crate) fn wait_for(what: &str, condition: impl FnMut() -> bool) {
    wait_for_within(PATIENCE, what, condition);
}

/// The same, for so long.
#[track_caller]
pub(crate) fn wait_for_within(patience: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + patience;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Somebody who takes connections and says nothing, until it is dropped.
pub(crate) struct Door {
    pub(crate) address: SocketAddr,
    is_closed: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Door {
    /// On a loopback port; 0 takes any free one.
    pub(crate) fn open(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let (address, is_closed) = (listener.local_addr().unwrap(), Arc::<AtomicBool>::default());
        let ends = Arc::clone(&is_closed);
        let take = move || {
            let _ = listener.incoming().find(|_| ends.load(Ordering::Relaxed));
        };
        Self { address, is_closed, thread: Some(thread::spawn(take)) }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.is_closed.store(true, Ordering::Relaxed);
        // It may wait for a connection, or be gone.
        drop(TcpStream::connect(self.address));
        self.thread.take().map(JoinHandle::join);
    }
}
