//! A client that sends exactly the bytes a transcript asks for. An ordinary HTTP library would add
//! headers of its own, and the server's behaviour depends on them.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use super::scenario::Request;

/// Longest silence of a server in the middle of a reply.
const READ_TIMEOUT: Duration = Duration::from_secs(20);
/// Longest reply body read, in bytes.
const BODY_LIMIT: u64 = 16 << 20;
/// Longest reply head read, in bytes.
const HEAD_LIMIT: u64 = 64 << 10;
const CONNECT_ATTEMPTS: u32 = 3;
const CONNECT_PAUSE: Duration = Duration::from_millis(200);

/// Where the server under test listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Endpoint {
    pub(crate) fn new(host: impl Into<String>, port: u16) -> Self {
        Self { host: host.into(), port }
    }

    /// Reads `http://host:port`, where port 80 may be left out.
    pub(crate) fn parse(url: &str) -> Result<Self, String> {
        let invalid = || format!("{url:?} is not of the form http://host:port");
        let authority = url.strip_prefix("http://").ok_or_else(invalid)?.trim_end_matches('/');
        let (host, port) = authority.rsplit_once(':').unwrap_or((authority, "80"));
        if host.is_empty() || host.contains('/') {
            return Err(invalid());
        }
        Ok(Self::new(host, port.parse().map_err(|_| invalid())?))
    }

    /// Only a connection that was not accepted is tried again: a request is sent once.
    fn connect(&self) -> io::Result<TcpStream> {
        let mut attempt = 1;
        let stream = loop {
            match TcpStream::connect((self.host.as_str(), self.port)) {
                Ok(stream) => break stream,
                Err(error) if attempt == CONNECT_ATTEMPTS => return Err(error),
                Err(_) => thread::sleep(CONNECT_PAUSE),
            }
            attempt += 1;
        };
        stream.set_read_timeout(Some(READ_TIMEOUT))?;
        stream.set_write_timeout(Some(READ_TIMEOUT))?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

/// A reply with its body put together.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) text: String,
}

impl Reply {
    /// The header's value; values of repeated headers are joined by commas.
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let values: Vec<&str> = self
            .headers
            .iter()
            .filter(|(own, _)| own.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
            .collect();
        (!values.is_empty()).then(|| values.join(", "))
    }
}

/// Sends one request on a connection of its own and reads the reply.
pub(crate) fn send(endpoint: &Endpoint, request: &Request) -> io::Result<Reply> {
    let mut stream = endpoint.connect()?;
    stream.write_all(&encode_request(endpoint, request))?;
    let mut reader = BufReader::new(stream);
    loop {
        let reply = read_reply(&mut reader, &request.method)?;
        // Replies below 200 only announce the real one.
        if reply.status >= 200 {
            return Ok(reply);
        }
    }
}

fn encode_request(endpoint: &Endpoint, request: &Request) -> Vec<u8> {
    let query = request.raw_query.clone().unwrap_or_else(|| encode_pairs(&request.query));
    let separator = if query.is_empty() { "" } else { "?" };
    let mut head = format!(
        "{} {}{separator}{query} HTTP/1.1\r\nHost: {}:{}\r\n",
        request.method, request.path, endpoint.host, endpoint.port
    );
    for (name, value) in &request.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let form = request.form.as_deref().map(encode_pairs);
    if form.is_some() {
        head.push_str("Content-Type: application/x-www-form-urlencoded;charset=UTF-8\r\n");
    }
    let body = form.or_else(|| request.body.clone());
    if let Some(body) = &body {
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    head.push_str("\r\n");
    head.push_str(&body.unwrap_or_default());
    head.into_bytes()
}

fn encode_pairs(pairs: &[(String, String)]) -> String {
    let encoded: Vec<String> = pairs
        .iter()
        .map(|(name, value)| format!("{}={}", encode_text(name), encode_text(value)))
        .collect();
    encoded.join("&")
}

fn encode_text(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

fn read_reply(reader: &mut BufReader<TcpStream>, method: &str) -> io::Result<Reply> {
    let mut head = Read::take(&mut *reader, HEAD_LIMIT);
    let status = parse_status(&read_line(&mut head)?)?;
    let mut headers = Vec::new();
    loop {
        let line = read_line(&mut head)?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').ok_or_else(|| malformed("header", &line))?;
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    let mut reply = Reply { status, headers, text: String::new() };
    let bodiless = method == "HEAD" || status < 200 || matches!(status, 204 | 304);
    if !bodiless {
        reply.text = String::from_utf8_lossy(&read_body(reader, &reply)?).into_owned();
    }
    Ok(reply)
}

fn parse_status(line: &str) -> io::Result<u16> {
    let code = line.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1));
    code.and_then(|code| code.parse().ok()).ok_or_else(|| malformed("status line", line))
}

fn read_body(reader: &mut BufReader<TcpStream>, reply: &Reply) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    if reply.header("Transfer-Encoding").is_some_and(|coding| coding == "chunked") {
        while read_chunk(reader, &mut body)? {}
    } else if let Some(length) = reply.header("Content-Length") {
        let length = length.parse().map_err(|_| malformed("Content-Length", &length))?;
        read_exactly(reader, length, &mut body)?;
    } else {
        Read::take(reader, BODY_LIMIT).read_to_end(&mut body)?;
    }
    Ok(body)
}

/// Appends the next chunk to `body`; false after the last one.
fn read_chunk(reader: &mut BufReader<TcpStream>, body: &mut Vec<u8>) -> io::Result<bool> {
    let line = read_line(&mut Read::take(&mut *reader, HEAD_LIMIT))?;
    let digits = line.split(';').next().unwrap_or_default().trim();
    let length = u64::from_str_radix(digits, 16).map_err(|_| malformed("chunk", &line))?;
    if length > 0 {
        read_exactly(reader, length, body)?;
    }
    // The line break behind the chunk, or the end of the trailers behind the last.
    let mut rest = Read::take(&mut *reader, HEAD_LIMIT);
    while !read_line(&mut rest)?.is_empty() {
        if length > 0 {
            return Err(malformed("chunk end", &line));
        }
    }
    Ok(length > 0)
}

fn read_exactly(reader: &mut impl Read, length: u64, body: &mut Vec<u8>) -> io::Result<()> {
    if body.len() as u64 + length > BODY_LIMIT {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the reply body is too long"));
    }
    let read = reader.take(length).read_to_end(body)? as u64;
    if read < length {
        let message = format!("the body ends after {read} of {length} bytes");
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
    }
    Ok(())
}

/// One line without its line break.
fn read_line(reader: &mut impl BufRead) -> io::Result<String> {
    let mut line = Vec::new();
    reader.read_until(b'\n', &mut line)?;
    if line.pop() != Some(b'\n') {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the reply ends in its head"));
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Ok(String::from_utf8_lossy(&line).into_owned())
}

fn malformed(part: &str, text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("malformed {part}: {text:?}"))
}
