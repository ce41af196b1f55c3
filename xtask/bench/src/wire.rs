//! Just enough of an HTTP/1.1 client: it shares the processor with the server it measures, so it
//! must cost little. Bodies in chunks, as Tomcat sends them, are found but not put together: what is
//! looked for in a reply is short enough to lie in one chunk.

use std::io;

use anyhow::{Context, Result, bail, ensure};
use memchr::memmem;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Far above any reply that the benchmark asks for.
const LARGEST_REPLY_BYTES: usize = 64 << 20;

/// Where a complete reply lies in the bytes received so far.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) status: u16,
    /// With the lengths of its chunks if it comes in such.
    pub(super) body: std::ops::Range<usize>,
}

/// Finds the first reply in `input`; `None` while it is not complete.
///
/// # Errors
///
/// If the bytes are no reply or one without a length.
pub(super) fn parse_reply(input: &[u8]) -> Result<Option<Reply>> {
    let Some(length_of_head) = memmem::find(input, b"\r\n\r\n") else {
        ensure!(input.len() < LARGEST_REPLY_BYTES, "a reply head without end");
        return Ok(None);
    };
    let head = &input[..length_of_head];
    let status = status_of(head).context("a reply starts with its status")?;
    let start = length_of_head + 4;
    let length = match content_length(head) {
        Some(length) => Some(length),
        None if is_chunked(head) => chunked_length(&input[start..])?,
        None => bail!("a reply states its Content-Length or comes in chunks"),
    };
    ensure!(length.unwrap_or(input.len()) < LARGEST_REPLY_BYTES, "a reply too large");
    let complete = length.filter(|length| input.len() >= start + length);
    Ok(complete.map(|length| Reply { status, body: start..start + length }))
}

fn is_chunked(head: &[u8]) -> bool {
    header(head, "transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked"))
}

/// Bytes of all chunks to the end of the last; `None` while that is not there.
fn chunked_length(input: &[u8]) -> Result<Option<usize>> {
    let mut start = 0;
    loop {
        let rest = input.get(start..).unwrap_or_default();
        let Some(line) = memmem::find(rest, b"\r\n") else { return Ok(None) };
        let digits = str::from_utf8(&rest[..line]).context("the length of a chunk is text")?;
        let size = usize::from_str_radix(digits.trim(), 16).context("the length of a chunk")?;
        ensure!(size < LARGEST_REPLY_BYTES, "a chunk of {size} bytes");
        start += line + 2 + size + 2;
        if size == 0 {
            return Ok((input.len() >= start).then_some(start));
        }
    }
}

fn status_of(head: &[u8]) -> Option<u16> {
    let status = head.strip_prefix(b"HTTP/1.1 ")?.get(..3)?;
    str::from_utf8(status).ok()?.parse().ok()
}

fn content_length(head: &[u8]) -> Option<usize> {
    header(head, "content-length")?.parse().ok()
}

/// The value of the first header of that name, whatever its case.
pub(super) fn header<'a>(head: &'a [u8], name: &str) -> Option<&'a str> {
    headers(head).find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

/// Names and values of all headers.
pub(super) fn headers(head: &[u8]) -> impl Iterator<Item = (&str, &str)> {
    let lines = head.split(|byte| *byte == b'\n').skip(1);
    lines.filter_map(|line| {
        let (name, value) = str::from_utf8(line).ok()?.split_once(':')?;
        Some((name, value.trim()))
    })
}

/// One keep-alive connection.
pub(super) struct Connection {
    stream: TcpStream,
    input: Vec<u8>,
}

impl Connection {
    pub(super) async fn open(address: std::net::SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await.context("connecting to the server")?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, input: Vec::with_capacity(16 << 10) })
    }

    /// Sends `requests`, one or several of them.
    pub(super) async fn send(&mut self, requests: &[u8]) -> Result<()> {
        self.stream.write_all(requests).await.context("sending a request")
    }

    /// Waits for the next reply; `read` sees its head, its body and its status.
    pub(super) async fn receive<T>(
        &mut self,
        read: impl FnOnce(u16, &[u8], &[u8]) -> T,
    ) -> Result<T> {
        loop {
            if let Some(reply) = parse_reply(&self.input)? {
                let head = &self.input[..reply.body.start];
                let result = read(reply.status, head, &self.input[reply.body.clone()]);
                self.input.drain(..reply.body.end);
                return Ok(result);
            }
            let read =
                self.stream.read_buf(&mut self.input).await.context("waiting for a reply")?;
            if read == 0 {
                bail!(io::Error::from(io::ErrorKind::UnexpectedEof));
            }
        }
    }
}

/// A reply that does not hold what was expected, in words.
pub(super) fn unexpected(status: u16, body: &[u8]) -> String {
    const SHOWN_BYTES: usize = 200;
    let shown = String::from_utf8_lossy(&body[..body.len().min(SHOWN_BYTES)]);
    format!("unexpected reply {status}: {shown}")
}

/// Whether a reply says that the request was done.
pub(super) fn is_expected(status: u16, body: &[u8], expected: &[u8]) -> bool {
    status == 200 && memmem::find(body, expected).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPLY: &[u8] =
        b"HTTP/1.1 200 OK\r\ncontent-type: a\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 ";

    #[test]
    fn a_reply_is_found_only_when_whole() {
        let end = REPLY.len() - b"HTTP/1.1 ".len();
        for length in 0..end {
            assert_eq!(parse_reply(&REPLY[..length]).unwrap(), None, "after {length} bytes");
        }
        let reply = parse_reply(REPLY).unwrap().expect("whole");
        assert_eq!((reply.status, &REPLY[reply.body]), (200, &b"ok"[..]));
    }

    #[test]
    fn a_reply_in_chunks_is_found_only_when_whole() {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let whole = format!("{head}2\r\nok\r\nA\r\n0123456789\r\n0\r\n\r\nHTTP/1.1 ");
        let end = whole.len() - "HTTP/1.1 ".len();
        for length in 0..end {
            assert_eq!(parse_reply(&whole.as_bytes()[..length]).unwrap(), None, "{length}");
        }
        let reply = parse_reply(whole.as_bytes()).unwrap().expect("whole");
        assert_eq!(reply.body, head.len()..end);
    }

    #[test]
    fn what_is_no_plain_reply_is_refused() {
        assert!(parse_reply(b"SPDY/9 200\r\nContent-Length: 0\r\n\r\n").is_err());
        assert!(parse_reply(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
        let chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n";
        assert!(parse_reply(chunks).is_err());
        assert!(parse_reply(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n").is_err());
    }

    #[test]
    fn success_is_judged_by_status_and_body() {
        assert!(is_expected(200, b"{\"code\":10200}", b"10200"));
        assert!(!is_expected(200, b"{\"code\":20404}", b"10200"));
        assert!(!is_expected(500, b"{\"code\":10200}", b"10200"));
    }

    #[test]
    fn headers_are_listed_without_the_status_line() {
        let listed: Vec<_> = headers(&REPLY[..REPLY.len() - 15]).collect();
        assert_eq!(listed, [("content-type", "a"), ("Content-Length", "2")]);
    }
}
