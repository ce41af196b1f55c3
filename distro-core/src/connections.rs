//! What a member does for the connections that clients hold to it: keeps alive what they registered,
//! registers anew what was lost, and ends it with them.
//!
//! ```text
//! front of the server                Holding                         Store, other members
//!   |-- begin, heard ----------------->|                                |
//!   |-- registered(stamp) ------------>|                                |
//!   |-- tick ------------------------->|-- hold, every 5 s ------------>| a beat
//!   |<---- Register: it is gone -------|                                |
//!   |<---- Ask: are you there? --------| silent for 20 s                |
//!   |<---- Close ----------------------| and 5 s more                   |
//!   |-- end -------------------------->|                                |
//!   |<---- Lapse(stamp) ---------------| 0.7 s later; 5 s if its client |
//!   |                                  | has come to another member     |
//! ```
//!
//! A connection is heard by its holder alone. If that is cut off from most members for 10 s, they
//! would give up after a while what lives and is heard only there. So it sends its clients to them
//! ([`Action::SendAway`]). It cannot hear of them then either, and goes on holding what they had
//! registered until the cut is over: they were alive when they were sent.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::record::RecordId;
use crate::record::{Key, Value};
use crate::rules::Rules;
use crate::stamp::Stamp;
use crate::status::SharedStatus;
use crate::store::Store;
use crate::time::Tick;

mod arrivals;
pub(crate) use arrivals::{Arrivals, Herald};

mod connection;
use connection::{Connection, Publication, next_renewal};

/// Names a connection of this process. Never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// How connections are held.
#[derive(Debug, Clone, Copy)]
pub struct HoldingConfig {
    /// From one renewal of what a connection registered to the next. Well below the shortest time-out
    /// of instances registered over connections; each renewal costs as much as a beat. Default 5 s.
    pub renew_period: Duration,
    /// A client that has given no sign of life for so long is asked for one, and its registrations
    /// are no longer renewed. Longer than the pauses of clients that have nothing to say. Default
    /// 20 s.
    pub ask_after: Duration,
    /// A client that has not answered within so long is given up. Default 5 s.
    pub answer_within: Duration,
    /// From the end of a connection to the end of what it registered. Long enough for the news of a
    /// connection that its client has set up elsewhere; all of it is within what readers may see of
    /// the dead. Default 700 ms.
    pub lapse_after: Duration,
    /// The same if the client has set up another connection, was sent away, or this member was stopped
    /// when it may have: within this it has registered again. Default 5 s.
    pub return_within: Duration,
    /// A member that has not heard most of the others for so long sends its clients to them, by turns
    /// within as long again. Long enough for a cut to be no moment's disturbance; both together, and
    /// what clients need to change servers, are well below the time after which the others give up
    /// what they do not hear (13 beat intervals if one of three is not heard). Default 10 s.
    pub cut_off_after: Duration,
    /// For tests that show what a rule is good for.
    #[doc(hidden)]
    pub rules: Rules,
}

impl Default for HoldingConfig {
    fn default() -> Self {
        Self {
            renew_period: Duration::from_secs(5),
            ask_after: Duration::from_secs(20),
            answer_within: Duration::from_secs(5),
            lapse_after: Duration::from_millis(700),
            return_within: Duration::from_secs(5),
            cut_off_after: Duration::from_secs(10),
            rules: Rules::default(),
        }
    }
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The client closed it, or it broke.
    Lost,
    /// This member told the client to go to another one: it will be back there.
    SentAway,
}

