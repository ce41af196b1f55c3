//! What a handler gives back: a reply, or the promise of one.

use super::{ApiError, Reply};
use crate::registry::{Later, Write};

/// The reply to a request. Nearly always it is there at once; only a write that goes to another
/// member, or that must be on disk, makes its client wait.
pub(crate) enum Answer {
    /// Here it is.
    Now(Reply),
    /// Here it will be. The future runs to its end in a task of its own, whatever the client does:
    /// a write that has begun is finished.
    Later(Later<Reply>),
    /// It has to be found out first who asks. Once the future is done without a reply, the same
    /// request is to be handled again; with one, that is the answer. Nothing has begun: when the
    /// client goes away the future is dropped.
    Again(Later<Option<Reply>>),
}

impl From<Reply> for Answer {
    fn from(reply: Reply) -> Self {
        Self::Now(reply)
    }
}

impl From<ApiError> for Answer {
    fn from(error: ApiError) -> Self {
        Self::Now(error.into())
    }
}

impl From<Result<Self, ApiError>> for Answer {
    fn from(result: Result<Self, ApiError>) -> Self {
        result.unwrap_or_else(Self::from)
    }
}

impl From<Write<Reply>> for Answer {
    fn from(write: Write<Reply>) -> Self {
        match write {
            Write::Done(reply) => Self::Now(reply),
            Write::Sent(later) => Self::Later(later),
        }
    }
}

impl<E: Into<ApiError> + Send + 'static> Write<Result<(), E>> {
    /// The answer to a write that says no more than that it is done.
    pub(crate) fn into_ok(self) -> Answer {
        self.map(|result| result.map(|()| Reply::ok()).map_err(Into::into).into()).into()
    }
}
