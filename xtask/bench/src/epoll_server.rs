//! The other yardstick: an epoll loop that finds the end of a request and writes fixed bytes.
//!
//! No HTTP server can cost less on this kernel: there is one `read`, one `write` and the waiting
//! for events, and of the request only method, path and length are looked at.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::sync::{Arc, mpsc};

use anyhow::{Context, Result};
use memchr::memmem;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};

use super::static_server::FixedReply;
use super::wire::header;

const NEW_CONNECTION: Token = Token(0);
const LISTENER: Token = Token(usize::MAX);
const READ_BYTES: usize = 16 << 10;
/// Far above any request of the benchmark.
const LARGEST_REQUEST_BYTES: usize = 1 << 20;

/// Serves `replies` on a free port of the loopback interface, on as many threads as there are
/// cores, until the process ends.
///
/// # Errors
///
/// If no socket can be had.
pub(super) fn serve(replies: Vec<FixedReply>) -> Result<SocketAddr> {
    let replies: Arc<[Prepared]> = replies.iter().map(Prepared::new).collect();
    let mut listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    let address = listener.local_addr()?;
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let workers = (0..workers).map(|_| Worker::start(Arc::clone(&replies)));
    let workers = workers.collect::<Result<Vec<_>>>()?;
    let mut poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    std::thread::spawn(move || accept(&mut poll, &listener, &workers));
    Ok(address)
}

fn accept(poll: &mut Poll, listener: &TcpListener, workers: &[Worker]) {
    let mut events = Events::with_capacity(16);
    let mut turn = workers.iter().cycle();
    // It has nothing else to do if waiting for events fails.
    while poll.poll(&mut events, None).is_ok() {
        while let Ok((stream, _)) = listener.accept() {
            let _ = stream.set_nodelay(true);
            if let Some(worker) = turn.next() {
                worker.give(stream);
            }
        }
    }
}

/// A thread and the way to give it connections.
struct Worker {
    streams: mpsc::Sender<TcpStream>,
    waker: Waker,
}

impl Worker {
    fn start(replies: Arc<[Prepared]>) -> Result<Self> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), NEW_CONNECTION)?;
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || work(poll, &receiver, &replies));
        Ok(Self { streams: sender, waker })
    }

    fn give(&self, stream: TcpStream) {
        // A worker ends only with the process.
        let _ = self.streams.send(stream);
        let _ = self.waker.wake();
    }
}

fn work(mut poll: Poll, streams: &mpsc::Receiver<TcpStream>, replies: &[Prepared]) {
    let mut connections = HashMap::new();
    let mut events = Events::with_capacity(1_024);
    let mut next = NEW_CONNECTION.0 + 1;
    while poll.poll(&mut events, None).is_ok() {
        for event in &events {
            if event.token() == NEW_CONNECTION {
                for mut stream in streams.try_iter() {
                    let interest = Interest::READABLE | Interest::WRITABLE;
                    if poll.registry().register(&mut stream, Token(next), interest).is_ok() {
                        connections.insert(next, Connection::new(stream));
                        next += 1;
                    }
                }
            } else if let Some(connection) = connections.get_mut(&event.token().0)
                && connection.advance(replies).is_err()
            {
                connections.remove(&event.token().0);
            }
        }
    }
}

struct Connection {
    stream: TcpStream,
    input: Vec<u8>,
    output: Vec<u8>,
}

impl Connection {
    fn new(stream: TcpStream) -> Self {
        Self { stream, input: Vec::new(), output: Vec::new() }
    }

    /// Reads what is there, answers what is complete. Events come once, so it goes on until
    /// nothing more can be done.
    fn advance(&mut self, replies: &[Prepared]) -> Result<()> {
        let mut buffer = [0; READ_BYTES];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => anyhow::bail!("closed"),
                Ok(read) => {
                    self.input.extend_from_slice(&buffer[..read]);
                    anyhow::ensure!(self.input.len() < LARGEST_REQUEST_BYTES, "too large");
                    self.answer(replies)?;
                    // A full buffer may have left something behind, any other did not.
                    if read < buffer.len() {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return self.flush(),
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn answer(&mut self, replies: &[Prepared]) -> Result<()> {
        let mut start = 0;
        while let Some(length) = length_of_request(&self.input[start..]) {
            let request = &self.input[start..start + length];
            let reply = replies.iter().find(|reply| request.starts_with(&reply.beginning));
            let reply = reply.context("no reply for this request")?;
            self.output.extend_from_slice(&reply.bytes);
            start += length;
        }
        self.input.drain(..start);
        self.flush()
    }

    fn flush(&mut self) -> Result<()> {
        while !self.output.is_empty() {
            match self.stream.write(&self.output) {
                Ok(written) => drop(self.output.drain(..written)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// Bytes of the first request, `None` while it is not complete.
fn length_of_request(input: &[u8]) -> Option<usize> {
    let head = memmem::find(input, b"\r\n\r\n")? + 4;
    // Only beats have bodies, and only some of them.
    let body = if input.starts_with(b"PUT ") {
        header(&input[..head], "content-length").and_then(|value| value.parse().ok()).unwrap_or(0)
    } else {
        0
    };
    (input.len() >= head + body).then_some(head + body)
}

/// A whole reply and how the requests begin that it is for.
struct Prepared {
    beginning: Vec<u8>,
    bytes: Vec<u8>,
}

impl Prepared {
    fn new(reply: &FixedReply) -> Self {
        let FixedReply { method, path, headers, body, .. } = reply;
        // A date as long as a real one: the bytes on the wire are to be the same.
        let mut bytes = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\ndate: Thu, 01 Jan 2026 00:00:00 GMT\r\n",
            body.len()
        );
        for (name, value) in headers {
            bytes.push_str(&format!("{name}: {value}\r\n"));
        }
        bytes.push_str("\r\n");
        bytes.push_str(body);
        Self { beginning: format!("{method} {path}?").into_bytes(), bytes: bytes.into_bytes() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(method: &str, path: &str, body: &str) -> FixedReply {
        let headers = vec![("content-type".to_owned(), "text/plain".to_owned())];
        FixedReply {
            method: method.into(),
            path: path.into(),
            headers,
            body: body.into(),
            copies: 1,
        }
    }

    #[test]
    fn requests_in_pieces_and_in_heaps_are_answered_in_order() {
        let address = serve(vec![reply("GET", "/a", "one"), reply("PUT", "/b", "two")]).unwrap();
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        let requests = b"PUT /b?x HTTP/1.1\r\nContent-Length: 3\r\n\r\nx=yGET /a? HTTP/1.1\r\n\r\n";
        for piece in requests.chunks(7) {
            stream.write_all(piece).unwrap();
        }
        let mut replies = String::new();
        let mut buffer = [0; 1_024];
        while !replies.ends_with("one") {
            let read = stream.read(&mut buffer).unwrap();
            assert_ne!(read, 0, "closed after {replies}");
            replies.push_str(str::from_utf8(&buffer[..read]).unwrap());
        }
        let bodies: Vec<&str> = replies.split("HTTP/1.1 200 OK").skip(1).collect();
        assert!(bodies.len() == 2 && bodies[0].ends_with("two"), "{bodies:?}");
        assert!(bodies[0].contains("\r\ncontent-length: 3\r\n"), "{bodies:?}");
    }
}
