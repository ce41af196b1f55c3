//! The nodes and clients of one row, and everything that can be done to them. What is done is told
//! to the judge before it is done, so that nothing is held against a node that could not help it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use self::streams::Besides;
use super::between::Between;
use super::judge::{At, Sides, State};
use super::load::{Load, Size};
use super::names::Names;
use super::network::Network;
use super::rows::Row;
use crate::cluster::files::Files;
use crate::cluster::node::{Output, Process};
use crate::cluster::server;
use crate::cluster::supervise::Order;

/// How long a node may take until it is ready.
const READY: Duration = Duration::from_secs(40);
/// How long all nodes may take to list everything when nothing is wrong.
const COMPLETE: Duration = Duration::from_secs(40);
const LEAVE: Duration = Duration::from_secs(12);
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

mod streams;

/// Programs and places that all rows share.
#[derive(Debug)]
pub(super) struct Means {
    pub(super) network: Network,
    pub(super) server: PathBuf,
    /// That of an earlier release, if there is one.
    pub(super) old: Option<PathBuf>,
    pub(super) supervisor: PathBuf,
    /// Settings of every node.
    pub(super) settings: Vec<String>,
    /// Where the logs go.
    pub(super) logs: PathBuf,
}

pub(super) struct Stage<'a> {
    means: &'a Means,
    row: Row,
    files: Files,
    /// Where the nodes find each other, unless it is in a file.
    names: Option<Names>,
    processes: Vec<Option<Process>>,
    /// Whether each node runs the server of the earlier release.
    is_old: Vec<bool>,
    members: Vec<usize>,
    cuts: Vec<(usize, usize)>,
    /// What stands between each node and its clients over gRPC.
    between: Vec<Between>,
    besides: Besides,
    pub(super) load: Load,
    /// When the last fault ended.
    pub(super) healed: Option<At>,
}

impl<'a> Stage<'a> {
    /// Starts `nodes` nodes and all clients, and waits until every node lists everything.
    pub(super) async fn set(
        means: &'a Means,
        row: Row,
        size: Size,
        nodes: usize,
        most_nodes: usize,
    ) -> Result<Self> {
        let load = Load::new(size, most_nodes, means.network.local());
        let processes = (0..most_nodes).map(|_| None).collect();
        let files = Files::create()?;
        let names = match row.has_names() {
            true => Some(Names::serve(means.network.local()).await?),
            false => None,
        };
        let mut stage = Self {
            means,
            row,
            files,
            names,
            processes,
            is_old: vec![row.begins_old(); most_nodes],
            members: (0..nodes).collect(),
            cuts: Vec::new(),
            between: Vec::new(),
            besides: Besides::default(),
            load,
            healed: None,
        };
        stage.write_members()?;
        if row.has_between() {
            stage.stand_between().await?;
        }
        if row.has_keys() {
            stage.make_keys().await?;
        }
        for node in 0..most_nodes {
            // Of the run before, if there was one.
            let _ = std::fs::remove_file(stage.log(node));
        }
        for node in 0..nodes {
            stage.start_process(node).await?;
            stage.load.watch_node(stage.client_address(node)?).await?;
        }
        for node in 0..nodes {
            stage.wait_until_ready(node).await?;
        }
        stage.load.start_providers();
        stage.load.start_keepers();
        if row.has_many_services() {
            stage.load.add_multitude().await?;
        }
        if row.has_many_durable_writes() {
            stage.load.start_clerks();
        }
        stage.wait_until_complete().await?;
        stage.say("all is complete");
        // The first seconds of a cluster belong to no row.
        stage.wait(5).await;
        stage.load.take_worst_lag();
        let now = stage.load.shared.now();
        stage.load.shared.judge.borrow_mut().arm(now);
        Ok(stage)
    }

    pub(super) async fn wait(&self, seconds: u64) {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }

    pub(super) fn nodes(&self) -> &[usize] {
        &self.members
    }

    /// SIGKILL.
    pub(super) async fn kill(&mut self, node: usize) -> Result<()> {
        self.say(&format!("kill -9 node {}", node + 1));
        self.broken(false);
        self.set_state(node, State::Down);
        let process = self.process(node)?;
        process.order(Order::Kill).await;
        ensure!(process.wait(LEAVE).await, "node {} survived SIGKILL", node + 1);
        Ok(())
    }

