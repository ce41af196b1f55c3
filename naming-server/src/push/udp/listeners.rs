//! The sockets that listen to one service.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::time::Instant;

use super::Subscription;
use crate::push::HashState;
use crate::push::subscriber::Subscriber;

/// What makes a subscription another one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::push) struct Identity {
    address: SocketAddr,
    clusters: Arc<str>,
    agent: Arc<str>,
}

impl Identity {
    pub(in crate::push) fn of(subscriber: &Subscriber) -> Self {
        Self {
            address: subscriber.address,
            clusters: Arc::clone(&subscriber.clusters),
            agent: Arc::clone(&subscriber.agent),
        }
    }
}

/// The subscriptions to packets about a service.
#[derive(Debug, Default)]
pub(in crate::push) struct UdpListeners(HashMap<Identity, Arc<Subscription>, HashState>);

impl UdpListeners {
    pub(in crate::push) fn len(&self) -> usize {
        self.0.len()
    }

    pub(in crate::push) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(in crate::push) fn find(&self, identity: &Identity) -> Option<&Arc<Subscription>> {
        self.0.get(identity)
    }

    pub(in crate::push) fn add(&mut self, identity: Identity, subscription: Arc<Subscription>) {
        self.0.insert(identity, subscription);
    }

    pub(in crate::push) fn iter(&self) -> impl Iterator<Item = &Arc<Subscription>> {
        self.0.values()
    }

    #[cfg(test)]
    pub(in crate::push) fn capacity(&self) -> usize {
        self.0.capacity()
    }

    /// The subscriptions that may be pushed to now: those who answer, and those who owe an ack.
    pub(in crate::push) fn ready(
        &self,
        now: Instant,
    ) -> (Vec<Arc<Subscription>>, Vec<Arc<Subscription>>) {
        let mut answering = Vec::with_capacity(self.0.len());
        let mut silent = Vec::new();
        for subscription in self.0.values() {
            let state = subscription.state.lock();
            if !state.is_ready(now) {
                continue;
            }
            let list = if state.delivery.is_silent() { &mut silent } else { &mut answering };
            list.push(Arc::clone(subscription));
        }
        (answering, silent)
    }

    /// Removes what has expired.
    pub(in crate::push) fn sweep(&mut self, now: Instant, removed: &mut Vec<Arc<Subscription>>) {
        let before = removed.len();
        self.0.retain(|_, subscription| {
            let mut state = subscription.state.lock();
            if state.is_alive(now) {
                return true;
            }
            state.removed = true;
            removed.push(Arc::clone(subscription));
            false
        });
        if removed.len() > before && self.0.capacity() > 4 * self.0.len() + 16 {
            self.0.shrink_to_fit();
        }
    }
}
