//! Whose disk a durable write waits for before it is answered.

use std::sync::Arc;
use std::time::Duration;

use distro_net::Durability;

use super::keeper::Keeper;
use crate::http::ApiError;
use crate::registry::NamingStore;

/// What durable writes wait for.
#[derive(Clone)]
pub(crate) struct Acks {
    keeper: Arc<Keeper>,
    store: Arc<NamingStore>,
    timeout: Duration,
}

/// What a write has written: a record, or a whole datum.
pub(crate) struct Wrote {
    tag: Box<str>,
    key: Option<Box<str>>,
}

impl Wrote {
    pub(crate) fn record(tag: &str, key: &str) -> Self {
        Self { tag: tag.into(), key: Some(key.into()) }
    }

    pub(crate) fn datum(tag: &str) -> Self {
        Self { tag: tag.into(), key: None }
    }
}

impl Acks {
    /// Waits for the disk of this member, for so long at most.
    pub(crate) fn new(keeper: Arc<Keeper>, store: Arc<NamingStore>, timeout: Duration) -> Self {
        Self { keeper, store, timeout }
    }

    /// What writes the disk of this member.
    pub(crate) fn keeper(&self) -> &Arc<Keeper> {
        &self.keeper
    }

    /// Makes sure that what was written elsewhere, and is held here, will be on disk.
    pub(crate) fn note(&self, wrote: &Wrote) {
        let Some(datum) = self.store.find(&wrote.tag) else { return };
        match &wrote.key {
            Some(key) => self.keeper.note(&datum, key),
            None => self.keeper.note_all(&datum),
        }
    }

    /// Waits until everything durable that this member holds now is on disk.
    ///
    /// # Errors
    /// 503 if it is not, or not in time. The write stays: it is in the store, other members may
    /// have it, and it is tried again.
    pub(crate) fn kept(&self) -> impl Future<Output = Result<(), ApiError>> + Send + use<> {
        let (kept, timeout) = (self.keeper.kept(), self.timeout);
        async move {
            let cause = match tokio::time::timeout(timeout, kept).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) => error.to_string(),
                Err(_) => format!("not on disk: it takes longer than {} ms", timeout.as_millis()),
            };
            Err(ApiError::unavailable(format!("{cause}; the change may still take effect")))
        }
    }
}