    /// SIGKILL, and everything that the node had on disk is gone.
    pub(super) async fn lose(&mut self, node: usize) -> Result<()> {
        self.kill(node).await?;
        let address = self.means.network.for_peers(node).context("a node without address")?;
        self.files.remove_data(address)
    }

    /// Nobody comes back in the place of a node that has ended: what is promised holds among the
    /// others, who still have it on their lists, and so have clients.
    pub(super) fn give_up(&mut self, node: usize) {
        self.members.retain(|member| *member != node);
        self.mended(false);
    }

    /// Cuts a node off from all others, in both directions.
    pub(super) async fn isolate(&mut self, node: usize) -> Result<()> {
        let others = self.members.iter().filter(|other| **other != node);
        let pairs: Vec<_> = others.flat_map(|other| [(node, *other), (*other, node)]).collect();
        self.cut(&pairs).await?;
        self.load.is_alone(Some(node));
        Ok(())
    }

    /// SIGTERM, and waits for the end.
    pub(super) async fn leave(&mut self, node: usize) -> Result<()> {
        self.say(&format!("SIGTERM node {}", node + 1));
        self.broken(false);
        self.set_state(node, State::Down);
        let was_stopped = self.process(node)?.stop(LEAVE).await;
        ensure!(was_stopped, "node {} did not end within {LEAVE:?} of SIGTERM", node + 1);
        Ok(())
    }

    /// Starts a node that has ended, without waiting for anything.
    pub(super) async fn start(&mut self, node: usize) -> Result<()> {
        self.say(&format!("start node {}", node + 1));
        self.start_process(node).await?;
        self.mended(false);
        Ok(())
    }

    pub(super) async fn pause(&mut self, node: usize) -> Result<()> {
        self.say(&format!("SIGSTOP node {}", node + 1));
        self.broken(true);
        self.set_state(node, State::Paused);
        self.process(node)?.order(Order::Pause).await;
        Ok(())
    }

    pub(super) async fn resume(&mut self, node: usize) -> Result<()> {
        self.say(&format!("SIGCONT node {}", node + 1));
        self.set_state(node, State::NotReady);
        self.process(node)?.order(Order::Resume).await;
        self.mended(true);
        self.wait_until_ready(node).await
    }

    /// What `source` sends to each target is lost.
    pub(super) async fn cut(&mut self, pairs: &[(usize, usize)]) -> Result<()> {
        self.say(&format!("cut {pairs:?}, counted from 0"));
        self.broken(true);
        for &(source, target) in pairs {
            self.means.network.cut(source, target).await?;
            self.cuts.push((source, target));
        }
        Ok(())
    }

    /// Ends all cuts.
    pub(super) async fn mend(&mut self) -> Result<()> {
        self.say("mend all cuts");
        self.load.is_alone(None);
        for (source, target) in self.cuts.drain(..) {
            self.means.network.mend(source, target).await?;
        }
        self.mended(true);
        Ok(())
    }

    /// Makes one more node a member and waits until it is ready.
    pub(super) async fn add(&mut self) -> Result<()> {
        let node = self.start_another().await?;
        self.wait_until_ready(node).await
    }

    /// Makes one more node a member, which is then its number, without waiting for anything.
    async fn start_another(&mut self) -> Result<usize> {
        let node = self.members.iter().max().map_or(0, |last| last + 1);
        self.members.push(node);
        self.say(&format!("node {} joins", node + 1));
        self.write_members()?;
        self.start_process(node).await?;
        self.mended(false);
        self.load.watch_node(self.client_address(node)?).await?;
        Ok(node)
    }

    /// Makes one more node a member that is slow to load, and has the list of members omit each
    /// of the others once meanwhile, for longer than from one look at that list to the next.
    pub(super) async fn add_amid_omissions(&mut self) -> Result<()> {
        const OMITTED: Duration = Duration::from_millis(1_500);
        let others = self.members.clone();
        let node = others.iter().max().map_or(0, |last| last + 1);
        self.means.network.slow_down(node).await?;
        ensure!(self.start_another().await? == node, "another node than was made slow");
        for other in others {
            self.wait(1).await;
            self.broken(true);
            let all = self.members.clone();
            self.members.retain(|member| *member != other);
            self.write_members()?;
            tokio::time::sleep(OMITTED).await;
            self.members = all;
            self.write_members()?;
            self.mended(true);
        }
        let ready = self.wait_until_ready(node).await;
        self.means.network.speed_up(node).await?;
        ready
    }

