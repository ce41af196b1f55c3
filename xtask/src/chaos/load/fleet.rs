//! Very many clients over gRPC that are all at one node, in threads of their own.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::Deserialize;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, LocalSet};
use tokio::time::{Instant, sleep};
use xtask_grpc::messages::{self, message};

use super::{Load, Shared};
use crate::chaos::judge::{Finding, State};
use crate::chaos::sdk::{Event, Sdk, Site, Wants};

const THREADS: usize = 2;
/// Instances of one service.
const PER_SERVICE: usize = 250;
/// Over so long the clients connect at first.
const SPREAD: Duration = Duration::from_secs(25);
/// Files that are open besides.
const OTHER_FILES: u64 = 4_000;
const LISTED: Duration = Duration::from_secs(60);
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Above the numbers of all other instances.
const FIRST_ID: usize = 1 << 41;
/// Where a client is registered that is not.
const NOWHERE: usize = usize::MAX;

/// The clients; they end with it.
pub(in crate::chaos) struct Fleet {
    /// At which node each is registered.
    seats: Arc<[AtomicUsize]>,
    _stop: Vec<oneshot::Sender<()>>,
}

impl Fleet {
    /// Connects so many clients to the node `first`, which then know all others.
    ///
    /// # Errors
    ///
    /// If so many files may not be open, or a thread does not start.
    pub(in crate::chaos) fn start(load: &Load, first: usize, clients: usize) -> Result<Self> {
        allow_files(clients as u64 + OTHER_FILES)?;
        let nodes = load.shared.listed.borrow().clone();
        let address = |node: usize| Some((node, load.shared.streamed(node)?));
        let servers: Arc<[_]> = nodes.iter().filter_map(|node| address(*node)).collect();
        let turn = nodes.iter().position(|node| *node == first).context("no such node")?;
        let seats: Arc<[_]> = (0..clients).map(|_| AtomicUsize::new(NOWHERE)).collect();
        let mut stop = Vec::new();
        for thread in 0..THREADS {
            let (tell, told) = oneshot::channel();
            let (servers, seats) = (Arc::clone(&servers), Arc::clone(&seats));
            std::thread::Builder::new()
                .name("fleet".to_owned())
                .spawn(move || sail(thread, turn, &servers, &seats, told))
                .context("start a thread of the fleet")?;
            stop.push(tell);
        }
        Ok(Self { seats, _stop: stop })
    }

    /// How many are registered at a node that is as wanted.
    pub(in crate::chaos) fn registered(&self, wanted: impl Fn(usize) -> bool) -> usize {
        let nodes = self.seats.iter().map(|seat| seat.load(Relaxed));
        nodes.filter(|node| *node != NOWHERE && wanted(*node)).count()
    }

    /// Waits until each of these nodes lists all.
    ///
    /// # Errors
    ///
    /// If one does not in time.
    pub(in crate::chaos) async fn wait_until_listed(
        &self,
        load: &Load,
        nodes: &[usize],
    ) -> Result<()> {
        let deadline = Instant::now() + LISTED;
        for &node in nodes {
            while !missing_at(&load.shared, node, self.seats.len())
                .await
                .is_some_and(|m| m.is_empty())
            {
                ensure!(Instant::now() < deadline, "node {} does not list the fleet", node + 1);
                sleep(LOOK_INTERVAL).await;
            }
        }
        Ok(())
    }
}

/// Looks at these nodes all the time, and notes who is not listed.
pub(in crate::chaos) fn watch(load: &Load, fleet: &Fleet, nodes: Vec<usize>) -> JoinHandle<()> {
    let (shared, clients) = (Rc::clone(&load.shared), fleet.seats.len());
    tokio::task::spawn_local(async move {
        loop {
            for &node in &nodes {
                let begun = shared.now();
                let missing = missing_at(&shared, node, clients).await;
                let mut judge = shared.judge.borrow_mut();
                if !matches!(judge.state(node), State::Ready { since } if since <= begun) {
                    continue;
                }
                for number in missing.unwrap_or_default() {
                    let text =
                        format!("node {}: client {number} of the fleet is missing", node + 1);
                    judge.found(Finding::Missing, FIRST_ID + number, begun, text);
                }
            }
            sleep(LOOK_INTERVAL).await;
        }
    })
}

/// Who is not listed as healthy; `None` if the node does not answer.
async fn missing_at(shared: &Shared, node: usize, clients: usize) -> Option<Vec<usize>> {
    let mut listed = HashSet::new();
    for service in 0..clients.div_ceil(PER_SERVICE) {
        let path = format!("/nacos/v1/ns/instance/list?serviceName=fleet-{service}");
        let reply = shared.http.get(shared.address(node)?, &path).await.ok()?;
        let list: List =
            serde_json::from_slice(&reply.body).ok().filter(|_| reply.status == 200)?;
        listed.extend(list.hosts.into_iter().filter(|host| host.healthy).map(|host| host.ip));
    }
    Some((0..clients).filter(|number| !listed.contains(&address(*number))).collect())
}

#[derive(Deserialize)]
struct List {
    hosts: Vec<Host>,
}

#[derive(Deserialize)]
struct Host {
    ip: String,
    healthy: bool,
}

/// One client.
struct Seat {
    number: usize,
    servers: Arc<[(usize, SocketAddr)]>,
    seats: Arc<[AtomicUsize]>,
}

impl Site for Seat {
    fn servers(&self) -> Vec<(usize, SocketAddr)> {
        self.servers.to_vec()
    }

    fn reaches(&self, _node: usize) -> bool {
        true
    }

    fn hear(&self, event: Event<'_>) {
        if let (Event::Alive { node }, Some(seat)) = (event, self.seats.get(self.number)) {
            seat.store(node, Relaxed);
        }
    }
}

/// A thread with its share of the clients, until it is told to stop.
fn sail(
    thread: usize,
    first: usize,
    servers: &Arc<[(usize, SocketAddr)]>,
    seats: &Arc<[AtomicUsize]>,
    stop: oneshot::Receiver<()>,
) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let Ok(runtime) = runtime else { return };
    let clients = LocalSet::new();
    for number in (thread..seats.len()).step_by(THREADS) {
        let site = Seat { number, servers: Arc::clone(servers), seats: Arc::clone(seats) };
        let phase = SPREAD.mul_f64(number as f64 / seats.len() as f64);
        clients.spawn_local(async move {
            sleep(phase).await;
            let service = format!("fleet-{}", number / PER_SERVICE);
            let body = messages::instance("registerInstance", &service, &address(number), 8_080);
            let wants = Wants::new([message("InstanceRequest", body)]);
            Sdk::new(site, format!("fleet-{number}"), first, wants).live().await;
        });
    }
    // It is over with an error, since nobody sends anything.
    let _ = runtime.block_on(clients.run_until(stop));
}

fn address(number: usize) -> String {
    format!("10.220.{}.{}", number / 250, number % 250 + 1)
}

/// Allows this process, and those that it starts, as many open files.
fn allow_files(count: u64) -> Result<()> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|current| current >= count) {
        return Ok(());
    }
    ensure!(
        maximum.is_none_or(|maximum| maximum >= count),
        "{count} open files are needed, and no more than {} allowed",
        maximum.unwrap_or_default()
    );
    setrlimit(Resource::Nofile, Rlimit { current: Some(count), maximum })
        .context("allow more files")
}
