//! What keeps records over a restart, as the members see it.

use std::pin::Pin;

use distro_core::RecordId;

/// Durable records could not be put on disk.
///
/// The store holds them all the same, and other members may: nothing is undone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not on disk: {0}")]
pub struct NotSaved(pub String);

/// The promise of [`Durability::saved`].
pub type Saving = Pin<Box<dyn Future<Output = Result<(), NotSaved>> + Send>>;

/// Whatever puts the durable records of a store on disk. Which those are is up to
/// [`is_durable`](distro_core::StoreConfig::is_durable).
pub trait Durability: Send + Sync + 'static {
    /// Resolves when these records are on disk here as the store holds them as of
    /// this call, or newer, or it is certain that they are not. Who has written durable records
    /// calls this after the write and answers when it resolves; many that wait at a time share one
    /// flush.
    ///
    /// They must be named, since somebody else may have written the very same a moment ago,
    /// on a thread that is yet to call the watchers of the store. Records that are not durable do not
    /// count.
    ///
    /// Dropping the future changes nothing: what was written is put on disk all the same.
    fn saved(&self, records: &[RecordId]) -> Saving;
}

/// For a member whose data lives in memory only: everything counts as saved at once.
#[derive(Debug, Clone, Copy, Default)]
pub struct InMemory;

impl Durability for InMemory {
    fn saved(&self, _: &[RecordId]) -> Saving {
        Box::pin(std::future::ready(Ok(())))
    }
}
