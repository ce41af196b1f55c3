//! What this member does for the connections that it holds, as
//! [`Holding`](distro_core::Holding) says: instances are kept alive as long as their connection, and
//! end with it.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use distro_core::{
    Action, ConnectionId, End, Holding, HoldingConfig, Key, RecordId, SharedStatus, Stamp, Tick,
};
use parking_lot::Mutex;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::Front;
use super::answer::{Answer, Fields};
use super::connections::{Client, Connection};
use crate::java2::number_of;
use crate::registry::{Content, Registry};

/// Connections are spread over so many locks: what one client says must not wait for the instances
/// of thousands of others to be renewed.
const SHARDS: u64 = 16;
/// How often connections are looked at. It adds to how late an end is noticed.
const LOOK_PERIOD: Duration = Duration::from_millis(50);
/// Bits of the number of a connection in the mark of what it holds; the others tell members apart.
const NUMBER_BITS: u32 = 42;

/// The connections held here, and what each has registered.
pub(super) struct Holder {
    shared_status: Arc<SharedStatus>,
    shards: Vec<Mutex<Holding<Content>>>,
    /// What the marks of this process have in common.
    mark: u64,
}

impl Holder {
    /// Holds nothing yet.
    pub(super) fn new(shared_status: Arc<SharedStatus>, registry: &Registry) -> Self {
        let shard = |_| Mutex::new(Holding::new(HoldingConfig::default()));
        // Any stamp of this member tells it apart from others, and from itself before a restart.
        let stamp = registry.store.clock().issue(registry.clock.tick());
        let member = format!("{}:{}", stamp.member().0, stamp.incarnation());
        let mark = xxh3_64(member.as_bytes()) << NUMBER_BITS;
        Self { shared_status, shards: (0..SHARDS).map(shard).collect(), mark }
    }

    /// What members know of each other.
    pub(super) fn shared_status(&self) -> &SharedStatus {
        &self.shared_status
    }

    fn shard(&self, connection: ConnectionId) -> &Mutex<Holding<Content>> {
        &self.shards[(connection.0 % SHARDS) as usize]
    }

    /// The mark of what a connection holds.
    pub(super) fn mark_of(&self, connection: ConnectionId) -> u64 {
        self.mark | (connection.0 & ((1 << NUMBER_BITS) - 1))
    }

    /// A client has set up a connection. All members are told: it may be one that has left another.
    /// With `tells_host` they are told of its host, too.
    pub(super) fn begin(
        &self,
        connection: &Connection,
        client: &Client,
        tells_host: bool,
        now: Tick,
    ) {
        let digest = digest(connection, client);
        self.shared_status.note_arrival(digest, now);
        if tells_host {
            self.shared_status.note_arrival(number_of(connection.peer().ip()), now);
        }
        self.shard(connection.number()).lock().begin(connection.number(), digest, now);
    }

    /// A client has said something.
    pub(super) fn heard(&self, connection: ConnectionId, now: Tick) {
        self.shard(connection).lock().heard(connection, now);
    }

    /// A connection is over.
    pub(super) fn end(&self, connection: &Connection, now: Tick) {
        let how = if connection.is_sent_away() { End::SentAway } else { End::Lost };
        self.shard(connection.number()).lock().end(connection.number(), how, now);
    }

    /// A connection has registered something. What is to be done at once if it is over.
    pub(super) fn registered(
        &self,
        connection: ConnectionId,
        place: RecordId,
        (registration, value): (Stamp, Arc<Content>),
    ) -> Option<Action<Content>> {
        self.shard(connection).lock().registered(connection, place, value, registration)
    }

    /// What a connection has just registered is owned by a server of another make.
    pub(super) fn note_foreign(&self, connection: ConnectionId, place: &RecordId) {
        self.shard(connection).lock().note_foreign(connection, place);
    }

    /// A connection holds only these keys of a service from now on. Returns the others that it
    /// held.
    pub(super) fn retain(
        &self,
        connection: ConnectionId,
        tag: &str,
        keeps: impl Fn(&str) -> bool,
    ) -> Vec<(Key, Stamp)> {
        self.shard(connection).lock().retain(connection, tag, keeps)
    }

    /// The connection that has this mark; `None` if it is none of this process.
    pub(super) fn connection_of(&self, mark: u64) -> Option<ConnectionId> {
        const NUMBERS: u64 = (1 << NUMBER_BITS) - 1;
        (mark & !NUMBERS == self.mark).then_some(ConnectionId(mark & NUMBERS))
    }

    /// Of how many services a connection holds instances.
    pub(super) fn services_of(&self, connection: ConnectionId) -> usize {
        let holding = self.shard(connection).lock();
        let mut tags: Vec<_> = holding.held_by(connection).map(|(tag, ..)| tag).collect();
        // They come in order.
        tags.dedup();
        tags.len()
    }

    /// What a connection holds: tags and keys.
    pub(super) fn held_by(&self, connection: ConnectionId) -> Vec<RecordId> {
        let holding = self.shard(connection).lock();
        let held = holding.held_by(connection);
        held.map(|(tag, key, _)| (Arc::clone(tag), key.clone())).collect()
    }
}

