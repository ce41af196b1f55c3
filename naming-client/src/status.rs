//! How a client is doing.

use std::time::Duration;

use crate::client::NamingClient;
use crate::transport::Transport;

/// How a client is doing, as [`NamingClient::status`] tells it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ClientStatus {
    /// What is spoken at the moment: gRPC or HTTP. `None` while no server is found.
    pub transport: Option<Transport>,
    /// Address of the server that is asked first: for gRPC with the port of gRPC.
    pub server: Option<String>,
    /// The id that the server gave the connection, for its own lists of clients.
    pub connection: Option<String>,
    /// For how long the connection has been there.
    pub connected_for: Option<Duration>,
    /// Services whose instances wait to be written over the connection.
    pub pending: usize,
    /// Instances kept registered.
    pub registrations: usize,
    /// Different queries subscribed to.
    pub queries: usize,
    /// Attempts of calls that were answered since the start.
    pub calls_answered: u64,
    /// Attempts of calls that failed since the start.
    pub calls_failed: u64,
    /// Lists that servers have told by themselves since the start.
    pub pushes: u64,
    /// Connections that were lost since the start.
    pub connections_lost: u64,
    /// The servers in the order in which they would be asked now.
    pub servers: Vec<ServerStatus>,
}

/// How a server is doing as far as the client knows.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ServerStatus {
    /// Host and port.
    pub address: String,
    /// Whether the last call to it over HTTP failed.
    pub is_failing: bool,
}

impl NamingClient {
    /// How the client is doing: which server, which transport, what is pending. The call is cheap
    /// and asks no server.
    pub fn status(&self) -> ClientStatus {
        let inner = &self.inner;
        let (core, counters) = (&inner.core, &inner.core.counters);
        let servers: Vec<ServerStatus> = core
            .servers
            .order(crate::servers::Preference::Sticky)
            .into_iter()
            .map(|server| ServerStatus {
                address: server.address.authority(),
                is_failing: server.is_failing(),
            })
            .collect();
        let mut status = ClientStatus {
            transport: Some(Transport::Http),
            server: servers.first().map(|server| server.address.clone()),
            connection: None,
            connected_for: None,
            pending: 0,
            registrations: inner.beats.len(),
            queries: inner.topics.len(),
            calls_answered: counters.answered.value(),
            calls_failed: counters.failed.value(),
            pushes: counters.pushes.value(),
            connections_lost: counters.reconnects.value(),
            servers,
        };
        #[cfg(feature = "grpc")]
        if let Some(link) = core.link.as_ref().filter(|link| !link.is_http()) {
            let session = link.session();
            status.transport = session.is_some().then_some(Transport::Grpc);
            status.server = session.as_ref().map(|session| session.place.clone());
            status.connection = session.as_ref().map(|session| session.id.clone());
            status.connected_for = session.map(|session| session.since.elapsed());
            status.pending = link.holder.pending();
        }
        status
    }
}
