//! Views of all members: how many are put together at a time.

use tokio::sync::{Semaphore, SemaphorePermit};

/// Views that are put together at a time. Each may keep 1 MiB of each member.
const MOST_VIEWS: usize = 16;

/// Bounds how many views of all members are put together at a time.
pub(crate) struct MostViews(Semaphore);

impl Default for MostViews {
    fn default() -> Self {
        Self(Semaphore::new(MOST_VIEWS))
    }
}

impl MostViews {
    /// Waits for room for one more. It lasts until what comes back is dropped.
    pub(crate) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        // It is never closed.
        self.0.acquire().await.ok()
    }
}
