//! Passwords that are being verified: many clients with one password come all at once, and wait
//! while it is verified for the first.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::OnceCell;

use super::lanes::Source;
use super::{Refusal, verified};

/// What is being verified, and for whom: nobody waits for a lane of somebody else.
type Key = (Source, verified::Digest);

/// What becomes of it.
type Outcome = OnceCell<Result<(), Refusal>>;

/// The passwords that are being verified.
#[derive(Default)]
pub(super) struct Flights {
    under_way: Arc<Mutex<HashMap<Key, Weak<Outcome>>>>,
}

impl Flights {
    /// Joins those who wait for this password, or begins: of all who wait at a time, the future
    /// `verify` of one runs, and that of another if that one goes away before the end.
    pub(super) async fn join(
        &self,
        key: Key,
        verify: impl Future<Output = Result<(), Refusal>>,
    ) -> Result<(), Refusal> {
        let flight = self.board(key);
        *flight.outcome.get_or_init(|| verify).await
    }

    fn board(&self, key: Key) -> Flight {
        let mut under_way = self.under_way.lock();
        let known = under_way.get(&key).and_then(Weak::upgrade);
        let outcome = known.unwrap_or_default();
        under_way.insert(key, Arc::downgrade(&outcome));
        Flight { under_way: Arc::clone(&self.under_way), key, outcome }
    }
}

/// One who waits, as long as this lives.
struct Flight {
    under_way: Arc<Mutex<HashMap<Key, Weak<Outcome>>>>,
    key: Key,
    outcome: Arc<Outcome>,
}

impl Drop for Flight {
    fn drop(&mut self) {
        let mut under_way = self.under_way.lock();
        // Nobody can join meanwhile: that takes the lock.
        if Arc::strong_count(&self.outcome) == 1 {
            under_way.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Key = (Source::LOCALHOST, [7; 32]);

    #[tokio::test]
    async fn one_is_verified_for_all_who_wait() {
        let (flights, count) = (Arc::<Flights>::default(), Arc::new(Mutex::new(0)));
        let join = || {
            let (flights, count) = (Arc::clone(&flights), Arc::clone(&count));
            tokio::spawn(async move {
                let verify = async {
                    *count.lock() += 1;
                    tokio::task::yield_now().await;
                    Err(Refusal::UnknownUser)
                };
                flights.join(KEY, verify).await
            })
        };
        for joined in (0..50).map(|_| join()).collect::<Vec<_>>() {
            assert_eq!(joined.await.unwrap(), Err(Refusal::UnknownUser));
        }
        assert_eq!(*count.lock(), 1);
        assert!(flights.under_way.lock().is_empty());
        // The next one is a new one.
        assert_eq!(flights.join(KEY, async { Ok(()) }).await, Ok(()));
    }

    #[tokio::test]
    async fn whoever_waits_goes_on_when_the_first_goes_away() {
        let flights = Arc::<Flights>::default();
        let first = tokio::spawn({
            let flights = Arc::clone(&flights);
            async move { flights.join(KEY, std::future::pending()).await }
        });
        while flights.under_way.lock().is_empty() {
            tokio::task::yield_now().await;
        }
        let second = tokio::spawn({
            let flights = Arc::clone(&flights);
            async move { flights.join(KEY, async { Ok(()) }).await }
        });
        tokio::task::yield_now().await;
        first.abort();
        assert_eq!(second.await.unwrap(), Ok(()));
    }
}