    /// Cuts a node off, and with it the clients of the first services.
    pub(super) async fn split(&mut self, sides: Sides) -> Result<()> {
        self.isolate(sides.alone).await?;
        self.load.split(sides);
        Ok(())
    }

    /// Has a node leave and takes it off the list of members.
    pub(super) async fn remove(&mut self, node: usize) -> Result<()> {
        self.load.unlist(node);
        if self.names.is_some() {
            // A name server forgets who is told to end.
            self.members.retain(|member| *member != node);
            self.write_members()?;
        }
        self.leave(node).await?;
        self.members.retain(|member| *member != node);
        self.write_members()?;
        self.mended(false);
        Ok(())
    }

    /// Waits until a node calls itself ready.
    pub(super) async fn wait_until_ready(&mut self, node: usize) -> Result<()> {
        let deadline = Instant::now() + READY;
        while !self.load.is_ready(node).await {
            if let Some(ending) = self.process(node)?.ending() {
                bail!("node {} ended: {ending}", node + 1);
            }
            ensure!(Instant::now() < deadline, "node {} is not ready in time", node + 1);
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
        Ok(())
    }

    /// Ends all nodes. Dropping does the same, but does not wait.
    pub(super) async fn clear(mut self) {
        for process in self.processes.iter_mut().flatten() {
            process.order(Order::Kill).await;
            process.wait(LEAVE).await;
        }
    }

    /// Fails if a node that should run has ended by itself.
    pub(super) fn check_alive(&self) -> Result<()> {
        for &node in &self.members {
            let ending = self.processes[node].as_ref().and_then(Process::ending);
            if let Some(ending) = ending {
                bail!("node {} ended by itself: {ending}", node + 1);
            }
        }
        Ok(())
    }

    async fn wait_until_complete(&self) -> Result<()> {
        let deadline = Instant::now() + COMPLETE;
        while !super::agreement::is_complete(&self.load, &self.members).await {
            ensure!(Instant::now() < deadline, "not every node lists every instance at the start");
            tokio::time::sleep(LOOK_INTERVAL * 10).await;
        }
        Ok(())
    }

    async fn start_process(&mut self, node: usize) -> Result<()> {
        self.set_state(node, State::NotReady);
        let network = &self.means.network;
        let bind = network.bind(node).context("a node without address")?;
        let peer = network.for_peers(node).context("a node without address")?;
        let own = self.row.settings().iter().map(|setting| (*setting).to_owned());
        let names = self.names.iter().flat_map(|names| names.settings(node, peer));
        let settings: Vec<String> = own
            .chain(names)
            .chain(self.keys_of(node))
            .chain(self.means.settings.iter().cloned())
            .collect();
        let path = match self.is_old[node] {
            true => self.means.old.as_ref().context("no server of an earlier release")?,
            false => &self.means.server,
        };
        let program = server::member(path, &self.files, bind, peer, &settings);
        let program = network.place(node, program);
        let log = Output::File(self.log(node));
        let process = Process::start(&self.means.supervisor, &program, log).await?;
        self.processes[node] = Some(process);
        Ok(())
    }

    fn log(&self, node: usize) -> PathBuf {
        self.means.logs.join(format!("{}-node-{}.log", self.row.name(), node + 1))
    }

    fn process(&mut self, node: usize) -> Result<&mut Process> {
        let process = self.processes.get_mut(node).and_then(Option::as_mut);
        process.with_context(|| format!("node {} was never started", node + 1))
    }

    fn client_address(&self, node: usize) -> Result<SocketAddr> {
        self.means.network.for_clients(node).context("a node without address")
    }

    fn write_members(&self) -> Result<()> {
        let address = |node: &usize| Some((*node, self.means.network.for_peers(*node)?));
        let members: Option<Vec<_>> = self.members.iter().map(address).collect();
        let members = members.context("a node without address")?;
        match &self.names {
            Some(names) => names.set(members),
            None => {
                let addresses: Vec<_> = members.iter().map(|(_, address)| *address).collect();
                self.files.write_members(&addresses)?;
            }
        }
        Ok(())
    }

    fn set_state(&self, node: usize, state: State) {
        self.load.shared.judge.borrow_mut().node_is(node, state);
    }

    fn broken(&self, holds: bool) {
        self.load.shared.judge.borrow_mut().broken(self.load.shared.now(), holds);
    }

    fn mended(&mut self, held: bool) {
        let now = self.load.shared.now();
        self.load.shared.judge.borrow_mut().mended(now, held);
        self.healed = Some(now);
    }
}
