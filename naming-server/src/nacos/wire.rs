//! What an HTTP exchange with another member comes to.

use bytes::Bytes;
use hyper::StatusCode;
use naming_http::{CallFailure, HttpClient, HttpSettings};

use super::BadMessage;
use crate::text::cut;

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

impl From<CallFailure> for CallError {
    fn from(failure: CallFailure) -> Self {
        match failure {
            CallFailure::Refused => Self::Refused,
            CallFailure::TooLong => BadMessage::new(failure.to_string()).into(),
            other => lost(other),
        }
    }
}

/// Connections to other members. None yet.
pub(super) fn connections() -> HttpClient {
    // Servers in Java may compare the names of headers letter by letter.
    let settings = HttpSettings { most_idle: POOL_SIZE, title_case: true, ..<_>::default() };
    HttpClient::new(&settings)
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
