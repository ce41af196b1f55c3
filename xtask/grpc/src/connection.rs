//! One connection of a client, with its stream.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bytes::{Bytes, BytesMut};
use h2::client::SendRequest;
use h2::{RecvStream, SendStream};
use hyper::{Method, Request, header::HeaderValue};
use memchr::memmem;
use naming_model::payload::Payload;
use tokio::net::TcpStream;

use super::messages::{self, MOST_ANSWER_BYTES, message};

const UNARY: &str = "/Request/request";
const STREAM: &str = "/BiRequestStream/requestBiStream";
/// How long a server may take to know a connection that was set up.
const SETUP: Duration = Duration::from_secs(10);
/// A list that a test looks for may be this long: the default of HTTP/2 is less.
const WINDOW: u32 = 1 << 20;

/// A client's connection; it ends with this handle.
#[derive(Debug)]
pub struct Connection {
    calls: SendRequest<Bytes>,
    task: tokio::task::JoinHandle<()>,
}

/// The stream of a connection.
#[derive(Debug)]
pub struct Stream {
    sends: SendStream<Bytes>,
    receives: RecvStream,
    input: BytesMut,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Connection {
    /// Connects. Nothing of it is known to the server before [`Self::introduce`].
    ///
    /// # Errors
    ///
    /// If nobody listens there, or what answers does not speak HTTP/2.
    pub async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await.context("connecting to the server")?;
        Self::over(stream).await
    }

    /// Speaks over a socket that is connected.
    ///
    /// # Errors
    ///
    /// If what is at its other end does not speak HTTP/2.
    pub async fn over(stream: TcpStream) -> Result<Self> {
        stream.set_nodelay(true)?;
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(WINDOW).initial_connection_window_size(WINDOW);
        let (calls, connection) = builder.handshake(stream).await.context("HTTP/2")?;
        let task = tokio::spawn(async {
            // What is under way fails by itself.
            let _ = connection.await;
        });
        Ok(Self { calls, task })
    }

    /// One call; its answer. It waits as long as the connection stands.
    ///
    /// # Errors
    ///
    /// If the connection ends, or the call with a status that is not 0.
    pub async fn call(&self, payload: &Payload) -> Result<Payload> {
        let mut calls = self.calls.clone().ready().await?;
        let (answer, mut sends) = calls.send_request(request(UNARY)?, false)?;
        sends.send_data(payload.framed(), true)?;
        let mut answer = answer.await?.into_body();
        let mut input = BytesMut::new();
        while let Some(part) = answer.data().await {
            let part = part?;
            answer.flow_control().release_capacity(part.len())?;
            input.extend_from_slice(&part);
        }
        let trailers = answer.trailers().await?;
        let status = trailers.as_ref().and_then(|trailers| trailers.get("grpc-status"));
        ensure!(
            status.is_some_and(|status| status == "0"),
            "a call ended with {trailers:?} after {} bytes",
            input.len()
        );
        Payload::take(&mut input, MOST_ANSWER_BYTES)?.context("an answer without a message")
    }

    /// Opens the stream and says who the client is: `app` is its label `AppName`. The server
    /// answers on the stream.
    ///
    /// # Errors
    ///
    /// If the connection ends, or the server refuses the stream.
    pub async fn introduce(&self, app: &str) -> Result<Stream> {
        self.call(&message("ServerCheckRequest", messages::EMPTY)).await?;
        let mut calls = self.calls.clone().ready().await?;
        let (answer, mut sends) = calls.send_request(request(STREAM)?, false)?;
        let setup = message("ConnectionSetupRequest", messages::setup(app));
        sends.send_data(setup.framed(), false)?;
        let receives = answer.await?.into_body();
        Ok(Stream { sends, receives, input: BytesMut::new() })
    }

