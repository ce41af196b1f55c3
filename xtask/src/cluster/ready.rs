//! Asking a node whether it is ready.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const LIMIT: Duration = Duration::from_secs(2);
const PATH: &str = "/nacos/v1/console/health/readiness";
/// More of an answer is not read.
const LONGEST: u64 = 4096;

/// What a node says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Readiness {
    Ready,
    /// The reason.
    NotYet(String),
    /// It does not answer.
    Silent,
}

/// Asks the node at `address`.
pub(crate) async fn ask(address: SocketAddr) -> Readiness {
    match tokio::time::timeout(LIMIT, answer(address)).await {
        Ok(Ok(readiness)) => readiness,
        Ok(Err(_)) | Err(_) => Readiness::Silent,
    }
}

async fn answer(address: SocketAddr) -> Result<Readiness> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {PATH} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut reply = Vec::new();
    stream.take(LONGEST).read_to_end(&mut reply).await?;
    parse(&String::from_utf8_lossy(&reply))
}

fn parse(reply: &str) -> Result<Readiness> {
    let rest = reply.strip_prefix("HTTP/1.1 ").context("no reply of HTTP")?;
    let (head, body) = rest.split_once("\r\n\r\n").context("half a reply")?;
    ensure!(head.len() >= 3, "no status");
    Ok(if head.starts_with("200") {
        Readiness::Ready
    } else {
        Readiness::NotYet(body.trim().chars().filter(|c| !c.is_control()).take(200).collect())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_told_apart() {
        assert_eq!(parse("HTTP/1.1 200 OK\r\n\r\nOK").unwrap(), Readiness::Ready);
        let loading = parse("HTTP/1.1 503 Service Unavailable\r\na: b\r\n\r\nloading\n").unwrap();
        assert_eq!(loading, Readiness::NotYet("loading".to_owned()));
        assert!(parse("HTTP/1.1 200 OK\r\n").is_err());
        assert!(parse("").is_err());
    }

    #[tokio::test]
    async fn nobody_there_is_silence() {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        assert_eq!(ask(address).await, Readiness::Silent);
    }
}
