//! Subscriptions of a connection, and the lists that are pushed for them.

use std::collections::HashMap;
use std::sync::Arc;

use distro_core::ConnectionId;
use naming_model::ServiceKey;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{Client, Connection};
use crate::grpc::Front;
use crate::grpc::answer::{Answer, Fields};
use crate::push::{Outbox, Pusher, StreamClient, StreamSink, StreamSubscription, SubscribeRefused};
use crate::registry::wall_ms;

/// What a connection is subscribed to, and what it is to be sent for that.
pub(in crate::grpc) struct Pushes {
    outbox: Mutex<Outbox>,
    /// None once the connection is over.
    subscriptions: Mutex<Option<HashMap<ServiceKey, StreamSubscription>>>,
}

impl Pushes {
    /// Nothing yet.
    pub(in crate::grpc) fn new(outbox: Outbox) -> Self {
        Self { outbox: Mutex::new(outbox), subscriptions: Mutex::new(Some(HashMap::new())) }
    }

    /// Ends all subscriptions.
    pub(in crate::grpc) fn end(&self) {
        let subscriptions = self.subscriptions.lock().take();
        drop(subscriptions);
    }

    /// The client has answered a push.
    pub(in crate::grpc) fn acked(&self, request: u64, is_success: bool) {
        self.outbox.lock().acked(request, is_success, Instant::now());
    }

    /// When a list was last sent, and when one was last acked, in milliseconds since the epoch.
    pub(in crate::grpc) fn last(&self) -> (Option<u64>, Option<u64>) {
        let (sent, acked) = self.outbox.lock().last();
        let wall = |at: Instant| {
            let ago_ms = u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX);
            wall_ms().saturating_sub(ago_ms)
        };
        (sent.map(wall), acked.map(wall))
    }

    /// When there may be something to send, or to find out.
    pub(in crate::grpc) fn deadline(&self) -> Option<Instant> {
        self.outbox.lock().deadline()
    }
}

impl Connection {
    /// Subscribes to a service, or to other clusters of one.
    ///
    /// # Errors
    /// A limit is reached, or nothing is pushed at all.
    pub(in crate::grpc) fn subscribe(
        self: &Arc<Self>,
        pusher: &Pusher,
        service: &ServiceKey,
        clusters: &str,
    ) -> Result<(), SubscribeRefused> {
        let clusters: Arc<str> = clusters.into();
        let mut subscriptions = self.pushes.subscriptions.lock();
        let Some(known) = &mut *subscriptions else { return Ok(()) };
        let sink = Arc::clone(self) as Arc<dyn StreamSink>;
        let subscription = pusher.subscribe_stream(service, &clusters, sink)?;
        known.insert(service.clone(), subscription);
        let is_new = self.pushes.outbox.lock().subscribe(service, clusters, Instant::now());
        drop(subscriptions);
        if is_new {
            self.wake();
        }
        Ok(())
    }

    /// Ends a subscription, if there is one.
    pub(in crate::grpc) fn unsubscribe(&self, service: &ServiceKey) {
        let mut subscriptions = self.pushes.subscriptions.lock();
        if let Some(known) = &mut *subscriptions {
            known.remove(service);
            self.pushes.outbox.lock().unsubscribe(service);
        }
    }

    /// The services that it is subscribed to, in their order.
    pub(in crate::grpc) fn subscribed(&self) -> Vec<ServiceKey> {
        let subscriptions = self.pushes.subscriptions.lock();
        let mut services: Vec<_> = subscriptions.iter().flat_map(HashMap::keys).cloned().collect();
        services.sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
        services
    }

    /// How many these are.
    pub(in crate::grpc) fn subscription_count(&self) -> usize {
        self.pushes.subscriptions.lock().as_ref().map_or(0, HashMap::len)
    }

    /// Has the stream look what there is to send.
    fn wake(&self) {
        if let Some(mailbox) = self.mailbox() {
            mailbox.wake();
        }
    }
}

impl StreamSink for Connection {
    fn connection(&self) -> u64 {
        let ConnectionId(number) = self.number();
        number
    }

    fn changed(&self, service: &ServiceKey, changed_at: Instant) {
        self.pushes.outbox.lock().changed(service, changed_at, Instant::now());
        self.wake();
    }

    fn client(&self) -> StreamClient {
        let client = Self::client(self);
        let text = |of: fn(&Client) -> &str| -> Arc<str> { client.map_or("", of).into() };
        StreamClient {
            address: self.peer(),
            agent: text(|client| &client.version),
            app: text(|client| client.app()),
            tenant: text(|client| &client.tenant),
        }
    }
}

impl Front {
    /// Finds out what time demands of the pushes. False if the client has acknowledged nothing for
    /// too long: its connection is cut off.
    pub(in crate::grpc) fn looks_well(&self, connection: &Connection) -> bool {
        let Err(silent) = connection.pushes.outbox.lock().timed_out(Instant::now()) else {
            return true;
        };
        let (id, service) = (connection.id(), silent.0.as_str());
        tracing::info!(id, service, "connection closed: the client does not acknowledge its lists");
        connection.cut();
        false
    }

    /// The list that is to be pushed next, as it is now.
    pub(in crate::grpc) fn next_push(&self, connection: &Connection) -> Option<Answer> {
        let due = connection.pushes.outbox.lock().next(Instant::now())?;
        let info = self.registry().service_info(&due.service, &due.clusters, false);
        let fields = Fields::new().json("serviceInfo", info.json).text("module", "naming");
        let id = due.request_id.to_string();
        Some(Answer::request("NotifySubscriberRequest", &id, fields))
    }
}