    /// Makes itself known, and waits until the server knows.
    ///
    /// # Errors
    ///
    /// As [`Self::introduce`], and if the server takes longer than 10 s.
    pub async fn set_up(&self, app: &str) -> Result<Stream> {
        let stream = self.introduce(app).await?;
        let begun = Instant::now();
        while !self.is_known().await? {
            ensure!(begun.elapsed() < SETUP, "the server does not know a connection it set up");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(stream)
    }

    async fn is_known(&self) -> Result<bool> {
        Ok(is_success(&self.check_health().await?))
    }

    /// What SDKs ask every 5 s.
    ///
    /// # Errors
    ///
    /// As [`Self::call`].
    pub async fn check_health(&self) -> Result<Payload> {
        self.call(&message("HealthCheckRequest", messages::EMPTY)).await
    }

    /// A call whose answer must hold `expected`.
    ///
    /// # Errors
    ///
    /// As [`Self::call`], and if the answer does not hold it.
    pub async fn ask(&self, payload: &Payload, expected: &[u8]) -> Result<()> {
        let answer = self.call(payload).await?;
        if memmem::find(answer.body(), expected).is_none() {
            bail!("unexpected answer: {}", String::from_utf8_lossy(answer.body()));
        }
        Ok(())
    }
}

impl Stream {
    /// The next list that is pushed, acknowledged; other requests are answered, too.
    ///
    /// # Errors
    ///
    /// If the stream ends.
    pub async fn next_list(&mut self) -> Result<Payload> {
        loop {
            let payload = self.next().await?;
            self.answer(&payload)?;
            if payload.kind() == "NotifySubscriberRequest" {
                return Ok(payload);
            }
        }
    }

    /// The next message of the server. Nothing is lost if the wait is cancelled.
    ///
    /// # Errors
    ///
    /// If the stream ends, or holds what is no message.
    pub async fn next(&mut self) -> Result<Payload> {
        loop {
            if let Some(payload) = Payload::take(&mut self.input, MOST_ANSWER_BYTES)? {
                return Ok(payload);
            }
            let part = self.receives.data().await.context("the stream has ended")??;
            self.receives.flow_control().release_capacity(part.len())?;
            self.input.extend_from_slice(&part);
        }
    }

    /// Answers a request of the server with success; what needs no answer gets none.
    ///
    /// # Errors
    ///
    /// If the stream has ended, or a request has no id.
    pub fn answer(&mut self, payload: &Payload) -> Result<()> {
        let class = match payload.kind() {
            "NotifySubscriberRequest" => "NotifySubscriberResponse",
            "ClientDetectionRequest" => "ClientDetectionResponse",
            "ConnectResetRequest" => "ConnectResetResponse",
            _ => return Ok(()),
        };
        let id = request_id(payload.body()).context("a request without an id")?;
        let ack = message(class, messages::ack(id));
        self.sends.send_data(ack.framed(), false).context("acknowledging")
    }
}

/// Whether an answer says that what was asked has been done.
#[must_use]
pub fn is_success(answer: &Payload) -> bool {
    memmem::find(answer.body(), b"\"resultCode\":200").is_some()
}

/// The id in a request of the server, found without reading all of a long list.
fn request_id(body: &[u8]) -> Option<&str> {
    let mark = b"\"requestId\":\"";
    let start = memmem::find(body, mark)? + mark.len();
    let length = body[start..].iter().position(|byte| *byte == b'"')?;
    std::str::from_utf8(&body[start..start + length]).ok()
}

fn request(path: &str) -> Result<Request<()>> {
    let mut request = Request::new(());
    *request.method_mut() = Method::POST;
    *request.uri_mut() = format!("http://127.0.0.1{path}").parse()?;
    let headers = request.headers_mut();
    headers.insert("content-type", HeaderValue::from_static("application/grpc"));
    headers.insert("te", HeaderValue::from_static("trailers"));
    headers.insert("user-agent", HeaderValue::from_static("grpc-java-netty/1.57.2"));
    headers.insert("grpc-accept-encoding", HeaderValue::from_static("gzip"));
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_a_request_is_found() {
        let body = b"{\"headers\":{},\"requestId\":\"17\",\"module\":\"naming\"}";
        assert_eq!(request_id(body), Some("17"));
        assert_eq!(request_id(b"{}"), None);
    }
}
