//! Rounds: one state of a service for all who listen.

use std::sync::Arc;

use tokio::time::Instant;

use super::Topic;
use super::topic::Ready;
use crate::push::stream::StreamSink;
use crate::push::udp::Batch;

/// One state of a service on its way to all who listen. Connections only note the change, and come
/// first: that costs them least.
pub(super) struct Round {
    pub(super) topic: Arc<Topic>,
    pub(super) started: Instant,
    pub(super) changed_at: Instant,
    /// Connections that have not been told yet.
    pub(super) streams: Vec<Arc<dyn StreamSink>>,
    pub(super) packets: Batch,
    /// For those alone whose packets were put off: the service is somewhere else as well.
    pub(super) is_extra: bool,
}

impl Round {
    /// About what changed at `changed_at`, for all who may be told now.
    pub(super) fn new(topic: Arc<Topic>, changed_at: Instant) -> Self {
        let started = Instant::now();
        let Ready { mut streams, answering, silent } = topic.ready(started);
        // Taken from the end.
        streams.reverse();
        let packets = Batch::new(answering, silent, changed_at);
        Self { topic, started, changed_at, streams, packets, is_extra: false }
    }

    /// About packets that were put off.
    pub(super) fn extra(topic: Arc<Topic>, packets: Batch) -> Self {
        let now = Instant::now();
        let (started, changed_at, streams) = (now, now, Vec::new());
        Self { topic, started, changed_at, streams, packets, is_extra: true }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.streams.is_empty() && self.packets.is_empty()
    }
}
