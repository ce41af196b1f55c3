//! One HTTP request to one server: pooled connections, a deadline, and failures sorted by what
//! they say about the fate of the request.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue, USER_AGENT};
use hyper::{Method, Request, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use crate::error::{Error, Failure};

/// Servers steer formats and push by the agent's prefix: only a name they know gets grouped host
/// names and UDP packets, and Java's is the one known to all of them. They read the version up to
/// the third part (separators are `- _ . / ; :`), so what follows it is free to say who we are.
const AGENT: &str = concat!("Nacos-Java-Client:v1.4.8-naming-client/", env!("CARGO_PKG_VERSION"));
/// Longest answer taken, in bytes: about 150,000 instances.
const MAX_ANSWER: usize = 64 * 1024 * 1024;
/// Longest excerpt of a server's error text kept, in characters.
const MAX_MESSAGE: usize = 300;
/// How long an idle connection is kept; shorter than servers keep it, so that a request does not
/// meet a connection that is just being closed.
const POOL_IDLE: Duration = Duration::from_secs(15);

/// What to send, apart from where.
#[derive(Debug)]
pub(crate) struct Message<'a> {
    pub(crate) method: Method,
    /// Below the context path, such as `/v1/ns/instance`.
    pub(crate) path: &'a str,
    pub(crate) query: &'a str,
    /// Form body.
    pub(crate) form: Option<&'a str>,
    pub(crate) token: Option<&'a str>,
}

/// What came back, whatever the status.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: Bytes,
}

impl Reply {
    /// The body as text, shortened to what belongs into an error or a log line.
    pub(crate) fn message(&self) -> String {
        let text = String::from_utf8_lossy(&self.body[..self.body.len().min(MAX_MESSAGE * 4)]);
        text.trim().chars().filter(|c| !c.is_control()).take(MAX_MESSAGE).collect()
    }
}

#[cfg(not(feature = "tls"))]
type Connector = HttpConnector;
#[cfg(feature = "tls")]
type Connector = hyper_rustls::HttpsConnector<HttpConnector>;

#[derive(Debug)]
pub(crate) struct Http {
    client: Client<Connector, Full<Bytes>>,
}

impl Http {
    pub(crate) fn new(
        connect_timeout: Duration,
        #[cfg(feature = "tls")] tls: rustls::ClientConfig,
    ) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(connect_timeout));
        #[cfg(feature = "tls")]
        let connector = {
            connector.enforce_http(false);
            let builder = hyper_rustls::HttpsConnectorBuilder::new().with_tls_config(tls);
            builder.https_or_http().enable_http1().wrap_connector(connector)
        };
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(POOL_IDLE)
            .build(connector);
        Self { client }
    }

    /// Sends `message` to the server at `base` (`http://host:port/context`). Cancelling gives the
    /// connection up; the server may have acted.
    ///
    /// # Errors
    /// The outer error means that the message cannot be sent to anyone.
    pub(crate) async fn send(
        &self,
        base: &str,
        message: &Message<'_>,
        timeout: Duration,
    ) -> Result<Result<Reply, Failure>, Error> {
        let request = build(base, message)?;
        let answer = tokio::time::timeout(timeout, self.exchange(request)).await;
        Ok(answer.unwrap_or_else(|_| Err(Failure::TimedOut(timeout))))
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Reply, Failure> {
        let answer = self.client.request(request).await.map_err(|e| request_failure(&e))?;
        let status = answer.status().as_u16();
        let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
        let body = body.map_err(|e| Failure::Cut(root_cause(e.as_ref())))?.to_bytes();
        Ok(Reply { status, body })
    }
}

