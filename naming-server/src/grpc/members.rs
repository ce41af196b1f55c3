//! The port of members: the same connections, and other requests.

use std::net::IpAddr;
use std::sync::Arc;

use naming_model::payload::Metadata;

use super::Front;
use super::answer::Answer;
use super::connections::Connection;
use crate::http::Destination;
use crate::java2::{Connections, PeerAnswer, Visitors};

impl Front {
    /// Answers what only members ask.
    pub(super) fn answer_member(
        &self,
        connection: &Connection,
        metadata: &Metadata,
        body: &[u8],
    ) -> Answer {
        self.heard(connection);
        let Some(peers) = &self.peers else {
            unreachable!("such requests are refused at the port of clients")
        };
        let (peer, headers) = (connection.peer().ip(), &metadata.headers);
        let PeerAnswer { kind, code, body } = peers.answer(&metadata.kind, peer, headers, body);
        Answer::written(kind, code, body)
    }
}

impl Connections for Front {
    fn id_of(&self, mark: u64) -> Option<Arc<str>> {
        let number = self.holder.connection_of(mark)?;
        self.connections.get(number).map(|connection| connection.id().into())
    }

    fn count(&self) -> usize {
        self.connections.len()
    }

    fn send_away_above(&self, count: usize, to: Option<&str>) -> usize {
        let to = to.and_then(|address| {
            let (host, port) = address.rsplit_once(':')?;
            Some(Destination { host, port: port.parse().ok()? })
        });
        let mut connections = self.connections.all();
        let above = connections.len().saturating_sub(count);
        connections.truncate(above);
        connections.iter().for_each(|connection| self.send_away_to(connection, to));
        above
    }
}

impl Visitors for Front {
    fn addresses(&self) -> Vec<IpAddr> {
        self.connections.all().iter().map(|connection| connection.peer().ip()).collect()
    }
}
