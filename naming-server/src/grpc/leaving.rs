//! The end of connections: of one, and of all when this server stops.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Front;
use super::answer::{Answer, Fields};
use super::connections::Connection;
use crate::http::Destination;

/// How often a server that stops looks whether its clients have gone.
const LOOK_PERIOD: Duration = Duration::from_millis(20);

impl Front {
    /// A connection is over.
    pub(super) fn end(&self, connection: &Arc<Connection>) {
        let changing = connection.changing.lock();
        connection.end();
        drop(changing);
        if connection.client().is_none() {
            return;
        }
        self.connections.remove(connection);
        self.watchers.remove(connection);
        self.look_again(connection.number());
        self.holder.end(connection, self.now());
        tracing::debug!(id = connection.id(), "client gone");
    }

    /// Sends all clients elsewhere and closes their connections, once they had a moment to go. What
    /// they have registered is left to its leases: they come back at another member before those
    /// are over. No new client is taken on from now on.
    pub(crate) async fn drain(&self) {
        self.draining.cancel();
        for connection in self.connections.all() {
            self.send_away_to(&connection, None);
        }
        let until = Instant::now() + Duration::from_millis(self.settings.drain_ms);
        while self.connections.len() > 0 && Instant::now() < until {
            sleep(LOOK_PERIOD).await;
        }
        self.cut_all.cancel();
    }

    /// Asks a client to go to another server: to this one, if it is named. Some clients do not know
    /// how.
    pub(super) fn send_away_to(&self, connection: &Connection, to: Option<Destination<'_>>) {
        connection.send_away();
        self.stats.resets.fetch_add(1, Relaxed);
        let mut fields = Fields::new();
        if let Some(Destination { host, port }) = to {
            fields = fields.text("serverIp", host).text("serverPort", &port.to_string());
            fields = fields.text("connectionId", connection.id());
        }
        let fields = fields.text("module", "internal");
        self.post(connection, |id| Answer::request("ConnectResetRequest", id, fields));
    }

    /// Has a request sent to a client, if it has a stream. A client that does not read is cut off.
    pub(super) fn post(&self, connection: &Connection, request: impl FnOnce(&str) -> Answer) {
        let id = self.next_request_id();
        self.post_as(connection, request(&id));
    }

    /// The same for a request that has its id.
    pub(super) fn post_as(&self, connection: &Connection, request: Answer) {
        if connection.mailbox().is_some_and(|mailbox| !mailbox.post(request)) {
            connection.cut();
        }
    }
}
