//! What can be done to connections over gRPC, and what rows have to say besides.

use anyhow::{Context, Result};
use std::future::Future;
use tokio::task::JoinHandle;

use super::Stage;
use crate::chaos::between::Between;
use crate::chaos::load::GRPC_OFFSET;
use crate::chaos::load::fleet::Fleet;

/// What goes on beside the usual, and what came of it.
#[derive(Default)]
pub(super) struct Besides {
    notes: Vec<String>,
    afterwards: Vec<JoinHandle<Result<String>>>,
    fleet: Option<(Fleet, JoinHandle<()>)>,
}

impl Stage<'_> {
    /// A line of progress.
    pub(in crate::chaos) fn say(&self, text: &str) {
        println!("  {:6.1} s: {text}", self.load.shared.now().as_secs_f64());
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
