//! The connections of clients.
//!
//! One TCP connection is one connection of Nacos: its unary calls and its stream belong together by
//! that alone. It is in the table from the setup on.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use distro_core::{ConnectionId, Tick};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::budget::Account;
use super::flow::Flow;
use super::fuzzy::Watches;
use super::mailbox::Mailbox;
use crate::naming::{Caller, Clearance, Front};
use crate::push::Outbox;
use crate::registry::wall_ms;

mod pushes;

use pushes::Pushes;

/// A connection of a client.
pub(crate) struct Connection {
    number: u64,
    id: Box<str>,
    peer: SocketAddr,
    pub(super) account: Arc<Account>,
    pub(super) flow: Arc<Flow>,
    /// The client, once it has introduced itself.
    client: OnceLock<Client>,
    /// When the client last said anything.
    heard_ms: AtomicU64,
    /// Until when what the client says need not be told to the holder of its instances.
    told_until_ms: AtomicU64,
    /// The id of the question whether the client is there, while that is open.
    question: Mutex<Option<Box<str>>>,
    /// Where requests to the client go, if there is a stream.
    mailbox: Mutex<Option<Arc<Mailbox>>>,
    /// What it is subscribed to.
    pub(super) pushes: Pushes,
    /// Services that it watches by their names.
    pub(super) watches: Mutex<Watches>,
    /// Streams that are open.
    streams: AtomicUsize,
    /// Ends the TCP connection.
    cut: CancellationToken,
    is_over: AtomicBool,
    /// The setup and the end exclude each other: what is set up after its end would never end.
    pub(super) changing: Mutex<()>,
    /// Whether this server has sent the client elsewhere: its instances are left to their leases.
    is_sent_away: AtomicBool,
    /// What the client registers is registered one after the other: the last one counts.
    pub(super) writing: tokio::sync::Mutex<()>,
}

/// Who is at the other end, as it says itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Client {
    /// As `Nacos-Java-Client:v2.5.1`.
    pub(crate) version: Arc<str>,
    /// The namespace that it names; requests name theirs.
    pub(crate) tenant: Arc<str>,
    pub(crate) labels: BTreeMap<String, String>,
    /// The address that it takes for its own.
    pub(crate) shown_ip: Arc<str>,
}

impl Client {
    /// What it calls its application.
    pub(crate) fn app(&self) -> &str {
        self.labels.get("AppName").map_or("", String::as_str)
    }
}

/// How long what a client says need not be told again to the holder of its instances, in
/// milliseconds: a small part of the silence that counts.
const TELL_AGAIN_MS: u64 = 500;

impl Connection {
    /// `<milliseconds>_<ip>_<port>`, as in Nacos.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Tells it apart; greater than that of every connection of this process before.
    pub(crate) fn number(&self) -> ConnectionId {
        ConnectionId(self.number)
    }

    /// The other end.
    pub(crate) fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Who the client is; `None` before the setup.
    pub(crate) fn client(&self) -> Option<&Client> {
        self.client.get()
    }

    /// Whoever is at the other end, without a user.
    pub(super) fn caller(&self) -> Caller<'_> {
        Caller {
            user: None,
            peer: self.peer,
            agent: self.client().map_or("", |client| &client.version),
            front: Front::Grpc,
            clearance: Clearance::default(),
        }
    }

    /// The end of its stream for requests.
    pub(super) fn mailbox(&self) -> Option<Arc<Mailbox>> {
        self.mailbox.lock().clone()
    }

    /// A place for one more stream, if it has less than `most`.
    pub(super) fn take_stream(self: &Arc<Self>, most: usize) -> Option<StreamPlace> {
        let more = |open: usize| (open < most).then_some(open + 1);
        self.streams.fetch_update(Relaxed, Relaxed, more).ok()?;
        Some(StreamPlace(Arc::clone(self)))
    }

    /// Requests go to this stream from now on.
    pub(super) fn attach(&self, mailbox: &Arc<Mailbox>) {
        *self.mailbox.lock() = Some(Arc::clone(mailbox));
    }

    /// Whether requests go to this stream.
    pub(super) fn is_attached(&self, mailbox: &Arc<Mailbox>) -> bool {
        self.mailbox.lock().as_ref().is_some_and(|attached| Arc::ptr_eq(attached, mailbox))
    }

    /// This stream has ended.
    pub(super) fn detach(&self, mailbox: &Arc<Mailbox>) {
        self.mailbox.lock().take_if(|attached| Arc::ptr_eq(attached, mailbox));
    }

    /// Ends the TCP connection.
    pub(crate) fn cut(&self) {
        self.cut.cancel();
    }

    /// Waits for [`Self::cut`].
    pub(super) async fn cut_off(&self) {
        self.cut.cancelled().await;
    }

    /// The client is to go elsewhere, or is cut off without any fault of its own.
    pub(super) fn send_away(&self) {
        self.is_sent_away.store(true, Relaxed);
    }

    pub(super) fn is_sent_away(&self) -> bool {
        self.is_sent_away.load(Relaxed)
    }

    /// The TCP connection is over.
    pub(super) fn end(&self) {
        self.is_over.store(true, Relaxed);
        self.pushes.end();
    }

    pub(super) fn is_over(&self) -> bool {
        self.is_over.load(Relaxed)
    }

    /// The client is asked whether it is there.
    pub(super) fn ask(&self, question: &str) {
        *self.question.lock() = Some(question.into());
    }

    /// The client has answered a request. Whether that was the question whether it is there.
    pub(super) fn was_asked(&self, request: &str) -> bool {
        self.question.lock().as_deref() == Some(request)
    }

    /// The client has said something. Whether that is to be told to the holder of its instances.
    pub(super) fn heard(&self, now: Tick) -> bool {
        self.heard_ms.fetch_max(now.as_ms(), Relaxed);
        let is_news = now.as_ms() >= self.told_until_ms.load(Relaxed);
        let is_answer = self.question.lock().take().is_some();
        if is_news || is_answer {
            self.told_until_ms.store(now.as_ms() + TELL_AGAIN_MS, Relaxed);
        }
        is_news || is_answer
    }

    /// When the client last said anything.
    pub(super) fn last_heard(&self) -> Tick {
        Tick::from_ms(self.heard_ms.load(Relaxed))
    }
}

