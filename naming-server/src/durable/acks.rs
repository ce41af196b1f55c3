//! Whose disk a durable write waits for before it is answered.

use std::sync::Arc;
use std::time::Duration;

use distro_core::{Entry, RecordId};
use distro_net::{Durability, Forwarder};

use super::keeper::Keeper;
use crate::registry::{Content, NamingStore, RegistryError, ServiceState};

/// A change that is not on the disks that it should be on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}; the change may still take effect")]
pub(crate) struct NotKept(String);

impl From<NotKept> for RegistryError {
    fn from(error: NotKept) -> Self {
        Self::NotKept(error.to_string())
    }
}

/// What durable writes wait for.
#[derive(Clone)]
pub(crate) struct Acks {
    keeper: Arc<Keeper>,
    store: Arc<NamingStore>,
    timeout: Duration,
    /// The way to the disks of the other members, if more than half must have a write.
    others: Option<Forwarder<Content, ServiceState>>,
}

impl Acks {
    /// Waits for the disk of this member, for so long at most, and for those of `others`, if
    /// given, until more than half of all members have it.
    pub(crate) fn new(
        keeper: Arc<Keeper>,
        store: Arc<NamingStore>,
        timeout: Duration,
        others: Option<Forwarder<Content, ServiceState>>,
    ) -> Self {
        Self { keeper, store, timeout, others }
    }

    /// Waits until what is held of this record now is on disk where it should be. What others
    /// write to it meanwhile may be there in its place.
    ///
    /// Of a service that was deleted it is the record of its settings: that says when it was, and
    /// whoever has it knows that all persistent instances from before are gone.
    ///
    /// # Errors
    /// It is not, or not in time. The write stays: it is in the store, other members may have it,
    /// and it is tried again.
    pub(crate) fn kept(
        &self,
        place: &RecordId,
    ) -> impl Future<Output = Result<(), NotKept>> + Send + use<> {
        let kept = match &self.others {
            None => Kept::Here(self.keeper.saved(std::slice::from_ref(place))),
            // Looked up here and not in the future: whatever is written from now on is newer.
            Some(others) => Kept::There(others.clone(), self.entry(place).into_iter().collect()),
        };
        let (keeper, timeout) = (Arc::clone(&self.keeper), self.timeout);
        async move {
            let cause = match kept {
                Kept::Here(kept) => match tokio::time::timeout(timeout, kept).await {
                    Ok(Ok(())) => return Ok(()),
                    Ok(Err(error)) => error.to_string(),
                    Err(_) => {
                        format!("not on disk: it takes longer than {} ms", timeout.as_millis())
                    }
                },
                Kept::There(others, entries) => {
                    let (needed, all) = (others.majority(), others.members());
                    match others.persist(entries, needed, timeout).await {
                        Ok(()) => return Ok(()),
                        Err(too_few) => {
                            let own = keeper.failure().map(|failure| format!(" ({failure})"));
                            let (held, own) = (too_few.held, own.unwrap_or_default());
                            format!("on disk on {held} of {all} members, not on {needed}{own}")
                        }
                    }
                }
            };
            Err(NotKept(cause))
        }
    }

    /// A record as it is held now, a removed one too; `None` if nothing was ever known of it.
    fn entry(&self, (tag, key): &RecordId) -> Option<Entry<Content>> {
        let datum = self.store.find(tag)?;
        let record = datum.read(|reader| reader.find(key).map(|record| record.into_owned()))?;
        Some(Entry { tag: Arc::clone(tag), key: Arc::clone(key), record })
    }
}

/// What is waited for.
enum Kept {
    Here(distro_net::Saving),
    There(Forwarder<Content, ServiceState>, Vec<Entry<Content>>),
}
