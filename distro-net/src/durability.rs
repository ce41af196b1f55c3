//! What keeps records over a restart, as the members see it.

use std::pin::Pin;

/// Durable records could not be put on disk.
///
/// The store holds them all the same, and other members may: nothing is undone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not on disk: {0}")]
pub struct NotKept(pub String);

/// The promise of [`Durability::kept`].
pub type Keeping = Pin<Box<dyn Future<Output = Result<(), NotKept>> + Send>>;

/// Whatever puts the durable records of a store on disk. Which those are is up to
/// [`is_durable`](distro_core::StoreConfig::is_durable).
pub trait Durability: Send + Sync + 'static {
    /// Resolves when all durable records that the store holds as of this call are on disk here,
    /// or it is certain that they are not. Who has written one calls this after the write and
    /// answers when it resolves; many that wait at a time share one flush.
    ///
    /// Dropping the future changes nothing: what was written is put on disk all the same.
    fn kept(&self) -> Keeping;
}

/// For a member whose data lives in memory only: everything counts as kept at once.
#[derive(Debug, Clone, Copy, Default)]
pub struct InMemory;

impl Durability for InMemory {
    fn kept(&self) -> Keeping {
        Box::pin(std::future::ready(Ok(())))
    }
}
