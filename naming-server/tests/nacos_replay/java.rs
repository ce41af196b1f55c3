//! Somebody at the address of a Java server.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::json;

/// A request, and what is answered to it.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| &**value)
    }
}

pub(crate) type Answer = (u16, String);
pub(crate) type Reaction = Box<dyn Fn(&Request) -> Option<Answer> + Send>;

/// Somebody at the address of a Java server, who answers as one without data, and takes down what
/// is asked.
pub(crate) struct Java {
    pub(crate) heard: Arc<Mutex<Vec<Request>>>,
    pub(crate) reaction: Arc<Mutex<Reaction>>,
    pub(crate) is_closed: Arc<AtomicBool>,
    pub(crate) address: String,
}

impl Java {
    pub(crate) fn open(address: &str) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let java = Self {
            heard: Arc::default(),
            reaction: Arc::new(Mutex::new(Box::new(|_| None))),
            is_closed: Arc::default(),
            address: address.to_owned(),
        };
        let (heard, reaction) = (Arc::clone(&java.heard), Arc::clone(&java.reaction));
        let is_closed = Arc::clone(&java.is_closed);
        let own = address.to_owned();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if is_closed.load(Ordering::Relaxed) {
                    return;
                }
                let (heard, reaction) = (Arc::clone(&heard), Arc::clone(&reaction));
                let own = own.clone();
                thread::spawn(move || {
                    let mut stream = stream;
                    while let Some(request) = read_request(&mut stream) {
                        let answer = (reaction.lock().unwrap())(&request);
                        let (status, body) = answer.unwrap_or_else(|| usual(&own, &request));
                        heard.lock().unwrap().push(request);
                        let length = body.len();
                        let head =
                            format!("HTTP/1.1 {status} x\r\nContent-Length: {length}\r\n\r\n");
                        if stream.write_all((head + &body).as_bytes()).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        java
    }

    pub(crate) fn react(&self, reaction: impl Fn(&Request) -> Option<Answer> + Send + 'static) {
        *self.reaction.lock().unwrap() = Box::new(reaction);
    }

    pub(crate) fn heard(&self, method: &str, part: &str) -> Vec<Request> {
        let heard = self.heard.lock().unwrap();
        let is_it = |r: &&Request| r.method == method && r.target.contains(part);
        heard.iter().filter(is_it).cloned().collect()
    }
}

impl Drop for Java {
    fn drop(&mut self) {
        self.is_closed.store(true, Ordering::Relaxed);
        drop(TcpStream::connect(&self.address));
    }
}

pub(crate) fn usual(own: &str, request: &Request) -> Answer {
    let (ip, port) = own.split_once(':').unwrap();
    let member = json!({
        "ip": ip, "port": port.parse::<u16>().unwrap(), "state": "UP", "address": own,
        "extendInfo": {"version": "1.4.8", "raftPort": "7848"}, "failAccessCnt": 0,
    });
    let target = request.target.split('?').next().unwrap_or_default();
    let body = match target.trim_start_matches("/nacos/v1/") {
        "core/cluster/self" => json!({"code": 200, "message": null, "data": member}).to_string(),
        "core/cluster/report" => r#"{"code":200,"message":null,"data":"true"}"#.to_owned(),
        "ns/distro/datums" => "{}".to_owned(),
        "ns/distro/datum" if request.method == "GET" => "{}".to_owned(),
        "ns/instance/beat" => {
            r#"{"clientBeatInterval":5000,"code":10200,"lightBeatEnabled":true}"#.to_owned()
        }
        _ => "ok".to_owned(),
    };
    (200, body)
}

pub(crate) fn read_request(stream: &mut TcpStream) -> Option<Request> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).ok()?;
    let mut lines = head.split("\r\n");
    let mut first = lines.next()?.split(' ');
    let (method, target) = (first.next()?.to_owned(), first.next()?.to_owned());
    let headers = lines.filter_map(|line| line.split_once(": "));
    let headers: Vec<_> = headers.map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
    let mut request = Request { method, target, headers, body: Vec::new() };
    let length = request.header("content-length").map_or(0, |length| length.parse().unwrap());
    request.body.resize(length, 0);
    stream.read_exact(&mut request.body).ok()?;
    Some(request)
}