fn build(base: &str, message: &Message<'_>) -> Result<Request<Full<Bytes>>, Error> {
    let gap = if message.query.is_empty() { "" } else { "?" };
    let text = format!("{base}{}{gap}{}", message.path, message.query);
    let unwritable = |reason: String| Error::Request(reason);
    let uri: Uri = text
        .parse()
        .map_err(|e| unwritable(format!("{e}, {} bytes with all parameters", text.len())))?;
    let mut request = Request::builder()
        .method(message.method.clone())
        .uri(uri)
        .header(USER_AGENT, AGENT)
        .header(HeaderName::from_static("client-version"), "1.4.8")
        .header(HeaderName::from_static("request-module"), "Naming");
    if let Some(token) = message.token {
        let mut value = HeaderValue::try_from(format!("Bearer {token}"))
            .map_err(|_| unwritable("the access token is not a header value".to_owned()))?;
        value.set_sensitive(true);
        request = request.header(AUTHORIZATION, value);
    }
    let body = match message.form {
        Some(form) => {
            request =
                request.header(CONTENT_TYPE, "application/x-www-form-urlencoded;charset=UTF-8");
            Bytes::copy_from_slice(form.as_bytes())
        }
        None => Bytes::new(),
    };
    request.body(Full::new(body)).map_err(|e| unwritable(e.to_string()))
}

fn request_failure(error: &hyper_util::client::legacy::Error) -> Failure {
    let cause = root_cause(error);
    if !error.is_connect() {
        return Failure::Cut(cause);
    }
    let io_error = find_io(error);
    if io_error.is_some_and(|e| e.kind() == io::ErrorKind::ConnectionRefused) {
        return Failure::ConnectionRefused;
    }
    // The connector says so only in its text.
    match error.source().is_some_and(|source| source.to_string().starts_with("dns error")) {
        true => Failure::Unresolvable(cause),
        false => Failure::Unreachable(cause),
    }
}

fn find_io<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a io::Error> {
    causes(error).find_map(|cause| cause.downcast_ref())
}

fn root_cause(error: &(dyn StdError + 'static)) -> String {
    causes(error).last().unwrap_or(error).to_string()
}

fn causes<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let current = next?;
        next = current.source();
        Some(current)
    })
}

/// Parameters of a query or form, percent-encoded as they are added.
#[derive(Debug, Clone, Default)]
pub(crate) struct Params(String);

impl Params {
    #[must_use]
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        if !self.0.is_empty() {
            self.0.push('&');
        }
        self.0.push_str(name);
        self.0.push('=');
        percent_encode(value, &mut self.0);
        self
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Encodes everything but letters, digits and `- . _ ~`.
pub(crate) fn percent_encode(text: &str, target: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            target.push(char::from(byte));
        } else {
            target.push('%');
            target.push(char::from(HEX[usize::from(byte >> 4)]));
            target.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_encoded() {
        let params = Params::default().with("serviceName", "g@@s").with("metadata", "{\"ä\":1 }");
        assert_eq!(params.as_str(), "serviceName=g%40%40s&metadata=%7B%22%C3%A4%22%3A1%20%7D");
    }

    #[test]
    fn the_agent_is_a_java_client_above_1_0_to_the_rules_of_servers() {
        let version = AGENT.split_once(":v").expect("servers look for the version there").1;
        let mut parts = version.split(['-', '_', '.', '/', ';', ':']);
        assert!(AGENT.starts_with("Nacos-Java-Client"));
        assert_eq!((parts.next(), parts.next(), parts.next()), (Some("1"), Some("4"), Some("8")));
    }

    #[test]
    fn a_request_line_beyond_64_kib_is_an_error_and_not_a_panic() {
        let query = Params::default().with("metadata", &"x".repeat(70_000));
        let message = Message {
            method: Method::POST,
            path: "/v1/ns/instance",
            query: query.as_str(),
            form: None,
            token: None,
        };
        assert!(matches!(build("http://a:1/nacos", &message), Err(Error::Request(_))));
        let message = Message { query: "", token: Some("bad\ntoken"), ..message };
        assert!(matches!(build("http://a:1/nacos", &message), Err(Error::Request(_))));
    }

    #[test]
    fn an_error_page_is_shortened() {
        let reply = Reply { status: 500, body: Bytes::from("é\n".repeat(5_000)) };
        assert_eq!(reply.message().chars().count(), MAX_MESSAGE);
    }
}
