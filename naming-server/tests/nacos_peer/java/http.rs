//! Plain HTTP over the standard library: what is sent and received is seen byte for byte.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A request as it came, or as it is to be sent.
#[derive(Debug, Clone, Default)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// Path and query.
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

/// What came back.
#[derive(Debug, Clone)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) body: String,
}

impl Request {
    pub(crate) fn new(method: &str, target: impl Into<String>) -> Self {
        Self { method: method.to_owned(), target: target.into(), ..Self::default() }
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn body(mut self, body: impl Into<String>) -> Self {
        self.body = body.into();
        self
    }

    pub(crate) fn path(&self) -> &str {
        self.target.split('?').next().unwrap()
    }

    pub(crate) fn find_header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map_or("", |(_, value)| value)
    }

    /// The parameters of the query, decoded.
    pub(crate) fn query(&self) -> Vec<(String, String)> {
        parameters(self.target.split_once('?').map_or("", |(_, query)| query))
    }

    /// Those of the query and of a form.
    pub(crate) fn parameters(&self) -> Vec<(String, String)> {
        let mut all = self.query();
        if self.find_header("content-type").contains("form") {
            all.extend(parameters(&self.body));
        }
        all
    }

    pub(crate) fn parameter(&self, name: &str) -> Option<String> {
        self.parameters().into_iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// Sends it on a connection of its own. A method with a body says how long it is even if it
    /// is empty, as Java does.
    pub(crate) fn send(&self, address: &str, deadline: Duration) -> Result<Response, String> {
        let failed = |error: std::io::Error| format!("{} {}: {error}", self.method, self.target);
        let target: SocketAddr = address.parse().map_err(|_| format!("no address: {address}"))?;
        let mut stream = TcpStream::connect_timeout(&target, deadline).map_err(failed)?;
        stream.set_read_timeout(Some(deadline)).map_err(failed)?;
        let mut text = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        if self.find_header("host").is_empty() {
            text += &format!("Host: {address}\r\n");
        }
        for (name, value) in &self.headers {
            text += &format!("{name}: {value}\r\n");
        }
        if !self.body.is_empty() || ["POST", "PUT", "PATCH"].contains(&&*self.method) {
            text += &format!("Content-Length: {}\r\n", self.body.len());
        }
        text += "\r\n";
        text += &self.body;
        stream.write_all(text.as_bytes()).map_err(failed)?;
        let mut reader = BufReader::new(stream);
        let (first, headers) = read_head(&mut reader).map_err(failed)?;
        let status = first.split(' ').nth(1).and_then(|status| status.parse().ok());
        let body = read_body(&mut reader, &headers).map_err(failed)?;
        Ok(Response { status: status.ok_or(first)?, body })
    }
}

/// Reads one request; an error is the end of the connection.
pub(crate) fn read_request(reader: &mut impl BufRead) -> std::io::Result<Request> {
    let (first, headers) = read_head(reader)?;
    let mut words = first.split(' ');
    let mut word = || words.next().unwrap_or_default().to_owned();
    let (method, target) = (word(), word());
    let body = read_body(reader, &headers)?;
    Ok(Request { method, target, headers, body })
}

pub(crate) fn write_response(
    stream: &mut TcpStream,
    response: &Response,
    kind: &str,
) -> std::io::Result<()> {
    let Response { status, body } = response;
    let text = format!(
        "HTTP/1.1 {status} Status\r\nContent-Security-Policy: script-src 'self'\r\n\
         Content-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(text.as_bytes())
}

type Head = (String, Vec<(String, String)>);

fn read_head(reader: &mut impl BufRead) -> std::io::Result<Head> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let first = lines.first().cloned().unwrap_or_default();
    let headers = lines.iter().skip(1).filter_map(|line| line.split_once(':'));
    let headers = headers.map(|(name, value)| (name.to_owned(), value.trim().to_owned()));
    Ok((first, headers.collect()))
}

fn read_body(reader: &mut impl BufRead, headers: &[(String, String)]) -> std::io::Result<String> {
    let find = |wanted: &str| headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted));
    let mut body = Vec::new();
    if find("transfer-encoding").is_some() {
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let length = usize::from_str_radix(line.trim(), 16).map_err(std::io::Error::other)?;
            let mut chunk = vec![0; length + 2];
            reader.read_exact(&mut chunk)?;
            if length == 0 {
                break;
            }
            body.extend_from_slice(&chunk[..length]);
        }
    } else if let Some((_, length)) = find("content-length") {
        body = vec![0; length.parse().map_err(std::io::Error::other)?];
        reader.read_exact(&mut body)?;
    }
    String::from_utf8(body).map_err(std::io::Error::other)
}

fn parameters(text: &str) -> Vec<(String, String)> {
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (decode(name), decode(value)))
        .collect()
}

pub(crate) fn decode(text: &str) -> String {
    let (mut bytes, mut out) = (text.bytes(), Vec::new());
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits: String = bytes.by_ref().take(2).map(char::from).collect();
                u8::from_str_radix(&digits, 16).unwrap_or(b'?')
            }
            byte => byte,
        });
    }
    String::from_utf8(out).unwrap_or_default()
}

pub(crate) fn encode(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}
