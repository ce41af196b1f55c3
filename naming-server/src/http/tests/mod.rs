//! The front at the level of sockets, with a handler that tells what it was given.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::*;

mod limits;
mod requests;
mod tls;

/// No step of any test takes nearly as long; it is there so that a failure is no hang.
const PATIENCE: Duration = Duration::from_secs(10);

/// Bytes of the answer to `/big`: more than the socket buffers of both sides hold.
const BIG: usize = 64 << 20;

/// Tells method, path, whether it is below the context, parameter `a` and the body.
#[derive(Default)]
struct Echo {
    may_be_late: bool,
    has_members: bool,
}

impl Handler for Echo {
    fn may_be_late(&self) -> bool {
        self.may_be_late
    }

    fn has_members(&self) -> bool {
        self.has_members
    }

    fn door(&self, parts: &Parts, _: SocketAddr) -> Door {
        match parts.uri.path() {
            "/members/hello" => Door::Greeting,
            "/members/call" => Door::Calls(200_000),
            _ => Door::Public,
        }
    }

    fn handle(&self, call: &Call<'_>) -> Answer {
        let reply = match call.path {
            "/panic" => panic!("asked for"),
            "/later" => return Answer::Later(Box::pin(later())),
            "/later-panic" => return Answer::Later(Box::pin(async { panic!("asked for") })),
            "/again-once" if ASKED.fetch_add(1, Relaxed) == 0 => return again(None),
            "/again-refused" => return again(Some(Reply::text("no"))),
            "/again-for-ever" => return again(None),
            "/big" => Reply::text(vec![b'x'; BIG]),
            _ => Reply::text(format!(
                "{} {} {} {:?} {:?}",
                call.method,
                call.path,
                call.under_context,
                call.params.raw("a").as_deref().unwrap_or("-"),
                String::from_utf8_lossy(call.body)
            )),
        };
        reply.into()
    }
}

/// How many futures of `/later` have come to their end.
static FINISHED: AtomicUsize = AtomicUsize::new(0);

/// How often `/again-once` has been handled.
static ASKED: AtomicUsize = AtomicUsize::new(0);

fn again(refusal: Option<Reply>) -> Answer {
    Answer::Again(Box::pin(async {
        sleep(Duration::from_millis(5)).await;
        refusal
    }))
}

async fn later() -> Reply {
    sleep(Duration::from_millis(20)).await;
    FINISHED.fetch_add(1, Relaxed);
    Reply::text("later")
}

struct Site {
    address: SocketAddr,
    stats: Arc<ConnectionStats>,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Site {
    async fn start(change: impl FnOnce(&mut HttpSettings)) -> Self {
        Self::start_with(Echo::default(), change).await
    }

    async fn start_with(handler: Echo, change: impl FnOnce(&mut HttpSettings)) -> Self {
        let mut settings = crate::Config::default().http_settings();
        change(&mut settings);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let stats = Arc::<ConnectionStats>::default();
        let shutdown = CancellationToken::new();
        let serving = serve(
            listener,
            Arc::new(handler),
            Protocols::default(),
            settings,
            Arc::clone(&stats),
            shutdown.clone(),
        );
        Self { address, stats, shutdown, task: tokio::spawn(serving) }
    }

    async fn connect(&self) -> Client {
        Client { stream: TcpStream::connect(self.address).await.unwrap(), unread: Vec::new() }
    }

    /// Sends one request on a new connection and gives back status and body.
    async fn ask(&self, request: impl AsRef<[u8]>) -> (u16, String) {
        let mut client = self.connect().await;
        client.send(request).await;
        let answer = client.answer().await;
        (answer.status, answer.body)
    }

    fn open(&self) -> usize {
        self.stats.open.load(Relaxed)
    }

    async fn until(&self, what: &str, mut condition: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !condition(self) {
            assert!(Instant::now() < deadline, "never happened: {what}");
            sleep(Duration::from_millis(5)).await;
        }
    }
}

/// A request with so many bytes of body.
fn post(target: &str, bytes: usize) -> String {
    let body = "x".repeat(bytes);
    format!("POST {target} HTTP/1.1\r\nHost: h\r\nContent-Length: {bytes}\r\n\r\n{body}")
}

struct Client {
    stream: TcpStream,
    unread: Vec<u8>,
}

#[derive(Debug)]
struct Received {
    status: u16,
    head: String,
    body: String,
}

impl Client {
    /// The server may close while we are still sending; what matters is what it answers.
    async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = timeout(PATIENCE, self.stream.write_all(bytes.as_ref())).await.unwrap();
    }

    async fn post(&mut self, target: &str, bytes: usize) -> Received {
        self.send(post(target, bytes)).await;
        self.answer().await
    }

    async fn get(&mut self, target: &str) -> Received {
        self.send(format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n")).await;
        self.answer().await
    }

    /// Reads more; false at the end of the stream or after a reset.
    async fn fill(&mut self) -> bool {
        let mut buffer = [0; 8192];
        match timeout(PATIENCE, self.stream.read(&mut buffer)).await.expect("nothing came") {
            Ok(0) | Err(_) => false,
            Ok(count) => {
                self.unread.extend_from_slice(&buffer[..count]);
                true
            }
        }
    }

    async fn head(&mut self) -> String {
        loop {
            if let Some(at) = self.unread.windows(4).position(|window| window == b"\r\n\r\n") {
                let rest = self.unread.split_off(at + 4);
                let head = std::mem::replace(&mut self.unread, rest);
                return String::from_utf8(head).unwrap();
            }
            assert!(self.fill().await, "closed before an answer: {:?}", self.unread);
        }
    }

    async fn answer(&mut self) -> Received {
        let head = self.head().await;
        let status = head[9..12].parse().unwrap();
        let length = head.to_lowercase();
        let length = length.split("content-length: ").nth(1).unwrap();
        let length: usize = length.split("\r\n").next().unwrap().parse().unwrap();
        while self.unread.len() < length {
            assert!(self.fill().await, "closed within an answer");
        }
        let rest = self.unread.split_off(length);
        let body = String::from_utf8(std::mem::replace(&mut self.unread, rest)).unwrap();
        Received { status, head, body }
    }

    /// Waits for the server to close; nothing more may come.
    async fn closed(&mut self) {
        while self.fill().await {}
        assert_eq!(String::from_utf8_lossy(&self.unread), "");
    }
}
