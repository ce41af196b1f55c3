//! Wakes the driver when something was written.

use std::sync::Arc;

use distro_core::{Datum, Key, Value, Verdict, Watcher};
use tokio::sync::Notify;

/// Tells the driver at once that there may be something to send, instead of with its next tick.
/// To be made first, given to the store among its watchers, and to the driver. Cheap to clone;
/// telling costs an atomic operation, and many tellings between two looks count as one.
#[derive(Debug, Clone, Default)]
pub struct Nudge {
    notify: Arc<Notify>,
}

impl Nudge {
    /// Something was written here.
    pub fn tell(&self) {
        self.notify.notify_one();
    }

    pub(crate) async fn told(&self) {
        self.notify.notified().await;
    }
}

impl<V: Value, A> Watcher<V, A> for Nudge {
    fn changed(&self, _: &Arc<Datum<V, A>>, _: &[Key], _: bool) {
        self.tell();
    }

    fn judged(&self, _: &Arc<Datum<V, A>>, _: &Verdict<V>) {}
}