/// Counts a stream as long as it lives.
pub(super) struct StreamPlace(Arc<Connection>);

impl Drop for StreamPlace {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, Relaxed);
    }
}

/// All connections that have been set up, by their numbers.
#[derive(Default)]
pub(crate) struct Connections {
    known: Mutex<BTreeMap<u64, Arc<Connection>>>,
    /// That of the connection before.
    last_number: AtomicU64,
}

impl Connections {
    /// A new connection, which is in the table when it has been [set up](Self::set_up). Its number is
    /// the moment in milliseconds, or a little later: no two are the same.
    pub(super) fn open(
        &self,
        peer: SocketAddr,
        account: Arc<Account>,
        flow: Arc<Flow>,
        outbox: Outbox,
        now: Tick,
    ) -> Arc<Connection> {
        let mut number = wall_ms();
        let later = |last: u64| {
            number = number.max(last + 1);
            Some(number)
        };
        let _ = self.last_number.fetch_update(Relaxed, Relaxed, later);
        Arc::new(Connection {
            number,
            id: format!("{number}_{}_{}", peer.ip(), peer.port()).into(),
            peer,
            account,
            flow,
            client: OnceLock::new(),
            heard_ms: AtomicU64::new(now.as_ms()),
            told_until_ms: AtomicU64::new(0),
            question: Mutex::new(None),
            mailbox: Mutex::new(None),
            pushes: Pushes::new(outbox),
            watches: Mutex::default(),
            streams: AtomicUsize::new(0),
            cut: CancellationToken::new(),
            is_over: AtomicBool::new(false),
            changing: Mutex::new(()),
            is_sent_away: AtomicBool::new(false),
            writing: tokio::sync::Mutex::new(()),
        })
    }

    /// The client has said who it is. False if it had before: nothing changes then.
    pub(super) fn set_up(&self, connection: &Arc<Connection>, client: Client) -> bool {
        let is_first = connection.client.set(client).is_ok();
        if is_first {
            self.known.lock().insert(connection.number, Arc::clone(connection));
        }
        is_first
    }

    /// It has ended.
    pub(super) fn remove(&self, connection: &Connection) {
        self.known.lock().remove(&connection.number);
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.known.lock().len()
    }

    /// The one with this number.
    pub(crate) fn get(&self, number: ConnectionId) -> Option<Arc<Connection>> {
        self.known.lock().get(&number.0).cloned()
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<Arc<Connection>> {
        self.known.lock().values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::budget::Budget;
    use super::*;

    fn open(table: &Connections) -> Arc<Connection> {
        let all = Arc::new(Budget::new(1 << 20));
        let account = Arc::new(Account::new(1 << 20, all, Arc::default()));
        let peer = ([127, 0, 0, 1], 5_000).into();
        let ids = Arc::new(crate::push::RequestIds::new());
        let outbox = Outbox::new(Default::default(), ids, Arc::default());
        let (flow, now) = (Arc::new(Flow::new()), Tick::from_ms(1_000));
        let connection = table.open(peer, account, flow, outbox, now);
        let client = Client {
            version: "Nacos-Java-Client:v2.5.1".into(),
            tenant: "".into(),
            labels: BTreeMap::new(),
            shown_ip: "".into(),
        };
        assert!(table.set_up(&connection, client.clone()));
        assert!(!table.set_up(&connection, client), "twice changes nothing");
        connection
    }

    #[test]
    fn ids_tell_connections_apart() {
        let table = Connections::default();
        let (one, other) = (open(&table), open(&table));
        assert!(one.number() < other.number());
        assert!(one.id().ends_with("_127.0.0.1_5000"), "{}", one.id());
        assert_eq!(table.get(other.number()).unwrap().id(), other.id());
        assert_eq!(table.len(), 2);
        table.remove(&one);
        assert!(table.get(one.number()).is_none() && table.get(other.number()).is_some());
    }

    #[test]
    fn what_a_client_says_is_told_now_and_then_and_at_once_if_it_was_asked() {
        let connection = open(&Connections::default());
        let at = Tick::from_ms;
        assert!(connection.heard(at(2_000)) && !connection.heard(at(2_400)));
        connection.ask("7");
        assert!(connection.was_asked("7") && !connection.was_asked("8"));
        assert!(connection.heard(at(2_450)), "whatever it says is an answer");
        assert!(!connection.was_asked("7") && !connection.heard(at(2_600)));
        assert!(connection.heard(at(3_000)));
        assert_eq!(connection.last_heard(), at(3_000));
    }
}
