//! What comes from one address, so that one cannot take what is there for all.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use parking_lot::Mutex;
use tokio::sync::Semaphore;

use crate::networks::source_of;

/// How many connections may be open at a time. May change while the server runs; connections that
/// are open then stay.
#[derive(Debug)]
pub(crate) struct ConnectionLimits {
    all: AtomicUsize,
    of_source: AtomicUsize,
}

impl ConnectionLimits {
    /// So many of all, and so many of one address; loopback may have all.
    pub(crate) fn new(all: usize, of_source: usize) -> Self {
        Self { all: AtomicUsize::new(all), of_source: AtomicUsize::new(of_source) }
    }

    /// Other numbers, from now on.
    pub(crate) fn change(&self, all: usize, of_source: usize) {
        self.all.store(all, Relaxed);
        self.of_source.store(of_source, Relaxed);
    }

    /// Whether there is room for one more beside so many.
    pub(crate) fn have_room(&self, open: usize) -> bool {
        open < self.all.load(Relaxed)
    }

    /// How many this address may have.
    pub(crate) fn of(&self, ip: IpAddr) -> usize {
        if ip.is_loopback() { usize::MAX } else { self.of_source.load(Relaxed) }
    }
}

/// All addresses with connections here. As many entries as there are connections at most.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    known: Mutex<HashMap<IpAddr, Arc<Source>>>,
}

/// TLS handshakes of one address that are under way at a time; further ones wait for their turn.
const MOST_HANDSHAKES: usize = 256;

/// One address, or one IPv6 network.
#[derive(Debug)]
pub(crate) struct Source {
    connections: AtomicUsize,
    reserved: AtomicUsize,
    /// Turns to begin TLS.
    pub(crate) handshakes: Semaphore,
    /// Bytes of its bodies that are being received.
    pub(crate) body_bytes: AtomicUsize,
}

/// Which of the connections of an address a connection counts among.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Of the usual ones.
    Usual,
    /// Of those that are kept free for members.
    Reserve,
}

impl Default for Source {
    fn default() -> Self {
        let handshakes = Semaphore::new(MOST_HANDSHAKES);
        let (connections, reserved, body_bytes) = Default::default();
        Self { connections, reserved, handshakes, body_bytes }
    }
}

impl Source {
    fn count(&self, place: Place) -> &AtomicUsize {
        match place {
            Place::Usual => &self.connections,
            Place::Reserve => &self.reserved,
        }
    }
}

/// A connection of an address, counted as long as this lives.
#[derive(Debug)]
pub(crate) struct Visit {
    sources: Arc<Sources>,
    network: IpAddr,
    place: Place,
    pub(crate) source: Arc<Source>,
}

impl Sources {
    /// Counts a connection, unless its address has so many already.
    pub(crate) fn enter(self: &Arc<Self>, ip: IpAddr, place: Place, most: usize) -> Option<Visit> {
        let network = source_of(ip);
        let mut known = self.known.lock();
        let source = known.entry(network).or_default();
        if source.count(place).load(Relaxed) >= most {
            return None;
        }
        source.count(place).fetch_add(1, Relaxed);
        let source = Arc::clone(source);
        Some(Visit { sources: Arc::clone(self), network, place, source })
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.known.lock().len()
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        let mut known = self.sources.known.lock();
        self.source.count(self.place).fetch_sub(1, Relaxed);
        let is_gone = [Place::Usual, Place::Reserve]
            .into_iter()
            .all(|place| self.source.count(place).load(Relaxed) == 0);
        if is_gone {
            known.remove(&self.network);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_so_many_connections_and_is_forgotten_with_the_last() {
        let sources = Arc::new(Sources::default());
        let enter = |ip: &str, place| sources.enter(ip.parse().unwrap(), place, 2);
        let usual = |ip| enter(ip, Place::Usual);
        let (first, _second) = (usual("10.0.0.1"), usual("10.0.0.1"));
        assert!(first.is_some() && usual("10.0.0.1").is_none());
        assert!(usual("10.0.0.2").is_some(), "another has its own");
        assert!(enter("10.0.0.1", Place::Reserve).is_some(), "the reserve is counted apart");
        drop(first);
        let _third = usual("10.0.0.1").expect("there is room again");
        let in_network = (usual("2001:db8::1"), usual("2001:db8::2"));
        assert!(in_network.1.is_some() && usual("2001:db8::ffff").is_none());
        assert!(usual("2001:db8:0:1::1").is_some());
        drop(in_network);
        assert_eq!(sources.len(), 1);
    }
}
