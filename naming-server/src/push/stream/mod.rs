//! The stream sink: subscribers that keep a connection open.
//!
//! ```text
//! topics ── changed ──► StreamSink (a connection) ── marks ──► Outbox ── next ──► render ──► stream
//!                                                                ▲                             │
//!                                                                └──────────── acked ──────────┘
//! ```
//!
//! The driver of the topics says only that a service has changed. Everything else is the
//! connection's: its [`Outbox`] says what to send next, and the connection renders that list and
//! sends it whenever its stream has room.

mod entry;
mod ids;
mod listeners;
mod outbox;
mod rules;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::{Arc, Weak};

use naming_model::ServiceKey;
use tokio::time::Instant;

use super::Shared;

pub(crate) use ids::RequestIds;
pub(crate) use outbox::Outbox;
pub(crate) use rules::OutboxRules;

pub(in crate::push) use listeners::{StreamListener, StreamListeners, listed};

/// A connection that lists are pushed to. The table of topics keeps it for as long as one of its
/// [`StreamSubscription`]s lives, so a connection that owns these has to give them up when it
/// closes.
pub(crate) trait StreamSink: Send + Sync {
    /// Tells connections apart. Greater than that of every connection of this process before.
    fn connection(&self) -> u64;

    /// Notes that the service has changed, at `changed_at`, and wakes the connection. Called by
    /// the one task that tells everybody: it must neither block nor take long.
    fn changed(&self, service: &ServiceKey, changed_at: Instant);

    /// What lists of subscribers show of the client.
    fn client(&self) -> StreamClient;
}

/// What lists of subscribers show of a client on a stream.
#[derive(Debug, Clone)]
pub(crate) struct StreamClient {
    /// The client's end of the connection.
    pub(crate) address: SocketAddr,
    /// The text of its agent.
    pub(crate) agent: Arc<str>,
    /// What it calls its application.
    pub(crate) app: Arc<str>,
    /// Its tenant.
    pub(crate) tenant: Arc<str>,
}

/// A subscription of a connection. It ends when this is dropped, unless the connection has
/// subscribed to the service once more since.
#[must_use = "dropping it ends the subscription"]
pub(crate) struct StreamSubscription {
    pub(in crate::push) shared: Weak<Shared>,
    pub(in crate::push) service: ServiceKey,
    pub(in crate::push) connection: u64,
    pub(in crate::push) serial: u64,
}

impl Drop for StreamSubscription {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.upgrade() {
            shared.table.unsubscribe_stream(&self.service, self.connection, self.serial);
        }
    }
}