/// What the front of the server is asked to do.
#[derive(Debug)]
pub enum Action<V> {
    /// Register this value, which readers no longer see although the connection lives: with a
    /// fresh stamp, and only if readers still see none
    /// ([`Operation::expecting`](crate::Operation::expecting) of [`Stamp::NEVER`]). Tell what came of
    /// it by [`Holding::registered_anew`] if it had effect; otherwise it comes again.
    Register {
        /// Who holds it.
        connection: ConnectionId,
        /// The tag of the datum.
        tag: Arc<str>,
        /// The key in the datum.
        key: Key,
        /// What was registered.
        value: Arc<V>,
    },
    /// [End](Store::lapse) this registration. If the tag is [foreign](Store::is_foreign), have its
    /// owner remove the record; that is asked for only if the client has not come to another
    /// member, which beats for it from then on.
    Lapse {
        /// The tag of the datum.
        tag: Arc<str>,
        /// The key in the datum.
        key: Key,
        /// Its stamp.
        registration: Stamp,
    },
    /// The tag is [foreign](Store::is_foreign): pass a beat of this record on to its owner.
    Beat {
        /// Who holds it.
        connection: ConnectionId,
        /// The tag of the datum.
        tag: Arc<str>,
        /// The key in the datum.
        key: Key,
        /// What was registered.
        value: Arc<V>,
    },
    /// The tag was [foreign](Store::is_foreign) and is not any more. What readers see is what the
    /// former owner listed, taken over under a fresh stamp: register this value once more, unless
    /// another connection has registered the record since. Tell what came of it by
    /// [`Holding::registered_anew`]: from then on the end of the connection is the end of the record.
    Reclaim {
        /// Who holds it.
        connection: ConnectionId,
        /// The tag of the datum.
        tag: Arc<str>,
        /// The key in the datum.
        key: Key,
        /// What was registered.
        value: Arc<V>,
    },
    /// Ask the client for a sign of life, and tell it by [`Holding::heard`].
    Ask(ConnectionId),
    /// This member [may be cut off](SharedStatus::cut_off_since): ask the client to go to another
    /// one, and close the connection if it does not. One that comes back, since it reaches no other,
    /// is not sent away again.
    SendAway(ConnectionId),
    /// Close the connection: its client is not there. Its end is known here.
    Close(ConnectionId),
}

/// The connections that this member holds, and what each has registered. Does no IO and reads no
/// clock. Not shared: its owner puts it behind a lock, or several of them with a share of the
/// connections each.
///
/// Has no bounds of its own: the front that accepts connections bounds them and what each may
/// register. An entry takes some 200 bytes, and shares the value with the store.
///
/// The order of calls for one connection is the order of events. What a client asks for is given to
/// the store first and told here when it is done, whether or not the connection has ended meanwhile.
pub struct Holding<V> {
    config: HoldingConfig,
    connections: BTreeMap<ConnectionId, Connection<V>>,
    /// When each is looked at next.
    due: BTreeSet<(Tick, ConnectionId)>,
    /// When this process was last found to have been stopped, as of the last look.
    woken: Tick,
}

impl<V> Holding<V> {
    /// Holds nothing yet.
    pub fn new(config: HoldingConfig) -> Self {
        let (connections, due) = (BTreeMap::new(), BTreeSet::new());
        Self { config, connections, due, woken: Tick::ZERO }
    }

    /// A client has set up a connection. `client` is what [`SharedStatus::note_arrival`] was told.
    pub fn begin(&mut self, connection: ConnectionId, client: u64, now: Tick) {
        let first = next_renewal(now, connection, self.config.renew_period);
        let fresh = Connection::new(client, now, first);
        if let Some(old) = self.connections.insert(connection, fresh) {
            self.due.remove(&(old.due, connection));
        }
        self.due.insert((first, connection));
    }

    /// A client has given a sign of life: any message over its connection.
    pub fn heard(&mut self, connection: ConnectionId, now: Tick) {
        let Some(held) = self.connections.get_mut(&connection) else { return };
        held.heard = now;
        held.is_asked = false;
        if held.waits_for_sign {
            self.look_at(connection, now);
        }
    }

    /// A client has registered something over its connection: the stamp is that of the record as it
    /// was [written](crate::Written), which may not be the one that was issued; [`Stamp::NEVER`] if a
    /// later registration stood in its way: then it is registered anew when that one is gone. Returns
    /// what must be done at once if the connection is over.
    #[must_use]
    pub fn registered(
        &mut self,
        connection: ConnectionId,
        (tag, key): (Arc<str>, Key),
        value: Arc<V>,
        registration: Stamp,
    ) -> Option<Action<V>> {
        let Some(held) = self.connections.get_mut(&connection) else {
            return Some(Action::Lapse { tag, key, registration });
        };
        let known = held.publications.get(&(Arc::clone(&tag), Arc::clone(&key)));
        if known.is_none_or(|known| known.registration < registration) {
            held.publications.insert((tag, key), Publication::new(value, registration));
        }
        None
    }

    /// What a connection has just registered stands under a tag that is
    /// [foreign](Store::is_foreign). If the owner is gone before the connection renews for the first
    /// time, the record is [reclaimed](Action::Reclaim) all the same.
    pub fn note_foreign(&mut self, connection: ConnectionId, (tag, key): &(Arc<str>, Key)) {
        let record_id = (Arc::clone(tag), Arc::clone(key));
        let held = self.connections.get_mut(&connection);
        if let Some(known) = held.and_then(|held| held.publications.get_mut(&record_id)) {
            known.was_foreign = true;
        }
    }