/// What stays the same when a client changes servers.
fn digest(connection: &Connection, client: &Client) -> u64 {
    let mut hash = Xxh3::new();
    hash.update(connection.peer().ip().to_string().as_bytes());
    let labels = client.labels.iter().flat_map(|(name, value)| [&**name, &**value]);
    for text in [&*client.version].into_iter().chain(labels) {
        hash.update(&[0]);
        hash.update(text.as_bytes());
    }
    hash.digest()
}

impl Front {
    /// Looks after all connections until `shutdown`.
    pub(crate) async fn run(self: Arc<Self>, shutdown: CancellationToken) {
        if self.peers.is_some() {
            // Members stay where they are, and are no clients that could be shared out.
            return self.look_after(&shutdown).await;
        }
        tokio::join!(self.look_after(&shutdown), self.balance(&shutdown));
    }

    async fn look_after(self: &Arc<Self>, shutdown: &CancellationToken) {
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = sleep(LOOK_PERIOD) => {}
            }
            self.tell_watchers();
            for shard in &self.holder.shards {
                let now = self.now();
                let actions =
                    shard.lock().tick(&self.registry().store, &self.holder.shared_status, now);
                actions.into_iter().for_each(|action| self.carry_out(action, now));
            }
        }
    }

    /// A client has said something.
    pub(super) fn heard(&self, connection: &Connection) {
        let now = self.now();
        if connection.heard(now) && connection.client().is_some() {
            self.holder.heard(connection.number(), now);
        }
    }

    /// Does what is to be done about something that a connection holds.
    pub(super) fn carry_out(self: &Arc<Self>, action: Action<Content>, now: Tick) {
        match action {
            Action::Lapse { tag, key, registration } => self.lapse(&tag, &key, registration, now),
            Action::Register { connection, tag, key, value } => {
                let front = Arc::clone(self);
                tokio::spawn(async move {
                    let stamp = front.naming.register_anew(&tag, &key, value).await;
                    front.registered_anew(connection, (tag, key), stamp);
                });
            }
            Action::Reclaim { connection, tag, key, value } => {
                let (front, by) = (Arc::clone(self), self.holder.mark_of(connection));
                tokio::spawn(async move {
                    let stamp = front.naming.reclaim(&tag, &key, value, by).await;
                    front.registered_anew(connection, (tag, key), stamp);
                });
            }
            Action::Ask(connection) => self.ask(connection),
            Action::Close(connection) => {
                self.stats.silent.fetch_add(1, Relaxed);
                if let Some(connection) = self.connections.get(connection) {
                    tracing::info!(
                        id = connection.id(),
                        "connection closed: the client does not answer"
                    );
                    connection.cut();
                }
            }
            Action::SendAway(connection) => {
                if let Some(connection) = self.connections.get(connection) {
                    self.move_away(connection, "this member cannot hear most of the others");
                }
            }
            Action::Beat { connection, tag, key, value } => {
                self.beat_at_owner(connection, &tag, key, &value);
            }
        }
    }

    /// Ends a registration because its connection has ended.
    fn lapse(&self, tag: &str, key: &str, registration: Stamp, now: Tick) {
        if self.is_held_by_another(tag, key) {
            return;
        }
        if self.naming.lapse(tag, key, registration, now) {
            self.stats.lapses.fetch_add(1, Relaxed);
        }
    }

    /// Looks once more what a connection holds, before its end: an operator may have written an
    /// instance since it was registered, and it is still the one that ends.
    pub(super) fn look_again(&self, connection: ConnectionId) {
        let mark = self.holder.mark_of(connection);
        for (tag, key) in self.holder.held_by(connection) {
            if let Some(last) = self.registry().held_registration(&tag, &key, mark) {
                // The connection is not over yet, so there is nothing to do at once.
                let _ = self.holder.registered(connection, (tag, key), last);
            }
        }
    }

    /// Something was registered once more, or was not.
    fn registered_anew(
        self: &Arc<Self>,
        connection: ConnectionId,
        place: RecordId,
        stamp: Option<Stamp>,
    ) {
        let Some(stamp) = stamp else { return };
        self.stats.reasserted.fetch_add(1, Relaxed);
        let is_foreign = self.registry().store.is_foreign(&place.0);
        let noted = is_foreign.then(|| place.clone());
        let over = self.holder.shard(connection).lock().registered_anew(connection, place, stamp);
        if let Some(action) = over {
            self.carry_out(action, self.now());
        } else if let Some(place) = noted {
            self.holder.note_foreign(connection, &place);
        }
    }

    fn ask(&self, connection: ConnectionId) {
        let Some(connection) = self.connections.get(connection) else { return };
        self.stats.detections.fetch_add(1, Relaxed);
        self.post(&connection, |id| {
            connection.ask(id);
            let fields = Fields::new().text("module", "internal");
            Answer::request("ClientDetectionRequest", id, fields)
        });
    }
}
