//! One service with very many instances, all of which are replaced in a short time: more removals
//! than a member remembers of one slot for its usual time.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Result, ensure};
use hyper::Method;
use serde::Deserialize;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::provider::call_any;
use super::{Load, Shared};
use crate::chaos::judge::{Finding, State};

/// Instances at any time.
const INSTANCES: usize = 5_000;
/// So long replacing all of them takes.
const REPLACED_WITHIN: Duration = Duration::from_secs(60);
/// Who call for the crowd, each for its share.
const CALLERS: usize = 32;
/// From one look at a node to the next.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// So long after the heal a node may show what was replaced meanwhile.
const HEALED: Duration = Duration::from_secs(10);
/// How long all nodes may take to list the crowd at first.
const COMPLETE: Duration = Duration::from_secs(30);
/// The ports tell who is to be there.
const FIRST_PORT: u16 = 8_080;
const SECOND_PORT: u16 = 8_081;
/// Above the numbers of all other instances.
const FIRST_ID: usize = 1 << 32;
/// No service of a row has this number, so its clients are on the side of most nodes.
const SERVICE: usize = usize::MAX;

/// The service and what is true of it.
pub(in crate::chaos) struct Crowd {
    shared: Rc<Shared>,
}

impl Crowd {
    /// Registers the crowd and waits until every node lists it.
    ///
    /// # Errors
    ///
    /// If a registration is refused everywhere, or a node does not list all in time.
    pub(in crate::chaos) async fn gather(load: &Load, nodes: &[usize]) -> Result<Self> {
        let crowd = Self { shared: Rc::clone(&load.shared) };
        crowd.call_for_all(&Method::POST, FIRST_PORT, Duration::ZERO).await?;
        let deadline = Instant::now() + COMPLETE;
        for &node in nodes {
            while crowd.listed(node).await.is_none_or(|listed| listed.len() < INSTANCES) {
                ensure!(Instant::now() < deadline, "node {} does not list the crowd", node + 1);
                sleep(LOOK_INTERVAL / 4).await;
            }
        }
        Ok(crowd)
    }

    /// Deregisters all instances and registers as many others, in about a minute.
    ///
    /// # Errors
    ///
    /// If no node takes a call.
    pub(in crate::chaos) async fn replace(&self) -> Result<()> {
        self.call_for_all(&Method::DELETE, FIRST_PORT, REPLACED_WITHIN / 2).await?;
        self.call_for_all(&Method::POST, SECOND_PORT, REPLACED_WITHIN / 2).await
    }

    /// Looks at all nodes for so long and notes who is there that was replaced, and who is not
    /// there that replaced them. The heal must have been just before.
    pub(in crate::chaos) async fn watch(&self, nodes: &[usize], span: Duration) {
        let healed = Instant::now();
        while healed.elapsed() < span {
            for &node in nodes {
                let is_due = healed.elapsed() > HEALED;
                if let Some(listed) = self.listed(node).await.filter(|_| is_due) {
                    self.judge(node, &listed);
                }
            }
            sleep(LOOK_INTERVAL).await;
        }
    }

    fn judge(&self, node: usize, listed: &BTreeSet<(String, u16)>) {
        let at = self.shared.now();
        let mut judge = self.shared.judge.borrow_mut();
        if !matches!(judge.state(node), State::Ready { .. }) {
            return;
        }
        for number in 0..INSTANCES {
            let (ip, id) = (address(number), FIRST_ID + number);
            let place = || format!("crowd at node {}: instance {number}", node + 1);
            if listed.contains(&(ip.clone(), FIRST_PORT)) {
                let text = format!("{} is back", place());
                judge.found(Finding::Resurrected, id, at, text);
            }
            if !listed.contains(&(ip, SECOND_PORT)) {
                judge.found(Finding::Missing, id, at, format!("{} is missing", place()));
            }
        }
    }

    /// The same call for each instance, spread over a time.
    async fn call_for_all(&self, method: &Method, port: u16, span: Duration) -> Result<()> {
        let begun = Instant::now();
        let mut callers = JoinSet::new();
        for caller in 0..CALLERS {
            let (shared, method) = (Rc::clone(&self.shared), method.clone());
            callers.spawn_local(async move {
                for number in (caller..INSTANCES).step_by(CALLERS) {
                    let due = begun + span.mul_f64(number as f64 / INSTANCES as f64);
                    tokio::time::sleep_until(due).await;
                    call_any(&shared, SERVICE, &method, &path(number, port)).await?;
                }
                anyhow::Ok(())
            });
        }
        while let Some(outcome) = callers.join_next().await {
            outcome??;
        }
        Ok(())
    }

    async fn listed(&self, node: usize) -> Option<BTreeSet<(String, u16)>> {
        let path = "/nacos/v1/ns/instance/list?serviceName=crowd";
        let reply = self.shared.http.get(self.shared.address(node)?, path).await.ok()?;
        let list: List = serde_json::from_slice(&reply.body).ok()?;
        Some(list.hosts.into_iter().map(|host| (host.ip, host.port)).collect())
    }
}

#[derive(Deserialize)]
struct List {
    hosts: Vec<Host>,
}

#[derive(Deserialize)]
struct Host {
    ip: String,
    port: u16,
}

fn address(number: usize) -> String {
    format!("10.200.{}.{}", number / 250, number % 250 + 1)
}

/// An instance that may be silent for an hour, so that only its deregistration ends it.
fn path(number: usize, port: u16) -> String {
    let metadata = "%7B%22preserved.heart.beat.timeout%22%3A%223600000%22%2C\
                    %22preserved.ip.delete.timeout%22%3A%223600000%22%7D";
    let ip = address(number);
    format!(
        "/nacos/v1/ns/instance?serviceName=crowd&ip={ip}&port={port}&ephemeral=true&metadata={metadata}"
    )
}
