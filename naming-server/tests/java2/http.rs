//! The HTTP port of a Java member, as far as others pass writes of clients on to it.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A request that came.
#[derive(Debug, Clone)]
pub(crate) struct Passed {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) params: BTreeMap<String, String>,
    /// Whether another server sends it.
    pub(crate) is_of_server: bool,
}

/// Who answers.
pub(crate) trait HttpAnswerer: Send + Sync + 'static {
    fn answer_http(&self, request: &Passed) -> (u16, String);
}

pub(crate) async fn serve(listener: TcpListener, answerer: Arc<impl HttpAnswerer>) {
    while let Ok((socket, _)) = listener.accept().await {
        let answerer = Arc::clone(&answerer);
        tokio::spawn(async move {
            let _ = exchange(socket, &*answerer).await;
        });
    }
}

async fn exchange(mut socket: TcpStream, answerer: &impl HttpAnswerer) -> std::io::Result<()> {
    let mut head = Vec::new();
    loop {
        head.clear();
        while !head.ends_with(b"\r\n\r\n") {
            let byte = socket.read_u8().await?;
            head.push(byte);
        }
        let text = String::from_utf8_lossy(&head).into_owned();
        let lower = text.to_lowercase();
        let length = lower
            .lines()
            .find_map(|line| line.strip_prefix("content-length:"))
            .map_or(0, |length| length.trim().parse::<usize>().unwrap());
        socket.read_exact(&mut vec![0; length]).await?;
        let mut first = text.lines().next().unwrap().split(' ');
        let (method, target) = (first.next().unwrap(), first.next().unwrap());
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let params = query.split('&').filter_map(|pair| pair.split_once('='));
        let request = Passed {
            method: method.to_owned(),
            path: path.to_owned(),
            params: params.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            is_of_server: lower.contains("user-agent: nacos-server"),
        };
        let (status, body) = answerer.answer_http(&request);
        let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        socket.write_all(answer.as_bytes()).await?;
    }
}
