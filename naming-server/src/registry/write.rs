//! A write as its caller sees it: done, or on its way.

use std::collections::VecDeque;
use std::pin::Pin;

/// Something that waits for another member, or for the disk.
pub(crate) type Later<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Writes of one request that are made before other requests get their turn.
const AT_A_TIME: usize = 64;

/// The outcome of a write, or the way to it.
pub(crate) enum Write<T> {
    /// It is done.
    Done(T),
    /// It waits for another member.
    Sent(Later<T>),
}

/// What became of a change to an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patched {
    /// It is made.
    Done,
    /// There is no such instance.
    NotFound,
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

impl<R: Send + 'static, E: Send + 'static> Write<Result<R, E>> {
    /// A write for each item as one; ends at the first that fails. They are begun some at a time,
    /// and the next ones when those are done: waiting for another member or for the disk takes the
    /// room of a few, and many hold up a thread no longer than a few do.
    pub(crate) fn each<I>(
        items: I,
        write: impl FnMut(I::Item) -> Self + Send + 'static,
    ) -> Write<Result<Vec<R>, E>>
    where
        I: IntoIterator<IntoIter: Send + 'static>,
    {
        let mut writes = items.into_iter().map(write);
        let mut begun: VecDeque<Self> = writes.by_ref().take(AT_A_TIME).collect();
        let is_all = begun.len() < AT_A_TIME;
        if is_all && begun.iter().all(|write| matches!(write, Self::Done(_))) {
            let done = begun.into_iter().filter_map(|write| match write {
                Self::Done(outcome) => Some(outcome),
                Self::Sent(_) => None,
            });
            return Write::Done(done.collect());
        }
        Write::Sent(Box::pin(async move {
            let mut done = Vec::new();
            while !begun.is_empty() {
                for write in begun.drain(..) {
                    done.push(write.outcome().await?);
                }
                tokio::task::yield_now().await;
                begun.extend(writes.by_ref().take(AT_A_TIME));
            }
            Ok(done)
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use super::*;

    /// Writes of so many items, those from `sent` on by another member, one of them bad; and how
    /// many were begun.
    fn each(
        items: usize,
        sent: usize,
        bad: usize,
    ) -> (Write<Result<Vec<usize>, &'static str>>, Arc<AtomicUsize>) {
        let begun = Arc::<AtomicUsize>::default();
        let counts = Arc::clone(&begun);
        let write = move |item: usize| {
            counts.fetch_add(1, Relaxed);
            let outcome = if item == bad { Err("bad") } else { Ok(item) };
            if item < sent {
                Write::Done(outcome)
            } else {
                Write::Sent(Box::pin(async move { outcome }))
            }
        };
        (Write::each(0..items, write), begun)
    }

    #[tokio::test]
    async fn few_writes_are_begun_before_those_before_them_are_done() {
        for (items, sent, at_once) in [(10, 99, 10), (10, 3, 10), (1_000, 9_999, 64), (999, 0, 64)]
        {
            let (write, begun) = each(items, sent, usize::MAX);
            assert_eq!(begun.load(Relaxed), at_once, "of {items} items");
            assert_eq!(matches!(write, Write::Done(_)), at_once <= sent && items <= sent.min(63));
            assert_eq!(write.outcome().await.unwrap(), (0..items).collect::<Vec<_>>());
        }
        assert_eq!(each(0, 0, 0).0.outcome().await.unwrap(), [0_usize; 0]);
    }

    #[tokio::test]
    async fn a_failure_ends_the_writes() {
        for (sent, bad, begun_then) in [(99, 5, 64), (3, 3, 64), (9_999, 500, 512)] {
            let (write, begun) = each(1_000, sent, bad);
            assert_eq!(write.outcome().await.unwrap_err(), "bad");
            assert_eq!(begun.load(Relaxed), begun_then);
        }
    }
}
