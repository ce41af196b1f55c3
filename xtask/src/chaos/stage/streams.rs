//! What can be done to connections over gRPC, and what rows have to say besides.

use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::task::JoinHandle;

use super::Stage;
use crate::chaos::between::Between;
use crate::chaos::load::GRPC_OFFSET;
use crate::chaos::load::fetch_text;
use crate::chaos::load::fleet::Fleet;
use crate::chaos::rotation::Keys;

/// What goes on beside the usual, and what came of it.
#[derive(Default)]
pub(super) struct Besides {
    notes: Vec<String>,
    afterwards: Vec<JoinHandle<Result<String>>>,
    fleet: Option<(Fleet, JoinHandle<()>)>,
    keys: Option<Rc<Keys>>,
}

impl Stage<'_> {
    /// A line of progress.
    pub(in crate::chaos) fn say(&self, text: &str) {
        println!("  {:6.1} s: {text}", self.load.shared.now().as_secs_f64());
    }

    /// From its next start on a node runs the server of the earlier release, or this one.
    pub(in crate::chaos) fn set_old(&mut self, node: usize, is_old: bool) {
        let what = if is_old { "the earlier release" } else { "this release" };
        self.say(&format!("node {} is of {what} from now on", node + 1));
        self.is_old[node] = is_old;
    }

    /// Makes secrets and certificates for all nodes.
    pub(super) async fn make_keys(&mut self) -> Result<()> {
        let network = &self.means.network;
        let hosts =
            |node: &usize| Some((network.for_peers(*node)?.ip(), network.for_clients(*node)?.ip()));
        let hosts: Option<Vec<_>> = self.members.iter().map(hosts).collect();
        let hosts = hosts.context("a node without address")?;
        let keys = Keys::make(self.files.folder().to_owned(), hosts).await?;
        self.besides.keys = Some(Rc::new(keys));
        Ok(())
    }

    /// Settings by which a node uses its secrets and certificates, if there are some.
    pub(super) fn keys_of(&self, node: usize) -> Vec<String> {
        self.besides.keys.as_ref().map(|keys| keys.settings(node)).unwrap_or_default()
    }

    pub(in crate::chaos) fn keys(&self) -> Result<Rc<Keys>> {
        self.besides.keys.clone().context("a row with keys")
    }

    /// Whether every handshake among the nodes has succeeded.
    ///
    /// # Errors
    ///
    /// If one has failed, or a node does not say.
    pub(in crate::chaos) async fn check_handshakes(&self) -> Result<()> {
        for &node in &self.members {
            let page = fetch_text(&self.load.shared, node, "/metrics").await;
            let page = page.with_context(|| format!("node {} shows no metrics", node + 1))?;
            let is_failure = |line: &&str| {
                let is_dial = line.starts_with("naming_tls_dials_failed");
                let is_accepted = line.starts_with("naming_tls_connections_total{")
                    && line.contains("port=\"members\"")
                    && line.contains("outcome=\"failed\"");
                (is_dial || is_accepted) && !line.ends_with(" 0")
            };
            let failed: Vec<_> = page.lines().filter(is_failure).collect();
            ensure!(failed.is_empty(), "node {}: {}", node + 1, failed.join(", "));
        }
        Ok(())
    }

    /// Waits until the nodes have run for longer than any silence is borne with. Before that they cannot
    /// have heard anybody long ago, which hides mistakes about who was heard when.
    pub(in crate::chaos) async fn grow_old(&self) {
        const OLD: Duration = Duration::from_secs(80);
        let missing = OLD.saturating_sub(self.load.shared.now());
        tokio::time::sleep(missing).await;
    }

    /// Something that the row has measured.
    pub(in crate::chaos) fn note(&mut self, text: String) {
        self.besides.notes.push(text);
    }

    /// Has something watched that goes on after the heal; what it finds is a note, or a problem.
    pub(in crate::chaos) fn afterwards(
        &mut self,
        watch: impl Future<Output = Result<String>> + 'static,
    ) {
        self.besides.afterwards.push(tokio::task::spawn_local(watch));
    }

    /// Keeps a fleet and those who watch it until the end of the row.
    pub(in crate::chaos) fn keep(&mut self, fleet: Fleet, watch: JoinHandle<()>) {
        self.besides.fleet = Some((fleet, watch));
    }

    /// Waits for all that is watched after the heal; what went wrong.
    pub(in crate::chaos) async fn settle(&mut self) -> Vec<String> {
        let mut problems = Vec::new();
        for watch in std::mem::take(&mut self.besides.afterwards) {
            match watch.await {
                Ok(Ok(note)) => self.besides.notes.push(note),
                Ok(Err(error)) => problems.push(format!("{error:#}")),
                Err(error) => problems.push(error.to_string()),
            }
        }
        if let Some((_, watch)) = self.besides.fleet.take() {
            watch.abort();
        }
        problems
    }

    pub(in crate::chaos) fn take_notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.besides.notes)
    }

    /// Puts something between each node and its clients over gRPC.
    pub(super) async fn stand_between(&mut self) -> Result<()> {
        for &node in &self.members {
            let mut target = self.client_address(node)?;
            target.set_port(target.port().checked_add(GRPC_OFFSET).context("a lower port")?);
            self.between.push(Between::open(self.means.network.local(), target).await?);
        }
        self.load.stand_between(self.between.iter().map(|between| between.address).collect());
        Ok(())
    }

    /// A share of the connections over gRPC carries nothing any more, and nobody is told.
    pub(in crate::chaos) fn stall_between(&mut self, share: f64) {
        self.say(&format!("{:.0} % of the connections carry nothing any more", share * 100.0));
        self.break_between();
        self.between.iter().for_each(|between| between.stall(share));
    }

    /// All connections over gRPC are reset.
    pub(in crate::chaos) fn reset_between(&mut self) {
        self.say("all connections are reset");
        self.break_between();
        self.between.iter().for_each(Between::reset);
    }

    fn break_between(&mut self) {
        self.load.broken_between();
        self.broken(false);
        self.healed = Some(self.load.shared.now());
    }
}
