//! The clients: all of them tasks of one thread, each with its own rhythm.

mod clerk;
mod crowd;
pub(super) mod deaf;
pub(super) mod fleet;
mod hosts;
mod http;
mod keeper;
mod lag;
mod ledger;
mod multitude;
mod provider;
mod push;
mod reader;
mod streamed;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use anyhow::Result;
use tokio::task::JoinHandle;
use tokio::time::Instant;

pub(super) use self::clerk::CLERKS;
pub(super) use self::crowd::Crowd;
use self::http::Http;
pub(super) use self::http::fetch_text;
use self::keeper::Kept;
pub(super) use self::ledger::DurableTally;
use self::ledger::Ledger;
use super::judge::{At, Judge, Sides, State};
use super::sdk::Sdk;

/// How often everything is read from every node.
const READ_INTERVAL: Duration = Duration::from_secs(1);
/// Where clients look for gRPC, from the main port.
pub(super) const GRPC_OFFSET: u16 = 1_000;
/// How often an instance beats.
const BEAT_INTERVAL: Duration = Duration::from_secs(5);

/// How much there is of everything.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size {
    pub(super) services: usize,
    pub(super) per_service: usize,
}

/// What all tasks share. They run in one thread, and nothing is borrowed over an await.
pub(super) struct Shared {
    size: Size,
    begun: Instant,
    http: Http,
    pub(super) judge: RefCell<Judge>,
    /// Where clients reach each node; grows when nodes are added.
    nodes: RefCell<Vec<SocketAddr>>,
    /// Which of them are on the clients' lists.
    listed: RefCell<Vec<usize>>,
    worst_lag: Cell<Duration>,
    /// What each writer of a durable record has done.
    kept: RefCell<Vec<Kept>>,
    /// The same of each writer of many.
    ledgers: RefCell<Vec<Ledger>>,
    /// Whether those write without a rest.
    is_hurried: Cell<bool>,
    /// The node that reaches no other at present.
    alone: Cell<Option<usize>>,
    /// Durable writes that such a node acknowledged.
    acknowledged_alone: Cell<usize>,
    /// Which nodes the clients of each service reach; all if there are no sides.
    sides: Cell<Option<Sides>>,
    /// Where clients over gRPC reach each node if something stands between.
    between: RefCell<Vec<SocketAddr>>,
    /// When that last broke connections.
    broken_between: Cell<Option<At>>,
}

impl Shared {
    pub(super) fn now(&self) -> At {
        self.begun.elapsed()
    }

    fn address(&self, node: usize) -> Option<SocketAddr> {
        self.nodes.borrow().get(node).copied()
    }

    /// The nodes on the list of the clients of a service that those clients reach.
    fn reached(&self, service: usize) -> Vec<usize> {
        let sides = self.sides.get();
        let reaches = |node: &usize| sides.is_none_or(|sides| sides.reaches(*node, service));
        self.listed.borrow().iter().copied().filter(reaches).collect()
    }

    fn call_failed(&self, node: usize, begun: At, what: &str) {
        let failure = super::judge::Failure { node, begun, ended: self.now(), what };
        self.judge.borrow_mut().call_failed(&failure);
    }
}

/// The running clients; they end with it.
pub(super) struct Load {
    pub(super) shared: Rc<Shared>,
    providers: Vec<JoinHandle<()>>,
    /// The clients of those that speak gRPC.
    streamed: HashMap<usize, Rc<Sdk<streamed::Provider>>>,
    keepers: Vec<JoinHandle<()>>,
    clerks: Vec<JoinHandle<()>>,
    others: Vec<JoinHandle<()>>,
    /// The interface that nodes push to.
    local: std::net::IpAddr,
}

impl Load {
    /// Clients of `nodes`; `most_nodes` is how many there may be in the end.
    pub(super) fn new(size: Size, most_nodes: usize, local: std::net::IpAddr) -> Self {
        let shared = Rc::new(Shared {
            size,
            begun: Instant::now(),
            http: Http::new(),
            judge: RefCell::new(Judge::new(most_nodes, size.services, size.per_service)),
            nodes: RefCell::default(),
            listed: RefCell::default(),
            worst_lag: Cell::new(Duration::ZERO),
            kept: RefCell::new(vec![Kept::default(); keeper::KEEPERS]),
            ledgers: RefCell::new(vec![Ledger::default(); CLERKS]),
            is_hurried: Cell::new(false),
            alone: Cell::new(None),
            acknowledged_alone: Cell::new(0),
            sides: Cell::new(None),
            between: RefCell::default(),
            broken_between: Cell::new(None),
        });
        let others = vec![tokio::task::spawn_local(lag::watch(Rc::clone(&shared)))];
        let (providers, keepers, clerks) = (Vec::new(), Vec::new(), Vec::new());
        let streamed = HashMap::new();
        Self { shared, providers, streamed, keepers, clerks, others, local }
    }

