//! The connections as other fronts show them.

use distro_core::ConnectionId;
use naming_model::{RecordKey, ServiceKey};
use std::sync::Arc;

use super::Front;
use super::connections::Connection;
use crate::http::{Activity, Address, Connected, ConnectedCounts, Destination};

impl Front {
    /// The connection with this id, which begins with its number.
    fn with_id(&self, id: &str) -> Option<Arc<Connection>> {
        let number = id.split('_').next()?.parse().ok()?;
        self.connections.get(ConnectionId(number)).filter(|known| known.id() == id)
    }
}

impl Connected for Front {
    fn counts(&self) -> ConnectedCounts {
        let connections = self.connections.all();
        let publications: usize =
            connections.iter().map(|one| self.holder.services_of(one.number())).sum();
        let subscriptions: usize = connections.iter().map(|one| one.subscription_count()).sum();
        ConnectedCounts {
            connections: connections.len() as u64,
            publications: publications as u64,
            subscriptions: subscriptions as u64,
        }
    }

    fn len(&self) -> u64 {
        self.connections.len() as u64
    }

    fn ids(&self) -> Vec<String> {
        self.connections.all().iter().map(|one| one.id().to_owned()).collect()
    }

    fn find(&self, id: &str) -> Option<crate::http::Connection> {
        let connection = self.with_id(id)?;
        let client = connection.client()?;
        let peer = connection.peer();
        Some(crate::http::Connection {
            kind: "GRPC".to_owned(),
            app: client.app().to_owned(),
            version: client.version.to_string(),
            ip: peer.ip().to_canonical().to_string(),
            port: peer.port(),
            last_active_ms: self.registry().wall_ms(connection.last_heard()),
        })
    }

    fn activity(&self, id: &str) -> Option<Activity> {
        let connection = self.with_id(id)?;
        let (last_push_ms, last_ack_ms) = connection.pushes.last();
        Some(Activity {
            published: self.holder.services_of(connection.number()),
            subscribed: connection.subscription_count(),
            last_push_ms,
            last_ack_ms,
        })
    }

    fn published(&self, id: &str) -> Option<Vec<(ServiceKey, Address)>> {
        let connection = self.with_id(id)?;
        let held = self.holder.held_by(connection.number());
        let shown = held.iter().filter_map(|(tag, key)| {
            let (service, key) = (ServiceKey::from_tag(tag)?, RecordKey::parse(key)?.instance);
            let (ip, cluster) = (key.ip.to_owned(), key.cluster.to_owned());
            Some((service, Address { ip, port: key.port, cluster }))
        });
        Some(shown.collect())
    }

    fn subscribed(&self, id: &str) -> Option<Vec<ServiceKey>> {
        Some(self.with_id(id)?.subscribed())
    }

    fn holder(&self, mark: u64) -> Option<String> {
        self.id_of(self.holder.connection_of(mark)?.0)
    }

    fn id_of(&self, connection: u64) -> Option<String> {
        Some(self.connections.get(ConnectionId(connection))?.id().to_owned())
    }

    fn send_away(&self, id: &str, to: Option<Destination<'_>>) -> bool {
        let connection = self.with_id(id);
        if let Some(connection) = &connection {
            self.send_away_to(connection, to);
        }
        connection.is_some()
    }
}
