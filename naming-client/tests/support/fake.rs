//! A scripted server: it answers every request with what a closure says, or does what no server
//! should.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// One request as the fake saw it.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Seen {
    /// The value of a query parameter, still encoded.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        self.query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
    }

    pub(crate) fn is(&self, method: &str, path_end: &str) -> bool {
        self.method == method && self.path.ends_with(path_end)
    }
}

pub(crate) enum Action {
    Reply(u16, String),
    /// Close without an answer.
    Cut,
    /// Promise more than is sent, then close.
    CutHalfway,
    /// Never answer.
    Hang,
    /// Bytes that are no HTTP.
    Garbage,
}

impl Action {
    pub(crate) fn ok(text: impl Into<String>) -> Self {
        Self::Reply(200, text.into())
    }

    pub(crate) fn status(status: u16, text: &str) -> Self {
        Self::Reply(status, text.to_owned())
    }
}

type Script = dyn Fn(&Seen) -> Action + Send + Sync;

pub(crate) struct FakeServer {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: JoinHandle<()>,
}

impl FakeServer {
    pub(crate) async fn start(script: impl Fn(&Seen) -> Action + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let (script, log): (Arc<Script>, _) = (Arc::new(script), seen.clone());
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, script.clone(), log.clone()));
            }
        });
        Self { address, seen, task }
    }

    /// One that is ready and answers what the script does not: `None` means the usual answer of
    /// a server that knows no instance.
    pub(crate) async fn ready(
        script: impl Fn(&Seen) -> Option<Action> + Send + Sync + 'static,
    ) -> Self {
        Self::start(move |seen| script(seen).unwrap_or_else(|| usual(seen))).await
    }

    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn count(&self, method: &str, path_end: &str) -> usize {
        self.seen().iter().filter(|seen| seen.is(method, path_end)).count()
    }
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn usual(seen: &Seen) -> Action {
    if seen.path.ends_with("/operator/metrics") {
        return Action::ok(r#"{"status":"UP"}"#);
    }
    if seen.is("PUT", "/instance/beat") {
        return Action::ok(r#"{"clientBeatInterval":5000,"code":10200,"lightBeatEnabled":true}"#);
    }
    if seen.path.ends_with("/instance/list") {
        return Action::ok(list("s", &[]));
    }
    Action::ok("ok")
}

/// The JSON of a list of instances on 10.0.0.1 with these ports.
pub(crate) fn list(service: &str, ports: &[u16]) -> String {
    list_at(service, ports, 0)
}

/// The same with the server's clock.
pub(crate) fn list_at(service: &str, ports: &[u16], last_ref_time: i64) -> String {
    let hosts: Vec<String> =
        ports.iter().map(|port| format!(r#"{{"ip":"10.0.0.1","port":{port}}}"#)).collect();
    format!(
        r#"{{"name":"DEFAULT_GROUP@@{service}","clusters":"","cacheMillis":1000,
            "lastRefTime":{last_ref_time},"hosts":[{}]}}"#,
        hosts.join(",")
    )
}

async fn serve(mut stream: TcpStream, script: Arc<Script>, log: Arc<Mutex<Vec<Seen>>>) {
    let mut buffer = Vec::new();
    while let Some(seen) = read_request(&mut stream, &mut buffer).await {
        log.lock().unwrap().push(seen.clone());
        let (text, ends) = match script(&seen) {
            Action::Reply(status, body) => (reply(status, body.len(), &body), false),
            Action::Cut => (String::new(), true),
            Action::CutHalfway => (reply(200, 1_000, "{\"half\":"), true),
            Action::Hang => std::future::pending().await,
            Action::Garbage => ("\u{0}\u{1}no http at all\r\n\r\n".to_owned(), true),
        };
        if stream.write_all(text.as_bytes()).await.is_err() || ends {
            return;
        }
    }
}

fn reply(status: u16, length: usize, body: &str) -> String {
    format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n\r\n{body}")
}

async fn read_request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Seen> {
    let head_end = loop {
        if let Some(at) = buffer.windows(4).position(|part| part == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8_lossy(&buffer[..head_end]).into_owned();
    let length = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .map_or(0, |(_, value)| value.trim().parse::<usize>().unwrap());
    while buffer.len() < head_end + length {
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
    let body = String::from_utf8_lossy(&buffer[head_end..head_end + length]).into_owned();
    buffer.drain(..head_end + length);
    let mut words = head.split(' ');
    let method = words.next()?.to_owned();
    let target = words.next()?;
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    Some(Seen { method, path: path.to_owned(), query: query.to_owned(), head, body })
}
