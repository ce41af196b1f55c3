//! Very many services of one instance each, so that judging them takes a node long.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Result, ensure};
use hyper::Method;
use serde::Deserialize;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};

use super::{Shared, fetch_text};
use crate::chaos::judge::{Finding, State};

/// Services, each of one instance.
const SERVICES: usize = 100_000;
/// Each keeps a share of the instances alive, one after the other.
const WORKERS: usize = 200;
/// From one beat of an instance to the next; it may be silent for two and a half times that, and is
/// removed after three times that: less than a node is frozen.
const BEAT_INTERVAL: Duration = Duration::from_secs(15);
/// A client pool leaves a server alone for so long that did not answer.
const AVOIDED: Duration = Duration::from_secs(5);
/// From one look at the counts of all nodes to the next.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Lists that are read at each look.
const SAMPLES: usize = 20;
const COMPLETE: Duration = Duration::from_secs(300);
const INSTANCES: &str = "naming_instances ";
/// Above the numbers of all other instances.
const FIRST_ID: usize = 1 << 40;

/// Registers all, and starts the tasks that keep them alive and watch them.
pub(super) async fn start(shared: &Rc<Shared>) -> Result<Vec<JoinHandle<()>>> {
    let avoided = Rc::new(RefCell::new(vec![None; 8]));
    let work = |worker| {
        let (shared, avoided) = (Rc::clone(shared), Rc::clone(&avoided));
        tokio::task::spawn_local(Worker { shared, avoided, worker }.work())
    };
    let mut tasks: Vec<_> = (0..WORKERS).map(work).collect();
    let nodes = shared.listed.borrow().clone();
    let deadline = Instant::now() + COMPLETE;
    for node in nodes {
        while count(shared, node).await.is_none_or(|count| count < expected(shared)) {
            ensure!(Instant::now() < deadline, "node {} does not hold all services", node + 1);
            sleep(LOOK_INTERVAL).await;
        }
    }
    tasks.push(tokio::task::spawn_local(watch(Rc::clone(shared))));
    Ok(tasks)
}

struct Worker {
    shared: Rc<Shared>,
    /// When each node last failed to answer anybody.
    avoided: Rc<RefCell<Vec<Option<Instant>>>>,
    worker: usize,
}

impl Worker {
    async fn work(self) {
        let mine: Vec<usize> = (self.worker..SERVICES).step_by(WORKERS).collect();
        for service in &mine {
            self.register(*service).await;
        }
        loop {
            let begun = Instant::now();
            for (turn, service) in mine.iter().enumerate() {
                sleep_until(begun + BEAT_INTERVAL.mul_f64(turn as f64 / mine.len() as f64)).await;
                self.beat(*service).await;
            }
            sleep_until(begun + BEAT_INTERVAL).await;
        }
    }

    async fn register(&self, service: usize) {
        let metadata = "%7B%22preserved.heart.beat.timeout%22%3A%2237500%22%2C\
                        %22preserved.ip.delete.timeout%22%3A%2245000%22%7D";
        let path = format!("/nacos/v1/ns/instance?{}&metadata={metadata}", parameters(service));
        while self.call(&Method::POST, &path).await.is_none() {
            sleep(LOOK_INTERVAL).await;
        }
    }

    async fn beat(&self, service: usize) {
        let path = format!("/nacos/v1/ns/instance/beat?{}", parameters(service));
        let Some(body) = self.call(&Method::PUT, &path).await else { return };
        if serde_json::from_slice(&body).is_ok_and(|reply: BeatReply| reply.code == 20404) {
            self.shared.judge.borrow_mut().asked_to_register_again();
            self.register(service).await;
        }
    }

    /// Asks one node after the other, from a random one on; those that just failed come last.
    async fn call(&self, method: &Method, path: &str) -> Option<bytes::Bytes> {
        let mut nodes = self.shared.listed.borrow().clone();
        fastrand::shuffle(&mut nodes);
        nodes.sort_by_key(|node| self.is_avoided(*node));
        for node in nodes {
            let Some(address) = self.shared.address(node) else { continue };
            match self.shared.http.call(method, address, path).await {
                Ok(reply) if reply.status == 200 => return Some(reply.body),
                _ => self.avoid(node),
            }
        }
        None
    }

    fn is_avoided(&self, node: usize) -> bool {
        let failed = self.avoided.borrow().get(node).copied().flatten();
        failed.is_some_and(|at| at.elapsed() < AVOIDED)
    }

    fn avoid(&self, node: usize) {
        if let Some(failed) = self.avoided.borrow_mut().get_mut(node) {
            *failed = Some(Instant::now());
        }
    }
}

/// Looks at every node that is ready all the time: how many instances it holds, and what some of the
/// lists say.
async fn watch(shared: Rc<Shared>) {
    loop {
        sleep(LOOK_INTERVAL).await;
        let nodes = shared.listed.borrow().clone();
        for node in nodes {
            look(&shared, node).await;
        }
    }
}

async fn look(shared: &Shared, node: usize) {
    let begun = shared.now();
    let held = count(shared, node).await;
    let mut wrong = Vec::new();
    for _ in 0..SAMPLES {
        let service = fastrand::usize(..SERVICES);
        if is_well(shared, node, service).await == Some(false) {
            wrong.push(service);
        }
    }
    let mut judge = shared.judge.borrow_mut();
    let was_ready = matches!(judge.state(node), State::Ready { since } if since <= begun);
    if !was_ready {
        return;
    }
    for service in wrong {
        let text = format!("node {}: service {service} of many has lost its instance", node + 1);
        judge.found(Finding::Missing, FIRST_ID + service, begun, text);
    }
    if let Some(held) = held.filter(|held| *held < expected(shared)) {
        let text = format!("node {} holds {held} instances", node + 1);
        judge.found(Finding::Missing, FIRST_ID + SERVICES + node, begun, text);
    }
}

/// All that live, those of other services too; nobody dies where there are so many.
fn expected(shared: &Shared) -> usize {
    SERVICES + shared.size.services * shared.size.per_service
}

/// How many instances a node holds, those of other services among them.
async fn count(shared: &Shared, node: usize) -> Option<usize> {
    let page = fetch_text(shared, node, "/metrics").await?;
    let value = page.lines().find_map(|line| line.strip_prefix(INSTANCES))?;
    // A count, written as a number with or without a fraction.
    value.trim().parse::<f64>().ok().map(|value| value as usize)
}

/// Whether a service shows its one instance as healthy; `None` if the node does not answer.
async fn is_well(shared: &Shared, node: usize, service: usize) -> Option<bool> {
    let path = format!("/nacos/v1/ns/instance/list?serviceName=many-{service}");
    let reply = shared.http.get(shared.address(node)?, &path).await.ok()?;
    let list: List = serde_json::from_slice(&reply.body).ok().filter(|_| reply.status == 200)?;
    Some(list.hosts.len() == 1 && list.hosts.iter().all(|host| host.healthy))
}

#[derive(Deserialize)]
struct List {
    hosts: Vec<Host>,
}

#[derive(Deserialize)]
struct Host {
    healthy: bool,
}

#[derive(Deserialize)]
struct BeatReply {
    code: u32,
}

fn parameters(service: usize) -> String {
    let (high, low) = (service / 250, service % 250 + 1);
    let ip = format!("10.{}.{}.{low}", 210 + high / 250, high % 250);
    format!("serviceName=many-{service}&ip={ip}&port=8080&ephemeral=true")
}