    /// What [`Action::Register`] asked for is done. Returns what must be done at once if the client
    /// does not hold it any more.
    #[must_use]
    pub fn registered_anew(
        &mut self,
        connection: ConnectionId,
        (tag, key): (Arc<str>, Key),
        registration: Stamp,
    ) -> Option<Action<V>> {
        let record_id = (tag, key);
        let held = self.connections.get_mut(&connection);
        let Some(known) = held.and_then(|held| held.publications.get_mut(&record_id)) else {
            let (tag, key) = record_id;
            return Some(Action::Lapse { tag, key, registration });
        };
        if known.registration < registration {
            *known = Publication::new(Arc::clone(&known.value), registration);
        }
        None
    }

    /// A client holds under a tag only what `keeps` says from now on. Returns the other keys that
    /// it held, and their registrations, which are to be [retracted](Store::retract): none of them
    /// comes back by itself. For a removal, and for whatever takes the place of all before.
    #[must_use]
    pub fn retain(
        &mut self,
        connection: ConnectionId,
        tag: &str,
        keeps: impl Fn(&str) -> bool,
    ) -> Vec<(Key, Stamp)> {
        let Some(held) = self.connections.get_mut(&connection) else { return Vec::new() };
        held.retain(tag, keeps)
    }

    /// A connection has ended. Once is enough, more is harmless.
    pub fn end(&mut self, connection: ConnectionId, how: End, now: Tick) {
        let Some(held) = self.connections.get_mut(&connection) else { return };
        if held.end(how, &self.config, now) {
            self.look_at(connection, now);
        }
    }

    /// What a connection holds: where, and of which registration.
    pub fn held_by(
        &self,
        connection: ConnectionId,
    ) -> impl Iterator<Item = (&Arc<str>, &Key, Stamp)> {
        let held = self.connections.get(&connection).into_iter();
        held.flat_map(|held| &held.publications)
            .map(|((tag, key), publication)| (tag, key, publication.registration))
    }

    /// How many connections are held, those included whose end is under way.
    pub fn len(&self) -> usize {
        self.connections.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    /// When to come back with [`Self::tick`] at the latest. Once a second besides: a stop is noticed
    /// only then.
    pub fn poll_timeout(&self) -> Option<Tick> {
        self.due.first().map(|(due, _)| *due)
    }

    fn look_at(&mut self, connection: ConnectionId, at: Tick) {
        if let Some(held) = self.connections.get_mut(&connection) {
            self.due.remove(&(held.due, connection));
            held.due = at;
            self.due.insert((at, connection));
        }
    }
}

impl<V: Value> Holding<V> {
    /// Looks at the connections that are due: renews what they hold, and says what else is to be
    /// done. Connections are looked at by turns, so that what is renewed at a time is little.
    pub fn tick<A: Default + Send + Sync + 'static>(
        &mut self,
        store: &Store<V, A>,
        status: &SharedStatus,
        now: Tick,
    ) -> Vec<Action<V>> {
        let mut actions = Vec::new();
        if self.config.rules.signs_after_stop() {
            if !status.is_awake(now) {
                // What happened during a stop is not known before the control plane has noticed it.
                return actions;
            }
            self.notice_stop(status.woken());
        }
        let mut scene = Scene { config: &self.config, store, status, woken: self.woken, now };
        while let Some((due, id)) = self.due.first().copied().filter(|(due, _)| *due <= now) {
            self.due.remove(&(due, id));
            let Some(held) = self.connections.get_mut(&id) else { continue };
            match held.look(id, &mut scene, &mut actions) {
                Some(next) => {
                    held.due = next.max(Tick::from_ms(now.as_ms() + 1));
                    self.due.insert((held.due, id));
                }
                None => _ = self.connections.remove(&id),
            }
        }
        actions
    }

    /// After a stop every client is asked whether it is still there.
    fn notice_stop(&mut self, woken: Tick) {
        if woken <= self.woken {
            return;
        }
        self.woken = woken;
        let open = self.connections.iter_mut().filter(|(_, held)| !held.is_over());
        for (id, held) in open {
            self.due.remove(&(held.due, *id));
            held.due = woken.after(LATE_SIGNS);
            self.due.insert((held.due, *id));
        }
    }
}

/// So long after a stop signs of life are read that came before its end.
const LATE_SIGNS: Duration = Duration::from_secs(2);

/// What a look at a connection goes by.
struct Scene<'a, V: Value, A> {
    config: &'a HoldingConfig,
    store: &'a Store<V, A>,
    status: &'a SharedStatus,
    woken: Tick,
    now: Tick,
}

#[cfg(test)]
mod tests;