    /// Reads and subscribes everything at one more node, and puts it on the clients' lists.
    ///
    /// # Errors
    ///
    /// If there is no socket for its pushes.
    pub(super) async fn watch_node(&mut self, address: SocketAddr) -> Result<()> {
        let node = self.shared.nodes.borrow().len();
        self.shared.nodes.borrow_mut().push(address);
        self.shared.listed.borrow_mut().push(node);
        let socket = tokio::net::UdpSocket::bind((self.local, 0)).await?;
        let port = socket.local_addr()?;
        let listen = push::listen(Rc::clone(&self.shared), node, socket);
        self.others.push(tokio::task::spawn_local(listen));
        let streamed = Rc::new(streamed::Reader::client(&self.shared, node));
        for service in 0..self.shared.size.services {
            self.others.push(match streamed::is_read_streamed(service) {
                true => {
                    tokio::task::spawn_local(streamed::read_for_ever(Rc::clone(&streamed), service))
                }
                false => {
                    let read = reader::read_for_ever(Rc::clone(&self.shared), node, service, port);
                    tokio::task::spawn_local(read)
                }
            });
        }
        self.others.push(tokio::task::spawn_local(async move { streamed.live().await }));
        Ok(())
    }

    /// Takes a node off the clients' lists; it is no longer asked for anything.
    pub(super) fn unlist(&self, node: usize) {
        self.shared.listed.borrow_mut().retain(|listed| *listed != node);
    }

    /// Starts the clients of all instances, spread over one beat interval.
    pub(super) fn start_providers(&mut self) {
        let count = self.shared.size.services * self.shared.size.per_service;
        for id in 0..count {
            // A step that shares no factor with the count scatters those of one service.
            let place = (id * 7919) % count;
            let phase = BEAT_INTERVAL.mul_f64(place as f64 / count as f64);
            self.providers.push(if streamed::is_streamed(id) {
                let client = Rc::new(streamed::Provider::client(&self.shared, id));
                self.streamed.insert(id, Rc::clone(&client));
                tokio::task::spawn_local(async move {
                    tokio::time::sleep(phase).await;
                    client.live().await;
                })
            } else {
                let provide = provider::provide(Rc::clone(&self.shared), id, phase);
                tokio::task::spawn_local(provide)
            });
        }
    }

    /// Starts the writers of durable records.
    pub(super) fn start_keepers(&mut self) {
        let keep = |id| tokio::task::spawn_local(keeper::keep(Rc::clone(&self.shared), id));
        self.keepers = (0..keeper::KEEPERS).map(keep).collect();
    }

    /// Starts the writers of many durable records, and reads what they write from each node.
    pub(super) fn start_clerks(&mut self) {
        for id in 0..CLERKS {
            let write = clerk::write_for_ever(Rc::clone(&self.shared), id);
            self.clerks.push(tokio::task::spawn_local(write));
            for node in 0..self.shared.nodes.borrow().len() {
                let read = clerk::read_for_ever(Rc::clone(&self.shared), id, node);
                self.others.push(tokio::task::spawn_local(read));
            }
        }
    }

    /// Whether the writers of many records do so without a rest.
    pub(super) fn hurry(&self, is_hurried: bool) {
        self.shared.is_hurried.set(is_hurried);
    }

    /// This node reaches no other from now on, or no node is alone.
    pub(super) fn is_alone(&self, node: Option<usize>) {
        self.shared.alone.set(node);
    }

    /// From now on the clients of each service reach the nodes of their side only.
    pub(super) fn split(&self, sides: Sides) {
        self.shared.sides.set(Some(sides));
        self.shared.judge.borrow_mut().split(sides);
    }

