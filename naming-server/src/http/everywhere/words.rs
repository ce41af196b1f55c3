//! What members tell each other of their clients. Fields that come get a meaning for their absence:
//! members of neighbouring releases ask each other.

use naming_model::ServiceKey;
use serde::{Deserialize, Serialize};

/// Rows within a limit of bytes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::http) struct Rows<T> {
    pub(in crate::http) rows: Vec<T>,
    /// How many there are, with those that are not here.
    pub(in crate::http) count: usize,
    /// Whether some that were asked for are not here: they take too many bytes.
    pub(in crate::http) is_cut: bool,
}

impl<T> Default for Rows<T> {
    fn default() -> Self {
        Self { rows: Vec::new(), count: 0, is_cut: false }
    }
}

impl<T: Serialize> Rows<T> {
    /// The first rows that take no more bytes than that as JSON.
    pub(in crate::http) fn within(
        bytes: usize,
        count: usize,
        all: impl Iterator<Item = T>,
    ) -> Self {
        let (mut rows, mut left) = (Vec::new(), bytes.saturating_sub(LEFT_FREE));
        for row in all {
            let length = serde_json::to_vec(&row).map_or(usize::MAX, |json| json.len() + 1);
            match left.checked_sub(length) {
                Some(rest) => left = rest,
                None => return Self { rows, count, is_cut: true },
            }
            rows.push(row);
        }
        Self { rows, count, is_cut: false }
    }
}

/// For what stands around rows.
const LEFT_FREE: usize = 4 << 10;

/// A service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct Named {
    pub(in crate::http) namespace_id: String,
    pub(in crate::http) group_name: String,
    pub(in crate::http) service_name: String,
}

impl Named {
    pub(in crate::http) fn of(service: &ServiceKey) -> Self {
        Self {
            namespace_id: service.namespace().to_owned(),
            group_name: service.group().to_owned(),
            service_name: service.service().to_owned(),
        }
    }
}

/// An instance that a client has registered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct Publication {
    #[serde(flatten)]
    pub(in crate::http) service: Named,
    pub(in crate::http) ip: String,
    pub(in crate::http) port: u16,
    pub(in crate::http) cluster_name: String,
}

/// A client that holds a connection, as the console lists it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct ConnectionRow {
    pub(in crate::http) client_id: String,
    #[serde(rename = "type")]
    pub(in crate::http) kind: String,
    pub(in crate::http) app_name: String,
    pub(in crate::http) version: String,
    pub(in crate::http) ip: String,
    pub(in crate::http) port: u16,
    pub(in crate::http) connected_at: Option<u64>,
    pub(in crate::http) last_active: u64,
    pub(in crate::http) published: usize,
    pub(in crate::http) subscribed: usize,
    pub(in crate::http) last_push: Option<u64>,
    pub(in crate::http) last_ack: Option<u64>,
}

/// One such client with all that it has registered and listens to.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::http) struct Detail {
    #[serde(flatten)]
    pub(in crate::http) row: ConnectionRow,
    pub(in crate::http) publications: Rows<Publication>,
    pub(in crate::http) subscriptions: Rows<Named>,
}

/// A client that is known by an address, as the console lists it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::http) struct AddressRow {
    pub(in crate::http) id: String,
    pub(in crate::http) published: u64,
    pub(in crate::http) subscribed: u64,
    pub(in crate::http) agent: Option<String>,
    pub(in crate::http) app: Option<String>,
}

/// That a client which is known by an address listens to a service.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::http) struct Listens {
    #[serde(flatten)]
    pub(in crate::http) service: Named,
    pub(in crate::http) app: String,
    pub(in crate::http) agent: String,
    pub(in crate::http) address: String,
}

/// Who listens to a service. In the order in which lists show them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(in crate::http) struct SubscriberRow {
    pub(in crate::http) address: std::net::SocketAddr,
    pub(in crate::http) agent: String,
    pub(in crate::http) app: String,
    /// The client that it is.
    pub(in crate::http) client: String,
}
