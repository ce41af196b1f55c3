//! This node as a member of a cluster, as far as the registry needs to know.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use distro_core::{Operation, Phase, SharedStatus, Tick, Written};
use distro_net::Forwarder;

use super::{Content, NamingStore, RegistryError, ServiceState};

/// The way to the members that own what this node does not.
pub(crate) struct Cluster {
    shared_status: Arc<SharedStatus>,
    forwarder: Forwarder<Content, ServiceState>,
    store: Arc<NamingStore>,
    forwarded: AtomicU64,
}

impl Cluster {
    /// A member whose writes go this way.
    pub(crate) fn new(
        shared_status: Arc<SharedStatus>,
        forwarder: Forwarder<Content, ServiceState>,
        store: Arc<NamingStore>,
    ) -> Self {
        Self { shared_status, forwarder, store, forwarded: AtomicU64::new(0) }
    }

    /// Whether reads may be answered: the data is loaded, and compared since the last pause.
    pub(crate) fn may_read(&self, now: Tick) -> bool {
        self.shared_status.may_read(now)
    }

    /// Whether writes and beats may be taken.
    pub(crate) fn may_write(&self, now: Tick) -> bool {
        self.shared_status.may_write(now)
    }

    /// Whether a write may get a stamp of this moment: the gate may have let it in before this process
    /// was stopped.
    ///
    /// # Errors
    /// `NotReady` if it was, and has not compared its data since.
    pub(super) fn check_awake(&self, now: Tick) -> Result<(), RegistryError> {
        if self.may_write(now) { Ok(()) } else { Err(stopped()) }
    }

    /// Whether what is read now may have waited while this process was stopped.
    pub(crate) fn may_be_late(&self, now: Tick) -> bool {
        self.shared_status.may_be_late(now)
    }

    /// Whether this node knows enough to say of an instance that nobody knows it. While it loads
    /// it does not; when nobody had data to load, nobody will.
    pub(crate) fn may_judge_unknown(&self, now: Tick) -> bool {
        self.shared_status.may_write(now)
            && matches!(self.shared_status.phase(), Phase::Up | Phase::Leaving)
    }

    /// Whether what has this tag is this member's to write.
    pub(super) fn owns(&self, tag: &str) -> bool {
        self.store.owns(tag)
    }

    /// Has a write carried out by the owner, or here if that is silent. Takes two forward deadlines
    /// at most.
    pub(super) async fn write(&self, operation: Operation<Content>) -> Written<Content> {
        self.forwarded.fetch_add(1, Relaxed);
        self.forwarder.write(operation).await
    }

    /// Writes and unknown beats that were not this member's own, since the start.
    pub(crate) fn forwarded(&self) -> u64 {
        self.forwarded.load(Relaxed)
    }
}

#[cold]
fn stopped() -> RegistryError {
    RegistryError::NotReady("this server was stopped while it took the write".to_owned())
}
