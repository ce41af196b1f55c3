//! One HTTP exchange with another member: deadlines, ceilings, and what can go wrong.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::{Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::BadMessage;
use crate::text::cut;

/// How long it may take to connect; for redirected writes their own deadline is shorter.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Idle connections are closed sooner than servers do it, so that no request meets the end of one.
const POOL_IDLE: Duration = Duration::from_secs(5);
/// Idle connections kept to one member.
const POOL_SIZE: usize = 32;
/// Bytes of an answer that are shown in a log.
const MOST_SHOWN: usize = 200;

/// Why a call brought nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CallError {
    /// Nobody listens there.
    #[error("Connection refused")]
    Refused,
    /// No answer in time, or a broken one. A write may have been carried out.
    #[error("no answer: {0}")]
    Lost(String),
    /// An answer that says no.
    #[error("{} {text}", status.as_u16())]
    Status {
        /// Its status.
        status: StatusCode,
        /// The beginning of what it says.
        text: String,
    },
    /// The answer cannot be used.
    #[error("the answer: {0}")]
    Unreadable(#[from] BadMessage),
}

impl CallError {
    /// Whether the member got the message and does not want it: the same would fail again.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self, Self::Status { .. })
    }
}

/// Connections to other members.
#[derive(Debug)]
pub(super) struct Wire(Client<HttpConnector, Full<Bytes>>);

impl Wire {
    /// None yet.
    pub(super) fn new() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(POOL_IDLE)
            .pool_max_idle_per_host(POOL_SIZE)
            .http1_title_case_headers(true)
            .build(connector);
        Self(client)
    }

    /// Sends a request and reads the answer as it comes, up to `limit` bytes.
    pub(super) async fn exchange(
        &self,
        request: Request<Full<Bytes>>,
        limit: usize,
        deadline: Duration,
    ) -> Result<(StatusCode, Bytes), CallError> {
        let exchange = async {
            let answer = self.0.request(request).await.map_err(|error| failure(&error))?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), limit).collect().await;
            let body = body.map_err(|error| match error.downcast_ref::<LengthLimitError>() {
                Some(limit) => BadMessage::new(limit.to_string()).into(),
                None => failure(error.as_ref()),
            })?;
            Ok((status, body.to_bytes()))
        };
        let late = |_| CallError::Lost(format!("nothing within {deadline:?}"));
        tokio::time::timeout(deadline, exchange).await.map_err(late)?
    }
}

/// The body of an answer that says yes.
pub(super) fn ok((status, body): (StatusCode, Bytes)) -> Result<Bytes, CallError> {
    match status {
        // Java takes both for a success.
        StatusCode::OK | StatusCode::NOT_MODIFIED => Ok(body),
        _ => {
            let text = String::from_utf8_lossy(&body);
            Err(CallError::Status { status, text: cut(&text, MOST_SHOWN).to_owned() })
        }
    }
}

/// The error of a request that did not get anywhere.
pub(super) fn lost(error: impl ToString) -> CallError {
    CallError::Lost(error.to_string())
}

fn failure(error: &(dyn StdError + 'static)) -> CallError {
    let mut cause = error;
    loop {
        let refused = |error: &io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
        if cause.downcast_ref::<io::Error>().is_some_and(refused) {
            return CallError::Refused;
        }
        match cause.source() {
            Some(deeper) => cause = deeper,
            None => return lost(cause),
        }
    }
}

/// Appends a text as it stands in a query.
pub(crate) fn push_encoded(out: &mut String, text: &str) {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._*".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(DIGITS[usize::from(byte >> 4)]);
            out.push(DIGITS[usize::from(byte & 15)]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_in_queries_are_encoded_as_by_java() {
        let mut out = String::new();
        push_encoded(&mut out, "public##DEFAULT_GROUP@@a b-1.é");
        assert_eq!(out, "public%23%23DEFAULT_GROUP%40%40a%20b-1.%C3%A9");
    }
}
