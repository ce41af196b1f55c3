//! One HTTP request to one server, as the server expects it of a client.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue, USER_AGENT};
use hyper::{Method, Request, Uri};
use naming_http::{CallFailure, FORM, HttpClient, HttpSettings, excerpt};

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
        excerpt(&self.body, MAX_MESSAGE)
    }
}

#[derive(Debug)]
pub(crate) struct Http(HttpClient);

impl Http {
    pub(crate) fn new(
        connect_timeout: Duration,
        #[cfg(feature = "tls")] tls: Option<rustls::ClientConfig>,
    ) -> Self {
        let settings = HttpSettings { connect_timeout, idle: POOL_IDLE, ..HttpSettings::default() };
        #[cfg(feature = "tls")]
        if let Some(tls) = tls {
            return Self(HttpClient::with_tls(&settings, tls));
        }
        Self(HttpClient::new(&settings))
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
        let answer = self.0.exchange(request, MAX_ANSWER, timeout).await;
        let reply = answer.map(|(status, body)| Reply { status: status.as_u16(), body });
        Ok(reply.map_err(Failure::from))
    }
}

impl From<CallFailure> for Failure {
    fn from(failure: CallFailure) -> Self {
        match failure {
            CallFailure::Refused => Self::ConnectionRefused,
            CallFailure::Unresolvable(reason) => Self::Unresolvable(reason),
            CallFailure::Unreachable(reason) => Self::Unreachable(reason),
            CallFailure::Late(timeout) => Self::TimedOut(timeout),
            CallFailure::Cut(_) | CallFailure::TooLong => Self::Cut(failure.to_string()),
        }
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
            request = request.header(CONTENT_TYPE, FORM);
            Bytes::copy_from_slice(form.as_bytes())
        }
        None => Bytes::new(),
    };
    request.body(Full::new(body)).map_err(|e| unwritable(e.to_string()))
}

#[cfg(test)]
mod tests {
    use naming_http::Form;

    use super::*;

    #[test]
    fn the_agent_is_a_java_client_above_1_0_to_the_rules_of_servers() {
        let version = AGENT.split_once(":v").expect("servers look for the version there").1;
        let mut parts = version.split(['-', '_', '.', '/', ';', ':']);
        assert!(AGENT.starts_with("Nacos-Java-Client"));
        assert_eq!((parts.next(), parts.next(), parts.next()), (Some("1"), Some("4"), Some("8")));
    }

    #[test]
    fn a_request_line_beyond_64_kib_is_an_error_and_not_a_panic() {
        let query = Form::default().with("metadata", &"x".repeat(70_000));
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
}
