//! The table of clients of Java servers, within its bounds.

use std::collections::HashMap;
use std::sync::Arc;

use distro_core::{ConnectionId, End, Holding, Tick};

use super::BadContent;
use super::content::ClientData;
use super::wishes::{Place, host_number, host_of, mark_of};
use crate::registry::Content;

/// Clients that are held at most.
const MOST_CLIENTS: usize = 500_000;
/// Bytes of what all of them publish, as it was sent.
const MOST_BYTES: usize = 512 << 20;

pub(super) struct Table {
    pub(super) holding: Holding<Content>,
    pub(super) known: HashMap<Arc<str>, Known>,
    pub(super) ids: HashMap<ConnectionId, Arc<str>>,
    pub(super) last_number: u64,
    pub(super) bytes: usize,
    /// What was removed here a moment ago, and until when nobody's word brings it back.
    pub(super) holds: HashMap<Place, Tick>,
}

/// A client.
pub(super) struct Known {
    pub(super) number: ConnectionId,
    pub(super) mark: u64,
    pub(super) data: Arc<ClientData>,
    pub(super) bytes: usize,
    /// When a member last vouched for it.
    pub(super) heard: Tick,
    /// It comes from a snapshot, and nobody has vouched for it since: what others have registered
    /// is left alone.
    pub(super) is_unverified: bool,
}

/// What a member has told of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    /// It has changed, or its owner vouches for it.
    Owner,
    /// It was in a snapshot, which may hold the dead.
    Snapshot,
}

impl Table {
    /// Notes what a client publishes. Its number and its mark.
    pub(super) fn enter(
        &mut self,
        data: ClientData,
        bytes: usize,
        word: Word,
        now: Tick,
    ) -> Result<(ConnectionId, u64), BadContent> {
        let before = self.known.get(&*data.id).map_or(0, |known| known.bytes);
        if self.bytes - before + bytes > MOST_BYTES {
            return Err(BadContent::new(format!("clients publish {MOST_BYTES} bytes at most")));
        }
        let is_new = !self.known.contains_key(&*data.id);
        if is_new && self.known.len() >= MOST_CLIENTS {
            return Err(BadContent::new(format!("there are {MOST_CLIENTS} clients at most")));
        }
        self.bytes = self.bytes - before + bytes;
        let is_unverified = word == Word::Snapshot;
        if let Some(known) = self.known.get_mut(&*data.id) {
            known.data = Arc::new(data);
            known.bytes = bytes;
            known.heard = now;
            known.is_unverified = is_unverified;
            self.holding.heard(known.number, now);
            return Ok((known.number, known.mark));
        }
        self.last_number += 1;
        let number = ConnectionId(self.last_number);
        let (id, mark) = (Arc::<str>::from(&*data.id), mark_of(&data.id));
        self.holding.begin(number, host_number(host_of(&id)), now);
        self.ids.insert(number, Arc::clone(&id));
        let data = Arc::new(data);
        let known = Known { number, mark, data, bytes, heard: now, is_unverified };
        self.known.insert(id, known);
        Ok((number, mark))
    }

    pub(super) fn end(&mut self, id: &str, now: Tick) {
        let Some(known) = self.known.remove(id) else { return };
        self.bytes -= known.bytes;
        self.ids.remove(&known.number);
        self.holding.end(known.number, End::Lost, now);
    }

    pub(super) fn forget(&mut self, number: ConnectionId) {
        if let Some(id) = self.ids.remove(&number)
            && let Some(known) = self.known.remove(&id)
        {
            self.bytes -= known.bytes;
        }
    }
}
