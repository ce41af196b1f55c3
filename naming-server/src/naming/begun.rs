//! A write that has begun is finished, whatever its front does.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::runtime::Handle;

use super::NamingError;
use crate::registry::{Later, RegistryError, Write};

/// The write of the registry as the layer gives it to a front.
pub(super) fn begun<T: Send + 'static>(
    write: Write<Result<T, RegistryError>>,
) -> Write<Result<T, NamingError>> {
    match write {
        Write::Done(outcome) => Write::Done(outcome.map_err(NamingError::from)),
        Write::Sent(later) => {
            Write::Sent(finished(Box::pin(async move { later.await.map_err(NamingError::from) })))
        }
    }
}

/// The same future, which goes on in a task of its own if nobody waits for it any more.
pub(super) fn finished<T: Send + 'static>(later: Later<T>) -> Later<T> {
    Box::pin(Begun { later: Some(later) })
}

/// Costs no task as long as its front waits.
struct Begun<T: Send + 'static> {
    /// `None` once it is done.
    later: Option<Later<T>>,
}

impl<T: Send + 'static> Future for Begun<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let later = self.later.as_mut().expect("nobody polls a future that is done");
        let outcome = later.as_mut().poll(context);
        if outcome.is_ready() {
            self.later = None;
        }
        outcome
    }
}

impl<T: Send + 'static> Drop for Begun<T> {
    fn drop(&mut self) {
        // Without a runtime the process ends, and nothing goes on.
        if let (Some(later), Ok(runtime)) = (self.later.take(), Handle::try_current()) {
            runtime.spawn(later);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn a_write_goes_on_when_its_front_drops_it() {
        for polled in [false, true] {
            let (resume, resumed) = oneshot::channel::<()>();
            let (tell, told) = oneshot::channel();
            let write: Later<()> = Box::pin(async move {
                let _ = resumed.await;
                let _ = tell.send(());
            });
            let mut front = finished(write);
            if polled {
                assert!(tokio::time::timeout(Duration::ZERO, &mut front).await.is_err());
            }
            drop(front);
            resume.send(()).unwrap();
            tokio::time::timeout(Duration::from_secs(10), told).await.unwrap().unwrap();
        }
    }

    #[tokio::test]
    async fn a_write_that_is_waited_for_tells_its_outcome() {
        assert_eq!(finished(Box::pin(async { 7 })).await, 7);
    }
}