    /// From now on clients over gRPC reach the nodes at these addresses.
    pub(super) fn stand_between(&self, addresses: Vec<SocketAddr>) {
        *self.shared.between.borrow_mut() = addresses;
    }

    /// What stands between has broken connections: that these fail is not the fault of a node.
    pub(super) fn broken_between(&self) {
        self.shared.broken_between.set(Some(self.shared.now()));
    }

    /// Registers very many services of one instance each, keeps them alive and watches that no
    /// node loses one. Returns when the nodes hold them all.
    ///
    /// # Errors
    ///
    /// If the nodes do not hold them in time.
    pub(super) async fn add_multitude(&mut self) -> Result<()> {
        self.others.extend(multitude::start(&self.shared).await?);
        Ok(())
    }

    /// Has all writers of durable records stop. What is under way is done or not.
    pub(super) fn stop_durable_writes(&mut self) {
        self.keepers.drain(..).chain(self.clerks.drain(..)).for_each(|writer| writer.abort());
    }

    /// What came of the writes of many records; `None` if there were no such writers. What is
    /// wrong besides goes to `problems`.
    pub(super) async fn settle_durables(
        &self,
        nodes: &[usize],
        problems: &mut Vec<String>,
    ) -> Option<DurableTally> {
        if self.shared.ledgers.borrow().iter().all(|ledger| ledger.len() == 0) {
            return None;
        }
        let (tally, wrong) = clerk::settle(&self.shared, nodes).await;
        problems.extend(wrong);
        Some(tally)
    }

    /// Where nodes do not show what was acknowledged of durable records.
    pub(super) async fn wrong_durables(&self, nodes: &[usize]) -> Vec<String> {
        let mut wrong = Vec::new();
        for &node in nodes {
            wrong.extend(keeper::wrong_at(&self.shared, node).await);
        }
        if !keeper::all_were_told(&self.shared) {
            wrong.push("not every durable record was ever written".to_owned());
        }
        wrong
    }

    /// The instances `ids` die without a word.
    pub(super) fn let_die(&self, ids: impl IntoIterator<Item = usize>) {
        for id in ids {
            if let Some(provider) = self.providers.get(id) {
                provider.abort();
            }
            let since = self.shared.now();
            if let Some(one) = self.shared.judge.borrow_mut().instance(id) {
                one.life = super::judge::Life::Dead { since };
            }
        }
    }

    /// The instances `ids` stop beating and deregister; returns when that is acknowledged to those
    /// that beat. A client over gRPC whose server is silent looks for another one before.
    pub(super) async fn deregister(&self, ids: impl IntoIterator<Item = usize>) {
        for id in ids {
            if let Some(client) = self.streamed.get(&id) {
                tokio::task::spawn_local(streamed::deregister(Rc::clone(client)));
                continue;
            }
            if let Some(provider) = self.providers.get(id) {
                provider.abort();
            }
            provider::deregister(&self.shared, id).await;
        }
    }

    /// Asks whether a node calls itself ready, and notes if it does.
    pub(super) async fn is_ready(&self, node: usize) -> bool {
        let Some(address) = self.shared.address(node) else { return false };
        let path = "/nacos/v1/console/health/readiness";
        let reply = self.shared.http.get(address, path).await;
        let is_ready = reply.is_ok_and(|reply| reply.status == 200);
        let mut judge = self.shared.judge.borrow_mut();
        if is_ready && judge.state(node) == State::NotReady {
            judge.node_is(node, State::Ready { since: self.shared.now() });
        }
        is_ready
    }

    /// How many instances of a service a node lists as healthy, if it answers.
    pub(super) async fn healthy(&self, node: usize, service: usize) -> Option<usize> {
        let path = reader::path(service, None);
        let reply = self.shared.http.get(self.shared.address(node)?, &path).await.ok()?;
        let list = hosts::List::parse(&reply.body).filter(|_| reply.status == 200)?;
        Some(list.hosts.iter().filter(|(_, is_healthy)| *is_healthy).count())
    }

    /// How late the timers of this thread have been at worst since the last call.
    pub(super) fn take_worst_lag(&self) -> Duration {
        self.shared.worst_lag.replace(Duration::ZERO)
    }

    pub(super) fn size(&self) -> Size {
        self.shared.size
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        let all =
            self.providers.iter().chain(&self.keepers).chain(&self.clerks).chain(&self.others);
        all.for_each(JoinHandle::abort);
    }
}
