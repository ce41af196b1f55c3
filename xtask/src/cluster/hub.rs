//! The nodes of a running cluster and what can be done to them.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::files::Files;
use super::logs::{self, Shown};
use super::node::{Output, Process};
use super::order::{self, Order};
use super::ready::{self, Readiness};
use super::server;
use super::supervise;

/// How long a node may take until it is ready: five seconds to find out that it is alone, six
/// for the beats it has not heard.
const READY: Duration = Duration::from_secs(40);
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// How long a node may take to leave.
const LEAVE: Duration = Duration::from_secs(12);

/// Whether to go on after an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    GoOn,
    End,
}

/// All nodes; they end with it.
pub(super) struct Hub {
    program: PathBuf,
    supervisor: PathBuf,
    settings: Vec<String>,
    /// Members that are not started here.
    others: Vec<SocketAddr>,
    /// Where the logs go.
    directory: PathBuf,
    shown: Shown,
    files: Files,
    nodes: BTreeMap<usize, Node>,
}

struct Node {
    address: SocketAddr,
    process: Process,
    is_paused: bool,
}

impl Hub {
    pub(super) fn new(
        program: PathBuf,
        settings: Vec<String>,
        others: Vec<SocketAddr>,
        directory: PathBuf,
        is_shown: bool,
    ) -> Result<Self> {
        let supervisor = std::env::current_exe().context("find this program")?;
        let (shown, files) = (Shown::new(is_shown), Files::create()?);
        let nodes = BTreeMap::new();
        Ok(Self { program, supervisor, settings, others, directory, shown, files, nodes })
    }

    /// Makes these and the others the members.
    fn list(&self, nodes: &[SocketAddr]) -> Result<()> {
        self.files.write_members(&[nodes, &self.others].concat())
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.files.socket()
    }

    /// Starts a node at each address, waits until all are ready and prints the table.
    pub(super) async fn start(&mut self, addresses: &[SocketAddr]) -> Result<()> {
        self.list(addresses)?;
        for (number, address) in (1..).zip(addresses) {
            // Of the run before, if there was one.
            let _ = std::fs::remove_file(self.log(number));
            self.start_node(number, *address).await?;
        }
        for number in 1..=addresses.len() {
            self.wait_until_ready(number).await?;
        }
        print!("{}", self.status().await);
        println!("type `help` for what can be done to them");
        Ok(())
    }

    /// Ends all nodes: those that run are asked first.
    pub(super) async fn stop(&mut self) {
        for node in self.nodes.values_mut() {
            node.process.order(supervise::Order::Resume).await;
            node.process.order(supervise::Order::Stop).await;
        }
        let deadline = Instant::now() + LEAVE;
        for node in self.nodes.values() {
            node.process.wait(deadline.saturating_duration_since(Instant::now())).await;
        }
        self.nodes.clear();
    }

    /// Carries out one order.
    pub(super) async fn obey(&mut self, text: &str) -> (Result<String>, Next) {
        match Order::parse(text) {
            Ok(Order::Stop) => (Ok("stopped\n".to_owned()), Next::End),
            Ok(order) => (self.carry_out(order).await, Next::GoOn),
            Err(error) => (Err(error), Next::GoOn),
        }
    }

    async fn carry_out(&mut self, order: Order) -> Result<String> {
        match order {
            Order::Kill(number) => {
                let node = self.running(number)?;
                node.process.order(supervise::Order::Kill).await;
                node.process.wait(LEAVE).await;
                Ok(format!("node {number} is dead\n"))
            }
            Order::Pause(number) => {
                let node = self.running(number)?;
                node.process.order(supervise::Order::Pause).await;
                node.is_paused = true;
                Ok(format!("node {number} is frozen\n"))
            }
            Order::Resume(number) => {
                let node = self.running(number)?;
                node.process.order(supervise::Order::Resume).await;
                node.is_paused = false;
                Ok(format!("node {number} goes on\n"))
            }
            Order::Restart(number) => self.restart(number).await,
            Order::Remove(number) => self.remove(number).await,
            Order::Add => self.add().await,
            Order::Status => Ok(self.status().await),
            Order::Logs(is_shown) => {
                self.shown.set(is_shown);
                Ok(String::new())
            }
            Order::Help => Ok(order::HELP.to_owned()),
            Order::Stop => Ok(String::new()),
        }
    }

    async fn restart(&mut self, number: usize) -> Result<String> {
        let node = self.known(number)?;
        let address = node.address;
        node.process.stop(LEAVE).await;
        self.start_node(number, address).await?;
        self.wait_until_ready(number).await?;
        Ok(format!("node {number} is ready again\n"))
    }

    async fn add(&mut self) -> Result<String> {
        let [address] = server::addresses(1, &[])?[..] else { bail!("one port was asked for") };
        let number = self.nodes.keys().last().map_or(1, |last| last + 1);
        let mut members = self.members();
        members.push(address);
        self.list(&members)?;
        let _ = std::fs::remove_file(self.log(number));
        self.start_node(number, address).await?;
        self.wait_until_ready(number).await?;
        Ok(format!("node {number} is ready at {address}\n"))
    }

    async fn remove(&mut self, number: usize) -> Result<String> {
        self.known(number)?.process.stop(LEAVE).await;
        self.nodes.remove(&number);
        self.list(&self.members())?;
        Ok(format!("node {number} is no member any more\n"))
    }

    async fn start_node(&mut self, number: usize, address: SocketAddr) -> Result<()> {
        let program = server::member(&self.program, &self.files, address, address, &self.settings);
        let mut process = Process::start(&self.supervisor, &program, Output::Piped).await?;
        if let Some(output) = process.take_output() {
            tokio::spawn(logs::follow(output, number, self.log(number), self.shown.clone()));
        }
        self.nodes.insert(number, Node { address, process, is_paused: false });
        Ok(())
    }

    async fn wait_until_ready(&mut self, number: usize) -> Result<()> {
        let log = self.log(number);
        let node = self.known(number)?;
        let deadline = Instant::now() + READY;
        loop {
            if let Some(ending) = node.process.ending() {
                bail!("node {number} ended ({ending}), see {}", log.display());
            }
            let readiness = ready::ask(node.address).await;
            if readiness == Readiness::Ready {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "node {number} is not ready: {readiness:?}");
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    fn known(&mut self, number: usize) -> Result<&mut Node> {
        self.nodes.get_mut(&number).with_context(|| format!("there is no node {number}"))
    }

    fn running(&mut self, number: usize) -> Result<&mut Node> {
        let node = self.known(number)?;
        ensure!(node.process.ending().is_none(), "node {number} does not run");
        Ok(node)
    }

    fn members(&self) -> Vec<SocketAddr> {
        self.nodes.values().map(|node| node.address).collect()
    }

    fn log(&self, number: usize) -> PathBuf {
        self.directory.join(format!("node-{number}.log"))
    }

    async fn status(&self) -> String {
        let mut table = format!("{:<5} {:<22} {:>8}  state\n", "node", "address", "pid");
        for (number, node) in &self.nodes {
            let state = match node.process.ending() {
                Some(ending) => format!("ended ({ending})"),
                None if node.is_paused => "paused".to_owned(),
                None => match ready::ask(node.address).await {
                    Readiness::Ready => "ready".to_owned(),
                    Readiness::NotYet(reason) => format!("not ready: {reason}"),
                    Readiness::Silent => "does not answer".to_owned(),
                },
            };
            let (address, pid) = (node.address, node.process.pid);
            // Writing to a string cannot fail.
            let _ = writeln!(table, "{number:<5} {address:<22} {pid:>8}  {state}");
        }
        table
    }
}
