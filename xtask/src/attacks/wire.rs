//! Plain HTTP over blocking sockets: attackers do not wait politely.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(10);

/// A connection; its reads and writes give up after 10 s.
pub(super) fn connect(target: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&target, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Asks over a new connection that ends with the answer; its status.
pub(super) fn ask(target: SocketAddr, method: &str, path: &str, body: &[u8]) -> io::Result<u16> {
    let mut stream = connect(target)?;
    stream.write_all(&request(method, path, body, "Connection: close\r\n"))?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    status(&answer)
}

/// Asks over `stream`, which stays open; its status. The answer must give its length.
pub(super) fn ask_again(
    stream: &mut TcpStream,
    method: &str,
    path: &str,
    body: &[u8],
) -> io::Result<u16> {
    stream.write_all(&request(method, path, body, ""))?;
    let mut answer = Vec::new();
    let mut part = [0; 16_384];
    loop {
        if let Some(head) = answer.windows(4).position(|end| end == b"\r\n\r\n") {
            let whole = head + 4 + length(&answer[..head]);
            while answer.len() < whole {
                read_some(stream, &mut part, &mut answer)?;
            }
            return status(&answer);
        }
        read_some(stream, &mut part, &mut answer)?;
    }
}

/// A request with a form for its body, and more header lines.
pub(super) fn request(method: &str, path: &str, body: &[u8], headers: &str) -> Vec<u8> {
    let mut request = format!(
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{headers}\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(body);
    request
}

fn read_some(stream: &mut TcpStream, part: &mut [u8], answer: &mut Vec<u8>) -> io::Result<()> {
    match stream.read(part)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        read => {
            answer.extend_from_slice(&part[..read]);
            Ok(())
        }
    }
}

fn length(head: &[u8]) -> usize {
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let line = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    line.and_then(|length| length.trim().parse().ok()).unwrap_or(0)
}

fn status(answer: &[u8]) -> io::Result<u16> {
    let digits = answer.get("HTTP/1.1 ".len().."HTTP/1.1 200".len());
    let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
    digits.and_then(|digits| digits.parse().ok()).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_and_length_are_read_from_a_head() {
        let head = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 12\r\n";
        assert_eq!(status(head).unwrap(), 503);
        assert_eq!(length(head), 12);
        assert!(status(b"").is_err());
    }
}
