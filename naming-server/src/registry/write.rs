//! A write as its caller sees it: done, or on its way.

use crate::http::{Answer, ApiError, Later, Reply};

/// The outcome of a write, or the way to it.
pub(crate) enum Write<T> {
    /// It is done.
    Done(T),
    /// It waits for another member.
    Sent(Later<T>),
}

impl<T: Send + 'static> Write<T> {
    /// The same write with what is made of its outcome.
    pub(crate) fn map<R>(self, map: impl FnOnce(T) -> R + Send + 'static) -> Write<R> {
        match self {
            Self::Done(outcome) => Write::Done(map(outcome)),
            Self::Sent(later) => Write::Sent(Box::pin(async { map(later.await) })),
        }
    }

    /// The same write and another one after it, which its outcome decides on.
    pub(crate) fn then<R: Send + 'static>(
        self,
        next: impl FnOnce(T) -> Write<R> + Send + 'static,
    ) -> Write<R> {
        match self {
            Self::Done(outcome) => next(outcome),
            Self::Sent(later) => Write::Sent(Box::pin(async {
                let next = next(later.await);
                next.outcome().await
            })),
        }
    }

    /// Waits for it.
    pub(crate) async fn outcome(self) -> T {
        match self {
            Self::Done(outcome) => outcome,
            Self::Sent(later) => later.await,
        }
    }

    /// Several writes, one after the other, as one. The first outcomes come first.
    pub(crate) fn all(writes: Vec<Self>) -> Write<Vec<T>> {
        let mut done = Vec::with_capacity(writes.len());
        let mut writes = writes.into_iter();
        while let Some(write) = writes.next() {
            match write {
                Self::Done(outcome) => done.push(outcome),
                Self::Sent(first) => {
                    return Write::Sent(Box::pin(async move {
                        done.push(first.await);
                        for write in writes {
                            done.push(match write {
                                Self::Done(outcome) => outcome,
                                Self::Sent(later) => later.await,
                            });
                        }
                        done
                    }));
                }
            }
        }
        Write::Done(done)
    }
}

impl Write<Result<(), ApiError>> {
    /// The answer to a write that says no more than that it is done.
    pub(crate) fn into_ok(self) -> Answer {
        self.map(|result| result.map(|()| Reply::ok()).into()).into()
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
