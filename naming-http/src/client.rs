//! One request to one server.

use std::error::Error;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::{Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

/// How connections are made and kept.
#[derive(Debug, Clone)]
pub struct HttpSettings {
    /// How long it may take to connect, 5 s by default. Beyond it the request was not sent.
    pub connect_timeout: Duration,
    /// How long an idle connection is kept, 5 s by default. Above what servers keep it, requests meet
    /// connections that are just being closed.
    pub idle: Duration,
    /// Idle connections kept to one server, any number by default.
    pub most_idle: usize,
    /// Names of headers are written `Content-Type` and not `content-type`, for servers that compare
    /// them letter by letter.
    pub title_case: bool,
}

impl Default for HttpSettings {
    fn default() -> Self {
        let five = Duration::from_secs(5);
        Self { connect_timeout: five, idle: five, most_idle: usize::MAX, title_case: false }
    }
}

/// Why a request brought no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallFailure {
    /// Nobody listens there. Nothing was sent.
    #[error("Connection refused")]
    Refused,
    /// The name of the server has no address. Nothing was sent.
    #[error("{0}")]
    Unresolvable(String),
    /// There is no connection to it, for another reason. Nothing was sent.
    #[error("{0}")]
    Unreachable(String),
    /// The connection broke, or something else than HTTP came. The request may have had effect.
    #[error("{0}")]
    Cut(String),
    /// No answer in time. The request may have had effect.
    #[error("nothing within {0:?}")]
    Late(Duration),
    /// The answer is longer than the caller takes. The request had effect.
    #[error("length limit exceeded")]
    TooLong,
}

impl CallFailure {
    /// Whether the server may have done what was asked.
    #[must_use]
    pub fn may_have_had_effect(&self) -> bool {
        matches!(self, Self::Cut(_) | Self::Late(_) | Self::TooLong)
    }
}

#[cfg(not(feature = "tls"))]
type Connector = HttpConnector;
#[cfg(feature = "tls")]
type Connector = hyper_rustls::HttpsConnector<HttpConnector>;

/// Connections to servers, opened as they are needed. Cheap to clone; clones share them.
#[derive(Debug, Clone)]
pub struct HttpClient(Client<Connector, Full<Bytes>>);

impl HttpClient {
    /// For servers in plain; with the feature `tls` no certificate is trusted. None is called yet.
    #[must_use]
    pub fn new(settings: &HttpSettings) -> Self {
        #[cfg(feature = "tls")]
        let connector = secured(plain(settings), crate::tls::trusting_nobody());
        #[cfg(not(feature = "tls"))]
        let connector = plain(settings);
        Self::over(connector, settings)
    }

    /// For servers in plain and within TLS.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn with_tls(settings: &HttpSettings, tls: rustls::ClientConfig) -> Self {
        Self::over(secured(plain(settings), tls), settings)
    }

    fn over(connector: Connector, settings: &HttpSettings) -> Self {
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(settings.idle)
            .pool_max_idle_per_host(settings.most_idle)
            .http1_title_case_headers(settings.title_case)
            .build(connector);
        Self(client)
    }

    /// Sends a request and reads the answer as it comes, whatever its status, up to `most` bytes.
    /// Cancelling gives the connection up; the server may have acted.
    ///
    /// # Errors
    /// What went wrong, see [`CallFailure`].
    pub async fn exchange(
        &self,
        request: Request<Full<Bytes>>,
        most: usize,
        deadline: Duration,
    ) -> Result<(StatusCode, Bytes), CallFailure> {
        let exchange = async {
            let answer = self.0.request(request).await.map_err(|error| unanswered(&error))?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), most).collect().await;
            let body = body.map_err(|error| match error.is::<LengthLimitError>() {
                true => CallFailure::TooLong,
                false => CallFailure::Cut(root_cause(error.as_ref())),
            });
            Ok((status, body?.to_bytes()))
        };
        let late = |_| CallFailure::Late(deadline);
        tokio::time::timeout(deadline, exchange).await.map_err(late)?
    }
}

fn plain(settings: &HttpSettings) -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(settings.connect_timeout));
    connector
}

#[cfg(feature = "tls")]
fn secured(mut connector: HttpConnector, tls: rustls::ClientConfig) -> Connector {
    connector.enforce_http(false);
    let builder = hyper_rustls::HttpsConnectorBuilder::new().with_tls_config(tls);
    builder.https_or_http().enable_http1().wrap_connector(connector)
}

fn unanswered(error: &hyper_util::client::legacy::Error) -> CallFailure {
    let cause = root_cause(error);
    if !error.is_connect() {
        return CallFailure::Cut(cause);
    }
    let io_error = causes(error).find_map(|cause| cause.downcast_ref::<io::Error>());
    if io_error.is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused) {
        return CallFailure::Refused;
    }
    // The connector says so only in its text.
    match error.source().is_some_and(|source| source.to_string().starts_with("dns error")) {
        true => CallFailure::Unresolvable(cause),
        false => CallFailure::Unreachable(cause),
    }
}

fn root_cause(error: &(dyn Error + 'static)) -> String {
    causes(error).last().unwrap_or(error).to_string()
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(20);

    fn get(address: &str) -> Request<Full<Bytes>> {
        Request::get(format!("http://{address}/")).body(Full::default()).unwrap()
    }

    /// Serves one connection: reads a head, says `answer`, and keeps the connection open.
    async fn server(answer: &'static [u8]) -> (String, tokio::task::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let task = tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(socket.read_u8().await.unwrap());
            }
            socket.write_all(answer).await.unwrap();
            match answer.is_empty() {
                // Until the client hangs up.
                true => drop(socket.read_u8().await),
                false => socket.shutdown().await.unwrap(),
            }
        });
        (address, task)
    }

    async fn ask(answer: &'static [u8], most: usize) -> Result<(StatusCode, Bytes), CallFailure> {
        let (address, _task) = server(answer).await;
        let client = HttpClient::new(&HttpSettings::default());
        client.exchange(get(&address), most, DEADLINE).await
    }

    #[tokio::test]
    async fn an_answer_of_any_status_is_an_answer() {
        let answer = ask(b"HTTP/1.1 503 No\r\ncontent-length: 2\r\n\r\nno", 2).await;
        assert_eq!(answer, Ok((StatusCode::SERVICE_UNAVAILABLE, "no".into())));
    }

    #[tokio::test]
    async fn failures_say_whether_the_request_may_have_had_effect() {
        let long = ask(b"HTTP/1.1 200 Ok\r\ncontent-length: 3\r\n\r\nyes", 2).await.unwrap_err();
        assert_eq!(long, CallFailure::TooLong);
        let cut = ask(b"HTTP/1.1 200 Ok\r\ncontent-length: 9\r\n\r\nyes", 9).await.unwrap_err();
        assert!(matches!(cut, CallFailure::Cut(_)), "{cut:?}");
        let junk = ask(b"what?\r\n\r\n", 9).await.unwrap_err();
        assert!(matches!(junk, CallFailure::Cut(_)), "{junk:?}");
        let client = HttpClient::new(&HttpSettings::default());
        let (address, _task) = server(b"").await;
        let soon = Duration::from_millis(50);
        let late = client.exchange(get(&address), 9, soon).await.unwrap_err();
        assert_eq!(late, CallFailure::Late(soon));
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let refused = client.exchange(get(&free.to_string()), 9, DEADLINE).await.unwrap_err();
        assert_eq!(refused, CallFailure::Refused);
        let effects = [&long, &cut, &junk, &late, &refused].map(|f| f.may_have_had_effect());
        assert_eq!(effects, [true, true, true, true, false]);
    }
}
