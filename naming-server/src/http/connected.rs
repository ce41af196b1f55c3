//! Clients that hold a connection to this member, as far as the lists of clients need to know.

use naming_model::ServiceKey;

/// Knows the clients that hold a connection to this member. Whatever it gives is a copy.
pub(crate) trait Connected: Send + Sync {
    /// How many there are, and what they have registered and listen to.
    fn counts(&self) -> ConnectedCounts;

    /// How many connections there are.
    fn len(&self) -> u64;

    /// The ids of all of them. None has a `#`.
    fn ids(&self) -> Vec<String>;

    /// One of them.
    fn find(&self, id: &str) -> Option<Connection>;

    /// How much one does, and when it was last told of a change; `None` if there is no such client.
    fn activity(&self, id: &str) -> Option<Activity>;

    /// The instances that one has registered; `None` if there is no such client.
    fn published(&self, id: &str) -> Option<Vec<(ServiceKey, Address)>>;

    /// The services that one listens to; `None` if there is no such client.
    fn subscribed(&self, id: &str) -> Option<Vec<ServiceKey>>;

    /// The id of the client that holds what has this mark (`Held::by`), if it is one of them.
    fn holder(&self, mark: u64) -> Option<String>;

    /// The id of the connection with this number, if it is one of them.
    fn id_of(&self, connection: u64) -> Option<String>;

    /// Asks a client to go to another server: to this one, if it is named. False if there is no such
    /// client.
    fn send_away(&self, id: &str, to: Option<Destination<'_>>) -> bool;
}

/// Where a client is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Destination<'a> {
    pub(crate) host: &'a str,
    pub(crate) port: u16,
}

/// How much clients with a connection do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ConnectedCounts {
    /// Connections.
    pub(crate) connections: u64,
    /// Services that they have registered instances of, counted for each connection.
    pub(crate) publications: u64,
    /// Services that they listen to, counted for each connection.
    pub(crate) subscriptions: u64,
}

/// A client that holds a connection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Connection {
    /// What the connection is, such as `grpc`.
    pub(crate) kind: String,
    /// The name of the application, if the client gave one.
    pub(crate) app: String,
    /// The client and its version.
    pub(crate) version: String,
    /// Its address.
    pub(crate) ip: String,
    /// Its port.
    pub(crate) port: u16,
    /// When it was last heard of, in milliseconds since the epoch.
    pub(crate) last_active_ms: u64,
}

/// How much a client with a connection does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Activity {
    /// Services that it has registered instances of.
    pub(crate) published: usize,
    /// Services that it listens to.
    pub(crate) subscribed: usize,
    /// When a list was last sent to it, and when it last acked one, in milliseconds since the epoch.
    pub(crate) last_push_ms: Option<u64>,
    pub(crate) last_ack_ms: Option<u64>,
}

/// The names of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) ip: String,
    pub(crate) port: u16,
    pub(crate) cluster: String,
}

/// There are none.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Nobody;

impl Connected for Nobody {
    fn counts(&self) -> ConnectedCounts {
        ConnectedCounts::default()
    }

    fn len(&self) -> u64 {
        0
    }

    fn ids(&self) -> Vec<String> {
        Vec::new()
    }

    fn find(&self, _: &str) -> Option<Connection> {
        None
    }

    fn activity(&self, _: &str) -> Option<Activity> {
        None
    }

    fn published(&self, _: &str) -> Option<Vec<(ServiceKey, Address)>> {
        None
    }

    fn subscribed(&self, _: &str) -> Option<Vec<ServiceKey>> {
        None
    }

    fn holder(&self, _: u64) -> Option<String> {
        None
    }

    fn id_of(&self, _: u64) -> Option<String> {
        None
    }

    fn send_away(&self, _: &str, _: Option<Destination<'_>>) -> bool {
        false
    }
}
