//! A stand-in for a Nacos: it answers with what a closure says.

// Each test program uses its part of this.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

/// One request.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// Without the context and the query.
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) body: String,
    /// In lower case.
    pub(crate) headers: BTreeMap<String, String>,
}

impl Request {
    pub(crate) fn is(&self, request: &str) -> bool {
        request.split_once(' ') == Some((&self.method, &self.path))
    }

    /// A parameter of the query or the body, as it was sent.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        let pairs = self.query.split('&').chain(self.body.split('&'));
        pairs.filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name).map(|(_, v)| v)
    }
}

/// Status and body, or nothing at all.
pub(crate) type Reply = Option<(u16, String)>;

pub(crate) fn ok(body: impl ToString) -> Reply {
    Some((200, body.to_string()))
}

/// How Nacos refuses.
pub(crate) fn caused(text: &str) -> Reply {
    Some((500, format!("caused: {text};")))
}

/// What a Nacos says that has nothing, for what the script of a test leaves open.
pub(crate) fn empty(request: &Request) -> Reply {
    match &*request.path {
        "/v1/console/namespaces" => ok(r#"{"code":200,"message":null,"data":[]}"#),
        "/v1/ns/service/names" => ok(r#"{"services":{},"count":0}"#),
        "/v1/ns/catalog/services" => ok(r#"{"serviceList":[],"count":0}"#),
        path if path.starts_with("/v3/") => Some((404, String::new())),
        _ => caused("service is not found!"),
    }
}

pub(crate) struct StandIn {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Request>>>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl StandIn {
    pub(crate) fn start(script: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, ended): (Arc<Mutex<_>>, Arc<AtomicBool>) = Default::default();
        let (log, end) = (Arc::clone(&seen), Arc::clone(&ended));
        let thread = thread::spawn(move || {
            thread::scope(|scope| {
                while let Ok((stream, _)) = listener.accept() {
                    if end.load(Ordering::SeqCst) {
                        return;
                    }
                    let (script, log) = (&script, &log);
                    scope.spawn(move || serve(stream, script, log));
                }
            });
        });
        Self { address, seen, ended, thread: Some(thread) }
    }

    pub(crate) fn seen(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        let ended = self.thread.take().unwrap().join();
        assert!(thread::panicking() || ended.is_ok(), "the stand-in panicked");
    }
}

fn serve(stream: TcpStream, script: &dyn Fn(&Request) -> Reply, log: &Mutex<Vec<Request>>) {
    let mut input = BufReader::new(stream.try_clone().unwrap());
    let mut lines = || {
        let mut line = String::new();
        input.read_line(&mut line).ok()?;
        Some(line.trim_end().to_owned())
    };
    let Some(first) = lines().filter(|line| !line.is_empty()) else { return };
    let mut headers = BTreeMap::new();
    while let Some((name, value)) = lines().as_deref().and_then(|line| line.split_once(':')) {
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").map_or(0, |text| text.parse().unwrap());
    let mut body = vec![0; length];
    input.read_exact(&mut body).unwrap();
    let mut words = first.split(' ');
    let method = words.next().unwrap().to_owned();
    let target = words.next().unwrap();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let path = path.strip_prefix("/nacos").unwrap().to_owned();
    let body = String::from_utf8(body).unwrap();
    let request = Request { method, path, query: query.to_owned(), body, headers };
    log.lock().unwrap().push(request.clone());
    // Without a reply the connection just ends.
    let Some((status, body)) = script(&request) else { return };
    let length = body.len();
    let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n");
    let _ = (&stream).write_all(format!("{head}\r\n{body}").as_bytes());
}
