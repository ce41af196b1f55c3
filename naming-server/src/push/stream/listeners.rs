//! The connections that listen to one service.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::StreamSink;
use crate::push::subscriber::Listed;

/// A connection that listens to a service.
pub(in crate::push) struct StreamListener {
    pub(in crate::push) sink: Arc<dyn StreamSink>,
    pub(in crate::push) clusters: Arc<str>,
    /// Which of its subscriptions this is.
    pub(in crate::push) serial: u64,
    /// What its texts were counted for.
    pub(in crate::push) text_bytes: u64,
}

impl StreamListener {
    /// How lists of subscribers show it.
    pub(in crate::push) fn listed(&self) -> Listed {
        listed(&*self.sink, &self.clusters)
    }
}

/// How lists of subscribers show a connection that asks for `clusters`.
pub(in crate::push) fn listed(sink: &dyn StreamSink, clusters: &Arc<str>) -> Listed {
    let client = sink.client();
    Listed {
        address: client.address,
        agent: client.agent,
        clusters: Arc::clone(clusters),
        app: client.app,
        tenant: client.tenant,
        connection: Some(sink.connection()),
    }
}

/// The connections that listen to a service, by the number of the connection: everybody is told
/// in the same order in every run of a simulation.
#[derive(Default)]
pub(in crate::push) struct StreamListeners(BTreeMap<u64, StreamListener>);

impl StreamListeners {
    pub(in crate::push) fn len(&self) -> usize {
        self.0.len()
    }

    pub(in crate::push) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a connection, or replaces what it has asked for.
    pub(in crate::push) fn put(&mut self, listener: StreamListener) {
        self.0.insert(listener.sink.connection(), listener);
    }

    pub(in crate::push) fn find(&self, connection: u64) -> Option<&StreamListener> {
        self.0.get(&connection)
    }

    /// Takes the subscription away if it is still this one.
    pub(in crate::push) fn remove(
        &mut self,
        connection: u64,
        serial: u64,
    ) -> Option<StreamListener> {
        let is_this = self.0.get(&connection).is_some_and(|known| known.serial == serial);
        if is_this { self.0.remove(&connection) } else { None }
    }

    /// Those to be told of a change.
    pub(in crate::push) fn sinks(&self) -> Vec<Arc<dyn StreamSink>> {
        self.0.values().map(|listener| Arc::clone(&listener.sink)).collect()
    }

    pub(in crate::push) fn iter(&self) -> impl Iterator<Item = &StreamListener> {
        self.0.values()
    }
}
